"""sSIMI from a folder in ZeroSpeech 2021's layout to score.json."""

import shutil

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from toy_corpus import folder, make_corpus

from speechrep.bin import main
from speechrep.data.ark import read_scp
from speechrep.data.dataset import take_inventory
from speechrep.data.folder import DataFolder, read_table, write_table
from speechrep.errors import SpeechrepError
from speechrep.metrics.score import read_score
from speechrep.tasks import ssimi
from speechrep.tasks.predict import score_predictions

WORDS = ("cat", "dog", "car", "bus")
JUDGED = {("cat", "dog"): 9.0, ("car", "bus"): 8.0, ("cat", "car"): 2.0, ("dog", "bus"): 3.0, ("dog", "car"): 1.5,
          ("cat", "bus"): 1.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Utterance 4 n + w is a token of word w; the even ones of synthetic are by ann, the odd ones by bob."""
    root = make_corpus(tmp_path_factory.mktemp("ssimi"), {"train": 4, "dev": 32, "test": 32})
    for part in ("dev", "test"):
        utts = folder(root, part).utts
        lines = ["type,filename,word,voice"]
        for number, utt in enumerate(utts):
            kind = "librispeech" if number < 16 else "synthetic"
            voice = "" if kind == "librispeech" else ("ann", "bob")[number // 4 % 2]
            lines.append(f"{kind},{utt}.wav,{WORDS[number % 4]},{voice}")
        pairs = ["type,dataset,word_1,word_2,similarity,relatedness"]
        for kind in ("librispeech", "synthetic"):
            pairs += [f"{kind},mturk,{a},{b},,{value}" for (a, b), value in JUDGED.items()]
            pairs += [f"{kind},simlex,{a},{b},{10 - value}," for (a, b), value in list(JUDGED.items())[:4]]
        (root / "data" / part / "gold.csv").write_text("\n".join(lines) + "\n")
        (root / "data" / part / "pairs.csv").write_text("\n".join(pairs) + "\n")
    return root


def arguments(root, out, *more):
    return [str(value) for value in ("score", "ssimi", "--upstream", "logmel", "--train", root / "data/train", "--test",
                                     root / "data/test", "--dump", root / "dump", "--system", "logmel", "--out", out, *more)]


def vectors_of(root, pooling):
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    dumped = read_scp(root / "dump/logmel/test/feats.scp")
    return [pooling((dumped[utt] - np.array(inventory.mean)) / np.array(inventory.std), 0)
            for utt in folder(root, "test").utts]


def test_the_score_is_that_of_a_plain_computation(root, tmp_path):
    assert main(arguments(root, tmp_path, "--distance", "cityblock", "--pooling", "max")) in (0, None)
    found = read_score(tmp_path / "score.json")["metrics"]
    vectors, wanted = vectors_of(root, np.max), {}
    for kind, offset in (("librispeech", 0), ("synthetic", 16)):
        distances = []
        for a, b in JUDGED:
            a, b = ([offset + 4 * n + WORDS.index(word) for n in range(4)] for word in (a, b))
            table = cdist([vectors[i] for i in a], [vectors[i] for i in b], "cityblock")
            # Synthetic tokens 0 and 2 are ann's, 1 and 3 are bob's.
            same = np.array([[(i - j) % 2 == 0 or kind == "librispeech" for j in range(4)] for i in range(4)])
            distances.append(table[same].mean())
        human = np.array(list(JUDGED.values()))
        wanted[f"{kind}_mturk"] = 100 * spearmanr(-human, distances)[0]
        wanted[f"{kind}_simlex"] = 100 * spearmanr(human[:4] - 10, distances[:4])[0]
    for name, value in wanted.items():
        assert found[f"ssimi_{name}"]["value"] == pytest.approx(value, abs=1e-6), name
    for kind in ("librispeech", "synthetic"):
        mturk, simlex = (wanted[f"{kind}_{name}"] for name in ("mturk", "simlex"))
        entry = found[f"ssimi_{kind}"]
        assert entry["value"] == pytest.approx((mturk + simlex) / 2)
        assert entry["low"] <= entry["value"] <= entry["high"] and entry["n"] == 10
        assert found[f"ssimi_{kind}_weighted"]["value"] == pytest.approx((6 * mturk + 4 * simlex) / 10)


def test_pooling_is_chosen_on_dev(root, tmp_path):
    assert main(arguments(root, tmp_path, "--dev", root / "data/dev")) in (0, None)
    found = read_score(tmp_path / "score.json")
    rows = [line.split("\t") for line in (tmp_path / "choices.tsv").read_text().splitlines()[1:]]
    assert {row[1] for row in rows} == set(ssimi.POOLINGS)
    best = max(rows, key=lambda row: float(row[2]))
    assert found["provenance"]["config"]["pooling"] == best[1]
    # On dev itself the chosen one scores what the table says.
    again = ssimi.score_ssimi("logmel", folder(root, "train"), folder(root, "dev"), root / "dump", tmp_path / "dev", "x", 0,
                              pooling=best[1])["metrics"]
    mean = (again["ssimi_librispeech_weighted"]["value"] + again["ssimi_synthetic_weighted"]["value"]) / 2
    assert mean == pytest.approx(float(best[2]), abs=1e-3)


@pytest.mark.parametrize("file, old, new, message", [
    ("pairs.csv", "cat,dog", "cat,cow", "'cow' of librispeech is not in gold.csv"),
    ("pairs.csv", "librispeech,simlex,cat,dog,1.0", "librispeech,simlex,cat,dog,", "gaps in similarity and relatedness"),
    ("gold.csv", "librispeech,spk0", "librispeech,nobody", "is not an utterance"),
    ("gold.csv", "type,filename,word", "kind,filename,word", "no type"), ("gold.csv", None, None, "no such file"),
    ("gold.csv", ",bob", ",cat", None), ("gold.csv", "cat,bob", "cat,zoe", None)])
def test_what_does_not_fit_is_refused(root, tmp_path, file, old, new, message):
    test = folder(root, "test").subset(folder(root, "test").utts, tmp_path / "data/test")
    for name in ("gold.csv", "pairs.csv"):
        text = (root / "data/test" / name).read_text()
        if name != file or old is not None:
            (test.path / name).write_text(text.replace(old, new) if name == file else text)
    if message:
        with pytest.raises(SpeechrepError, match=message):
            ssimi.read_words(DataFolder(test.path))
    else:
        # A voice that the other word lacks is left out, as the benchmark's scorer does.
        ssimi.score_ssimi("logmel", folder(root, "train"), test, root / "dump", tmp_path / "out", "x", 0)


def test_no_common_voice_and_an_unknown_distance_are_refused(root, tmp_path, capsys):
    test = folder(root, "test").subset(folder(root, "test").utts, tmp_path / "data/test")
    gold, pairs = ((root / "data/test" / name).read_text() for name in ("gold.csv", "pairs.csv"))
    (test.path / "pairs.csv").write_text(pairs)
    (test.path / "gold.csv").write_text(gold.replace("cat,ann", "cat,zoe").replace("cat,bob", "cat,zoe"))
    with pytest.raises(SpeechrepError, match="synthetic, mturk: 'cat' and 'dog': no two tokens with the same voice"):
        ssimi.score_ssimi("logmel", folder(root, "train"), test, root / "dump", tmp_path / "out", "x", 0)
    assert main(arguments(root, tmp_path, "--distance", "cosinus")) == 1
    assert "cosinus" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("part", ["dev", "test"])
def test_utterances_without_features_are_refused(root, tmp_path, part, cached):
    shutil.copytree(root / "dump", tmp_path / "dump")
    path = tmp_path / "dump/logmel" / part / "feats.scp"
    feats = read_table(path)
    write_table(path, dict(list(feats.items())[3:]))
    with pytest.raises(SpeechrepError, match=f"3 utterances of .*/{part} have no features, such as '{list(feats)[0]}'"):
        ssimi.score_ssimi("logmel", folder(root, "train"), folder(root, "test"), tmp_path / "dump", tmp_path / "out", "x", 0,
                          dev=folder(root, "dev"), cache=tmp_path / "layers" if cached else None)


def test_the_score_is_made_of_the_pairs_alone(root, tmp_path):
    """Without features and words the same numbers come out of the table; one that is not whole is refused."""
    out = tmp_path / "out"
    first = ssimi.score_ssimi("logmel", folder(root, "train"), folder(root, "test"), root / "dump", out, "x", 0,
                              dev=folder(root, "dev"))
    (out / "score.json").unlink()
    assert main([str(value) for value in ("score", "predictions", out, "--part", "test", "--system", "x", "--out",
                                          tmp_path / "again")]) in (0, None)
    again = read_score(tmp_path / "again/score.json")
    assert all(again[key] == first[key] for key in ("metrics", "notes", "system", "part", "seed"))
    assert all(again["provenance"][key] == first["provenance"][key] for key in ("config", "data"))
    path = out / "pairs.tsv"
    header, *lines = path.read_text().splitlines()
    assert len(lines) == 20

    def rescored(changed):
        path.write_text("\n".join([header, *changed]) + "\n")
        return score_predictions(out, "test", "x", 0, out)["metrics"]

    # Distances that are the judgements, negated, agree with them altogether.
    rows = [line.split("\t") for line in lines]
    agreed = rescored("\t".join([*row[:-1], str(-float(row[-2]))]) for row in rows)
    assert [entry["value"] for entry in agreed.values()] == pytest.approx([100] * 8)
    for changed, why in ((lines[1:], "5 pairs of librispeech/mturk\n  wanted: 6, as made.json says"),
                         ([*lines, lines[0]], "stands twice"), (lines[:6] + lines[10:], "0 pairs of librispeech/simlex"),
                         ([lines[0].replace("mturk", "other"), *lines[1:]], "pairs of librispeech/other"),
                         (["\t".join([*rows[0][:-1], "far"]), *lines[1:]], "pairs.tsv: 'far'")):
        with pytest.raises(SpeechrepError, match=why):
            rescored(changed)
