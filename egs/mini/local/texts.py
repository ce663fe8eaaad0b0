"""The texts and speakers of the corpus, and which part each text belongs to."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from speechrep.errors import SpeechrepError

LOCAL = Path(__file__).resolve().parent
TEST_SHARE, DEV_SHARE = 0.15, 0.08


@dataclass(frozen=True)
class Text:
    """`id` is like en-c001 (a command) or zh-g012 (any other sentence); `intent` is "" for the latter."""

    id: str
    intent: str
    text: str

    @property
    def lang(self) -> str:
        return self.id[:2]

    @property
    def kind(self) -> str:
        return self.id[:4]


@dataclass(frozen=True)
class Speaker:
    """A voice: `variant` of eSpeak, `speed` in words a minute, `pitch` and `pitch_range` of 0-99."""

    id: str
    gender: str
    variant: str
    speed: int
    pitch: int
    pitch_range: int
    held_out: bool


def read_texts(count: int | None = None, path: Path = LOCAL / "texts.tsv") -> list[Text]:
    """The texts of the table, or about `count` of them: as many of each language and kind, the first ones of each."""
    texts = [Text(*fields) for fields in _rows(path)]
    if count is None:
        return texts
    kinds = sorted({text.kind for text in texts})
    if count < 3 * len(kinds):
        raise SpeechrepError(f"--texts {count}", f"{3 * len(kinds)} or more, three of each language and kind",
                             "ask for more texts")
    each = count // len(kinds)
    return [text for kind in kinds for text in [text for text in texts if text.kind == kind][:each]]


def read_speakers(count: int | None = None, path: Path = LOCAL / "speakers.tsv") -> list[Speaker]:
    """The speakers of the table, or `count` of them, genders in turn; the held-out ones always come on top."""
    speakers = [Speaker(name, gender, variant, int(speed), int(pitch), int(pitch_range), held_out == "yes")
                for name, gender, variant, speed, pitch, pitch_range, held_out in _rows(path)]
    seen = [speaker for speaker in speakers if not speaker.held_out]
    if count is None:
        return speakers
    if not 1 <= count <= len(seen):
        raise SpeechrepError(f"--speakers {count}", f"1 to {len(seen)}", "the voices stand in local/speakers.tsv")
    seen.sort(key=lambda speaker: (speaker.id[1:], speaker.id))
    return seen[:count] + [speaker for speaker in speakers if speaker.held_out]


def assign_parts(texts: list[Text]) -> dict[str, str]:
    """Text id -> train, dev or test, deterministically, each language and kind having its share of every part.

    Texts are taken in the order of a hash of their id. A command goes to test or dev only while another wording of its
    intent stays in train, where there is one, so that no intent is met for the first time in the test.
    """
    parts = {text.id: "train" for text in texts}
    for kind in sorted({text.kind for text in texts}):
        group = sorted((text for text in texts if text.kind == kind),
                       key=lambda text: hashlib.sha256(text.id.encode()).hexdigest())
        left = Counter(text.intent for text in group)
        group.sort(key=lambda text: bool(text.intent) and left[text.intent] < 2)
        for part, share in (("test", TEST_SHARE), ("dev", DEV_SHARE)):
            wanted = max(1, round(share * len(group)))
            free = [text for text in group if parts[text.id] == "train"]
            for text in [text for text in free if not text.intent] or free:
                if wanted and (not text.intent or left[text.intent] > 1):
                    parts[text.id], wanted = part, wanted - 1
                    left[text.intent] -= 1
    return parts


def _rows(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]
