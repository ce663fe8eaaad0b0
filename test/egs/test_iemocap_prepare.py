"""egs/iemocap: from the release's layout to one data folder, on a small tree of the same shape."""

from collections import Counter

import pytest
from recipe_tree import load, problems, run_recipe, tasks_of, verbs_of_recipe, write, write_sound

from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError

LABELS = ("neu", "hap", "exc", "ang", "sad", "fru", "xxx", "sur")
TURNS = 12


def evaluation(dialog: str) -> list[str]:
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn in range(TURNS):
        name = f"{dialog}_{'FM'[turn % 2]}{turn // 2:03d}"
        label = LABELS[turn % len(LABELS)]
        lines += [f"[{6.2901 + turn:.4f} - {8.2357 + turn:.4f}]\t{name}\t{label}\t[2.5000, 2.5000, 2.5000]",
                  "C-E2:\tNeutral;\t()", "C-F1:\tHappiness; Excited;\t(amused)", "A-E3:\tval 3; act 2; dom  2;\t()", ""]
    return lines


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "IEMOCAP_full_release"
    for session in range(1, 6):
        for kind in ("impro01", "script01_1"):
            dialog = f"Ses0{session}F_{kind}"
            write(root / f"Session{session}/dialog/EmoEvaluation/{dialog}.txt", *evaluation(dialog))
            for turn in range(TURNS):
                write_sound(root / f"Session{session}/sentences/wav/{dialog}/{dialog}_{'FM'[turn % 2]}{turn // 2:03d}.wav")
        # What the release has beside them.
        write(root / f"Session{session}/dialog/EmoEvaluation/Categorical/Ses0{session}F_impro01_e2_cat.txt",
                    f"Ses0{session}F_impro01_F000 :Neutral; ()")
        write(root / f"Session{session}/dialog/transcriptions/Ses0{session}F_impro01.txt",
                    f"Ses0{session}F_impro01_F000 [006.2901-008.2357]: Excuse me.")
    return root


@pytest.fixture
def recipe(monkeypatch):
    module = load("iemocap")
    # Of 12 turns 0-4 and 8-11 have one of the five labels.
    monkeypatch.setattr(module, "PUBLISHED", {"emotion": {"utterances": 90, "speakers": 10, "utt2session": 5}})
    monkeypatch.setattr(module, "BY_CLASS", {"neutral": 20, "happy": 40, "angry": 20, "sad": 10})
    monkeypatch.setattr(module, "BY_SESSION", {f"Session{session}": 18 for session in range(1, 6)})
    return module


def test_classes_sessions_and_speakers(recipe, tree, tmp_path):
    recipe.prepare(tree, tmp_path / "data")
    folder = DataFolder(tmp_path / "data/emotion")
    assert problems(folder.path) == []
    emotions = folder.read("emotion")
    assert emotions["Ses01F_impro01_F000"] == "neutral" and emotions["Ses01F_impro01_F001"] == "happy"
    assert emotions["Ses01F_impro01_M000"] == "happy" and emotions["Ses04F_script01_1_M001"] == "angry"
    assert Counter(emotions.values()) == {"neutral": 20, "happy": 40, "angry": 20, "sad": 10}
    # The turn's own letter says who speaks, not that of the dialogue.
    assert folder.read("utt2spk")["Ses01F_impro01_M000"] == "Ses01M"
    assert folder.read("utt2session")["Ses04F_script01_1_M001"] == "Session4"
    left_out = dict(line.split("\t") for line in (tmp_path / "data/left_out.tsv").read_text().splitlines())
    assert len(left_out) == 30 and left_out["Ses02F_impro01_M002"] == "another emotion, or none agreed on: fru"


def test_the_real_corpus_has_other_counts(tree, tmp_path):
    module = load("iemocap")
    with pytest.raises(SpeechrepError, match="40 turns of happy instead of 1636.*18 turns of Session1 instead of 1085"):
        module.prepare(tree, tmp_path / "data")
    module.prepare(tree, tmp_path / "data", partial=True)
    assert len(DataFolder(tmp_path / "data/emotion").utts) == 90
    assert sum(module.BY_CLASS.values()) == sum(module.BY_SESSION.values()) == module.PUBLISHED["emotion"]["utterances"]


def test_bad_input(recipe, tree, tmp_path, capsys):
    path = tree / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    good = path.read_text()
    path.write_text(good.replace("\tneu\t", " neu ", 1))
    with pytest.raises(SpeechrepError, match="Ses02F_impro01.txt: '.6.2901"):
        recipe.prepare(tree, tmp_path / "data")
    path.unlink()
    with pytest.raises(SpeechrepError, match="18 turns of angry .* 9 turns of sad .*9 turns of Session2 instead of 18"):
        recipe.prepare(tree, tmp_path / "data")
    path.write_text(good)
    (tree / "Session5/sentences/wav/Ses05F_impro01/Ses05F_impro01_F000.wav").unlink()
    with pytest.raises(SpeechrepError, match="1 sound files are missing: .*Ses05F_impro01_F000.wav"):
        recipe.prepare(tree, tmp_path / "data")
    recipe.prepare(tree, tmp_path / "data", partial=True)
    assert "emotion has 89 utterances instead of 90" in capsys.readouterr().err
    assert len(DataFolder(tmp_path / "data/emotion").utts) == 89
    with pytest.raises(SpeechrepError, match="no Session1 in it"):
        recipe.prepare(tmp_path / "data", tmp_path / "more")


def test_run_as_far_as_prepared(tree, tmp_path):
    made = run_recipe("iemocap", tmp_path / "top", "--corpus", str(tree), "--partial", "true", "--nj", "1", "--stop-stage", "1")
    assert (made / "data/emotion/utt2session").read_text()
    assert tasks_of("iemocap", made / "data") == ["er"]
    assert tasks_of("iemocap", made / "data", "--task", "er_superb") == ["er_superb"]


def test_every_fold_of_every_system_in_every_seed(tmp_path):
    specs = {"mfcc": "mfcc", "hubert": "some/hubert-{seed}.pt"}
    said = verbs_of_recipe("iemocap", tmp_path, "--stage", "6", "--stop-stage", "7", "--seed", "0,1", "--folds", "2,4",
                           "--upstream", "mfcc,hubert=some/hubert-{seed}.pt")
    runs = [(spec.replace("{seed}", seed), f"exp/tasks/{name}-{seed}/er") for seed in "01" for name, spec in specs.items()]
    trained = [[words[words.index(option) + 1] for option in ("--upstream", "--exp", "--seed", "--set")]
               for words in said if words[0] == "train"]
    assert trained == [[spec, f"{exp}/fold{fold}", exp[-4], f"model.fold={fold}"] for spec, exp in runs for fold in "24"]
    assert [words[words.index("--checkpoint") + 1] for words in said if words[0] == "decode"] == [
        f"{exp}/fold{fold}/best.pt" for _, exp in runs for fold in "24"]
    joined = [words for words in said if words[:2] == ["score", "predictions"]]
    assert [(words[words.index("--out") + 1], *words[-2:]) for words in joined] == [
        (f"{exp}/test", f"{exp}/fold2/test", f"{exp}/fold4/test") for _, exp in runs]
