"""Frame retrieval: does a frame of speech find its own frame of the phoneme side, and the other way round?"""

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
