"""Steps counted in seconds of audio, the same whatever the number of processes, and exactly resumable.

A step takes about `step_sec` seconds of audio over all processes together. Its utterances are dealt to the processes
and cut into micro-batches of at most `micro_sec` padded seconds each; every process gets the same number of
micro-batches, so that collective operations inside a forward pass meet. All of it is a function of (seed, epoch).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from speechrep.errors import SpeechrepError

Key = tuple[int, int, int]
"""(epoch, utterance index, micro-batch) as the dataset gets it."""


def draw(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many utterance indices as there are weights [B], with replacement, each as likely as its share of their sum."""
    return rng.choice(len(weights), len(weights), p=weights / weights.sum())


def plan_epoch(seconds: np.ndarray, step_sec: float, seed: int, epoch: int, least: int = 1,
               weights: np.ndarray | None = None) -> list[np.ndarray]:
    """The steps of an epoch, each an array of utterance indices of similar length, in shuffled order.

    seconds: duration of each utterance [B]. weights: as of `draw`, with which the utterances of the epoch are then drawn;
    None takes each once. Lengths are jittered by 10 % before sorting, so that neighbours change
    from epoch to epoch while padding stays small. A rest of under half a step joins the step before it; a step of
    under `least` utterances is left out, without changing the order of the others.
    """
    rng = np.random.default_rng((seed, epoch))
    drawn = np.arange(len(seconds)) if weights is None else draw(weights, rng)
    order = drawn[np.argsort(seconds[drawn] * rng.uniform(0.95, 1.05, len(seconds)), kind="stable")]
    number = np.floor((np.cumsum(seconds[order]) - seconds[order] / 2) / step_sec).astype(int)
    steps = np.split(order, np.flatnonzero(np.diff(number)) + 1)
    if len(steps) > 1 and seconds[steps[-1]].sum() < step_sec / 2:
        steps[-2:] = [np.concatenate(steps[-2:])]
    return [steps[i] for i in rng.permutation(len(steps)) if len(steps[i]) >= least]


def deal(step: np.ndarray, seconds: np.ndarray, ranks: int, micro_sec: float) -> list[list[np.ndarray]]:
    """Deal a step's utterances to `ranks` processes; each gets equally many micro-batches of <= micro_sec padded seconds.

    Utterances longer than `micro_sec` stand alone. Returns [rank][micro-batch] -> utterance indices, none empty.
    """
    step = step[np.argsort(-seconds[step], kind="stable")]
    shares = [step[rank::ranks] for rank in range(ranks)]
    fewest = min(len(share) for share in shares)
    for count in range(1, fewest + 1):
        split = [np.array_split(share, count) for share in shares]
        padded = max(len(micro) * seconds[micro].max() for share in split for micro in share)
        if padded <= micro_sec or count == fewest:
            return split
    raise SpeechrepError(f"a step of {len(step)} utterances for {ranks} processes", "at least one utterance each",
                         "raise train.batch_sec or start fewer processes")


@dataclass
class StepSampler:
    """The batch sampler of one process: yields, for each step from where it stands, a list of `Key`.

    Stateful: `state_dict()` is the epoch and the position in it; iterating goes on from there, epoch after epoch.
    """

    seconds: np.ndarray
    step_sec: float
    micro_sec: float
    seed: int = 0
    rank: int = 0
    ranks: int = 1
    epoch: int = 0
    position: int = 0
    weights: np.ndarray | None = None

    def __post_init__(self):
        if not len(plan_epoch(self.seconds, self.step_sec, self.seed, 0, self.ranks, self.weights)):
            raise SpeechrepError(f"{len(self.seconds)} utterances", f"at least {self.ranks}, one a process")

    def __iter__(self) -> Iterator[list[Key]]:
        while True:
            plan = plan_epoch(self.seconds, self.step_sec, self.seed, self.epoch, self.ranks, self.weights)
            while self.position < len(plan):
                micros = deal(plan[self.position], self.seconds, self.ranks, self.micro_sec)[self.rank]
                keys = [(self.epoch, int(i), number) for number, micro in enumerate(micros) for i in micro]
                self.position += 1
                yield keys
            self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]
