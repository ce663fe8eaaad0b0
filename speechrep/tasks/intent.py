"""Intent classification as in SUPERB: what is asked for, a class for each slot of the label (action|object|location).

An utterance counts as right if all its slots are. With the separator empty a label is one class, as of keywords or
categories (`--set model.separator= --set model.stream=keyword`).
"""

from dataclasses import dataclass

from speechrep.tasks import utterance_class


@dataclass(frozen=True)
class Config(utterance_class.Config):
    """As of any class of an utterance; the classes are what is asked for."""

    stream: str = "intent"
    """The stream of the data folder that holds the intents."""
    separator: str = "|"
    """What parts the slots of an intent; one slot where empty."""


class Task(utterance_class.UtteranceClassifier):
    """Frames -> intent."""

    Config = Config
