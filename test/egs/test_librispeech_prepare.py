"""egs/librispeech: parts, transcripts and Libri-light's limited sets, on a tree laid out as published."""

import shutil

import pytest
from recipe_tree import folders, load, run_recipe, tasks_of, tone, write

from speechrep.align.textgrid import Interval, write_textgrid
from speechrep.errors import SpeechrepError

PARTS = {"train-clean-100": ("19", "103", "27"), "dev-clean": ("84",), "dev-other": ("116",), "test-clean": ("61",),
         "test-other": ("367",)}
recipe = load("librispeech")


def chapter(root, speaker, number, utts):
    folder = root / speaker / number
    names = [f"{speaker}-{number}-{utt:04d}" for utt in range(utts)]
    for name in names:
        tone(folder / f"{name}.flac", kind="FLAC")
    write(folder / f"{speaker}-{number}.trans.txt", *(f"{name} IT'S NUMBER {i}" for i, name in enumerate(names)))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    top = tmp_path_factory.mktemp("librispeech")
    rows = ["; Some pipe(|) separated metadata", ";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for part, speakers in PARTS.items():
        for speaker in speakers:
            chapter(top / "LibriSpeech" / part, speaker, "1001", 2)
            rows.append(f"{speaker:5}| {'F' if speaker == '19' else 'M'} | {part:16} | 25.19 | A | Reader")
    rows += [f"{speaker:5}| F | train-clean-360 | 25.0 | Reader {speaker}" for speaker in range(500, 530)]
    write(top / "LibriSpeech/SPEAKERS.TXT", *rows)
    limited = top / "librispeech_finetuning"
    for fold in range(6):
        for kind, first in (("clean", 500), ("other", 512)):
            for speaker in range(first + 2 * fold, first + 2 * fold + 2):
                chapter(limited / f"1h/{fold}/{kind}", str(speaker), "7", 1)
    for kind, first in (("clean", 500), ("other", 512)):
        for speaker in range(first, first + 12):
            chapter(limited / f"9h/{kind}", str(speaker), "8", 1)
    return top


@pytest.fixture
def counted(monkeypatch):
    """The counts of the small tree in the place of the published ones."""
    monkeypatch.setattr(recipe, "UTTERANCES", dict.fromkeys(recipe.PARTS, 2) | {"train-clean-100": 6})
    monkeypatch.setattr(recipe, "SPEAKERS", dict.fromkeys(recipe.PARTS, 1) | {"train-clean-100": 3})


def test_parts(published, counted, tmp_path):
    recipe.prepare(published, tmp_path)
    assert tasks_of("librispeech", tmp_path) == ["asr_10h", "asr_10min", "asr_10min_finetuned", "asr_1h", "asr_chars"]
    found = folders(tmp_path)
    assert set(found) == {"train", "dev", "dev_other", "test", "test_other", "train_10min", "train_1h", "train_10h"}
    assert found["train"].utts == [f"{speaker}-1001-000{utt}" for speaker in ("103", "19", "27") for utt in range(2)]
    assert found["train"].read("text")["19-1001-0001"] == "it's number 1"
    assert found["train"].read("spk2gender") == {"103": "m", "19": "f", "27": "m"}
    assert found["dev"].read("utt2spk") == {"84-1001-0000": "84", "84-1001-0001": "84"}
    assert found["test_other"].read("wav.scp")["367-1001-0000"].endswith(
        "LibriSpeech/test-other/367/1001/367-1001-0000.flac")
    assert set(found["dev_other"].read("utt2lang").values()) == {"en"}


def test_a_lexicon_and_times_of_another_aligner(published, tmp_path, monkeypatch):
    """TextGrids laid out as those of Lugosch et al. for LibriSpeech; the phones are the lexicon's, as it spells words."""
    lexicon = write(tmp_path / "lexicon.txt", "IT'S IH1 T S", "IT'S IH0 T S", "NUMBER N AH1 M B ER0")
    for sound in (published / "LibriSpeech").rglob("*.flac"):
        part = sound.relative_to(published / "LibriSpeech").parent
        write_textgrid(tmp_path / "times" / part / f"{sound.stem}.TextGrid", {
            "words": [Interval(0.1, 0.3, "it's")],
            "phones": [Interval(0.1, 0.2, "IH1"), Interval(0.2, 0.25, "T"), Interval(0.25, 0.3, "S"), Interval(0.3, 0.4, "sil")]})
    shutil.copytree(published / "LibriSpeech", tmp_path / "corpus/LibriSpeech")
    made = run_recipe("librispeech", tmp_path, "--corpus", str(tmp_path / "corpus"), "--partial", "true", "--nj", "1",
                      "--lexicon", str(lexicon), "--textgrids", str(tmp_path / "times"), "--stop-stage", "2")
    monkeypatch.chdir(made)
    found = folders(made / "data")
    assert set(found) == {"train", "dev", "dev_other", "test", "test_other"}
    for folder in found.values():
        assert set(folder.read("ali")) == set(folder.utts)
        assert set(folder.read("ali").values()) == {"SIL 0.1000 IH1 0.2000 T 0.2500 S 0.3000 SIL 0.4000"}
        assert all(line.startswith("IH1 T S | N AH1 M B ER0 | ") for line in folder.read("phones").values())


def test_limited_sets(published, counted, tmp_path):
    recipe.prepare(published, tmp_path, fold=2)
    found = folders(tmp_path)
    assert set(found["train_10min"].read("spk2utt")) == {"504", "505", "516", "517"}
    assert len(found["train_1h"].utts) == 24 and len(found["train_10h"].utts) == 48
    assert set(found["train_10min"].utts) < set(found["train_1h"].utts) < set(found["train_10h"].utts)


def test_some_parts_and_no_limited_sets(published, counted, tmp_path, capsys):
    shutil.copytree(published / "LibriSpeech", tmp_path / "corpus")
    recipe.prepare(tmp_path / "corpus", tmp_path / "data", parts="dev-clean,test-clean")
    assert set(folders(tmp_path / "data")) == {"dev", "test"}
    assert "no train_10min" in capsys.readouterr().out
    with pytest.raises(SpeechrepError, match="no part 'dev'"):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data", parts="dev")


def test_published_counts_are_wanted(published, tmp_path, capsys):
    with pytest.raises(SpeechrepError, match="train has 6 utterances instead of 28539; train has 3 speakers instead of 251"):
        recipe.prepare(published, tmp_path)
    recipe.prepare(published, tmp_path, partial=True)
    assert "instead of 28539" in capsys.readouterr().err and len(folders(tmp_path)) == 8


@pytest.mark.parametrize("spoil, message", [
    (lambda top: (top / "LibriSpeech/dev-clean/84/1001/84-1001-0001.flac").unlink(), "84-1001-0001.flac: no such file"),
    (lambda top: write(top / "LibriSpeech/dev-clean/84/1001/84-1001.trans.txt", "84-1001-0000 A"),
     "1 sound files without a transcript, such as 84-1001-0001.flac"),
    (lambda top: shutil.rmtree(top / "LibriSpeech/dev-clean"), "no folder .*dev-clean"),
    (lambda top: shutil.rmtree(top / "librispeech_finetuning/1h/3/other"), "1h/3/other: no transcripts"),
    (lambda top: shutil.rmtree(top / "librispeech_finetuning/1h/3/other/518"), "1h/3/other: 1 speaker.s. instead of 2"),
    (lambda top: shutil.rmtree(top / "librispeech_finetuning/9h/clean/505"), "9h/clean: 11 speaker.s. instead of 12")])
def test_an_incomplete_corpus(published, counted, tmp_path, capsys, spoil, message):
    shutil.copytree(published, tmp_path / "corpus")
    spoil(tmp_path / "corpus")
    with pytest.raises(SpeechrepError, match=message) as error:
        recipe.prepare(tmp_path / "corpus", tmp_path / "data")
    assert "--partial" in error.value.cure and not (tmp_path / "data").exists()
    recipe.prepare(tmp_path / "corpus", tmp_path / "data", partial=True)
    assert "warning: LibriSpeech" in capsys.readouterr().err and folders(tmp_path / "data")


@pytest.mark.parametrize("spoil, message", [
    (lambda top: write(top / "LibriSpeech/SPEAKERS.TXT", "19 | F | train-clean-100 | 25.0 | R"), "the speaker 103 is not in"),
    (lambda top: (top / "LibriSpeech/dev-clean/84").rename(top / "LibriSpeech/dev-other/84"), "the speaker 84 is of dev-clean"),
    (lambda top: write(top / "LibriSpeech/SPEAKERS.TXT", "19 | F | train-clean-100"), "ID . SEX . SUBSET"),
    (lambda top: (top / "LibriSpeech/SPEAKERS.TXT").unlink(), "no SPEAKERS.TXT")])
def test_what_cannot_be_right_is_refused(published, counted, tmp_path, spoil, message):
    shutil.copytree(published, tmp_path / "corpus")
    spoil(tmp_path / "corpus")
    with pytest.raises(SpeechrepError, match=message):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data", partial=True)
