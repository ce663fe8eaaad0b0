"""Conversations of two speakers, cut together from the recordings of a data folder, with who speaks when.

Two speakers of one language take two turns each, as far as their texts go; the next turn begins up to 1.2 s before the
one before ends, or up to 0.6 s behind it. Nobody says the same words twice, and not both the same. All hangs on the
folder and its name alone.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from speechrep.data.alignment import read_ali
from speechrep.data.audio import AudioReader, write_wav
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.rttm import Turn, write_rttm
from speechrep.data.words import ALIGNMENTS
from speechrep.errors import SpeechrepError

TURNS = 2
LEAST_TEXTS = 2
"""Of a speaker: one is left when the other has said the first."""

GAP_SEC = (-1.2, 0.6)
LEAST_ALONE_SEC = 0.3
"""A turn begins no earlier than this behind the beginning of the one before."""

PAUSE_SEC = 0.3
"""Shorter pauses do not end a turn, as in NIST's evaluations."""

FLOOR_DB = -50.0
"""White noise under the whole, relative to full scale, so that the noise of a recording does not tell where it begins."""

PEAK = 0.95


def mix(folder: DataFolder, out: Path, every: int = 10, content: str = "text", level_db: float | None = None) -> DataFolder:
    """Make the data folder `out`, with `rttm`, a mixture for `every` utterances of `folder` that are aligned, at least two;
    its sound goes to the folder wav/NAME beside it.

    content: the stream that tells whether two utterances say the same. level_db: the level (RMS relative to full scale)
    that the speech of each recording is brought to; None leaves levels as they are. Raises `SpeechrepError` if no two
    speakers of a language have enough to say.
    """
    phones = next((name for name in ALIGNMENTS if folder.has(name)), None)
    missing = [name for name in ("utt2lang", content) if not folder.has(name)] + ([] if phones else [ALIGNMENTS[-1]])
    if missing:
        raise SpeechrepError(f"{folder.path}: no {', '.join(missing)}", "languages, what is said, and phone times",
                             "run the earlier stages, among them `speechrep align`")
    speakers, langs, said = (folder.read(name) for name in ("utt2spk", "utt2lang", content))
    ali, reader = folder.read(phones), AudioReader(folder)
    # (language, speaker) -> what they say -> the first utterance of it.
    own: dict[tuple[str, str], dict[str, str]] = {}
    for utt in (utt for utt in folder.utts if utt in ali and spans(ali[utt])):
        own.setdefault((langs[utt], speakers[utt]), {}).setdefault(said[utt], utt)
    able = {lang: [speaker for some, speaker in own if some == lang and len(own[some, speaker]) >= LEAST_TEXTS]
            for lang in sorted({lang for lang, _ in own})}
    able = {lang: found for lang, found in able.items() if len(found) > 1}
    if not able:
        raise SpeechrepError(f"{folder.path}: no two speakers of a language with {LEAST_TEXTS} aligned texts each",
                             "speech to mix")
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(folder.name.encode()).digest()[:8], "big"))
    streams: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "utt2dur")}
    turns: dict[str, list[Turn]] = {}
    for number in range(max(2, len(ali) // every)):
        lang = list(able)[number % len(able)]
        pair = [able[lang][i] for i in sorted(generator.choice(len(able[lang]), 2, replace=False))]
        samples, found, rate_hz = _together(_spoken(pair, [own[lang, name] for name in pair], generator), reader, ali,
                                            generator, level_db)
        name = f"{'+'.join(pair)}_{number:04d}"
        wav = out.parent / "wav" / out.name / f"{name}.wav"
        write_wav(wav, samples, rate_hz, sync=False)
        turns[name] = found
        for stream, value in (("wav.scp", str(wav)), ("utt2spk", "+".join(pair)), ("utt2lang", lang),
                              ("utt2dur", f"{len(samples) / rate_hz:.6f}")):
            streams[stream][name] = value
    os.sync()
    made = write_folder(out, streams)
    write_rttm(made.path / "rttm", turns)
    return made


def _spoken(pair: list[str], said: list[dict[str, str]], generator: np.random.Generator) -> list[tuple[str, str]]:
    """(speaker, utterance) of the turns, the pair by turns: in a drawn order of all texts, each takes the next of theirs."""
    texts = sorted(said[0].keys() | said[1].keys())
    order = [texts[i] for i in generator.permutation(len(texts))]
    chosen = []
    for turn in range(2 * TURNS):
        text = next((text for text in order if text in said[turn % 2]), None)
        if text is None:
            break
        order.remove(text)
        chosen.append((pair[turn % 2], said[turn % 2][text]))
    return chosen


def _together(said: list[tuple[str, str]], reader: AudioReader, ali: dict[str, str], generator: np.random.Generator,
              level_db: float | None) -> tuple[np.ndarray, list[Turn], int]:
    """Samples, turns and rate of (speaker, utterance) one after the other."""
    pieces, turns = [], []
    before_start = before_end = 0.0
    own_end: dict[str, float] = {}
    for speaker, utt in said:
        samples, rate_hz = reader.read(utt)
        spoken = spans(ali[utt])
        if level_db is not None:
            speech = np.concatenate([samples[round(begin * rate_hz):round(end * rate_hz)] for begin, end in spoken])
            samples = samples * np.float32(10 ** (level_db / 20) / max(np.sqrt(np.square(speech).mean()), 1e-8))
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
