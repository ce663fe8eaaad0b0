"""Keyword spotting as in SUPERB: which of the keywords is said, or none of them; a class an utterance.

Training and dev take utterances as they are, each as often as any other. (s3prl draws both with replacement so that
classes come equally often, which `balanced` does too; its choice on dev then depends on the draw.)
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from speechrep.data.dataset import SpeechDataset
from speechrep.tasks import utterance_class


@dataclass(frozen=True)
class Config(utterance_class.Config):
    """As of any class of an utterance; the classes are keywords."""

    stream: str = "keyword"
    """The stream of the data folder that holds the keywords."""
    balanced: bool = False
    """Draw as many utterances as a part has, with replacement, each class as likely as any other: of training anew in each
    epoch, of dev for each evaluation, as s3prl does."""


class Task(utterance_class.UtteranceClassifier):
    """Frames -> keyword."""

    Config = Config
    parts = (("keyword_train", "keyword_dev", "keyword_test"), ("train", "dev", "test"))
    main_metrics = ("accuracy",)
    superb = {"model.balanced=true": "utterances of training and dev are drawn with replacement, every class equally often"}

    def draw_weights(self, part: SpeechDataset) -> np.ndarray | None:
        """Where draws are balanced, one over how many utterances are of the same keyword."""
        if not self.config.balanced:
            return None
        keywords = [" ".join(part.labels[self.config.stream][utt].split()) for utt in part.utts]
        counts = Counter(keywords)
        return np.array([1 / counts[keyword] for keyword in keywords])
