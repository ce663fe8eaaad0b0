"""Loose recordings -> train, dev and test: what is written, what is left out, how texts are divided."""

import numpy as np
import pytest
import soundfile

from speechrep.data.audio import read_wav
from speechrep.data.check import check_folder
from speechrep.data.recorded import Recording, split_by_text, summary, write_parts
from speechrep.errors import SpeechrepError


@pytest.fixture
def record(tmp_path):
    """Makes a stereo tone at 44.1 kHz and what is known of it."""
    def make(name, text, lang="fr", seconds=1.0, loud=0.3, samples=None):
        path = tmp_path / f"in/{name}.wav"
        path.parent.mkdir(exist_ok=True)
        if samples is None:
            pitch = 200 + sum(map(ord, name)) * 7 % 900
            samples = loud * np.sin(2 * np.pi * pitch * np.arange(int(44100 * seconds)) / 44100)
        soundfile.write(path, np.stack([samples, samples], 1), 44100)
        return Recording(path, f"ann_{name}", "ann", lang, text)
    return make


def texts(n):
    return [f"text{i}" for i in range(n)]


def test_folders(record, tmp_path):
    recordings = [record(f"r{i}", text) for i, text in enumerate(texts(20))]
    parts = write_parts(recordings, tmp_path / "data", {"other.ogg": "no text: it says nothing"})
    assert {part: len(folder.utts) for part, folder in parts.items()} == {"train": 15, "dev": 2, "test": 3}
    for folder in parts.values():
        assert check_folder(folder.path, rate_hz=16000).problems == []
        assert set(folder.read("utt2lang").values()) == {"fr"} and set(folder.read("utt2spk").values()) == {"ann"}
        for utt, path in folder.read("wav.scp").items():
            samples, rate_hz = read_wav(path)
            assert rate_hz == 16000 and abs(len(samples) / 16000 - folder.seconds[utt]) < 1e-4
            # Two equal channels have the level of one.
            assert abs(np.sqrt(np.mean(samples ** 2)) - 0.3 / np.sqrt(2)) < 0.005
    assert summary(parts, tmp_path / "data").endswith(f"left out: 1 sounds ({tmp_path}/data/left_out.tsv): 1 no text")


def test_what_is_left_out(record, tmp_path):
    good = [record(f"r{i}", text) for i, text in enumerate(texts(4))]
    copy = record("copy", "another text", samples=soundfile.read(good[0].path)[0][:, 0])
    bad = [copy, record("short", "text", seconds=0.1), record("silent", "text", loud=1e-5),
           record("fast", "far more words than anybody can say in so short a time, however hard they try", seconds=1.0)]
    broken = Recording(tmp_path / "in/none.wav", "ann_none", "ann", "fr", "text")
    parts = write_parts([*good, *bad, broken], tmp_path / "data", {})
    rows = dict(line.split("\t") for line in (tmp_path / "data/left_out.tsv").read_text().splitlines())
    assert rows.pop("ann_fast").startswith("doubtful text: 62 characters cannot be said in 1.00 s: far more")
    assert rows.pop("ann_none").startswith("unusable audio:")
    assert rows == {"ann_copy": "duplicate: the same samples as ann_r0", "ann_short": "too short: 0.10 s",
                    "ann_silent": "unusable audio: nothing but silence"}
    assert sum(len(folder.utts) for folder in parts.values()) == 4
    assert not (tmp_path / "data/wav/ann/ann_copy.wav").exists()


def test_texts_are_divided_within_a_language(tmp_path):
    def some(lang, n, twice=1):
        return [Recording(tmp_path, f"{lang}{text}{i}", lang, lang, text) for text in texts(n) for i in range(twice)]
    parts = split_by_text([*some("fr", 40, 2), *some("ru", 3), *some("da", 2), *some("nl", 1)], 0.15, 0.1)
    count = {part: {lang: sum(r.lang == lang for r in members) for lang in ("fr", "ru", "da", "nl")}
             for part, members in parts.items()}
    assert count == {"train": {"fr": 60, "ru": 1, "da": 1, "nl": 1}, "dev": {"fr": 8, "ru": 1, "da": 1, "nl": 0},
                     "test": {"fr": 12, "ru": 1, "da": 0, "nl": 0}}
    said = [{r.text for r in members if r.lang == "fr"} for members in parts.values()]
    assert not (said[0] & said[1] or said[0] & said[2] or said[1] & said[2])
    # Neither the order nor another language changes where a text goes.
    again = split_by_text(some("fr", 40, 2)[::-1], 0.15, 0.1)
    assert {r.utt for r in again["test"]} == {r.utt for r in parts["test"] if r.lang == "fr"}


def test_bad_input(record, tmp_path):
    one = record("r", "text")
    with pytest.raises(SpeechrepError, match="1 ids that two recordings have, such as 'ann_r'"):
        write_parts([one, one], tmp_path / "data", {})
    with pytest.raises(SpeechrepError, match="too few recordings for the part 'dev'"):
        write_parts([one], tmp_path / "data", {})
