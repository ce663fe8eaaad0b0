"""The contrastive loss against a plain double loop, and its bounds."""

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from speechrep.nn.contrastive import symmetric_contrast

PEAKS = """
import resource, torch
from speechrep.nn.contrastive import symmetric_contrast
torch.set_num_threads(1)
for frames in (64, 2048, 8192):
    speech, text = (torch.nn.functional.normalize(torch.randn(frames, 64), dim=-1).requires_grad_() for _ in range(2))
    groups = torch.arange(frames) // 4
    symmetric_contrast(speech, text, torch.tensor(10.0), groups, groups % 40, 256).backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def plain(speech, text, scale, groups, labels):
    """Row by row, by definition."""
    total = 0.0
    for ours, theirs in ((speech, text), (text, speech)):
        for i in range(len(ours)):
            positive, everything = 0.0, 0.0
            for j in range(len(ours)):
                value = math.exp(scale * float(ours[i] @ theirs[j]))
                if groups[i] == groups[j]:
                    positive += value
                    everything += value
                elif labels is None or labels[i] != labels[j]:
                    everything += value
            total += -math.log(positive / everything)
    return total / 2


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(23, 6, generator=generator, dtype=torch.float64), dim=-1) for _ in range(2)]


@pytest.mark.parametrize("chunk", [4, 7, 23, 1000])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scale", [7.0, 100.0])
def test_agrees_with_the_definition(pairs, chunk, shared, masked, scale):
    groups = torch.arange(23) // 3 if shared else torch.arange(23)
    # Unsorted, so that positives lie in tiles off the diagonal, too.
    groups = groups[torch.randperm(23, generator=torch.Generator().manual_seed(2))]
    labels = groups % 4 if masked else None
    loss = symmetric_contrast(*pairs, torch.tensor(scale, dtype=torch.float64), groups, labels, chunk)
    assert float(loss) == pytest.approx(plain(*pairs, scale, groups, labels), rel=1e-10)
    single = symmetric_contrast(*(pair.float() for pair in pairs), torch.tensor(scale), groups, labels, chunk)
    assert float(single) == pytest.approx(float(loss), rel=1e-5)


def differentiable(speech, text, scale, groups, labels):
    """The definition on the whole matrix at once, for automatic differentiation."""
    same = groups[:, None] == groups
    out = torch.zeros_like(same) if labels is None else (labels[:, None] == labels) & ~same
    logits = (scale * speech @ text.T).masked_fill(out, float("-inf"))
    own = logits.masked_fill(~same, float("-inf"))
    return sum((logits.logsumexp(axis) - own.logsumexp(axis)).sum() for axis in (0, 1)) / 2


@pytest.mark.parametrize("chunk", [5, 23, 100])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind, exact", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_gradients_agree_with_automatic_differentiation(pairs, chunk, shared, masked, kind, exact):
    groups = (torch.arange(23) * 5) % 6 if shared else torch.arange(23)
    labels = (torch.arange(23) // 3) % 4 if masked else None
    gradients = []
    for loss in (lambda *x: symmetric_contrast(*x, groups, labels, chunk), lambda *x: differentiable(*x, groups, labels)):
        leaves = [x.detach().clone().to(kind).requires_grad_() for x in (*pairs, torch.tensor(5.0))]
        # A factor behind the loss, as weights and counts put there.
        (3 * loss(*leaves)).backward()
        gradients.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, atol=exact * float(theirs.abs().max()), rtol=0)


def test_memory_does_not_grow_with_the_square_of_the_frames():
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    few, some, many = (int(line) / 1024 for line in done.stdout.split())
    # In MiB: a tile has 0.25, one row of tiles of 8192 frames has 8, the whole matrix 256; inputs and gradients have 8.
    assert some - few < 24 and many - some < 40, (few, some, many)


def test_mixed_precision_differs_by_its_rounding_only(pairs):
    groups, results = torch.arange(23) // 2, []
    for mixed in (False, True):
        leaves = [pair.float().requires_grad_() for pair in pairs]
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = symmetric_contrast(*leaves, torch.tensor(9.0), groups, None, 8)
        loss.backward()
        assert loss.dtype == leaves[0].grad.dtype == torch.float32
        results.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    for exact, rounded in zip(*results):
        error = float((exact - rounded).norm() / exact.norm())
        assert 0 < error < 0.02


def test_random_vectors_start_near_the_log_of_their_number():
    generator = torch.Generator().manual_seed(1)
    speech, text = (F.normalize(torch.randn(512, 256, generator=generator), dim=-1) for _ in range(2))
    loss = symmetric_contrast(speech, text, torch.tensor(1.0), torch.arange(512)) / 512
    assert float(loss) == pytest.approx(math.log(512), abs=0.02)


def test_repeated_vectors_have_the_floor_of_the_log_of_their_number_and_segments_have_not():
    vectors = F.normalize(torch.eye(8), dim=-1).repeat_interleave(4, 0)
    scale = torch.tensor(50.0)
    diagonal = symmetric_contrast(vectors, vectors, scale, torch.arange(32)) / 32
    segments = symmetric_contrast(vectors, vectors, scale, torch.arange(8).repeat_interleave(4)) / 32
    assert float(diagonal) == pytest.approx(math.log(4), abs=1e-4)
    assert float(segments) == pytest.approx(0, abs=1e-4)
