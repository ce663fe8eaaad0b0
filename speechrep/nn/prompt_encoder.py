"""One vector for the voice of a stretch of speech: convolutions, squeeze-and-excite, a GRU, a Gaussian.

The sizes follow the released inference code of CTAP's descendant SecoustiCodec (six 3-wide convolutions of 32, 32, 64,
64, 128, 128 channels, reduction 16, GRU 64), since the paper's own are not published. Layer norm stands for its batch
norm, so that a prompt's vector does not depend on the batch.
"""

import torch
from torch import nn

WIDTHS = (32, 32, 64, 64, 128, 128)


class PromptEncoder(nn.Module):
    """Frames of a fixed window -> mean and log-variance of a voice vector."""

    def __init__(self, in_dim: int, out_dim: int, gru_dim: int = 64, reduction: int = 16):
        super().__init__()
        widths = (in_dim, *WIDTHS)
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 3, padding=1) for a, b in zip(widths, WIDTHS))
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in WIDTHS)
        top = WIDTHS[-1]
        self.gate = nn.Sequential(nn.Linear(top, top // reduction), nn.ReLU(), nn.Linear(top // reduction, top),
                                  nn.Sigmoid())
        self.gru = nn.GRU(top, gru_dim, batch_first=True)
        self.out = nn.Linear(gru_dim, 2 * out_dim)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """frames [B, N, D], all of full length -> mean [B, G], logvar [B, G]."""
        x = frames
        for conv, norm in zip(self.convs, self.norms):
            x = torch.relu(norm(conv(x.transpose(1, 2)).transpose(1, 2)))
        x = x + x * self.gate(x.mean(1, keepdim=True))
        _, last = self.gru(x)
        mean, logvar = self.out(last[-1]).chunk(2, dim=-1)
        # Beyond this range a log-variance only overflows its exponential.
        return mean, logvar.clamp(-12, 12)


def window(frames: torch.Tensor, lengths: torch.Tensor, size: int, start: torch.Tensor | None = None) -> torch.Tensor:
    """A window of `size` frames of each row, looped where the row is shorter.

    frames [B, N, D], lengths [B]; start [B] in [0, 1) places the window within what a longer row leaves free, by
    default the centre. Returns [B, size, D].
    """
    start = torch.full_like(lengths, 0.5, dtype=torch.float32) if start is None else start
    first = (start * (lengths - size + 1).clamp(min=1)).long()
    index = (first[:, None] + torch.arange(size, device=frames.device)) % lengths[:, None]
    return torch.gather(frames, 1, index[..., None].expand(-1, -1, frames.shape[-1]))
