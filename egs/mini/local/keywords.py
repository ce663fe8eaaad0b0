"""Words cut from the English sentences by their true times: data/keyword_{train,dev,test}, with the stream `keyword`.

Nothing is copied: `segments` points into the recordings. A class for each of KEYWORDS, `_unknown_` for other words and
`_silence_` for the noise before a noisy utterance, the last two as often as the most frequent keyword at the most.
"""

import hashlib
from collections import Counter
from pathlib import Path

from speechrep.data.alignment import read_ali
from speechrep.data.folder import DataFolder
from speechrep.data.words import MARGIN_SEC, MIN_SEC, Piece
from speechrep.data.words import cut as cut_pieces
from speechrep.errors import SpeechrepError

KEYWORDS = ("bathroom", "bedroom", "down", "kitchen", "lights", "make", "music", "please", "switch", "turn")
NOISY_DB = 30.0
"""Only below this signal-to-noise ratio is the noise loud enough to be there at all in 16 bits."""


def cut(data_dir: Path, part: str) -> DataFolder:
    """Make DATA_DIR/keyword_PART from DATA_DIR/PART."""
    folder = DataFolder(data_dir / part)
    langs = folder.read("utt2lang")
    found: dict[str, tuple[str, str, float, float]] = {}
    for utt in folder.utts:
        if langs[utt] == "en":
            for number, (word, start, end) in enumerate(words(folder, utt)):
                found[f"{utt}-{number:02d}"] = word, utt, start, end
    counts = Counter(word for word, *_ in found.values() if word in KEYWORDS)
    most = max(counts.values(), default=0)
    order = sorted(found, key=lambda key: hashlib.sha256(key.encode()).digest())
    taken = [key for key in found if found[key][0] in KEYWORDS]
    taken += [key for key in order if found[key][0] not in (*KEYWORDS, "_silence_")][:most]
    taken += [key for key in order if found[key][0] == "_silence_"][:most]
    keywords = {key: found[key][0] if found[key][0] in (*KEYWORDS, "_silence_") else "_unknown_" for key in taken}
    return cut_pieces(folder, data_dir / f"keyword_{part}", {key: Piece(*found[key][1:]) for key in taken},
                      {"keyword": keywords})


def words(folder: DataFolder, utt: str) -> list[tuple[str, float, float]]:
    """The words of an English utterance that are long enough, with the noise before the first where it can be heard, and
    when they are heard, in seconds. Raises `SpeechrepError` if text, phones and times do not agree."""
    spelt, spoken = folder.read("text")[utt].split(), folder.read("phones")[utt].split(" | ")
    phones, ends = read_ali(folder.read("ali.true")[utt])
    spans = [(start, end) for phone, start, end in zip(phones, [0.0, *ends], ends) if phone != "SIL"]
    if len(spelt) != len(spoken) or sum(len(word.split()) for word in spoken) != len(spans):
        raise SpeechrepError(f"{folder.path}: '{utt}': {len(spelt)} words of text, {len(spoken)} of phones",
                             "as many, each with its times", "run stage 0 again")
    noisy = float(folder.read("utt2snr")[utt]) < NOISY_DB
    found = [("_silence_", 0.0, ends[0])] if phones[0] == "SIL" and noisy else []
    at = 0
    for word, own in zip(spelt, spoken):
        start, end = spans[at][0], spans[at + len(own.split()) - 1][1]
        found.append((word, start, end))
        at += len(own.split())
    margins = [0.0 if word == "_silence_" else MARGIN_SEC for word, _, _ in found]
    return [(word, max(0.0, start - margin), min(ends[-1], end + margin)) for (word, start, end), margin
            in zip(found, margins) if end - start + 2 * margin >= MIN_SEC]
