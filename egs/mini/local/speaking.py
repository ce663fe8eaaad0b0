"""One speaker's share of the corpus: synthesis, room (level, noise, silence at both ends) and true times."""

import hashlib
from pathlib import Path

import numpy as np
import soundfile

from engine import ENGINE_HZ, VOICES, Clause, spoken_form, synthesise, true_times
from speechrep.data.audio import resample
from speechrep.errors import SpeechrepError
from speechrep.files import write_text
from speechrep.launch import advance
from texts import Speaker

RATE_HZ = 16000
STEP = 160
"""Lengths and the start of speech are multiples of this many samples, 10 ms."""

LEVEL_DB = -23.0     # of the speech without gain, relative to full scale
PEAK = 0.95


def speak(speaker: Speaker, sentences: list[tuple[str, str, list[Clause]]], folder: str) -> float:
    """Write FOLDER/wav/SPEAKER/*.wav and FOLDER/times/SPEAKER.tsv; return the seconds of audio.

    `sentences` are (text id, language, clauses). A line of the table: utterance, text id, signal-to-noise ratio in dB,
    gain in dB, phones with their ends in seconds.
    """
    # All forks come first: they are cheap only while torch, which resamples, has not been loaded.
    spoken = []
    for index, (text_id, lang, clauses) in enumerate(sentences):
        phones = [phone for clause in clauses for word in clause.phones for phone in word]
        try:
            samples, events = synthesise(spoken_form(clauses, lang), f"{VOICES[lang]}+{speaker.variant}", speaker.speed,
                                         speaker.pitch, speaker.pitch_range)
            spoken.append((text_id, samples, true_times(samples, events, phones, lang)))
        except SpeechrepError as error:
            raise SpeechrepError(f"{speaker.id}, text {text_id}: {error.found}", error.wanted, error.cure) from None
        advance(index, 2 * len(sentences))

    import torch
    torch.set_num_threads(1)  # more would change the order of additions, and so the last bit
    out = Path(folder)
    (out / "wav" / speaker.id).mkdir(parents=True, exist_ok=True)
    lines, seconds = [], 0.0
    for index, (text_id, samples, segments) in enumerate(spoken):
        utt = f"{speaker.id}_{text_id}"
        audio, ali, snr_db, gain_db = record(utt, samples, segments)
        soundfile.write(out / "wav" / speaker.id / f"{utt}.wav", audio, RATE_HZ, subtype="PCM_16")
        lines.append(f"{utt}\t{text_id}\t{snr_db:.1f}\t{gain_db:.1f}\t{ali}\n")
        seconds += len(audio) / RATE_HZ
        advance(len(spoken) + index, 2 * len(spoken))
    write_text(out / "times" / f"{speaker.id}.tsv", "".join(sorted(lines)))
    return seconds


def record(utt: str, samples: np.ndarray, segments: list[tuple[str, int]]) -> tuple[np.ndarray, str, float, float]:
    """The engine's samples as if recorded: float [T] at 16 kHz, the line of `ali`, SNR and gain in dB.

    Silence of 80 to 350 ms at both ends, a gain of -12 to 0 dB, and noise whose power falls with frequency as f^0 to
    f^-2: 15 to 35 dB below the speech in half of the utterances, 45 to 60 dB in the others. All depends on `utt` alone.
    """
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(utt.encode()).digest()[:8], "big"))
    lead, trail = (STEP * int(steps) for steps in generator.integers(8, 36, size=2))
    snr_db = float(generator.uniform(15, 35) if generator.random() < 0.5 else generator.uniform(45, 60))
    gain_db = float(generator.uniform(-12, 0))
    slope = float(generator.uniform(0, 2))

    speech = resample(samples.astype(np.float32) / 32768, ENGINE_HZ, RATE_HZ).astype(np.float64)
    length = -(-(lead + len(speech) + trail) // STEP) * STEP
    spoken = np.zeros(len(speech), bool)
    for (phone, end), start in zip(segments, [0] + [end for _, end in segments]):
        spoken[start * RATE_HZ // ENGINE_HZ:end * RATE_HZ // ENGINE_HZ] = phone != "SIL"
    speech *= 10 ** (LEVEL_DB / 20) / np.sqrt(np.mean(speech[spoken] ** 2))
    audio = np.zeros(length)
    audio[lead:lead + len(speech)] = speech
    audio += 10 ** ((LEVEL_DB - snr_db) / 20) * _noise(generator, length, slope)
    audio *= min(10 ** (gain_db / 20), PEAK / np.abs(audio).max())

    ends = [(phone, lead / RATE_HZ + end / ENGINE_HZ) for phone, end in segments]
    if ends[0][0] != "SIL":
        ends.insert(0, ("SIL", lead / RATE_HZ))
    if ends[-1][0] == "SIL":
        ends.pop()
    ends.append(("SIL", length / RATE_HZ))
    return audio, " ".join(f"{phone} {end:.4f}" for phone, end in ends), snr_db, gain_db


def _noise(generator: np.random.Generator, length: int, slope: float) -> np.ndarray:
    """Noise of root mean square 1 whose power falls as f^-slope above 50 Hz."""
    spectrum = np.fft.rfft(generator.standard_normal(length))
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / RATE_HZ), 50.0)
    noise = np.fft.irfft(spectrum * frequency ** (-slope / 2), length)
    return noise / np.sqrt(np.mean(noise ** 2))
