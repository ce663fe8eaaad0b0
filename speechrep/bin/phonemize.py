"""Turn the text of data folders into phones, with a list of the words that no dictionary knows.

Reads `text` and `utt2lang`; writes `phones` (words divided by |), `oov.tsv` (language:word, count, phones used) and
`g2p.yaml` (language -> phonemiser) into each folder. A folder that brings its own `phones` is kept and reported.
Phonemisers: g2p-en (the default for en), pypinyin (zh), espeak (all others; espeak:VOICE takes that voice).
"""

import sys


def add_arguments(parser) -> None:
    parser.add_argument("data", nargs="+", metavar="DATA", help="data folder")
    parser.add_argument("--lexicon", metavar="FILE", help="own pronunciations, `word phone phone ...`; `es:word` for "
                        "one language only; they go before any phonemiser")
    parser.add_argument("--g2p", action="append", default=[], metavar="LANG=NAME",
                        help="another phonemiser for a language, as in en=espeak or es=espeak:es-419 (repeatable)")
    parser.add_argument("--lang", metavar="LANG", help="the language of every utterance, where there is no utt2lang")
    parser.add_argument("--overwrite", action="store_true", help="also replace phones that a corpus brought itself")


def main(args) -> int:
    from speechrep.data.text.phonemize import parse_g2p, phonemize_folder
    g2p = parse_g2p(args.g2p)
    for path in args.data:
        done = phonemize_folder(path, g2p, args.lexicon, args.lang, args.overwrite)
        if done.kept:
            print(f"{done.path}: {done.utts} utterances have phones of their own: kept (--overwrite replaces them)",
                  file=sys.stderr)
            continue
        print(f"{done.path}: {done.utts} utterances, {done.words} words, {done.oov_words} out of vocabulary; "
              f"{', '.join(f'{lang} by {name}' for lang, name in done.g2p.items())}"
              f"{'' if done.changed else '; nothing has changed'}", file=sys.stderr)
    return 0
