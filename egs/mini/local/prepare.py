#!/usr/bin/env python
"""Stage 1: the synthesised corpus -> data folders train, dev, test and test_unseen.

Usage: local/prepare.py CORPUS_DIR DATA_DIR

Parts are divided by text: no text is in two of train, dev and test, and every speaker is in each of them. test_unseen
has the texts of test, said by speakers who are nowhere else. Beside Kaldi's streams the folders hold `phones`,
`ali.true` (true phone times), `intent` and `slots` (commands), `utt2sentence` (equal for the same words) and `utt2snr`
in dB.
"""

from collections import defaultdict
from pathlib import Path

from speechrep.data.corpus import corpus_parser, run_prepare
from speechrep.data.folder import write_folder
from speechrep.errors import SpeechrepError
from slots import mark_slots
from texts import Text, assign_parts, read_speakers

PARTS = ("test_unseen", "test", "dev", "train")


def prepare(corpus_dir: Path, data_dir: Path) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there or incomplete."""
    said = {fields[0]: fields for fields in _rows(corpus_dir / "texts.tsv")}
    parts = assign_parts([Text(text_id, intent, text) for text_id, intent, text, _ in said.values()])
    speakers = {speaker.id: speaker for speaker in read_speakers(path=corpus_dir / "speakers.tsv")}
    streams: dict[str, dict[str, dict[str, str]]] = {part: defaultdict(dict) for part in PARTS}
    for table in sorted((corpus_dir / "times").glob("*.tsv")):
        speaker = speakers[table.stem]
        for utt, text_id, snr_db, _, ali in _rows(table):
            wav = corpus_dir / "wav" / speaker.id / f"{utt}.wav"
            if not wav.is_file():
                raise SpeechrepError(f"{wav}: no such file", "the audio of every utterance", "run stage 0 again")
            folder = streams["test_unseen" if speaker.held_out else parts[text_id]]
            _, intent, text, phones = said[text_id]
            folder["wav.scp"][utt] = str(wav)
            folder["text"][utt] = text
            folder["utt2spk"][utt] = speaker.id
            folder["utt2lang"][utt] = text_id[:2]
            folder["utt2dur"][utt] = f"{float(ali.split()[-1]):.6f}"
            folder["utt2sentence"][utt] = text_id
            folder["utt2snr"][utt] = snr_db
            folder["phones"][utt] = phones
            folder["ali.true"][utt] = ali
            folder["spk2gender"][speaker.id] = speaker.gender
            if intent:
                folder["intent"][utt] = intent
                folder["slots"][utt] = mark_slots(text, intent, text_id[:2])
    for part in PARTS:
        write_folder(data_dir / part, streams[part])
    print(table_of(streams))


def table_of(streams: dict[str, dict[str, dict[str, str]]]) -> str:
    """Utterances and minutes of each language and speaker in each part."""
    lines = [f"{'':<10}" + "".join(f"{part:>18}" for part in reversed(PARTS))]

    def row(name: str, stream: str, value: str) -> str:
        cells = []
        for part in reversed(PARTS):
            folder = streams[part]
            utts = [utt for utt in folder["wav.scp"] if not stream or folder[stream][utt] == value]
            minutes = sum(float(folder["utt2dur"][utt]) for utt in utts) / 60
            cells.append(f"{f'{len(utts)} / {minutes:.1f} min':>18}")
        return f"{name:<10}" + "".join(cells)

    lines += [row(lang, "utt2lang", lang) for lang in ("en", "zh")]
    for speaker in sorted({speaker for part in PARTS for speaker in streams[part]["utt2spk"].values()}):
        lines.append(row(speaker, "utt2spk", speaker))
    return "\n".join([*lines, row("all", "", "")])


def _rows(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise SpeechrepError(f"{path}: no such file", "the corpus that stage 0 makes", "run stage 0 (local/synthesise.py)")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__, partial=False))
