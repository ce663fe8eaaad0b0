"""Write down what recordings say, in phones or characters, with the checkpoint of the task asr."""


def add_arguments(parser):
    parser.add_argument("--checkpoint", required=True, help="best.pt of `speechrep train` with the task asr")
    parser.add_argument("wav", nargs="+", help="recordings of any rate")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1 ...; auto takes a GPU where there is "
                        "one")


def main(args):
    from speechrep.nn.device import find_device
    from speechrep.tasks.base import load_task
    from speechrep.tasks.own_speech import one_recording
    args.device = find_device(args.device)
    task = load_task(args.checkpoint, args.device)
    for path in args.wav:
        symbols = task.transcribe(one_recording(path, task, args.device))[0]
        print(f"{path} {(' ' if task.config.units == 'phones' else '').join(symbols)}", flush=True)
