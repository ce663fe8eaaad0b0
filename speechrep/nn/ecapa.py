"""ECAPA-TDNN, a network for speaker embeddings (Desplanques, Thienpondt and Demuynck 2020, arXiv 2005.07143).

Here frames are normalised one by one (LayerNorm) where the paper normalises over the batch: a batch statistic would make an
utterance's embedding in training depend on its neighbours and on their padding.
"""

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.masking import pad_mask
from speechrep.nn.xvector import mean_and_std


class ConvBlock(nn.Module):
    """norm(relu(conv(x))), as long as x."""

    def __init__(self, in_dim: int, dim: int, width: int, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv1d(in_dim, dim, width, dilation=dilation, padding=dilation * (width - 1) // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
        """x [B, N, D], pad [B, N] -> [B, N, D']; padding is not seen and zero behind."""
        x = x.masked_fill(pad[..., None], 0)
        return self.norm(F.relu(self.conv(x.transpose(1, 2)).transpose(1, 2))).masked_fill(pad[..., None], 0)


class SERes2Block(nn.Module):
    """x + squeeze-excitation(conv 1, Res2 dilated convolutions, conv 1) (the paper's figure 2)."""

    def __init__(self, dim: int, dilation: int, scale: int, squeeze_dim: int):
        super().__init__()
        self.before, self.after = ConvBlock(dim, dim, 1), ConvBlock(dim, dim, 1)
        self.groups = nn.ModuleList(ConvBlock(dim // scale, dim // scale, 3, dilation) for _ in range(scale - 1))
        self.squeeze, self.excite = nn.Linear(dim, squeeze_dim), nn.Linear(squeeze_dim, dim)

    def forward(self, x: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
        """x [B, N, C], pad [B, N] -> [B, N, C]."""
        first, *others = self.before(x, pad).chunk(len(self.groups) + 1, -1)
        done, last = [first], torch.zeros_like(first)
        for block, group in zip(self.groups, others):
            last = block(group + last, pad)
            done.append(last)
        y = self.after(torch.cat(done, -1), pad)
        mean = y.sum(1) / (~pad).sum(1, keepdim=True).clamp(min=1)
        return x + y * torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))[:, None]


class AttentivePooling(nn.Module):
    """Mean and standard deviation over time, each channel weighing frames by itself, in view of the whole (equation 1)."""

    def __init__(self, dim: int, attention_dim: int):
        super().__init__()
        self.hidden, self.score = nn.Linear(3 * dim, attention_dim), nn.Linear(attention_dim, dim)

    def forward(self, x: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
        """x [B, N, C], pad [B, N] -> [B, 2 * C]."""
        even = (~pad)[..., None].to(x.dtype)
        whole = mean_and_std(x, even / even.sum(1, keepdim=True).clamp(min=1))
        view = torch.cat([x, whole[:, None].expand(-1, x.shape[1], -1)], -1)
        scores = self.score(torch.tanh(self.hidden(view))).masked_fill(pad[..., None], float("-inf"))
        return mean_and_std(x, scores.softmax(1))


class ECAPA(nn.Module):
    """Frames -> one vector. `dim` channels (the paper: 512 or 1024), divided by `scale` in the Res2 convolutions."""

    def __init__(self, in_dim: int, dim: int = 512, last_dim: int = 1536, embedding_dim: int = 192, scale: int = 8,
                 bottleneck_dim: int = 128):
        super().__init__()
        self.enter = ConvBlock(in_dim, dim, 5)
        self.blocks = nn.ModuleList(SERes2Block(dim, dilation, scale, bottleneck_dim) for dilation in (2, 3, 4))
        self.join = nn.Linear(3 * dim, last_dim)
        self.pool = AttentivePooling(last_dim, bottleneck_dim)
        self.norm = nn.LayerNorm(2 * last_dim)
        self.embed = nn.Linear(2 * last_dim, embedding_dim)

    def embedding(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """x [B, N, D], lengths [B] -> [B, E]."""
        pad = pad_mask(lengths.to(x.device), x.shape[1])
        x = self.enter(x, pad)
        outputs = []
        for block in self.blocks:
            # Each block hears the sum of all before it (section 3.3).
            outputs.append(block(x, pad))
            x = x + outputs[-1]
        joined = F.relu(self.join(torch.cat(outputs, -1))).masked_fill(pad[..., None], 0)
        return self.embed(self.norm(self.pool(joined, pad)))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """What training classifies: the embedding itself."""
        return self.embedding(x, lengths)
