"""egs/voices: slots in what is said, voices with another pitch and tempo, pairs of words that were judged."""

import sys
from pathlib import Path

import numpy as np
import pytest

from speechrep.data.audio import read_wav, write_wav
from speechrep.data.check import check_folder
from speechrep.data.folder import DataFolder, write_folder

LOCAL = Path(__file__).resolve().parents[2] / "egs/voices/local"
RATE_HZ = 8000


@pytest.fixture
def local(monkeypatch):
    """The recipe's own modules, whose names other recipes have too."""
    monkeypatch.syspath_prepend(str(LOCAL))
    names = ("slots", "emotion", "semantic", "derive")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("lang, text, marked", [
    ("en", "press twenty one for blue cars", "press B-number twenty one E-number for B-colour blue E-colour cars"),
    ("en", "press one to hear it again", ""),
    ("en", "blueberries and greenhouses", ""),
    ("fr", "un grand héron bleu", "un grand héron B-colour bleu E-colour"),
    ("fr", "trente et un", "B-number trente et un E-number"),
    ("fr", "une rose", ""),
    ("es", "una calculadora seis x siete igual cuarenta y dos",
     "una calculadora B-number seis E-number x B-number siete E-number igual B-number cuarenta y dos E-number"),
    ("it", "quattro o sei per ridurre", "B-number quattro E-number o B-number sei E-number per ridurre"),
    ("it", "sei stato espulso da questa conferenza", ""),
    ("ca", "una nou de pecan", ""),
    ("ca", "nou", "B-number nou E-number"),
    ("el", "πράσινο μήλο", "B-colour πράσινο E-colour μήλο"),
    ("ru", "сорок два", "B-number сорок два E-number"),
    ("xx", "two blue cars", "")])
def test_slots(local, lang, text, marked):
    from slots import mark_slots
    assert mark_slots(text, lang) == marked


def hum(seconds, pitch_hz):
    """A voice of many harmonics whose pitch wavers by a tenth."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 2 * time))) / RATE_HZ
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 12))).astype(np.float32)


def test_manners(local):
    """Pitch, its excursions and length are those of the manner; a neutral voice stays what it was."""
    pytest.importorskip("pyworld")
    from emotion import MANNERS, in_manner
    from speechrep.metrics.judges.world import analyse
    speech, first = hum(2.0, 150), {}
    for manner, (tempo, pitch, excursion) in [*MANNERS.items()] * 3:
        said = in_manner(speech, RATE_HZ, manner)
        assert np.array_equal(said, first.setdefault(manner, said)), manner
        assert len(said) / len(speech) == pytest.approx(1 / tempo, rel=0.01), manner
        f0, _ = analyse(said, RATE_HZ)
        voiced = np.log(f0[f0 > 0])
        assert np.exp(voiced.mean()) == pytest.approx(150 * pitch, rel=0.03), manner
        assert voiced.std() == pytest.approx(0.1 / np.sqrt(2) * excursion, rel=0.15), manner


def test_emotions(local, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyworld")
    from derive import derive
    import emotion
    monkeypatch.chdir(tmp_path)
    sessions = [("ann", "bob"), ("cat", "dan")]
    monkeypatch.setattr(emotion, "SENTENCES", 2)
    monkeypatch.setattr(emotion.emotion_folder, "__defaults__", (sessions,))
    utts = {f"{voice}-{number}": voice for voice in ("ann", "bob", "cat", "dan", "eve") for number in range(3)}
    for number, utt in enumerate(utts):
        write_wav(f"wav/{utt}.wav", hum(1.0 if utt == "ann-1" else 1.5, 100 + 10 * number), RATE_HZ)
    for part in ("train", "dev", "test"):
        write_folder(f"data/{part}", {
            "wav.scp": {utt: f"wav/{utt}.wav" for utt in utts}, "utt2spk": utts, "utt2lang": dict.fromkeys(utts, "en"),
            "text": {utt: "two blue cars" if utt == "bob-1" else "cars" for utt in utts},
            "utt2dur": {utt: "1.0" if utt == "ann-1" else "1.5" for utt in utts}})
    derive(Path("data"), nj=1)
    made = DataFolder("data/emotion")
    assert check_folder(made.path).problems == []
    sessions, feelings = made.read("utt2session"), made.read("emotion")
    # Two of each voice, ann-1 being too short, in four manners; eve is in no session.
    assert len(made.utts) == 4 * 2 * 4 and "ann-1-sad" not in feelings and not any("eve" in utt for utt in made.utts)
    assert {sessions[utt] for utt in made.utts if utt[:3] in ("ann", "bob")} == {"session1"}
    assert {sessions[utt] for utt in made.utts if utt[:3] in ("cat", "dan")} == {"session2"}
    assert all(feelings[utt] == utt.split("-")[2] for utt in made.utts)
    for utt, entry in made.read("wav.scp").items():
        samples, rate_hz = read_wav(entry)
        assert rate_hz == RATE_HZ and abs(len(samples) / rate_hz - made.seconds[utt]) < 1e-3
    assert DataFolder("data/train").read("slots") == {
        "bob-1": "B-number two E-number B-colour blue E-colour cars"}
    monkeypatch.setattr(emotion.emotion_folder, "__defaults__", ([("ann", "nobody")],))
    derive(Path("data"), nj=1)
    assert "not made" in capsys.readouterr().err


def test_judgements(local):
    """Each pair once, from 0 to 10."""
    from speechrep.data.semantic import read_judgements
    pairs = read_judgements(LOCAL / "relatedness.tsv")
    assert len({frozenset(pair[:2]) for pair in pairs}) == len(pairs) > 150
    assert all(first != second and 0 <= int(value) <= 10 for first, second, value in pairs)
