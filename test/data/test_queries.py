"""Queries cut from recordings: words, times and who else says them."""

import pytest

from speechrep.bin import main
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.queries import Span, cut_queries, spans_of
from speechrep.data.words import timed_words, words_of
from speechrep.errors import SpeechrepError

KITCHEN = "DH AH0 | K IH1 CH AH0 N | L AY1 T S"
ALI = ("SIL 0.1000 DH 0.1500 AH0 0.2000 K 0.3000 IH1 0.4000 CH 0.5000 AH0 0.5500 N 0.6000 L 0.7000 AY1 0.8000 "
       "T 0.8500 S 0.9000 SIL 1.0000")


def test_spans_have_enough_phones_and_no_pause():
    """the (2 phones) goes on to kitchen, which stands alone too; lights (4) has nothing behind it."""
    assert spans_of("u", timed_words("The kitchen, lights!", KITCHEN, ALI, "en")) == [
        Span(("the", "kitchen"), "u", 0.1, 0.6), Span(("kitchen",), "u", 0.2, 0.6)]
    paused = ALI.replace("AH0 0.2000 K", "AH0 0.1800 SIL 0.2000 K")
    assert spans_of("u", timed_words("the kitchen lights", KITCHEN, paused, "en")) == [Span(("kitchen",), "u", 0.2, 0.6)]
    # What does not belong together gives nothing.
    assert spans_of("u", timed_words("the kitchen", KITCHEN, ALI, "en")) == []
    assert spans_of("u", timed_words("the kitchen lights", KITCHEN.replace("N", "M"), ALI, "en")) == []


def test_mandarin_goes_by_syllables():
    ali = "zh_d 0.1000 zh_a3 0.2000 zh_k 0.3000 zh_ai1 0.4000 zh_uo4 0.5000 zh_sh 0.6000 zh_i4 0.7000"
    assert words_of("打开 卧室。", "zh") == ["打", "开", "卧", "室"]
    assert spans_of("u", timed_words("打开卧室", "zh_d zh_a3 zh_k zh_ai1 zh_uo4 zh_sh zh_i4", ali, "zh")) == [
        Span(("打", "开", "卧"), "u", 0.0, 0.5), Span(("开", "卧", "室"), "u", 0.2, 0.7)]


def corpus(tmp_path):
    """Three speakers say the same; ann says it in German too, which is another language."""
    speakers = {"ann-1": "ann", "bob-1": "bob", "cat-1": "cat", "ann-2": "ann", "ann-3": "ann", "bob-3": "bob"}
    same = {"ann-1", "bob-1", "cat-1", "ann-2"}
    other = ("SIL 0.1000 D 0.2000 AO1 0.5000 G 0.6000", "D AO1 G")
    return write_folder(tmp_path / "data/test", {
        "wav.scp": {utt: f"{utt}.wav" for utt in speakers}, "utt2spk": speakers,
        "utt2lang": {utt: "de" if utt == "ann-2" else "en" for utt in speakers},
        "text": {utt: "the kitchen lights" if utt in same else "dog" for utt in speakers},
        "phones": {utt: KITCHEN if utt in same else other[1] for utt in speakers},
        "ali": {utt: ALI if utt in same else other[0] for utt in speakers}})


def test_hits_are_of_other_speakers_in_the_language(tmp_path):
    """Three of five say it: there is nothing rarer."""
    documents = corpus(tmp_path)
    assert main(["queries", str(documents.path), str(tmp_path / "data/queries_test")]) == 0
    found = DataFolder(tmp_path / "data/queries_test")
    assert sorted(found.read("text").values()) == ["kitchen", "the kitchen"]
    speakers = documents.read("utt2spk")
    pairs = [line.split() for line in (found.path / "relevance").read_text().splitlines()]
    for query in found.utts:
        recording, start, end = found.read("segments")[query].split()
        assert query == f"{recording}-{round(float(start) * 1000):06d}" and float(end) == 0.6
        assert found.read("utt2lang")[query] == "en" and found.read("utt2spk")[query] == speakers[recording]
        assert {doc for own, doc in pairs if own == query} == {"ann-1", "bob-1", "cat-1"} - {recording}
    before = {path.name: path.read_bytes() for path in found.path.iterdir()}
    cut_queries(documents, tmp_path / "data/queries_test")
    assert before == {path.name: path.read_bytes() for path in found.path.iterdir()}
    assert len(cut_queries(documents, tmp_path / "one", 1).utts) == 1


def test_common_words_are_left_out_where_there_are_others(tmp_path):
    documents = corpus(tmp_path)
    speakers = {**documents.read("utt2spk"), "bob-4": "bob", "cat-4": "cat"}
    rare = ("D AO1 G Z Z", "D 0.1000 AO1 0.2000 G 0.3000 Z 0.4000 Z 0.5000")
    streams = {name: dict(documents.read(name)) for name in ("wav.scp", "utt2lang", "text", "phones", "ali")}
    for utt in ("bob-4", "cat-4"):
        for name, value in zip(streams, (f"{utt}.wav", "en", "doggies", *rare)):
            streams[name][utt] = value
    own = write_folder(tmp_path / "more", {**streams, "utt2spk": speakers})
    assert set(cut_queries(own, tmp_path / "q").read("text").values()) == {"doggies", "kitchen", "the kitchen"}
    for utt in ("ann-3", "bob-3"):
        for table in (*streams.values(), speakers):
            del table[utt]
    # Three of five hold kitchen now.
    own = write_folder(tmp_path / "less", {**streams, "utt2spk": speakers})
    assert set(cut_queries(own, tmp_path / "q").read("text").values()) == {"doggies"}


def test_segments_of_segments(tmp_path):
    speakers = {"ann-1": "ann", "bob-1": "bob"}
    documents = write_folder(tmp_path / "d", {
        "wav.scp": {"all": "all.wav"}, "segments": {"ann-1": "all 10 11", "bob-1": "all 20 21"}, "utt2spk": speakers,
        "text": dict.fromkeys(speakers, "the kitchen lights"), "phones": dict.fromkeys(speakers, KITCHEN),
        "ali": dict.fromkeys(speakers, ALI)})
    found = cut_queries(documents, tmp_path / "q")
    for query, line in found.read("segments").items():
        offset = 10 if query.startswith("ann-1") else 20
        recording, start, end = line.split()
        assert recording == "all" and float(end) == pytest.approx(offset + 0.6)
        assert float(start) in (offset + 0.1, offset + 0.2)


def test_a_single_voice_has_nobody_to_ask(tmp_path):
    documents = write_folder(tmp_path / "d", {
        "wav.scp": {"u": "u.wav", "v": "v.wav"}, "utt2spk": {"u": "ann", "v": "ann"},
        "text": dict.fromkeys("uv", "the kitchen lights"), "phones": dict.fromkeys("uv", KITCHEN),
        "ali": dict.fromkeys("uv", ALI)})
    with pytest.raises(SpeechrepError, match="nothing to look for"):
        cut_queries(documents, tmp_path / "q")
