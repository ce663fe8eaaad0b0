"""Throughput of a CTAP training step and of its parts, beside those of transformers, in one run.

  OMP_NUM_THREADS=1 python test/benchmarks/ctap_step.py

Prints two Markdown tables of seconds of audio per second of processor time. First a step (forward, backward, AdamW) of
CTAP for each kind of block and precision, of its speech encoder alone, and of the encoder of transformers' Whisper with
as many layers of the same width, on the same batch. Then the contrast alone, forward and backward, beside the loss of
transformers' CLIP, which is the same sum where no two frames share a phone. Rounds are interleaved and the best counts,
since other load on the machine only ever takes away.
"""

import argparse
import time

import torch
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods import ctap
from speechrep.nn.contrastive import symmetric_contrast
from speechrep.nn.encoder import Encoder
from speechrep.nn.front import MelFront
from speechrep.nn.masking import pad_mask

SECONDS, UTTERANCES, DIM, LAYERS, HEADS = 4, 8, 256, 8, 4
JOINT_DIM = 192


def batch(rate: int = 100, mels: int = 80, phones: int = 40) -> dict:
    """Random utterances of 4 s with a phone every 80 ms."""
    size, tokens = SECONDS * rate, SECONDS * rate // 8
    lengths = torch.full((UTTERANCES,), size)
    return {"utts": [str(i) for i in range(UTTERANCES)], "seeds": torch.arange(UTTERANCES),
            "labelled": torch.ones(UTTERANCES, dtype=torch.bool), "feats": torch.randn(UTTERANCES, size, mels),
            "feats_lengths": lengths, "phones": torch.randint(phones, (UTTERANCES, tokens)),
            "phones_lengths": torch.full((UTTERANCES,), tokens), "durations": torch.full((UTTERANCES, tokens), 8),
            "prompt": torch.randn(UTTERANCES, size, mels), "prompt_lengths": lengths}


def trained(model: nn.Module, loss, bf16: bool):
    """A training step: `loss()` under autocast, backward, AdamW; and the number of parameters."""
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            total = loss()
        total.backward()
        optimiser.step()

    return step, sum(p.numel() for p in model.parameters())


def ctap_step(kind: str, bf16: bool):
    """The whole of CTAP at the size of egs/asterisk/conf/quick.yaml."""
    inventory = Inventory(tuple(f"p{i}" for i in range(40)), ("s",), {"hop_samples": 80, "rate_hz": 8000},
                          (0.0,) * 80, (1.0,) * 80)
    method = ctap.Method(ctap.Config(kind=kind, dim=DIM, heads=HEADS, joint_dim=JOINT_DIM, prompt_dim=64,
                                     prompt_frames=120, speech_layers=LAYERS, token_layers=3, frame_layers=2,
                                     decoder_layers=3, contrast_frames=1024, decoder_gradient=0.1,
                                     instance_norm=True, voice_per_block=True), inventory)
    data = batch()

    def loss() -> torch.Tensor:
        prepared = method.prepare(data, torch.Generator().manual_seed(0))
        counts = method.counts(prepared)
        losses = method(prepared)
        return sum(losses[name] / counts[name] for name in losses)

    return trained(method, loss, bf16)


def encoder_step(kind: str, bf16: bool):
    """CTAP's speech encoder alone, 50 frames a second."""
    front, encoder = MelFront(80, DIM, 2), Encoder(kind, LAYERS, DIM, HEADS, 0.0)
    data = batch()

    def loss() -> torch.Tensor:
        x, lengths = front(data["feats"], data["feats_lengths"])
        return encoder(x, pad_mask(lengths, x.shape[1]))[-1].float().square().mean()

    return trained(nn.ModuleList([front, encoder]), loss, bf16)


def whisper_step(bf16: bool):
    """The encoder of transformers' Whisper: the same two convolutions, then blocks of attention, at 50 frames a second."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    encoder = WhisperEncoder(WhisperConfig(d_model=DIM, encoder_layers=LAYERS, encoder_attention_heads=HEADS,
                                           encoder_ffn_dim=4 * DIM, max_source_positions=SECONDS * 50, num_mel_bins=80,
                                           dropout=0.0))
    feats = batch()["feats"].transpose(1, 2).contiguous()
    return trained(encoder, lambda: encoder(feats).last_hidden_state.float().square().mean(), bf16)


def contrast_step(rows: int, peer: bool):
    """The contrast of `rows` frames with as many, each its own positive, forward and backward."""
    speech, phones = (nn.functional.normalize(torch.randn(rows, JOINT_DIM), dim=-1).requires_grad_() for _ in range(2))
    if peer:
        from transformers.models.clip.modeling_clip import image_text_contrastive_loss as clip_loss

    def step() -> None:
        if peer:
            clip_loss(phones @ speech.T * 14.0).backward()
        else:
            (symmetric_contrast(speech, phones, torch.tensor(14.0), torch.arange(rows), None, 4096) / rows).backward()

    return step, 0


def race(contest: dict[str, tuple], rounds: int) -> dict[str, float]:
    """The least processor seconds of a step of each."""
    best = dict.fromkeys(contest, float("inf"))
    for number in range(rounds + 1):
        for name, (step, _) in contest.items():
            start = time.process_time()
            step()
            if number:
                best[name] = min(best[name], time.process_time() - start)
    return best


def main() -> None:
    """Run both contests and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="the best of so many rounds counts (default: 4)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    try:
        import transformers
    except ImportError:
        raise SystemExit("the peer is not installed: pip install transformers") from None
    steps = {f"{what}, {kind}, {'bf16' if bf16 else 'float32'}": make(kind, bf16)
             for what, make in (("CTAP step", ctap_step), ("its speech encoder alone", encoder_step))
             for kind in ("tdnn", "transformer") for bf16 in (False, True)}
    steps |= {f"transformers' Whisper encoder, {'bf16' if bf16 else 'float32'}": whisper_step(bf16)
              for bf16 in (False, True)}
    best = race(steps, rounds)
    audio = SECONDS * UTTERANCES
    print(f"transformers {transformers.__version__}, torch {torch.__version__}\n")
    print("| one core, a training step | parameters | seconds of audio a second | ratio to Whisper's encoder, same precision |")
    print("|---|---:|---:|---:|")
    for name, seconds in best.items():
        peer = best["transformers' Whisper encoder, " + name.rpartition(", ")[2]]
        print(f"| {name} | {steps[name][1] / 1e6:.1f} M | {audio / seconds:.0f} | {peer / seconds:.2f} |")
    contrasts = {f"{name}, {rows} frames": contrast_step(rows, peer)
                 for rows in (2048, 8192) for name, peer in (("symmetric_contrast", False), ("transformers' clip_loss", True))}
    best = race(contrasts, rounds)
    print("\n| one core, the contrast alone | ms | clip_loss / this |\n|---|---:|---:|")
    for name, seconds in best.items():
        peer = best["transformers' clip_loss, " + name.rpartition(", ")[2]]
        print(f"| {name} | {1000 * seconds:.0f} | {peer / seconds:.2f} |")


if __name__ == "__main__":
    main()
