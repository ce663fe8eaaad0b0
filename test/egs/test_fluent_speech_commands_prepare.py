"""egs/fluent_speech_commands: from the layout of the archive to data folders, on a small tree of the same shape."""

import pytest
from recipe_tree import load, problems, run_recipe, tasks_of, write, write_sound

from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError

HEADER = ",path,speakerId,transcription,action,object,location"
ROWS = {"train": ["2BqVo8kVB2Skwgyb,Change language,change language,none,none",
                  "2BqVo8kVB2Skwgyb,Turn on the lights,activate,lights,none",
                  'anvKyBjB5OiP5dYZ,"Turn the lights off, in the kitchen",deactivate,lights,kitchen'],
        "valid": ["2ojo7YRL7Gck83Z3,Volume up,increase,volume,none"],
        "test": ["4aGjX3AG5xcxeL7a,Bring me my shoes,bring,shoes,none"]}
COUNTS = {"train": {"utterances": 3, "speakers": 2, "intent": 3}, "dev": {"utterances": 1}, "test": {"utterances": 1}}


@pytest.fixture
def recipe(monkeypatch):
    module = load("fluent_speech_commands")
    monkeypatch.setattr(module, "PUBLISHED", COUNTS)
    return module


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "corpus/fluent_speech_commands_dataset"
    for name, rows in ROWS.items():
        lines = []
        for number, row in enumerate(rows):
            path = f"wavs/speakers/{row.split(',')[0]}/{name}{number}-451b-11e9-a0e5-79723956ff55.wav"
            lines.append(f"{number},{path},{row}")
            write_sound(root / path, 1.0)
        write(root / f"data/{name}_data.csv", HEADER, *lines)
    return tmp_path / "corpus"


def test_parts_and_intents(recipe, tree, tmp_path):
    recipe.prepare(tree, tmp_path / "data")
    parts = {part: DataFolder(tmp_path / "data" / part) for part in ("train", "dev", "test")}
    assert problems(*(part.path for part in parts.values())) == []
    train = parts["train"]
    utts = ["2BqVo8kVB2Skwgyb_train0-451b-11e9-a0e5-79723956ff55", "2BqVo8kVB2Skwgyb_train1-451b-11e9-a0e5-79723956ff55",
            "anvKyBjB5OiP5dYZ_train2-451b-11e9-a0e5-79723956ff55"]
    assert train.utts == utts
    assert [train.read("intent")[utt] for utt in utts] == ["change language|none|none", "activate|lights|none",
                                                           "deactivate|lights|kitchen"]
    assert train.read("text")[utts[2]] == "turn the lights off in the kitchen"
    assert train.read("utt2spk")[utts[2]] == "anvKyBjB5OiP5dYZ"
    assert list(parts["dev"].read("intent").values()) == ["increase|volume|none"]
    assert list(parts["test"].read("utt2spk").values()) == ["4aGjX3AG5xcxeL7a"]


def test_the_real_corpus_is_larger(tree, tmp_path, capsys):
    module = load("fluent_speech_commands")
    with pytest.raises(SpeechrepError, match="train has 3 utterances instead of 23132"):
        module.prepare(tree, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    module.prepare(tree, tmp_path / "data", partial=True)
    assert "warning: " in capsys.readouterr().err and len(DataFolder(tmp_path / "data/train").utts) == 3
    assert sum(counts["utterances"] for counts in module.PUBLISHED.values()) == 30043


def test_a_missing_sound(recipe, tree, tmp_path):
    gone = next(tree.rglob("train1-*.wav"))
    gone.unlink()
    with pytest.raises(SpeechrepError, match=f"1 sound files are missing: .*{gone.name}"):
        recipe.prepare(tree, tmp_path / "data")
    recipe.prepare(tree, tmp_path / "data", partial=True)
    assert gone.name in (tmp_path / "data/left_out.tsv").read_text()


def test_bad_tables(recipe, tree, tmp_path):
    table = next(tree.rglob("valid_data.csv"))
    good = table.read_text()
    table.write_text(good.replace(",increase,", ",,"))
    with pytest.raises(SpeechrepError, match="line 2 has no action"):
        recipe.prepare(tree, tmp_path / "data")
    table.write_text(good.replace("speakerId", "who"))
    with pytest.raises(SpeechrepError, match="has no speakerId"):
        recipe.prepare(tree, tmp_path / "data")
    table.unlink()
    with pytest.raises(SpeechrepError, match="valid_data.csv: no such file"):
        recipe.prepare(tree, tmp_path / "data")
    with pytest.raises(SpeechrepError, match="no data/train_data.csv"):
        recipe.prepare(tmp_path, tmp_path / "data")


def test_run_as_far_as_prepared(tree, tmp_path):
    made = run_recipe("fluent_speech_commands", tmp_path / "top", "--corpus", str(tree), "--partial", "true", "--nj", "1", "--stop-stage", "1")
    assert (made / "data/test/intent").read_text()
    assert tasks_of("fluent_speech_commands", made / "data") == ["asr_chars", "intent"]
    assert tasks_of("fluent_speech_commands", made / "data", "--task", "intent_superb") == ["intent_superb"]
