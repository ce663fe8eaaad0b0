"""Vocos: a vocoder that predicts Fourier spectra at the rate of the features, and inverts them.

Siuzdak, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders for high-quality audio
synthesis", arXiv 2306.00814. A ConvNeXt backbone reads the log-mel frames, a head gives log-magnitude and phase of a
frame each, the inverse transform gives the waveform: no upsampling, so a frame costs what its backbone costs.

Two phases. `generator`:
    mel               L1 distance of log-mel spectra (3.4, weight 45)
    spectral          multi-resolution spectral loss (arXiv 1910.11480); not in the paper, see below
    fool_*, match_*   hinge loss and feature matching against each kind of discriminator (3.4, weights 1 and 0.1)
`discriminator`:
    judge_*           hinge loss of the multi-period and of the multi-resolution discriminators (weights 1 and 0.1)
Each loss is a mean within a crop, summed over crops; the count is the number of crops.

Where this differs from the paper: the features are those of the dump (mel of HiFi-GAN's convention, window aligned
with the hop instead of centred, so N frames give N * hop samples), normalised by the mean and deviation of the training
part. `adversarial: false` leaves the discriminators out, which is what minutes on a processor are enough for; the
spectral loss stands in for them. `guess: true` adds the head's log-magnitudes to those that the mel bands imply.
Short utterances are padded and the padding is left out of every convolution, transform and loss.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from speechrep.config import build
from speechrep.data.features import FeatureConfig, slaney_mel
from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods import base
from speechrep.nn.discriminators import Judges, PeriodJudge, ResolutionJudge, fool_loss, judge_loss, match_loss
from speechrep.nn.fourier_vocoder import FourierVocoder, spread_bands
from speechrep.nn.masking import generators_of
from speechrep.nn.mel_loss import MelLoss, SpectralLoss


@dataclass(frozen=True)
class Config:
    """Sizes of the paper; a frame is one frame of the dump."""

    dim: int = 512
    """Channels of the backbone (paper, 3.2)."""
    hidden_dim: int = 1536
    """Channels within a ConvNeXt block (paper, 3.2)."""
    layers: int = 8
    """ConvNeXt blocks (paper, 3.2)."""
    kernel: int = 7
    """Frames that the depthwise convolution of a block sees; odd."""
    head_fft: int | None = None
    """Points of the transform that the head inverts, at least two hops; by default those of the features. A short one
    has fewer phases to learn: at 8 kHz 256 instead of 512 is worth 0.4 of PESQ in the first minutes."""
    crop_frames: int = 64
    """Frames of the random crop of each utterance in training (released code: 16384 samples at 24 kHz, hop 256)."""
    guess: bool = False
    """Whether the log-magnitudes that the mel bands imply are added to those of the head; converges sooner."""
    spectral_ffts: tuple[int, ...] = ()
    """Windows of the multi-resolution spectral loss in samples; none leaves the loss out."""
    adversarial: bool = True
    """Whether discriminators are trained."""
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    """Periods of the multi-period discriminator in samples (HiFi-GAN, 2.3)."""
    period_channels: int = 32
    """Channels of its first layer; the last one has 32 times as many (HiFi-GAN: 32)."""
    resolutions: tuple[int, ...] = (2048, 1024, 512)
    """Windows of the multi-resolution discriminator in samples (released code)."""
    resolution_channels: int = 32
    """Its channels (released code: 32)."""

    def __post_init__(self):
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} must be odd")
        if min(self.dim, self.hidden_dim, self.layers, self.crop_frames) < 1:
            raise ValueError("dim, hidden_dim, layers and crop_frames must be at least 1")
        if self.adversarial and not (self.periods and self.resolutions):
            raise ValueError("adversarial needs periods and resolutions; set adversarial: false to train without")
        if self.adversarial and min(self.resolutions) < 256:
            raise ValueError(f"resolutions {self.resolutions}, wanted windows of 256 samples or more: the judge's narrowest "
                             "band is a tenth of the bins, and is halved twice")


class Method(base.Method):
    """The vocoder. `synthesize` turns features into samples."""

    Config = Config
    needs = ("feats", "audio")
    losses = {"generator": ("mel", "spectral", "fool_period", "fool_resolution", "match_period", "match_resolution"),
              "discriminator": ("judge_period", "judge_resolution")}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        self.features = build(FeatureConfig, inventory.features, "features of the inventory")
        if self.features.kind != "logmel":
            raise SpeechrepError(f"features of kind {self.features.kind}", "logmel",
                                 "dump log-mel features for the vocoder")
        features = self.features
        if config.head_fft is not None and config.head_fft < 2 * features.hop_samples:
            raise SpeechrepError(f"head_fft {config.head_fft}", f"at least two hops, {2 * features.hop_samples}")
        head_fft = config.head_fft or features.n_fft
        self.generator = FourierVocoder(
            features.dim, config.dim, config.hidden_dim, config.layers, head_fft, features.hop_samples, config.kernel,
            torch.tensor(inventory.mean or [0.0] * features.dim),
            torch.tensor(inventory.std or [1.0] * features.dim).clamp_min(1e-3),
            spread_bands(_bands(features, head_fft)) if config.guess else None)
        self.mel_loss = MelLoss(_bands(features, features.n_fft), features.hop_samples, features.floor)
        self.spectral_loss = SpectralLoss(config.spectral_ffts)
        self.judges = nn.ModuleDict()
        if config.adversarial:
            self.judges["period"] = Judges(PeriodJudge(period, config.period_channels) for period in config.periods)
            self.judges["resolution"] = Judges(
                ResolutionJudge(n_fft, config.resolution_channels) for n_fft in config.resolutions)

    @classmethod
    def losses_of(cls, config: Config) -> dict[str, tuple[str, ...]]:
        """Without discriminators there is one phase; without windows no spectral loss."""
        left_out = (set() if config.spectral_ffts else {"spectral"}) | (
            set() if config.adversarial else {name for name in cls.losses["generator"] if "_" in name})
        kept = {phase: tuple(name for name in names if name not in left_out) for phase, names in cls.losses.items()}
        return kept if config.adversarial else {"generator": kept["generator"]}

    def synthesize(self, feats: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Samples [B, N * hop] from raw log-mel features [B, N, D] with lengths [B]; zero beyond an utterance's end."""
        return self.generator(feats, lengths)

    def prepare(self, batch: base.Batch, generator: torch.Generator) -> base.Batch:
        """Crop `crop_frames` at random out of each utterance, features and samples alike; shorter ones stay whole."""
        hop, crop = self.features.hop_samples, self.config.crop_frames
        lengths = batch["feats_lengths"]
        kept = lengths.clamp(max=crop)
        longest = int(kept.max())
        feats = batch["feats"].new_zeros(len(lengths), longest, batch["feats"].shape[2])
        audio = batch["audio"].new_zeros(len(lengths), longest * hop)
        for i, (draw, length) in enumerate(zip(generators_of(batch["seeds"]), lengths.tolist())):
            n = min(length, crop)
            start = int(torch.randint(length - n + 1, (), generator=draw))
            feats[i, :n] = batch["feats"][i, start:start + n]
            audio[i, :n * hop] = batch["audio"][i, start * hop:(start + n) * hop]
        return {**batch, "feats": feats, "feats_lengths": kept, "audio": audio, "audio_lengths": kept * hop}

    def counts(self, batch: base.Batch, phase: str = "generator") -> dict[str, float]:
        """Crops."""
        return {name: float(len(batch["feats_lengths"])) for name in self.losses[phase]}

    def forward(self, batch: base.Batch, phase: str = "generator") -> dict[str, torch.Tensor]:
        """feats [B, N, D], audio [B, N * hop] -> the losses of the phase, summed over utterances."""
        real, lengths = batch["audio"], batch["audio_lengths"]
        if phase == "discriminator":
            with torch.no_grad():
                made = self.synthesize(batch["feats"], batch["feats_lengths"])
            return {f"judge_{name}": judge_loss(judges(real, lengths), judges(made, lengths)).sum()
                    for name, judges in self.judges.items()}
        made = self.synthesize(batch["feats"], batch["feats_lengths"])
        with torch.autocast(real.device.type, enabled=False):
            losses = {"mel": self.mel_loss(made, real, lengths).sum()}
            if self.config.spectral_ffts:
                losses["spectral"] = self.spectral_loss(made, real, lengths).sum()
        with _still(self.judges):
            for name, judges in self.judges.items():
                with torch.no_grad():
                    of_real = judges(real, lengths)
                of_made = judges(made, lengths)
                losses[f"fool_{name}"] = fool_loss(of_made).sum()
                losses[f"match_{name}"] = match_loss(of_real, of_made).sum()
        return losses

    def phase_parameters(self, phase: str) -> list[nn.Parameter]:
        """generator: the vocoder itself; discriminator: the judges."""
        modules = (self.judges,) if phase == "discriminator" else (self.generator,)
        return [parameter for module in modules for parameter in module.parameters()]


def _bands(features: FeatureConfig, n_fft: int) -> torch.Tensor:
    return torch.from_numpy(slaney_mel(n_fft, features.n_mels, features.rate_hz, features.low_hz,
                                       features.high_hz)).float()


@contextlib.contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Within, the parameters of `module` take no gradient: a third of the generator's step is saved."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in module.parameters():
            parameter.requires_grad_(True)
