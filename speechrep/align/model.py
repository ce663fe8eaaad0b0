"""The trained aligner: from samples and phones to phone times."""

import dataclasses
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechrep.align.frontend import cepstra, change, log_mel, normalise
from speechrep.align.gmm import Gmm, batches, fill_scores
from speechrep.align.hmm import FAR, SILENCE, STATES, Chain, chain, pdfs, stack, viterbi
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_path

OTHER = "?"
"""The unit for phones that were not trained: its model is that of all speech."""


@dataclass(frozen=True)
class AlignConfig:
    """Forced alignment."""

    rate_hz: int = 0
    """Sampling rate in Hz to which the audio is brought; 0: that of the corpus, at most 16000."""
    hop_ms: float = 5.0
    """Time between frames."""
    win_ms: float = 15.0
    """Length of the window of a frame."""
    max_train_min: float = 16.0
    """Minutes of speech that the model is trained on, drawn from all speakers; the rest is only aligned."""
    scales: tuple[float, ...] = (0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.3, 0.3)
    """Weight of the log likelihoods in each iteration of training with one Gaussian a state. Small weights keep early
    decisions open; the last one holds from then on."""
    splits: int = 2
    """How often the Gaussians are doubled."""
    split_iterations: int = 3
    """Iterations after each doubling."""
    boundary: float = 1.5
    """Weight of the prior that boundaries lie where the spectrum changes: log probability of a boundary for each
    standard deviation of change. Without it the states of a consonant take in the first 20 to 30 ms of the vowel."""
    silence: float = 0.1
    """Probability of a silence between two words before the audio is seen."""
    reject_below: float = 0.0
    """Utterances whose score per frame is lower are rejected; 0: a limit found in training."""


Features = tuple[torch.Tensor, torch.Tensor]

MAX_CELLS = 200_000_000
"""Frames x states of one utterance, five bytes each: about two minutes of speech."""
DOUBT_SEC = 0.5
SCORED = 8
"""The fit of the text is judged on one frame in so many."""


@dataclass(frozen=True)
class Aligned:
    """Phones as written and SIL, their end frames, the word of each (-1 for silence), and the score per frame."""

    phones: list[str]
    ends: np.ndarray
    words: np.ndarray
    score: float


def base_phone(phone: str) -> str:
    """The phone without the digit of its stress or tone: AH0 -> AH, zh_ong1 -> zh_ong; one of digits only is kept."""
    return phone.rstrip("0123456789") or phone


def phone_words(line: str) -> list[list[str]]:
    """A line of the stream `phones` -> phones of each word; empty words are left out."""
    return [word.split() for word in line.split("|") if word.split()]


class Aligner:
    """Hidden Markov models of the phones of a corpus. `units`: base phones in the order of their numbers from 1;
    `source`: a fingerprint of what it was trained on."""

    def __init__(self, config: AlignConfig, rate_hz: int, units: list[str], gmm: Gmm, limit: float = FAR,
                 usual: float = 0.0, source: str = ""):
        self.config, self.rate_hz, self.units, self.gmm = config, rate_hz, units, gmm
        self.limit, self.usual, self.source = limit, usual, source
        self._number = {unit: index + 1 for index, unit in enumerate(units)}

    @property
    def hop_sec(self) -> float:
        """Seconds between frames."""
        return round(self.rate_hz * self.config.hop_ms / 1000) / self.rate_hz

    def features(self, audio: np.ndarray) -> Features:
        """Samples [T] at `rate_hz` -> cepstra [N, D] and what a boundary before each frame is worth [N]."""
        mel = normalise(log_mel(audio, self.rate_hz, self.config.hop_ms, self.config.win_ms))
        return cepstra(mel), self.config.boundary * change(mel)

    def chain(self, phones: str) -> Chain:
        """The chain of states for a line of the stream `phones`. Raises `SpeechrepError` if it holds no phone."""
        words = phone_words(phones)
        if not words:
            raise SpeechrepError("no phones")
        return chain([[self.number(phone) for phone in word] for word in words])

    def number(self, phone: str) -> int:
        """The unit of a phone: its own, else that of the same letters without length and diacritics, else OTHER."""
        base = base_phone(phone)
        if base not in self._number:
            letters = "".join(c for c in unicodedata.normalize("NFD", base) if unicodedata.category(c)[0] == "L"
                              and unicodedata.category(c) != "Lm")
            base = letters if letters in self._number else OTHER
        return self._number[base]

    def align(self, feats: list[Features], phones: list[str], cells: int = 4_000_000) -> list[Aligned | str]:
        """Phone times of each utterance, or the reason why there are none.

        feats: of `features`; phones: lines of the stream `phones`. Results do not depend on which utterances come
        together.
        """
        results: list[Aligned | str] = ["no phones"] * len(feats)
        kept, chains = [], []
        for i, ((x, _), line) in enumerate(zip(feats, phones)):
            if not phone_words(line):
                continue
            item = self.chain(line)
            if len(x) < item.min_frames:
                results[i] = f"{len(x) * self.hop_sec:.2f} s of audio for {int((item.unit != SILENCE).sum())} phones"
            elif len(x) * STATES * len(item.unit) > MAX_CELLS:
                results[i] = f"{len(x) * self.hop_sec:.0f} s in one piece: cut it by segments"
            elif not torch.isfinite(x).all():
                results[i] = "samples that are not numbers"
            else:
                kept.append(i)
                chains.append(item)
        for rows in batches(chains, [len(feats[i][0]) for i in kept], cells):
            likely, columns = [], []
            for r in rows:
                used, column = np.unique(pdfs(chains[r].unit), return_inverse=True)
                likely.append(self._scores(feats[kept[r]][0], torch.from_numpy(used)))
                columns.append(column)
            frames = np.array([len(x) for x in likely])
            scores = fill_scores(likely, [feats[kept[r]][1] for r in rows], columns)
            path, value = viterbi(scores, frames, stack([chains[r] for r in rows], self.gmm.stay, self.config.silence))
            for k, r in enumerate(rows):
                if value[k] < FAR / 2:
                    results[kept[r]] = "no path"
                    continue
                states = path[:frames[k], k]
                some = torch.arange(0, int(frames[k]), SCORED)
                chosen = likely[k][some, torch.from_numpy(columns[k][states[::SCORED]])]
                best = self._scores(feats[kept[r]][0][some], torch.arange(len(self.gmm.stay))).amax(1)
                words = phone_words(phones[kept[r]])
                results[kept[r]] = self._result(chains[r], words, states, (chosen - best).numpy())
        return results

    def _scores(self, feats: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        return self.config.scales[-1] * self.gmm.log_likelihood(feats, states).logsumexp(2)

    def _result(self, item: Chain, words: list[list[str]], path: np.ndarray, gap: np.ndarray) -> Aligned:
        token = path // STATES
        last = np.flatnonzero(np.diff(token, append=-1))
        tokens = token[last]
        symbols = ["SIL"]
        for word in words:
            symbols += [*word, "SIL"]
        # How much worse each frame fits than in the best of all states: near 0 when the text is right. Silences in
        # which something is said and phones where nothing is must both show.
        spoken = item.unit[token[::SCORED]] != SILENCE
        score = min(float(gap.mean()), float(gap[spoken].mean()) if spoken.any() else 0.0)
        return Aligned([symbols[t] for t in tokens], last + 1, item.word[tokens], score)

    @property
    def least(self) -> float:
        """The least score per frame at which a text is taken to fit."""
        return self.config.reject_below or self.limit

    def fits(self, result: Aligned) -> bool:
        """Whether the text fits the audio.

        A short utterance tells little: its score counts as if DOUBT_SEC more of it fitted as utterances usually do.
        """
        frames, doubt = float(result.ends[-1]), DOUBT_SEC / self.hop_sec
        return (frames * result.score + doubt * self.usual) / (frames + doubt) >= self.least

    def save(self, path: str | Path) -> None:
        """Write the model, tensors and plain values only."""
        gmm = {"log_weight": self.gmm.log_weight, "mean": self.gmm.mean, "var": self.gmm.var,
               "stay": torch.from_numpy(self.gmm.stay)}
        state = {"kind": "speechrep aligner", "config": dataclasses.asdict(self.config), "rate_hz": self.rate_hz,
                 "units": list(self.units), "limit": self.limit, "usual": self.usual, "source": self.source,
                 "gmm": gmm}
        # Given a path, torch.save writes its name into the file, which would then differ from run to run.
        with atomic_path(path) as tmp, open(tmp, "wb") as file:
            torch.save(state, file)

    @classmethod
    def load(cls, path: str | Path) -> "Aligner":
        """Read what `save` wrote, without running code from the file. Raises `SpeechrepError` for anything else."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise SpeechrepError(f"{path}: no such file", "a trained aligner", "run speechrep align") from None
        except Exception as error:
            raise SpeechrepError(f"{path}: not readable: {str(error)[:200]}", "a model of speechrep align") from None
        if not isinstance(state, dict) or state.get("kind") != "speechrep aligner":
            raise SpeechrepError(f"{path}: not an aligner", "a model of speechrep align")
        gmm = state["gmm"]
        config = AlignConfig(**{**state["config"], "scales": tuple(state["config"]["scales"])})
        return cls(config, state["rate_hz"], state["units"],
                   Gmm(gmm["log_weight"], gmm["mean"], gmm["var"], gmm["stay"].numpy()), state["limit"],
                   state["usual"], state.get("source", ""))
