"""Speaker identification as in SUPERB: which of the training part's speakers says an utterance?

The choice is among the speakers of the utterance's own language, and accuracy is given for each language: where every
language has speakers of its own, a classifier of languages would otherwise pass for one of speakers. A speaker whom
training never heard is refused.
"""

from dataclasses import dataclass

from speechrep.tasks import utterance_class


@dataclass(frozen=True)
class Config(utterance_class.Config):
    """As of any class of an utterance; the classes are speakers."""

    stream: str = "utt2spk"
    """The stream of the data folder that holds the speakers."""
    within: str = "utt2lang"
    """The stream by whose value the choice is restricted; none where empty."""


class Task(utterance_class.UtteranceClassifier):
    """Frames -> speaker."""

    Config = Config
    closed = True
    superb = {"model.within=": "the choice is among all speakers, whatever language they speak"}
