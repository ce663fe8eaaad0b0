"""WavLM: HuBERT's task on utterances that others talk into (Chen et al., arXiv 2110.13900).

The model of HuBERT with two additions. In training some utterances are overlaid with a piece of another one, and the
units to guess stay those of the first speaker, so that it learns who is speaking as well as what. And attention has a
relative position bias, which each query weighs by a gate of its own.

Losses, as HuBERT's (2.2 there):
  masked     cross-entropy over hidden frames of cosine over temperature between a projected frame and a learned vector
             for each unit
  visible    the same over visible frames (HuBERT's eq. 3), left out unless `visible` is set
  penalty    squared activations of the front end, over frames and channels

Where this file goes its own way. The paper also overlays noise of a recorded collection, half as often as speech; here
only utterances of the micro-batch of a process disturb one another. With `front: mel` the powers of the log-mel
features are added. What is evaluated is never overlaid. The gate looks at the layer's input, as in the released code,
not at the query vector.
"""

from dataclasses import dataclass

import torch

from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.masking import generators_of
from speechrep.nn.mixing import draw_overlays, mix_audio, mix_log_mel
from speechrep.nn.packing import Rows
from speechrep.nn.speech_encoder import EncoderSizes, SpeechEncoder
from speechrep.nn.unit_labels import CosineHead, frame_labels, guesses, guesses_collapsed, unit_losses, unit_metrics

EXPONENTS = {"logmel": 2.0, "fbank": 1.0}
"""What powers of the features' exponentials are energies: logmel is of magnitudes, fbank of powers."""


@dataclass(frozen=True)
class Config(EncoderSizes):
    """Sizes and choices of WavLM, the base size by default."""

    units: str = "mfcc"
    """The units to guess: the file units.NAME of the data folders."""
    codes: int = 500
    """How many units there are (4.1: those of HuBERT's second iteration)."""
    unit_rate_hz: float = 50.0
    """Units a second: 100 where they are clusters of MFCC frames of 10 ms."""
    mask_share: float = 0.8
    """Frames that would be hidden if spans never overlapped, as a share of all (released configuration)."""
    joint_dim: int = 256
    """Dimension of the space of frames and units (HuBERT)."""
    temperature: float = 0.1
    """What cosines are divided by (HuBERT)."""
    mix_share: float = 0.2
    """Probability that an utterance is overlaid (4.1)."""
    mix_ratio_db: tuple[float, float] = (-5.0, 5.0)
    """Lowest and highest energy of the utterance over what is laid over it, in dB (algorithm 1)."""
    buckets: int = 320
    """Buckets of distances, half of them for each direction (3.1)."""
    farthest: int = 800
    """Distance in frames from which on all fall into one bucket (3.1)."""
    visible: bool = False
    """Whether the units of visible frames are guessed, too (HuBERT's eq. 3 with alpha below 1)."""
    guard_steps: int = 5000
    """Steps behind which guesses that are all one unit stop the run (assumption: data2vec's number)."""


class Method(BaseMethod):
    """Masked encoder with a gated position bias, and unit head."""

    Config = Config
    needs = ("audio", "feats", "units:mfcc")
    losses = {"main": ("masked", "visible", "penalty")}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        if c.front == "mel" and c.mix_share and inventory.features["kind"] not in EXPONENTS:
            raise SpeechrepError(f"features of kind {inventory.features['kind']}", f"one of {', '.join(EXPONENTS)}",
                                 "set model.mix_share to 0, or dump log-mel features")
        self.encoder = SpeechEncoder(c, inventory.mean, inventory.std, "gated", c.buckets, c.farthest)
        self.head = CosineHead(c.dim, c.codes, c.joint_dim, c.temperature)

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return config.need, f"units:{config.units}"

    @classmethod
    def losses_of(cls, config: Config) -> dict[str, tuple[str, ...]]:
        return cls.losses if config.visible else {"main": ("masked", "penalty")}

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the hidden spans, look up the units of all frames and, in training, overlay utterances."""
        c, features = self.config, self.inventory.features
        labels = frame_labels(self.encoder, batch, c.unit_rate_hz, c.codes, features["hop_samples"],
                              features["rate_hz"])
        prepared = batch | {"hidden": self.encoder.draw_hidden(batch), "labels": labels}
        if self.training and c.mix_share:
            lengths = batch[f"{c.stream}_lengths"]
            # Other seeds than the spans', so that the draws have nothing to do with one another.
            overlays = draw_overlays(lengths, c.mix_share, c.mix_ratio_db, generators_of(batch["seeds"] + 1))
            prepared[c.stream] = mix_audio(batch["audio"], lengths, overlays) if c.stream == "audio" else \
                mix_log_mel(batch["feats"], lengths, overlays, EXPONENTS[features["kind"]])
        return prepared

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        frames, hidden = int(self.encoder.lengths_of(batch).sum()), int(batch["hidden"].sum())
        counts = {"masked": hidden, "visible": frames - hidden, "penalty": frames * self.config.front_dim}
        return {name: counts[name] for name in self.losses["main"]}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """audio [B, T] or feats [B, N, D], hidden and labels [B, N'] -> sums of the losses."""
        last, rows, frames = self.encode(batch)
        return unit_losses(self.head, last, rows, batch, self.losses["main"][:-1]) | {
            "penalty": frames.float().square().sum()}

    def encode(self, batch: Batch) -> tuple[torch.Tensor, Rows, torch.Tensor]:
        """The last layer of a prepared batch with its spans hidden [M, D], its rows, and the front end's frames."""
        frames, rows = self.encoder.hear(batch)
        x = self.encoder.hide(self.encoder.enter(frames)[1], rows.pack(batch["hidden"]))
        return self.encoder.trunk.rows(x, rows)[0][-1], rows, frames

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Accuracy over hidden frames, that of the most frequent unit, perplexity of the units guessed."""
        last, rows, _ = self.encode(batch)
        return unit_metrics(*guesses(self.head, last, rows, batch["labels"], batch["hidden"]))

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        return guesses_collapsed(values) if step >= self.config.guard_steps else None

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        return self.encoder.layers(batch)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.encoder.frame_lengths(lengths)
