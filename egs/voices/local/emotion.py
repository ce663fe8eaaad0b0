"""Recordings said again with another pitch and tempo, as "emotions": the data folder `emotion`.

Every manner, the neutral one too, is a resynthesis by WORLD (Morise et al. 2016), so that what the vocoder does to speech
tells none of them. It is telling manners of voices apart that are not known from training, and no more than that.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechrep.data.audio import AudioReader, resample, write_wav
from speechrep.data.folder import DataFolder, write_folder
from speechrep.errors import SpeechrepError
from speechrep.launch import advance, run_jobs
from speechrep.metrics.judges import load
from speechrep.metrics.judges.world import CEIL_HZ, FLOOR_HZ, HOP_MS, PACKAGE, find_pitch

MANNERS = {"neutral": (1.0, 1.0, 1.0), "happy": (1.15, 1.2, 1.4), "angry": (1.35, 1.1, 1.15), "sad": (0.8, 0.85, 0.6)}
"""Factors of tempo, of the mean pitch, and of its excursions from it in semitones."""

SESSIONS = (("tuxpaint_kseniya", "tuxpaint_krasimir"), ("tuxpaint_kiriaki", "tuxpaint_pere"),
            ("asterisk_allison", "asterisk_carlo"), ("asterisk_june", "tuxpaint_paulk"),
            ("tuxpaint_tabbytha", "tuxpaint_joe"), ("tuxpaint_estefania", "tuxpaint_edwin"))
"""The two voices of each session, none in two."""

SENTENCES = 16
"""Of each voice."""
SHORTEST_SEC, LONGEST_SEC = 1.2, 6.0
WORLD_HZ = 16000
PEAK = 0.95


def emotion_folder(source: DataFolder, data_dir: Path, nj: int, sessions: Sequence[Sequence[str]] = SESSIONS) -> DataFolder:
    """Make DATA_DIR/emotion, with `emotion` and `utt2session`, from recordings of `source`; the audio goes to
    DATA_DIR/wav/emotion. Raises `SpeechrepError` where pyworld is missing or a voice is."""
    load("pyworld", PACKAGE)
    speakers, langs = source.read("utt2spk"), source.read("utt2lang")
    chosen = {voice: choose([utt for utt in source.utts if speakers[utt] == voice
                             and SHORTEST_SEC <= source.seconds[utt] <= LONGEST_SEC]) for pair in sessions for voice in pair}
    lacking = [voice for voice, utts in chosen.items() if not utts]
    if lacking:
        raise SpeechrepError(f"{source.path}: nothing of {', '.join(lacking)} between {SHORTEST_SEC} and {LONGEST_SEC} s",
                             "the voices of every session", "prepare all corpora of the recipe")
    out = data_dir / "wav/emotion"
    jobs = [(str(source.path), utts, str(out)) for utts in chosen.values()]
    made = {}
    for seconds in run_jobs(say_again, jobs, log_dir=data_dir / "log", nj=nj, title="emotion", backend="local"):
        made |= seconds
    streams: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "utt2dur", "emotion",
                                                                "utt2session")}
    for number, pair in enumerate(sessions, 1):
        for utt in (utt for voice in pair for utt in chosen[voice]):
            for manner in MANNERS:
                key = f"{utt}-{manner}"
                for stream, value in (("wav.scp", str(out / f"{key}.wav")), ("utt2spk", speakers[utt]),
                                      ("utt2lang", langs[utt]), ("utt2dur", f"{made[key]:.6f}"), ("emotion", manner),
                                      ("utt2session", f"session{number}")):
                    streams[stream][key] = value
    return write_folder(data_dir / "emotion", streams)


def choose(utts: list[str]) -> list[str]:
    """So many of a voice's utterances, by a hash."""
    return sorted(utts, key=lambda utt: hashlib.sha256(utt.encode()).digest())[:SENTENCES]


def say_again(folder: str, utts: list[str], out: str) -> dict[str, float]:
    """Write OUT/UTT-MANNER.wav for each utterance and manner; returns UTT-MANNER -> seconds."""
    reader, made = AudioReader(DataFolder(Path(folder))), {}
    for index, utt in enumerate(utts):
        samples, rate_hz = reader.read(utt)
        for manner in MANNERS:
            said = in_manner(samples, rate_hz, manner)
            write_wav(Path(out) / f"{utt}-{manner}.wav", said, rate_hz, sync=False)
            made[f"{utt}-{manner}"] = len(said) / rate_hz
        advance(index + 1, len(utts))
    return made


def in_manner(samples: np.ndarray, rate_hz: int, manner: str) -> np.ndarray:
    """Speech [T] -> the same in another manner, float32; tempo makes it longer or shorter."""
    pyworld = load("pyworld", PACKAGE)
    tempo, pitch, excursion = MANNERS[manner]
    # D4C reads memory that nobody wrote where there is no band from 3 kHz on for it to look at, as at 8 kHz.
    samples = resample(samples, rate_hz, WORLD_HZ)
    speech, f0, times = find_pitch(samples, WORLD_HZ)
    spectrum = pyworld.cheaptrick(speech, f0, times, WORLD_HZ)
    # Its own judge of voicing looks at 4 to 7.9 kHz, which telephone speech has not, and would call all of it noise.
    noise = pyworld.d4c(speech, f0, times, WORLD_HZ, threshold=0.0)
    voiced = f0 > 0
    if voiced.any():
        mean = np.log(f0[voiced]).mean()
        f0[voiced] = np.exp(mean + np.log(pitch) + excursion * (np.log(f0[voiced]) - mean)).clip(FLOOR_HZ, CEIL_HZ)
    said = pyworld.synthesize(f0, spectrum, noise, WORLD_HZ, HOP_MS / tempo)
    said = resample(said.astype(np.float32), WORLD_HZ, rate_hz)
    return said * np.float32(min(1.0, PEAK / max(np.abs(said).max(), 1e-9)))
