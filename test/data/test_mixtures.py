"""Conversations cut together for diarisation: who speaks when, what they say, how loud."""

import numpy as np
import pytest

from speechrep.bin import main
from speechrep.data.audio import AudioReader, write_wav
from speechrep.data.folder import write_folder
from speechrep.data.mixtures import mix, spans
from speechrep.data.rttm import read_turns
from speechrep.errors import SpeechrepError

RATE = 8000
TONES = {"ann": 500, "bob": 1500, "eva": 2500}


def corpus(root, texts, lang=None):
    """A folder in which each speaker says each of their texts as a tone of their own: 0.2 s silence, 0.6 s tone, 0.1 s
    silence; the n-th text is 2 ** -n as loud."""
    tables = {name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "text", "ali")}
    time = np.arange(int(0.6 * RATE)) / RATE
    for speaker, lines in texts.items():
        for number, text in enumerate(lines):
            utt = f"{speaker}-{number}"
            tone = 0.5 ** (number + 1) * np.sin(2 * np.pi * TONES[speaker] * time)
            write_wav(root / f"audio/{utt}.wav", np.pad(tone, (int(0.2 * RATE), int(0.1 * RATE))).astype(np.float32), RATE)
            for name, value in (("wav.scp", str(root / f"audio/{utt}.wav")), ("utt2spk", speaker), ("text", text),
                                ("utt2lang", (lang or {}).get(speaker, "en")), ("ali", "SIL 0.2 a 0.8 SIL 0.9")):
                tables[name][utt] = value
    return write_folder(root / "train", tables)


def test_who_speaks_when_and_how_loud(tmp_path):
    folder = corpus(tmp_path, {name: ["one", "two", "three", "four", f"of {name}"] for name in ("ann", "bob")} |
                    {"eva": ["uno"] * 5}, {"eva": "es"})
    made = mix(folder, tmp_path / "mix_train", every=1, level_db=-20.0)
    # Eva is alone in her language.
    assert len(made.utts) == 15 and set(made.read("utt2spk").values()) == {"ann+bob"}
    reader = AudioReader(made)
    for utt in made.utts:
        turns = read_turns(made.read("rttm")[utt])
        assert [name for name, _, _ in turns] == ["ann", "bob"] * 2
        assert all(end - begin == pytest.approx(0.6, abs=2e-3) for _, begin, end in turns)
        samples, rate_hz = reader.read(utt)
        assert rate_hz == RATE
        for name, begin, end in turns:
            piece = samples[round(begin * RATE) + 80:round(end * RATE) - 80].astype(float)
            time = np.arange(len(piece)) / RATE
            amplitude = 2 * abs(np.mean(piece * np.exp(-2j * np.pi * TONES[name] * time)))
            # A sine of the level -20 dB, whatever it was; a tenth for the other's tone and the noise.
            assert amplitude == pytest.approx(2 ** 0.5 * 10 ** -1, rel=0.1)
    again = mix(folder, tmp_path / "again/mix_train", every=1, level_db=-20.0)
    assert again.read("rttm") == made.read("rttm")
    assert np.array_equal(AudioReader(again).read(again.utts[3])[0], reader.read(made.utts[3])[0])


def test_levels_are_left_and_nobody_repeats_anybody(tmp_path, monkeypatch):
    """Of the n-th text, 2 ** -n as loud, the loudness tells which was said: four different ones in each mixture, though
    both speakers know the same four."""
    folder = corpus(tmp_path, dict.fromkeys(("ann", "bob"), ["one", "two", "three", "four"]))
    monkeypatch.setattr("speechrep.data.mixtures.GAP_SEC", (0.1, 0.2))
    made = mix(folder, tmp_path / "mix_train", every=1)
    for utt in made.utts:
        samples, _ = AudioReader(made).read(utt)
        levels = [np.abs(samples[round(begin * RATE):round(end * RATE)]).max() for _, begin, end in
                  read_turns(made.read("rttm")[utt])]
        assert sorted(np.round(-np.log2(levels)).astype(int).tolist()) == [1, 2, 3, 4]


def test_turns_as_far_as_the_texts_go(tmp_path):
    made = mix(corpus(tmp_path, dict.fromkeys(("ann", "bob"), ["one", "two"])), tmp_path / "mix_train", every=1)
    assert [[name for name, _, _ in read_turns(line)] for line in made.read("rttm").values()] == [["ann", "bob"]] * 4


def test_what_cannot_be_mixed(tmp_path, capsys):
    lonely = corpus(tmp_path / "lonely", {"ann": ["one", "two", "three", "four"], "bob": ["one"]})
    with pytest.raises(SpeechrepError, match="no two speakers of a language with 2 aligned texts each"):
        mix(lonely, tmp_path / "mix")
    folder = corpus(tmp_path / "whole", dict.fromkeys(("ann", "bob"), ["one", "two", "three", "four"]))
    folder.write("ali", {utt: line for utt, line in folder.read("ali").items() if not utt.startswith("ann")})
    assert main(["mix", str(folder.path), str(tmp_path / "mix")]) == 1
    assert "no two speakers" in capsys.readouterr().err
    (folder.path / "ali").unlink()
    assert main(["mix", str(folder.path), str(tmp_path / "mix")]) == 1
    assert "no ali" in capsys.readouterr().err and not (tmp_path / "mix").exists()


def test_pauses():
    assert spans("SIL 0.1 a 0.4 SIL 0.6 b 0.9 SIL 1.3 c 1.5") == [(0.1, 0.9), (1.3, 1.5)]
    assert spans("SIL 0.5") == []
