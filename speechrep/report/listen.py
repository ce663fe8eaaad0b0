"""What there is to listen to: which utterances are chosen, and each as a clip small enough to live inside the page."""

import base64
import io
from collections import Counter
from dataclasses import dataclass

import numpy as np
import soundfile

from speechrep.data.audio import AudioReader
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.report.collect import Spoken

GOOD_SEC = 3.0
"""Utterances nearest to this length are shown: long enough to judge, short enough to inline."""
MAX_CLIP_SEC = 10.0
"""A longer clip, such as a prompt, is cut here."""
MAX_PAIRS = 240
"""Of more speaker pairs than this, so many are shown, evenly spread."""
MAX_ROWS = 24
AUDIO_BYTES = 15_000_000
"""All clips together, before base64 adds a third."""
CODECS = (("FLAC", "PCM_16", "audio/flac"), ("MP3", "MPEG_LAYER_III", "audio/mpeg"))
"""Lossless while the page stays small, else MP3: both play in every browser and encode to the same bytes each time."""


@dataclass
class Clip:
    """One utterance of a data folder."""

    folder: DataFolder
    utt: str
    seconds: float = 0.0
    uri: str = ""
    """`data:audio/...`, empty where the audio could not be read."""
    problem: str = ""


@dataclass
class Row:
    """One line of a table of clips."""

    title: str
    text: str
    language: str
    cells: dict[str, Clip]
    """column -> clip; a column may be missing."""


@dataclass
class Listening:
    """The clips of the page: rows of the same words in one voice, and rows of speaker pairs."""

    columns: list[str]
    rows: list[Row]
    pair_columns: list[str]
    pairs: list[Row]
    all_pairs: int
    codec: str

    def clips(self) -> list[Clip]:
        """Every clip once."""
        return list({id(clip): clip for row in [*self.rows, *self.pairs] for clip in row.cells.values()}.values())


def choose(natural: DataFolder | None, found: list[Spoken], others: list[DataFolder] = ()) -> Listening:
    """Which clips to show, from synthesised speech of one part and the natural speech of that part. Prompts are looked
    for in `others`, the other parts."""
    same = [spoken for spoken in found if spoken.kind != "vc"]
    rows = _same_words(natural, same)
    pairs, count = _pairs(natural, [spoken for spoken in found if spoken.kind == "vc"], others)
    return Listening(["natural", *(spoken.system for spoken in same)], rows,
                     ["source", "target voice", *(spoken.system for spoken in found if spoken.kind == "vc")], pairs,
                     count, "")


def load(clips: list[Clip], budget: int = AUDIO_BYTES) -> str:
    """Read and encode clips: losslessly if they fit `budget` bytes together, else as MP3; returns the format. What cannot
    be read keeps its `problem`."""
    sounds = []
    for clip in clips:
        try:
            samples, rate_hz = AudioReader(clip.folder).read(clip.utt)
        except SpeechrepError as error:
            clip.problem = error.found
            continue
        sounds.append((clip, samples[:int(MAX_CLIP_SEC * rate_hz)], rate_hz))
    for form, subtype, mime in CODECS:
        encoded = [encode(samples, rate_hz, form, subtype) for _, samples, rate_hz in sounds]
        if sum(map(len, encoded)) <= budget:
            break
    for (clip, samples, rate_hz), content in zip(sounds, encoded):
        clip.seconds = len(samples) / rate_hz
        clip.uri = data_uri(content, mime)
    return form


def encode(samples: np.ndarray, rate_hz: int, form: str = "FLAC", subtype: str = "PCM_16") -> bytes:
    """samples [T] in [-1, 1] as a file of the given format."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), rate_hz, format=form, subtype=subtype)
    return buffer.getvalue()


def data_uri(content: bytes, mime: str) -> str:
    """`content` as an address that holds it."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def _same_words(natural: DataFolder | None, found: list[Spoken]) -> list[Row]:
    """For every speaker one or two utterances of which most systems have a version."""
    if natural is None and not found:
        return []
    made: dict[str, dict[str, Clip]] = {}
    for spoken in found:
        content, speakers = spoken.folder.read("utt2content"), spoken.folder.read("utt2spk")
        for utt in spoken.folder.utts:
            # Another voice saying the words belongs to conversion.
            if utt in content and (natural is None or speakers[utt] == natural.read("utt2spk").get(content[utt])):
                made.setdefault(content[utt], {}).setdefault(spoken.system, Clip(spoken.folder, utt))
    texts, speakers, languages, seconds = _about(natural, found)
    known = set(natural.utts) if natural else set(made)
    candidates = [utt for utt in sorted(made if made else known) if utt in known]
    of_speaker: dict[str, list[str]] = {}
    for utt in sorted(candidates, key=lambda utt: (-len(made.get(utt, ())), abs(seconds.get(utt, 0) - GOOD_SEC), utt)):
        of_speaker.setdefault(speakers.get(utt, ""), []).append(utt)
    each = max(1, min(2, 12 // max(1, len(of_speaker))))
    rows = []
    for speaker in sorted(of_speaker):
        for utt in of_speaker[speaker][:each]:
            cells = {"natural": Clip(natural, utt)} if natural else {}
            rows.append(Row(speaker, texts.get(utt, ""), languages.get(utt, ""), cells | made.get(utt, {})))
    return rows[:MAX_ROWS]


def _pairs(natural: DataFolder | None, found: list[Spoken], others: list[DataFolder]) -> tuple[list[Row], int]:
    """One utterance for each pair of speakers; of one source the same utterance for all targets where possible."""
    made: dict[tuple[str, str, str], dict[str, Clip]] = {}
    prompts: dict[str, str] = {}
    for spoken in found:
        content, speakers = spoken.folder.read("utt2content"), spoken.folder.read("utt2spk")
        sources = spoken.folder.read("utt2source") if spoken.folder.has("utt2source") else \
            natural.read("utt2spk") if natural else {}
        for utt in spoken.folder.utts:
            source = sources.get(utt) or sources.get(content.get(utt, ""), "?")
            made.setdefault((source, speakers[utt], content[utt]), {}).setdefault(
                spoken.system, Clip(spoken.folder, utt))
            if spoken.folder.has("prompt"):
                prompts.setdefault(speakers[utt], spoken.folder.read("prompt").get(utt, ""))
    texts, _, languages, seconds = _about(natural, found)
    covered = Counter((source, content) for (source, _, content), clips in made.items() for _ in clips)
    best: dict[tuple[str, str], str] = {}
    for source, target, content in sorted(made, key=lambda key: (
            -covered[key[0], key[2]], abs(seconds.get(key[2], 0) - GOOD_SEC), key)):
        best.setdefault((source, target), content)
    keys = sorted(best)
    shown = [keys[i] for i in np.unique(np.linspace(0, len(keys) - 1, min(MAX_PAIRS, len(keys))).astype(int))] \
        if keys else []
    clips: dict[str, Clip] = {}
    home = {utt: folder for folder in (*others, *([natural] if natural else [])) for utt in folder.utts}
    rows = []
    for source, target in shown:
        content = best[source, target]
        cells = {}
        for column, utt in (("source", content), ("target voice", prompts.get(target, ""))):
            if utt in home:
                cells[column] = clips.setdefault(utt, Clip(home[utt], utt))
        rows.append(Row(f"{source} → {target}", texts.get(content, ""), languages.get(content, ""),
                        cells | made[source, target, content]))
    return rows, len(keys)


def _about(natural: DataFolder | None, found: list[Spoken]) -> tuple[dict, dict, dict, dict]:
    """Texts, speakers, languages and seconds of natural utterances, from their own folder, else as the copies say."""
    tables: list[dict] = [{}, {}, {}]
    for table, stream in zip(tables, ("text", "utt2spk", "utt2lang")):
        for spoken in found:
            if spoken.folder.has(stream):
                content = spoken.folder.read("utt2content")
                said = spoken.folder.read(stream)
                table.update({content[utt]: said[utt] for utt in said if utt in content})
        if natural and natural.has(stream):
            table.update(natural.read(stream))
    return *tables, natural.seconds if natural else {}
