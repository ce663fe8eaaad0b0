"""Symmetric contrast between two sets of vectors of which the i-th of one belongs to the i-th of the other.

After CTAP (arXiv 2309.00424), in the form its authors' later work states: logits are scale * S P^T over all frames of
the batch, cross-entropy along both axes, halved.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


def symmetric_contrast(speech: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, groups: torch.Tensor,
                       labels: torch.Tensor | None = None, chunk: int = 4096,
                       gather: bool = True) -> torch.Tensor:
    """Sum over M rows of half the cross-entropy of each direction.

    speech, text: unit vectors [M, D] of the same M frames, padding already left out. scale: the factor on the cosine
    (one over the temperature). groups [M]: rows with equal numbers are each other's positives; distinct numbers give
    the plain diagonal. A row's loss is -log of the summed probability of its positives.
    labels [M]: rows of other groups with an equal label are false negatives and left out of the sum.
    chunk: rows of the similarity matrix that are held at a time; memory is chunk x M whatever M is.

    gather: under torch.distributed the candidates are those of all processes, and the sum is over this process's own rows.
    """
    alone = not (gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
    if alone and len(speech) <= chunk:
        return _both_ways(speech, text, scale, groups, labels) / 2
    collect = _gather if gather else (lambda x: x)
    all_speech, all_text, all_groups = collect(speech), collect(text), collect(groups)
    all_labels = collect(labels) if labels is not None else None
    total = speech.new_zeros((), dtype=torch.float32)
    for start in range(0, len(speech), chunk):
        rows = slice(start, start + chunk)
        masks = (groups[rows], all_groups, labels[rows] if labels is not None else None, all_labels)
        for ours, theirs in ((speech[rows], all_text), (text[rows], all_speech)):
            if len(speech) > chunk:
                total = total + checkpoint(_one_way, ours, theirs, scale, *masks, use_reentrant=False)
            else:
                total = total + _one_way(ours, theirs, scale, *masks)
    return total / 2


def _both_ways(speech, text, scale, groups, labels) -> torch.Tensor:
    """Both directions of a square matrix that fits at once. The positives of a row are few, so they are picked out, not
    masked out."""
    logits = (speech @ text.T).float() * scale
    same = groups[:, None] == groups
    if labels is not None:
        logits = logits.masked_fill((labels[:, None] == labels) & ~same, float("-inf"))
    order = groups.argsort(stable=True)
    _, group, sizes = groups.unique(return_inverse=True, return_counts=True)
    starts = sizes.cumsum(0) - sizes
    reach = torch.arange(int(sizes.max()), device=groups.device)
    members = order[(starts[group][:, None] + reach).clamp(max=len(groups) - 1)]
    beyond = reach >= sizes[group][:, None]
    total = logits.new_zeros(())
    for way in (logits, logits.T):
        positive = way.gather(1, members).masked_fill(beyond, float("-inf"))
        total = total + (way.logsumexp(1) - positive.logsumexp(1)).sum()
    return total


def _one_way(rows, candidates, scale, groups, all_groups, labels, all_labels) -> torch.Tensor:
    logits = (rows @ candidates.T).float() * scale
    same = groups[:, None] == all_groups
    if labels is not None:
        logits = logits.masked_fill((labels[:, None] == all_labels) & ~same, float("-inf"))
    positive = logits.masked_fill(~same, float("-inf"))
    return (logits.logsumexp(1) - positive.logsumexp(1)).sum()


def _gather(x: torch.Tensor) -> torch.Tensor:
    """Rows of all processes, in rank order, with gradient; row counts may differ."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return x
    count = torch.tensor([len(x)], device=x.device)
    counts = [torch.zeros_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    most = int(max(counts))
    padded = F.pad(x, (0,) * (2 * x.ndim - 1) + (most - len(x),))
    if x.is_floating_point():
        from torch.distributed.nn.functional import all_gather
        parts = all_gather(padded)
    else:
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
    return torch.cat([part[:int(n)] for part, n in zip(parts, counts)])
