"""Utterances laid over one another in part, as WavLM does (arXiv 2110.13900, 3.2 and algorithm 1): the model has to
find out who is meant, since targets stay those of the first speaker."""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Overlay:
    """A piece of `partner` laid over `row`; lengths and starts in steps of the stream."""

    row: int
    """The utterance that is disturbed."""
    partner: int
    """The utterance that disturbs."""
    length: int
    """Steps that overlap."""
    start: int
    """Where the overlap begins in `row`."""
    partner_start: int
    """Where the piece begins in `partner`."""
    ratio_db: float
    """Energy of `row` over that of the piece as it is laid over, each averaged over its whole utterance."""


def draw_overlays(lengths: torch.Tensor, share: float, ratio_db: tuple[float, float],
                  generators: list[torch.Generator]) -> list[Overlay]:
    """Each utterance is disturbed with probability `share`, in at most half of its steps, by another of the batch.

    lengths [B]; generators: B of them, each drawing for its own utterance. A batch of one is left alone.
    """
    counts = lengths.tolist()
    overlays = []
    for row, (count, generator) in enumerate(zip(counts, generators, strict=True)):
        chosen, other, size, start, partner_start, ratio = torch.rand(
            6, generator=generator, dtype=torch.double).tolist()
        if chosen >= share or len(counts) < 2:
            continue
        partner = (row + 1 + int(other * (len(counts) - 1))) % len(counts)
        length = min(1 + int(size * (count // 2)), count, counts[partner])
        overlays.append(Overlay(row, partner, length, int(start * (count - length + 1)),
                                int(partner_start * (counts[partner] - length + 1)),
                                ratio_db[0] + ratio * (ratio_db[1] - ratio_db[0])))
    return overlays


def mix_audio(audio: torch.Tensor, lengths: torch.Tensor, overlays: list[Overlay]) -> torch.Tensor:
    """audio [B, T], zero behind lengths [B] -> a copy with the pieces added."""
    energy = (audio.square().sum(1) / lengths).tolist()
    mixed = audio.clone()
    for o in overlays:
        gain = math.sqrt(energy[o.row] / max(energy[o.partner] * 10 ** (o.ratio_db / 10), 1e-12))
        piece = audio[o.partner, o.partner_start:o.partner_start + o.length]
        mixed[o.row, o.start:o.start + o.length] += gain * piece
    return mixed


def mix_log_mel(feats: torch.Tensor, lengths: torch.Tensor, overlays: list[Overlay], exponent: float) -> torch.Tensor:
    """feats [B, N, D], natural logarithms, with lengths [B] -> a copy in which the powers of the pieces are added, as
    waveforms of unrelated phase do on average. exponent: 2 for logarithms of magnitudes, 1 for those of powers."""
    counts = lengths.tolist()
    level = [float(row[:count].mul(exponent).exp().mean().log()) for row, count in zip(feats, counts)]
    mixed = feats.clone()
    for o in overlays:
        gain = level[o.row] - level[o.partner] - o.ratio_db * math.log(10) / 10
        piece = feats[o.partner, o.partner_start:o.partner_start + o.length]
        place = slice(o.start, o.start + o.length)
        mixed[o.row, place] = torch.logaddexp(exponent * feats[o.row, place], exponent * piece + gain) / exponent
    return mixed
