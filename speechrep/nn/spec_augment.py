"""SpecAugment (Park et al. 2019, arXiv 1904.08779): time warped, spans of frames and of feature dimensions set to zero.

Draws come first, as numbers in [0, 1) for each utterance, and are scaled to its length when the features are there: so
they depend on the utterance's seed alone.
"""

from dataclasses import dataclass

import torch

from speechrep.nn.masking import generators_of

MOST_ADAPTIVE = 20
"""Time masks of an utterance at most, where their number grows with its length (Park et al. 2020, arXiv 1912.05533)."""


@dataclass(frozen=True)
class SpecAugment:
    """What is done to features [N, D]. Widths are drawn uniformly from 0 to one below the named one, and then places
    where such a mask fits.

    warp: the most frames by which a point in time is moved, at least so far from both ends; 0 does not warp.
    time_masks, time_width: how many masks along time, and below how many frames each. adaptive: where above 0, there
    are floor(adaptive * N) time masks, at most `MOST_ADAPTIVE`, narrower than floor(adaptive * N) too. dim_masks,
    dim_width: how many masks along the dimensions, and below how many dimensions each.
    """

    warp: int = 0
    time_masks: int = 0
    time_width: int = 40
    adaptive: float = 0.0
    dim_masks: int = 0
    dim_width: int = 50

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return bool(self.warp or self.time_masks or self.adaptive or self.dim_masks)

    def draw(self, seeds: torch.Tensor) -> torch.Tensor:
        """seeds [B] -> numbers in [0, 1) [B, 2 * (1 + time masks + dim masks)], those of an utterance from its seed."""
        count = 1 + self._most_time_masks + self.dim_masks
        return torch.stack([torch.rand(2 * count, generator=generator) for generator in generators_of(seeds)])

    def __call__(self, x: torch.Tensor, lengths: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """x [B, N, D] with lengths [B], what `draw` gave -> x changed, padding as it was."""
        pairs = draws.to(x.device).unflatten(1, (-1, 2))
        lengths = lengths.to(x.device)
        if self.warp:
            x = warp_time(x, lengths, self.warp, pairs[:, 0])
        masks = self._most_time_masks
        if masks:
            widths, counts = torch.full_like(lengths, self.time_width), torch.full_like(lengths, masks)
            if self.adaptive:
                share = (self.adaptive * lengths).long()
                widths, counts = widths.minimum(share), share.clamp(max=masks)
            some = torch.arange(masks, device=x.device) < counts[:, None]
            x = x.masked_fill(spans(pairs[:, 1:1 + masks], lengths, widths, x.shape[1], some)[..., None], 0)
        if self.dim_masks:
            size, count = torch.full_like(lengths, x.shape[2]), x.shape[2]
            hidden = spans(pairs[:, 1 + masks:], size, size.clamp(max=self.dim_width), count)
            x = x.masked_fill(hidden[:, None], 0)
        return x

    @property
    def _most_time_masks(self) -> int:
        return MOST_ADAPTIVE if self.adaptive else self.time_masks


def spans(draws: torch.Tensor, sizes: torch.Tensor, widths: torch.Tensor, longest: int,
          some: torch.Tensor | None = None) -> torch.Tensor:
    """draws [B, M, 2] of widths and places, sizes [B] of what is masked, widths [B] that stay unreached, some [B, M]
    where a mask is at all -> True within a span [B, longest]."""
    width = (draws[..., 0] * widths.minimum(sizes)[:, None]).long()
    start = (draws[..., 1] * (sizes[:, None] - width + 1)).long()
    place = torch.arange(longest, device=draws.device)[:, None]
    inside = (place >= start[:, None]) & (place < (start + width)[:, None])
    return (inside if some is None else inside & some[:, None]).any(-1)


def warp_time(x: torch.Tensor, lengths: torch.Tensor, most: int, draws: torch.Tensor) -> torch.Tensor:
    """Move a point in time by up to `most` frames, what lies before and behind it stretched linearly.

    x [B, N, D], lengths [B], draws [B, 2] of the point and where it goes. An utterance of `2 * most` frames or less
    stays.
    """
    ends = (lengths - 1).clamp(min=1)[:, None].float()
    room = (ends - 2 * most).clamp(min=0)
    source = most + draws[:, :1] * room
    target = source + most * (2 * draws[:, 1:] - 1)
    target = torch.where(room > 0, target, source).clamp(min=0.5).minimum(ends - 0.5)
    place = torch.arange(x.shape[1], device=x.device).float()[None]
    before = place * source / target
    behind = source + (place - target) * (ends - source) / (ends - target)
    heard = torch.where(place < target, before, behind).clamp(min=0).minimum(ends)
    heard = torch.where((room > 0) & (place <= ends), heard, place)
    low = heard.long()
    high = (low + 1).clamp(max=x.shape[1] - 1)
    share = (heard - low).to(x.dtype)[..., None]
    take = lambda index: x.gather(1, index[..., None].expand_as(x))  # noqa: E731
    return take(low) * (1 - share) + take(high) * share
