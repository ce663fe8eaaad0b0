"""Spoken English words beside judgements of how much they have to do with each other: data/semantic_{dev,test} with gold.csv
and pairs.csv, as ZeroSpeech 2021's semantic task has them (`speechrep score ssimi`).

Nothing is copied: `segments` points into the recordings. The judgements are those of relatedness.tsv, of pairs of words that
the part holds both of; a word is compared with another of the same voice.
"""

import csv
import io
from pathlib import Path

from keywords import words
from speechrep.data.folder import DataFolder, write_folder
from speechrep.files import write_text

TYPE = "synthetic"
"""What the benchmark calls words of synthetic voices."""

LEAST_PAIRS = 10
"""Of fewer, which is all that some small corpora hold, a rank correlation says nothing."""


def semantic_folders(data_dir: Path, judgements: Path = Path(__file__).with_name("relatedness.tsv")) -> list[DataFolder]:
    """Make DATA_DIR/semantic_dev and DATA_DIR/semantic_test from dev and test, or none where one of these holds too few
    of the pairs of `judgements` (word, word, judgement). Raises `SpeechrepError` if text, phones and times do not agree."""
    lines = judgements.read_text(encoding="utf-8").splitlines()
    judged = [line.split("\t") for line in lines if not line.startswith("#")]
    parts = [DataFolder(data_dir / part) for part in ("dev", "test")]
    tokens = [_tokens(part) for part in parts]
    spoken = [{word for word, *_ in found.values()} for found in tokens]
    pairs = [[pair for pair in judged if set(pair[:2]) <= own] for own in spoken]
    if min(map(len, pairs)) < LEAST_PAIRS:
        return []
    return [_folder(*one) for one in zip(parts, tokens, pairs)]


def _tokens(folder: DataFolder) -> dict[str, tuple[str, str, float, float]]:
    """Id of a spoken word -> word, utterance, begin and end in seconds."""
    langs = folder.read("utt2lang")
    return {f"{utt}-{number:02d}": (word, utt, start, end) for utt in folder.utts if langs[utt] == "en"
            for number, (word, start, end) in enumerate(words(folder, utt))}


def _folder(folder: DataFolder, tokens: dict[str, tuple[str, str, float, float]], pairs: list[list[str]]) -> DataFolder:
    judged = {word for pair in pairs for word in pair[:2]}
    kept = {key: token for key, token in sorted(tokens.items()) if token[0] in judged}
    speakers, audio = folder.read("utt2spk"), folder.read("wav.scp")
    streams = {
        "segments": {key: f"{utt} {start:.4f} {end:.4f}" for key, (_, utt, start, end) in kept.items()},
        "wav.scp": {utt: audio[utt] for _, utt, _, _ in kept.values()},
        "utt2spk": {key: speakers[utt] for key, (_, utt, _, _) in kept.items()},
        "utt2lang": dict.fromkeys(kept, "en"),
        "utt2dur": {key: f"{end - start:.6f}" for key, (_, _, start, end) in kept.items()}}
    made = write_folder(folder.path.with_name(f"semantic_{folder.path.name}"), streams)
    _write(made.path / "gold.csv", ("type", "word", "filename", "voice"),
           [(TYPE, word, key, speakers[utt]) for key, (word, utt, _, _) in kept.items()])
    _write(made.path / "pairs.csv", ("type", "dataset", "word_1", "word_2", "similarity", "relatedness"),
           [(TYPE, "mini", first, second, "", value) for first, second, value in pairs])
    return made


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())
