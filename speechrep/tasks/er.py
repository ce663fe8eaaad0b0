"""Emotion recognition as in SUPERB: how something is said, a class an utterance, leaving one session out.

The sessions of `utt2session`, sorted, are the folds: fold k is tested on session k; weights are chosen on the session behind
it (behind the last comes the first), whose speakers are in neither of the other parts, and training has the rest. All parts
lie in one data folder, given as --train, --dev and --data, so that its features are computed once.
`speechrep score predictions` joins the folds and takes the mean of their accuracies.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechrep.data.folder import DataFolder, read_table, table_text
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch
from speechrep.metrics.accuracy import hits
from speechrep.metrics.bootstrap import LEVEL, draws, mean_interval
from speechrep.metrics.score import metric
from speechrep.tasks import utterance_class
from speechrep.tasks.base import Lines, Scored


@dataclass(frozen=True)
class Config(utterance_class.Config):
    """As of any class of an utterance; the classes are emotions."""

    stream: str = "emotion"
    """The stream of the data folder that holds the emotions."""
    fold: int = 1
    """Which session is left out for the test, from 1."""
    reference_dev: bool = False
    """Take as dev a fifth of all utterances that are not of the test, drawn at seed 0, as s3prl does (not the same
    ones: torch draws there, numpy here): training then knows dev's speakers."""

    def __post_init__(self):
        if self.fold < 1:
            raise ValueError("fold counts from 1")


def least_sessions(config: Config) -> int:
    """How many there must be: one for the test, one for training, and one for dev where that is not drawn."""
    return 2 if config.reference_dev else 3


class Task(utterance_class.UtteranceClassifier):
    """Frames -> emotion."""

    Config = Config
    parts = (("emotion", "emotion", "emotion"),)
    files = {"train": ("utt2session",)}
    main_metrics = ("accuracy",)
    superb = {"model.reference_dev=true": "a fifth of what is not tested, drawn at seed 0, is dev: training knows its speakers"}

    @classmethod
    def obstacle(cls, config: Config, folders: dict[str, DataFolder]) -> str:
        """As of any class of an utterance, and fewer sessions than three, or with `reference_dev` two."""
        sessions, least = len(set(folders["train"].read("utt2session").values())), least_sessions(config)
        return super().obstacle(config, folders) or (
            f"{sessions} sessions in {folders['train'].path}/utt2session, wanted {least} or more" if sessions < least else "")

    @classmethod
    def folds(cls, config: Config, folders: dict[str, DataFolder]) -> tuple[str, ...]:
        """A training for each session."""
        sessions = set(folders["train"].read("utt2session").values())
        return tuple(f"model.fold={number + 1}" for number in range(len(sessions)))

    @classmethod
    def chosen_utts(cls, config: Config, folder: DataFolder, part: str) -> frozenset[str] | None:
        """The utterances of train, dev or test in the fold. Raises `SpeechrepError` for fewer than three sessions (two with
        `reference_dev`) or a fold that there is not."""
        sessions = folder.read("utt2session")
        names = sorted(set(sessions.values()))
        least = least_sessions(config)
        if len(names) < least or config.fold > len(names):
            raise SpeechrepError(f"{folder.path}/utt2session: {len(names)} sessions, fold {config.fold}",
                                 f"{least} sessions or more, and a fold from 1 to their number", "set model.fold")
        test = frozenset(utt for utt, name in sessions.items() if name == names[config.fold - 1])
        if part == "test":
            return test
        rest = sorted(set(sessions) - test)
        if config.reference_dev:
            dev = frozenset(rest[i] for i in np.random.default_rng(0).permutation(len(rest))[:max(1, len(rest) // 5)])
        else:
            dev = frozenset(utt for utt in rest if sessions[utt] == names[config.fold % len(names)])
        return dev if part == "dev" else frozenset(rest) - dev

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, list[str]]:
        """`hyp` and `ref`, and the number of the `fold`."""
        return super().predict(batch) | {"fold": [str(self.config.fold)] * len(batch["utts"])}

    def files_beside(self, folder: DataFolder, lines: Lines, cohort: tuple[DataFolder, Lines] | None) -> dict[str, str]:
        """`utt2session` of all that have an emotion, by which it shows whether folds are missing."""
        labelled = folder.labels(self.config.stream)
        sessions = {utt: name for utt, name in folder.read("utt2session").items() if utt in labelled}
        return super().files_beside(folder, lines, cohort) | {"utt2session": table_text(sessions)}

    @staticmethod
    def score(folder: Path) -> Scored:
        """The mean over folds of their accuracies, its interval with utterances drawn within each; and each fold's own."""
        references, folds = read_table(folder / "ref"), read_table(folder / "fold")
        right = hits(references, read_table(folder / "hyp"))
        if set(folds) != set(right):
            odd = sorted(set(folds) ^ set(right))
            raise SpeechrepError(f"{folder}/fold: {len(odd)} utterances that it or ref lacks, such as '{odd[0]}'",
                                 "a line for each utterance", "decode again")
        own = {fold: np.array([right[utt] for utt in sorted(right) if folds[utt] == fold], dtype=float)
               for fold in sorted(set(folds.values()), key=int)}
        drawn = np.mean([values[draws(len(values), seed=int(fold))].mean(1) for fold, values in own.items()], 0)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        mean = float(np.mean([values.mean() for values in own.values()]))
        metrics = {"accuracy": metric(100 * mean, 100 * low, 100 * high, n=len(right), unit="%", better="higher")}
        for fold, values in own.items():
            metrics[f"accuracy_fold{fold}"] = metric(*(100 * v for v in mean_interval(values)), n=len(values), unit="%",
                                                     better="higher")
        missing = set(read_table(folder / "utt2session")) - set(right)
        return Scored(metrics, {utt: {"ref": references[utt], "fold": folds[utt], "correct": int(right[utt])}
                                for utt in sorted(right)},
                      [f"folds {', '.join(own)} only: {len(missing)} utterances are tested in none"] if missing else
                      [f"accuracy: the mean over {len(own)} folds"])
