"""Throughput of a CTAP training step against a Whisper-like transformer of the same size, in one run.

  OMP_NUM_THREADS=2 python test/benchmarks/ctap_step.py

Prints a Markdown table: seconds of audio a second for each kind of block and precision, and the ratio to the transformer
encoder of transformers' Whisper (forward and backward of that encoder alone), where transformers is installed.
"""

import argparse
import statistics
import time

import torch

from speechrep.data.inventory import Inventory
from speechrep.methods import ctap

SECONDS, UTTERANCES = 4, 20


def batch(rate: int = 100, mels: int = 80, phones: int = 40) -> dict:
    """Random utterances of 4 s with a phone every 80 ms."""
    size, tokens = SECONDS * rate, SECONDS * rate // 8
    lengths = torch.full((UTTERANCES,), size)
    return {"utts": [str(i) for i in range(UTTERANCES)], "seeds": torch.arange(UTTERANCES),
            "labelled": torch.ones(UTTERANCES, dtype=torch.bool), "feats": torch.randn(UTTERANCES, size, mels),
            "feats_lengths": lengths, "phones": torch.randint(phones, (UTTERANCES, tokens)),
            "phones_lengths": torch.full((UTTERANCES,), tokens), "durations": torch.full((UTTERANCES, tokens), 8),
            "prompt": torch.randn(UTTERANCES, size, mels), "prompt_lengths": lengths}


def median_time(step, rounds: int) -> float:
    step()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def ctap_step(kind: str, bf16: bool):
    inventory = Inventory(tuple(f"p{i}" for i in range(40)), ("s",), {"hop_samples": 80, "rate_hz": 8000},
                          (0.0,) * 80, (1.0,) * 80)
    config = ctap.Config(kind=kind, dim=256, heads=4, joint_dim=192, prompt_dim=64, prompt_frames=200, speech_layers=8,
                         token_layers=3, frame_layers=2, decoder_layers=3, contrast_frames=2048)
    method = ctap.Method(config, inventory)
    optimiser = torch.optim.AdamW(method.parameters(), 1e-4)
    data = batch()

    def step():
        optimiser.zero_grad()
        prepared = method.prepare(data, torch.Generator().manual_seed(0))
        counts = method.counts(prepared)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            losses = method(prepared)
        sum(losses[name] / counts[name] for name in losses).backward()
        optimiser.step()

    return step, sum(p.numel() for p in method.parameters())


def whisper_step():
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    config = WhisperConfig(d_model=256, encoder_layers=8, encoder_attention_heads=4, encoder_ffn_dim=1024,
                           max_source_positions=SECONDS * 50, num_mel_bins=80)
    encoder = WhisperEncoder(config)
    feats = torch.randn(UTTERANCES, 80, SECONDS * 100)

    def step():
        encoder(feats).last_hidden_state.sum().backward()

    return step, sum(p.numel() for p in encoder.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = [(f"CTAP step, {kind}, {'bf16' if bf16 else 'float32'}", *ctap_step(kind, bf16))
            for kind in ("tdnn", "transformer") for bf16 in (False, True)]
    try:
        rows.append(("transformers' Whisper encoder alone, float32", *whisper_step()))
    except ImportError:
        print("transformers is not installed: no peer in the table\n")
    speeds = [SECONDS * UTTERANCES / median_time(step, rounds) for _, step, _ in rows]
    print("| what | parameters | seconds of audio a second | ratio to the last row |\n|---|---:|---:|---:|")
    for (name, _, size), speed in zip(rows, speeds):
        print(f"| {name} | {size / 1e6:.1f} M | {speed:.0f} | {speed / speeds[-1]:.2f} |")


if __name__ == "__main__":
    main()
