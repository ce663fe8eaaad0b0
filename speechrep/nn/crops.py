"""Training on windows of utterances: the same frames of features and of their targets."""

import torch

from speechrep.nn.masking import generators_of


def draw_starts(lengths: torch.Tensor, size: int, seeds: torch.Tensor) -> torch.Tensor:
    """The first frame [B] of a window of `size` frames in each utterance of `lengths` [B] frames, uniform, drawn from each
    utterance's own seed [B]; 0 where the utterance is no longer than the window."""
    shares = torch.stack([torch.rand((), generator=generator) for generator in generators_of(seeds)])
    places = (lengths.cpu() - size + 1).clamp(min=1)
    return (shares * places).long().clamp(max=places - 1).to(lengths.device)


def crop(x: torch.Tensor, lengths: torch.Tensor, starts: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x [B, N, D], lengths [B], starts [B] -> the windows [B, min(N, size), D], zeros behind an end, and their lengths."""
    left = (lengths.to(starts.device) - starts).clamp(max=size)
    place = torch.arange(min(size, x.shape[1]), device=x.device)
    index = (starts.to(x.device)[:, None] + place).clamp(max=x.shape[1] - 1)
    window = x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))
    return window.masked_fill((place >= left.to(x.device)[:, None])[..., None], 0), left.to(lengths.device)
