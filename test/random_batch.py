"""A batch of random features, for tests of a method's values that need no corpus."""

import torch

from speechrep.config import build
from speechrep.data.inventory import Inventory
from speechrep.methods.base import Method, find_method

DIM, HOP, RATE_HZ = 6, 80, 8000


def random_method(name: str, **config) -> Method:
    """A method over 6 log-mel bands at 8 kHz, of two speakers."""
    torch.manual_seed(0)
    cls = find_method(name)
    features = {"kind": "logmel", "rate_hz": RATE_HZ, "hop_samples": HOP, "win_samples": 200, "n_fft": 256,
                "n_mels": DIM}
    inventory = Inventory(("SIL",), ("a", "b"), features, tuple(0.5 * i for i in range(DIM)),
                          tuple(1.0 + 0.1 * i for i in range(DIM)))
    return cls(build(cls.Config, config), inventory)


def random_batch(*lengths: int, seed: int = 1) -> dict:
    """Features of so many frames, and audio as long."""
    draw = torch.Generator().manual_seed(seed)
    feats = [2 * torch.randn(length, DIM, generator=draw) for length in lengths]
    audio = [0.1 * torch.randn(length * HOP, generator=draw) for length in lengths]
    pad = torch.nn.utils.rnn.pad_sequence
    return {"utts": [f"u{i}" for i in range(len(lengths))], "seeds": torch.arange(len(lengths)) + 7,
            "labelled": torch.ones(len(lengths), dtype=torch.bool), "speaker": torch.arange(len(lengths)) % 2,
            "feats": pad(feats, batch_first=True), "feats_lengths": torch.tensor(lengths),
            "audio": pad(audio, batch_first=True), "audio_lengths": torch.tensor(lengths) * HOP}


def standard(method: Method, feats: torch.Tensor) -> torch.Tensor:
    """Features [..., D] by the method's statistics."""
    return (feats - torch.tensor(method.inventory.mean)) / torch.tensor(method.inventory.std)
