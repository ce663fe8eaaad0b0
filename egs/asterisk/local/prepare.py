#!/usr/bin/env python
"""Stage 1: the unpacked prompts and their transcripts -> data folders train, dev and test.

Usage: local/prepare.py CORPUS_DIR DATA_DIR

Beside the parts it writes to DATA_DIR: missing_text.tsv (prompts whose text is missing), left_out.tsv (every prompt that
was left out, and why) and notes.tsv (kept, but worth knowing: over 20 s, or the same words under another name).
"""

import gzip
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from speechrep.data.audio import file_problem, header, read_wav
from speechrep.data.corpus import corpus_parser, run_prepare
from speechrep.data.folder import write_folder
from speechrep.data.text.normalise import normalise
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

VOICES = {"en": ("en_US_f_Allison", "allison"), "es": ("es_MX_f_Allison", "allison"), "fr": ("fr_CA_f_June", "june"),
          "it": ("it_IT_m_Carlo", "carlo"), "ru": ("ru_RU_f_IvrvoiceRU", "ivrvoiceru")}
"""Language -> voice folder in the packages, and the speaker whom its name and the packages' credits give."""

NOT_SPEECH = re.compile(r"silence/.*|beep|beeperr|(?:a|de)scending-2tone|confbridge-(?:join|leave)|tt-monkeys")
"""Prompts that are tones, silence or noise in every language, whatever their transcripts say."""

RATE_HZ = 8000
MIN_SEC = 0.2
LONG_SEC = 20.0
TEST_SHARE, DEV_SHARE = 0.10, 0.05

LOCAL = Path(__file__).resolve().parent


@dataclass
class Prompt:
    """One recording: `name` is its path below the voice folder without the ending, the same in every language."""

    lang: str
    name: str
    wav: Path
    seconds: float = 0.0
    text: str = ""

    @property
    def speaker(self) -> str:
        return VOICES[self.lang][1]

    @property
    def utt(self) -> str:
        return f"{self.speaker}_{self.lang}_{self.name.replace('/', '-')}"


def prepare(corpus_dir: Path, data_dir: Path) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there or a whole language is unusable."""
    corrections, spelling = read_corrections()
    prompts, left_out, missing = [], [], []
    for lang in VOICES:
        transcript = read_transcript(corpus_dir, lang)
        for prompt in find_prompts(corpus_dir, lang):
            text, why = spoken_text(prompt, transcript, corrections, spelling)
            why = why or audio_problem(prompt)
            if not why:
                prompt.text = text
                prompts.append(prompt)
                continue
            left_out.append(f"{prompt.utt}\t{prompt.wav}\t{why}")
            if why.startswith("no text"):
                missing.append(f"{prompt.utt}\t{prompt.wav}")
    prompts, notes = without_duplicates(prompts, left_out)
    notes += [f"{prompt.utt}\t{prompt.seconds:.1f} s long" for prompt in prompts if prompt.seconds > LONG_SEC]
    parts = split(prompts)
    for name, lines in (("missing_text.tsv", missing), ("left_out.tsv", left_out), ("notes.tsv", notes)):
        write_text(data_dir / name, "".join(f"{line}\n" for line in sorted(lines)))
    for part in ("dev", "test", "train"):
        if not parts[part]:
            raise SpeechrepError(f"{corpus_dir}: too few prompts for the part '{part}'", "the whole corpus",
                                 "run stage 0 again")
        write_folder(data_dir / part, streams(parts[part]))
    print(table(parts))
    print(f"left out: {len(left_out)} prompts, {len(missing)} of them because their text is missing "
          f"({data_dir}/left_out.tsv, missing_text.tsv); notes on {len(notes)} others in notes.tsv")


def read_corrections() -> tuple[dict[tuple[str, str], str], dict[str, dict[str, str]]]:
    """(language, prompt) -> corrected text, "" to leave it out; language -> misspelt word -> word."""
    corrections, spelling = {}, defaultdict(dict)
    for path in sorted(LOCAL.glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                continue
            fields = line.split("\t")
            if path.name == "corrections.tsv":
                corrections[fields[0], fields[1]] = fields[2]
            elif path.name.startswith("spelling_"):
                spelling[path.stem.removeprefix("spelling_")][fields[0]] = fields[1]
    return corrections, dict(spelling)


def read_transcript(corpus_dir: Path, lang: str) -> dict[str, str]:
    """Prompt name -> text as the package gives it: lines `name: text`, comments after `;`, UTF-8, perhaps with a BOM."""
    found = sorted(corpus_dir.rglob(f"core-sounds-{lang}.txt.gz")) or sorted(corpus_dir.rglob(f"core-sounds-{lang}.txt"))
    if not found:
        raise SpeechrepError(f"{corpus_dir}: no transcript of the language '{lang}'", f"core-sounds-{lang}.txt.gz or .txt",
                             "run stage 0 (download), or name the folder where the prompts are")
    path = found[0]
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = data.decode("utf-8-sig").splitlines()
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise SpeechrepError(f"{path}: not readable: {error}", "UTF-8 text", "run stage 0 (download) again") from None
    texts: dict[str, str] = {}
    for line in lines:
        name, colon, text = line.partition(":")
        name = name.strip()
        if colon and not name.startswith(";"):
            texts.setdefault(name, text.strip().removeprefix(f"{name}:").strip())
    return texts


def find_prompts(corpus_dir: Path, lang: str) -> list[Prompt]:
    """The wav files of one language, sorted by name, whether its folder has the packages' name or the language's."""
    folders = [path for name in (VOICES[lang][0], lang) for path in sorted(corpus_dir.rglob(name))
               if path.is_dir() and next(path.rglob("*.wav"), None)]
    if not folders:
        raise SpeechrepError(f"{corpus_dir}: no wav files of the language '{lang}'", f"a folder {VOICES[lang][0]} or {lang}",
                             "run stage 0 (download), or name the folder where the prompts are")
    folder = folders[0]
    return [Prompt(lang, wav.relative_to(folder).with_suffix("").as_posix(), wav) for wav in sorted(folder.rglob("*.wav"))]


def spoken_text(prompt: Prompt, transcript: dict[str, str], corrections: dict[tuple[str, str], str],
                spelling: dict[str, dict[str, str]]) -> tuple[str, str]:
    """The normalised text of a prompt and "", or "" and the reason to leave it out."""
    if NOT_SPEECH.fullmatch(prompt.name):
        return "", "not speech: tone, silence or noise"
    if (prompt.lang, prompt.name) in corrections:
        raw = corrections[prompt.lang, prompt.name]
        if not raw:
            return "", "doubtful text: see local/corrections.tsv"
    else:
        # Some transcripts write digits/1f for the file digits/1F.
        folded = {name.lower(): text for name, text in transcript.items()}
        raw = transcript.get(prompt.name, folded.get(prompt.name.lower()))
        if raw is None:
            return "", "no text: not in the transcript"
        if not raw:
            return "", "no text: an empty transcript"
    words = spelling.get(prompt.lang, {})
    raw = re.sub(r"\w+", lambda match: words.get(match[0].lower(), match[0]), raw)
    try:
        text = normalise(raw, prompt.lang)
    except SpeechrepError as error:
        return "", f"unreadable text: {error.found}"
    return (text, "") if text else ("", f"not speech: {raw}")


def audio_problem(prompt: Prompt) -> str:
    """Why the audio cannot be used, or ""; sets `prompt.seconds`."""
    problem = file_problem(prompt.wav)
    if problem:
        return f"unusable audio: {problem[0]}"
    rate_hz, samples, channels = header(prompt.wav)
    if rate_hz != RATE_HZ or channels != 1:
        return f"unusable audio: {rate_hz} Hz, {channels} channels (wanted: {RATE_HZ} Hz, mono)"
    prompt.seconds = samples / rate_hz
    return f"too short: {prompt.seconds:.2f} s" if prompt.seconds < MIN_SEC else ""


def without_duplicates(prompts: list[Prompt], left_out: list[str]) -> tuple[list[Prompt], list[str]]:
    """Drop recordings that are there twice, sample by sample; note the same words recorded twice, which are kept."""
    seen_audio: dict[str, Prompt] = {}
    seen_text: dict[tuple[str, str], Prompt] = {}
    kept, notes = [], []
    for prompt in prompts:
        digest = hashlib.sha256(read_wav(prompt.wav)[0].tobytes()).hexdigest()
        first = seen_audio.setdefault(digest, prompt)
        if first is not prompt:
            left_out.append(f"{prompt.utt}\t{prompt.wav}\tduplicate: the same samples as {first.utt}")
            continue
        same = seen_text.setdefault((prompt.lang, prompt.text), prompt)
        if same is not prompt:
            notes.append(f"{prompt.utt}\tsame words as {same.utt}, another recording")
        kept.append(prompt)
    return kept, notes


def split(prompts: list[Prompt]) -> dict[str, list[Prompt]]:
    """Train, dev and test, deterministically, such that neither a text nor a prompt's name is in two of them.

    Prompts are tied together by equal text (in any language) and by equal name (the same message in another language).
    Groups are taken in the order of a hash of their smallest name, first for test and then for dev, until these have
    their share of the minutes. A group with a prompt over 20 s stays in train: judges read no more than 30 s at once.
    """
    groups: dict[str, str] = {}

    def root(key: str) -> str:
        while groups.setdefault(key, key) != key:
            key = groups[key]
        return key

    for prompt in prompts:
        one, other = sorted((root(f"name {prompt.name.lower()}"), root(f"text {prompt.text}")))
        groups[other] = one
    members: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        members[root(f"text {prompt.text}")].append(prompt)
    ordered = sorted(members.values(), key=lambda group: hashlib.sha256(min(p.name for p in group).encode()).hexdigest())
    total = sum(prompt.seconds for prompt in prompts)
    parts: dict[str, list[Prompt]] = {"train": [], "dev": [], "test": []}
    filled = {"test": 0.0, "dev": 0.0}
    wanted = {"test": TEST_SHARE * total, "dev": DEV_SHARE * total}
    for group in ordered:
        seconds = sum(prompt.seconds for prompt in group)
        part = "train"
        if max(prompt.seconds for prompt in group) <= LONG_SEC:
            part = next((name for name in filled if filled[name] < wanted[name]), "train")
        if part != "train":
            filled[part] += seconds
        parts[part] += group
    return parts


def streams(prompts: list[Prompt]) -> dict[str, dict[str, str]]:
    """The streams of a data folder with these prompts."""
    clash = {prompt.utt: prompt for prompt in prompts}
    if len(clash) != len(prompts):
        raise SpeechrepError("two prompts with one utterance id", "names that differ in more than / and -", "rename one")
    return {"wav.scp": {p.utt: str(p.wav) for p in prompts}, "text": {p.utt: p.text for p in prompts},
            "utt2spk": {p.utt: p.speaker for p in prompts}, "utt2lang": {p.utt: p.lang for p in prompts},
            "utt2dur": {p.utt: f"{p.seconds:.6f}" for p in prompts}, "utt2prompt": {p.utt: p.name for p in prompts}}


def table(parts: dict[str, list[Prompt]]) -> str:
    """Utterances and minutes of each language in each part."""
    lines = [f"{'language':<9}{'speaker':<12}" + "".join(f"{part:>16}" for part in parts) + f"{'all':>16}"]
    for lang in [*VOICES, ""]:
        cells = [[p for p in part if not lang or p.lang == lang] for part in parts.values()]
        cells.append([prompt for cell in cells for prompt in cell])
        lines.append(f"{lang or 'all':<9}{VOICES[lang][1] if lang else '':<12}" + "".join(
            f"{f'{len(cell)} / {sum(p.seconds for p in cell) / 60:.1f} min':>16}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__, partial=False))
