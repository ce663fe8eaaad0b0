"""Conversations of two speakers, cut together from the corpus, with who speaks when: data/mix_{train,dev,test}.

Two speakers of one language take two turns each; the next turn begins up to 1.2 s before the one before ends, or up to
0.6 s behind it. Parts are mixed from the same part of the corpus. All hangs on the names of the parts alone.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from speechrep.data.alignment import read_ali
from speechrep.data.audio import AudioReader, write_wav
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.rttm import Turn, write_rttm

SHARES = {"train": 10, "dev": 8, "test": 8}
"""Utterances of a part for each mixture of it."""

TURNS = 2
GAP_SEC = (-1.2, 0.6)
LEAST_ALONE_SEC = 0.3
"""A turn begins no earlier than this behind the beginning of the one before."""

PAUSE_SEC = 0.3
"""Shorter pauses do not end a turn, as in NIST's evaluations."""

FLOOR_DB = -50.0
"""White noise under the whole, relative to full scale, so that the noise of a recording does not tell where it begins."""

PEAK = 0.95


def mix(data_dir: Path, part: str) -> DataFolder:
    """Make DATA_DIR/mix_PART from DATA_DIR/PART, its sound in DATA_DIR/wav."""
    folder = DataFolder(data_dir / part)
    speakers, langs, sentences = (folder.read(name) for name in ("utt2spk", "utt2lang", "utt2sentence"))
    ali, reader = folder.read("ali.true"), AudioReader(folder)
    own: dict[tuple[str, str], list[str]] = {}
    for utt in folder.utts:
        own.setdefault((langs[utt], speakers[utt]), []).append(utt)
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(part.encode()).digest()[:8], "big"))
    streams: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "utt2dur")}
    turns: dict[str, list[Turn]] = {}
    for number in range(max(2, len(folder.utts) // SHARES[part])):
        lang = sorted(set(langs.values()))[number % len(set(langs.values()))]
        able = [speaker for some, speaker in own if some == lang]
        pair = [able[i] for i in sorted(generator.choice(len(able), 2, replace=False))]
        # Nobody says the same words twice, and not both the same.
        texts = sorted({sentences[utt] for utt in own[lang, pair[0]]} & {sentences[utt] for utt in own[lang, pair[1]]})
        chosen = generator.permutation(len(texts))[:2 * TURNS]
        said = [(pair[i % 2], next(utt for utt in own[lang, pair[i % 2]] if sentences[utt] == texts[text]))
                for i, text in enumerate(chosen)]
        samples, found, rate_hz = _together(said, reader, ali, generator)
        name = f"{'+'.join(pair)}_{number:04d}"
        wav = data_dir / "wav" / f"mix_{part}" / f"{name}.wav"
        write_wav(wav, samples, rate_hz, sync=False)
        turns[name] = found
        for stream, value in (("wav.scp", str(wav)), ("utt2spk", "+".join(pair)), ("utt2lang", lang),
                              ("utt2dur", f"{len(samples) / rate_hz:.6f}")):
            streams[stream][name] = value
    os.sync()
    made = write_folder(data_dir / f"mix_{part}", streams)
    write_rttm(made.path / "rttm", turns)
    return made


def _together(said: list[tuple[str, str]], reader: AudioReader, ali: dict[str, str], generator: np.random.Generator
              ) -> tuple[np.ndarray, list[Turn], int]:
    """Samples, turns and rate of (speaker, utterance) one after the other."""
    pieces, turns = [], []
    before_start = before_end = 0.0
    own_end: dict[str, float] = {}
    for speaker, utt in said:
        samples, rate_hz = reader.read(utt)
        spoken = spans(ali[utt])
        # The utterance is placed so that its speech begins where the turn does.
        wanted = before_end + generator.uniform(*GAP_SEC) if turns else spoken[0][0]
        start = max(wanted, before_start + LEAST_ALONE_SEC if turns else 0.0, own_end.get(speaker, 0.0)) - spoken[0][0]
        first = max(0, round(start * rate_hz))
        pieces.append((first, samples))
        turns += [(speaker, first / rate_hz + begin, first / rate_hz + end) for begin, end in spoken]
        before_start, before_end = first / rate_hz + spoken[0][0], first / rate_hz + spoken[-1][1]
        own_end[speaker] = before_end + PAUSE_SEC
    whole = np.zeros(max(first + len(samples) for first, samples in pieces))
    for first, samples in pieces:
        whole[first:first + len(samples)] += samples
    whole += 10 ** (FLOOR_DB / 20) * generator.standard_normal(len(whole))
    return (whole * min(1.0, PEAK / np.abs(whole).max())).astype(np.float32), turns, rate_hz


def spans(line: str) -> list[tuple[float, float]]:
    """When there is speech in a line of `ali`, pauses under PAUSE_SEC bridged."""
    found: list[tuple[float, float]] = []
    start = 0.0
    for phone, end in zip(*read_ali(line)):
        if phone != "SIL":
            if found and start - found[-1][1] < PAUSE_SEC:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
        start = end
    return found
