"""Keyword spotting as in SUPERB: which of the keywords is said, or none of them; a class an utterance.

Training and dev take utterances as they are, each as often as any other. (s3prl draws both with replacement so that
classes come equally often; its choice on dev then depends on the draw.)
"""

from dataclasses import dataclass

from speechrep.tasks import utterance_class


@dataclass(frozen=True)
class Config(utterance_class.Config):
    """As of any class of an utterance; the classes are keywords."""

    stream: str = "keyword"
    """The stream of the data folder that holds the keywords."""


class Task(utterance_class.UtteranceClassifier):
    """Frames -> keyword."""

    Config = Config
    parts = (("keyword_train", "keyword_dev", "keyword_test"), ("train", "dev", "test"))
    main_metrics = ("accuracy",)
