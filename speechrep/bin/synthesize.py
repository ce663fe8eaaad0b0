"""Speak a text in the voice of a recording, with a CTAP checkpoint, a duration model and a vocoder."""


def add_arguments(parser):
    parser.add_argument("--checkpoint", required=True, help="the method's best.pt")
    parser.add_argument("--duration", required=True, help="the duration model's best.pt")
    parser.add_argument("--vocoder", default="griffin-lim", help="a vocoder's best.pt, released weights, or griffin-lim")
    parser.add_argument("--text", required=True)
    parser.add_argument("--lang", required=True, help="language of the text, such as en")
    parser.add_argument("--prompt", required=True, help="recording of the voice to speak in")
    parser.add_argument("--lexicon", help="pronunciations that go before the phonemiser's: word p1 p2 ...")
    parser.add_argument("--seed", type=int, default=0, help="of the rhythm that is drawn")
    parser.add_argument("--out", required=True, help="wav file to write")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1 ...; auto takes a GPU where there is "
                        "one")


def main(args):
    from speechrep.data.audio import write_wav
    from speechrep.nn.device import find_device
    from speechrep.tasks.own_speech import feature_config, synthesize
    from speechrep.upstream import load_method
    from speechrep.vocoder.neural import Vocoder
    args.device = find_device(args.device)
    method = load_method(args.checkpoint, args.device)
    vocoder = Vocoder.load(args.vocoder, feature_config(method), args.device)
    samples = synthesize(args.text, args.lang, args.prompt, method, load_method(args.duration, args.device), vocoder,
                         args.seed, args.lexicon, args.device)
    write_wav(args.out, samples, vocoder.rate_hz)
    print(f"{args.out}: {len(samples) / vocoder.rate_hz:.2f} s")
