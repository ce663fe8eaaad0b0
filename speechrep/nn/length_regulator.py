"""From tokens to frames: each token's vector repeated for as many frames as it lasts."""

import torch


def strided(durations: torch.Tensor, stride: int) -> torch.Tensor:
    """Durations in frames -> durations in frames of `stride` times the hop, by rounding cumulative boundaries.

    durations [B, U], zero where there is no token. Each row's result sums to exactly ceil(sum / stride); rounding
    each duration by itself would drift. Returns [B, U].
    """
    if stride == 1:
        return durations
    ends = durations.cumsum(1)
    total = ends[:, -1:]
    bounds = torch.where(ends == total, (total + stride - 1) // stride, (ends + stride // 2) // stride)
    return torch.diff(bounds, dim=1, prepend=torch.zeros_like(total))


def token_of_frame(durations: torch.Tensor, size: int) -> torch.Tensor:
    """The token each frame belongs to: durations [B, U] -> indices [B, size]; behind the end, the last token."""
    ends = durations.cumsum(1).contiguous()
    frames = torch.arange(size, device=durations.device).expand(len(durations), -1).contiguous()
    return torch.searchsorted(ends, frames, right=True).clamp(max=durations.shape[1] - 1)


def regulate(tokens: torch.Tensor, durations: torch.Tensor, size: int) -> torch.Tensor:
    """Repeat token vectors: tokens [B, U, D], durations [B, U] -> frames [B, size, D], zero behind each row's end."""
    index = token_of_frame(durations, size)
    frames = torch.gather(tokens, 1, index[..., None].expand(-1, -1, tokens.shape[-1]))
    inside = torch.arange(size, device=tokens.device) < durations.sum(1, keepdim=True)
    return frames * inside[..., None].to(frames.dtype)
