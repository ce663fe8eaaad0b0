"""egs/snips: from Audio SNIPS as SUPERB has it to data folders with slots, on a small tree of the same shape."""

import pytest
from recipe_tree import load, problems, run_recipe, tasks_of, write, write_sound

from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError

VOICES = ("Aditi Amy Brian Emma Geraint Ivy Joanna Joey Justin Kendra Kimberly Matthew Nicole Raveena Russell "
          "Salli").split()
SENTENCES = {
    "train": ["ADD BJÖRK TO MY \"NO SLEEP\" LIST\tO O B-artist O B-playlist_owner B-playlist I-playlist O AddToPlaylist",
              "PLAY SOMETHING , ROCK & ROLL !\tO O O O B-genre I-genre I-genre O PlayMusic"],
    "valid": ["BOOK SEVEN SEATS AT NOON\tO O B-party_size_number O O B-timeRange BookRestaurant"],
    "test": ["WEATHER IN OSLO NORWAY TOMORROW\tO O O B-city B-country B-timeRange GetWeather"]}


@pytest.fixture
def recipe(monkeypatch):
    module = load("snips")
    monkeypatch.setattr(module, "PUBLISHED", {
        "train": {"utterances": 16, "speakers": 8, "intent": 2}, "dev": {"utterances": 4, "speakers": 4},
        "test": {"utterances": 4, "speakers": 4}})
    return module


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "SNIPS"
    lines = []
    for name, sentences in SENTENCES.items():
        for voice in VOICES:
            for number, sentence in enumerate(sentences):
                said, tags = sentence.split("\t")
                utt = f"{voice}-snips-{name}-{number}"
                lines.append(f"{utt} BOS {said} EOS\t{tags}")
                write_sound(root / name / f"{utt}.wav", 0.8)
    write(root / "all.iob.snips.txt", *lines)
    return root


def test_speakers_slots_and_intents(recipe, tree, tmp_path):
    recipe.prepare(tree, tmp_path / "data")
    parts = {part: DataFolder(tmp_path / "data" / part) for part in ("train", "dev", "test")}
    assert problems(*(part.path for part in parts.values())) == []
    train = parts["train"]
    assert train.read("text")["Ivy-snips-train-0"] == "add bjork to my no sleep list"
    assert train.read("slots")["Ivy-snips-train-0"] == (
        "add B-artist bjork E-artist to B-playlist_owner my E-playlist_owner B-playlist no sleep E-playlist list")
    assert train.read("slots")["Ivy-snips-train-1"] == "play something B-genre rock and roll E-genre"
    assert train.read("text")["Ivy-snips-train-1"] == "play something rock and roll"
    assert train.read("intent")["Ivy-snips-train-1"] == "PlayMusic"
    assert parts["dev"].read("slots")["Amy-snips-valid-0"] == (
        "book B-party_size_number seven E-party_size_number seats at B-timeRange noon E-timeRange")
    # Two slots of one word each, side by side, and one at the end.
    assert parts["test"].read("slots")["Brian-snips-test-0"] == (
        "weather in B-city oslo E-city B-country norway E-country B-timeRange tomorrow E-timeRange")
    assert {part: sorted(set(folder.read("utt2spk").values())) for part, folder in parts.items()} == {
        "train": ["Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"],
        "dev": ["Aditi", "Amy", "Geraint", "Nicole"], "test": ["Brian", "Emma", "Raveena", "Russell"]}


@pytest.mark.parametrize("tags, slots", [
    ("B-a I-a I-b O", "B-a one two E-a B-b three E-b four"), ("B-a B-a O I-a", "B-a one E-a B-a two E-a three B-a four E-a"),
    ("O O O O", "one two three four")])
def test_runs_of_tags(recipe, tags, slots):
    assert recipe.with_slots("one two three four".split(), tags.split(), "x") == slots


@pytest.mark.parametrize("tag", ["X-a", "B", "O-a", "I-"])
def test_bad_tags(recipe, tag):
    with pytest.raises(SpeechrepError, match=f"the tag '{tag}'"):
        recipe.with_slots(["one"], [tag], "x")


@pytest.mark.parametrize("line", ["Ivy-snips-train-0 BOS GO NOW EOS\tO O PlayMusic", "Ivy-snips-train-0 GO EOS\tO PlayMusic",
                                  "Ivy-snips-train-0 BOS GO EOS O O PlayMusic"])
def test_bad_lines(recipe, tmp_path, line):
    write(tmp_path / "all.iob.snips.txt", line)
    with pytest.raises(SpeechrepError, match="Ivy-snips-train-0: . words from BOS to EOS"):
        recipe.prepare(tmp_path, tmp_path / "data")


def test_missing_sound_and_counts(recipe, tree, tmp_path):
    good = ["Salli-snips-train-7 BOS GO EOS\tO O PlayMusic"]
    write(tree / "all.iob.snips.txt", *good)
    with pytest.raises(SpeechrepError, match="Salli-snips-train-7.wav: no such file"):
        recipe.prepare(tree, tmp_path / "data")
    write_sound(tree / "train/Salli-snips-train-7.wav")
    with pytest.raises(SpeechrepError, match="train has 1 utterances instead of 16"):
        recipe.prepare(tree, tmp_path / "data")
    write(tree / "all.iob.snips.txt", "Salli-train-7 BOS GO EOS\tO O PlayMusic")
    with pytest.raises(SpeechrepError, match="the id 'Salli-train-7'"):
        recipe.prepare(tree, tmp_path / "data")
    with pytest.raises(SpeechrepError, match="no all.iob.snips.txt"):
        recipe.prepare(tree / "train", tmp_path / "data")


def test_mp3_where_there_is_no_wav(recipe, tmp_path):
    root = tmp_path / "SNIPS"
    write(root / "all.iob.snips.txt", *(f"{voice}-snips-{part}-0 BOS GO EOS\tO O PlayMusic" for voice, part in (
        ("Ivy", "train"), ("Amy", "valid"), ("Emma", "test"))))
    for name in ("train/Ivy-snips-train-0", "valid/Amy-snips-valid-0", "test/Emma-snips-test-0"):
        write_sound(root / f"{name}.mp3", 0.8, format="MP3")
    recipe.prepare(root, tmp_path / "data", partial=True)
    assert problems(tmp_path / "data/train") == []
    assert DataFolder(tmp_path / "data/train").read("wav.scp") == {
        "Ivy-snips-train-0": str(root / "train/Ivy-snips-train-0.mp3")}


def test_run_as_far_as_prepared(tree, tmp_path):
    made = run_recipe("snips", tmp_path / "top", "--corpus", str(tree), "--partial", "true", "--nj", "1", "--stop-stage", "1")
    assert (made / "data/test/slots").read_text()
    assert tasks_of("snips", made / "data") == ["asr_chars", "intent", "sf"]
    assert tasks_of("snips", made / "data", "--task", "sf_superb") == ["sf_superb"]
