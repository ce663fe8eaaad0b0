"""VQ-VAE for speech units (Chorowski et al., arXiv 1901.08810; van den Oord et al., arXiv 1711.00937).

An encoder turns the spectrogram into a vector each 20 ms, a codebook keeps the nearest of its codes, and a decoder that
is told the speaker turns the codes back into the spectrogram: what the speaker explains need not stand in the codes.

Losses:
  reconstruction   L1 distance of the decoded to the real log-mel, over cells: the negative log-likelihood of a Laplace
                   distribution (1711.00937, eq. 3, first term)
  commitment       squared distance of the encoder's vector to its code, over dimensions (eq. 3, third term)

Codes move by exponential moving average instead of eq. 3's second term (1711.00937, appendix A.1). In training a code
may be replaced by its left or right neighbour's (time jitter, 1901.08810). Codes out of use begin anew as vectors of
the batch.

Where this file differs from the paper: encoder and decoder are time-delay blocks, and the decoder predicts log-mel
instead of being a WaveNet on samples, which is what minutes on a processor are enough for. What the paper calls MFCC is
taken as the cosine transform of the standardised log-mel with its differences. `convert` has no speaker by name, only a
prompt: it takes the training speaker in whose voice the prompt is reconstructed best.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.cepstra import cosines, with_differences
from speechrep.nn.encoder import Encoder
from speechrep.nn.front import MelFront
from speechrep.nn.guards import few_codes, flat, frames_of
from speechrep.nn.masking import generators_of, pad_mask
from speechrep.nn.quantizers import EMAQuantizer, code_counts, perplexity
from speechrep.nn.reconstruction import absolute_error, how_it_goes
from speechrep.nn.standardise import Standardise


@dataclass(frozen=True)
class Config:
    """Sizes of the paper, but for the decoder."""

    hears: Literal["mfcc", "logmel"] = "mfcc"
    """What the encoder sees: 13 cepstra with two orders of differences (paper), or the log-mel."""
    dim: int = 768
    """Width of the encoder (paper)."""
    encoder_layers: int = 5
    """Time-delay blocks of the encoder behind the front (assumption)."""
    code_dim: int = 64
    """Dimension of a code (paper)."""
    codes: int = 512
    """Codes (paper)."""
    stride: int = 2
    """Feature frames per code: 1, 2 or 4 (paper: codes at 50 Hz from features at 100 Hz)."""
    decay: float = 0.99
    """Decay of the codes' moving average (1711.00937, appendix A.1)."""
    patience: int = 20
    """Optimiser steps without a frame after which a code begins anew (assumption)."""
    jitter: float = 0.12
    """Probability that a code is replaced by a neighbour's in training (paper)."""
    speaker_dim: int = 64
    """Dimension of the speaker's vector (assumption)."""
    decoder_dim: int = 512
    """Width of the decoder (assumption)."""
    decoder_layers: int = 6
    """Time-delay blocks of the decoder (assumption)."""
    dropout: float = 0.0
    """Dropout of all blocks."""
    least_perplexity: float = 4.0
    """Perplexity of the codebook below which a run has collapsed (assumption)."""
    guard_from: int = 300
    """Optimiser step from which the guards against collapse stop a run (assumption)."""

    def __post_init__(self):
        if self.stride not in (1, 2, 4):
            raise ValueError(f"stride {self.stride}, wanted 1, 2 or 4")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter {self.jitter}, wanted within 0 and 1")


class Method(BaseMethod):
    """Encoder, codebook, and a decoder that knows the speaker."""

    Config = Config
    needs = ("feats", "speaker")
    losses = {"main": ("reconstruction", "commitment")}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c, mels = config, len(inventory.mean)
        self.standardise = Standardise(inventory.mean, inventory.std)
        self.register_buffer("cosines", cosines(mels, 13), persistent=False)
        heard = 3 * self.cosines.shape[1] if c.hears == "mfcc" else mels
        self.front = MelFront(heard, c.dim, c.stride)
        self.encoder = Encoder("tdnn", c.encoder_layers, c.dim, 1, c.dropout, dilations=(1,))
        self.to_code = nn.Linear(c.dim, c.code_dim)
        self.quantizer = EMAQuantizer(c.codes, c.code_dim, c.decay, patience=c.patience)
        self.speakers = nn.Embedding(len(inventory.speakers), c.speaker_dim)
        self.from_code = nn.Linear(c.code_dim + c.speaker_dim, c.decoder_dim)
        self.decoder = Encoder("tdnn", c.decoder_layers, c.decoder_dim, 1, c.dropout)
        self.out = nn.Linear(c.decoder_dim, mels * c.stride)

    # Training

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw which code each frame hears (`source` [B, N'], in training a neighbour's now and then) and which frames
        take dead codes' places (`priority` [B, N'])."""
        lengths = self.frame_lengths(batch["feats_lengths"]).tolist()
        size = int(self.frame_lengths(torch.tensor(batch["feats"].shape[1])))
        source, priority = torch.arange(size).repeat(len(lengths), 1), torch.zeros(len(lengths), size)
        for row, (length, draw) in enumerate(zip(lengths, generators_of(batch["seeds"]))):
            priority[row, :length] = torch.rand(length, generator=draw)
            if self.training:
                moved = torch.rand(length, generator=draw)
                step = (moved < self.config.jitter).long() * (1 - 2 * (moved < self.config.jitter / 2).long())
                source[row, :length] = (source[row, :length] + step).clamp(0, length - 1)
        device = batch["feats"].device
        return batch | {"source": source.to(device), "priority": priority.to(device)}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        frames = self.frame_lengths(batch["feats_lengths"]).sum()
        return {"reconstruction": float(batch["feats_lengths"].sum()) * batch["feats"].shape[2],
                "commitment": float(frames) * self.config.code_dim}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """feats [B, N, D], speaker [B], source and priority [B, N'] -> sums of both losses."""
        made, _, commitment = self._autoencode(batch)
        real = self.standardise(batch["feats"], batch["feats_lengths"])
        cells = frames_of(batch["feats_lengths"], real.shape[1])
        return {"reconstruction": absolute_error(made, real, cells), "commitment": commitment}

    def _autoencode(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The decoded log-mel [B, N, D], standardised; the codes [B, N']; the commitment error."""
        layers, lengths = self.encode(batch["feats"], batch["feats_lengths"])
        x = layers[-1]
        codes, ids, commitment = self.quantizer(x, pad_mask(lengths, x.shape[1]), batch["priority"])
        codes = torch.gather(codes, 1, batch["source"][..., None].expand_as(codes))
        return self.decode(codes, lengths, batch["speaker"])[:, :batch["feats"].shape[1]], ids, commitment

    def after_step(self, step: int) -> None:
        """Move the codes."""
        self.quantizer.update()

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """The loss of predicting the mean, how much predictions and targets vary, the codebook's perplexity, and how
        many codes occur."""
        made, ids, _ = self._autoencode(batch)
        real = self.standardise(batch["feats"], batch["feats_lengths"])
        cells = frames_of(batch["feats_lengths"], real.shape[1])
        pad = pad_mask(self.frame_lengths(batch["feats_lengths"]), ids.shape[1])
        counts = code_counts(ids[..., None], self.config.codes, pad)[0]
        total = float(counts.sum())
        return how_it_goes(made, real, cells) | {"perplexity": (float(perplexity(counts)) * total, total),
                                                 "used_codes": (float((counts > 0).sum()) * total, total)}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Few codes, or predictions that hardly vary."""
        if step < self.config.guard_from:
            return None
        return few_codes(values, self.config.least_perplexity) or flat(values)

    # What comes out of it

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return (lengths + self.config.stride - 1) // self.config.stride

    def encode(self, feats: torch.Tensor, lengths: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """feats [B, N, D] -> the input and output of every block [B, N', D'] and, last, the vectors before the
        codebook, all zero in padding; lengths [B]."""
        x = self.standardise(feats, lengths)
        if self.config.hears == "mfcc":
            x = with_differences(x @ self.cosines, lengths)
        x, lengths = self.front(x, lengths)
        pad = pad_mask(lengths, x.shape[1])
        layers = self.encoder(x, pad)
        return [layer.masked_fill(pad[..., None], 0) for layer in (*layers, self.to_code(layers[-1]))], lengths

    def decode(self, codes: torch.Tensor, lengths: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        """codes' vectors [B, N', C], lengths [B], speaker [B] -> standardised log-mel [B, N' * stride, D]."""
        pad = pad_mask(lengths, codes.shape[1])
        voice = self.speakers(speaker)[:, None].expand(-1, codes.shape[1], -1)
        x = self.from_code(torch.cat([codes, voice], -1)).masked_fill(pad[..., None], 0)
        return self.out(self.decoder(x, pad)[-1]).reshape(len(codes), -1, len(self.inventory.mean)).float()

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The blocks' outputs, the vectors before the codebook, and the codes' vectors."""
        layers, lengths = self.encode(batch["feats"], batch["feats_lengths"])
        codes = self.quantizer.lookup(self.quantizer.nearest(layers[-1]))
        return [*layers, codes.masked_fill(pad_mask(lengths, codes.shape[1])[..., None], 0)], lengths

    def convert(self, feats: torch.Tensor, lengths: torch.Tensor, prompt: torch.Tensor,
                prompt_lengths: torch.Tensor) -> torch.Tensor:
        """Voice conversion: what is said in feats [B, N, D] in the voice of prompt [B, M, D] -> mel [B, N, D]."""
        layers, frames = self.encode(feats, lengths)
        codes = self.quantizer.lookup(self.quantizer.nearest(layers[-1]))
        made = self.decode(codes, frames, self.speaker_of(prompt, prompt_lengths))
        return self.standardise.inverse(made[:, :feats.shape[1]])

    def speaker_of(self, prompt: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The training speaker in whose voice each prompt [B, M, D] is reconstructed with the least error [B]."""
        layers, frames = self.encode(prompt, lengths)
        codes = self.quantizer.lookup(self.quantizer.nearest(layers[-1]))
        real, cells = self.standardise(prompt, lengths), frames_of(lengths, prompt.shape[1])
        errors = []
        for speaker in range(len(self.inventory.speakers)):
            made = self.decode(codes, frames, torch.full_like(lengths, speaker))[:, :prompt.shape[1]]
            errors.append(((made - real).abs() * cells).sum((1, 2)))
        return torch.stack(errors, 1).argmin(1)
