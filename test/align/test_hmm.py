"""The chains against brute force, on chains small enough to enumerate every path."""

import numpy as np
import pytest

from speechrep.align.hmm import FAR, STATES, chain, forward_backward, pdfs, stack, viterbi

SILENCE, EDGE = 0.2, 0.7


def every_path(item, frames, stay):
    """All state sequences through the chain with their log probabilities, from the definition."""
    unit, states = item.unit, pdfs(item.unit)
    size = len(states)

    def arcs(s):
        token, inner = divmod(s, STATES)
        leave = 1.0 if inner == 0 else 1.0 - stay[states[s]]
        if inner:
            yield s, stay[states[s]]
        if inner < STATES - 1:
            yield s + 1, leave
            return
        for nxt in (token + 1, token + 2):
            if nxt >= len(unit):
                continue
            if nxt == token + 2 and unit[token + 1] != 0:
                continue
            silent = EDGE if token + 1 == len(unit) - 1 else SILENCE
            if nxt == token + 1:
                yield nxt * STATES, leave * (silent if unit[nxt] == 0 else 1.0)
            else:
                yield nxt * STATES, leave * (1.0 - silent)

    table = {s: dict(arcs(s)) for s in range(size)}
    begin = {0: EDGE, STATES: 1.0 - EDGE}
    end = {size - 1: 1.0 - stay[states[-1]], size - STATES - 1: (1.0 - stay[states[size - STATES - 1]]) * (1.0 - EDGE)}
    found = [((s,), np.log(p)) for s, p in begin.items()]
    for _ in range(frames - 1):
        found = [((*path, s), p + np.log(q)) for path, p in found for s, q in table[path[-1]].items() if q > 0]
    for path, p in found:
        if path[-1] in end:
            yield path, p + np.log(end[path[-1]])


@pytest.mark.parametrize("frames", [4, 6, 9, 13])
def test_one_phone_against_every_path(frames):
    rng = np.random.default_rng(frames)
    item = chain([[1]])
    stay = rng.uniform(0.3, 0.8, 2 * 3)
    scores = rng.normal(size=(frames, 1, len(pdfs(item.unit)))).astype(np.float32)
    paths = [(path, p + sum(scores[n, 0, s] for n, s in enumerate(path))) for path, p in every_path(item, frames, stay)]
    batch = stack([item], stay, SILENCE, EDGE)
    best, value = viterbi(scores, np.array([frames]), batch)
    expected, score = max(paths, key=lambda x: x[1])
    assert tuple(best[:, 0]) == expected
    assert value[0] == pytest.approx(score, abs=1e-4)
    gamma, total = forward_backward(scores, np.array([frames]), batch)
    weights = np.exp([p for _, p in paths])
    assert total[0] == pytest.approx(np.log(weights.sum()), abs=1e-4)
    wanted = np.zeros(gamma.shape)
    for (path, _), w in zip(paths, weights / weights.sum()):
        wanted[np.arange(frames), 0, path] += w
    np.testing.assert_allclose(gamma, wanted, atol=1e-5)


def test_a_batch_equals_its_rows():
    rng = np.random.default_rng(0)
    items = [chain([[1, 2], [3]]), chain([[2]]), chain([[3], [1], [2, 2]])]
    lengths = np.array([31, 12, 44])
    stay = rng.uniform(0.3, 0.9, 4 * 3)
    sizes = [len(pdfs(item.unit)) for item in items]
    scores = rng.normal(size=(44, 3, max(sizes))).astype(np.float32)
    paths, values = viterbi(scores, lengths, stack(items, stay))
    gammas, totals = forward_backward(scores, lengths, stack(items, stay))
    for row, (item, n, size) in enumerate(zip(items, lengths, sizes)):
        alone = scores[:n, row:row + 1, :size]
        path, value = viterbi(alone, np.array([n]), stack([item], stay))
        gamma, total = forward_backward(alone, np.array([n]), stack([item], stay))
        assert (paths[:n, row] == path[:, 0]).all() and values[row] == value[0]
        np.testing.assert_allclose(gammas[:n, row, :size], gamma[:, 0], atol=1e-6)
        assert totals[row] == pytest.approx(total[0], abs=1e-6)
        assert gammas[n:, row].sum() == 0 and gammas[:n, row].sum(1) == pytest.approx(1.0, abs=1e-5)


def test_silences_may_be_left_out_only_as_a_whole():
    item = chain([[1], [2]])
    stay = np.full(9, 0.5)
    frames = item.min_frames
    assert frames == 2 * STATES
    path, value = viterbi(np.zeros((frames, 1, 5 * STATES), np.float32), np.array([frames]), stack([item], stay))
    assert (item.unit[path[:, 0] // STATES] == [1] * STATES + [2] * STATES).all() and value[0] > FAR / 2
    _, value = viterbi(np.zeros((frames - 1, 1, 5 * STATES), np.float32), np.array([frames - 1]), stack([item], stay))
    assert value[0] < FAR / 2
