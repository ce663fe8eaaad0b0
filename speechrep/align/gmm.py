"""Gaussian mixtures with diagonal covariances for the states of the hidden Markov models, trained from flat start."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from speechrep.align.hmm import PDFS, STATES, Chain, forward_backward, pdfs, stack

PRIOR_FRAMES = 20.0
"""Weight, in frames, of the prior that pulls rare states towards all speech (maximum a posteriori)."""


@dataclass
class Gmm:
    """log_weight [P, M], mean and var [P, M, D]; a component not in use has a weight of minus infinity.
    stay [P]: the probability of remaining in a state for another frame."""

    log_weight: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor
    stay: np.ndarray

    def log_likelihood(self, feats: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Log likelihood of each component of some states: feats [N, D], states [K] -> [N, K, M]."""
        mean, precision = self.mean[states].flatten(0, 1), 1.0 / self.var[states].flatten(0, 1)
        constant = self.log_weight[states].flatten() - 0.5 * (
            (mean.square() * precision).sum(1) - precision.log().sum(1) + mean.shape[1] * math.log(2 * math.pi))
        both = torch.cat([feats, feats.square()], dim=1)
        return torch.addmm(constant, both, torch.cat([mean * precision, -0.5 * precision], dim=1).T).view(
            len(feats), len(states), -1)


def batches(chains: list[Chain], frames: list[int], cells: int) -> list[list[int]]:
    """Utterances of about the same length together, at most about `cells` (frames x states) in a padded batch."""
    order = sorted(range(len(chains)), key=lambda i: (frames[i], i))
    result: list[list[int]] = []
    states = 0
    for i in order:
        states = max(states, STATES * len(chains[i].unit))
        if result and frames[i] * states * (len(result[-1]) + 1) <= cells:
            result[-1].append(i)
        else:
            result.append([i])
            states = STATES * len(chains[i].unit)
    return result


def fill_scores(likely: list[torch.Tensor], bonus: list[torch.Tensor], states: list[np.ndarray]) -> np.ndarray:
    """Scores of the states of padded chains, [N, B, S], zero where there is no frame or state.

    likely: [n, K] for each utterance, bonus: [n], added to the first state of each token; states: for each chain state
    its column in `likely` [s].
    """
    shape = (max(len(x) for x in likely), len(likely), max(len(x) for x in states))
    scores = torch.zeros(shape)
    for row, (x, extra, column) in enumerate(zip(likely, bonus, states)):
        part = scores[:len(x), row, :len(column)]
        part.copy_(x.index_select(1, torch.from_numpy(column)))
        part[:, ::STATES] += extra[:, None]
    return scores.numpy()


def flat_start(feats: list[torch.Tensor], units: int, stay: float) -> Gmm:
    """One Gaussian a state: silence from the quietest tenth of each utterance, all else from the loudest 70 %.

    feats: [N, D] of each utterance, whose first value is the energy.
    """
    quiet = torch.cat([x[x[:, 0] <= x[:, 0].quantile(0.1)] for x in feats])
    loud = torch.cat([x[x[:, 0] >= x[:, 0].quantile(0.3)] for x in feats])
    mean = loud.mean(0).repeat(units * PDFS, 1, 1)
    var = loud.var(0).clamp_min(1e-3).repeat(units * PDFS, 1, 1)
    mean[:PDFS], var[:PDFS] = quiet.mean(0), torch.maximum(quiet.var(0), 0.1 * var[0, 0])
    log_weight = torch.zeros(units * PDFS, 1)
    return Gmm(log_weight, mean, var, np.full(units * PDFS, stay))


def reestimate(gmm: Gmm, feats: list[torch.Tensor], bonus: list[torch.Tensor], chains: list[Chain], scale: float,
               silence: float, cells: int = 3_000_000, threads: int = 1) -> tuple[Gmm, np.ndarray]:
    """One iteration of Baum-Welch with the log likelihoods multiplied by `scale`.

    feats: [N, D] each; bonus: [N] each, what a boundary before each frame is worth. Returns the new mixtures and the
    log likelihood per frame of each utterance under the old ones. The same to the last bit for any number of threads,
    since each batch is summed by itself and batches are added in order.
    """
    shape = gmm.mean.shape
    fit = np.zeros(len(feats))
    sums = [torch.zeros(shape[:2]), torch.zeros(shape), torch.zeros(shape), np.zeros(shape[0]), np.zeros(shape[0])]

    def expect(rows: list[int]):
        picked = ([items[i] for i in rows] for items in (feats, bonus, chains))
        return _expect(gmm, *picked, scale, silence)

    with ThreadPoolExecutor(threads) as pool:
        groups = batches(chains, [len(x) for x in feats], cells)
        for rows, (fits, parts) in zip(groups, pool.map(expect, groups)):
            fit[rows] = fits
            for total, part in zip(sums, parts):
                total += part
    return _maximise(gmm, *sums), fit


def _expect(gmm: Gmm, feats: list[torch.Tensor], bonus: list[torch.Tensor], chains: list[Chain], scale: float,
            silence: float) -> tuple[np.ndarray, list]:
    """Log likelihoods per frame; sums over frames: count [P, M], first, second [P, M, D], visits, entries [P]."""
    shape = gmm.mean.shape
    count, first, second = torch.zeros(shape[:2]), torch.zeros(shape), torch.zeros(shape)
    visits, entries = np.zeros(shape[0]), np.zeros(shape[0])
    states = [pdfs(item.unit) for item in chains]
    used, columns = zip(*(np.unique(s, return_inverse=True) for s in states))
    used = [torch.from_numpy(u) for u in used]
    each = [gmm.log_likelihood(x, u) for x, u in zip(feats, used)]
    total = [e.logsumexp(2) for e in each]
    lengths = np.array([len(x) for x in feats])
    gamma, value = forward_backward(fill_scores([scale * t for t in total], bonus, columns), lengths,
                                    stack(chains, gmm.stay, silence))
    for row, x in enumerate(feats):
        g = gamma[:len(x), row, :len(states[row])]
        posterior = torch.zeros(len(x), len(used[row]))
        posterior.index_add_(1, torch.from_numpy(columns[row]), torch.from_numpy(g))
        share = (each[row] - total[row][:, :, None]).exp_().mul_(posterior[:, :, None])
        flat = share.flatten(1).T
        block = (len(used[row]), *shape[1:])
        count[used[row]] += share.sum(0)
        first[used[row]] += (flat @ x).view(block)
        second[used[row]] += (flat @ x.square()).view(block)
        # Whoever passes a state enters it once: its visits less its entries are its self loops.
        passed = g.sum(0)
        inner = np.arange(len(passed)) % STATES > 0
        np.add.at(visits, states[row][inner], passed[inner])
        np.add.at(entries, states[row][inner], np.minimum(1.0, passed[inner]))
    return value / lengths, [count, first, second, visits, entries]


def _maximise(gmm: Gmm, count: torch.Tensor, first: torch.Tensor, second: torch.Tensor, visits: np.ndarray,
              entries: np.ndarray) -> Gmm:
    speech = slice(PDFS, None)
    all_count = count[speech].sum()
    all_mean = first[speech].sum((0, 1)) / all_count
    all_var = (second[speech].sum((0, 1)) / all_count - all_mean.square()).clamp_min(1e-3)
    # A component is pulled towards its state, a state towards all speech.
    state_count = count.sum(1, keepdim=True)
    state_mean = (first.sum(1) + PRIOR_FRAMES * all_mean) / (state_count + PRIOR_FRAMES)
    state_var = (second.sum(1) + PRIOR_FRAMES * (all_var + all_mean.square())) / (state_count + PRIOR_FRAMES) - \
        state_mean.square()
    prior = PRIOR_FRAMES if count.shape[1] > 1 else 1e-3
    n = count[:, :, None]
    mean = (first + prior * state_mean[:, None]) / (n + prior)
    power = (second + prior * (state_var + state_mean.square())[:, None]) / (n + prior)
    var = torch.maximum(power - mean.square(), 0.05 * all_var)
    weight = (count + 1e-3) / (state_count + 1e-3 * count.shape[1])
    weight = torch.where(gmm.log_weight > -1e20, weight, 0.0)
    log_weight = torch.log(weight / weight.sum(1, keepdim=True)).clamp_min(-1e30)
    stay = np.clip((visits - entries + 1.0) / (visits + 2.0), 0.05, 0.98)
    return Gmm(log_weight, mean, var, stay)


def split(gmm: Gmm, frames: np.ndarray, min_frames: float, generator: torch.Generator) -> Gmm:
    """Twice the components: each is parted along its standard deviation; states seen in too few frames keep theirs."""
    states, parts, dim = gmm.mean.shape
    offset = 0.2 * gmm.var.sqrt() * torch.randn(states, parts, dim, generator=generator).sign()
    enough = torch.from_numpy(frames >= min_frames * 2 * parts)[:, None]
    half = torch.where(enough, gmm.log_weight - math.log(2.0), gmm.log_weight)
    other = torch.where(enough, gmm.log_weight - math.log(2.0), -1e30)
    move = torch.where(enough[:, :, None], offset, 0.0)
    return Gmm(torch.cat([half, other], 1), torch.cat([gmm.mean + move, gmm.mean - move], 1),
               torch.cat([gmm.var, gmm.var], 1), gmm.stay)
