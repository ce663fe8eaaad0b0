"""Query by example without training: in which documents is a spoken query said? SUPERB's protocol, from any layer.

Frames are normalised in each dimension over queries and documents together; a query is looked for in every document by
subsequence DTW (`speechrep.metrics.subsequence_dtw`), and its scores over the documents are brought to mean 0 and
deviation 1. Every layer is tried on dev, and the best is reported on test by its MTWV (`speechrep.metrics.mtwv`); of
equal ones the first, but where all are equal, as where none finds anything, the last, as without dev.

Queries are a data folder of their own with `relevance`, lines "QUERY DOCUMENT" of what matches. Documents that the
query's own speaker said are no trials, where both folders tell speakers. Where the truth covers documents beyond the
folder, as QUESST's does other languages, `relevance.all` holds all its lines and `documents.all` all documents, those
in which no query is said too: a second MTWV counts what is beyond the folder as not reported.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from speechrep.data.folder import DataFolder, tables_digest
from speechrep.data.lists import read_list
from speechrep.errors import SpeechrepError
from speechrep.extract import extract, fingerprint, layer_features, layer_number, open_dataset, open_upstream
from speechrep.files import read_json
from speechrep.metrics.bootstrap import mean_interval
from speechrep.metrics.mtwv import UNREPORTED, TermWeighted, mtwv, term_weighted_value
from speechrep.metrics.score import metric
from speechrep.metrics.subsequence_dtw import match
from speechrep.tasks.base import Scored, ZeroShot
from speechrep.tasks.kept import MADE, check_count, keep, read_rows, score_kept, value_of
from speechrep.upstream import Upstream

RELEVANCE = {"queries_dev": ("relevance",), "queries_test": ("relevance",)}
ZERO_SHOT = tuple(ZeroShot({"--train": train, "--dev-queries": "queries_dev", "--dev": dev, "--queries": "queries_test",
                            "--test": test}, RELEVANCE, ("mtwv",))
                  for train, dev, test in (("docs", "docs", "docs"), ("train", "dev", "test")))
"""QUESST's documents are one folder; elsewhere queries are looked for in dev and test."""

MIN_FRAMES = 5
"""A query of fewer frames is not looked for: all its scores are 0 (s3prl)."""
YES = 2.0
"""The score above which the reference's system says yes."""
SCORES, LAYERS = "scores.tsv", "layers.tsv"
SCORE_COLUMNS, LAYER_COLUMNS = ("query", "document", "score", "decision", "hit"), ("layer", "mtwv", "threshold")
LEAST_DEVIATION = 1e-9
"""Of features and of scores (s3prl)."""

Layers = dict[int, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Trials:
    """Queries [Q] and documents [R] by name; hits and what is judged at all [Q, R]; and how many documents beyond the
    folder hold each query [Q], of how many, None where that is not known."""

    queries: list[str]
    documents: list[str]
    hits: np.ndarray
    judged: np.ndarray
    beyond: tuple[np.ndarray, int] | None = None


def read_relevance(path: Path, queries: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of query and document in a file. Raises `SpeechrepError` as `read_list`, and for a query that is not
    among `queries`."""
    known, rows = set(queries), read_list(path)
    unknown = next((query for query, _ in rows if query not in known), None)
    if unknown is not None:
        raise SpeechrepError(f"{path}: the query '{unknown}' is not in {path.parent}", "queries of that folder")
    return rows


def read_trials(queries: DataFolder, documents: DataFolder) -> Trials:
    """What is to be decided, and the truth. Raises `SpeechrepError` for a document that the folder lacks, and where no
    query is said by another speaker."""
    rows, columns = ({utt: i for i, utt in enumerate(folder.utts)} for folder in (queries, documents))
    hits = np.zeros((len(rows), len(columns)), dtype=bool)
    path = queries.path / "relevance"
    for query, document in read_relevance(path, queries.utts):
        if document not in columns:
            raise SpeechrepError(f"{path}: the document '{document}' is not in {documents.path}",
                                 "documents of that folder", "name the folder that the queries are for")
        hits[rows[query], columns[document]] = True
    judged = np.ones_like(hits)
    if queries.has("utt2spk") and documents.has("utt2spk"):
        asking, answering = (_speakers(folder, side) for side, folder in (("query", queries), ("document", documents)))
        judged = asking[:, None] != answering
    if not (hits & judged).any():
        raise SpeechrepError(f"{path}: no query that another speaker says in {documents.path}", "at least one")
    return Trials(list(rows), list(columns), hits & judged, judged, _beyond(queries, set(columns)))


def _speakers(folder: DataFolder, side: str) -> np.ndarray:
    """Who says each utterance [U]; one of whom nothing is said is taken for another than all."""
    speakers = folder.labels("utt2spk")
    return np.array([speakers.get(utt, f"{side} {utt}") for utt in folder.utts])


def _beyond(queries: DataFolder, documents: set[str]) -> tuple[np.ndarray, int] | None:
    if not (queries.path / "relevance.all").is_file():
        return None
    outside = [pair for pair in read_relevance(queries.path / "relevance.all", queries.utts)
               if pair[1] not in documents]
    asked = Counter(query for query, _ in outside)
    names = {row[0] for row in read_list(queries.path / "documents.all")}
    unknown = sorted({document for _, document in outside} - names)
    if unknown:
        raise SpeechrepError(f"{queries.path}/relevance.all: the document '{unknown[0]}' is not in documents.all",
                             "documents that there are", "prepare the folder again")
    return np.array([asked[utt] for utt in queries.utts]), len(names - documents)


class _Normalised(Sequence):
    """Features of utterances, less `mean`, by `std` [D]."""

    def __init__(self, features: Mapping[str, np.ndarray], utts: list[str], mean: np.ndarray, std: np.ndarray):
        self.features, self.utts, self.mean, self.std = features, utts, mean, std

    def __len__(self) -> int:
        return len(self.utts)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(((self.features[self.utts[index]] - self.mean) / self.std).astype(np.float32))


def scores_of(queries: Mapping[str, np.ndarray], documents: Mapping[str, np.ndarray], trials: Trials,
              distance: str = "cosine_exp") -> tuple[np.ndarray, int]:
    """Normalised scores of all trials [Q, R], and how many queries were too short. Features are [N, D]."""
    count, total, squares, lengths = 0, 0.0, 0.0, []
    for part, utts in ((queries, trials.queries), (documents, trials.documents)):
        for utt in utts:
            frames = np.asarray(part[utt], dtype=np.float64)
            count, total, squares = count + len(frames), total + frames.sum(0), squares + (frames * frames).sum(0)
            lengths.append(len(frames))
    mean = total / count
    std = np.sqrt(np.maximum((squares - count * mean ** 2) / max(count - 1, 1), 0)).clip(LEAST_DEVIATION)
    of_queries, of_documents = lengths[:len(trials.queries)], lengths[len(trials.queries):]
    asked = [i for i, length in enumerate(of_queries) if length >= MIN_FRAMES]
    spoken = _Normalised(queries, [trials.queries[i] for i in asked], mean, std)
    scores = np.zeros(trials.hits.shape)
    scores[asked] = -match(list(spoken), _Normalised(documents, trials.documents, mean, std), of_documents, distance)
    return _standardised(scores, trials.judged), len(of_queries) - len(asked)


def _standardised(scores: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Each query's scores with mean 0 and deviation 1 over what is judged."""
    count = np.maximum(judged.sum(1, keepdims=True), 1)
    centred = scores - np.where(judged, scores, 0).sum(1, keepdims=True) / count
    deviation = np.sqrt(np.where(judged, centred ** 2, 0).sum(1, keepdims=True) / count)
    return centred / deviation.clip(LEAST_DEVIATION)


def with_unreported(trials: Trials, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, hits and what is judged, with the documents beyond the folder as trials that were not reported."""
    counts, size = trials.beyond
    more = np.arange(size) < counts[:, None]
    return (np.concatenate([scores, np.full(more.shape, UNREPORTED)], 1), np.concatenate([trials.hits, more], 1),
            np.concatenate([trials.judged, np.ones_like(more)], 1))


def score_qbe(spec: str, train: DataFolder, queries: DataFolder, documents: DataFolder, dump: Path, out: Path,
              system: str, seed: int, layer: int = -1, distance: str = "cosine_exp", cache: Path | None = None,
              dev: tuple[DataFolder, DataFolder] | None = None, device: str = "cpu") -> dict:
    """MTWV of a layer of `spec` on `queries` and `documents`, into out/score.json, beside it scores.tsv with the score
    of every trial, of which the score is made (`score_files`), and layers.tsv.

    dev: queries and documents on which the layer is chosen (see `best_layer`); `layer` is then not looked at.
    cache: where layers are kept for several tasks. The intervals are over queries, at the threshold that was found; where
    nothing is detected there is none.
    """
    upstream = open_upstream(spec, train, dump, device)
    upstream.require_frames("qbe")
    trials = read_trials(queries, documents)
    tried: dict[int, TermWeighted] = {}
    if dev is not None:
        dev_trials = read_trials(*dev)
        for number, scores in _each_layer(spec, upstream, train, *dev, dev_trials, dump, cache, distance,
                                          list(range(len(upstream.dims)))):
            tried[number] = mtwv(scores[0], dev_trials.hits, trials=dev_trials.judged)
        layer, stands_out = best_layer({number: found.value for number, found in tried.items()})
    layer = layer_number(upstream, layer)
    ((_, (scores, short)),) = _each_layer(spec, upstream, train, queries, documents, trials, dump, cache, distance,
                                          [layer])
    notes = []
    if tried:
        notes.append("each system's layer is the best on dev" if stands_out else
                     f"no layer stands out on dev, where the MTWV of all {len(tried)} is {tried[layer].value:g}; the last is "
                     "taken")
    if short:
        notes.append(f"{short} queries of fewer than {MIN_FRAMES} frames are not looked for")
    tables = {SCORES: _scores_table(trials, scores)}
    if tried:
        tables[LAYERS] = "\n".join(["\t".join(LAYER_COLUMNS), *(
            f"{number}\t{value.value!r}\t{value.threshold!r}" for number, value in tried.items())]) + "\n"
    settings = {"upstream": spec, "upstream_digest": fingerprint(spec, train, dump),
                "data_digest": tables_digest(queries.path, documents.path, *(folder.path for folder in dev or ())),
                "layer": layer, "distance": distance,
                "dev": [str(folder.path) for folder in dev] if dev else None}
    data = {queries.name: {"queries": len(trials.queries), "counted": int(trials.hits.any(1).sum())},
            documents.name: {"documents": len(trials.documents), "trials": int(trials.judged.sum()),
                             "hits": int(trials.hits.sum())}}
    beyond = None if trials.beyond is None else {"documents": trials.beyond[1],
                                                 "counts": dict(zip(trials.queries, trials.beyond[0].tolist()))}
    keep(out, "qbe", documents.name, tables, settings, data, notes, queries=trials.queries, beyond=beyond)
    return score_kept(out, out, system, seed)


def score_files(folder: Path) -> Scored:
    """MTWV and the like of the scores in `folder`, and TWV, misses and false alarms of each query. Raises `SpeechrepError`
    for a trial that is missing or stands twice."""
    made = read_json(folder / MADE)
    trials, scores = read_scores(folder)
    best = mtwv(scores, trials.hits, trials=trials.judged)
    # JSON knows no infinity, the threshold of a system that should detect nothing.
    threshold = best.threshold if np.isfinite(best.threshold) else None
    found = {"mtwv": _metric(best) | {"threshold": threshold}, "atwv": _metric(_above(scores, trials))}
    if made["config"]["dev"]:
        path = folder / LAYERS
        thresholds = {row[0]: value_of(path, row[2]) for row in read_rows(path, LAYER_COLUMNS, 1)}
        layer = str(made["config"]["layer"])
        if layer not in thresholds:
            raise SpeechrepError(f"{path}: no layer {layer}", f"that which {MADE} says was chosen")
        found["twv_dev_threshold"] = _metric(term_weighted_value(scores, trials.hits, thresholds[layer],
                                                                 trials=trials.judged))
    if trials.beyond is not None:
        more, hits, judged = with_unreported(trials, scores)
        found["mtwv_all"] = _metric(mtwv(more, hits, trials=judged))
    notes = [f"atwv is at the threshold {YES:g}", "the intervals are over queries, at a fixed threshold"]
    empty = [name for name, entry in found.items() if entry["low"] is None]
    if empty:
        notes.append(f"{', '.join(empty)}: nothing is detected, which is worth 0 for every query and has no interval")
    notes += made["notes"]
    unheard = len(trials.queries) - len(best.queries)
    if unheard:
        notes.append(f"{unheard} queries that no document holds are not counted")
    per_query = {trials.queries[q]: {"hits": int(trials.hits[q].sum()), "twv": float(value), "p_miss": float(miss),
                                     "p_fa": float(alarm)}
                 for q, value, miss, alarm in zip(best.queries.tolist(), best.values, best.misses, best.alarms)}
    return Scored(found, per_query, notes)


def read_scores(folder: Path) -> tuple[Trials, np.ndarray]:
    """The trials and their scores [Q, R] that `score_qbe` left in a folder. Raises `SpeechrepError` as `score_files`."""
    made, path = read_json(folder / MADE), folder / SCORES
    rows = read_rows(path, SCORE_COLUMNS, 2)
    check_count(path, "trials", len(rows), made["data"][made["part"]]["trials"])
    queries = {name: i for i, name in enumerate(made["queries"])}
    documents = {name: i for i, name in enumerate(sorted({row[1] for row in rows}))}
    unknown = next((row[0] for row in rows if row[0] not in queries), None)
    if unknown is not None:
        raise SpeechrepError(f"{path}: the query '{unknown}'", f"one that {MADE} names")
    scores = np.zeros((len(queries), len(documents)))
    hits, judged = np.zeros(scores.shape, dtype=bool), np.zeros(scores.shape, dtype=bool)
    for query, document, score, _, hit in rows:
        at = queries[query], documents[document]
        scores[at], hits[at], judged[at] = value_of(path, score), hit == "1", True
    check_count(path, "hits", int(hits.sum()), made["data"][made["part"]]["hits"])
    beyond = made["beyond"] and (np.array([made["beyond"]["counts"][query] for query in queries]), made["beyond"]["documents"])
    return Trials(list(queries), list(documents), hits, judged, beyond), scores


def best_layer(tried: Mapping[int, float]) -> tuple[int, bool]:
    """The layer of the greatest MTWV, of equal ones the first, and whether it stands out: where all of several layers are
    equal, dev says nothing, and it is the last, which `layer` is by default too."""
    if len(tried) > 1 and len(set(tried.values())) == 1:
        return max(tried), False
    return max(tried, key=lambda number: tried[number]), True


def _above(scores: np.ndarray, trials: Trials) -> TermWeighted:
    """What the reference's own decisions are worth."""
    found = term_weighted_value(scores, trials.hits, np.nextafter(YES, np.inf), trials=trials.judged)
    return replace(found, threshold=YES)


def _each_layer(spec: str, upstream: Upstream, train: DataFolder, queries: DataFolder, documents: DataFolder,
                trials: Trials, dump: Path, cache: Path | None, distance: str,
                numbers: list[int]) -> Iterator[tuple[int, tuple[np.ndarray, int]]]:
    """`scores_of` each layer, one after the other."""
    sides = []
    for folder, utts in ((queries, trials.queries), (documents, trials.documents)):
        layers = _layers(spec, upstream, folder, train, dump, cache, numbers)
        missing = sorted(set(utts) - set(layers[numbers[0]]))
        if missing:
            raise SpeechrepError(f"{dump}: {len(missing)} utterances of {folder.path} have no features, such as "
                                 f"'{missing[0]}'", "features of every query and document", "run stage 3 (dump) again")
        sides.append(layers)
    for number in numbers:
        yield number, scores_of(sides[0][number], sides[1][number], trials, distance)


def _layers(spec: str, upstream: Upstream, folder: DataFolder, train: DataFolder, dump: Path, cache: Path | None,
            numbers: list[int]) -> Layers:
    if cache is not None:
        return dict(extract(spec, folder, train, dump, cache, numbers, device=str(upstream.mean.device)))
    dataset = open_dataset(upstream, folder, dump)
    found: dict[int, dict[str, np.ndarray]] = {number: {} for number in numbers}
    for utt, outputs in layer_features(upstream, dataset, dataset.utts, numbers):
        for number, output in zip(numbers, outputs):
            found[number][utt] = output
    return found


def _metric(found: TermWeighted) -> dict:
    value, low, high = mean_interval(found.values)
    if (found.misses == 1).all() and not found.alarms.any():
        # Whichever queries were drawn: an interval of no width would look like certainty.
        low = high = None
    return metric(value, low, high, n=len(found.values), unit="", better="higher")


def _scores_table(trials: Trials, scores: np.ndarray) -> str:
    """A line a trial: its score, whether that says yes, and whether it is one. Scores are written whole, so that what is read
    makes the same score."""
    lines = ["\t".join(SCORE_COLUMNS)]
    for q, d in np.argwhere(trials.judged).tolist():
        score = float(scores[q, d])
        lines.append(f"{trials.queries[q]}\t{trials.documents[d]}\t{score!r}\t{'YES' if score > YES else 'NO'}\t"
                     f"{int(trials.hits[q, d])}")
    return "\n".join(lines) + "\n"
