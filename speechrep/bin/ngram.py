"""Estimate an n-gram language model from the texts of a data folder, for `speechrep decode asr --lm`.

  speechrep ngram data/train --order 4 --spoken --out exp/lm/words.arpa
  speechrep ngram data/train --of phones --order 5 --out exp/lm/phones.arpa

Interpolated Kneser-Ney, written as ARPA text, which KenLM, SRILM and others read. What it is estimated from must not be
what is recognised: name the training part.
"""


def add_arguments(parser):
    parser.add_argument("data", nargs="+", metavar="DATA", help="data folders whose text is learnt from")
    parser.add_argument("--lines", action="append", default=[], metavar="FILE", help="more text, a sentence a line")
    parser.add_argument("--of", default="words", choices=("words", "chars", "phones"),
                        help="words or chars of `text`, a space written as _; or phones of `ali`")
    parser.add_argument("--stress", action="store_true", help="phones with stress and tone, as the task asr has them "
                        "with model.stress")
    parser.add_argument("--spoken", action="store_true", help="text as it is said: lower case, no punctuation, numbers "
                        "spelt out, as the task asr has it with model.spoken (needs utt2lang; not of --lines)")
    parser.add_argument("--order", type=int, default=4, help="words of the longest n-grams (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="FILE", help="ARPA file to write")


def main(args):
    from pathlib import Path

    from speechrep.data.folder import DataFolder
    from speechrep.data.text.ngram import estimate, perplexity, write_arpa
    from speechrep.tasks.spelling import symbols_of
    sentences = [symbols_of(line, lang, args.of, args.spoken, args.stress) for path in args.data
                 for line, lang in _said(DataFolder(path), args)]
    for path in args.lines:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        sentences += [line.split() if args.of == "phones" else symbols_of(line, "", args.of, False) for line in lines]
    model = estimate([sentence for sentence in sentences if sentence], args.order)
    write_arpa(args.out, model)
    print(f"{args.out}: {len(sentences)} sentences, {' + '.join(str(len(table)) for table in model)} n-grams, "
          f"perplexity on them {perplexity(model, sentences):.1f}")


def _said(folder, args):
    lines = folder.read("ali" if args.of == "phones" else "text")
    langs = folder.read("utt2lang") if args.spoken else {}
    return [(lines[utt], langs.get(utt, "")) for utt in lines]
