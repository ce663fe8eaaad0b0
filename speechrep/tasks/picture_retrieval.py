"""Retrieval across speech, pictures and languages, with a method that puts both in one space; trains nothing.

| metric | query | candidates | right |
|---|---|---|---|
| speech_to_picture | a description | the pictures of the part | its picture |
| picture_to_speech | a picture, once for each description | the descriptions in that language | of the picture |
| speech_to_speech | a description, once a language other than its own | the descriptions in that language | of its picture |

Pictures that are described by the same words in the same language are one as far as that description goes. Recall at
1, 5 and 10, with the recall of a random order beside it; intervals are over pictures, since descriptions of one
picture succeed and fail together.

What takes many words in one language takes many in another: `speech_to_speech_by_length` orders the descriptions by how
near their duration comes, each language's on its own scale. What finds no more than that need not have heard a word.
And where pictures have a `category`, `speech_to_category_1` leaves out the pictures that a description may mean, and asks
whether the first of the others is of its category.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from speechrep.data.dataset import SpeechDataset, collate, to_device
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Method
from speechrep.metrics.bootstrap import ratio_interval
from speechrep.metrics.retrieval import recall_by_chance, recall_ranks
from speechrep.metrics.score import metric, write_score
from speechrep.provenance import provenance
from speechrep.upstream import RANDOM, load_method, source_of

RECALL_AT = (1, 5, 10)
BATCH_SEC = 100.0
SHOWN = 5
"""So many pictures found by a description stand in per_utt.tsv."""
DIRECTIONS = ("speech_to_picture", "picture_to_speech", "speech_to_speech", "speech_to_speech_by_length")


class Described(NamedTuple):
    """The descriptions of a part and their pictures in one space; all vectors have length 1."""

    utts: list[str]
    speech: torch.Tensor
    """[U, J]."""
    image: torch.Tensor
    """[P, J]."""
    picture: torch.Tensor
    """The number of each description's picture [U]."""
    lang: list[str]
    text: list[str]
    seconds: list[float]


class Queries(NamedTuple):
    """The outcome of some queries of one direction."""

    direction: str
    ranks: torch.Tensor
    """Wrong candidates before the first right one [Q]."""
    right: torch.Tensor
    """[Q, M]."""
    picture: torch.Tensor
    """What intervals are over [Q]."""
    utts: list[str]
    """The description that asks, or that is asked for."""


@torch.no_grad()
def describe(method: Method, folder: DataFolder, dump: Path, device: str = "cpu") -> Described:
    """Vectors of every utterance of `folder` and of every picture. dump: the features of this part. Raises `SpeechrepError`
    for a described picture whose utterance has no features: fewer candidates are easier to choose from."""
    dataset = SpeechDataset(folder, dump, method.inventory, ("feats", "image", "text"), max_sec=60.0)
    dataset.require_features(utt for utt in folder.utts if utt in dataset.pictures and utt in dataset.texts)
    order = sorted(range(len(dataset)), key=lambda i: (-dataset.seconds[i], i))
    speech: dict[int, torch.Tensor] = {}
    image: dict[int, torch.Tensor] = {}
    numbers: dict[int, int] = {}
    start = 0
    while start < len(order):
        rows = order[start:start + max(1, int(BATCH_SEC / dataset.seconds[order[start]]))]
        batch = to_device(collate([dataset[i] for i in rows]), torch.device(device))
        speech |= dict(zip(rows, method.utterance(batch).cpu()))
        ids = batch["image_id"].tolist()
        numbers |= dict(zip(rows, ids))
        new = [row for row, number in enumerate(ids) if number not in image and number not in ids[:row]]
        if new:
            image |= dict(zip([ids[row] for row in new], method.image_vector(batch["image"][new]).cpu()))
        start += len(rows)
    seen = sorted(image)
    place = {number: i for i, number in enumerate(seen)}
    langs, texts = folder.read("utt2lang"), folder.read("text")
    return Described(dataset.utts, F.normalize(torch.stack([speech[i] for i in range(len(dataset))]), dim=-1),
                     F.normalize(torch.stack([image[number] for number in seen]), dim=-1),
                     torch.tensor([place[numbers[i]] for i in range(len(dataset))]),
                     [langs[utt] for utt in dataset.utts], [texts[utt] for utt in dataset.utts], dataset.seconds)


def answers(items: Described) -> torch.Tensor:
    """Which pictures each description may mean [U, P]: those described by the same words in its language."""
    meant = defaultdict(set)
    for lang, text, picture in zip(items.lang, items.text, items.picture.tolist()):
        meant[lang, text].add(picture)
    right = torch.zeros(len(items.utts), len(items.image), dtype=torch.bool)
    for row, key in enumerate(zip(items.lang, items.text)):
        right[row, list(meant[key])] = True
    return right


def retrieve(items: Described) -> Iterator[Queries]:
    """All queries of the three directions, language by language."""
    meant = answers(items)
    yield Queries("speech_to_picture", recall_ranks(items.speech @ items.image.T, meant), meant, items.picture,
                  items.utts)
    for rows in _by_language(items):
        asked = items.picture[rows]
        # Descriptions in this language that may mean the picture.
        right = meant[rows][:, asked].T
        yield Queries("picture_to_speech", recall_ranks(items.image[asked] @ items.speech[rows].T, right), right, asked,
                      [items.utts[row] for row in rows.tolist()])
    yield from across_languages(items, "speech_to_speech")
    yield from across_languages(items._replace(speech=by_length(items)), "speech_to_speech_by_length")


def across_languages(items: Described, direction: str) -> Iterator[Queries]:
    """Descriptions asked for by those in every other language."""
    meant, of_language = answers(items), _by_language(items)
    for rows in of_language:
        for others in (others for others in of_language if others is not rows):
            right = meant[others][:, items.picture[rows]].T
            keep = right.any(1)
            if keep.any():
                asking = rows[keep]
                ranks = recall_ranks(items.speech[asking] @ items.speech[others].T, right[keep])
                yield Queries(direction, ranks, right[keep], items.picture[asking],
                              [items.utts[row] for row in asking.tolist()])


def by_length(items: Described) -> torch.Tensor:
    """Vectors [U, 2] of length 1, the nearer the nearer the logarithms of two durations, standardised by language."""
    log = torch.tensor(items.seconds, dtype=torch.float64).log()
    for rows in _by_language(items):
        log[rows] = (log[rows] - log[rows].mean()) / log[rows].std(correction=0).clamp_min(1e-9)
    # On half a circle the dot product falls with the distance.
    angle = log / log.abs().max().clamp_min(1e-9) * torch.pi / 2
    return torch.stack([angle.cos(), angle.sin()], 1)


def of_category(items: Described, category: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which descriptions may not mean every picture [U], and of these, whether the nearest picture that they don't mean is
    of their category [Q], and which share of those pictures is [Q]. category: of each description [U]."""
    names = sorted(set(category))
    said = torch.tensor([names.index(name) for name in category])
    shown = torch.zeros(len(items.image), dtype=torch.long).index_copy(0, items.picture, said)
    other = ~answers(items)
    keep = other.any(1)
    other, same = other[keep], shown == said[keep, None]
    nearest = (items.speech[keep] @ items.image.T).masked_fill(~other, -torch.inf).argmax(1)
    return keep, same.gather(1, nearest[:, None])[:, 0], (same & other).sum(1) / other.sum(1)


def _by_language(items: Described) -> list[torch.Tensor]:
    return [torch.tensor([row for row, other in enumerate(items.lang) if other == lang]) for lang in sorted(set(items.lang))]


def _share(count: np.ndarray, hits: np.ndarray, luck: np.ndarray) -> dict[str, float]:
    """Queries, those that found, and how many would by chance, each a picture [P] -> the metric."""
    value = ratio_interval(hits, count)
    return metric(*(100 * v for v in value), n=int(count.sum()), unit="%", better="higher") | {
        "chance": 100 * float(luck.sum() / count.sum())}


def score_pictures(checkpoint: str | Path, test: DataFolder, dump: Path, out: Path, system: str, seed: int,
                   device: str = "cpu") -> dict:
    """Recalls of a checkpoint, or of its network untrained (random:CHECKPOINT), on the part `test`, into out/score.json
    and per_utt.tsv, which holds the place of the right one among all, 1 where it is found first, and the pictures that each
    description finds first, named by an utterance; returns the score.

    Raises `SpeechrepError` where the method has no pictures, or the part none.
    """
    method = load_method(source_of(str(checkpoint)), device, untrained=str(checkpoint).startswith(RANDOM))
    if not hasattr(method, "image_vector") or not hasattr(method, "utterance"):
        raise SpeechrepError(f"{checkpoint}: a method without pictures", "a method with `image_vector` and `utterance`",
                             "train one, such as resdavenet_vq, on a corpus with pictures")
    items = describe(method, test, Path(dump) / method.inventory.features["kind"] / test.path.name, device)
    sums = {direction: defaultdict(lambda: np.zeros(1 + 2 * len(RECALL_AT))) for direction in DIRECTIONS}
    per_utt: dict[str, dict[str, float]] = {utt: {} for utt in items.utts}
    for queries in retrieve(items):
        hits = [(queries.ranks < k).double() for k in RECALL_AT]
        luck = [recall_by_chance(queries.right, k) for k in RECALL_AT]
        columns = torch.stack([torch.ones_like(hits[0]), *hits, *luck], 1).numpy()
        for row, values in zip(queries.picture.tolist(), columns):
            sums[queries.direction][row] += values
        if queries.direction in ("speech_to_picture", "picture_to_speech"):
            for utt, rank in zip(queries.utts, queries.ranks.tolist()):
                per_utt[utt][f"{queries.direction}_place"] = rank + 1
    first = {picture: utt for utt, picture in zip(reversed(items.utts), reversed(items.picture.tolist()))}
    nearest = (items.speech @ items.image.T).topk(min(SHOWN, len(items.image))).indices
    for utt, pictures in zip(items.utts, nearest.tolist()):
        per_utt[utt]["found"] = " ".join(first[picture] for picture in pictures)
    found = {}
    for direction, by_picture in sums.items():
        if not by_picture:
            continue
        table = np.stack([by_picture[picture] for picture in sorted(by_picture)])
        for place, k in enumerate(RECALL_AT, 1):
            found[f"{direction}_{k}"] = _share(table[:, 0], table[:, place], table[:, place + len(RECALL_AT)])
    if test.has("category"):
        category = test.read("category")
        keep, hits, luck = of_category(items, [category[utt] for utt in items.utts])
        table = np.zeros((len(items.image), 3))
        np.add.at(table, items.picture[keep].numpy(), torch.stack([torch.ones_like(luck), hits, luck], 1).numpy())
        found["speech_to_category_1"] = _share(*table[table[:, 0] > 0].T)
    data = {test.path.name: {"utterances": len(items.utts), "pictures": len(items.image),
                             "languages": len(set(items.lang))}}
    notes = [] if "speech_to_speech_1" in found else ["one language: nothing to retrieve across languages"]
    return write_score(Path(out) / "score.json", task="pictures", part=test.path.name, system=system, seed=seed,
                       metrics=found, per_utt=per_utt, notes=notes,
                       provenance=provenance(sys.argv, {"checkpoint": str(checkpoint)}, seed, data))
