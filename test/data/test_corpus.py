"""Corpora as published: counts, missing files, lists, and the data folders that are made of them."""

import argparse

import numpy as np
import pytest

from speechrep.data.audio import AudioReader, write_wav
from speechrep.data.check import check_folder, skip_bad
from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare, split_fields
from speechrep.data.folder import DataFolder
from speechrep.data.lists import read_list
from speechrep.errors import SpeechrepError


@pytest.fixture
def sound(tmp_path):
    """Makes a tone of so many seconds and returns its path."""
    def make(name, seconds=0.5):
        path = tmp_path / f"audio/{name}.wav"
        write_wav(path, 0.3 * np.sin(np.arange(round(8000 * seconds)) * 0.2), 8000)
        return path
    return make


def small(tmp_path, sound, partial=False):
    corpus = Corpus("toy", tmp_path / "data", partial)
    for utt in ("ann-1", "ann-2", "bob-1"):
        corpus.add("test", utt, sound(utt), {"text": "hello", "utt2spk": utt[:3], "spk2gender": "fm"[utt < "b"]})
    corpus.add_list("test", "trials", [("ann-1", "ann-2", "target"), ("ann-1", "bob-1", "nontarget")])
    return corpus


def test_folders_are_written(tmp_path, sound, capsys):
    corpus = small(tmp_path, sound)
    corpus.leave_out("cat-1", "a cat")
    corpus.write({"test": {"utterances": 3, "speakers": 2, "trials": 2, "text": 1}}, "a paper")
    folder = DataFolder(tmp_path / "data/test")
    assert folder.read("spk2utt") == {"ann": "ann-1 ann-2", "bob": "bob-1"}
    assert folder.read("spk2gender") == {"ann": "m", "bob": "f"}
    assert read_list(tmp_path / "data/test/trials") == [("ann-1", "ann-2", "target"), ("ann-1", "bob-1", "nontarget")]
    assert "trials" not in folder.streams() and check_folder(folder.path).problems == []
    assert (tmp_path / "data/left_out.tsv").read_text() == "cat-1\ta cat\n"
    assert "3 utterances of 2 speakers, 2 lines of trials" in capsys.readouterr().out


@pytest.mark.parametrize("wanted, words", [({"utterances": 4}, "test has 3 utterances instead of 4"),
                                           ({"speakers": 1}, "test has 2 speakers instead of 1"),
                                           ({"trials": 3}, "test has 2 trials instead of 3"),
                                           ({"intent": 31}, "test has 0 intent instead of 31")])
def test_other_counts(tmp_path, sound, capsys, wanted, words):
    with pytest.raises(SpeechrepError, match=words) as error:
        small(tmp_path, sound).write({"test": wanted}, "a paper")
    assert "a paper" in error.value.wanted and "--partial" in error.value.cure
    assert not (tmp_path / "data").exists()
    small(tmp_path, sound, partial=True).write({"test": wanted}, "a paper")
    assert words in capsys.readouterr().err and len(DataFolder(tmp_path / "data/test").utts) == 3


def test_a_missing_file(tmp_path, sound, capsys):
    def make(partial):
        corpus = small(tmp_path, sound, partial)
        assert not corpus.add("test", "bob-2", tmp_path / "none.wav", {"utt2spk": "bob"})
        corpus.add_list("test", "trials", [("ann-1", "ann-2", "target"), ("bob-1", "bob-2", "target")])
        return corpus
    with pytest.raises(SpeechrepError, match="1 sound files are missing: .*none.wav: no such file"):
        make(False).write()
    make(True).write()
    warnings = capsys.readouterr().err
    assert "none.wav" in warnings and "1 of 2 lines of trials name utterances that are not there, such as bob-2" in warnings
    assert read_list(tmp_path / "data/test/trials") == [("ann-1", "ann-2", "target")]
    assert (tmp_path / "data/left_out.tsv").read_text() == f"bob-2\t{tmp_path}/none.wav: no such file\n"


def test_a_trial_of_an_unknown_utterance(tmp_path, sound):
    corpus = small(tmp_path, sound)
    corpus.add_list("test", "trials", [("ann-1", "eve-1", "target")])
    with pytest.raises(SpeechrepError, match="test: 1 of 1 lines of trials .* such as eve-1"):
        corpus.write()


def test_lists_that_name_another_part(tmp_path, sound):
    corpus = small(tmp_path, sound)
    corpus.add("queries", "q1", sound("q1"), {})
    corpus.add_list("queries", "relevance", [("q1", "ann-1")], {1: ["test"]})
    corpus.write({"queries": {"utterances": 1, "relevance": 1}})
    assert (tmp_path / "data/queries/relevance").read_text() == "q1 ann-1\n"
    assert DataFolder(tmp_path / "data/queries").read("utt2spk") == {"q1": "q1"}
    corpus.add_list("queries", "relevance", [("q1", "ann-9")], {1: ["test"]})
    with pytest.raises(SpeechrepError, match="such as ann-9"):
        corpus.write()


def test_an_utterance_twice_and_a_part_of_none(tmp_path, sound):
    corpus = small(tmp_path, sound, partial=True)
    with pytest.raises(SpeechrepError, match="'ann-1' is twice in test"):
        corpus.add("test", "ann-1", sound("ann-1"), {})
    corpus.add("dev", "eve-1", tmp_path / "none.wav", {})
    with pytest.raises(SpeechrepError, match="no utterances for dev"):
        corpus.write()


def test_parts_of_recordings(tmp_path, sound):
    corpus = Corpus("toy", tmp_path / "data")
    noise = sound("noise", 3)
    corpus.add("train", "noise-1", noise, {"keyword": "_silence_"}, segment=("noise", 1, 2))
    corpus.add("train", "yes-1", sound("yes-1", 0.7), {"keyword": "yes", "utt2spk": "ann"})
    corpus.write()
    folder = DataFolder(tmp_path / "data/train")
    assert folder.read("segments") == {"noise-1": "noise 1 2", "yes-1": "yes-1 0 -1"}
    assert {utt: len(AudioReader(folder).read(utt)[0]) for utt in folder.utts} == {"noise-1": 8000, "yes-1": 5600}
    assert check_folder(folder.path).problems == []


@pytest.mark.parametrize("name, lines, found", [
    ("trials", "ann-1 ann-2 maybe", ":1: not a trial"), ("trials", "ann-1 ann-2 target\n" * 2, ":2: twice in the list"),
    ("trials", "ann-1 eve-1 target", "an utterance that the folder lacks"),
    ("rttm", "SPEAKER ann-1 1 0.1 0 <NA> <NA> ann <NA> <NA>", "no duration"),
    ("rttm", "SPEAKER eve-1 1 0.1 0.2 <NA> <NA> ann <NA> <NA>", "that the folder lacks"),
    ("relevance", "ann-1", "not a query and a document")])
def test_check_sees_bad_lists(tmp_path, sound, name, lines, found):
    small(tmp_path, sound).write()
    (tmp_path / f"data/test/{name}").write_text(lines)
    problems = check_folder(tmp_path / "data/test").problems
    assert len(problems) == 1 and problems[0].file.endswith(name) and found.removeprefix(":") in str(problems[0])


def test_skipping_and_cutting_keep_lists_right(tmp_path, sound):
    small(tmp_path, sound).write()
    folder = DataFolder(tmp_path / "data/test")
    folder.subset(["ann-1", "bob-1"], tmp_path / "cut")
    assert (tmp_path / "cut/trials").read_text() == "ann-1 bob-1 nontarget\n"
    folder.subset(["ann-1"], tmp_path / "one")
    assert not (tmp_path / "one/trials").exists()
    (tmp_path / "audio/bob-1.wav").write_bytes(b"")
    skip_bad(folder.path, check_folder(folder.path).problems)
    assert (folder.path / "trials").read_text() == "ann-1 ann-2 target\n" and not check_folder(folder.path).problems


def test_finding_and_reading(tmp_path):
    (tmp_path / "Corpus/lists").mkdir(parents=True)
    (tmp_path / "Corpus/lists/a.txt").write_text("one 1\n\n  two 2  \n")
    assert find_folder(tmp_path, "lists/a.txt") == find_folder(tmp_path / "Corpus", "lists") == tmp_path / "Corpus"
    assert split_fields(tmp_path / "Corpus/lists/a.txt", "a list", 2) == [["one", "1"], ["two", "2"]]
    with pytest.raises(SpeechrepError, match="2 fields in 'one 1'"):
        split_fields(tmp_path / "Corpus/lists/a.txt", "a list", 3)
    with pytest.raises(SpeechrepError, match="no b.txt in it"):
        find_folder(tmp_path, "b.txt")
    with pytest.raises(SpeechrepError, match="no such folder"):
        find_folder(tmp_path / "none", "b.txt")
    with pytest.raises(SpeechrepError, match="no such file\n  wanted: the list of words"):
        read_lines(tmp_path / "none.txt", "the list of words")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(SpeechrepError, match="not UTF-8"):
        read_lines(tmp_path / "bad.txt", "a list")


def test_command_line(tmp_path, monkeypatch):
    def prepare(corpus_dir, data_dir, partial):
        raise SpeechrepError(f"{corpus_dir} {data_dir} {partial}", "another")
    monkeypatch.setattr("sys.argv", ["prepare.py", "--partial", "in", "out"])
    assert isinstance(corpus_parser("x"), argparse.ArgumentParser)
    with pytest.raises(SystemExit, match="error: in out True\n  wanted: another"):
        run_prepare(prepare, corpus_parser("x"))
