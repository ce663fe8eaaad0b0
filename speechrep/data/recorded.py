"""Loose recordings of any rate and number of channels -> data folders train, dev and test of mono files at one rate.

For corpora that are a heap of sound files with a line of text each: what a recipe knows of them is a list of `Recording`.
"""

import hashlib
import math
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechrep.data.audio import read_mixed, resample, write_wav
from speechrep.data.check import MAX_CHARS_PER_SEC, SILENCE_PEAK
from speechrep.data.folder import DataFolder, write_folder
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

PARTS = ("train", "dev", "test")
MIN_SEC = 0.2
"""Shorter, and there is hardly a syllable in it."""


@dataclass
class Recording:
    """One sound file and what is known of it."""

    path: Path
    utt: str
    speaker: str
    lang: str
    """ISO 639-1."""
    text: str
    """As `speechrep.data.text.normalise` leaves it."""
    seconds: float = 0.0
    digest: str = ""
    """Of the samples as they were recorded."""


def write_parts(recordings: list[Recording], data_dir: Path, left_out: dict[str, str], rate_hz: int = 16000,
                test_share: float = 0.15, dev_share: float = 0.10) -> dict[str, DataFolder]:
    """Write DATA_DIR/{train,dev,test}, DATA_DIR/wav and DATA_DIR/left_out.tsv, and return the parts.

    `left_out`: sound (as the recipe names it) -> why, for what the recipe itself has left out; what is too short, silent,
    unreadable, said too fast for its text or there twice is added by utterance. Raises `SpeechrepError` where two
    recordings have one id or a part stays empty.
    """
    ids = Counter(recording.utt for recording in recordings)
    doubled = [utt for utt, count in ids.items() if count > 1]
    if doubled:
        raise SpeechrepError(f"{len(doubled)} ids that two recordings have, such as '{doubled[0]}'", "an id for each",
                             "look at the names of the files")
    kept, left_out, seen = [], dict(left_out), {}
    for recording in recordings:
        why = _write_mono(recording, data_dir, rate_hz)
        first = seen.setdefault(recording.digest, recording) if not why else recording
        if first is not recording:
            why = f"duplicate: the same samples as {first.utt}"
            wav_path(data_dir, recording).unlink()
        if why:
            left_out[recording.utt] = why
        else:
            kept.append(recording)
    parts = split_by_text(kept, test_share, dev_share)
    # Many small files at once; the data folders, which tell that they are there, come after.
    os.sync()
    write_text(data_dir / "left_out.tsv", "".join(f"{name}\t{why}\n" for name, why in sorted(left_out.items())))
    for part, members in parts.items():
        if not members:
            raise SpeechrepError(f"{data_dir}: too few recordings for the part '{part}'", "the whole corpus",
                                 "run stage 0 (download) again")
    return {part: write_folder(data_dir / part, {
        "wav.scp": {r.utt: str(wav_path(data_dir, r)) for r in members}, "text": {r.utt: r.text for r in members},
        "utt2spk": {r.utt: r.speaker for r in members}, "utt2lang": {r.utt: r.lang for r in members},
        "utt2dur": {r.utt: f"{r.seconds:.6f}" for r in members}}) for part, members in parts.items()}


def wav_path(data_dir: Path, recording: Recording) -> Path:
    """Where the mono file of a recording goes."""
    return data_dir / "wav" / recording.speaker / f"{recording.utt}.wav"


def split_by_text(recordings: list[Recording], test_share: float, dev_share: float) -> dict[str, list[Recording]]:
    """Train, dev and test by what is said, each language by itself: no text is in two parts, and every language that has
    three texts is in each. The texts of a language are taken in the order of their hash."""
    texts: dict[str, dict[str, list[Recording]]] = defaultdict(lambda: defaultdict(list))
    for recording in recordings:
        texts[recording.lang][recording.text].append(recording)
    parts: dict[str, list[Recording]] = {part: [] for part in PARTS}
    for _, said in sorted(texts.items()):
        ordered = sorted(said, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
        test = min(math.ceil(test_share * len(ordered)), max(0, len(ordered) - 2))
        dev = test + min(math.ceil(dev_share * len(ordered)), max(0, len(ordered) - 1 - test))
        for place, text in enumerate(ordered):
            parts["test" if place < test else "dev" if place < dev else "train"] += said[text]
    return parts


def table(parts: dict[str, DataFolder]) -> str:
    """Utterances and minutes of each language and speaker in each part, for people."""
    cells: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: {part: [] for part in (*parts, "all")})
    for part, folder in parts.items():
        langs, speakers = folder.read("utt2lang"), folder.read("utt2spk")
        for utt, seconds in folder.seconds.items():
            for voice in ((langs[utt], speakers[utt]), ("~all", "")):
                cells[voice][part].append(seconds)
                cells[voice]["all"].append(seconds)
    lines = [f"{'language':<9}{'speaker':<16}" + "".join(f"{part:>16}" for part in (*parts, "all"))]
    for (lang, speaker), row in sorted(cells.items()):
        lines.append(f"{lang.removeprefix('~'):<9}{speaker:<16}" + "".join(
            f"{f'{len(cell)} / {sum(cell) / 60:.1f} min':>16}" for cell in row.values()))
    return "\n".join(lines)


def summary(parts: dict[str, DataFolder], data_dir: Path) -> str:
    """What was made and, counted by reason, what was left out, for people."""
    lines = (data_dir / "left_out.tsv").read_text(encoding="utf-8").splitlines()
    # The reason without what is particular to the file.
    reasons = Counter(line.split("\t")[1].split(":")[0] for line in lines)
    return f"{table(parts)}\nleft out: {len(lines)} sounds ({data_dir}/left_out.tsv): " + ", ".join(
        f"{count} {reason}" for reason, count in reasons.most_common())


def _write_mono(recording: Recording, data_dir: Path, rate_hz: int) -> str:
    """Write the recording as one channel and set its seconds and digest; or why it cannot be used."""
    try:
        samples, from_hz, _ = read_mixed(recording.path)
    except SpeechrepError as error:
        return f"unusable audio: {error.found}"
    recording.seconds = len(samples) / from_hz
    if recording.seconds < MIN_SEC:
        return f"too short: {recording.seconds:.2f} s"
    if (float(samples.max()) - float(samples.min())) / 2 < SILENCE_PEAK:
        return "unusable audio: nothing but silence"
    characters = len("".join(recording.text.split()))
    if characters > MAX_CHARS_PER_SEC * recording.seconds:
        return f"doubtful text: {characters} characters cannot be said in {recording.seconds:.2f} s: {recording.text}"
    recording.digest = hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()
    resampled = resample(samples, from_hz, rate_hz)
    recording.seconds = len(resampled) / rate_hz
    write_wav(wav_path(data_dir, recording), resampled, rate_hz, sync=False)
    return ""
