"""Symmetric contrast between two sets of vectors of which the i-th of one belongs to the i-th of the other.

After CTAP (arXiv 2309.00424), in the form its authors' later work states: logits are scale * S P^T over all frames of
the batch, cross-entropy along both axes, halved.
"""

from collections.abc import Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F

CPU_CHUNK = 1024
"""Larger tiles outgrow a CPU's caches: 4096 rows of 192 numbers take 0.52 s in tiles of 1024 and 0.62 s in one."""


def symmetric_contrast(speech: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, groups: torch.Tensor,
                       labels: torch.Tensor | None = None, chunk: int = 4096,
                       gather: bool = True) -> torch.Tensor:
    """Sum over M rows of half the cross-entropy of each direction.

    speech, text: unit vectors [M, D] of the same M frames, padding already left out. scale: the factor on the cosine
    (one over the temperature). groups [M]: rows with equal numbers are each other's positives; distinct numbers give
    the plain diagonal. A row's loss is -log of the summed probability of its positives.
    labels [M]: rows of other groups with an equal label are false negatives and left out of the sum.
    chunk: the most rows and columns of the similarity matrix that are held at a time. Beyond inputs and gradients,
    memory is a few tiles of chunk x chunk and a few numbers a row, whatever M is.

    gather: under torch.distributed the candidates are those of all processes, and the sum is over this process's own rows.
    """
    if torch.is_autocast_enabled(speech.device.type):
        # The backward pass must see the same logits, and runs outside of autocast.
        speech, text = (x.to(torch.get_autocast_dtype(x.device.type)) for x in (speech, text))
    chunk = min(chunk, CPU_CHUNK) if speech.device.type == "cpu" else chunk
    if not (gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return _Tiled.apply(speech, text, scale, (groups, groups), (labels, labels), chunk, True) / 2
    # A process without rows of its own also takes part in the backward pass of what is gathered here.
    all_speech, all_text, all_groups = _gather(speech), _gather(text), _gather(groups)
    all_labels = _gather(labels) if labels is not None else None
    masks = (groups, all_groups), (labels, all_labels)
    return sum(_Tiled.apply(*pair, scale, *masks, chunk, False) for pair in ((speech, all_text), (text, all_speech))) / 2


class _Tiled(torch.autograd.Function):
    """Sum of the cross-entropies of rows [M, D] among candidates [K, D] and, if `both`, of candidates among rows.

    The matrix of logits exists one tile at a time, and a second time in the backward pass: of the first pass only the
    logarithms of the sums over each row and column are kept (as in FlashAttention, arXiv 2205.14135).
    """

    @staticmethod
    def forward(ctx, rows, candidates, scale, groups, labels, chunk, both):
        wide = torch.promote_types(rows.dtype, torch.float32)
        # For each axis the logarithm of the sum over all, and over the positives.
        sums = [rows.new_full((len(x),), float("-inf"), dtype=wide) for x in (rows, rows, candidates, candidates)]
        for i, j in _tiles(len(rows), len(candidates), chunk):
            logits, at = _logits(rows[i], candidates[j], scale, [x[k] for x, k in zip(groups, (i, j))],
                                 [x if x is None else x[k] for x, k in zip(labels, (i, j))])
            positives = logits[at]
            for axis, part in enumerate((i, j)[:1 + both]):
                everything, own = sums[2 * axis][part], sums[2 * axis + 1][part]
                torch.logaddexp(everything, logits.logsumexp(1 - axis), out=everything)
                torch.logaddexp(own, _logsumexp_at(positives, at[axis], len(own)), out=own)
        ctx.save_for_backward(rows, candidates, scale, *groups, *labels, *sums)
        ctx.chunk, ctx.both = chunk, both
        total = (sums[0] - sums[1]).sum()
        return total + (sums[2] - sums[3]).sum() if both else total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        rows, candidates, scale, *rest = ctx.saved_tensors
        groups, labels, sums = rest[:2], rest[2:4], rest[4:]
        to_rows, to_candidates = (torch.zeros_like(x, dtype=sums[0].dtype) for x in (rows, candidates))
        for i, j in _tiles(len(rows), len(candidates), ctx.chunk):
            logits, at = _logits(rows[i], candidates[j], scale, [x[k] for x, k in zip(groups, (i, j))],
                                 [x if x is None else x[k] for x, k in zip(labels, (i, j))])
            positives = logits[at]
            own = (positives - sums[1][i][at[0]]).exp()
            shares = (logits - sums[0][i][:, None]).exp_()
            if ctx.both:
                own += (positives - sums[3][j][at[1]]).exp()
                shares += logits.sub_(sums[2][j]).exp_()
            shares[at] -= own
            shares = shares.to(rows.dtype)
            to_rows[i] += shares @ candidates[j]
            to_candidates[j] += shares.T @ rows[i]
        to_scale = (to_rows * rows).sum() * gradient
        factor = gradient * scale
        return (to_rows.mul_(factor).to(rows.dtype), to_candidates.mul_(factor).to(candidates.dtype),
                to_scale.to(scale.dtype), None, None, None, None)


def _tiles(height: int, width: int, chunk: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, chunk):
        for left in range(0, width, chunk):
            yield slice(top, top + chunk), slice(left, left + chunk)


def _logits(rows, candidates, scale, groups, labels) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """A tile, false negatives at minus infinity; rows and columns of its positives, which are few."""
    product = rows @ candidates.T
    logits = product.to(torch.promote_types(product.dtype, torch.float32)).mul_(scale)
    ordered, order = groups[1].sort()
    first = torch.searchsorted(ordered, groups[0])
    counts = torch.searchsorted(ordered, groups[0], right=True) - first
    row = torch.arange(len(rows), device=rows.device).repeat_interleave(counts)
    turn = torch.arange(len(row), device=rows.device) - (counts.cumsum(0) - counts)[row]
    at = row, order[first[row] + turn]
    if labels[0] is not None:
        left_out = labels[0][:, None] == labels[1]
        left_out[at] = False
        logits.masked_fill_(left_out, float("-inf"))
    return logits, at


def _logsumexp_at(values: torch.Tensor, index: torch.Tensor, size: int) -> torch.Tensor:
    """The logsumexp of the values of each index below `size`; minus infinity where there is none."""
    most = values.new_full((size,), float("-inf")).scatter_reduce_(0, index, values, "amax")
    return most + values.new_zeros(size).index_add_(0, index, (values - most[index]).exp()).log()


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
