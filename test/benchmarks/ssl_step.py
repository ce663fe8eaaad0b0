"""Throughput of a training step of HuBERT base and wav2vec 2.0 base against transformers, torchaudio, s3prl's port of fairseq and
minimal-hubert, in one run.

  python test/benchmarks/ssl_step.py --threads 2
  python test/benchmarks/ssl_step.py --size tiny --seconds 30 --rounds 2      a look in a minute
  python test/benchmarks/ssl_step.py --device cuda --precision bf16 --seconds 600

A step is forward, loss, backward and AdamW, with dropout and without layerdrop, on random samples of 2 to 16 s. "mixed"
batches hold all lengths at once; "sorted" ones hold neighbours in length, as speechrep's sampler deals them. Every row
counts seconds of speech, padding not counted. Our step draws its masks within the time measured; peers get theirs for
nothing, save torchaudio's HuBERT and s3prl's, which draw their own. torchaudio has no loss for wav2vec 2.0, so that its row is
the encoder alone with the mean square of its output as the loss; minimal-hubert has HuBERT of the base size alone. The last
column is the work of our step a second, for each row, over the fastest large matrix product at that precision: on a GPU, how much
of it a training puts to use. Prints a Markdown table; with --profile, where the time of each step goes.
"""

import argparse
import gc
import statistics
import time
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from speechrep.data.inventory import Inventory
from speechrep.methods import hubert, wav2vec2

RATE = 16000
SIZES = {"base": dict(front_dim=512, dim=768, layers=12, heads=12, ffn_dim=3072),
         "tiny": dict(front_dim=64, dim=192, layers=4, heads=4, ffn_dim=768)}
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
CLASSES = 100


def batches(kind: str, seconds: float, device: torch.device) -> list[dict]:
    """About `seconds` of speech in utterances evenly spread from 2 to 16 s: in one batch, or three by length."""
    count = max(3, round(seconds / 9))
    lengths = torch.linspace(2 * RATE, 16 * RATE, count).long()
    parts = [lengths] if kind == "mixed" else list(lengths.tensor_split(3))
    made = []
    for part in parts:
        inside = torch.arange(int(part.max())) < part[:, None]
        units = (part * 50 / RATE).long()
        made.append({key: value.to(device) for key, value in {
            "audio": torch.randn(inside.shape) * inside, "audio_lengths": part, "attention": inside.long(),
            "units": torch.randint(CLASSES, (len(part), int(units.max()))), "units_lengths": units,
            "seeds": torch.arange(len(part))}.items()})
    return made


def ours(name: str, size: dict, device: torch.device):
    """(model, loss of a batch)."""
    module = {"hubert": hubert, "wav2vec2": wav2vec2}[name]
    own = {"codes": CLASSES} if name == "hubert" else {}
    inventory = Inventory(features={"kind": "logmel", "rate_hz": RATE, "hop_samples": 160})
    method = module.Method(module.Config(**size, **own, layerdrop=0.0), inventory).to(device).train()
    weights = {"masked": 1.0, "contrast": 1.0, "diversity": 0.1, "penalty": 10.0}

    def loss(batch):
        prepared = method.prepare(batch, torch.Generator())
        counts, sums = method.counts(prepared), method(prepared)
        return sum(weights[key] * value / counts[key] for key, value in sums.items())

    return method, loss


def of_transformers(name: str, size: dict, device: torch.device, attention: str):
    import transformers
    common = dict(hidden_size=size["dim"], num_hidden_layers=size["layers"], num_attention_heads=size["heads"],
                  intermediate_size=size["ffn_dim"], conv_dim=[size["front_dim"]] * 7, activation_dropout=0.0,
                  feat_proj_dropout=0.1, feat_quantizer_dropout=0.1, layerdrop=0.0, attn_implementation=attention)
    drawn = hidden_of(name, size)
    if name == "wav2vec2":
        model = transformers.Wav2Vec2ForPreTraining(transformers.Wav2Vec2Config(**common)).to(device).train()

        def loss(batch):
            hidden, negatives = drawn(batch)
            out = model(batch["audio"], attention_mask=batch["attention"], mask_time_indices=hidden,
                        sampled_negative_indices=negatives)
            return out.loss / hidden.sum()

        return model, loss
    body = transformers.HubertModel(transformers.HubertConfig(**common))
    model = torch.nn.ModuleDict({"body": body, "project": torch.nn.Linear(size["dim"], 256)})
    model.codes = torch.nn.Parameter(torch.rand(CLASSES, 256))
    model.to(device).train()

    def loss(batch):
        hidden, _ = drawn(batch)
        x = model["body"](batch["audio"], attention_mask=batch["attention"], mask_time_indices=hidden).last_hidden_state
        guess = F.normalize(model["project"](x[hidden]).float(), dim=-1)
        logits = guess @ F.normalize(model.codes, dim=-1).T / 0.1
        return F.cross_entropy(logits, batch["units"].repeat(1, 2)[:, :hidden.shape[1]][hidden])

    return model, loss


def of_torchaudio(name: str, size: dict, device: torch.device):
    from torchaudio.models import wav2vec2 as peers
    convs = [(size["front_dim"], kernel, stride) for kernel, stride in zip(KERNELS, STRIDES)]
    common = dict(extractor_mode="group_norm", extractor_conv_layer_config=convs, extractor_conv_bias=False,
                  encoder_embed_dim=size["dim"], encoder_projection_dropout=0.1, encoder_pos_conv_kernel=128,
                  encoder_pos_conv_groups=16, encoder_num_layers=size["layers"], encoder_num_heads=size["heads"],
                  encoder_attention_dropout=0.1, encoder_ff_interm_features=size["ffn_dim"],
                  encoder_ff_interm_dropout=0.0, encoder_dropout=0.1, encoder_layer_norm_first=False,
                  encoder_layer_drop=0.0)
    if name == "wav2vec2":
        model = peers.wav2vec2_model(**common, aux_num_out=None).to(device).train()
        return model, lambda batch: model(batch["audio"], batch["audio_lengths"])[0].float().square().mean()
    model = peers.model.hubert_pretrain_model(
        **common, mask_prob=0.8, mask_selection="static", mask_other=0.0, mask_length=10, no_mask_overlap=False,
        mask_min_space=1, mask_channel_prob=0.0, mask_channel_selection="static", mask_channel_other=0.0,
        mask_channel_length=10, no_mask_channel_overlap=False, mask_channel_min_space=1, skip_masked=False,
        skip_nomask=True, num_classes=CLASSES, final_dim=256, feature_grad_mult=0.1).to(device).train()

    def loss(batch):
        frames = int(hubert_frames(batch["audio_lengths"]).max())
        labels = batch["units"].repeat(1, 2)[:, :frames]
        logits, _, penalty = model(batch["audio"], labels, batch["audio_lengths"])
        truth = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return F.cross_entropy(logits.float(), truth) + 10 * penalty

    return model, loss


def of_s3prl(name: str, size: dict, device: torch.device):
    """fairseq's own models, as s3prl carries them."""
    common = dict(encoder_layers=size["layers"], encoder_embed_dim=size["dim"], encoder_ffn_embed_dim=size["ffn_dim"],
                  encoder_attention_heads=size["heads"], encoder_layerdrop=0.0, dropout_input=0.1, dropout_features=0.1,
                  feature_grad_mult=0.1, final_dim=256,
                  conv_feature_layers=str([(size["front_dim"], kernel, stride) for kernel, stride in zip(KERNELS, STRIDES)]))
    if name == "hubert":
        from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig
        model = HubertModel(HubertConfig(label_rate=50, mask_prob=0.8, skip_nomask=True, **common),
                            HubertPretrainingConfig(label_rate=50), [range(CLASSES)])
    else:
        from s3prl.upstream.wav2vec2.wav2vec2_model import Wav2Vec2Config, Wav2Vec2Model
        model = Wav2Vec2Model(Wav2Vec2Config(quantize_targets=True, latent_temp=(2.0, 0.5, 0.999995), **common))
    model.to(device).train()

    def loss(batch):
        padding = batch["attention"] == 0
        targets = dict(target_list=[batch["units"].repeat(1, 2)]) if name == "hubert" else {}
        out = model(batch["audio"], padding_mask=padding, **targets)
        logits = out["logit_m_list"][0] if name == "hubert" else model.get_logits(out)
        truth = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        value = F.cross_entropy(logits.float(), truth) + 10 * out["features_pen"]
        return value if name == "hubert" else value + 0.1 * (out["num_vars"] - out["prob_perplexity"]) / out["num_vars"]

    return model, loss


def of_minimal_hubert(size: dict, device: torch.device):
    from minimal_hubert import HuBERTPretrain
    model = HuBERTPretrain(CLASSES)
    model.encoder.layer_drop = 0.0
    model.to(device).train()
    drawn = hidden_of("hubert", size)

    def loss(batch):
        hidden, _ = drawn(batch)
        frames = hidden.shape[1]
        inside = torch.arange(frames, device=device) < hubert_frames(batch["audio_lengths"]).to(device)[:, None]
        value, _ = model(batch["audio"], batch["units"].repeat(1, 2)[:, :frames], mask=hidden,
                         attention_mask=inside[:, None, None, :].expand(-1, 1, frames, -1))
        return value.mean()

    return model, loss


def lacks(who: str, name: str, size: dict) -> bool:
    """Whether a peer has no such model."""
    return who == "minimal-hubert" and (name != "hubert" or size != SIZES["base"])


def of_peer(who: str, name: str, size: dict, device: torch.device):
    """(model, loss of a batch) of what `--peers` names."""
    family, _, attention = who.partition(" ")
    if family == "torchaudio":
        return of_torchaudio(name, size, device)
    if family == "s3prl":
        return of_s3prl(name, size, device)
    if family == "minimal-hubert":
        return of_minimal_hubert(size, device)
    return of_transformers(name, size, device, attention)


def hubert_frames(samples: torch.Tensor) -> torch.Tensor:
    for kernel, stride in zip(KERNELS, STRIDES):
        samples = (samples - kernel) // stride + 1
    return samples


def hidden_of(name: str, size: dict):
    """Masks and negatives of a batch, drawn once by our own method: peers pay nothing for them."""
    method, _ = ours(name, size | dict(layers=1), torch.device("cpu"))
    kept = {}

    def drawn(batch):
        key = tuple(batch["audio_lengths"].tolist())
        if key not in kept:
            on_cpu = {name: value.cpu() for name, value in batch.items()}
            prepared = method.prepare(on_cpu, torch.Generator())
            hidden = prepared["hidden"]
            negatives = None
            if name == "wav2vec2":
                negatives = torch.zeros(*hidden.shape, method.config.negatives, dtype=torch.long)
                for b, (row, false) in enumerate(zip(hidden, prepared["false"])):
                    negatives[b, row] = row.nonzero()[:, 0][false] + b * hidden.shape[1]
                negatives = negatives.to(batch["audio"].device)
            kept[key] = hidden.to(batch["audio"].device), negatives
        return kept[key]

    return drawn


def step_of(model, loss, data: list[dict], bf16: bool, device: torch.device):
    optimiser = torch.optim.AdamW(model.parameters(), 1e-5)

    def step():
        for batch in data:
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
                value = loss(batch)
            value.backward()
            optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def median_time(step, rounds: int, clock) -> float:
    step()
    times = []
    for _ in range(rounds):
        start = clock()
        step()
        times.append(clock() - start)
    return statistics.median(times)


def flops_of(step) -> int:
    """Floating-point operations of the matrix products, convolutions and attention of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak_flops(bf16: bool, device: torch.device, clock) -> float:
    """FLOP/s of the fastest of some large square matrix products at the same precision, on the same device and clock."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)

    def product():
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    product()
    times = []
    for _ in range(5):
        start = clock()
        product()
        times.append(clock() - start)
    return 2 * side ** 3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--methods", nargs="+", choices=("hubert", "wav2vec2"), default=["hubert", "wav2vec2"])
    parser.add_argument("--batches", nargs="+", choices=("mixed", "sorted"), default=["mixed", "sorted"])
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--seconds", type=float, default=54.0, help="seconds of speech in a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall",
                        help="processor: of processor time, for a machine that others work on too; with --threads 1")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peers", nargs="*", default=["transformers eager", "transformers sdpa", "torchaudio", "s3prl",
                                                          "minimal-hubert"])
    parser.add_argument("--profile", action="store_true", help="print where the time of each step goes instead of the table")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    clock = {"wall": time.perf_counter, "processor": time.process_time}[args.clock]
    device, size = torch.device(args.device), SIZES[args.size]
    print(f"{args.size}, {args.seconds:g} s a step, {device}, {torch.get_num_threads()} threads, {args.clock} time, "
          f"torch {torch.__version__}\n")
    columns = ["s of speech a second", "ours is faster by", "FLOP/s, of the matmul peak"]
    if args.profile:
        columns = [*(f"{kind}, s" for kind in (*KINDS, "else")), "sum, s"]
    print("| " + " | ".join(["method", "batches", "precision", "implementation", *columns]) + " |\n|" + "---|" * 4
          + "---:|" * len(columns), flush=True)
    for name in args.methods:
        for kind in args.batches:
            data = batches(kind, args.seconds, device)
            speech = sum(float(batch["audio_lengths"].sum()) for batch in data) / RATE
            for precision in args.precision:
                first = flops = None
                bf16 = precision == "bf16"
                peak = 0.0 if args.profile else peak_flops(bf16, device, clock)
                for who in ["speechrep", *(who for who in args.peers if not lacks(who, name, size))]:
                    torch.manual_seed(0)
                    try:
                        model, loss = (ours if who == "speechrep" else partial(of_peer, who))(name, size, device)
                    except ImportError as error:
                        print(f"| {name} | {kind} | {precision} | {who} | not installed: {error.name} | |", flush=True)
                        continue
                    step = step_of(model, loss, data, bf16, device)
                    if args.profile:
                        spent = profile(step)
                        cells = " | ".join(f"{value:.2f}" for value in (*spent.values(), sum(spent.values())))
                        print(f"| {name} | {kind} | {precision} | {who} | {cells} |", flush=True)
                        continue
                    try:
                        speed = speech / median_time(step, args.rounds, clock)
                    except (RuntimeError, IndexError) as error:  # a peer may not know a precision
                        print(f"| {name} | {kind} | {precision} | {who} | fails: {str(error).splitlines()[0][:60]} | |", flush=True)
                        continue
                    first = first or speed
                    # Of all by what ours computes, which is no padding: the work of the model, however it is done.
                    flops = flops or flops_of(step)
                    print(f"| {name} | {kind} | {precision} | {who} | {speed:.1f} | "
                          f"{'' if who == 'speechrep' else f'{first / speed:.2f} x'} | "
                          f"{100 * flops / speech * speed / peak:.0f} % |", flush=True)
                    del model, loss, step
                    gc.collect()


KINDS = {"convolutions": ("conv",), "attention": ("scaled_dot_product", "flash", "softmax"),
         "matrix products": ("mm", "linear", "einsum"),
         "dropout and masks": ("dropout", "bernoulli", "random", "masked", "where", "index", "gather", "scatter", "nonzero"),
         "norms": ("norm",), "activations": ("gelu",), "optimiser": ("adam", "foreach", "lerp", "addc", "optimizer"),
         "copies": ("copy", "cat", "contiguous", "clone", "fill", "zero", "pad", "unfold", "as_strided")}
"""Kind of work -> parts of the names of the operators that do it; the first that fits. Own time of each operator, so that
what one calls is not counted twice."""


def profile(step) -> dict[str, float]:
    """Seconds of a step by kind of work."""
    step()
    with torch.profiler.profile(acc_events=True) as seen:
        step()
    spent = dict.fromkeys((*KINDS, "else"), 0.0)
    for event in seen.key_averages():
        name = event.key.lower()
        kind = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "else")
        spent[kind] += (event.self_cpu_time_total + event.self_device_time_total) / 1e6
    return spent


if __name__ == "__main__":
    main()
