#!/usr/bin/env python
"""Stage 1: TIMIT -> the data folders train, dev, test (the core test set) and test_full, with true phone times.

Usage: local/prepare.py [--phones 61|48|39] [--keep-silences] [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds TRAIN and TEST with DRn/SPEAKER/SENTENCE.WAV (SPHERE), .PHN, .WRD and .TXT, all in upper or all in lower case.
The two SA sentences, which everyone reads, are left out. Streams: text, phones (words divided by a bar), `ali.true` (phones
with their end times in seconds, silences as SIL), `ali.words` (the same of words), utt2spk, utt2lang, utt2dur, spk2gender and
spk2dialect.
"""

from pathlib import Path

from folding import LABELS, fold
from speechrep.data.alignment import format_ali
from speechrep.data.audio import header
from speechrep.data.corpus import Corpus, corpus_parser, read_lines, run_prepare
from speechrep.data.text.normalise import normalise
from speechrep.errors import SpeechrepError

CORE = set("""mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 mbpm0 mklt0 fnlp0 mcmj0 mjdh0 fmgd0
    mgrt0 mnjm0 fdhc0 mjln0 mpam0 fmld0""".split())
"""The core test set: two men and a woman of each dialect (testset.doc of the corpus)."""

DEV = set("""faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0 fdms0 fedw0 mgjf0 mglb0
    mrtk0 mtaa0 mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4 fcal1 mmwh0
    fjsj0 majc0 mjsw0 mreb0 fgjd0 fjmg0 mroa0 mteb0 mjfc0 mrjr0 fmml0 mrws1""".split())
"""Fifty other speakers of the full test set, as Halberstadt (1998) and, after him, Kaldi's recipe choose by."""

PUBLISHED = {"train": {"utterances": 3696, "speakers": 462}, "dev": {"utterances": 400, "speakers": 50},
             "test": {"utterances": 192, "speakers": 24}, "test_full": {"utterances": 1344, "speakers": 168}}
"""Eight sentences of each speaker, the SA sentences left out: readme.doc and testset.doc of the corpus."""

RATE_HZ = 16000


def main() -> None:
    parser = corpus_parser(__doc__)
    parser.add_argument("--phones", type=int, choices=(61, 48, 39), default=48,
                        help="as labelled, or folded as Lee and Hon do (default: %(default)s)")
    parser.add_argument("--keep-silences", action="store_true", help="silences are phones too, `sil`: what error rates in the "
                        "literature count")
    run_prepare(prepare, parser)


def prepare(corpus_dir: Path, data_dir: Path, phones: int = 48, keep_silences: bool = False, partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there, or incomplete without `partial`."""
    corpus = Corpus("TIMIT", data_dir, partial)
    train, test = find_halves(corpus_dir)
    for path in sorted((*train.glob("*/*/*"), *test.glob("*/*/*"))):
        if path.suffix.lower() != ".phn" or path.stem.lower().startswith("sa"):
            continue
        speaker = path.parent.name.lower()
        parts = ["test_full"] + ["test"] * (speaker in CORE) + ["dev"] * (speaker in DEV)
        for part in ["train"] if path.parents[2] == train else parts:
            add(corpus, part, path, phones, keep_silences)
    corpus.write(PUBLISHED, "readme.doc and testset.doc of the corpus")


def find_halves(corpus_dir: Path) -> tuple[Path, Path]:
    """The folders of training and test, in upper or lower case. Raises `SpeechrepError` where they are not."""
    for train, test in (("TRAIN", "TEST"), ("train", "test")):
        for folder in (corpus_dir, corpus_dir / "TIMIT", corpus_dir / "timit"):
            if (folder / train).is_dir():
                return folder / train, folder / test
    raise SpeechrepError(f"{corpus_dir}: no folder TRAIN or train", "TRAIN and TEST, there or in TIMIT", "see README.md")


def add(corpus: Corpus, part: str, phn: Path, classes: int, keep_silences: bool) -> None:
    """The sentence of a .PHN file. Raises `SpeechrepError` for missing or malformed labels."""
    beside = {suffix: phn.with_suffix(suffix if phn.suffix.islower() else suffix.upper())
              for suffix in (".wav", ".wrd", ".txt")}
    speaker, sentence = phn.parent.name.lower(), phn.stem.lower()
    utt, wav = f"{speaker}_{sentence}", beside[".wav"]
    if not wav.is_file():
        corpus.add(part, utt, wav, {"utt2spk": speaker}, there=False)
        return
    rate_hz, samples, _ = header(wav)
    if rate_hz != RATE_HZ:
        raise SpeechrepError(f"{wav}: {rate_hz} Hz", f"{RATE_HZ} Hz, in which the labels count samples", "take TIMIT itself")
    labels, words = read_times(phn), read_times(beside[".wrd"])
    unknown = [label for _, _, label in labels if label not in LABELS]
    if unknown:
        raise SpeechrepError(f"{phn}: the label '{unknown[0]}'", "one of TIMIT's 61", "fetch the corpus again")
    silence = "sil" if keep_silences else "SIL"
    ali = phone_times(labels, samples, classes, silence, merge=not keep_silences)
    text = " ".join(read_lines(beside[".txt"], "what is said: START END TEXT")).split(None, 2)
    if len(text) < 3:
        raise SpeechrepError(f"{beside['.txt']}: no text", "START END TEXT", "fetch the corpus again")
    corpus.add(part, utt, wav, {
        "text": normalise(text[2], "en"), "utt2spk": speaker, "utt2lang": "en", "utt2dur": f"{samples / RATE_HZ:.6f}",
        "phones": phones_in_words(ali, words), "ali.true": format_ali(*zip_ends(ali)),
        "ali.words": format_ali(*zip_ends(word_times(words, samples))),
        "spk2gender": speaker[0], "spk2dialect": phn.parent.parent.name.lower()}, there=True)


def read_times(path: Path) -> list[tuple[int, int, str]]:
    """(first sample, the one behind the last, label) from lines `START END LABEL`.

    Raises `SpeechrepError` for lines of another form, starts that fall, and a file without lines. (Words may overlap where
    they share a phone.)
    """
    rows: list[tuple[int, int, str]] = []
    for line in read_lines(path, "labels with their times"):
        fields = line.split()
        try:
            start, end, label = int(fields[0]), int(fields[1]), fields[2]
        except (IndexError, ValueError):
            raise SpeechrepError(f"{path}: '{line[:80]}'", "START END LABEL, in samples", "fetch the corpus again") from None
        if start < 0 or end <= start or (rows and start < rows[-1][0]):
            raise SpeechrepError(f"{path}: '{line[:80]}' ends before it begins, or begins before the line above it",
                                 "times that rise", "fetch the corpus again")
        rows.append((start, end, label))
    if not rows:
        raise SpeechrepError(f"{path}: no labels", "START END LABEL, in samples", "fetch the corpus again")
    return rows


def phone_times(labels: list[tuple[int, int, str]], samples: int, classes: int, silence: str,
                merge: bool) -> list[tuple[str, float]]:
    """Phones with their ends in seconds, covering all `samples`: the silence at the end ends with the audio, where labels are
    some milliseconds short of it or beyond. What is left out gives its time to what follows; silences that meet are one
    if `merge`."""
    ali: list[tuple[str, float]] = []
    for start, end, label in labels:
        phone = fold(label, classes)
        if phone is None:
            continue
        if start >= samples:
            raise SpeechrepError(f"the label '{label}' begins at sample {start}, behind the last of {samples}",
                                 "labels of this recording", "fetch the corpus again")
        phone = silence if phone == "sil" else phone
        if merge and phone == silence and ali and ali[-1][0] == silence:
            ali.pop()
        ali.append((phone, min(end, samples) / RATE_HZ))
    end_sec = samples / RATE_HZ
    if ali[-1][0] == silence:
        ali.pop()
    return ali if ali and ali[-1][1] == end_sec else [*ali, (silence, end_sec)]


def phones_in_words(ali: list[tuple[str, float]], words: list[tuple[int, int, str]]) -> str:
    """The phones but SIL, with a bar where another word begins; a phone is of the last word that begins before its middle."""
    line: list[str] = []
    last, begin = 0, 0.0
    for phone, end in ali:
        middle, begin = (begin + end) / 2 * RATE_HZ, end
        if phone == "SIL":
            continue
        word = sum(start <= middle for start, _, _ in words)
        line += (["|"] if line and word > last else []) + [phone]
        last = max(last, word)
    return " ".join(line)


def word_times(words: list[tuple[int, int, str]], samples: int) -> list[tuple[str, float]]:
    """Words with their ends in seconds, SIL where none is said. A word that overlaps the next ends where that begins."""
    ali: list[tuple[str, float]] = []
    position = 0
    for index, (start, end, word) in enumerate(words):
        if start > position:
            ali.append(("SIL", start / RATE_HZ))
        position = min(end, words[index + 1][0] if index + 1 < len(words) else samples, samples)
        ali.append((word, position / RATE_HZ))
    if samples > position:
        ali.append(("SIL", samples / RATE_HZ))
    return ali


def zip_ends(ali: list[tuple[str, float]]) -> tuple[list[str], list[float]]:
    return [name for name, _ in ali], [end for _, end in ali]


if __name__ == "__main__":
    main()
