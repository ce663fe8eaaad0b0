"""Score what a system made, against the truth and by independent judges.

  speechrep score synthesis --reference data/test --enroll data/train --system NAME --out DIR FOLDER
  speechrep score recognition --part test --system NAME --out DIR FOLDER
  speechrep score predictions --part test --system NAME --out DIR FOLDER ...
  speechrep score representation --upstream SPEC --train data/train --test data/test --dump dump --system NAME --out DIR
  speechrep score abx --upstream SPEC --train data/train --test data/test --dump dump --system NAME --out DIR
  speechrep score qbe --upstream SPEC --train data/train --dev-queries data/queries_dev --dev data/dev \
      --queries data/queries_test --test data/test --dump dump --system NAME --out DIR
  speechrep score ssimi --upstream SPEC --train data/train --dev data/semantic_dev --test data/semantic_test --dump dump \
      --system NAME --out DIR
  speechrep score pictures --checkpoint BEST.pt --test data/test --dump dump --system NAME --out DIR
  speechrep score table exp/*/score.json --out RESULTS.md

`synthesis` scores a data folder of synthesised (or natural) speech and writes DIR/score.json and DIR/per_utt.tsv.
`recognition` scores FOLDER/hyp against FOLDER/ref, as `speechrep decode` left them; `predictions` whatever it left for
another trained task, and the tables that abx, qbe and ssimi left beside their scores, which are made of these. `representation`
probes an upstream for phones and speakers, `abx` tells phones apart by the distances of their frames, without training. `qbe`
looks for spoken queries in recordings, `ssimi` compares distances of words with people's judgements. `pictures` looks for
pictures by their descriptions, and for descriptions by pictures and by those in other languages. `table` joins score files to a
Markdown table, several seeds of a system in one row.
"""

from pathlib import Path


def add_arguments(parser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    speech = kinds.add_parser("synthesis", help="a data folder of synthesised or natural speech")
    speech.add_argument("folder", type=Path, help="the data folder to score")
    speech.add_argument("--reference", type=Path, help="data folder with the natural utterances of utt2parallel")
    speech.add_argument("--enroll", type=Path, help="data folder with other utterances of the speakers")
    speech.add_argument("--system", required=True, help="the name of the system in the table")
    speech.add_argument("--task", default="synthesis", help="the name of the table: tts, vc, ... (%(default)s)")
    speech.add_argument("--part", help="the part of the corpus whose words are said (default: the reference's name)")
    speech.add_argument("--seed", type=int, help="the seed that the system was trained with")
    speech.add_argument("--out", type=Path, required=True, help="folder for score.json and per_utt.tsv")
    speech.add_argument("--max-utts", type=int, default=0, help="score at most so many utterances, the same "
                           "contents for every system (0: all)")
    speech.add_argument("--judges", metavar="JUDGE,...", help="only these of recogniser,spectrum,durations,voice,"
                           "opinion")
    speech.add_argument("--recogniser", default="whisper", choices=("whisper", "pocketsphinx"))
    speech.add_argument("--tracker", default="dio", choices=("dio", "harvest"), help="F0 by DIO (quick) or Harvest")
    speech.add_argument("--overall", action="store_true", help="also DNSMOS's overall quality (slow)")
    speech.add_argument("--g2p", action="append", default=[], metavar="LANG=NAME", help="phonemiser for PER")
    speech.add_argument("--cache", type=Path, help="folder to keep the judges' answers in, by sound")
    speech.add_argument("--threads", type=int, default=2, help="threads of the recogniser (%(default)s)")
    speech.add_argument("--keep", action="store_true", help="leave a score alone that is there already, unless the speech is "
                        "newer, or a judge that was missing is installed now")
    speech.add_argument("--require", action="store_true", help="fail if a judge is not installed, instead of a note")
    spelt = kinds.add_parser("recognition", help="recognised phones or characters")
    spelt.add_argument("folder", type=Path, help="folder with hyp, ref and units")
    spelt.add_argument("--part", required=True, help="the part of the corpus that was recognised")
    for parser_of in (speech, spelt):
        parser_of.add_argument("--note", action="append", default=[], help="sentence to stand below the table; repeatable")
    said = kinds.add_parser("predictions", help="what a trained task (sid, ks, er, asv, sd, ...) says, "
                            "or what abx, qbe or ssimi found")
    said.add_argument("folder", type=Path, nargs="+", help="folder that `speechrep decode`, or `speechrep score` abx, qbe or "
                      "ssimi left; of several folds, all of them, which are joined in --out")
    said.add_argument("--part", required=True, help="the part of the corpus that was decoded")
    held = kinds.add_parser("representation", help="what the frames of an upstream hold")
    apart = kinds.add_parser("abx", help="whether tokens of a phone are nearer to each other than to another's")
    apart.add_argument("--items", type=Path, help="an item file as of ZeroSpeech (default: made from `ali`)")
    apart.add_argument("--dev", type=Path, help="data folder on which the layer is chosen, in place of --layer")
    apart.add_argument("--distance", default="angular", help="of frames (%(default)s)",
                       choices=("angular", "cosine", "euclidean", "kl_symmetric", "identical"))
    apart.add_argument("--standardise", choices=("utterance", "speaker"), help="frames less the mean and over the deviation "
                       "of their utterance, or of all their speaker's, in each dimension (default: as they are)")
    apart.add_argument("--cache", type=Path, help="folder where the layers of upstreams are kept, such as dump/layers")
    asked = kinds.add_parser("qbe", help="in which recordings a spoken query is said (query by example)")
    asked.add_argument("--queries", type=Path, required=True, help="data folder of queries for --test, with relevance")
    asked.add_argument("--dev", type=Path, help="documents on which the layer is chosen, in place of --layer")
    asked.add_argument("--dev-queries", type=Path, help="data folder of queries for --dev")
    asked.add_argument("--distance", default="cosine_exp", choices=("cosine_exp", "cosine", "euclidean"),
                       help="of frames (%(default)s)")
    asked.add_argument("--cache", type=Path, help="folder where the layers of upstreams are kept, such as dump/layers")
    alike = kinds.add_parser("ssimi", help="whether distances of words go with how alike people find them (sSIMI)")
    alike.add_argument("--dev", type=Path, help="data folder on which layer and pooling are chosen")
    alike.add_argument("--pooling", default="mean", choices=("min", "max", "mean", "sum", "last", "second_last"),
                       help="of a token's frames, where there is no --dev (%(default)s)")
    alike.add_argument("--distance", default="euclidean", help="of vectors: any that scipy's cdist knows (%(default)s)")
    alike.add_argument("--cache", type=Path, help="folder where the layers of upstreams are kept, such as dump/layers")
    for parser_of in (held, apart, asked, alike):
        parser_of.add_argument("--upstream", required=True, help="a checkpoint, mfcc, fbank, logmel, random:CHECKPOINT, or, "
                               "not for tasks of frames, mean:SPEC")
        parser_of.add_argument("--train", type=Path, required=True, help="data folder of the training part: the probes' own, "
                               "and where plain features have their statistics from")
        parser_of.add_argument("--test", type=Path, required=True, help="data folder to test on")
        parser_of.add_argument("--dump", type=Path, required=True, help="folder of dumped features: KIND/PART")
        parser_of.add_argument("--layer", type=int, default=-1, help="which layer (default: the last)")
    seen = kinds.add_parser("pictures", help="retrieval across speech, pictures and languages")
    seen.add_argument("--checkpoint", required=True, help="the best.pt of a method that sees pictures, or random:CHECKPOINT, "
                      "its network untrained")
    seen.add_argument("--test", type=Path, required=True, help="data folder with image.scp")
    seen.add_argument("--dump", type=Path, required=True, help="folder of dumped features: KIND/PART")
    for parser_of in (held, apart, asked, alike, seen):
        parser_of.add_argument("--device", default="cpu", help="where the upstream hears: cpu (default), cuda, cuda:1 ...; "
                               "auto takes a GPU where there is one")
    for parser_of in (spelt, said, held, apart, asked, alike, seen):
        parser_of.add_argument("--system", required=True, help="the name of the system in the table")
        parser_of.add_argument("--seed", type=int, default=0, help="the seed that the system was trained with")
        parser_of.add_argument("--out", type=Path, required=True, help="folder for score.json and per_utt.tsv")
    join = kinds.add_parser("table", help="score files as a Markdown table")
    join.add_argument("scores", nargs="+", type=Path, help="score.json files")
    join.add_argument("--out", type=Path, help="Markdown file (default: to the screen)")
    join.add_argument("--title", default="Results", help="heading of the file")


def main(args) -> None:
    {"synthesis": synthesis, "recognition": recognition, "predictions": predictions, "representation": representation,
     "abx": abx, "qbe": qbe, "ssimi": ssimi, "pictures": pictures, "table": table}[args.kind](args)


def recognition(args) -> None:
    """Score recognised symbols."""
    from speechrep.report.table import results_markdown
    from speechrep.tasks.represent import score_recognition
    score = score_recognition(args.folder, args.part, args.system, args.seed, args.out, args.note)
    print(results_markdown([score], ""), end="")


def predictions(args) -> None:
    """Score what a trained task said."""
    from speechrep.report.table import results_markdown
    from speechrep.tasks.folds import join_folds
    from speechrep.tasks.predict import score_predictions
    if len(args.folder) > 1:
        join_folds(args.folder, args.out)
    folder = args.folder[0] if len(args.folder) == 1 else args.out
    score = score_predictions(folder, args.part, args.system, args.seed, args.out)
    print(results_markdown([score], ""), end="")


def representation(args) -> None:
    """Probe an upstream."""
    from speechrep.data.folder import DataFolder
    from speechrep.report.table import results_markdown
    from speechrep.tasks.represent import score_representation
    score = score_representation(args.upstream, DataFolder(args.train), DataFolder(args.test), args.dump, args.out,
                                 args.system, args.seed, args.layer, device=args.device)
    print(results_markdown([score], ""), end="")


def abx(args) -> None:
    """Tell phones apart without training."""
    from speechrep.data.folder import DataFolder
    from speechrep.report.table import results_markdown
    from speechrep.tasks.abx import score_abx
    score = score_abx(args.upstream, DataFolder(args.train), DataFolder(args.test), args.dump, args.out, args.system,
                      args.seed, args.layer, args.distance, args.items, args.cache,
                      args.device, DataFolder(args.dev) if args.dev else None, args.standardise)
    print(results_markdown([score], ""), end="")


def qbe(args) -> None:
    """Query by example."""
    from speechrep.data.folder import DataFolder
    from speechrep.errors import SpeechrepError
    from speechrep.report.table import results_markdown
    from speechrep.tasks.qbe import score_qbe
    if bool(args.dev) != bool(args.dev_queries):
        raise SpeechrepError("one of --dev and --dev-queries", "both, or neither and --layer")
    dev = (DataFolder(args.dev_queries), DataFolder(args.dev)) if args.dev else None
    score = score_qbe(args.upstream, DataFolder(args.train), DataFolder(args.queries), DataFolder(args.test), args.dump,
                      args.out, args.system, args.seed, args.layer, args.distance, args.cache, dev, args.device)
    print(results_markdown([score], ""), end="")


def ssimi(args) -> None:
    """Semantic similarity of words."""
    from speechrep.data.folder import DataFolder
    from speechrep.report.table import results_markdown
    from speechrep.tasks.ssimi import score_ssimi
    score = score_ssimi(args.upstream, DataFolder(args.train), DataFolder(args.test), args.dump, args.out, args.system,
                        args.seed, args.layer, args.pooling, args.distance, args.cache,
                        DataFolder(args.dev) if args.dev else None, args.device)
    print(results_markdown([score], ""), end="")


def pictures(args) -> None:
    """Retrieval of pictures by speech and the other way round, and of speech by speech."""
    from speechrep.data.folder import DataFolder
    from speechrep.report.table import results_markdown
    from speechrep.nn.device import find_device
    from speechrep.tasks.picture_retrieval import score_pictures
    score = score_pictures(args.checkpoint, DataFolder(args.test), args.dump, args.out, args.system, args.seed,
                           find_device(args.device))
    print(results_markdown([score], ""), end="")


def synthesis(args) -> None:
    """Score one data folder of speech and print its row."""
    import sys

    from speechrep.data.folder import DataFolder
    from speechrep.data.text.phonemize import parse_g2p
    from speechrep.metrics.judges.cache import Cache
    from speechrep.metrics.score import write_score
    from speechrep.provenance import provenance
    from speechrep.report.table import results_markdown
    from speechrep.tasks.synthesis_score import JUDGES, Options, score_synthesis
    folder = DataFolder(args.folder)
    reference = DataFolder(args.reference) if args.reference else None
    enrolment = DataFolder(args.enroll) if args.enroll else None
    judges = tuple(args.judges.split(",")) if args.judges else JUDGES
    options = Options(max_utts=args.max_utts, judges=judges, recogniser=args.recogniser, tracker=args.tracker,
                      overall=args.overall, g2p=parse_g2p(args.g2p), threads=args.threads)
    if args.keep and _stands(args, folder, options):
        print(f"{args.out}: already scored")
        return
    result = score_synthesis(folder, reference, enrolment, options, Cache(args.cache), args.require)
    part = args.part or (reference or folder).name
    data = {"utterances": len(result.per_utt), "of": len(folder.utts)}
    score = write_score(args.out / "score.json", task=args.task, part=part, system=args.system, seed=args.seed,
                        metrics=result.metrics, per_utt=result.per_utt,
                        notes=[*result.notes, *args.note],
                        provenance=provenance(["speechrep", *sys.argv[1:]], None, args.seed, data))
    print(results_markdown([score], ""), end="")


def _stands(args, folder, options) -> bool:
    """Whether the score in --out is of this speech, and says all that could be said now."""
    from speechrep.metrics.score import read_score
    from speechrep.tasks.synthesis_score import judges_to_add
    path = args.out / "score.json"
    if not path.is_file() or path.stat().st_mtime_ns <= (folder.path / "wav.scp").stat().st_mtime_ns:
        return False
    notes = read_score(path)["notes"]
    new = judges_to_add(notes, options)
    if new:
        print(f"{args.out}: scored again, by judges that were missing: {', '.join(new)}")
    return not new and set(args.note) <= set(notes)


def table(args) -> None:
    """Print or write score files as a Markdown table."""
    from speechrep.files import remove_leftovers, write_text
    from speechrep.metrics.score import read_score
    from speechrep.report.table import results_markdown
    text = results_markdown([read_score(path) for path in args.scores], args.title)
    if args.out:
        remove_leftovers(args.out.parent, of=args.out.stem)
        write_text(args.out, text)
    else:
        print(text, end="")
