"""egs/speech_commands: twelve classes or all words, by the official lists, on a tree laid out as published."""

import shutil

import pytest
from recipe_tree import folders, load, run_recipe, tasks_of, tone, write

from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError

recipe = load("speech_commands")
NOISES = ("doing_the_dishes", "dude_miaowing", "exercise_bike", "pink_noise", "running_tap", "white_noise")
SPEAKERS = ("0a7c2a8d", "0ab3b47d", "ffd2ba2f")
WORDS = (*recipe.KEYWORDS, "bed", "marvin")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Twelve words of three speakers: one trains, one is dev, one is test; ten seconds of each noise."""
    top = tmp_path_factory.mktemp("speech_commands")
    for version in (1, 2):
        root, test = top / f"speech_commands_v0.0{version}", top / f"speech_commands_test_set_v0.0{version}"
        for word in WORDS:
            for speaker in SPEAKERS:
                tone(root / word / f"{speaker}_nohash_0.wav")
        tone(root / f"bed/{SPEAKERS[0]}_nohash_1.wav")
        for name, speaker in (("validation", SPEAKERS[1]), ("testing", SPEAKERS[2])):
            write(root / f"{name}_list.txt", *(f"{word}/{speaker}_nohash_0.wav" for word in WORDS))
        for noise in NOISES:
            tone(root / f"_background_noise_/{noise}.wav", 10.3)
        write(root / "_background_noise_/README.md", "Noises.")
        for keyword in (*recipe.KEYWORDS, "_unknown_"):
            tone(test / keyword / "1a9afd33_nohash_0.wav")
        tone(test / "_silence_/7.wav")
    return top


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(recipe, "WORDS", dict.fromkeys((1, 2), {"train": 13, "dev": 12, "test_list": 12}))
    monkeypatch.setattr(recipe, "TEST", {1: 12, 2: 12})
    monkeypatch.setattr(recipe, "DISTINCT", {1: 12, 2: 12})


@pytest.mark.parametrize("version", [1, 2])
def test_twelve_classes(published, counted, tmp_path, version):
    recipe.prepare(published, tmp_path, version)
    found = folders(tmp_path)
    assert set(found) == {"train", "dev", "test", "test_list"}
    keyword = {part: folder.read("keyword") for part, folder in found.items()}
    assert all(len(set(table.values())) == 12 for table in keyword.values())
    assert keyword["train"]["0a7c2a8d_marvin_0"] == keyword["train"]["0a7c2a8d_bed_1"] == "_unknown_"
    assert found["train"].read("word")["0a7c2a8d_marvin_0"] == "marvin"
    assert keyword["dev"]["0ab3b47d_yes_0"] == "yes" and keyword["test_list"]["ffd2ba2f_go_0"] == "go"
    assert keyword["test"]["1a9afd33_unknown_0"] == "_unknown_" and keyword["test"]["silence_7"] == "_silence_"
    assert found["train"].read("utt2spk")["0a7c2a8d_bed_1"] == "0a7c2a8d"
    assert all(f"speech_commands_test_set_v0.0{version}/" in path for path in found["test"].read("wav.scp").values())


def test_silence_is_shared_out(published, counted, tmp_path):
    recipe.prepare(published, tmp_path)
    found = folders(tmp_path)
    seconds = {part: sorted(found[part].read("segments")[utt] for utt, keyword in found[part].read("keyword").items()
                            if keyword == "_silence_") for part in ("train", "dev", "test_list")}
    assert {part: len(lines) for part, lines in seconds.items()} == {"train": 48, "dev": 6, "test_list": 6}
    assert seconds["dev"][0] == "silence_doing_the_dishes 8 9" and seconds["test_list"][0] == "silence_doing_the_dishes 9 10"
    assert found["train"].read("segments")["0a7c2a8d_yes_0"] == "0a7c2a8d_yes_0 0 -1"
    assert "segments" not in found["test"].streams()
    assert abs(found["train"].seconds["silence_pink_noise_003"] - 1) < 1e-6


def test_every_word_a_class(published, counted, tmp_path):
    recipe.prepare(published, tmp_path)
    recipe.prepare(published, tmp_path, classes="words")
    found = folders(tmp_path)
    assert set(found) == {"train", "dev", "test"}
    assert set(found["test"].read("keyword").values()) == set(WORDS) and len(found["test"].utts) == 12


def test_published_counts_are_wanted(published, tmp_path, capsys):
    with pytest.raises(SpeechrepError, match="train has 13 lines of word instead of 51088.*test has 12 utter.* 3081"):
        recipe.prepare(published, tmp_path)
    with pytest.raises(SpeechrepError, match="instead of 84843"):
        recipe.prepare(published, tmp_path, version=2)
    recipe.prepare(published, tmp_path, partial=True)
    assert "instead of 51088" in capsys.readouterr().err and len(folders(tmp_path)) == 4


@pytest.mark.parametrize("spoil, message", [
    (lambda root: (root / "bed/ffd2ba2f_nohash_0.wav").unlink(), "bed/ffd2ba2f_nohash_0.wav: no such file"),
    (lambda root: (root / "_background_noise_/pink_noise.wav").unlink(), "has 5 sound files instead of 6")])
def test_an_incomplete_corpus(published, counted, tmp_path, capsys, spoil, message):
    shutil.copytree(published, tmp_path / "corpus")
    spoil(tmp_path / "corpus/speech_commands_v0.01")
    with pytest.raises(SpeechrepError, match=message):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data")
    recipe.prepare(tmp_path / "corpus", tmp_path / "data", partial=True)
    assert "warning" in capsys.readouterr().err and folders(tmp_path / "data")


@pytest.mark.parametrize("spoil, message", [
    (lambda root: (root / "testing_list.txt").unlink(), "testing_list.txt: no such file"),
    (lambda root: write(root / "testing_list.txt", "yes/0ab3b47d_nohash_0.wav"), "yes/0ab3b47d_nohash_0.wav is in dev too"),
    (lambda root: tone(root / "bed/mine.wav"), "mine.wav: not a name of this corpus"),
    (lambda root: shutil.rmtree(root.parent / "speech_commands_test_set_v0.01"), "_silence_")])
def test_what_cannot_be_right_is_refused(published, counted, tmp_path, spoil, message):
    shutil.copytree(published, tmp_path / "corpus", ignore=shutil.ignore_patterns("*v0.02"))
    spoil(tmp_path / "corpus/speech_commands_v0.01")
    with pytest.raises(SpeechrepError, match=message):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data", partial=True)


def test_the_recipe_runs(published, tmp_path):
    made = run_recipe("speech_commands", tmp_path, "--corpus", str(published), "--partial", "true", "--nj", "1",
                      "--version", "2", "--classes", "words", "--stop-stage", "1")
    assert set(DataFolder(made / "data/test").read("keyword").values()) == set(WORDS)
    assert tasks_of("speech_commands", made / "data") == ["ks"]
    assert tasks_of("speech_commands", made / "data", "--task", "ks_superb") == ["ks_superb"]
