"""ABX from a data folder to score.json, on chords."""

import gzip
import shutil

import numpy as np
import pytest
import torch
from toy_corpus import folder, make_corpus

from speechrep.bin import main
from speechrep.data.ark import read_scp
from speechrep.data.dataset import take_inventory
from speechrep.data.folder import read_table, write_folder, write_table
from speechrep.errors import SpeechrepError
from speechrep.extract import Standardised
from speechrep.methods import apc
from speechrep.metrics.score import read_score
from speechrep.tasks import abx
from speechrep.tasks.predict import score_predictions
from speechrep.train import checkpoint
from speechrep.upstream import Upstream


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("abx"), {"train": 30, "test": 30})


def score(root, out, spec="logmel", **named):
    return abx.score_abx(spec, folder(root, "train"), folder(root, "test"), root / "dump", out, "x", 0, **named)


def test_tokens_have_phones_on_both_sides(tmp_path):
    data = write_folder(tmp_path / "d", {"wav.scp": {"u": "u.wav"}, "utt2spk": {"u": "s"}, "ali": {
        "u": "SIL 0.1000 A1 0.2000 B 0.3500 K 0.4000 SIL 0.5000 A1 0.6000 B 0.7000"}})
    assert abx.tokens_of(data, False) == [abx.Token("u", 0.2, 0.35, "B", "A", "K", "s")]
    assert abx.tokens_of(data, True) == [abx.Token("u", 0.1, 0.4, "B", "A", "K", "s")]
    abx.write_items(tmp_path / "x.item", abx.tokens_of(data, True))
    assert (tmp_path / "x.item").read_text() == (
        "#file onset offset #phone prev-phone next-phone speaker\nu 0.1000 0.4000 B A K s\n")
    assert abx.read_items(tmp_path / "x.item") == abx.tokens_of(data, True)
    (tmp_path / "x.item").write_text("#file onset offset #phone prev-phone next-phone speaker\nu 0.1 0.4 B A K\n")
    with pytest.raises(SpeechrepError, match="x.item:2"):
        abx.read_items(tmp_path / "x.item")


def test_chords_are_told_apart_and_noise_is_not(root, tmp_path, monkeypatch):
    out = tmp_path / "logmel"
    arguments = ["score", "abx", "--upstream", "logmel", "--train", root / "data/train", "--test", root / "data/test",
                 "--dump", root / "dump", "--system", "logmel", "--out", out]
    assert main([str(value) for value in arguments]) in (0, None)
    found = read_score(out / "score.json")
    assert set(found["metrics"]) == set(abx.CONDITIONS)
    for name, entry in found["metrics"].items():
        # A speaker's chords are plain to tell; another speaker's have other partials altogether.
        assert entry["value"] < 5 if "within" in name else 30 < entry["value"] < 70
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert entry["n"] == found["provenance"]["data"]["test"][name]["triplets"] > (1000 if "any" in name else 20)
    # From its own item file of triphones the same comes out.
    again = score(root, tmp_path / "again", items=out / "triphones.item")["metrics"]
    assert again["abx_within"] == found["metrics"]["abx_within"]
    assert again["abx_across"] == found["metrics"]["abx_across"]
    real = abx._features

    def noise(*arguments):
        rng = np.random.default_rng(0)
        return {utt: rng.standard_normal(value.shape) for utt, value in real(*arguments).items()}

    monkeypatch.setattr(abx, "_features", noise)
    for name, entry in score(root, tmp_path / "noise")["metrics"].items():
        # Few triplets in context.
        assert 25 < entry["value"] < 75, name


def test_frames_are_those_of_the_token(root, tmp_path):
    """From plain features: each item's frames are the dump's, normalised, whose centres lie in it."""
    tokens = abx.tokens_of(folder(root, "test"), False)[:40]
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    dumped = read_scp(root / "dump/logmel/test/feats.scp")
    features = {utt: (dumped[utt] - np.array(inventory.mean)) / np.array(inventory.std) for utt in dumped}
    labels = [abx.Item(t.phone, "", t.speaker, (0, 1)) for t in tokens]
    spans = [abx.frame_range(t.onset, t.offset, 100) for t in tokens]
    cells = abx.make_cells(labels, False, False, None, None)
    frames, placed = abx._frames(features, tokens, spans, labels, cells)
    used = {int(i) for g in np.unique([cells.a, cells.b]) for i in cells.groups[g]}
    assert len(used) > 20
    for i in used:
        token = tokens[i]
        centres = (np.arange(len(features[token.utt])) + 0.5) / 100
        inside = (centres >= token.onset - 1e-9) & (centres <= token.offset + 1e-9)
        np.testing.assert_allclose(frames[slice(*placed[i].frames)].numpy(), features[token.utt][inside], rtol=1e-5,
                                   atol=1e-5)


@pytest.mark.parametrize("within", abx.STANDARDISED)
def test_standardised_frames_do_not_tell_channels(root, tmp_path, monkeypatch, within):
    """What scales and shifts each dimension of an utterance, or of a speaker, changes scores, but not those of standardised
    frames."""
    plain, standardised = score(root, tmp_path / "plain"), score(root, tmp_path / "own", standardise=within)
    speakers, real = folder(root, "test").labels("utt2spk"), abx._features

    def through_channels(*arguments):
        found = {}
        for utt, frames in real(*arguments).items():
            rng = np.random.default_rng(int.from_bytes((utt if within == "utterance" else speakers[utt]).encode(), "big"))
            found[utt] = frames * rng.uniform(0.2, 5, frames.shape[1]) + rng.normal(0, 9, frames.shape[1])
        return found

    monkeypatch.setattr(abx, "_features", through_channels)
    spoilt, mended = score(root, tmp_path / "spoilt"), score(root, tmp_path / "mended", standardise=within)
    assert any(abs(entry["value"] - plain["metrics"][name]["value"]) > 1 for name, entry in spoilt["metrics"].items())
    for name, entry in standardised["metrics"].items():
        assert mended["metrics"][name]["value"] == pytest.approx(entry["value"], abs=0.3)
        assert entry["conditions"] == f"frames less the mean and over the deviation of their {within}"
        assert "conditions" not in plain["metrics"][name]
    assert standardised["provenance"]["config"]["standardise"] == within
    with pytest.raises(SpeechrepError, match="standardise: 'language'"):
        score(root, tmp_path / "other", standardise="language")


def test_frames_are_standardised_by_group():
    """By hand, and for frames of many utterances as for all in one; one without a group stands alone."""
    rng = np.random.default_rng(0)
    frames = {name: rng.normal(3, 2, (count, 4)).astype(np.float32) for name, count in zip("abcd", (5, 9, 0, 7))}
    frames["a"][:, 2] = frames["b"][:, 2] = 1.5
    found = Standardised(frames, {"a": "s", "b": "s", "c": "s"})
    assert list(found) == list("abcd") and len(found) == 4
    together = np.concatenate([frames["a"], frames["b"]])
    deviation = together.std(0)
    assert deviation[2] == 0
    deviation[2] = 1
    np.testing.assert_allclose(found["b"], (frames["b"] - together.mean(0)) / deviation, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["d"], (frames["d"] - frames["d"].mean(0)) / frames["d"].std(0), rtol=1e-4, atol=1e-5)
    assert found["c"].shape == (0, 4)


def test_languages_are_kept_apart(root, tmp_path):
    """With a language for each speaker nothing is left to compare across speakers."""
    test = folder(root, "test")
    own = test.subset(test.utts, tmp_path / "data/test")
    own.write("utt2lang", {utt: speaker for utt, speaker in test.read("utt2spk").items()})
    found = abx.score_abx("logmel", folder(root, "train"), own, root / "dump", tmp_path / "out", "x", 0)
    assert set(found["metrics"]) == {"abx_within", "abx_within_any"}
    assert "abx_across: nothing to compare" in found["notes"]
    table = (tmp_path / "out/pairs.tsv").read_text()
    assert "spk0:A\tspk0:B" in table and "spk0:A\tspk1:B" not in table


def test_a_folder_may_have_its_own_items(root, tmp_path):
    """As the data folders of ZeroSpeech 2021 do, on dev too; the hop is the upstream's."""
    test = folder(root, "test")
    own = write_folder(tmp_path / "data/test", {
        name: test.read(name) for name in ("wav.scp", "utt2spk", "utt2lang", "utt2dur")})
    abx.write_items(own.path / abx.OWN_ITEMS, abx.tokens_of(test, True))
    named = score(root, tmp_path / "a", items=own.path / abx.OWN_ITEMS)["metrics"]
    arguments = ("logmel", folder(root, "train"), own, root / "dump", tmp_path / "b", "x", 0)
    assert abx.score_abx(*arguments)["metrics"] == named == abx.score_abx(*arguments, dev=own)["metrics"]
    # Beside an item file for the test, dev's own comes before its `ali`.
    both = write_folder(tmp_path / "data/both", {name: test.read(name) for name in ("wav.scp", "utt2spk", "utt2dur", "ali")})
    (both.path / abx.OWN_ITEMS).write_text("not an item file\n")
    with pytest.raises(SpeechrepError, match="both/items.item"):
        abx.score_abx(*arguments, items=own.path / abx.OWN_ITEMS, dev=both)
    (own.path / abx.OWN_ITEMS).unlink()
    with pytest.raises(SpeechrepError, match="no 'ali' in it"):
        abx.score_abx(*arguments)


def test_what_cannot_be_compared_is_refused(root, tmp_path):
    header = " ".join(abx.COLUMNS)
    (tmp_path / "x.item").write_text(f"{header}\nnobody 0.1 0.4 B A K spk0\n")
    with pytest.raises(SpeechrepError, match="1 unknown utterances, such as 'nobody'"):
        score(root, tmp_path / "out", items=tmp_path / "x.item")
    utt = folder(root, "test").utts[0]
    (tmp_path / "x.item").write_text(f"{header}\n{utt} 0.1 0.4 B A K spk0\n")
    with pytest.raises(SpeechrepError, match="no two phones"):
        score(root, tmp_path / "out", items=tmp_path / "x.item")
    assert not (tmp_path / "out/score.json").exists()


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("part", ["test", "dev"])
def test_utterances_without_features_are_refused(root, tmp_path, part, cached):
    """They must not go missing in the score of the part, nor in the choice of the layer."""
    parts = {"test": folder(root, "test")}
    parts["dev"] = parts["test"].subset(parts["test"].utts, tmp_path / "data/dev")
    for name in ("train", *parts):
        (tmp_path / "dump/logmel").mkdir(parents=True, exist_ok=True)
        shutil.copytree(root / f"dump/logmel/{'train' if name == 'train' else 'test'}", tmp_path / f"dump/logmel/{name}")
    feats = read_table(tmp_path / f"dump/logmel/{part}/feats.scp")
    write_table(tmp_path / f"dump/logmel/{part}/feats.scp", dict(list(feats.items())[20:]))
    with pytest.raises(SpeechrepError, match=f"20 of 30 utterances of .*/{part} that have tokens have no features, "
                       "such as spk0-test000, spk0-test002, spk0-test004\n"):
        abx.score_abx("logmel", folder(root, "train"), parts["test"], tmp_path / "dump", tmp_path / "out", "x", 0,
                      dev=parts["dev"], cache=tmp_path / "layers" if cached else None)
    assert not (tmp_path / "out/score.json").exists()


def test_a_dev_part_that_chooses_nothing_is_refused(root, tmp_path):
    """Items of utterances that it lacks, and none that can be compared."""
    test = folder(root, "test")
    dev = test.subset(test.utts[:2], tmp_path / "data/test")
    items = tmp_path / "test.item"
    abx.write_items(items, abx.tokens_of(test, True))
    strange = abx.Token("nobody", 0.1, 0.4, "B", "A", "K", "s")
    for tokens, why in (([strange], f"{dev.path}/items.item: 1 unknown utterances, such as 'nobody'"),
                        (abx.tokens_of(dev, True)[:1], f"{dev.path}: no two phones")):
        abx.write_items(dev.path / abx.OWN_ITEMS, tokens)
        with pytest.raises(SpeechrepError, match=why):
            score(root, tmp_path / "out", items=items, dev=dev)


def test_the_score_is_made_of_the_cells_alone(root, tmp_path):
    """Without features, tokens or data the same numbers, notes and settings come out of the table; a hand-made change of it
    moves them, and a table that is not whole is refused."""
    out = tmp_path / "out"
    first = score(root, out)
    arguments = ["score", "predictions", out, "--part", "test", "--system", "x", "--out"]
    for name in ("triphones.item", "phones.item", "pairs.tsv", "score.json"):
        (out / name).unlink()
    assert main([str(value) for value in (*arguments, tmp_path / "again")]) in (0, None)
    again = read_score(tmp_path / "again/score.json")
    assert {key: again[key] for key in ("metrics", "notes", "system", "part", "seed")} == {
        key: first[key] for key in ("metrics", "notes", "system", "part", "seed")}
    assert again["provenance"]["config"] == first["provenance"]["config"]
    assert again["provenance"]["data"] == first["provenance"]["data"]
    path = out / abx.CELLS
    header, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert header.split("\t") == list(abx.CELL_COLUMNS)
    assert len(lines) == sum(own["cells"] for own in first["provenance"]["data"]["test"].values())
    within = [line.split("\t") for line in lines if line.startswith("abx_within\t")]
    # Contexts first, then speakers, then ordered pairs of phones.
    by_pair = {}
    for _, a, b, _, speaker, x_speaker, _, error, _ in within:
        assert speaker == x_speaker
        by_pair.setdefault((a, b), {}).setdefault(speaker, []).append(float(error))
    by_hand = np.mean([np.mean([np.mean(errors) for errors in own.values()]) for own in by_pair.values()])
    assert first["metrics"]["abx_within"]["value"] == pytest.approx(100 * by_hand)

    def rescored(changed):
        path.write_bytes(gzip.compress(("\n".join([header, *changed]) + "\n").encode()))
        return score_predictions(out, "test", "x", 0, out)["metrics"]

    wrong = ["\t".join([*line.split("\t")[:-2], "1.0", line.split("\t")[-1]]) for line in lines]
    assert {entry["value"] for entry in rescored(wrong).values()} == {100}
    for changed, why in ((lines[1:], f"{len(within) - 1} cells of abx_within\n  wanted: {len(within)}, as made.json says"),
                         ([*lines, lines[0]], "stands twice"), ([lines[0] + "\t", *lines[1:]], "cells.tsv.gz:2: 10 values"),
                         ([lines[0] + "0", *lines[1:]], "triplets of abx_within"),
                         ([lines[0].replace("abx_within", "abx_without"), *lines[1:]], "conditions abx_without")):
        with pytest.raises(SpeechrepError, match=why):
            rescored(changed)
    path.write_bytes(b"no archive")
    with pytest.raises(SpeechrepError, match="not readable"):
        score_predictions(out, "test", "x", 0, out)
    path.unlink()
    with pytest.raises(SpeechrepError, match="cells.tsv.gz: no such file"):
        score_predictions(out, "test", "x", 0, out)
    with pytest.raises(SpeechrepError, match="abx of test\n  wanted: of dev"):
        score_predictions(out, "dev", "x", 0, out)


def test_the_same_cells_have_the_same_bytes(root, tmp_path):
    for name in ("a", "b"):
        score(root, tmp_path / name)
    assert (tmp_path / "a" / abx.CELLS).read_bytes() == (tmp_path / "b" / abx.CELLS).read_bytes()


def test_a_part_is_heard_once_for_all_layers(root, tmp_path, capsys):
    """The layer is chosen on dev among those that one pass has left; of the test one is heard."""
    torch.manual_seed(0)
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    method = apc.Method(apc.Config(dim=12, layers=2), inventory)
    checkpoint.save(tmp_path / "apc.pt", checkpoint.content_of("apc", method, method.state_dict()))
    dev = folder(root, "train").subset(folder(root, "train").utts, tmp_path / "dev")
    shutil.copytree(root / "dump/logmel", tmp_path / "dump/logmel")
    (tmp_path / "dump/logmel/dev").symlink_to(tmp_path / "dump/logmel/train")
    found = abx.score_abx(str(tmp_path / "apc.pt"), folder(root, "train"), folder(root, "test"), tmp_path / "dump",
                          tmp_path / "out", "apc", 0, dev=dev, cache=tmp_path / "layers")
    passes = [line for line in capsys.readouterr().err.splitlines() if " layer(s) of " in line]
    count = len(Upstream.open(str(tmp_path / "apc.pt"), inventory).dims)
    assert count > 1 and [line.split(": ")[1] for line in passes] == [f"{count} layer(s) of 30 utterances",
                                                                      "1 layer(s) of 30 utterances"]
    assert 0 <= found["provenance"]["config"]["layer"] < count
