#!/usr/bin/env python
"""Stage 0: some sentences again with another pitch and tempo, as "emotions". DOWNLOADS_DIR/emotion holds wav/ and times/.

Usage: local/emotion.py [--nj N] DOWNLOADS_DIR        (behind local/synthesise.py)

`emotion_folder` makes the data folder of them and of the same sentences as the corpus has them, which are "neutral".
"""

import argparse
import dataclasses
import hashlib
import sys
from pathlib import Path

from engine import phonemise
from speaking import speak
from speechrep.data.folder import DataFolder, write_folder
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_folder, read_json, write_json
from speechrep.launch import run_jobs
from texts import Speaker, read_speakers, read_texts

EMOTIONS = {"happy": (1.15, 18, 25), "angry": (1.35, 6, 10), "sad": (0.78, -14, -30)}
"""Tempo as a factor, pitch and pitch range in eSpeak's units (0-99, the voices' own are near 50) on top of the voice's own."""

SENTENCES = 8
"""Sentences of each language, none of them a command; fewer in a small corpus."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("downloads_dir", type=Path, help="where stage 0 put the corpus")
    parser.add_argument("--nj", type=int, default=2, help="parallel jobs, a voice each (default: %(default)s)")
    args = parser.parse_args()
    try:
        make_emotions(args.downloads_dir, args.nj)
    except SpeechrepError as error:
        sys.exit(f"error: {error}")


def make_emotions(downloads: Path, nj: int) -> None:
    """Synthesise into DOWNLOADS/emotion, unless it is there already, made for the same corpus."""
    settings_file = downloads / "corpus/settings.json"
    if not settings_file.is_file():
        raise SpeechrepError(f"{settings_file}: no such file", "the corpus", "run local/synthesise.py first")
    corpus = read_json(settings_file)
    settings = {"corpus": corpus, "source": hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]}
    out = downloads / "emotion"
    if (out / "settings.json").is_file() and read_json(out / "settings.json") == settings:
        print(f"emotion: {out} is there already", file=sys.stderr)
        return
    said = [(text.id, text.lang, phonemise(text.text, text.lang)[1]) for text in read_texts() if text.id in chosen(downloads)]
    voices = [voice(speaker, emotion) for speaker in _speakers(corpus) for emotion in EMOTIONS]
    with atomic_folder(out) as tmp:
        jobs = [(one, said, str(tmp)) for one in voices]
        seconds = sum(run_jobs(speak, jobs, log_dir=downloads / "log", nj=nj, title="emotion", backend="local"))
        write_json(tmp / "settings.json", settings)
    print(f"emotion: {out}, {seconds / 60:.1f} min", file=sys.stderr)


def chosen(downloads: Path) -> list[str]:
    """The ids of the sentences, of those that the corpus has."""
    lines = (downloads / "corpus/texts.tsv").read_text(encoding="utf-8").splitlines()
    ids = sorted(fields[0] for fields in (line.split("\t") for line in lines) if not fields[1])
    return [text for lang in ("en", "zh") for text in [text for text in ids if text.startswith(lang)][:SENTENCES]]


def voice(speaker: Speaker, emotion: str) -> Speaker:
    """The speaker in that emotion."""
    tempo, pitch, pitch_range = EMOTIONS[emotion]
    return dataclasses.replace(speaker, id=f"{speaker.id}-{emotion}", speed=round(speaker.speed * tempo),
                               pitch=min(max(speaker.pitch + pitch, 0), 99),
                               pitch_range=min(max(speaker.pitch_range + pitch_range, 0), 99))


def _speakers(corpus: dict) -> list[Speaker]:
    return [speaker for speaker in read_speakers() if speaker.id in corpus["speakers"] and not speaker.held_out]


def emotion_folder(downloads: Path, data_dir: Path) -> DataFolder:
    """Make DATA_DIR/emotion with `emotion` and `utt2session`.

    A session is a pair of voices, one female and one male (f01 and m01 ...), as in IEMOCAP; each voice is one of its own
    where that would leave fewer than three.
    """
    speakers = _speakers(read_json(downloads / "corpus/settings.json"))
    paired = len({speaker.id[1:] for speaker in speakers}) >= 3
    streams: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "utt2spk", "utt2lang", "utt2dur", "emotion",
                                                                "utt2session", "utt2sentence")}
    texts = set(chosen(downloads))
    for speaker in speakers:
        for emotion in ("neutral", *EMOTIONS):
            name = speaker.id if emotion == "neutral" else voice(speaker, emotion).id
            folder = downloads / ("corpus" if emotion == "neutral" else "emotion")
            table = folder / "times" / f"{name}.tsv"
            if not table.is_file():
                raise SpeechrepError(f"{table}: no such file", "the voices of every emotion", "run local/emotion.py")
            for line in table.read_text(encoding="utf-8").splitlines():
                utt, text_id, _, _, ali = line.split("\t")
                if text_id in texts:
                    for stream, value in (("wav.scp", str(folder / "wav" / name / f"{utt}.wav")),
                                          ("utt2spk", speaker.id), ("utt2lang", text_id[:2]), ("emotion", emotion),
                                          ("utt2dur", f"{float(ali.split()[-1]):.6f}"), ("utt2sentence", text_id),
                                          ("utt2session", f"session{speaker.id[1:] if paired else speaker.id}")):
                        streams[stream][utt] = value
    return write_folder(data_dir / "emotion", streams)


if __name__ == "__main__":
    main()
