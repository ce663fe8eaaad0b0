"""Slot filling as in SUPERB: characters and slot tokens by connectionist temporal classification.

The stream `slots` holds the words of an utterance with `B-x` and `E-x` around the value of a slot x. Each of these is
one symbol; the words are spelt in characters, a space between words and between a word and the token of another one's
slot, none between a value and its own tokens (as in s3prl, whose end symbol `end_symbol` adds).

Loss:
  ctc   negative log-likelihood of the target, summed over utterances; counted in target symbols
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import read_table
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch
from speechrep.metrics.bootstrap import mean_interval
from speechrep.metrics.score import metric
from speechrep.metrics.slots import closes, opens, slot_scores, slots_of, type_f1
from speechrep.metrics.wer import corpus_edits
from speechrep.tasks import ctc
from speechrep.tasks.base import Scored
from speechrep.tasks.ctc import best_path
from speechrep.tasks.spelling import rate


@dataclass(frozen=True)
class Config(ctc.Config):
    """The head and what it spells."""

    stream: str = "slots"
    """The stream of the data folder that holds the words with slot tokens."""
    best_by: Literal["symbols", "slots"] = "symbols"
    """By what on dev, on the best path, the best weights are chosen: errors of characters and slot tokens; F1 of slot
    types (SUPERB)."""


class Task(ctc.CTCTask):
    """Frames -> characters and slot tokens."""

    Config = Config
    main_metrics = ("slot_type_f1", "slot_value_cer")

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (f"label:{config.stream}",)

    @classmethod
    def selects_of(cls, config: Config) -> str:
        return "slot_type_error" if config.best_by == "slots" else cls.selects

    @staticmethod
    def labels_of(config: Config, train: SpeechDataset) -> tuple[str, ...]:
        """The characters and slot tokens of the training part, sorted. Raises `SpeechrepError` where there is no
        token."""
        found = {symbol for utt in train.utts for symbol in symbols_of(train.labels[config.stream][utt])}
        if not any(opens(symbol) for symbol in found):
            raise SpeechrepError(f"{train.folder.path}/{config.stream}: no slot in it",
                                 "words with B-x and E-x around values")
        return tuple(sorted(found))

    def target_rows(self, batch: Batch) -> list[torch.Tensor]:
        return [torch.tensor([self.ids[symbol] for symbol in symbols_of(line) if symbol in self.ids], dtype=torch.long)
                for line in batch["labels"][self.config.stream]]

    def path_metrics(self, batch: Batch, paths: list[list[str]]) -> dict[str, tuple[float, float]]:
        """`slot_type_error`, 1 - the mean F1 of slot types, where it is chosen by."""
        if self.config.best_by == "symbols":
            return {}
        missed = [1 - type_f1(slots_of(line), slots_of(line_of(path)))
                  for line, path in zip(batch["labels"][self.config.stream], paths)]
        return {"slot_type_error": (sum(missed), float(len(missed)))}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, list[str]]:
        """`hyp` and `ref`: words with slot tokens."""
        return {"hyp": [line_of(best_path(row, self.symbols)) for row in self.emissions(batch)],
                "ref": [" ".join(line.split()) for line in batch["labels"][self.config.stream]]}

    @staticmethod
    def score(folder: Path) -> Scored:
        """F1 of slot types, mean over utterances; character errors of slot values; word errors of the words without
        slot tokens. Raises `SpeechrepError` where no reference has a slot."""
        references, hypotheses = read_table(folder / "ref"), read_table(folder / "hyp")
        found = slot_scores(references, hypotheses)
        if not any(count.reference for _, count in found.values()):
            raise SpeechrepError(f"{folder}/ref: no slot in any utterance", "words with B-x and E-x around values")
        f1 = mean_interval(np.array([value for value, _ in found.values()]))
        spoken = corpus_edits(references, hypotheses, words_of)
        metrics = {"slot_type_f1": metric(*(100 * v for v in f1), n=len(found), unit="%", better="higher"),
                   "slot_value_cer": rate({utt: count for utt, (_, count) in found.items()}),
                   "wer": rate(spoken)}
        per_utt = {utt: {"slot_type_f1": value, "value_errors": count.errors, "value_characters": count.reference,
                         "word_errors": spoken[utt].errors, "words": spoken[utt].reference}
                   for utt, (value, count) in found.items()}
        return Scored(metrics, per_utt)


def symbols_of(line: str) -> list[str]:
    """Words with slot tokens -> characters, spaces and tokens."""
    symbols, before = [], ""
    for token in line.split():
        if before and not opens(before) and not closes(token):
            symbols.append(" ")
        symbols += [token] if _is_slot(token) else list(token)
        before = token
    return symbols


def line_of(symbols: list[str]) -> str:
    """Characters, spaces and tokens -> words with slot tokens."""
    return " ".join("".join(f" {symbol} " if _is_slot(symbol) else symbol for symbol in symbols).split())


def words_of(line: str) -> list[str]:
    """The words of a line without its slot tokens."""
    return [token for token in line.split() if not _is_slot(token)]


def _is_slot(symbol: str) -> bool:
    return opens(symbol) or closes(symbol)
