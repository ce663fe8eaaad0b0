"""Language identification: which of the training part's languages is spoken? With SUPERB's head for utterances.

Where each language has speakers of its own, the voice gives the language away: test on other speakers than those of
training where the corpus has them.
"""

from dataclasses import dataclass

from speechrep.tasks import utterance_class


@dataclass(frozen=True)
class Config(utterance_class.Config):
    """As of any class of an utterance; the classes are languages."""

    stream: str = "utt2lang"
    """The stream of the data folder that holds the languages."""


class Task(utterance_class.UtteranceClassifier):
    """Frames -> language."""

    Config = Config
