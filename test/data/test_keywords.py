"""Words cut from recordings: when each is said, which of them are keywords, and what the task of spotting hears."""

import pytest

from speechrep.bin import main
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.keywords import keyword_folders
from speechrep.data.words import Piece, Word, cut, timed_words, tokens_of
from speechrep.errors import SpeechrepError

SAID = {"kitchen": "K IH1 CH AH0 N", "lights": "L AY1 T S", "the": "DH AH0", "bedroom": "B EH1 D R UW2 M",
        "küche": "k y ç ə", "licht": "l ɪ ç t"}
PHONE_SEC = 0.1


def test_times_of_words():
    ali = "SIL 0.1000 DH 0.2000 AH0 0.3000 SIL 0.5000 L 0.6000 SIL 0.7000 AY1 0.8000 T 0.9000 S 1.0000"
    assert timed_words("The lights.", "DH AH0 | L AY1 T S", ali, "en") == [
        Word("the", 0.1, 0.3, 2, pause_before=True), Word("lights", 0.5, 1.0, 4, pause_before=True, pause_within=True)]
    assert timed_words("the lights", "DH AH0 | L AY1 T Z", ali, "en") == []
    assert timed_words("the", "DH AH0 | L AY1 T S", ali, "en") == []


def part(path, sentences):
    """A folder that says `sentences` (language, text), 0.1 s a phone, without pauses; speakers in turn."""
    streams = {name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "utt2dur", "text", "phones", "ali")}
    for number, (lang, text) in enumerate(sentences):
        utt, words = f"utt{number:03d}", [SAID[word] for word in text.split()]
        phones = " ".join(words).split()
        values = (f"{utt}.wav", f"speaker{number % 2}", lang, f"{len(phones) * PHONE_SEC:.6f}", text, " | ".join(words),
                  " ".join(f"{phone} {(i + 1) * PHONE_SEC:.4f}" for i, phone in enumerate(phones)))
        for stream, value in zip(streams, values):
            streams[stream][utt] = value
    return write_folder(path, streams)


def corpus(root):
    """"kitchen" is said often in all parts, "küche" too; "lights" not in dev, "bedroom" once; "the" is too short."""
    train = [("en", "the kitchen lights")] * 3 + [("en", "the bedroom")] + [("de", "küche")] * 2 + [("de", "licht")] * 9
    return [part(root / "data/train", train), part(root / "data/dev", [("en", "the kitchen"), ("de", "küche")]),
            part(root / "data/test", [("en", "the kitchen lights"), ("de", "küche licht")])]


def test_keywords_are_what_all_parts_say_often(tmp_path):
    corpus(tmp_path)
    data = tmp_path / "data"
    assert main(["keywords", *(str(data / name) for name in ("train", "dev", "test")), "--least", "2", "1", "1"]) == 0
    train, dev, test = (DataFolder(data / f"keyword_{name}") for name in ("train", "dev", "test"))
    said = sorted(train.read("keyword").values())
    # As many others as there are of the keyword said most often, of thirteen.
    assert said == ["_unknown_"] * 3 + ["de:küche"] * 2 + ["en:kitchen"] * 3
    assert sorted(dev.read("keyword").values()) == ["de:küche", "en:kitchen"]
    assert sorted(test.read("keyword").values()) == ["_unknown_", "de:küche", "en:kitchen"]
    # the (0.2 s) kitchen (0.5 s) lights, with 0.05 s on both sides.
    key = next(key for key, word in train.read("keyword").items() if word == "en:kitchen")
    utt, start, end = train.read("segments")[key].split()
    assert (float(start), float(end)) == pytest.approx((0.15, 0.75)) and train.read("utt2dur")[key] == "0.600000"
    assert key == f"{utt}-000150" and train.read("utt2spk")[key] == f"speaker{int(utt[3:]) % 2}"
    before = {path.name: path.read_bytes() for path in train.path.iterdir()}
    keyword_folders([DataFolder(data / name) for name in ("train", "dev", "test")], [train.path, dev.path, test.path],
                    least=(2, 1, 1))
    assert before == {path.name: path.read_bytes() for path in train.path.iterdir()}


def test_the_most_frequent_ones_only(tmp_path):
    parts = corpus(tmp_path)
    outs = [tmp_path / name for name in ("train", "dev", "test")]
    with pytest.raises(SpeechrepError, match="0 words of 4 phones are said 10, 2, 2 times in train, dev, test"):
        keyword_folders(parts, outs)
    with pytest.raises(SpeechrepError, match="once or more in each part"):
        keyword_folders(parts, outs, least=(2, 0, 1))
    # In train and test licht is said most, kitchen and lights as often as each other: by their letters.
    made = keyword_folders([parts[0], parts[2], parts[2]], outs, count=2, least=(1, 1, 1))
    assert set(made[0].read("keyword").values()) == {"_unknown_", "de:licht", "en:kitchen"}


def test_pieces_of_pieces(tmp_path):
    """A folder with segments of its own: times count from where its utterance begins in the recording."""
    write_folder(tmp_path / "data", {"wav.scp": {"tape": "tape.wav"}, "segments": {"utt1": "tape 10.0 12.0"},
                                     "utt2spk": {"utt1": "ann"}, "utt2dur": {"utt1": "2.0"}})
    made = cut(DataFolder(tmp_path / "data"), tmp_path / "out", {"word": Piece("utt1", 0.5, 1.25)},
               {"keyword": {"word": "yes"}})
    assert made.read("segments") == {"word": "tape 10.5000 11.2500"} and made.read("wav.scp") == {"tape": "tape.wav"}
    assert made.read("utt2spk") == {"word": "ann"} and made.read("keyword") == {"word": "yes"}
    assert not made.has("utt2lang")


def test_tokens_keep_within_their_recording(tmp_path):
    folder = part(tmp_path / "data", [("en", "kitchen the")])
    assert [(token.key, token.word, token.piece) for token in tokens_of(folder, 4)] == [
        ("utt000-000000", "kitchen", Piece("utt000", 0.0, pytest.approx(0.55)))]
    # Two phones are 0.2 s, and less than 0.31 with margins, of which one lies behind the end.
    assert [token.word for token in tokens_of(folder, 1)] == ["kitchen"]
