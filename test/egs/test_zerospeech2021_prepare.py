"""egs/zerospeech2021: from the challenge's layout to data folders, on a small tree of the same shape."""

import numpy as np
import pytest
import soundfile
import torch
from recipe_tree import load, problems, run_recipe, tasks_of, write, write_sound

from speechrep.bin import main
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.metrics.score import read_score
from speechrep.tasks.abx import CONDITIONS, read_items, score_abx

HEADER = "#file onset offset #phone prev-phone next-phone speaker"
ITEMS = ["84-121123-0000 0.2225 0.4525 IH1 N G 84", "84-121123-0000 0.3925 0.4525 G IH1 Z 84",
         "1272-128104-0000 0.1 0.3 G IH1 Z 1272"]
GOLD = ["filename,type,word,voice", "aaRpeKDRbj,librispeech,abduct,", "bbRpeKDRbj,librispeech,KIDNAP,",
        "aAbcsWWKCz,synthetic,abduct,A", "bAbcsWWKCz,synthetic,kidnap,A", "cAbcsWWKCz,synthetic,kidnap,B"]
PAIRS = ["type,dataset,word_1,word_2,similarity,relatedness", "librispeech,simverb,abduct,KIDNAP,8.63,",
         "synthetic,men,abduct,kidnap,,0.5"]


@pytest.fixture
def recipe(monkeypatch):
    module = load("zerospeech2021")
    monkeypatch.setattr(module, "PUBLISHED", {"phonetic_dev_clean": {"utterances": 2},
                                              "phonetic_test_clean": {"utterances": 1}})
    return module


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "zerospeech2021_dataset"
    for name in ("dev-clean", "dev-other"):
        write(root / f"phonetic/{name}.item", HEADER, *ITEMS)
        for utt in ("84-121123-0000", "1272-128104-0000"):
            write_sound(root / f"phonetic/{name}/{utt}.wav", 0.6)
    for name in ("test-clean", "test-other"):
        write_sound(root / f"phonetic/{name}/61-70968-0000.wav", 0.6)
    for row in GOLD[1:]:
        name, kind, *_ = row.split(",")
        write_sound(root / f"semantic/dev/{kind}/{name}.wav", 0.4)
    write(root / "semantic/dev/gold.csv", *GOLD)
    write(root / "semantic/dev/pairs.csv", *PAIRS)
    write_sound(root / "semantic/test/librispeech/AabWUdQiJx.wav", 0.4)
    write_sound(root / "semantic/test/synthetic/aaEGIphSpE.wav", 0.4)
    return root


def test_phonetic(recipe, tree, tmp_path):
    recipe.prepare(tree.parent, tmp_path / "data")
    folder = DataFolder(tmp_path / "data/phonetic_dev_clean")
    assert folder.read("utt2spk") == {"84-121123-0000": "84", "1272-128104-0000": "1272"}
    tokens = read_items(folder.path / "items.item")
    assert (tokens[0].utt, tokens[0].phone, tokens[0].onset) == ("84-121123-0000", "IH1", 0.2225) and len(tokens) == 3
    # The challenge keeps the items of its test to itself.
    assert DataFolder(tmp_path / "data/phonetic_test_other").utts == ["61-70968-0000"]
    assert not (tmp_path / "data/phonetic_test_other/items.item").exists()
    names = [f"phonetic_{part}_{kind}" for part in ("dev", "test") for kind in ("clean", "other")]
    assert problems(*(tmp_path / "data" / name for name in names)) == []


def test_semantic(recipe, tree, tmp_path):
    recipe.prepare(tree, tmp_path / "data")
    folder = DataFolder(tmp_path / "data/semantic_dev")
    assert problems(folder.path, tmp_path / "data/semantic_test") == []
    assert folder.read("text")["librispeech_bbRpeKDRbj"] == "kidnap"
    assert folder.read("corpus")["synthetic_aAbcsWWKCz"] == "synthetic"
    assert folder.read("utt2spk")["synthetic_cAbcsWWKCz"] == "B"
    assert folder.read("utt2spk")["librispeech_aaRpeKDRbj"] == "librispeech_aaRpeKDRbj"
    for name, lines in (("gold.csv", GOLD), ("pairs.csv", PAIRS)):
        assert (folder.path / name).read_text().splitlines() == lines
    assert DataFolder(tmp_path / "data/semantic_test").utts == ["librispeech_AabWUdQiJx", "synthetic_aaEGIphSpE"]


def test_labels_of_test_where_they_are_there(recipe, tree, tmp_path):
    write(tree / "phonetic/test-clean.item", HEADER, "61-70968-0000 0.1 0.2 G IH1 Z 61")
    write(tree / "semantic/test/gold.csv", "type,word,filename", "librispeech,go,AabWUdQiJx",
                "synthetic,go,aaEGIphSpE")
    write(tree / "semantic/test/pairs.csv", PAIRS[0], "librispeech,x,go,go,1,")
    recipe.prepare(tree, tmp_path / "data")
    assert len(read_items(tmp_path / "data/phonetic_test_clean/items.item")) == 1
    assert DataFolder(tmp_path / "data/semantic_test").read("text")["synthetic_aaEGIphSpE"] == "go"


@pytest.mark.parametrize("name, old, new, found", [
    ("phonetic/dev-clean.item", "0.2225 0.4525", "0.4525 0.2225", "0.4525 0.2225"),
    ("phonetic/dev-clean.item", "G IH1 Z 84", "G IH1 84", "6 fields"),
    ("phonetic/dev-clean.item", "IH1 Z 84", "IH1 Z 85", "speaker a file"),
    ("phonetic/dev-clean.item", "#file", "file", "another first line"),
    ("phonetic/dev-clean.item", "1272-128104-0000", "1272-128104-0001", "1272-128104-0001.wav: no such file"),
    ("semantic/dev/gold.csv", "type,word", "kind,word", "has no type"),
    ("semantic/dev/gold.csv", "synthetic,abduct", "real,abduct", "the type 'real'"),
    ("semantic/dev/pairs.csv", "men,abduct", "men,adduct", "'adduct' in synthetic"),
    ("semantic/dev/gold.csv", "cAbcsWWKCz", "bAbcsWWKCz", "is twice in semantic_dev")])
def test_bad_input(recipe, tree, tmp_path, name, old, new, found):
    path = tree / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SpeechrepError) as error:
        recipe.prepare(tree, tmp_path / "data")
    assert found in str(error.value)


def test_the_real_corpus_is_larger(tree, tmp_path):
    with pytest.raises(SpeechrepError, match="phonetic_dev_clean has 2 utterances instead of 2703"):
        load("zerospeech2021").prepare(tree, tmp_path / "data")
    with pytest.raises(SpeechrepError, match="no phonetic in it"):
        load("zerospeech2021").prepare(tree / "semantic", tmp_path / "data")


def test_run_as_far_as_prepared(tree, tmp_path):
    made = run_recipe("zerospeech2021", tmp_path / "top", "--corpus", str(tree), "--partial", "true", "--nj", "1", "--stop-stage", "1")
    assert (made / "data/phonetic_dev_clean/items.item").read_text()
    assert tasks_of("zerospeech2021", made / "data") == ["abx"]


def add_noise_with_labels(tree):
    """Noise in place of all tones; items of two phones in one context, and words with judgements, for dev and test."""
    for part, utts in (("dev", ("84-121123-0000", "1272-128104-0000")), ("test", ("61-70968-0000",))):
        for kind in ("clean", "other"):
            write(tree / f"phonetic/{part}-{kind}.item", HEADER, *(
                f"{utt} {start / 10} {start / 10 + 0.1} {phone} N G {utt.split('-')[0]}"
                for utt in utts for start, phone in enumerate(("IH1", "AE1", "IH1", "AE1", "IH1"))))
        rows, pairs = [], []
        for kind in ("librispeech", "synthetic"):
            rows += [f"{kind}{number},{kind},{word},A" for number, word in enumerate(("cat", "dog", "bus", "cat", "dog"))]
            pairs += [f"{kind},men,cat,dog,,0.9", f"{kind},men,cat,bus,,0.2", f"{kind},men,dog,bus,,0.4"]
        write(tree / f"semantic/{part}/gold.csv", GOLD[0], *rows)
        write(tree / f"semantic/{part}/pairs.csv", PAIRS[0], *pairs)
        for row in rows:
            name, kind, *_ = row.split(",")
            write_sound(tree / f"semantic/{part}/{kind}/{name}.wav", 0.4)
    rng = np.random.default_rng(0)
    for path in sorted(tree.rglob("*.wav")):
        length = len(soundfile.read(path)[0])
        soundfile.write(path, (0.1 * np.cumsum(rng.standard_normal(length)) / np.sqrt(length)).astype(np.float32), 16000)


def test_layers_are_chosen_on_dev(tree, tmp_path, monkeypatch):
    """By run.sh and by the suite, of plain features and a released model, with the labels of test; the layer is that of the
    least error on clean dev, layer and pooling of sSIMI the best on semantic_dev."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)).save_pretrained(tmp_path / "released")
    add_noise_with_labels(tree)
    specs = {"mfcc": "mfcc", "released": str(tmp_path / "released")}
    made = run_recipe("zerospeech2021", tmp_path / "top", "--corpus", str(tree), "--partial", "true", "--nj", "1",
                      "--upstream", f"released={specs['released']}")
    assert tasks_of("zerospeech2021", made / "data") == ["abx", "ssimi"]
    monkeypatch.chdir(made)
    assert main(["suite", "score", "--upstream", f"mfcc,released={specs['released']}", "--task", "abx,ssimi"]) == 0
    clean = DataFolder("data/phonetic_dev_clean")
    for system, layers in (("mfcc", 1), ("released", 3)):
        errors = []
        for layer in range(layers):
            found = score_abx(specs[system], clean, clean, made / "dump", tmp_path / f"{system}{layer}", "x", 0,
                              layer)["metrics"]
            errors.append(np.mean([found[name]["value"] for name in CONDITIONS if name in found]))
        phonetic, semantic = ([path.parent for name in (f"tasks/{system}-0/{task}", f"{system}-0/{task}_*")
                               for path in sorted((made / "exp").glob(f"{name}/score.json"))] for task in ("abx", "ssimi"))
        for folder in phonetic:
            config = read_score(folder / "score.json")["provenance"]["config"]
            assert config["dev"] == "data/phonetic_dev_clean" and config["layer"] == int(np.argmin(errors))
        for folder in semantic:
            config = read_score(folder / "score.json")["provenance"]["config"]
            rows = [line.split("\t") for line in (folder / "choices.tsv").read_text().splitlines()[1:]]
            best = max(rows, key=lambda row: float(row[2]))
            assert len({row[0] for row in rows}) == layers and config["dev"] == "data/semantic_dev"
            assert [str(config["layer"]), config["pooling"]] == best[:2]
        assert (len(phonetic), len(semantic)) == ((5, 3) if system == "released" else (1, 1))
    for whole, own in (("abx", "abx_phonetic_test_clean"), ("ssimi", "ssimi_semantic_test")):
        assert read_score(f"exp/tasks/released-0/{whole}/score.json")["metrics"] == read_score(
            f"exp/released-0/{own}/score.json")["metrics"]
