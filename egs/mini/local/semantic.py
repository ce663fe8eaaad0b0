"""Spoken English words beside judgements of how much they have to do with each other: data/semantic_{dev,test}.

The judgements are those of relatedness.tsv, of pairs of words that the part holds both of; a word is compared with another
of the same voice.
"""

from pathlib import Path

from keywords import words
from speechrep.data import semantic
from speechrep.data.folder import DataFolder
from speechrep.data.words import Piece

TYPE = "synthetic"
"""What the benchmark calls words of synthetic voices."""


def semantic_folders(data_dir: Path, judgements: Path = Path(__file__).with_name("relatedness.tsv")) -> list[DataFolder]:
    """Make DATA_DIR/semantic_dev and DATA_DIR/semantic_test from dev and test, or none where one of these holds too few
    of the pairs of `judgements` (word, word, judgement). Raises `SpeechrepError` if text, phones and times do not agree."""
    parts = [DataFolder(data_dir / part) for part in ("dev", "test")]
    return semantic.semantic_folders(parts, [_tokens(part) for part in parts], semantic.read_judgements(judgements), TYPE,
                                     "mini", voices=True)


def _tokens(folder: DataFolder) -> dict[str, tuple[str, Piece]]:
    """Id of a spoken word -> word and where it is."""
    langs = folder.read("utt2lang")
    return {f"{utt}-{number:02d}": (word, Piece(utt, start, end)) for utt in folder.utts if langs[utt] == "en"
            for number, (word, start, end) in enumerate(words(folder, utt))}
