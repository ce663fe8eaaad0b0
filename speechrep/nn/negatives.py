"""False frames for losses that tell the true future from others: drawn for each frame, scored beside the true one.

Letters: B utterances, N frames, D features, J false frames.
"""

import torch

FALSE = float("-inf")
"""The score of a false frame that happens to be the true one: it takes no part."""


def draw_negatives(lengths: torch.Tensor, size: int, count: int, generators: list[torch.Generator],
                   speaker: torch.Tensor | None = None) -> torch.Tensor:
    """`count` false frames for each frame, drawn with replacement -> [B, size, J] positions in the batch's frames
    flattened to [B * size].

    lengths [B], generators: one an utterance. They come from the utterance itself, or, where `speaker` [B] is given,
    from all utterances of its speaker in the batch. Behind the end stand positions that mean nothing.
    """
    rows = torch.arange(len(lengths))
    counts = lengths.tolist()
    found = torch.zeros(len(counts), size, count, dtype=torch.long)
    for row, (length, generator) in enumerate(zip(counts, generators, strict=True)):
        own = rows[row:row + 1] if speaker is None else (speaker.cpu() == speaker[row].cpu()).nonzero()[:, 0]
        pool = torch.cat([other * size + torch.arange(counts[other]) for other in own.tolist()])
        if len(pool):
            found[row, :length] = pool[torch.randint(len(pool), (length, count), generator=generator)]
    return found.to(lengths.device)


def scores(predictions: torch.Tensor, keys: torch.Tensor, negatives: torch.Tensor, ahead: int,
           within: bool = True) -> torch.Tensor:
    """Products of the prediction made at frame t with the true frame t + ahead and with its false ones.

    predictions and keys [B, N, D], negatives [B, N, J] -> [B, N - ahead, 1 + J], the true one first; -inf where a false
    frame is the true one. within: the false frames are all of the own utterance, and the products of all pairs of its
    frames are cheaper than gathering vectors. In float32, since the scores are compared.
    """
    size = keys.shape[1]
    kept = size - ahead
    predictions, negatives = predictions[:, :kept], negatives[:, :kept]
    place = torch.arange(len(keys) * size, device=keys.device).view(len(keys), size)[:, ahead:]
    with torch.autocast(keys.device.type, enabled=False):
        predictions, keys = predictions.float(), keys.float()
        true = (predictions * keys[:, ahead:]).sum(-1, keepdim=True)
        if within:
            false = (predictions @ keys.transpose(1, 2)).gather(2, negatives % size)
        else:
            false = torch.einsum("bnd,bnjd->bnj", predictions, keys.flatten(0, 1)[negatives])
    return torch.cat([true, false.masked_fill(negatives == place[..., None], FALSE)], -1)


def hits(scored: torch.Tensor) -> torch.Tensor:
    """Whether the true one's score is above all others': [..., 1 + J] -> [...]."""
    return scored[..., 0] > scored[..., 1:].amax(-1)
