"""Run a trained system over a data folder: tts, vc, vocoded, natural, prototype, or a trained task.

tts, vc, vocoded (natural speech through the vocoder) and natural (the same utterances untouched) leave a data folder of
speech at OUT/data; prototype and the trained tasks leave files keyed by utterance, such as OUT/hyp and OUT/ref. `speechrep
score` reads them. What is already there is left alone, unless a checkpoint or a data folder that it was made from, or an
option, is another than OUT/done.json says; then it is made anew.
"""

MODELS = ("checkpoint", "lm", "duration", "vocoder", "labelled")
"""Options that name files which may change under their names."""
FOLDERS = ("data", "prompts", "dev", "cohort")
"""Options that name data folders, whose tables may."""
ELSEWHERE = ("out", "device", "cache", "train")
"""Options that say where, not what."""


def add_arguments(parser):
    parser.add_argument("task", help="tts, vc, vocoded, natural, prototype, or a task that `speechrep train` trained")
    parser.add_argument("--checkpoint", help="the method's best.pt, for a trained task the task's; not for vocoded")
    parser.add_argument("--data", required=True, help="data folder to go over")
    parser.add_argument("--dump", required=True, help="folder of dumped features: KIND/PART")
    parser.add_argument("--out", required=True)
    parser.add_argument("--prompts", help="tts, vc, prototype: data folder that voices (or prototypes) are taken from")
    parser.add_argument("--dev", help="prototype: data folder on which the cost of a change of phone is chosen; "
                        "without, 0. asr with --lm: on which --lm-weight and --word-score are chosen, in place of "
                        "those given")
    parser.add_argument("--labelled", help="list of the utterances of --prompts whose phones training knew, where not all: "
                        "prototypes are of these alone, and tts speaks only utterances all of whose phones are among theirs")
    parser.add_argument("--beam", type=int, default=0, help="asr: hypotheses of a beam search (SUPERB: 5); 0 takes the "
                        "best path; with --lm 5 where not given")
    parser.add_argument("--lm", help="asr: n-gram language model, an ARPA file (see speechrep ngram)")
    parser.add_argument("--lm-of", default="words", choices=("words", "symbols"), help="asr: what the n-grams are of, "
                        "words or the task's own symbols (phones or characters)")
    parser.add_argument("--lm-weight", type=float, default=2.0, help="asr: weight of the model's log10 probability "
                        "(default: %(default)s, SUPERB's)")
    parser.add_argument("--word-score", type=float, default=-1.0, help="asr: added for each word of a model of words "
                        "(default: %(default)s, SUPERB's)")
    parser.add_argument("--cohort", help="asv: data folder of other speakers, such as data/train, against whom scores are "
                        "normalised too")
    parser.add_argument("--cache", help="trained tasks: where the layers of a frozen upstream are kept for all of them, "
                        "such as dump/layers; needs --train")
    parser.add_argument("--train", help="with --cache: the training part's data folder")
    parser.add_argument("--vocoder", default="griffin-lim", help="a vocoder's best.pt, released weights, or griffin-lim")
    parser.add_argument("--duration", help="tts: a duration model's best.pt; without it the natural durations are spoken")
    parser.add_argument("--pauses", default="ends", choices=("ends", "natural"), help="tts: the phones of the text with "
                        "silence at both ends, as `speechrep synthesize` says them; or those of the natural alignment with "
                        "the speaker's pauses, a ceiling (default: %(default)s)")
    parser.add_argument("--features", default="logmel", help="vocoded: which dump to read")
    parser.add_argument("--count", type=int, default=0, help="tts, vocoded, natural: utterances; vc: utterances a pair; 0: all")
    parser.add_argument("--sources", action="store_true", help="natural, vocoded: the utterances that vc takes words from with "
                        "the same --count and --min-sec, conversion's ceiling")
    parser.add_argument("--min-sec", type=float, default=0.0, help="only utterances of at least this length")
    parser.add_argument("--seed", type=int, default=0, help="of the durations that are drawn")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1 ...; auto takes a GPU where there is "
                        "one")


def main(args):
    from pathlib import Path

    from speechrep.data.folder import DataFolder
    from speechrep.errors import SpeechrepError
    from speechrep.files import remove_leftovers, write_json
    from speechrep.nn.device import find_device
    from speechrep.provenance import made_from
    data, dump, out = DataFolder(args.data), Path(args.dump), Path(args.out)
    remove_leftovers(out)
    remove_leftovers(out.parent, of=out.name)
    source, done = _source(args), out / "done.json"
    if made_from(out) == source:
        print(f"{out}: already there")
        return
    needed = {"tts": ("checkpoint", "prompts"), "vc": ("checkpoint", "prompts"), "vocoded": (), "natural": (),
              "prototype": ("checkpoint", "prompts")}.get(args.task, ("checkpoint",))
    for name in needed:
        if getattr(args, name) is None:
            raise SpeechrepError(f"decode {args.task} without --{name}", cure=f"name it with --{name}")
    if args.labelled and args.task not in ("tts", "prototype"):
        raise SpeechrepError(f"decode {args.task} with --labelled", "it for tts and prototype alone")
    if args.sources and args.task not in ("natural", "vocoded"):
        raise SpeechrepError(f"decode {args.task} with --sources", "it for natural and vocoded alone")
    if args.task != "asr" and (args.beam or args.lm):
        raise SpeechrepError(f"decode {args.task} with --beam or --lm", "them for asr alone")
    if args.task == "asr" and args.dev and not args.lm:
        raise SpeechrepError("decode asr with --dev, but no --lm", "a language model, whose weight dev chooses")
    args.device = find_device(args.device)
    if done.is_file():
        print(f"{out}: a checkpoint, a data folder or an option has changed since it was made; it is made anew")
        done.unlink()
    if args.task == "natural":
        from speechrep.tasks import generate
        chosen = generate.source_items if args.sources else generate.tts_items
        generate.natural_speech(out, data, chosen(data, data, args.count, args.min_sec))
    elif args.task == "asr":
        from speechrep.tasks.base import load_task
        from speechrep.tasks.beam import Search
        from speechrep.tasks.recognise import recognise
        search = Search(args.beam or 5, Path(args.lm) if args.lm else None, args.lm_of, args.lm_weight,
                        args.word_score) if args.beam or args.lm else None
        task = load_task(args.checkpoint, args.device)
        recognise(task, data, dump, out, args.device, search=search, dev=DataFolder(args.dev) if args.dev else None,
                  cache=_cache(args, task))
    elif args.task == "prototype":
        from speechrep.data.dataset import SpeechDataset
        from speechrep.tasks.prototype import Prototypes
        from speechrep.tasks.recognise import recognise
        from speechrep.upstream import load_method
        method = load_method(args.checkpoint, args.device)
        prompts = DataFolder(args.prompts)
        part = dump / method.inventory.features["kind"] / prompts.path.name
        dataset = SpeechDataset(prompts, part, method.inventory, ("feats", "phones"), only=_labelled(args))
        prototypes = Prototypes.of(method, dataset, device=args.device)
        if args.dev:
            dev = DataFolder(args.dev)
            dev = SpeechDataset(dev, part.parent / dev.path.name, method.inventory, dataset.needs)
            prototypes = prototypes.with_change_cost_of(method, dev, args.device)
        recognise((method, prototypes), data, dump, out, args.device)
    elif args.task in ("tts", "vc", "vocoded"):
        _speak(args, data, dump, out)
    else:
        from speechrep.tasks.base import find_task, load_task
        from speechrep.tasks.predict import predict
        wanted, task = find_task(args.task), load_task(args.checkpoint, args.device)
        if type(task) is not wanted:
            raise SpeechrepError(f"{args.checkpoint}: of the task {type(task).__module__.rpartition('.')[2]}",
                                 f"a checkpoint of {args.task}")
        predict(task, data, dump, out, DataFolder(args.cohort) if args.cohort else None, _cache(args, task))
    write_json(done, {"source": source})
    print(f"{out}: written")


def _source(args) -> str:
    """A fingerprint of what the output follows from: the options, and what is in the models that they name."""
    from pathlib import Path

    from speechrep.data.folder import tables_digest
    from speechrep.files import fingerprint
    values = {name: value for name, value in vars(args).items() if name not in ELSEWHERE}
    if args.labelled is None:
        # What was made before there was such an option stays as it is.
        del values["labelled"]
    if not args.sources:
        del values["sources"]
    if args.task != "tts":
        del values["pauses"]
    for name in MODELS:
        if values.get(name) and Path(values[name]).exists():
            values[name] = fingerprint(Path(values[name]))
    for name in FOLDERS:
        if values[name] and Path(values[name]).is_dir():
            values[name] = [values[name], tables_digest(Path(values[name]))]
    return fingerprint(values)


def _cache(args, task):
    """The cache that was named, where it holds the layers of the very upstream in the task's checkpoint."""
    from pathlib import Path

    from speechrep.data.folder import DataFolder
    from speechrep.errors import SpeechrepError
    from speechrep.tasks.cached import Cache, heard_by
    if not args.cache:
        return None
    if not args.train:
        raise SpeechrepError("decode with --cache, but no --train", "the training part's data folder")
    cache = Cache(Path(args.cache), DataFolder(args.train), Path(args.dump), args.device)
    return cache if heard_by(Path(args.checkpoint), task, cache) else None


def _labelled(args):
    """The utterances of --prompts whose phones training knew; None for all."""
    from speechrep.data.folder import read_table
    return frozenset(read_table(args.labelled)) if args.labelled else None


def _speak(args, data, dump, out):
    from speechrep.config import build, read_yaml
    from speechrep.data.features import FeatureConfig
    from speechrep.data.folder import DataFolder
    from speechrep.errors import SpeechrepError
    from speechrep.tasks import generate
    from speechrep.upstream import load_method
    from speechrep.vocoder.neural import Vocoder
    alignments, notes = None, []
    if args.task == "vocoded":
        settings = read_yaml(dump / args.features / data.path.name / "feats.yaml")
        prompts = DataFolder(args.prompts) if args.prompts else data
        chosen = generate.source_items if args.sources else generate.tts_items
        items = chosen(data, prompts, args.count, args.min_sec)
        mels = generate.natural_mels(data, dump / args.features, items)
    else:
        method, prompts = load_method(args.checkpoint, args.device), DataFolder(args.prompts)
        settings = method.inventory.features
        mel_dump = dump / settings["kind"]
        if args.task == "tts":
            duration = load_method(args.duration, args.device) if args.duration else None
            items = generate.tts_items(data, prompts, args.count, args.min_sec)
            if args.labelled:
                known = generate.known_phones(prompts, _labelled(args))
                items, notes = generate.sayable(data, prompts, args.count, args.min_sec, known)
            mels, alignments = generate.tts_mels(method, duration, data, mel_dump, prompts, items, args.seed, args.device,
                                                  args.pauses)
            if duration is None or args.pauses == "natural":
                notes.append("spoken with the pauses of natural speech" + (" and its durations" if duration is None else "")
                             + ": a ceiling")
        else:
            items = generate.vc_items(data, prompts, args.count, args.min_sec)
            mels = generate.vc_mels(method, data, mel_dump, prompts, items, args.device)
    if not items:
        raise SpeechrepError(f"{data.path}: nothing to do for {args.task}", "utterances of at least --min-sec"
                             + (" of two speakers or more" if args.task == "vc" else "")
                             + (" all of whose phones are labelled" if args.labelled else ""))
    features = build(FeatureConfig, settings, "feature settings")
    vocoder = Vocoder.load(args.vocoder, features, args.device)
    generate.write_speech(out, data, items, mels, vocoder, features.rate_hz, alignments, notes)
