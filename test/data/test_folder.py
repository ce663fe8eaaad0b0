import numpy as np
import pytest

from speechrep.data.audio import write_wav
from speechrep.data.folder import (DataFolder, bad_id, read_table, spk2utt, split, table_text, write_folder,
                                   write_table)
from speechrep.errors import SpeechrepError


@pytest.fixture
def folder(tmp_path):
    for name, count in [("a", 8000), ("b", 4001), ("rec", 16000)]:
        write_wav(tmp_path / f"{name}.wav", np.full(count, 0.1), 8000)
    return write_folder(tmp_path / "train", {
        "wav.scp": {"b-1": f"{tmp_path}/b.wav", "a-1": f"{tmp_path}/a.wav"},
        "text": {"a-1": "hello  you ", "b-1": "你好"},
        "utt2spk": {"a-1": "a", "b-1": "b"}, "units.k100": {"a-1": "1 2 3"}})


def test_a_folder_is_written_as_kaldi_has_it(folder, tmp_path):
    assert (folder.path / "wav.scp").read_text() == f"a-1 {tmp_path}/a.wav\nb-1 {tmp_path}/b.wav\n"
    assert (folder.path / "text").read_bytes() == "a-1 hello  you\nb-1 你好\n".encode()
    assert (folder.path / "spk2utt").read_text() == "a a-1\nb b-1\n"
    assert folder.name == "train" and folder.utts == ["a-1", "b-1"]
    assert folder.read("text") == {"a-1": "hello  you", "b-1": "你好"}
    assert folder.streams() == ["spk2utt", "text", "units.k100", "utt2spk", "wav.scp"]
    assert folder.has("text") and not folder.has("phones")


def test_order_is_that_of_the_c_locale(tmp_path):
    keys = ["B", "a", "a-1", "a_1", "aB", "é", "z", "中", "😀", "ｚ", "10", "9"]
    write_table(tmp_path / "t", {key: "x" for key in keys})
    lines = (tmp_path / "t").read_bytes().splitlines()
    assert lines == sorted(lines)
    assert list(read_table(tmp_path / "t")) == [line.split()[0].decode() for line in lines]


@pytest.mark.parametrize("content, message", [
    (b"a 1\nb 2\na 3\n", ":3: 'a' stands twice"), (b"a 1\na 2\n", ":2: 'a' stands twice"),
    (b"b 1\na 2\n", ":2: 'a' stands after 'b'"), (b"a 1\n\nb 2\n", ":2: an empty line"),
    (b"a 1\nb caf\xe9\n", ":2: b: not UTF-8"), (b"a\xff 1\n", "not UTF-8")])
def test_malformed_tables(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(SpeechrepError, match=message):
        read_table(tmp_path / "t")


def test_lenient_about_spacing_and_line_ends(tmp_path):
    (tmp_path / "t").write_bytes(b"a\t1 2\r\nb  3 \nc\nd 4")
    assert read_table(tmp_path / "t") == {"a": "1 2", "b": "3", "c": "", "d": "4"}
    (tmp_path / "t").write_bytes(b"")
    assert read_table(tmp_path / "t") == {}
    (tmp_path / "t").write_bytes("a x\u00a0\u3000y\u2028z\n".encode())
    assert read_table(tmp_path / "t") == {"a": "x\u00a0\u3000y\u2028z"}
    with pytest.raises(SpeechrepError, match="no such file"):
        read_table(tmp_path / "none")


def test_ids():
    assert not bad_id("a-1_é.x") and not bad_id("中")
    assert all(bad_id(key) for key in ["", "a b", "a\u00a0b", "a\tb", "a/b", "..", "."])
    for table in [{"a b": "x"}, {"a": "x\ny"}, {"a/b": "x"}]:
        with pytest.raises(SpeechrepError):
            table_text(table)


def test_write(folder):
    folder.write("phones", {"b-1": "zh_n i3", "a-1": "HH AH0"})
    assert (folder.path / "phones").read_text() == "a-1 HH AH0\nb-1 zh_n i3\n"
    assert DataFolder(folder.path).read("phones") == folder.read("phones") == {"a-1": "HH AH0", "b-1": "zh_n i3"}
    with pytest.raises(SpeechrepError, match="such as 'c-1'"):
        folder.write("phones", {"c-1": "K"})
    folder.write("utt2spk", {"a-1": "x", "b-1": "x"})
    assert folder.read("spk2utt") == {"x": "a-1 b-1"}
    assert sorted(path.name for path in folder.path.iterdir()) == ["phones", "spk2utt", "text", "units.k100", "utt2spk",
                                                                  "wav.scp"]


def test_what_is_missing_is_said(folder, tmp_path):
    with pytest.raises(SpeechrepError, match="no 'ali' in it .it has spk2utt, text"):
        folder.read("ali")
    with pytest.raises(SpeechrepError, match="no such folder"):
        DataFolder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpeechrepError, match="no wav.scp"):
        DataFolder(tmp_path / "empty")
    with pytest.raises(SpeechrepError, match="no audio"):
        write_folder(tmp_path / "x", {"text": {"a": "b"}})
    with pytest.raises(SpeechrepError, match="text: 1 utterances without audio, such as 'c'"):
        write_folder(tmp_path / "x", {"wav.scp": {"a": "a.wav"}, "text": {"a": "b", "c": "d"}})
    assert not (tmp_path / "x").exists()


def test_writing_a_folder_again_replaces_it(folder, tmp_path):
    again = write_folder(folder.path, {"wav.scp": {"a-1": f"{tmp_path}/a.wav"}})
    assert again.streams() == ["wav.scp"]
    with pytest.raises(SpeechrepError):
        write_folder(folder.path, {"wav.scp": {"a 1": "x"}})
    assert DataFolder(folder.path).utts == ["a-1"]


def test_seconds_are_measured_once_and_stored(folder, tmp_path):
    assert folder.seconds == {"a-1": 1.0, "b-1": 0.500125}
    assert (folder.path / "utt2dur").read_text() == "a-1 1.000000\nb-1 0.500125\n"
    (tmp_path / "a.wav").unlink()
    assert DataFolder(folder.path).seconds == {"a-1": 1.0, "b-1": 0.500125}
    (folder.path / "utt2dur").write_text("a-1 one\nb-1 2\n")
    with pytest.raises(SpeechrepError, match="utt2dur"):
        DataFolder(folder.path).seconds
    (folder.path / "utt2dur").unlink()
    with pytest.raises(SpeechrepError, match="a-1: .*a.wav: no such file"):
        DataFolder(folder.path).seconds


def test_subset(folder, tmp_path):
    small = folder.subset(["b-1"], tmp_path / "small")
    assert small.utts == ["b-1"] and small.streams() == ["spk2utt", "text", "utt2spk", "wav.scp"]
    assert small.read("spk2utt") == {"b": "b-1"}
    with pytest.raises(SpeechrepError, match="unknown"):
        folder.subset(["b-2"], tmp_path / "other")


def test_segments(tmp_path):
    write_wav(tmp_path / "rec.wav", np.full(16000, 0.1), 8000)
    folder = write_folder(tmp_path / "seg", {
        "wav.scp": {"rec": f"{tmp_path}/rec.wav", "rec2": "gone.wav"},
        "segments": {"u1": "rec 0.25 1.5", "u2": "rec 1.5 -1", "u3": "rec2 0 1"},
        "text": {"u1": "a", "u2": "b"}, "utt2spk": {"u1": "s", "u2": "s", "u3": "t"},
        "spk2gender": {"s": "f", "t": "m"}})
    assert folder.utts == ["u1", "u2", "u3"]
    cut = folder.subset(["u1", "u2"], tmp_path / "cut")
    assert list(cut.read("wav.scp")) == ["rec"] and cut.read("spk2gender") == {"s": "f"}
    assert cut.seconds == {"u1": 1.25, "u2": 0.5}


def test_split_and_spk2utt():
    assert split(list("abcdefg"), 3) == [["a", "b"], ["c", "d"], ["e", "f", "g"]]
    assert split(["a", "b"], 5) == [["a"], ["b"]] and split(["a"], 1) == [["a"]]
    assert spk2utt({"b": "s", "a": "s", "c": "r"}) == {"s": "a b", "r": "c"}
