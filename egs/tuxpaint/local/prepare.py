#!/usr/bin/env python
"""Stage 1: the tree of stamps -> data folders train, dev and test, with a picture for each utterance.

Usage: local/prepare.py CORPUS_DIR DATA_DIR

Beside the parts it writes to DATA_DIR: wav/ (the descriptions as mono files), pictures/ (the stamps as small squares),
left_out.tsv (every sound that was left out, and why) and notes.tsv (kept, but worth knowing).
"""

import hashlib
import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechrep.data.audio import read_mixed, resample, write_wav
from speechrep.data.check import MAX_CHARS_PER_SEC
from speechrep.data.corpus import corpus_parser, run_prepare
from speechrep.data.folder import write_folder
from speechrep.data.picture import fit_square, read_picture, write_picture
from speechrep.data.text.normalise import normalise, remarks
from speechrep.errors import SpeechrepError
from speechrep.files import write_text
from stamps import Sound, encoder_of, find_picture, find_sounds, find_stamps, read_texts

SPEAKERS = {"be": "kseniya", "bg": "krasimir", "ca": "pere", "da": "joe", "el": "kiriaki", "en": "unnamed_en",
            "es": "estefania", "fr": "paulk", "nl": "unnamed_nl", "ro": "tabbytha", "ru": "edwin"}
"""Language -> who reads it, by the package's changelog. English and Dutch came without a name."""

OTHER_FRENCH = {"20070622": "unnamed_fr", "20050304": "jacques"}
"""Date of the encoder -> reader of those French files that are not PaulK's: an unnamed one, and the older letters of
Jacques Chion. That they are other voices shows in pitch and in a speaker encoder (README.md)."""

RATE_HZ = 16000
MIN_SEC = 0.3
LONG_SEC = 20.0
TEST_SHARE, DEV_SHARE = 0.12, 0.06
SILENCE_PEAK = 1e-3


@dataclass
class Utterance:
    """One description that is kept."""

    sound: Sound
    speaker: str
    text: str
    seconds: float = 0.0
    digest: str = ""
    """Of the samples as they were recorded."""

    @property
    def utt(self) -> str:
        return f"{self.speaker}_{self.sound.lang}_{self.sound.stamp.replace('/', '-')}"


def prepare(corpus_dir: Path, data_dir: Path) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there or too small to be divided."""
    stamps = find_stamps(corpus_dir)
    kept: list[Utterance] = []
    left_out, notes = [], []
    drawn: dict[str, str] = {}
    for sound in find_sounds(stamps):
        text, why = spoken_text(sound, stamps)
        why = why or draw(sound.stamp, stamps, data_dir, drawn)
        if not why:
            utterance, why = read(sound, text, data_dir, notes)
        if why:
            left_out.append(f"{sound.path.relative_to(stamps)}\t{why}")
        else:
            kept.append(utterance)
    kept = without_duplicates(kept, stamps, data_dir, left_out, notes)
    parts = split(kept)
    for part, utterances in parts.items():
        if not utterances:
            raise SpeechrepError(f"{stamps}: too few descriptions for the part '{part}'", "the whole corpus",
                                 "run stage 0 again")
    # Thousands of files at once; the data folders, which tell that they are there, come after.
    os.sync()
    for name, lines in (("left_out.tsv", left_out), ("notes.tsv", notes)):
        write_text(data_dir / name, "".join(f"{line}\n" for line in sorted(lines)))
    for part, utterances in parts.items():
        write_folder(data_dir / part, streams(utterances, data_dir))
    print(table(parts))
    # The reason without what is particular to the file.
    reasons = Counter(re.split(r"[:(]", line.split("\t")[1])[0].strip() for line in left_out)
    print(f"left out: {len(left_out)} sounds ({data_dir}/left_out.tsv): "
          + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))
    print(f"notes on {len(notes)} others in notes.tsv")


def spoken_text(sound: Sound, stamps: Path) -> tuple[str, str]:
    """The normalised text of a sound and "", or "" and the reason to leave it out."""
    if sound.kind != "description":
        return "", {"letter": "a letter", "number": "a number", "effect": "a sound effect"}[sound.kind]
    if sound.lang not in SPEAKERS:
        return "", f"too few in this language: {sound.lang}"
    try:
        texts = read_texts(stamps / f"{sound.stamp}.txt")
    except SpeechrepError as error:
        return "", f"unreadable text: {error.found}"
    raw = texts.get(sound.lang, "")
    if not raw:
        return "", f"no text: no line for {sound.lang}" if texts else "no text: no .txt"
    if remarks(raw):
        return "", f"doubtful text: it is not known whether the words in brackets are spoken: {raw}"
    try:
        text = normalise(raw, sound.lang)
    except SpeechrepError as error:
        return "", f"unreadable text: {error.found}"
    return (text, "") if text else ("", f"no text: nothing to say in '{raw}'")


def draw(stamp: str, stamps: Path, data_dir: Path, drawn: dict[str, str]) -> str:
    """Make the square picture of a stamp, once; why it cannot be made, or ""."""
    if stamp not in drawn:
        path = find_picture(stamps, stamp)
        drawn[stamp] = "" if path else "no picture"
        if path:
            try:
                pixels = read_picture(path)
            except SpeechrepError as error:
                if "pip install" in error.cure:
                    raise
                drawn[stamp] = f"no picture: {error.found}"
            else:
                square = fit_square(pixels)
                if square.min() == square.max():
                    drawn[stamp] = "no picture: it is of one colour"
                else:
                    write_picture(picture_path(data_dir, stamp), square, sync=False)
    return drawn[stamp]


def read(sound: Sound, text: str, data_dir: Path, notes: list[str]) -> tuple[Utterance | None, str]:
    """The utterance, its wav file written, and "", or None and why its audio cannot be used."""
    try:
        samples, rate_hz, mixed = read_mixed(sound.path)
    except SpeechrepError as error:
        return None, f"unusable audio: {error.found}"
    seconds = len(samples) / rate_hz
    if seconds < MIN_SEC:
        return None, f"too short: {seconds:.2f} s"
    if np.abs(samples).max() < SILENCE_PEAK:
        return None, "unusable audio: nothing but silence"
    characters = len("".join(text.split()))
    if characters > MAX_CHARS_PER_SEC * seconds:
        return None, f"doubtful text: {characters} characters cannot be said in {seconds:.2f} s: {text}"
    speaker = OTHER_FRENCH.get(encoder_of(sound.path), SPEAKERS["fr"]) if sound.lang == "fr" else SPEAKERS[sound.lang]
    resampled = resample(samples, rate_hz, RATE_HZ)
    utterance = Utterance(sound, speaker, text, len(resampled) / RATE_HZ, hashlib.sha256(samples.tobytes()).hexdigest())
    write_wav(wav_path(data_dir, utterance), resampled, RATE_HZ, sync=False)
    if mixed.startswith("channel"):
        notes.append(f"{utterance.utt}\tonly {mixed} of the recording")
    if rate_hz < RATE_HZ:
        notes.append(f"{utterance.utt}\trecorded at {rate_hz} Hz")
    if seconds > LONG_SEC:
        notes.append(f"{utterance.utt}\t{seconds:.1f} s long")
    return utterance, ""


def without_duplicates(utterances: list[Utterance], stamps: Path, data_dir: Path, left_out: list[str],
                       notes: list[str]) -> list[Utterance]:
    """Drop recordings that are there twice, sample by sample; note the same words recorded twice, which are kept."""
    seen_audio: dict[str, Utterance] = {}
    seen_text: dict[tuple[str, str, str], Utterance] = {}
    kept = []
    for utterance in utterances:
        first = seen_audio.setdefault(utterance.digest, utterance)
        if first is not utterance:
            left_out.append(f"{utterance.sound.path.relative_to(stamps)}\tduplicate: the same samples as {first.utt}")
            wav_path(data_dir, utterance).unlink()
            continue
        same = seen_text.setdefault((utterance.speaker, utterance.sound.lang, utterance.text), utterance)
        if same is not utterance:
            notes.append(f"{utterance.utt}\tsame words as {same.utt}, another recording")
        kept.append(utterance)
    return kept


def split(utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    """Train, dev and test by picture, deterministically: neither a picture nor a text is in two of them.

    Pictures are tied together by equal text in a language. Groups are taken in the order of a hash of their smallest
    picture, first for test and then for dev, until these have their share of the pictures.
    """
    groups: dict[str, str] = {}

    def root(key: str) -> str:
        while groups.setdefault(key, key) != key:
            key = groups[key]
        return key

    for utterance in utterances:
        one, other = sorted((root(f"stamp {utterance.sound.stamp}"),
                             root(f"text {utterance.sound.lang} {utterance.text}")))
        groups[other] = one
    members: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        members[root(f"stamp {utterance.sound.stamp}")].append(utterance)
    ordered = sorted(members.values(),
                     key=lambda group: hashlib.sha256(min(u.sound.stamp for u in group).encode()).hexdigest())
    total = len({utterance.sound.stamp for utterance in utterances})
    parts: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    filled = {"test": 0, "dev": 0}
    wanted = {"test": TEST_SHARE * total, "dev": DEV_SHARE * total}
    for group in ordered:
        part = next((name for name in filled if filled[name] < wanted[name]), "train")
        if part != "train":
            filled[part] += len({utterance.sound.stamp for utterance in group})
        parts[part] += group
    return parts


def wav_path(data_dir: Path, utterance: Utterance) -> Path:
    return data_dir / "wav" / utterance.speaker / f"{utterance.utt}.wav"


def picture_path(data_dir: Path, stamp: str) -> Path:
    return data_dir / "pictures" / f"{stamp.replace('/', '-')}.png"


def streams(utterances: list[Utterance], data_dir: Path) -> dict[str, dict[str, str]]:
    """The streams of a data folder with these utterances."""
    if len({utterance.utt for utterance in utterances}) != len(utterances):
        raise SpeechrepError("two descriptions with one utterance id", "names that differ in more than / and -")
    return {"wav.scp": {u.utt: str(wav_path(data_dir, u)) for u in utterances},
            "image.scp": {u.utt: str(picture_path(data_dir, u.sound.stamp)) for u in utterances},
            "text": {u.utt: u.text for u in utterances}, "utt2spk": {u.utt: u.speaker for u in utterances},
            "utt2lang": {u.utt: u.sound.lang for u in utterances},
            "utt2dur": {u.utt: f"{u.seconds:.6f}" for u in utterances},
            "utt2picture": {u.utt: u.sound.stamp for u in utterances},
            "category": {u.utt: u.sound.category for u in utterances}}


def table(parts: dict[str, list[Utterance]]) -> str:
    """Utterances and minutes of each voice in each part, and how many pictures."""
    lines = [f"{'language':<9}{'speaker':<12}" + "".join(f"{part:>17}" for part in parts) + f"{'all':>17}"]
    voices = sorted({(u.sound.lang, u.speaker) for part in parts.values() for u in part})
    for lang, speaker in [*voices, ("all", "")]:
        cells = [[u for u in part if not speaker or (u.sound.lang, u.speaker) == (lang, speaker)]
                 for part in parts.values()]
        cells.append([utterance for cell in cells for utterance in cell])
        lines.append(f"{lang:<9}{speaker:<12}" + "".join(
            f"{f'{len(cell)} / {sum(u.seconds for u in cell) / 60:.1f} min':>17}" for cell in cells))
    pictures = [len({u.sound.stamp for u in part}) for part in parts.values()]
    return "\n".join([*lines, f"{'pictures':<21}" + "".join(f"{count:>17}" for count in [*pictures, sum(pictures)])])


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__, partial=False))
