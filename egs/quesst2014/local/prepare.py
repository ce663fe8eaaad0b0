#!/usr/bin/env python
"""Stage 1: QUESST 2014 -> the data folders docs, queries_dev and queries_test.

Usage: local/prepare.py [--language NAME|all] [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds quesst14Database as its archive unpacks: Audio, dev_queries, eval_queries, and scoring with the
language keys and the ground truth. The evaluation queries are called test. `relevance` of the queries names the documents
of `docs` that hold them; where there are any of other languages, `relevance.all` names those too, and `documents.all` all
documents there are. No text and no speakers are published: each utterance is its own speaker.
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare, split_fields
from speechrep.errors import SpeechrepError

LANGUAGES = {"albanian": "sq", "basque": "eu", "czech": "cs", "nnenglish": "en", "romanian": "ro", "slovak": "sk"}
"""Language as the keys call it -> ISO 639-1. nnenglish: English by speakers of other languages."""

UTTERANCES = {"nnenglish": {"docs": {"utterances": 2438}, "queries_dev": {"utterances": 138},
                            "queries_test": {"utterances": 138}},
              "all": {"docs": {"utterances": 12492}, "queries_dev": {"utterances": 560}, "queries_test": {"utterances": 555}}}
"""All: Anguera et al., MediaEval 2014 (CEUR 1263), recalled: no page that could be read here repeats them. English: counted by
others who ran SUPERB's query by example again. For the other languages no counts were found."""

SOURCE = "Anguera et al., Query by Example Search on Speech at MediaEval 2014; a rerun of SUPERB"

KEYS = {"docs": "utterances", "queries_dev": "dev", "queries_test": "eval"}
"""Data folder -> the name of its part in the corpus."""


def main() -> None:
    parser = corpus_parser(__doc__)
    parser.add_argument("--language", choices=(*LANGUAGES, "all"), default="nnenglish",
                        help="of documents and queries (default: %(default)s, as in SUPERB)")
    run_prepare(prepare, parser)


def prepare(corpus_dir: Path, data_dir: Path, language: str = "nnenglish", partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there, or incomplete without `partial`."""
    root = find_folder(corpus_dir, "scoring", ["quesst14Database"])
    corpus = Corpus("QUESST 2014", data_dir, partial)
    known: dict[str, dict[str, str]] = {}
    for part, key in KEYS.items():
        known[part] = {}
        for name, spoken in split_fields(root / f"scoring/language_key_{key}.lst", "the language of each file", 2):
            if spoken not in LANGUAGES:
                raise SpeechrepError(f"language_key_{key}.lst: {name} is in '{spoken}'", f"one of {', '.join(LANGUAGES)}")
            # The first folder of a path is the corpus, under whichever name.
            path = root / name.partition("/")[2]
            known[part][path.stem] = spoken
            if language in ("all", spoken):
                corpus.add(part, path.stem, path, {"utt2lang": LANGUAGES[spoken]})
    for part in ("queries_dev", "queries_test"):
        truth = root / f"scoring/groundtruth_quesst14_{KEYS[part]}/quesst14_{KEYS[part]}.rttm"
        for pattern, attribute, keyed in (("*.tlist.xml", "termid", part), ("*.ecf.xml", "audio_filename", "docs")):
            compare_listed(truth.parent, pattern, attribute, set(known[keyed]))
        pairs = relevant(truth, known[part], known["docs"], language)
        inside = [(query, doc) for query, doc in pairs if language in ("all", known["docs"][doc])]
        corpus.add_list(part, "relevance", inside, {1: ["docs"]})
        if len(inside) < len(pairs):
            corpus.add_list(part, "relevance.all", pairs)
            corpus.add_list(part, "documents.all", [(doc,) for doc in sorted(known["docs"])])
        else:
            print(f"{part}: the ground truth of these queries names no document of another language")
    corpus.write(UTTERANCES.get(language), SOURCE)


def compare_listed(folder: Path, pattern: str, attribute: str, keyed: set[str]) -> None:
    """Warn where NIST's list of terms or documents beside the ground truth, which its scorer goes by, is there and not of
    the utterances that the language keys have. Raises `SpeechrepError` for a file that is no XML."""
    for path in sorted(folder.glob(pattern)):
        try:
            named = [element.get(attribute) for element in ET.parse(path).iter()]
        except ET.ParseError as error:
            raise SpeechrepError(f"{path}: {error}", "XML as NIST's scorer reads it", "fetch the corpus again") from None
        listed = {Path(name).name.removesuffix(".wav") for name in named if name}
        if listed != keyed:
            print(f"warning: {path} names {len(listed)} utterances, the language keys {len(keyed)}; one of the two lacks "
                  f"{min(listed ^ keyed)}, and NIST's scorer, which reads the former, would count otherwise", file=sys.stderr)


def relevant(truth: Path, queries: dict[str, str], docs: dict[str, str], language: str) -> list[tuple[str, str]]:
    """(query, document) where a query of the language is said, whatever the document's, sorted, from the lines `LEXEME
    DOCUMENT 1 START DURATION QUERY ...`.

    `queries`, `docs`: utterance -> language, of all languages. Raises `SpeechrepError` for a line that names an utterance
    which the language keys lack.
    """
    pairs = set()
    for line in read_lines(truth, "the ground truth as RTTM"):
        fields = line.split()
        # A document without any query has one line of NO_KEYWORD.
        if fields[0] != "LEXEME" or (len(fields) > 5 and fields[5] == "NO_KEYWORD"):
            continue
        if len(fields) < 6:
            raise SpeechrepError(f"{truth}: '{line[:80]}'", "LEXEME DOCUMENT 1 START DURATION QUERY ...", "fetch it again")
        doc, query = fields[1], fields[5]
        for utt, names in ((query, queries), (doc, docs)):
            if utt not in names:
                raise SpeechrepError(f"{truth}: {utt} is in no language key", "queries and documents of the corpus",
                                     "fetch the corpus again")
        if language in ("all", queries[query]):
            pairs.add((query, doc))
    return sorted(pairs)


if __name__ == "__main__":
    main()
