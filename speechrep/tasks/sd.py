"""Speaker diarisation as in SUPERB: who speaks when, by a recurrent layer and a sigmoid for each speaker.

Loss:
  pit_bce   binary cross-entropy in the order of speakers that makes it least; counted in frames x speakers

Training sees windows of `chunk_frames`; a longer recording is heard in overlapping chunks whose speakers are brought into
one order (s3prl leaves the order of each chunk as it comes). Threshold and median filter are those of the least error on
dev at each evaluation, and the weights of the least such error are kept (s3prl keeps those of the most frames right on dev,
and reports the least error that any operating point has on test).
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder, read_table
from speechrep.data.rttm import Turn, format_turns, read_turns, rttm_text
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch
from speechrep.metrics.bootstrap import ratio_interval
from speechrep.metrics.der import diarisation_errors, frame_errors
from speechrep.metrics.score import metric
from speechrep.metrics.wer import check_utterances
from speechrep.nn.crops import crop, draw_starts
from speechrep.nn.masking import pad_mask
from speechrep.nn.pit import permutation_invariant_bce, stitch
from speechrep.tasks.base import BaseTask, HeadConfig, Lines, Scored
from speechrep.upstream import Upstream

COLLARS_SEC = {"der": 0.0, "der_collar": 0.25}
"""Unscored seconds on each side of a reference boundary: none (dscore's default, what SUPERB gives), and NIST's quarter."""
OVERLAP = True
"""Whether times at which several speakers talk are scored (dscore's default, what SUPERB gives)."""


@dataclass(frozen=True)
class Config(HeadConfig):
    """Head and operating points."""

    speakers: int = 2
    """Speakers that can be told apart in a recording, at the most."""
    dim: int = 512
    """Width of the recurrent layers (SUPERB: 512)."""
    lstm_layers: int = 1
    """How many there are (SUPERB: 1); they look back only."""
    chunk_frames: int = 2000
    """Frames of a training window and of a chunk of a long recording (SUPERB: 2000)."""
    chunk_overlap: float = 0.5
    """Share of a chunk that the next one hears too, in [0, 1); an assumption."""
    thresholds: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7)
    """Probabilities from which a speaker talks, of which dev chooses (SUPERB's)."""
    medians: tuple[int, ...] = (1, 11)
    """Frames of the median filter behind the threshold, odd, of which dev chooses (SUPERB's)."""
    best_by: Literal["der", "frames"] = "der"
    """By what on dev the best weights are chosen: the least error of any operating point; how many frames are right, each
    speaker's counted, at a probability of 0.5 (s3prl)."""
    test_chooses: bool = False
    """Decode at every operating point and score that of the least error on the part which is tested, as s3prl does."""

    def __post_init__(self):
        if not 1 <= self.speakers <= 6:
            raise ValueError("speakers must be 1 to 6: every order of them is tried")
        if not 0 <= self.chunk_overlap < 1 or self.chunk_frames < 2:
            raise ValueError("chunk_overlap must be in [0, 1), chunk_frames 2 or more")
        if not self.thresholds or not self.medians or any(width % 2 == 0 for width in self.medians):
            raise ValueError("thresholds and medians must be given, medians odd")


class Task(BaseTask):
    """Frames -> whether each speaker talks."""

    Config = Config
    needs = ("label:rttm",)
    losses = {"main": ("pit_bce",)}
    selects = "der"
    parts = (("mix_train", "mix_dev", "mix_test"), ("train", "dev", "test"))
    main_metrics = ("der",)
    superb = {"model.chunk_overlap=0": "the speakers of each chunk of a long recording stay in the order they come in",
              "model.best_by=frames": "the best weights are those of the most frames right on dev, not of the least error",
              "model.test_chooses=true": "the score is the least that any threshold and median filter has on test itself"}

    def __init__(self, config: Config, upstream: Upstream, labels: tuple[str, ...]):
        super().__init__(config, upstream, labels)
        self.hop_sec = upstream.hop_samples / upstream.rate_hz
        self.lstm = nn.LSTM(self.dim, config.dim, config.lstm_layers, batch_first=True)
        self.out = nn.Linear(config.dim, config.speakers)
        self.settled = {"threshold": 0.5, "median": 1}

    @classmethod
    def selects_of(cls, config: Config) -> str:
        return "frame_error" if config.best_by == "frames" else cls.selects

    @staticmethod
    def labels_of(config: Config, train: SpeechDataset) -> tuple[str, ...]:
        """Names of the outputs. Raises `SpeechrepError` for a recording with more speakers."""
        for utt in train.utts:
            _names(train.labels["rttm"][utt], config.speakers, utt)
        return tuple(f"speaker{number + 1}" for number in range(config.speakers))

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Targets [B, N, S]; in training of windows, whose first frames are `starts` [B]."""
        lengths = self.heard_lengths(batch)
        size = self.config.speakers
        rows = [torch.from_numpy(activity(read_turns(line), _names(line, size, utt), frames, self.hop_sec, size))
                for utt, line, frames in zip(batch["utts"], batch["labels"]["rttm"], lengths.tolist())]
        targets = nn.utils.rnn.pad_sequence(rows, True).to(self.out.weight.device)
        if not self.training:
            return batch | {"targets": targets, "frames": lengths}
        starts = draw_starts(lengths, self.config.chunk_frames, batch["seeds"])
        targets, frames = crop(targets, lengths, starts, self.config.chunk_frames)
        return batch | {"targets": targets, "frames": frames, "starts": starts}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"pit_bce": float(batch["frames"].sum()) * self.config.speakers}

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, S]."""
        return self.out(self.lstm(x)[0])

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """What the upstream hears, targets [B, N, S] -> the summed loss."""
        x, lengths = self.features(batch)
        if "starts" in batch:
            x, lengths = crop(x, lengths, batch["starts"], self.config.chunk_frames)
        pad = pad_mask(lengths.to(x.device), x.shape[1])
        return {"pit_bce": permutation_invariant_bce(self.logits(x), batch["targets"], pad)[0].sum()}

    def probabilities(self, batch: Batch) -> list[torch.Tensor]:
        """For each recording the probability that each speaker talks [N, S], chunks brought into one order."""
        x, lengths = self.features(batch)
        size = self.config.chunk_frames
        if x.shape[1] <= size:
            return [row[:length] for row, length in zip(self.logits(x).float().sigmoid(), lengths.tolist())]
        hop = max(1, round(size * (1 - self.config.chunk_overlap)))
        found = []
        for row, length in zip(x, lengths.tolist()):
            count = 1 + max(0, -(-(length - size) // hop))
            whole = nn.functional.pad(row[:length], (0, 0, 0, max(0, (count - 1) * hop + size - length)))
            chunks = whole.unfold(0, size, hop).transpose(1, 2)
            found.append(stitch(self.logits(chunks).float().sigmoid(), hop, length))
        return found

    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """The error at each operating point, frame by frame; `frame_error` where it is chosen by."""
        sums: dict[str, tuple[float, float]] = {}
        for chances, target, length in zip(self.probabilities(batch), batch["targets"].cpu().numpy(),
                                           batch["frames"].tolist()):
            chances = chances.cpu().numpy()
            for point in itertools.product(self.config.thresholds, self.config.medians):
                found = frame_errors(target[:length], smooth(chances >= point[0], point[1]))
                errors, speech = sums.get(_name(point), (0.0, 0.0))
                sums[_name(point)] = errors + found.errors, speech + found.speech
            if self.config.best_by == "frames":
                wrong, cells = sums.get("frame_error", (0.0, 0.0))
                sums["frame_error"] = wrong + wrong_frames(target[:length] > 0, chances >= 0.5), cells + chances.size
        return sums

    def dev_values(self, values: dict[str, float], shares: list[Any]) -> dict[str, float]:
        """The least error of any operating point, which is settled on; of equal ones the first."""
        points = list(itertools.product(self.config.thresholds, self.config.medians))
        threshold, median = min(points, key=lambda point: values[_name(point)])
        self.settled = {"threshold": threshold, "median": median}
        return {"der": values[_name((threshold, median))]}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, list[str]]:
        """`hyp` and `ref`: turns, triples of a speaker, start and end in seconds; where the test chooses, also
        `hyp_THRESHOLD_MEDIAN` of each operating point."""
        points = {"hyp": (self.settled["threshold"], int(self.settled["median"]))}
        if self.config.test_chooses:
            points |= {f"hyp_{point[0]:g}_{point[1]}": point
                       for point in itertools.product(self.config.thresholds, self.config.medians)}
        found = [chances.cpu().numpy() for chances in self.probabilities(batch)]
        return {name: [format_turns(turns_of(smooth(chances >= threshold, median), self.labels, self.hop_sec))
                       for chances in found] for name, (threshold, median) in points.items()} | {
            "ref": [format_turns(read_turns(line)) for line in batch["labels"]["rttm"]]}

    def files_beside(self, folder: DataFolder, lines: Lines, cohort: tuple[DataFolder, Lines] | None) -> dict[str, str]:
        """hyp.rttm and ref.rttm, for other scorers."""
        return super().files_beside(folder, lines, cohort) | {
            f"{name}.rttm": rttm_text({utt: read_turns(line) for utt, line in lines[name].items()})
            for name in ("hyp", "ref")}

    @staticmethod
    def score(folder: Path) -> Scored:
        """Diarisation error with and without a collar, and its parts without one; overlapping speech is scored. Where
        there are hypotheses of several operating points, those of the least error without a collar."""
        references, found = read_table(folder / "ref"), {}
        for path in sorted(folder.glob("hyp_*")) or [folder / "hyp"]:
            hypotheses = read_table(path)
            check_utterances(references, hypotheses)
            found[path.name] = [(read_turns(references[utt]), read_turns(hypotheses[utt])) for utt in sorted(references)]
        chosen = min(found, key=lambda name: sum(diarisation_errors(*pair, COLLARS_SEC["der"], OVERLAP).errors
                                                 for pair in found[name]))
        turns, metrics = found[chosen], {}
        for name, collar_sec in COLLARS_SEC.items():
            found = [diarisation_errors(*pair, collar_sec, OVERLAP) for pair in turns]
            metrics[name] = _rate([some.errors for some in found], [some.speech for some in found], conditions(name))
            if name == "der":
                whole = found
        for part in ("miss", "false_alarm", "confusion"):
            metrics[part] = _rate([getattr(some, part) for some in whole], [some.speech for some in whole], conditions("der"))
        per_utt = {utt: {"speech_sec": some.speech, "miss_sec": some.miss, "false_alarm_sec": some.false_alarm,
                         "confusion_sec": some.confusion} for utt, some in zip(sorted(references), whole)}
        notes = ["; ".join(f"{name}: {conditions(name)}" for name in COLLARS_SEC)
                 + " (a collar is not scored on each side of a boundary of the reference); the parts of der as der"]
        return Scored(metrics, per_utt, notes if chosen == "hyp" else [
            *notes, f"the operating point, {chosen.removeprefix('hyp_')}, is that of the least error on the tested part"])


def activity(turns: list[Turn], names: list[str], frames: int, hop_sec: float, size: int) -> np.ndarray:
    """Who talks in each frame [frames, size], float32 of 0 and 1; speakers in the order of `names`. Turns begin and end
    at the nearest frame."""
    active = np.zeros((frames, size), np.float32)
    for name, start, end in turns:
        active[int(start / hop_sec + 0.5):int(end / hop_sec + 0.5), names.index(name)] = 1
    return active


def wrong_frames(reference: np.ndarray, hypothesis: np.ndarray) -> int:
    """In how many frames of how many speakers two activities [N, S] of bool differ, in the best order of speakers."""
    return min(int((reference[:, order] != hypothesis).sum())
               for order in map(list, itertools.permutations(range(reference.shape[1]))))


def smooth(active: np.ndarray, width: int) -> np.ndarray:
    """Median over `width` frames of each speaker [N, S] of bool; beyond the ends nobody talks."""
    if width == 1 or not len(active):
        return active
    padded = np.pad(active, ((width // 2, width // 2), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, width, 0).sum(-1) > width // 2


def turns_of(active: np.ndarray, names: tuple[str, ...], hop_sec: float) -> list[Turn]:
    """Who talks in each frame [N, S] of bool -> turns in seconds."""
    edges = np.diff(np.pad(active.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    return [(name, start * hop_sec, end * hop_sec) for name, column in zip(names, edges.T)
            for start, end in zip(np.flatnonzero(column == 1).tolist(), np.flatnonzero(column == -1).tolist())]


def _names(line: str, most: int, utt: str) -> list[str]:
    names = sorted({name for name, _, _ in read_turns(line)})
    if len(names) > most:
        raise SpeechrepError(f"'{utt}': {len(names)} speakers", f"{most} at most", "raise model.speakers")
    return names


def _name(point: tuple[float, int]) -> str:
    return f"der_{point[0]:g}_{point[1]}"


def conditions(name: str) -> str:
    """What the metric `name` of COLLARS_SEC scores, in words."""
    return f"collar {COLLARS_SEC[name]:g} s, overlap {'' if OVERLAP else 'not '}scored"


def _rate(errors: list[float], speech: list[float], how: str) -> dict:
    value = ratio_interval(np.array(errors), np.array(speech))
    return metric(*(100 * v for v in value), n=len(errors), unit="%", better="lower", conditions=how)
