"""sSIMI without training: distances of spoken words beside people's judgements, as ZeroSpeech 2021's semantic task.

A data folder holds gold.csv (type, word, filename and, where voices differ, voice) and pairs.csv (type, dataset, word_1,
word_2, similarity, relatedness) as the benchmark publishes them. The token `filename` of `type` is the utterance
TYPE_FILENAME, or FILENAME where the folder has that. Each pair has one of the two judgements; a dataset of a type with a
gap in relatedness is scored by similarity, as the benchmark's scorer does.

Layer and pooling are chosen on dev, by the mean over types of the average weighted by pairs.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechrep.data.folder import DataFolder, tables_digest
from speechrep.errors import SpeechrepError
from speechrep.extract import extract, fingerprint, layer_features, layer_number, open_dataset, open_upstream
from speechrep.files import read_json
from speechrep.metrics.bootstrap import draws
from speechrep.metrics.score import metric
from speechrep.metrics.ssimi import POOLINGS, Token, averages, pool, ssimi, word_distance
from speechrep.tasks.base import Scored, ZeroShot
from speechrep.tasks.kept import MADE, check_count, keep, read_rows, score_kept, value_of

ZERO_SHOT = tuple(ZeroShot({"--train": train, "--dev": "semantic_dev", "--test": "semantic_test"},
                           {"semantic_dev": ("gold.csv", "pairs.csv"), "semantic_test": ("gold.csv", "pairs.csv")},
                           frame_level=False)
                  for train in ("train", "phonetic_dev_clean"))
"""Features have their statistics from the training part or, as in ZeroSpeech 2021, which has none, from clean dev."""

PAIRS = "pairs.tsv"
PAIR_COLUMNS = ("type", "dataset", "number", "word_1", "word_2", "human", "distance")
"""Of the table of pairs: type, dataset and number name one."""

RECORDED = "librispeech"
"""The type whose tokens are compared whoever says them."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of words of a type and dataset: words [P] of both sides, and the judgements [P]."""

    first: list[str]
    second: list[str]
    human: np.ndarray


@dataclass(frozen=True)
class Words:
    """(type, word) -> its tokens, named by utterance; (type, dataset) -> its pairs."""

    tokens: dict[tuple[str, str], list[Token]]
    pairs: dict[tuple[str, str], Pairs]


def read_words(folder: DataFolder) -> Words:
    """gold.csv and pairs.csv of a data folder. Raises `SpeechrepError` for missing files, columns, utterances and words,
    and for judgements that are no numbers."""
    tokens: dict[tuple[str, str], list[Token]] = {}
    utts = set(folder.utts)
    for row in _rows(folder.path / "gold.csv", ("type", "word", "filename")):
        name = row["filename"].removesuffix(".wav")
        utt = f"{row['type']}_{name}" if f"{row['type']}_{name}" in utts else name
        if utt not in utts:
            raise SpeechrepError(f"{folder.path}/gold.csv: '{row['type']}_{name}' is not an utterance",
                                 f"utterances of {folder.path}")
        voice = (row.get("voice") or "") if row["type"] != RECORDED else ""
        tokens.setdefault((row["type"], row["word"]), []).append(Token(utt, row["word"], voice))
    grouped: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in _rows(folder.path / "pairs.csv", ("type", "dataset", "word_1", "word_2")):
        for word in (row["word_1"], row["word_2"]):
            if (row["type"], word) not in tokens:
                raise SpeechrepError(f"{folder.path}/pairs.csv: '{word}' of {row['type']} is not in gold.csv",
                                     "words that gold.csv has tokens of")
        grouped.setdefault((row["type"], row["dataset"]), []).append(row)
    return Words(tokens, {key: Pairs([row["word_1"] for row in rows], [row["word_2"] for row in rows],
                                     _judgements(folder.path / "pairs.csv", key, rows))
                          for key, rows in sorted(grouped.items())})


def _judgements(path: Path, key: tuple[str, str], rows: list[dict[str, str]]) -> np.ndarray:
    columns = [[row.get(name) or "" for row in rows] for name in ("relatedness", "similarity")]
    chosen = columns[0] if all(value not in ("", "nan") for value in columns[0]) else columns[1]
    try:
        values = np.array([float(value) for value in chosen])
    except ValueError:
        values = np.array([np.nan])
    if len(rows) < 2 or not np.isfinite(values).all():
        raise SpeechrepError(f"{path}: {key[0]}, {key[1]}: {len(rows)} pairs, with gaps in similarity and relatedness",
                             "two pairs or more, all with one of the two")
    return values


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", f"a table with the columns {', '.join(columns)}") from None
    for number, row in enumerate(rows, 2):
        lacking = [name for name in columns if not row.get(name)]
        if lacking:
            raise SpeechrepError(f"{path}:{number}: no {', '.join(lacking)}", f"the columns {', '.join(columns)}")
    if not rows:
        raise SpeechrepError(f"{path}: no rows", f"a table with the columns {', '.join(columns)}")
    return rows


def distances_of(words: Words, vectors: Mapping[str, np.ndarray], distance: str) -> dict[tuple[str, str], np.ndarray]:
    """(type, dataset) -> the distance of each pair [P]. Raises `SpeechrepError` where there is none."""
    found = {}
    for (kind, dataset), pairs in words.pairs.items():
        values = []
        for a, b in zip(pairs.first, pairs.second):
            try:
                values.append(word_distance(words.tokens[kind, a], words.tokens[kind, b], vectors, distance))
            except ValueError as error:
                raise SpeechrepError(f"{kind}, {dataset}: '{a}' and '{b}': {error}",
                                     "tokens in a common voice, and a distance that scipy knows of their vectors") from None
        found[kind, dataset] = np.array(values)
    return found


def correlations(pairs: Mapping[tuple[str, str], Pairs],
                 distances: Mapping[tuple[str, str], np.ndarray]) -> dict[tuple[str, str], float]:
    """(type, dataset) -> sSIMI."""
    return {key: ssimi(own.human, distances[key]) for key, own in pairs.items()}


def score_ssimi(spec: str, train: DataFolder, test: DataFolder, dump: Path, out: Path, system: str, seed: int,
                layer: int = -1, pooling: str = "mean", distance: str = "euclidean", cache: Path | None = None,
                dev: DataFolder | None = None, device: str = "cpu") -> dict:
    """sSIMI of a layer of `spec` on `test`, into out/score.json, beside it pairs.tsv with the distance of every pair, of which
    alone the score is made (`score_files`), and choices.tsv with what dev says of each layer and pooling.

    dev: where layer and pooling are chosen; `layer` and `pooling` are then not looked at. distance: a name of scipy's.
    The intervals are over pairs.
    """
    upstream = open_upstream(spec, train, dump, device)
    layer = layer_number(upstream, layer)
    tried: dict[tuple[int, str], float] = {}
    if dev is not None:
        words = read_words(dev)
        for number, vectors in _vectors(spec, upstream, dev, train, dump, cache, words, list(range(len(upstream.dims))),
                                        POOLINGS).items():
            for name in POOLINGS:
                found = correlations(words.pairs, distances_of(words, vectors[name], distance))
                means = averages(found, _sizes(words.pairs))
                tried[number, name] = float(np.mean([weighted for _, weighted in means.values()]))
        layer, pooling = max(tried, key=lambda key: tried[key])
    words = read_words(test)
    vectors = _vectors(spec, upstream, test, train, dump, cache, words, [layer], (pooling,))[layer][pooling]
    distances = distances_of(words, vectors, distance)
    tables = {PAIRS: _pairs_table(words, distances)}
    if tried:
        tables["choices.tsv"] = "layer\tpooling\tssimi\n" + "".join(
            f"{number}\t{name}\t{value:.4f}\n" for (number, name), value in tried.items())
    settings = {"upstream": spec, "upstream_digest": fingerprint(spec, train, dump),
                "data_digest": tables_digest(test.path, *([dev.path] if dev else [])),
                "layer": layer, "pooling": pooling, "distance": distance,
                "dev": str(dev.path) if dev else None}
    data = {test.path.name: {"tokens": sum(map(len, words.tokens.values())),
                             "pairs": {f"{kind}/{dataset}": len(pairs.human)
                                       for (kind, dataset), pairs in words.pairs.items()}}}
    keep(out, "ssimi", test.path.name, tables, settings, data, ["layer and pooling are the best on dev"] if tried else [])
    return score_kept(out, out, system, seed)


def score_files(folder: Path) -> Scored:
    """sSIMI of the distances in `folder`. Raises `SpeechrepError` for a pair that is missing or stands twice."""
    made, path = read_json(folder / MADE), folder / PAIRS
    by_set: dict[tuple[str, str], list[list[str]]] = {}
    for kind, dataset, *row in read_rows(path, PAIR_COLUMNS, 3):
        by_set.setdefault((kind, dataset), []).append(row)
    wanted = made["data"][made["part"]]["pairs"]
    strange = sorted({f"{kind}/{dataset}" for kind, dataset in by_set} - set(wanted))
    if strange:
        raise SpeechrepError(f"{path}: pairs of {', '.join(strange)}", f"of {', '.join(wanted)}, as {MADE} says")
    found = {f"{kind}/{dataset}": len(rows) for (kind, dataset), rows in by_set.items()}
    for name, count in wanted.items():
        check_count(path, f"pairs of {name}", found.get(name, 0), count)
    pairs = {key: Pairs([row[1] for row in rows], [row[2] for row in rows], np.array([value_of(path, row[3]) for row in rows]))
             for key, rows in by_set.items()}
    distances = {key: np.array([value_of(path, row[4]) for row in rows]) for key, rows in by_set.items()}
    return Scored(_metrics(pairs, distances), {}, ["the intervals are over pairs of words", *made["notes"]])


def _sizes(pairs: Mapping[tuple[str, str], Pairs]) -> dict[tuple[str, str], int]:
    return {key: len(own.human) for key, own in pairs.items()}


def _metrics(pairs: Mapping[tuple[str, str], Pairs], distances: Mapping[tuple[str, str], np.ndarray]) -> dict[str, dict]:
    """Of each type the mean over datasets, the mean weighted by pairs, and every dataset; in the order of a table."""
    found, sizes = correlations(pairs, distances), _sizes(pairs)
    resampled: dict[tuple[str, str], np.ndarray] = {}
    for key, own in pairs.items():
        drawn = draws(len(own.human))
        resampled[key] = np.array([ssimi(own.human[some], distances[key][some]) for some in drawn])
    metrics = {}
    for place, suffix in enumerate(("", "_weighted")):
        for kind, both in averages(found, sizes).items():
            keys = [key for key in found if key[0] == kind]
            weights = np.array([sizes[key] if place else 1 for key in keys])
            spread = np.stack([resampled[key] for key in keys], 1) @ weights / weights.sum()
            metrics[f"ssimi_{kind}{suffix}"] = _metric(both[place], spread, sum(sizes[key] for key in keys))
    for (kind, dataset), value in found.items():
        metrics[f"ssimi_{kind}_{dataset}"] = _metric(value, resampled[kind, dataset], sizes[kind, dataset])
    return metrics


def _metric(value: float, resampled: np.ndarray, count: int) -> dict:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return metric(value, low, high, n=count, unit="%", better="higher")


def _vectors(spec: str, upstream, folder: DataFolder, train: DataFolder, dump: Path, cache: Path | None, words: Words,
             numbers: list[int], poolings: tuple[str, ...]) -> dict[int, dict[str, dict[str, np.ndarray]]]:
    """Layer -> pooling -> utterance -> vector [D]. No frame is kept."""
    utts = sorted({token.name for tokens in words.tokens.values() for token in tokens})
    found = {number: {name: {} for name in poolings} for number in numbers}
    if cache is not None:
        tables = extract(spec, folder, train, dump, cache, numbers, device=str(upstream.mean.device))
        features = ((utt, [tables[number][utt] for number in numbers]) for utt in utts if utt in tables[numbers[0]])
    else:
        dataset = open_dataset(upstream, folder, dump)
        there = set(dataset.utts)
        features = layer_features(upstream, dataset, [utt for utt in utts if utt in there], numbers)
    for utt, outputs in features:
        for number, output in zip(numbers, outputs):
            for name in poolings:
                found[number][name][utt] = pool(output, name)
    missing = sorted(set(utts) - set(found[numbers[0]][poolings[0]]))
    if missing:
        raise SpeechrepError(f"{dump}: {len(missing)} utterances of {folder.path} have no features, such as '{missing[0]}'",
                             "features of every token", "run stage 3 (dump) again")
    return found


def _pairs_table(words: Words, distances: Mapping[tuple[str, str], np.ndarray]) -> str:
    """A line a pair, numbered from 1 in each dataset. Values are written whole, so that what is read makes the same score."""
    lines = ["\t".join(PAIR_COLUMNS)]
    for (kind, dataset), pairs in words.pairs.items():
        lines += [f"{kind}\t{dataset}\t{place}\t{a}\t{b}\t{human!r}\t{value!r}" for place, (a, b, human, value) in enumerate(
            zip(pairs.first, pairs.second, pairs.human.tolist(), distances[kind, dataset].tolist()), 1)]
    return "\n".join(lines) + "\n"
