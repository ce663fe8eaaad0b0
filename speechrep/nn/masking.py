"""Two masks, two words: `pad` is True where there is no data, `hidden` where the model may not look."""

import torch


def pad_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """True behind each sequence's end: lengths [B] -> pad [B, size]."""
    return torch.arange(size, device=lengths.device) >= lengths[:, None]


def span_mask(lengths: torch.Tensor, share: float, span: int, generators: list[torch.Generator],
              least: int = 1) -> torch.Tensor:
    """Spans of frames to hide, drawn for each utterance from its own generator (wav2vec 2.0, arXiv 2006.11477, 4.2).

    lengths [B] in frames, generators: B of them -> hidden [B, longest], on the device of `lengths`. An utterance of N
    frames gets floor(share * N / span + u) spans of `span` frames, u uniform in [0, 1), and at least `least`; their
    starts are uniform without replacement and never let a span reach over the end. Spans may overlap, so that fewer
    than share * N frames are hidden. In an utterance of no more than `span` frames a span is one frame shorter than it.
    """
    counts = lengths.tolist()
    hidden = torch.zeros(len(counts), max(counts), dtype=torch.bool)
    for row, size, generator in zip(hidden, counts, generators, strict=True):
        width = min(span, max(size - 1, 1))
        places = size - width + 1
        wanted = int(share * size / span + float(torch.rand((), generator=generator)))
        starts = torch.randperm(places, generator=generator)[:min(max(wanted, least), places)]
        row[(starts[:, None] + torch.arange(width)).flatten()] = True
    return hidden.to(lengths.device)


def generators_of(seeds: torch.Tensor) -> list[torch.Generator]:
    """A generator for each utterance, from the batch's `seeds` [B]."""
    return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
