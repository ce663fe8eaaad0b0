"""Speaker verification as in SUPERB: are two utterances of one speaker?

A network is trained to tell the training part's speakers apart; of any utterance it then gives an embedding, and a trial's
score is the cosine of two. Weights are chosen by the equal error rate of all pairs of dev utterances within a language
(s3prl keeps those of the least error on the test trials, which `test_chooses` does too). Decoding writes the embeddings
and the folder's `trials`; with a cohort, scores are also given normalised (AS-norm).

Loss:
  am_softmax   cross-entropy of the speakers with an additive margin; counted in utterances of known speakers
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder, read_table, table_text
from speechrep.data.trials import Trial, read_trials, trials_text
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.methods.base import Batch
from speechrep.metrics.eer import detection_intervals, eer
from speechrep.metrics.score import metric
from speechrep.metrics.speaker import adaptive_norm, centroid, cosine
from speechrep.nn.crops import crop, draw_starts
from speechrep.nn.ecapa import ECAPA
from speechrep.nn.margin import AdditiveMargin
from speechrep.nn.xvector import XVector
from speechrep.tasks.base import BaseTask, HeadConfig, Lines, Scored
from speechrep.upstream import Upstream

P_TARGETS = (0.01, 0.001)
"""Of what share of targets minDCF is (Kaldi's recipe of VoxCeleb)."""
MOST_PAIRED = 2000
"""Dev utterances that are paired, evenly spaced among all: two million pairs."""


@dataclass(frozen=True)
class Config(HeadConfig):
    """Head and loss."""

    head: Literal["xvector", "ecapa"] = "xvector"
    """The network: x-vector (SUPERB's) or ECAPA-TDNN."""
    within: str = "utt2lang"
    """The stream within whose values dev utterances are paired; all with all where empty."""
    dim: int = 512
    """Width of the layers (SUPERB: 512); channels of ECAPA-TDNN."""
    last_dim: int = 1500
    """Width of the last before pooling (SUPERB: 1500; ECAPA-TDNN: 1536)."""
    embedding_dim: int = 512
    """Width of the embedding (SUPERB: 512; ECAPA-TDNN: 192)."""
    scale: float = 30.0
    """Factor of the cosines in the loss (SUPERB: 30)."""
    margin: float = 0.4
    """By how much the true speaker's cosine must win (SUPERB: 0.4)."""
    crop_sec: float = 8.0
    """Seconds of an utterance that training sees, drawn anew each time (SUPERB: 8)."""
    held_out: tuple[str, ...] = ()
    """Speakers whom neither training nor dev nor the cohort hears: those of the trials, where they are in all parts."""
    cohort_each: int = 10
    """Utterances of each speaker of a cohort that are averaged."""
    test_chooses: bool = False
    """Choose the weights by the trials of the test part, which is given as dev, as s3prl does."""


class Task(BaseTask):
    """Frames, or one vector an utterance -> speaker embedding."""

    Config = Config
    losses = {"main": ("am_softmax",)}
    selects = "eer"
    frame_level = False
    tells_speakers = True
    parts = (("train", "dev", "test"), ("verification/train", "verification/dev", "verification/test"))
    files = {"test": ("trials",)}
    decode_options = {"--cohort": "train"}
    main_metrics = ("eer", f"min_dcf_{P_TARGETS[0]:g}", "eer_asnorm")
    superb = {"model.test_chooses=true": "the best weights are those of the least error on the test trials themselves; no dev "
                                         "part is heard"}

    def __init__(self, config: Config, upstream: Upstream, labels: tuple[str, ...]):
        super().__init__(config, upstream, labels)
        self.ids = {label: i for i, label in enumerate(labels)}
        # Of one vector an utterance nothing is cropped.
        self.crop_frames = 1 if upstream.utterance_level else \
            max(1, round(config.crop_sec * upstream.rate_hz / upstream.hop_samples))
        network = {"xvector": XVector, "ecapa": ECAPA}[config.head]
        self.head = network(self.dim, config.dim, config.last_dim, config.embedding_dim)
        self.classifier = AdditiveMargin(config.embedding_dim, len(labels), config.scale, config.margin)
        self.heard: list[tuple[str, str, str, list[float]]] = []
        self.trials: list[Trial] = []

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        within = () if config.test_chooses or not config.within else (f"label:{config.within}",)
        return ("label:utt2spk", *within)

    @classmethod
    def parts_of(cls, config: Config) -> tuple[tuple[str, str, str], ...]:
        """Where the test chooses, it is dev too."""
        return tuple((train, test, test) for train, _, test in cls.parts) if config.test_chooses else cls.parts

    def take_dev(self, folder: DataFolder) -> None:
        """Where the test chooses, its trials."""
        if self.config.test_chooses:
            self.trials = read_trials(folder.path / "trials", folder.utts)

    @classmethod
    def obstacle(cls, config: Config, folders: dict[str, DataFolder]) -> str:
        """One speaker in training, or no pairs of both kinds in dev; where the test chooses, no trials of both kinds."""
        if len(set(folders["train"].labels("utt2spk").values())) < 2:
            return f"one speaker in {folders['train'].path}"
        if config.test_chooses:
            kinds = {target for _, _, target in read_trials(folders["dev"].path / "trials")}
            return "" if len(kinds) == 2 else f"no trials of both kinds in {folders['dev'].path}"
        dev = folders["dev"]
        groups = dev.labels(config.within) if config.within else dict.fromkeys(dev.utts, "")
        said = Counter((groups[utt], name) for utt, name in dev.labels("utt2spk").items() if utt in groups)
        speakers = Counter(group for group, _ in said)
        if max(said.values(), default=0) < 2 or max(speakers.values()) < 2:
            return f"{dev.path} has no pairs of utterances of one speaker and of two within {config.within or 'it'}"
        return ""

    @staticmethod
    def labels_of(config: Config, train: SpeechDataset) -> tuple[str, ...]:
        """The training part's speakers, sorted. Raises `SpeechrepError` for fewer than two."""
        found = tuple(sorted({train.labels["utt2spk"][utt] for utt in train.utts}))
        if len(found) < 2:
            raise SpeechrepError(f"{train.folder.path}: one speaker, '{found[0]}'", "two or more to tell apart")
        return found

    @classmethod
    def chosen_utts(cls, config: Config, folder: DataFolder, part: str) -> frozenset[str] | None:
        """Of the test all, and of dev where the test is dev; of the other parts those of speakers who are not held out, of a
        cohort `cohort_each` of each by a hash of their ids."""
        if part == "test" or part == "dev" and config.test_chooses:
            return None
        own: dict[str, list[str]] = {}
        for utt, name in sorted(folder.labels("utt2spk").items(), key=lambda row: hashlib.sha256(row[0].encode()).digest()):
            own.setdefault(name, []).append(utt)
        most = config.cohort_each if part == "cohort" else len(folder.utts)
        return frozenset(utt for name, utts in own.items() if name not in config.held_out for utt in utts[:most])

    def decode_needs(self, part: str) -> tuple[str, ...]:
        """Of the test none: its trials name utterances, whoever says them in whatever language."""
        return ("label:utt2spk",) if part == "cohort" else ()

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Targets [B], -1 for a speaker whom training does not know; in training the crops' first frames, `starts` [B]."""
        targets = torch.tensor([self.ids.get(name, -1) for name in batch["labels"]["utt2spk"]])
        batch = batch | {"targets": targets.to(self.classifier.weight.device)}
        if self.training:
            batch["starts"] = draw_starts(self.heard_lengths(batch), self.crop_frames, batch["seeds"])
        return batch

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"am_softmax": float((batch["targets"] >= 0).sum())}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """What the upstream hears, targets [B] -> the summed loss."""
        x, lengths = self.features(batch)
        if "starts" in batch:
            x, lengths = crop(x, lengths, batch["starts"], self.crop_frames)
        return {"am_softmax": self.classifier(self.head(x, lengths), batch["targets"])}

    def embeddings(self, batch: Batch) -> torch.Tensor:
        """[B, E], of length 1, of whole utterances."""
        return F.normalize(self.head.embedding(*self.features(batch)).float(), dim=1)

    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        groups = batch["labels"].get(self.config.within) or [""] * len(batch["utts"])
        self.heard += zip(batch["utts"], batch["labels"]["utt2spk"], groups, self.embeddings(batch).tolist())
        return {}

    def dev_share(self) -> list[tuple[str, str, str, list[float]]]:
        heard, self.heard = self.heard, []
        return heard

    def dev_values(self, values: dict[str, float], shares: list[Any]) -> dict[str, float]:
        """`eer`, in [0, 1], over pairs of dev utterances, or over the trials where the test chooses. Raises `SpeechrepError`
        where pairs are of one kind only, and for a trial without its features."""
        heard = sorted(itertools.chain.from_iterable(shares))
        if self.config.test_chooses:
            return {"eer": _trials_eer(self.trials, {row[0]: np.array(row[3]) for row in heard})}
        if len(heard) > MOST_PAIRED:
            heard = [heard[i] for i in np.linspace(0, len(heard) - 1, MOST_PAIRED).astype(int)]
        speakers, groups = (np.unique([row[i] for row in heard], return_inverse=True)[1] for i in (1, 2))
        vectors = np.array([row[3] for row in heard])
        pairs = np.triu(groups[:, None] == groups, 1)
        targets = (speakers[:, None] == speakers)[pairs]
        if not 0 < targets.sum() < len(targets):
            raise SpeechrepError(f"dev: {int(targets.sum())} of {len(targets)} pairs of utterances are of one speaker",
                                 f"pairs of one and of two speakers within {self.config.within or 'the part'}",
                                 "give dev two speakers, one of whom says two utterances, or set model.within to ''")
        return {"eer": eer((vectors @ vectors.T)[pairs], targets)[0]}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, list[str]]:
        """`embedding`: a vector as in Kaldi's text archives."""
        return {"embedding": [_vector_text(row) for row in self.embeddings(batch).tolist()]}

    def files_beside(self, folder: DataFolder, lines: Lines, cohort: tuple[DataFolder, Lines] | None) -> dict[str, str]:
        """The folder's `trials`; of a cohort the mean embedding of each speaker, and, where the folder tells speakers,
        `utt2spk`, since a trial's own are not of its cohort."""
        files = {"trials": trials_text(read_trials(folder.path / "trials", lines["embedding"]))}
        if cohort is not None and folder.has("utt2spk"):
            files["utt2spk"] = table_text(folder.labels("utt2spk"))
        if cohort is not None:
            speakers = cohort[0].read("utt2spk")
            own: dict[str, list[np.ndarray]] = {}
            for utt, line in cohort[1]["embedding"].items():
                own.setdefault(speakers[utt], []).append(_read_vector(line))
            files["cohort"] = table_text({name: _vector_text(centroid(np.stack(rows)).tolist())
                                          for name, rows in own.items()})
        return files

    @staticmethod
    def score(folder: Path) -> Scored:
        """EER and normalised minDCF of cosines and, where there is a cohort of speakers who are not the trials', of normalised
        ones. Intervals by enrolled utterance. Raises `SpeechrepError` for a trial without its embeddings, and for trials of
        one kind only."""
        lines = read_table(folder / "embedding")
        trials = read_trials(folder / "trials", lines)
        vectors = {utt: _read_vector(line) for utt, line in lines.items()}
        targets = np.array([target for _, _, target in trials], dtype=bool)
        if not 0 < targets.sum() < len(targets):
            raise SpeechrepError(f"{folder}/trials: {int(targets.sum())} targets of {len(targets)} trials", "both kinds")
        sides = [np.stack([vectors[trial[i]] for trial in trials]) for i in (0, 1)]
        scores, notes = {"": cosine(*sides)}, [f"{len(trials)} trials, {int(targets.sum())} of them targets"]
        if (folder / "cohort").is_file():
            cohort = {name: _read_vector(line) for name, line in read_table(folder / "cohort").items()}
            owners = read_table(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
            try:
                scores["_asnorm"] = adaptive_norm(scores[""], *_against(trials, vectors, cohort, owners))
            except ValueError as error:
                notes.append(f"no scores normalised by the cohort, less the speakers of the trial: {error}")
        metrics = {}
        for suffix, values in scores.items():
            how = "" if not suffix else (f"scores normalised by the {len(cohort)} speakers of the cohort, less the trial's own "
                                         "(AS-norm)")
            for name, interval in detection_intervals(values, targets, [trial[0] for trial in trials], P_TARGETS).items():
                factor, unit, cost = (100, "%", "") if name == "eer" else (
                    1, "", "cost over that of the better of accepting all and rejecting all")
                metrics[name + suffix] = metric(*(factor * v for v in interval), n=len(trials), unit=unit, better="lower",
                                                conditions="; ".join(filter(None, (cost, how))))
        per_utt = {f"{enrolled} {tested}": {"target": int(target)} | {f"score{suffix}": float(values[i])
                                                                      for suffix, values in scores.items()}
                   for i, (enrolled, tested, target) in enumerate(trials)}
        if read_json(folder / "made.json")["config"].get("test_chooses"):
            notes.append("the weights are those of the least error on the tested trials")
        return Scored(metrics, per_utt, notes)


def _trials_eer(trials: list[Trial], vectors: Mapping[str, np.ndarray]) -> float:
    unheard = sorted({utt for trial in trials for utt in trial[:2]} - set(vectors))
    if unheard:
        raise SpeechrepError(f"dev: {len(unheard)} utterances of trials are not heard, such as '{unheard[0]}'",
                             "features of all, of 0.3 s or more and no more than train.max_sec",
                             "dump this part, raise train.max_sec, or leave shorter ones out of the trials")
    sides = [np.stack([vectors[trial[i]] for trial in trials]) for i in (0, 1)]
    return eer(cosine(*sides), np.array([target for _, _, target in trials]))[0]


def _against(trials: list[Trial], vectors: Mapping[str, np.ndarray], cohort: Mapping[str, np.ndarray],
             owners: Mapping[str, str]) -> tuple[np.ndarray, ...]:
    """Scores of both sides of the trials with the cohort [n, M], NaN with the speakers of the trial itself."""
    names, others = np.array(list(cohort)), np.stack(list(cohort.values()))
    scores = {utt: cosine(vector[None], others) for utt, vector in vectors.items()}
    first, second = (np.array([owners.get(trial[i], "") for trial in trials])[:, None] for i in (0, 1))
    own = (first == names) | (second == names)
    return tuple(np.where(own, np.nan, np.stack([scores[trial[i]] for trial in trials])) for i in (0, 1))


def _vector_text(values: list[float]) -> str:
    return f"[ {' '.join(f'{value:.7f}' for value in values)} ]"


def _read_vector(line: str) -> np.ndarray:
    try:
        return np.array(line.strip("[] ").split(), dtype=np.float64)
    except ValueError:
        raise SpeechrepError(f"vector '{line[:60]}'", "numbers between brackets, as in Kaldi's text archives") from None
