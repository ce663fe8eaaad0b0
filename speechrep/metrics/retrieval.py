"""Retrieval: does a frame of speech find its own frame of the phoneme side, and the other way round (a definition of this
project); recall of the right ones among the k nearest, as Harwath et al. 2018 (arXiv 1804.01452) look for pictures by
speech."""

import torch


def retrieval_top1(speech: torch.Tensor, phones: torch.Tensor, segments: torch.Tensor | None = None,
                   chunk: int = 2048) -> tuple[torch.Tensor, torch.Tensor]:
    """Hits of the nearest neighbour by cosine among the N frames given (one utterance, or several joined).

    speech, phones: paired frames [N, D]. Returns two bool vectors [N]: whether the phoneme frame nearest to speech
    frame i is frame i, and whether the speech frame nearest to phoneme frame i is frame i. With `segments` [N], the
    phone segment of each frame by number, any frame of the same segment is a hit. Chance is 1/N without segments. Of
    equally near frames the first counts. Memory: chunk x N.
    """
    if speech.shape != phones.shape or speech.dim() != 2:
        raise ValueError(f"shapes {tuple(speech.shape)} and {tuple(phones.shape)}, wanted two of [N, D]")
    own = torch.arange(len(speech), device=speech.device) if segments is None else segments.to(speech.device)
    sides = [torch.nn.functional.normalize(x.float(), dim=1) for x in (speech, phones)]
    hits = []
    for queries, keys in (sides, sides[::-1]):
        found = [(queries[i:i + chunk] @ keys.T).argmax(1) for i in range(0, len(queries), chunk)]
        found = torch.cat(found) if found else torch.zeros(0, dtype=torch.long)
        hits.append(own[found] == own)
    return hits[0], hits[1]


def recall_ranks(scores: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """How many wrong candidates come before the best right one, for each query: 0 where the first is right.

    scores [Q, M], right [Q, M] True where the candidate is an answer to the query; every query must have one. Wrong
    candidates as good as the best right one come before it, so that constant scores find nothing. Recall at k is the
    share of ranks below k.
    """
    if not bool(right.any(1).all()):
        raise ValueError("a query without a right candidate")
    best = scores.masked_fill(~right, float("-inf")).amax(1, keepdim=True)
    return ((scores >= best) & ~right).sum(1)


def recall_by_chance(right: torch.Tensor, k: int) -> torch.Tensor:
    """What `recall_ranks` below `k` has on average for each query where the order is random: right [Q, M] -> [Q].

    1 - C(M - m, k) / C(M, k) for m right candidates among M.
    """
    size, answers = right.shape[1], right.sum(1).double()
    if k >= size:
        return torch.ones(len(right), dtype=torch.float64)
    drawn = torch.arange(k, dtype=torch.float64)
    return 1 - ((size - answers[:, None] - drawn).clamp(min=0) / (size - drawn)).prod(1)
