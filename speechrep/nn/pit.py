"""Outputs without an order: training that lets the network choose it, and one order through chunks of a recording."""

import itertools

import torch
import torch.nn.functional as F


def pairings(size: int) -> torch.Tensor:
    """All orders of `size` things: [size!, size]."""
    return torch.tensor(list(itertools.permutations(range(size))))


def permutation_invariant_bce(logits: torch.Tensor, targets: torch.Tensor, pad: torch.Tensor
                              ) -> tuple[torch.Tensor, torch.Tensor]:
    """Binary cross-entropy with the targets in the order that makes it least (Fujita et al. 2019, arXiv 1909.05952, eq. 3).

    logits [B, N, S], targets [B, N, S] of 0 and 1, pad [B, N] -> the loss of each utterance [B], summed over frames and
    speakers, and the order [B, S]: output s goes with target order[s].
    """
    logits = logits.float()
    real = (~pad)[..., None].to(logits.dtype)
    # -log p of output s and target t is softplus(l) - l * t: one product over frames for all pairs.
    pairs = (F.softplus(logits) * real).sum(1)[:, :, None] - torch.einsum("bns,bnt->bst", logits * real, targets.to(logits))
    orders = pairings(logits.shape[-1]).to(logits.device)
    losses = pairs[:, torch.arange(logits.shape[-1], device=logits.device), orders].sum(-1)
    best = losses.argmin(1)
    return losses.gather(1, best[:, None])[:, 0], orders[best]


def stitch(chunks: torch.Tensor, hop: int, length: int) -> torch.Tensor:
    """Overlapping chunks whose speakers stand in any order -> one recording [N, S].

    chunks [C, L, S]: probabilities; chunk c begins at frame c * hop, hop < L unless there is one chunk only. Each chunk takes
    the order in which it differs least (absolutely) from what the chunks before it say of the frames they share; of
    equally good orders the first, which is its own. Where chunks overlap, the mean of all counts.
    """
    count, size, speakers = chunks.shape
    total = torch.zeros(max(length, (count - 1) * hop + size), speakers, dtype=chunks.dtype, device=chunks.device)
    heard = torch.zeros(len(total), 1, dtype=chunks.dtype, device=chunks.device)
    orders = pairings(speakers).to(chunks.device)
    for number, chunk in enumerate(chunks):
        place = slice(number * hop, number * hop + size)
        known = heard[place, 0] > 0
        if bool(known.any()):
            # What stands behind the end of the recording is no evidence.
            known &= torch.arange(place.start, place.stop, device=chunks.device) < length
            before = total[place][known] / heard[place][known]
            far = (chunk[known][:, orders] - before[:, None]).abs().sum((0, 2))
            chunk = chunk[:, orders[far.argmin()]]
        total[place] += chunk
        heard[place] += 1
    return total[:length] / heard[:length]
