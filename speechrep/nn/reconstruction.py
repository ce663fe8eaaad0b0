"""What methods share that hide parts of a spectrogram and reconstruct them: frames side by side, what stands in hidden
places, and the network of Mockingjay (arXiv 1910.12638) and TERA (arXiv 2007.06028)."""

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.encoder import Encoder
from speechrep.nn.guards import spread
from speechrep.nn.masking import pad_mask
from speechrep.nn.trunk import Trunk


def stack(x: torch.Tensor, factor: int) -> torch.Tensor:
    """`factor` frames side by side: [B, N, D] -> [B, ceil(N / factor), factor * D], zeros (False) beyond the end."""
    x = F.pad(x, (0, 0, 0, -x.shape[1] % factor))
    return x.reshape(x.shape[0], -1, factor * x.shape[2])


def stacked_lengths(lengths: torch.Tensor, factor: int) -> torch.Tensor:
    """Frames after `stack` [B]."""
    return (lengths + factor - 1) // factor


def cells_inside(lengths: torch.Tensor, size: int, dim: int, factor: int) -> torch.Tensor:
    """True where a cell of stacked frames holds data: lengths [B] before stacking, of `size` frames and `dim` bands ->
    [B, ceil(size / factor), factor * dim]."""
    return stack((~pad_mask(lengths, size))[..., None].expand(-1, -1, dim), factor)


def widened(hidden: torch.Tensor, size: int) -> torch.Tensor:
    """hidden [B, N] up to `size` frames, nothing hidden behind N."""
    return F.pad(hidden, (0, size - hidden.shape[1]))


def replace_hidden(x: torch.Tensor, hidden: torch.Tensor, lengths: torch.Tensor, generators: list[torch.Generator],
                   zero: float = 0.8, copied: float = 0.1) -> torch.Tensor:
    """What stands in hidden frames, by one draw for each utterance: zeros with probability `zero`, frames of the same
    utterance a random distance away with probability `copied`, else the frames themselves (Mockingjay).

    x [B, N, D], hidden [B, N], lengths [B], generators: B of them -> [B, N, D].
    """
    draws = torch.stack([torch.rand(2, generator=generator) for generator in generators]).to(x.device)
    action = draws[:, 0, None, None]
    distance = 1 + (draws[:, 1] * (lengths - 1)).long()
    place = (torch.arange(x.shape[1], device=x.device) + distance[:, None]) % lengths[:, None]
    others = torch.gather(x, 1, place[..., None].expand(-1, -1, x.shape[2]))
    instead = torch.where(action < zero, 0.0, torch.where(action < zero + copied, others, x))
    return torch.where(hidden[..., None], instead, x)


def band_mask(dim: int, widest: float, generators: list[torch.Generator]) -> torch.Tensor:
    """A band of neighbouring channels for each utterance, of uniform width from none to `widest` of them (TERA):
    True within it [B, dim]."""
    draws = torch.stack([torch.rand(2, generator=generator) for generator in generators])
    width = (draws[:, :1] * (int(widest * dim) + 1)).long()
    first = (draws[:, 1:] * (dim - width + 1)).long()
    channel = torch.arange(dim)
    return (channel >= first) & (channel < first + width)


class SpectrumHead(nn.Module):
    """Frames of the network -> frames of the spectrogram: linear, GELU, layer norm, linear."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.dense, self.norm, self.out = nn.Linear(dim, dim), nn.LayerNorm(dim), nn.Linear(dim, out_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, out_dim]."""
        return self.out(self.norm(F.gelu(self.dense(x))))


class Reconstructor(nn.Module):
    """A transformer over stacked frames and a head that predicts them. local: the trunk of the methods that follow wav2vec 2.0
    in place of the papers', with time-delay blocks in its layers."""

    def __init__(self, in_dim: int, dim: int, layers: int, heads: int, dropout: float, local: bool = False):
        super().__init__()
        self.enter = nn.Linear(in_dim, dim)
        self.encoder = Trunk(layers, dim, heads, 4 * dim, dropout, 0.0, norm_first=True, kernel=32, local=True) if local \
            else Encoder("transformer", layers, dim, heads, dropout)
        self.head = SpectrumHead(dim, in_dim)

    def layers(self, x: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        """x [B, N, D], lengths [B] -> the input of the first block and every block's output, zero in padding."""
        pad = pad_mask(lengths, x.shape[1])
        x = self.enter(x).masked_fill(pad[..., None], 0)
        return [layer.masked_fill(pad[..., None], 0) for layer in self.encoder(x, pad)]

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """x [B, N, D], lengths [B] -> the reconstruction [B, N, D]."""
        return self.head(self.layers(x, lengths)[-1]).float()


def absolute_error(made: torch.Tensor, real: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Sum of |made - real| over chosen cells, each [B, N, D]."""
    return ((made.float() - real).abs() * cells).sum()


def how_it_goes(made: torch.Tensor, real: torch.Tensor, cells: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Metrics of a reconstruction of standardised features, each [B, N, D]. `error_of_mean`: the L1 error of
    predicting the mean of the training part; `prediction_std` and `target_std`: how much both vary."""
    return {"error_of_mean": (float((real.abs() * cells).sum()), float(cells.expand_as(real).sum())),
            "prediction_std": spread(made, cells), "target_std": spread(real, cells)}
