"""Speaker identification as in SUPERB: which of the training part's speakers says an utterance?

The choice is among the speakers of the utterance's own language, and accuracy is given for each language: where every
language has speakers of its own, a classifier of languages would otherwise pass for one of speakers. A speaker whom
training never heard is refused.
"""

from dataclasses import dataclass

import torch

from speechrep.methods.base import Batch
from speechrep.nn.crops import crop, draw_starts
from speechrep.tasks import utterance_class


@dataclass(frozen=True)
class Config(utterance_class.Config):
    """As of any class of an utterance; the classes are speakers."""

    stream: str = "utt2spk"
    """The stream of the data folder that holds the speakers."""
    within: str = "utt2lang"
    """The stream by whose value the choice is restricted; none where empty."""
    crop_sec: float = 0.0
    """Seconds of an utterance that training sees, drawn anew each time; 0 for all of it. (s3prl: 8, cut from the audio, so
    that its upstream hears no more; here from what the upstream makes of the whole.)"""

    def __post_init__(self):
        if self.crop_sec < 0:
            raise ValueError("crop_sec must be 0 or more")


class Task(utterance_class.UtteranceClassifier):
    """Frames -> speaker."""

    Config = Config
    closed = True
    tells_speakers = True
    superb = {"model.within=": "the choice is among all speakers, whatever language they speak",
              "model.crop_sec=8": "training sees what the upstream makes of 8 s of a longer utterance, drawn anew each time"}

    @classmethod
    def pools_of(cls, config: Config) -> bool:
        """What is cropped has a mean of its own each time."""
        return not config.crop_sec

    @property
    def crop_frames(self) -> int:
        return max(1, round(self.config.crop_sec * self.upstream.rate_hz / self.upstream.hop_samples))

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """As of any class of an utterance; in training the crops' first frames, `starts` [B]."""
        batch = super().prepare(batch, generator)
        if self.config.crop_sec and self.training and not self.upstream.utterance_level:
            batch["starts"] = draw_starts(self.heard_lengths(batch), self.crop_frames, batch["seeds"])
        return batch

    def features(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        x, lengths = super().features(batch)
        return crop(x, lengths, batch["starts"], self.crop_frames) if "starts" in batch else (x, lengths)
