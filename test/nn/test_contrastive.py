"""The contrastive loss against a plain double loop, and its bounds."""

import math

import pytest
import torch
import torch.nn.functional as F

from speechrep.nn.contrastive import symmetric_contrast


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


@pytest.mark.parametrize("chunk", [4, 23, 1000])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_the_definition(pairs, chunk, shared, masked):
    groups = torch.arange(23) // 3 if shared else torch.arange(23)
    labels = (torch.arange(23) // 3) % 4 if masked else None
    loss = symmetric_contrast(*pairs, torch.tensor(7.0, dtype=torch.float64), groups, labels, chunk)
    assert float(loss) == pytest.approx(plain(*pairs, 7.0, groups, labels), rel=1e-5)


def test_gradients_do_not_depend_on_the_chunk(pairs):
    gradients = []
    for chunk in (5, 100):
        leaves = [pair.clone().requires_grad_() for pair in pairs]
        scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
        symmetric_contrast(*leaves, scale, torch.arange(23), None, chunk).backward()
        gradients.append([leaf.grad for leaf in (*leaves, scale)])
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


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
