"""Time-delay blocks: a few neighbouring frames side by side through one matrix (Waibel et al. 1989, Peddinti et al. 2015).

On a CPU one large matrix product is several times faster than a convolution of the same size or than attention, which
is why the small configurations use these blocks.
"""

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.dropout import dropout


def splice(x: torch.Tensor, context: int, dilation: int) -> torch.Tensor:
    """Each frame with `context` neighbours on both sides, `dilation` apart: [B, N, D] -> [B, N, (2 * context + 1) * D].
    Beyond the ends stand zeros."""
    size, reach = x.shape[1], context * dilation
    x = F.pad(x, (0, 0, reach, reach))
    return torch.cat([x[:, i * dilation:i * dilation + size] for i in range(2 * context + 1)], dim=-1)


class TDNNBlock(nn.Module):
    """x + dropout(relu(affine(splice(norm(x))))). Sees `context * dilation` frames to both sides."""

    def __init__(self, dim: int, dilation: int, dropout: float, context: int = 1):
        super().__init__()
        self.context, self.dilation, self.dropout = context, dilation, dropout
        self.norm = nn.LayerNorm(dim)
        self.affine = nn.Linear((2 * context + 1) * dim, dim)

    def forward(self, x: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
        """x [B, N, D], pad [B, N] True behind the end -> [B, N, D]. What stands in padding is never seen."""
        y = self.norm(x).masked_fill(pad[..., None], 0)
        return x + dropout(F.relu(self.affine(splice(y, self.context, self.dilation))), self.dropout, self.training)
