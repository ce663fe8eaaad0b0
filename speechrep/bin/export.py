"""Write a checkpoint of HuBERT, WavLM, wav2vec 2.0 or data2vec as a folder that transformers loads.

  speechrep export --checkpoint exp/hubert/base-0/best.pt --out exp/hubert/transformers

The model must hear the waveform (model.front: wave) and have only what its paper has. The folder holds config.json,
preprocessor_config.json and model.safetensors; it is an upstream here, too.
"""


def add_arguments(parser):
    parser.add_argument("--checkpoint", required=True, help="the method's best.pt")
    parser.add_argument("--out", required=True, help="folder to write")


def main(args):
    from speechrep.released import export
    from speechrep.upstream import load_method
    export(load_method(args.checkpoint), args.out)
    print(f"{args.out}: {args.checkpoint} in transformers' format")
