"""The network of Vocos: log-mel frames -> ConvNeXt backbone -> spectra -> samples."""

import torch
from torch import nn

from speechrep.nn.convnext import ConvNeXtBackbone
from speechrep.nn.istft_head import ISTFTHead


class FourierVocoder(nn.Module):
    """Log-mel features [B, N, D] -> samples [B, T] (arXiv 2306.00814).

    `mean` and `std` [D] normalise the features; `spread` [D, n_fft / 2 + 1], where given, turns mel magnitudes into
    first guesses of the bins' magnitudes, to whose logarithm the head's are added. `centred` as in `ISTFTHead`.
    State: `backbone.*` and `head.*`, named as in the released models.
    """

    def __init__(self, n_mels: int, dim: int, hidden_dim: int, layers: int, n_fft: int, hop_samples: int,
                 kernel: int = 7, mean: torch.Tensor | None = None, std: torch.Tensor | None = None,
                 spread: torch.Tensor | None = None, centred: bool = False):
        super().__init__()
        self.backbone = ConvNeXtBackbone(n_mels, dim, hidden_dim, layers, kernel)
        self.head = ISTFTHead(dim, n_fft, hop_samples, centred)
        self.register_buffer("mean", torch.zeros(n_mels) if mean is None else mean, persistent=False)
        self.register_buffer("std", torch.ones(n_mels) if std is None else std, persistent=False)
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, feats: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Raw features [B, N, D] with lengths [B] (None: no padding) -> samples, zero beyond an utterance's end:
        T = N * hop, or (N - 1) * hop if `centred`."""
        frames = None
        if lengths is not None:
            frames = (torch.arange(feats.shape[1], device=feats.device) < lengths[:, None])[:, None].to(feats.dtype)
        x = self.backbone((feats - self.mean) / self.std, frames)
        # Phases of many turns and spectra of 80 dB need single precision, whatever the loop's autocast says.
        with torch.autocast(feats.device.type, enabled=False):
            guess = None if self.spread is None else torch.log(feats.exp() @ self.spread + 1e-6)
            return self.head(x.float(), frames, guess)


def spread_bands(bands: torch.Tensor) -> torch.Tensor:
    """[n_fft / 2 + 1, D] mel bands -> [D, n_fft / 2 + 1], with which mel magnitudes are spread out over the bins so
    that a flat spectrum comes back flat; bins without a band get zero."""
    return bands.T / (bands @ bands.sum(0) + 1e-9)
