"""Units as the targets of masked prediction: which unit a frame shows, HuBERT's logits over them and its loss over
hidden and visible frames (arXiv 2106.07447)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.errors import SpeechrepError
from speechrep.nn.packing import Rows
from speechrep.nn.quantizers import perplexity
from speechrep.nn.speech_encoder import SpeechEncoder

SLACK_SEC = 0.1
"""How far the end of an utterance's units may lie from its own: some windows of analysis."""


def labels_at(units: torch.Tensor, units_lengths: torch.Tensor, rate_hz: float, centres: torch.Tensor) -> torch.Tensor:
    """The unit that is being said in the middle of each frame.

    units [B, U] at `rate_hz`, the i-th lasting from i / rate_hz to (i + 1) / rate_hz s, units_lengths [B], centres [N]
    in seconds -> [B, N]; frames behind the last unit get the last one.
    """
    place = (centres * rate_hz).long()
    return torch.gather(units, 1, torch.minimum(place[None], units_lengths[:, None] - 1))


def check_units(units: torch.Tensor, units_lengths: torch.Tensor, rate_hz: float, codes: int,
                seconds: torch.Tensor) -> None:
    """Raise `SpeechrepError` unless there are `rate_hz` units a second of speech, seconds [B], all below `codes`."""
    off = (units_lengths / rate_hz - seconds).abs() > SLACK_SEC + 0.02 * seconds
    if off.any():
        b = int(off.nonzero()[0, 0])
        raise SpeechrepError(f"{int(units_lengths[b])} units for {float(seconds[b]):.2f} s of speech, "
                             f"{float(units_lengths[b] / seconds[b]):.1f} a second", f"{rate_hz:g} units a second",
                             "set model.unit_rate_hz to the rate of the units")
    if int(units.max()) >= codes:
        raise SpeechrepError(f"a unit {int(units.max())}", f"units below {codes}",
                             "set model.codes to how many units there are")


def frame_labels(encoder: SpeechEncoder, batch: dict[str, Any], unit_rate_hz: float, codes: int, hop_samples: int,
                 rate_hz: int) -> torch.Tensor:
    """The unit of every frame of `encoder` [B, N] for a batch with "units"; hop and rate: of feature frames."""
    stream = encoder.sizes.stream
    seconds = batch[f"{stream}_lengths"] * (hop_samples if stream == "feats" else 1) / rate_hz
    check_units(batch["units"], batch["units_lengths"], unit_rate_hz, codes, seconds)
    centres = encoder.centres(int(encoder.lengths_of(batch).max()), hop_samples, rate_hz, batch["units"].device)
    return labels_at(batch["units"], batch["units_lengths"], unit_rate_hz, centres)


class CosineHead(nn.Module):
    """Cosine of a projected frame to a learned vector for each code, over a temperature, as logits."""

    def __init__(self, dim: int, codes: int, joint_dim: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.project = nn.Linear(dim, joint_dim)
        # U(0, 1) as released.
        self.codes = nn.Parameter(torch.rand(codes, joint_dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [M, D] -> logits [M, K] in float32."""
        cosines = F.normalize(self.project(x).float(), dim=-1) @ F.normalize(self.codes.float(), dim=-1).T
        return cosines.float() / self.temperature


def guesses(head: nn.Module, frames: torch.Tensor, rows: Rows, labels: torch.Tensor,
            picked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [K, C] in float32 and units [K] of the frames `picked` [B, N]: frames [M, D] and their rows, labels
    [B, N]."""
    return head(frames[rows.pack(picked)]).float(), labels[picked]


def unit_losses(head: nn.Module, frames: torch.Tensor, rows: Rows, batch: dict[str, Any],
                names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Sums of the cross-entropies of frames [M, D] to the batch's "labels": under the first of `names` over "hidden"
    frames, under the second, if there is one, over visible ones."""
    parts = zip(names, (batch["hidden"], rows.inside & ~batch["hidden"]))
    return {name: F.cross_entropy(*guesses(head, frames, rows, batch["labels"], picked), reduction="sum")
            for name, picked in parts}


def unit_metrics(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, tuple[float, float]]:
    """How well hidden units are guessed: logits [M, K], labels [M] -> (sum, count) of `accuracy`, of the accuracy
    `majority` of always guessing the batch's most frequent unit, and of the perplexity of the units guessed."""
    count, codes = len(labels), logits.shape[-1]
    guesses = logits.argmax(-1)
    return {"accuracy": (float((guesses == labels).sum()), count),
            "majority": (float(labels.bincount().max()), count),
            "guessed_perplexity": (float(perplexity(guesses.bincount(minlength=codes))) * count, count)}


def guesses_collapsed(values: dict[str, float]) -> str | None:
    """A sentence when nearly all guesses are one unit and guess no better than that."""
    if values["guessed_perplexity"] < 1.5 and values["accuracy"] <= 1.1 * values["majority"]:
        return (f"the units guessed have a perplexity of {values['guessed_perplexity']:.2f} and are right in "
                f"{values['accuracy']:.1%}, where the most frequent unit alone makes {values['majority']:.1%}; a "
                "healthy run guesses a good part of all units")
    return None
