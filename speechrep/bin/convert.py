"""Say what one recording says in the voice of another, with a CTAP checkpoint and a vocoder."""


def add_arguments(parser):
    parser.add_argument("--checkpoint", required=True, help="the method's best.pt")
    parser.add_argument("--vocoder", default="griffin-lim", help="a vocoder's best.pt, released weights, or griffin-lim")
    parser.add_argument("--source", required=True, help="recording whose words are kept")
    parser.add_argument("--prompt", required=True, help="recording of the voice to speak in")
    parser.add_argument("--out", required=True, help="wav file to write")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1 ...; auto takes a GPU where there is "
                        "one")


def main(args):
    from speechrep.data.audio import write_wav
    from speechrep.nn.device import find_device
    from speechrep.tasks.own_speech import convert, feature_config
    from speechrep.upstream import load_method
    from speechrep.vocoder.neural import Vocoder
    args.device = find_device(args.device)
    method = load_method(args.checkpoint, args.device)
    vocoder = Vocoder.load(args.vocoder, feature_config(method), args.device)
    samples = convert(args.source, args.prompt, method, vocoder, args.device)
    write_wav(args.out, samples, vocoder.rate_hz)
    print(f"{args.out}: {len(samples) / vocoder.rate_hz:.2f} s")
