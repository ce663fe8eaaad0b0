"""Units and extracted features through files: from a toy corpus to the streams that methods learn from."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_corpus import FEATURES, folder, make_corpus
from verb_server import speechrep_at_once

from speechrep.config import build, plain, read_yaml, write_yaml
from speechrep.data.alignment import frames_per_phone, read_ali
from speechrep.data.ark import ArkWriter, read_scp
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.data.dump import dump
from speechrep.data.features import FeatureConfig
from speechrep.data.folder import DataFolder
from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.extract import extract, open_upstream
from speechrep.methods.base import find_method
from speechrep.metrics.purity import pnmi
from speechrep.metrics.score import read_score
from speechrep.released import export
from speechrep.train import checkpoint
from speechrep.units import FeatureStream, UnitsConfig, make_units
from speechrep.upstream import load_method

CTAP = {"kind": "tdnn", "dim": 24, "joint_dim": 16, "prompt_dim": 8, "prompt_frames": 40, "speech_layers": 2,
        "token_layers": 1, "frame_layers": 1, "decoder_layers": 1}


@pytest.fixture
def root(tmp_path):
    """A toy corpus and an untrained CTAP's checkpoint, exp/best.pt, at 50 frames a second."""
    root = make_corpus(tmp_path, {"train": 12, "dev": 3})
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    torch.manual_seed(0)
    cls = find_method("ctap")
    method = cls(build(cls.Config, CTAP), inventory)
    (root / "exp").mkdir()
    checkpoint.save(root / "exp/best.pt", checkpoint.content_of("ctap", method, method.state_dict()))
    return root


def run(root, name="km", spec="logmel", nj=1, **settings):
    config = UnitsConfig(**{"clusters": 8, "layer": -1, **settings})
    make_units(name, spec, config, root / "data/train", [root / "data/dev"], root / "dump", root / "exp/units" / name,
               root / "cache", nj, "cpu")
    return folder(root, "train").read(f"units.{name}"), folder(root, "dev").read(f"units.{name}")


@pytest.mark.parametrize("standardise, centre, by", [(False, False, None), (True, False, None), (False, True, None),
                                                     (True, False, "utterance"), (False, False, "speaker")])
def test_units_are_the_nearest_centroids_and_the_score_is_theirs(root, standardise, centre, by):
    for units, part in zip(run(root, nj=2, standardise=standardise, centre=centre, standardise_by=by), ("train", "dev")):
        centroids = np.load(root / "exp/units/km/codebook.npz")["centroids"]
        inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
        feats = read_scp(root / f"dump/logmel/{part}/feats.scp")
        assert sorted(units) == sorted(feats)
        total, joint = 0.0, np.zeros((6, 8))
        names = ["A", "B", "K", "M", "S", "SIL"]
        of_speaker = {speaker: np.concatenate([feats[utt] for utt in feats if utt.startswith(speaker)])
                      for speaker in ("spk0", "spk1")}
        for utt in feats:
            x = feats[utt]
            if standardise:
                x = (x - np.array(inventory.mean)) / np.array(inventory.std)
            if centre:
                x = x - x.mean(0)
            if by:
                group = x if by == "utterance" else of_speaker[utt[:4]]
                x = (x - group.mean(0)) / group.std(0)
            distance = ((x[:, None] - centroids[None]) ** 2).sum(2)
            ids = np.array(units[utt].split(), dtype=int)
            assert np.array_equal(ids, distance.argmin(1))
            total += distance.min(1).sum()
            words = folder(root, part).read("ali")[utt].split()
            ends = np.floor(np.array(words[1::2], dtype=float) / 0.01 + 0.5)
            ends[-1] = len(ids)
            for i, unit in enumerate(ids):
                joint[names.index(words[0::2][int(np.searchsorted(ends, i, side="right"))].rstrip("1")), unit] += 1
        score = read_score(root / f"exp/units/km/{part}/score.json")
        values = {name: entry["value"] for name, entry in score["metrics"].items()}
        assert values["inertia"] == pytest.approx(total / joint.sum(), rel=1e-4)
        assert values["pnmi"] == pytest.approx(pnmi(joint)) and values["used_codes"] == (joint.sum(0) > 0).sum()
        assert values["pnmi"] > 0.4, "chords are told apart by their spectra"
    about = read_yaml(root / "exp/units/km/units.yaml")
    assert about["frame_rate_hz"] == 100 and about["clusters"] == 8 and about["upstream"] == "logmel"


def test_units_of_frames_standardised_by_speaker_tell_nothing_of_speakers(root):
    """Speakers that differ in the level of every dimension, however many jobs count."""
    rng = np.random.default_rng(0)
    feats = read_scp(root / "dump/logmel/train/feats.scp")
    with ArkWriter(root / "dump/logmel/train", "feats") as writer:
        for utt in feats:
            phones, ends = read_ali(folder(root, "train").read("ali")[utt])
            ids = np.repeat([1 + ["A1", "B", "K", "M", "S", "SIL"].index(phone) for phone in phones],
                            frames_per_phone(np.array(ends), len(feats[utt]), 0.01))
            said = np.sin(np.outer(ids, np.arange(1, 21))) + 0.1 * rng.standard_normal((len(ids), 20))
            writer.write(utt, said + (3 if utt.startswith("spk1") else 0))
    found = {}
    for name, settings in (("km", {}), ("jobs", {"nj": 3}), ("by", {"standardise_by": "speaker"})):
        run(root, name, clusters=6, **settings)
        found[name] = read_score(root / f"exp/units/{name}/train/score.json")["metrics"]["speaker_share"]["value"]
    assert found["jobs"] == found["km"] > 0.3 and abs(found["by"]) < 1e-6, found


def test_of_several_languages_units_are_also_scored_within_each(root):
    dev = root / "data/dev"
    utts = [line.split()[0] for line in (dev / "utt2lang").read_text().splitlines()]
    langs = {utt: ("en", "fr")[i % 2] for i, utt in enumerate(utts)}
    (dev / "utt2lang").write_text("".join(f"{utt} {lang}\n" for utt, lang in langs.items()))
    units = run(root)[1]
    tables = {"en": np.zeros((6, 8)), "fr": np.zeros((6, 8))}
    names = ["A", "B", "K", "M", "S", "SIL"]
    for utt, line in units.items():
        words = folder(root, "dev").read("ali")[utt].split()
        ends = np.floor(np.array(words[1::2], dtype=float) / 0.01 + 0.5)
        ends[-1] = len(line.split())
        for i, unit in enumerate(line.split()):
            tables[langs[utt]][names.index(words[::2][int(np.searchsorted(ends, i, side="right"))].rstrip("1")), int(unit)] += 1
    found = {part: read_score(root / f"exp/units/km/{part}/score.json")["metrics"] for part in ("train", "dev")}
    wanted = sum(pnmi(table) * table.sum() for table in tables.values()) / sum(table.sum() for table in tables.values())
    assert found["dev"]["pnmi_within_language"]["value"] == pytest.approx(wanted)
    assert found["dev"]["pnmi"]["value"] == pytest.approx(pnmi(sum(tables.values())))
    assert "pnmi_within_language" not in found["train"]


def test_finished_units_are_left_alone_and_lost_ones_made_again(root, capfd):
    first = run(root)
    places = [root / "exp/units/km/codebook.npz", root / "data/train/units.km", root / "data/dev/units.km"]
    before = [place.stat().st_mtime_ns for place in places]
    assert run(root) == first and [place.stat().st_mtime_ns for place in places] == before
    assert "already there" in capfd.readouterr().err
    places[2].unlink()
    assert run(root) == first
    assert [place.stat().st_mtime_ns for place in places[:2]] == before[:2] and places[2].exists()
    with pytest.raises(SpeechrepError, match="other settings"):
        run(root, clusters=9)
    assert run(root, nj=2, name="other") == first, "the number of jobs changes nothing"


def test_layers_are_extracted_once(root):
    spec = str(root / "exp/best.pt")
    train = folder(root, "train")
    found = extract(spec, train, train, root / "dump", root / "cache", [0, -1], nj=2)
    upstream = open_upstream(spec, train, root / "dump")
    dataset = SpeechDataset(train, root / "dump/logmel/train", upstream.inventory, ("feats",))
    with torch.no_grad():
        layers, lengths = upstream.layers(collate([dataset[3]]))
    for layer in (0, -1):
        kept = found[layer][dataset.utts[3]]
        np.testing.assert_allclose(kept, layers[layer][0, :int(lengths[0])].numpy(), atol=1e-4)
    arks = sorted((root / "cache").rglob("*.ark"))
    before = [ark.stat().st_mtime_ns for ark in arks]
    again = extract(spec, train, train, root / "dump", root / "cache", [-1])
    assert np.array_equal(again[-1][dataset.utts[3]], found[-1][dataset.utts[3]])
    assert [ark.stat().st_mtime_ns for ark in arks] == before
    # The same network untrained, and another dump, are other features.
    extract(f"random:{spec}", train, train, root / "dump", root / "cache", [-1])
    assert len(list((root / "cache").iterdir())) == 2
    dump(root / "data/dev", root / "dump/logmel/dev", FEATURES)
    extract(spec, folder(root, "dev"), train, root / "dump", root / "cache", [-1])
    assert len(list((root / "cache").rglob("feats.scp"))) == 4
    # Another checkpoint under the same name is another upstream.
    (root / "same").mkdir()
    shutil.copy(spec, root / "same/best.pt")
    named = str(root / "same/best.pt"), train, train, root / "dump", root / "cache", [-1]
    one = extract(*named)[-1][dataset.utts[3]]
    content = checkpoint.load(spec)
    content["model"] = {key: 1.1 * value if value.is_floating_point() else value for key, value in content["model"].items()}
    checkpoint.save(root / "same/best.pt", content)
    assert np.array_equal(one, found[-1][dataset.utts[3]])
    assert not np.allclose(extract(*named)[-1][dataset.utts[3]], one)
    with pytest.raises(SpeechrepError, match="from 0 to"):
        extract(spec, train, train, root / "dump", root / "cache", [99])


def test_the_untrained_network_of_another_seed_is_another(root, tmp_path):
    """Else the interval over seeds of a floor would be that of the heads alone."""
    content = checkpoint.load(root / "exp/best.pt")
    weights = {}
    for name, kept in (("earlier", content), ("zero", content | {"seed": 0}), ("one", content | {"seed": 1})):
        checkpoint.save(tmp_path / f"{name}.pt", kept)
        network = load_method(tmp_path / f"{name}.pt", untrained=True)
        weights[name] = torch.cat([weight.flatten() for weight in network.parameters()])
    assert torch.equal(weights["zero"], weights["earlier"])
    assert (weights["zero"] != weights["one"]).float().mean() > 0.5
    before = torch.cat([weight.flatten() for weight in load_method(tmp_path / "one.pt").parameters()])
    assert not torch.allclose(before, weights["one"])


def test_units_of_a_layer_at_its_frame_rate(root):
    spec = str(root / "exp/best.pt")
    train, dev = run(root, "ctap", spec, layer=0, algorithm="full")
    frames = {utt: len(matrix) for utt, matrix in read_scp(root / "dump/logmel/dev/feats.scp").items()}
    assert {utt: len(line.split()) for utt, line in dev.items()} == {utt: (n + 1) // 2 for utt, n in frames.items()}
    assert read_yaml(root / "exp/units/ctap/units.yaml")["frame_rate_hz"] == 50
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    dataset = SpeechDataset(folder(root, "train"), root / "dump/logmel/train", inventory, ("feats", "units:ctap"))
    assert dataset[0]["units"].tolist() == [int(word) for word in train[dataset.utts[0]].split()]


def test_units_of_a_layer_standardised_by_speaker(root):
    """However many jobs share a speaker's utterances, and whether or not the codebook is of a version that could not."""
    units = run(root, "by", str(root / "exp/best.pt"), nj=3, layer=1, standardise_by="speaker")[1]
    whole = extract(str(root / "exp/best.pt"), folder(root, "dev"), folder(root, "train"), root / "dump", root / "cache",
                    [1])[1]
    centroids = np.load(root / "exp/units/by/codebook.npz")["centroids"]
    for speaker in ("spk0", "spk1"):
        utts = [utt for utt in whole if utt.startswith(speaker)]
        joined = np.concatenate([whole[utt] for utt in utts])
        distance = (((joined - joined.mean(0)) / joined.std(0))[:, None] - centroids[None]) ** 2
        assert np.array_equal(distance.sum(2).argmin(1), np.concatenate([np.array(units[utt].split(), int) for utt in utts]))
    assert run(root, "as-is", str(root / "exp/best.pt"), layer=1)[1] != units


def test_a_codebook_of_before_a_setting_came_is_gone_on_with(root):
    first = run(root)
    about = root / "exp/units/km/units.yaml"
    kept = read_yaml(about)
    del kept["standardise_by"]
    write_yaml(about, kept)
    assert run(root) == first
    with pytest.raises(SpeechrepError, match="other settings"):
        run(root, standardise_by="speaker")


def test_features_are_centred_or_standardised_not_both():
    with pytest.raises(ValueError, match="not both"):
        UnitsConfig(centre=True, standardise_by="speaker")


def test_a_method_s_own_codes(root, monkeypatch):
    def units(self, batch):
        feats = batch["feats"][:, ::2, :2] > -3.0
        return feats.long(), (batch["feats_lengths"] + 1) // 2
    monkeypatch.setattr(find_method("ctap"), "units", units, raising=False)
    train, dev = run(root, "own", str(root / "exp/best.pt"), layer=None, clusters=2)
    codes = np.load(root / "exp/units/own/codebook.npz")["codes"]
    feats = read_scp(root / "dump/logmel/dev/feats.scp")
    joined = {utt: (feats[utt][::2, 0] > -3).astype(int) + 2 ** 15 * (feats[utt][::2, 1] > -3) for utt in feats}
    # The two most frequent pairs of the training part have numbers of their own, the others share the third.
    for utt, line in dev.items():
        wanted = [list(codes).index(code) if code in codes else 2 for code in joined[utt]]
        assert [int(word) for word in line.split()] == wanted
    everything = [int(word) for line in train.values() for word in line.split()]
    counts = np.bincount(everything, minlength=3)
    assert counts[0] >= counts[1] > 0
    assert "inertia" not in read_score(root / "exp/units/own/train/score.json")["metrics"]
    by_speaker = run(root, "by", str(root / "exp/best.pt"), layer=None, clusters=2, standardise_by="speaker")
    assert by_speaker == (train, dev), "there is nothing to standardise in codes"


def test_a_released_model_s_folder_is_an_upstream(root):
    """A small HuBERT in transformers' format at the dump's 8 kHz, which it brings to its 16 kHz, and at 16 kHz, whatever the
    dump's hop: 50 units a second."""
    cls = find_method("hubert")
    sizes = {"layers": 2, "dim": 16, "heads": 2, "ffn_dim": 24, "front_dim": 8, "position_kernel": 8,
             "position_groups": 2}
    config = build(cls.Config, sizes | {"units": "toy", "codes": 6})
    export(cls(config, Inventory(features=plain(FeatureConfig()))), root / "hubert")
    train = folder(root, "train")
    faster = replace(FEATURES, rate_hz=16000, hop_samples=200, win_samples=512, n_fft=512)
    for part in ("train", "dev"):
        dump(root / "data" / part, root / "dump16/logmel" / part, faster, cmvn=True)
    for dumped, hop in (("dump", 160), ("dump16", 320)):
        upstream = open_upstream(str(root / "hubert"), train, root / dumped)
        assert upstream.needs == ("audio",) and upstream.hop_samples == hop
        make_units(dumped, str(root / "hubert"), UnitsConfig(clusters=4, layer=1), root / "data/train", [], root / dumped,
                   root / f"exp/units/{dumped}", root / f"cache_{dumped}", device="cpu")
        seconds = train.seconds
        for utt, line in DataFolder(train.path).read(f"units.{dumped}").items():
            assert abs(len(line.split()) - seconds[utt] * 50) < 2.5
        assert [path.name[:7] for path in (root / f"cache_{dumped}").iterdir()] == ["hubert-"]


def test_a_stream_gives_every_frame_once_in_another_order():
    rng = np.random.default_rng(0)
    table = {f"u{i}": rng.standard_normal((2000, 8)).astype(np.float32) for i in range(40)}
    whole = np.concatenate(list(table.values()))
    for buffer_mb in (1, 100):
        stream = FeatureStream(table, sorted(table), buffer_mb, 0)
        passes = [torch.cat(list(stream(number))).numpy() for number in (-1, 0, 0, 1)]
        for found in passes:
            assert np.array_equal(np.sort(found[:, 0]), np.sort(whole[:, 0]))
        assert np.array_equal(passes[1], passes[2]) and not np.array_equal(passes[1], passes[3])
        assert (stream.held is None) == (buffer_mb == 1)


MEMORY = """
import sys, resource
from speechrep.data.ark import read_scp
from speechrep.nn import kmeans
from speechrep.units import FeatureStream
features = read_scp(sys.argv[1])
fitted = kmeans.fit(FeatureStream(features, list(features), 8, 0), 20, algorithm=sys.argv[2], passes=2, inits=1,
                    sample_frames=4000)
print(fitted.frames_seen, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.parametrize("algorithm", ["minibatch", "full"])
def test_memory_does_not_grow_with_the_corpus(tmp_path, algorithm):
    """Eleven times the frames, 58 MB more of them, in the same memory."""
    rng = np.random.default_rng(0)
    peaks = []
    for utts in (12, 132):
        with ArkWriter(tmp_path, f"feats{utts}") as writer:
            for i in range(utts):
                writer.write(f"u{i:05d}", rng.standard_normal((3000, 40)).astype(np.float32))
        done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path / f"feats{utts}.scp"), algorithm],
                              capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])
        assert done.returncode == 0, done.stderr
        seen, peak = done.stdout.split()
        assert int(seen) >= 3000 * utts
        peaks.append(float(peak))
    assert peaks[1] - peaks[0] < 20, f"{peaks} MiB"


def test_the_verbs(root):
    def speechrep(*arguments):
        done = subprocess.run([speechrep_at_once(), *arguments], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout
    common = ("--train", "data/train", "--dump", "dump", "--device", "cpu", "data/dev")
    places = speechrep("extract", "--upstream", "exp/best.pt", "--layers", "0,-1", *common).splitlines()
    assert len(places) == 2 and all((root / place / "feats.scp").is_file() for place in places)
    speechrep("units", "--name", "v", "--upstream", "exp/best.pt", "--set", "clusters=5", "--clean", *common)
    assert (root / "data/dev/units.v").is_file() and (root / "exp/units/v/dev/score.json").is_file()
    assert len(list((root / "dump/layers").rglob("feats.scp"))) == 2, "the training part's features are cleaned up"
    speechrep("units", "--name", "by", "--upstream", "exp/best.pt", "--set", "clusters=5", "--set", "layer=0", "--set",
              "standardise_by=speaker", "--clean", *common)
    assert [place.parent.parent.name[:4] for place in (root / "dump/layers").rglob("feats.scp")] == ["dev-"] * 2, "those too"
