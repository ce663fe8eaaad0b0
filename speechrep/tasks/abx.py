"""ABX of phones without training, within a speaker and across speakers, from any layer of any upstream.

Tokens come from an item file in ZeroSpeech's columns. Made from `ali`, it holds every phone that has a phone, not
silence, on both sides, stress and tone left out. In context a token spans the three phones, whose outer ones A, B and X
share; in any context it is the phone alone. Speakers are compared within a language only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechrep.data.alignment import read_ali
from speechrep.data.folder import DataFolder, tables_digest
from speechrep.errors import SpeechrepError
from speechrep.extract import Standardised, extract, fingerprint, layer_features, layer_number, open_dataset, open_upstream
from speechrep.files import read_json, write_text
from speechrep.metrics.abx import (MAX_GROUP, MAX_X_SPEAKERS, Abx, Cells, Item, abx, cell_names, collapse, frame_range,
                                   make_cells)
from speechrep.metrics.bootstrap import ratio_interval
from speechrep.metrics.score import metric
from speechrep.tasks.base import Scored, ZeroShot
from speechrep.tasks.kept import MADE, check_count, keep, read_rows, score_kept, value_of

COLUMNS = ("#file", "onset", "offset", "#phone", "prev-phone", "next-phone", "speaker")
CONDITIONS = {"abx_within": (False, True), "abx_across": (True, True), "abx_within_any": (False, False),
              "abx_across_any": (True, False)}
"""Metric -> (across speakers, in context)."""
OWN_ITEMS = "items.item"
"""The item file that a data folder may have, as ZeroSpeech 2021's phonetic parts do."""
MAIN = ("abx_within", "abx_across")
STANDARDISED = ("utterance", "speaker")
"""Within what frames may be standardised."""
PARTS = {"--train": "train", "--dev": "dev", "--test": "test"}
CLEAN = "phonetic_dev_clean"


def own_items(options: dict[str, str]) -> ZeroShot:
    """ABX of a corpus that has its own items for the test, and for dev where a layer is chosen on it."""
    listed = {part: (OWN_ITEMS,) for option, part in options.items() if option == "--dev"}
    return ZeroShot(options, listed, MAIN, paths={"--items": f"{options['--test']}/{OWN_ITEMS}"})


ZERO_SHOT = (own_items(PARTS), own_items({"--train": CLEAN, "--dev": CLEAN, "--test": "phonetic_test_clean"}),
             own_items({"--train": CLEAN, "--test": CLEAN}),
             ZeroShot(PARTS, {"dev": ("ali", "utt2spk"), "test": ("ali", "utt2spk")}, MAIN))
"""A corpus' own items before those of its `ali`. Of ZeroSpeech 2021 here the clean parts, whose test items were published
later than dev's (egs/zerospeech2021 scores all four parts)."""

CELLS = "cells.tsv.gz"
CELL_COLUMNS = ("condition", "a", "b", "context", "speaker", "x_speaker", "domain", "error", "triplets")
"""Of the table of cells: which is named by all but the last two."""

DRAW = 0
"""The seed of the caps: the same tokens for every system."""


@dataclass(frozen=True)
class Token:
    """A line of an item file; times in seconds."""

    utt: str
    onset: float
    offset: float
    phone: str
    before: str
    after: str
    speaker: str


def tokens_of(folder: DataFolder, triphones: bool) -> list[Token]:
    """The tokens of a data folder with `ali` and `utt2spk`; those of utterances without a speaker are left out."""
    speakers, found = folder.labels("utt2spk"), []
    for utt, line in folder.read("ali").items():
        if utt not in speakers:
            continue
        phones, ends = read_ali(line)
        names = [phone.rstrip("0123456789") or phone for phone in phones]
        times = [0.0, *ends]
        for i in range(1, len(names) - 1):
            if "SIL" not in names[i - 1:i + 2]:
                onset, offset = (times[i - 1], times[i + 2]) if triphones else (times[i], times[i + 1])
                found.append(Token(utt, onset, offset, names[i], names[i - 1], names[i + 1], speakers[utt]))
    return found


def write_items(path: Path, tokens: list[Token]) -> None:
    """An item file, which ZeroSpeech's tools and fastabx read too."""
    lines = [" ".join(COLUMNS)] + [f"{token.utt} {token.onset:.4f} {token.offset:.4f} {token.phone} {token.before} "
                                   f"{token.after} {token.speaker}" for token in tokens]
    write_text(path, "\n".join(lines) + "\n")


def read_items(path: Path) -> list[Token]:
    """The tokens of an item file. Raises `SpeechrepError` for other columns and malformed lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", f"the columns {' '.join(COLUMNS)}") from None
    if not lines or tuple(lines[0].split()) != COLUMNS:
        raise SpeechrepError(f"{path}: '{lines[0] if lines else ''}'", f"the columns {' '.join(COLUMNS)}")
    tokens = []
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        try:
            utt, onset, offset, phone, before, after, speaker = words
            tokens.append(Token(utt, float(onset), float(offset), phone, before, after, speaker))
        except ValueError:
            raise SpeechrepError(f"{path}:{number}: '{line}'", f"a value for each of {' '.join(COLUMNS)}") from None
    return tokens


def score_abx(spec: str, train: DataFolder, test: DataFolder, dump: Path, out: Path, system: str, seed: int,
              layer: int = -1, distance: str = "angular", items: Path | None = None, cache: Path | None = None,
              device: str = "cpu", dev: DataFolder | None = None, standardise: str | None = None) -> dict:
    """ABX errors of a layer of `spec` on `test`, into out/score.json, with the tokens (triphones.item, phones.item), the
    error of every cell (cells.tsv.gz), of which alone the score is made (`score_files`), and that of every pair of phones
    (pairs.tsv) beside it.

    items: an item file to be used in place of those made from `ali` (a folder without `ali` may have its own,
    items.item). Its tokens serve in context and in any; frames are found by the upstream's hop.
    cache: where layers are kept for several tasks.
    dev: a part on which the layer is chosen, that of the least mean error; `layer` is then not looked at. Its tokens are
    made as those of `test` are: from its own items.item, where it has one and `items` is given, or from `ali`.
    standardise: one of `STANDARDISED`: each dimension less the mean and over the deviation of the frames of its utterance, or
    of all of its speaker in that part; None compares frames as they are.
    The intervals are over unordered pairs of phones. Raises `SpeechrepError`, of `test` and of `dev`, where there is nothing
    to compare, for tokens of unknown utterances, for those of utterances that have no features, and for an upstream of one
    vector an utterance.
    """
    if standardise not in (None, *STANDARDISED):
        raise SpeechrepError(f"standardise: '{standardise}'", f"one of {', '.join(STANDARDISED)}, or None")
    upstream = open_upstream(spec, train, dump, device)
    upstream.require_frames("abx")
    if items is None and not test.has("ali") and (test.path / OWN_ITEMS).is_file():
        items = test.path / OWN_ITEMS
    if items is None:
        made = {True: tokens_of(test, True), False: tokens_of(test, False)}
        for triphones, name in ((True, "triphones.item"), (False, "phones.item")):
            write_items(out / name, made[triphones])
    else:
        made = dict.fromkeys((True, False), read_items(items))
    _check_known(items or test.path / "ali", made[True], test)
    if dev is not None:
        listed = not dev.has("ali") or items is not None and (dev.path / OWN_ITEMS).is_file()
        own = dict.fromkeys((True, False), read_items(dev.path / OWN_ITEMS)) if listed else \
            {triphones: tokens_of(dev, triphones) for triphones in (True, False)}
        _check_known(dev.path / (OWN_ITEMS if listed else "ali"), own[True], dev)
        if cache is not None:
            # All layers in one pass; what each look below asks for is then there.
            extract(spec, dev, train, dump, cache, list(range(len(upstream.dims))), device=str(upstream.mean.device))
        means = [_mean_error(_errors(spec, dev, own, train, dump, cache, upstream, number, distance, standardise)[0])
                 for number in range(len(upstream.dims))]
        if not np.isfinite(means).any():
            raise _nothing_to_compare(dev)
        layer = int(np.argmin(means))
    found, notes = _errors(spec, test, made, train, dump, cache, upstream, layer, distance, standardise)
    if not found:
        raise _nothing_to_compare(test)
    settings = {"upstream": spec, "upstream_digest": fingerprint(spec, train, dump),
                "data_digest": tables_digest(test.path, *([dev.path] if dev else []), *([items] if items else [])),
                "layer": layer_number(upstream, layer), "distance": distance, "max_group": MAX_GROUP,
                "max_x_speakers": MAX_X_SPEAKERS, "items": str(items) if items else None,
                "dev": str(dev.path) if dev else None, "standardise": standardise}
    data = {test.path.name: {name: {"cells": len(result.cells), "triplets": result.triplets}
                             for name, (_, result) in found.items()}}
    pairs = {name: result.pairs for name, (_, result) in found.items()}
    tables = {CELLS: _cells_table(found), "pairs.tsv": _pairs_table(pairs)}
    keep(out, "abx", test.path.name, tables, settings, data, notes)
    return score_kept(out, out, system, seed)


def score_files(folder: Path) -> Scored:
    """The errors that the cells in `folder` make, with intervals over unordered pairs of phones. Raises `SpeechrepError` for
    a cell that is missing or stands twice."""
    made, path = read_json(folder / MADE), folder / CELLS
    wanted, metrics = made["data"][made["part"]], {}
    by_condition: dict[str, list[list[str]]] = {}
    for condition, *row in read_rows(path, CELL_COLUMNS, len(CELL_COLUMNS) - 2):
        by_condition.setdefault(condition, []).append(row)
    if set(by_condition) - set(wanted):
        raise SpeechrepError(f"{path}: conditions {', '.join(by_condition)}", f"{', '.join(wanted)}, as {MADE} says")
    for condition, counts in wanted.items():
        rows = by_condition.get(condition, [])
        check_count(path, f"cells of {condition}", len(rows), counts["cells"])
        triplets = sum(int(value_of(path, row[-1])) for row in rows)
        check_count(path, f"triplets of {condition}", triplets, counts["triplets"])
        pairs = collapse([tuple(row[:-2]) for row in rows], [value_of(path, row[-2]) for row in rows])
        metrics[condition] = _metric(pairs, triplets, made["config"].get("standardise"))
    chosen = ["each system's layer is the one of least error on dev"] if made["config"]["dev"] else []
    return Scored(metrics, {}, [*made["notes"], *chosen, "the intervals are over pairs of phones"])


def _check_known(path: Path, tokens: list[Token], folder: DataFolder) -> None:
    unknown = sorted({token.utt for token in tokens} - set(folder.utts))
    if unknown:
        raise SpeechrepError(f"{path}: {len(unknown)} unknown utterances, such as '{unknown[0]}'",
                             f"utterances of {folder.path}")


def _nothing_to_compare(folder: DataFolder) -> SpeechrepError:
    return SpeechrepError(f"{folder.path}: no two phones in the same context by the same speaker",
                          "phones that a speaker says twice", "take a larger part")


def _mean_error(found: Mapping[str, tuple[Cells, Abx]]) -> float:
    return float(np.mean([result.error for _, result in found.values()])) if found else np.inf


def _errors(spec: str, test: DataFolder, made: Mapping[bool, list[Token]], train: DataFolder, dump: Path,
            cache: Path | None, upstream, layer: int, distance: str,
            standardise: str | None) -> tuple[dict[str, tuple[Cells, Abx]], list[str]]:
    """The cells and their result of every condition that has something to compare, and notes. Raises `SpeechrepError` for
    tokens of utterances without features: hard ones that are left out must not make a system better."""
    languages = test.read("utt2lang") if test.has("utt2lang") else {}
    features = _features(spec, test, train, dump, cache, upstream, layer)
    utts = {token.utt for tokens in made.values() for token in tokens}
    missing = sorted(utts - set(features))
    if missing:
        raise SpeechrepError(f"{dump}: {len(missing)} of {len(utts)} utterances of {test.path} that have tokens have no "
                             f"features, such as {', '.join(missing[:3])}", "features of every utterance with a token",
                             "run stage 3 (dump) again")
    lengths = {utt: len(features[utt]) for utt in utts}
    if standardise is not None:
        features = Standardised(features, test.labels("utt2spk") if standardise == "speaker" else {})
    found, notes, left_out = {}, [], 0
    for name, (across, in_context) in CONDITIONS.items():
        tokens = made[in_context]
        spans = [frame_range(token.onset, token.offset, upstream.rate_hz / upstream.hop_samples) for token in tokens]
        kept = [i for i, span in enumerate(spans) if span[0] < min(span[1], lengths[tokens[i].utt])]
        left_out = max(left_out, len(tokens) - len(kept))
        labels = [Item(tokens[i].phone, f"{tokens[i].before} {tokens[i].after}", tokens[i].speaker, (0, 1),
                       languages.get(tokens[i].utt, "")) for i in kept]
        cells = make_cells(labels, across, in_context, seed=DRAW)
        if not len(cells):
            notes.append(f"{name}: nothing to compare")
            continue
        frames, placed = _frames(features, [tokens[i] for i in kept], [spans[i] for i in kept], labels, cells)
        found[name] = cells, abx(frames, placed, cells, distance)
    if left_out:
        notes.append(f"{left_out} tokens shorter than a frame are left out")
    return found, notes


def _features(spec: str, test: DataFolder, train: DataFolder, dump: Path, cache: Path | None, upstream,
              layer: int) -> Mapping[str, np.ndarray]:
    if cache is not None:
        return extract(spec, test, train, dump, cache, [layer], device=str(upstream.mean.device))[layer]
    dataset = open_dataset(upstream, test, dump)
    return {utt: outputs[0] for utt, outputs in layer_features(upstream, dataset, dataset.utts,
                                                               [layer_number(upstream, layer)])}


def _frames(features: Mapping[str, np.ndarray], tokens: list[Token], spans: list[tuple[int, int]], labels: list[Item],
            cells: Cells) -> tuple[torch.Tensor, list[Item]]:
    """The frames [F, D] of the tokens that cells use, and the items that point to them; others point to the first."""
    groups = np.unique(np.concatenate([cells.a, cells.b, cells.x])).tolist()
    rows, placed, start, utt = [], list(labels), 0, None
    used = {number for group in groups for number in cells.groups[group].tolist()}
    for i in sorted(used, key=lambda i: (tokens[i].utt, i)):
        # A cache reads its file at every look.
        if tokens[i].utt != utt:
            utt = tokens[i].utt
            whole = features[utt]
        part = whole[slice(*spans[i])]
        placed[i] = Item(labels[i].phone, labels[i].context, labels[i].speaker, (start, start + len(part)),
                         labels[i].domain)
        rows.append(part)
        start += len(part)
    return torch.from_numpy(np.concatenate(rows)).float(), placed


def _metric(pairs: Mapping[tuple[str, str], float], triplets: int, standardised: str | None) -> dict:
    """The error with an interval over unordered pairs of phones."""
    both: dict[tuple[str, ...], list[float]] = {}
    for pair, error in pairs.items():
        both.setdefault(tuple(sorted(pair)), []).append(error)
    sums, counts = np.array([(sum(errors), len(errors)) for errors in both.values()]).T
    value = ratio_interval(sums, counts)
    how = f"frames less the mean and over the deviation of their {standardised}" if standardised else ""
    return metric(*(100 * v for v in value), n=triplets, unit="%", better="lower", conditions=how)


def _pairs_table(found: Mapping[str, Mapping[tuple[str, str], float]]) -> str:
    lines = ["condition\ta\tb\terror"]
    for name, pairs in found.items():
        lines += [f"{name}\t{a}\t{b}\t{error:.6f}" for (a, b), error in sorted(pairs.items())]
    return "\n".join(lines) + "\n"


def _cells_table(found: Mapping[str, tuple[Cells, Abx]]) -> str:
    """A line a cell. Errors are written whole, so that what is read makes the same score."""
    lines = ["\t".join(CELL_COLUMNS)]
    for condition, (cells, result) in found.items():
        lines += ["\t".join((condition, *name, repr(error), str(count))) for name, error, count in
                  zip(cell_names(cells), result.cells.tolist(), result.counts.tolist())]
    return "\n".join(lines) + "\n"
