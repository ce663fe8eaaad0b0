"""Left-to-right hidden Markov models of one utterance, many utterances at a time.

An utterance's phones become a chain of states: STATES for each phone, with an optional silence (its own states in
the chain, which may be jumped over as a whole) at both edges and between words. Because a chain has no other arcs, one
step of Viterbi or of the forward-backward pass is three shifted additions over all states of all utterances of a batch;
the only loop is over the frames of the longest one.

Letters: B utterances, N frames, S states of the chain, P distinct states (`pdf`) of the model.
"""

from dataclasses import dataclass

import numpy as np

TIES = (0, 0, 1, 2)
"""Which distribution of its unit each chain state of a token has. The first state lasts exactly one frame, where the
boundary is scored; so a segment lasts at least this many frames."""
STATES = len(TIES)
PDFS = max(TIES) + 1
SILENCE = 0
"""The unit number of silence; phones follow."""
FAR = -1e30


@dataclass(frozen=True)
class Chain:
    """The states of one utterance, from left to right.

    unit [U]: unit of each token, silences included; optional [U]: whether the token may be left out;
    word [U]: the word it belongs to, -1 for silence. State s belongs to token s // STATES.
    """

    unit: np.ndarray
    optional: np.ndarray
    word: np.ndarray

    @property
    def min_frames(self) -> int:
        """The fewest frames that pass through the chain."""
        return STATES * int((~self.optional).sum())


def chain(words: list[list[int]]) -> Chain:
    """The chain of an utterance whose words are lists of unit numbers (1 and up)."""
    unit, word = [SILENCE], [-1]
    for index, units in enumerate(words):
        unit += [*units, SILENCE]
        word += [index] * len(units) + [-1]
    return Chain(np.array(unit), np.array(unit) == SILENCE, np.array(word))


@dataclass(frozen=True)
class Chains:
    """A padded batch of chains: pdf [B, S], stay / move / skip [B, S] log probabilities of remaining in state s, of
    entering s from s - 1, and of entering s from the state before the optional silence before s; start, end [B, S]
    log probabilities of the first and after the last frame; states [B]."""

    pdf: np.ndarray
    stay: np.ndarray
    move: np.ndarray
    skip: np.ndarray
    start: np.ndarray
    end: np.ndarray
    states: np.ndarray


def pdfs(unit: np.ndarray) -> np.ndarray:
    """The distributions of the chain's states for units [U], [U * STATES]."""
    return (unit[:, None] * PDFS + np.array(TIES)).ravel()


def stack(chains: list[Chain], stay: np.ndarray, silence: float = 0.1, edge: float = 0.9) -> Chains:
    """Pad chains to one batch.

    stay [P]: the probability of remaining in each state for another frame; silence, edge: the probability of a silence
    between two words, and at the edges of an utterance.
    """
    count = np.array([STATES * len(item.unit) for item in chains])
    shape = (len(chains), int(count.max()))
    pdf = np.zeros(shape, dtype=np.int64)
    move, skip, start, end = (np.full(shape, FAR, dtype=np.float32) for _ in range(4))
    log_stay = np.zeros(shape, dtype=np.float32)
    for row, item in enumerate(chains):
        size = count[row]
        states = pdfs(item.unit)
        pdf[row, :size] = states
        leave = np.log1p(-stay[states])
        log_stay[row, :size] = np.log(stay[states])
        first = np.arange(len(item.unit)) * STATES
        log_stay[row, first] = FAR
        leave[first] = 0.0
        into = np.zeros(size)
        last = len(item.unit) - 1
        prior = np.where((np.arange(last + 1) == 0) | (np.arange(last + 1) == last), edge, silence)
        into[first[item.optional]] = np.log(prior[item.optional])
        move[row, 1:size] = leave[:-1] + into[1:]
        jump = np.flatnonzero(item.optional[:-1])[1:] + 1
        skip[row, first[jump]] = leave[first[jump] - STATES - 1] + np.log1p(-prior[jump - 1])
        start[row, 0] = np.log(edge)
        start[row, STATES] = np.log1p(-edge)
        end[row, size - 1] = leave[-1]
        end[row, size - STATES - 1] = leave[size - STATES - 1] + np.log1p(-edge)
    return Chains(pdf, log_stay, move, skip, start, end, count)


def viterbi(scores: np.ndarray, frames: np.ndarray, batch: Chains) -> tuple[np.ndarray, np.ndarray]:
    """The best path of each utterance.

    scores [N, B, S]: log likelihood of each frame in each chain state; frames [B]: frames of each utterance.
    Returns path [N, B] (chain state of each frame; 0 after the utterance's end) and the log likelihood [B] of the path,
    below FAR / 2 where no path passes through.
    """
    total, rows, size = scores.shape
    choice = np.zeros((total, rows, size), dtype=np.uint8)
    jump = STATES + 1
    score = batch.start + scores[0]
    best, other, better = np.empty_like(score), np.empty_like(score), np.empty(score.shape, dtype=bool)
    final = np.where(frames[:, None] == 1, score, FAR).astype(np.float32)
    lasts = {int(n) for n in frames}
    for n in range(1, total):
        np.add(score, batch.stay, out=best)
        np.add(score[:, :-1], batch.move[:, 1:], out=other[:, 1:])
        other[:, 0] = FAR
        np.greater(other, best, out=better)
        np.maximum(other, best, out=best)
        picked = choice[n]
        picked[...] = better
        np.add(score[:, :-jump], batch.skip[:, jump:], out=other[:, jump:])
        np.greater(other[:, jump:], best[:, jump:], out=better[:, jump:])
        np.maximum(other[:, jump:], best[:, jump:], out=best[:, jump:])
        np.maximum(picked[:, jump:], better[:, jump:].view(np.uint8) << 1, out=picked[:, jump:])
        np.add(best, scores[n], out=score)
        if n + 1 in lasts:
            ended = frames == n + 1
            final[ended] = score[ended]
    final = final + batch.end
    state = final.argmax(axis=1)
    value = final[np.arange(rows), state]
    path = np.zeros((total, rows), dtype=np.int32)
    step = np.array([0, 1, jump, jump])
    every = np.arange(rows)
    for n in range(total - 1, -1, -1):
        inside = n < frames
        path[n] = np.where(inside, state, 0)
        state = np.where(inside, state - step[choice[n, every, state]], state)
    return path, value


def forward_backward(scores: np.ndarray, frames: np.ndarray, batch: Chains) -> tuple[np.ndarray, np.ndarray]:
    """Posterior probability of each chain state in each frame, and the log likelihood of each utterance.

    Arguments as for `viterbi`. Returns gamma [N, B, S] float32 (zero after the end) and the log likelihood [B]. Linear
    domain with a scale per frame (Rabiner 1989, section V.A), in double precision; states 600 nats below the frame's
    best are dropped.
    """
    total, rows, size = scores.shape
    jump = STATES + 1
    inside = np.arange(total)[:, None] < frames
    valid = np.arange(size) < batch.states[:, None]
    peak = np.where(valid, scores, FAR).max(axis=2)
    likely = np.where(valid, np.exp(np.maximum(scores.astype(np.float64) - peak[:, :, None], -600.0)), 0.0)
    stay, move, skip = (np.exp(np.maximum(x, -700.0).astype(np.float64)) * (x > FAR / 2)
                        for x in (batch.stay, batch.move, batch.skip))
    start, end = (np.exp(np.maximum(x, -700.0).astype(np.float64)) * (x > FAR / 2) for x in (batch.start, batch.end))
    alpha = np.zeros((total, rows, size))
    scale = np.ones((total, rows))
    now = start * likely[0]
    for n in range(total):
        if n:
            past, now = alpha[n - 1], alpha[n]
            np.multiply(past, stay, out=now)
            now[:, 1:] += past[:, :-1] * move[:, 1:]
            now[:, jump:] += past[:, :-jump] * skip[:, jump:]
            now *= likely[n]
        mass = now.sum(axis=1)
        scale[n] = np.where(mass > 0, mass, 1e-300)
        alpha[n] = now / scale[n][:, None]
    every = np.arange(rows)
    tail = (alpha[frames - 1, every] * end).sum(axis=1)
    value = np.where(inside, np.log(scale) + peak, 0.0).sum(axis=0) + np.log(np.maximum(tail, 1e-300))
    beta = np.zeros((rows, size))
    closing = frames - 1
    for n in range(total - 1, -1, -1):
        if n + 1 < total:
            ahead = beta * likely[n + 1]
            beta = ahead * stay
            beta[:, :-1] += ahead[:, 1:] * move[:, 1:]
            beta[:, :-jump] += ahead[:, jump:] * skip[:, jump:]
            mass = beta.sum(axis=1, keepdims=True)
            beta /= np.where(mass > 0, mass, 1.0)
        last = closing == n
        if last.any():
            beta[last] = end[last]
        now = alpha[n]
        now *= beta
    alpha /= np.maximum(alpha.sum(axis=2, keepdims=True), 1e-300)
    alpha *= inside[:, :, None]
    return alpha.astype(np.float32), value
