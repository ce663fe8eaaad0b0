"""What a representation holds: linear probes for phone and speaker, and retrieval across the two sides of a joint space."""

import sys
from pathlib import Path

import numpy as np
import torch

from speechrep.data.dataset import SpeechDataset, collate, to_device
from speechrep.data.folder import DataFolder
from speechrep.files import read_json
from speechrep.metrics.bootstrap import ratio_interval
from speechrep.metrics.probe import ProbeResult, probe_error
from speechrep.metrics.retrieval import retrieval_top1
from speechrep.metrics.score import metric, write_score
from speechrep.nn.length_regulator import token_of_frame
from speechrep.provenance import made_from, provenance
from speechrep.tasks.frames import LabelledFrames, labelled_frames, open_upstream
from speechrep.tasks.generate import some
from speechrep.tasks.predict import learning_rates, unlabelled_note
from speechrep.tasks.spelling import scored
from speechrep.upstream import Upstream

PROBE_FRAMES = 30_000
"""Training frames of the phone probe, evenly over the utterances."""

RETRIEVAL_NOTE = ("retrieval, among all frames of the utterance: a hit is any frame of the same phone token; for the columns "
                  "that end in _frame, only the same frame, which frames of one token, nearly alike, make hard")


def score_representation(spec: str, train: DataFolder, test: DataFolder, dump: Path, out: Path, system: str, seed: int,
                         layer: int = -1, most_train: int = 1000, device: str = "cpu") -> dict:
    """Probes (and, where the method has a joint space, retrieval) on `test`, into out/score.json; returns the score.

    phone_probe: a linear classifier of single frames into phones without stress or tone, silence left out.
    speaker_probe: a linear classifier of utterance means into speakers; a note says so where every language has a
    speaker of its own, since then the language gives the speaker away.
    retrieval_*: among the frames of the utterance on the other side, is the nearest by cosine one of the frame's own
    phone token? retrieval_*_frame: is it the frame itself?
    layer: which of the upstream's layers. most_train: utterances of the training part that are used.
    """
    upstream = open_upstream(spec, train, dump, device)
    known = set(train.read("ali"))
    chosen = set(some([utt for utt in train.utts if utt in known], most_train))
    parts = [list(labelled_frames(upstream, folder, dump, layer, utts=utts))
             for folder, utts in ((train, chosen), (test, None))]
    found = {"phone_probe_error": _metric(_phone_probe(parts))}
    speakers = {item.speaker for item in parts[0]}
    if len(speakers) > 1:
        # What is said should not tell who says it.
        found["speaker_probe_error"] = _metric(_speaker_probe(parts), better="higher")
    per_utt: dict[str, dict[str, float]] = {item.utt: {"frames": len(item.feats)} for item in parts[1]}
    if upstream.method is not None and hasattr(upstream.method, "joint"):
        for name, (hits, frames) in _retrieval(upstream, test, dump).items():
            for utt, hit in hits.items():
                per_utt[utt][name] = hit / frames[utt]
            order = sorted(hits)
            value = ratio_interval(np.array([hits[u] for u in order]), np.array([frames[u] for u in order]))
            found[name] = metric(*(100 * v for v in value), n=sum(frames.values()), unit="%", better="higher")
    data = {part.path.name: {"utterances": len(items), "frames": sum(len(item.feats) for item in items)}
            for part, items in zip((train, test), parts)}
    pairs = {(item.speaker, item.language) for item in parts[0]}
    notes = [] if len(pairs) == len(speakers) * len({language for _, language in pairs}) else [
        "the speaker probe is confounded: the language gives the speaker away"]
    notes += [RETRIEVAL_NOTE] if "retrieval_speech_to_phone" in found else []
    return write_score(out / "score.json", task="representation", part=test.path.name, system=system, seed=seed,
                       metrics=found, per_utt=per_utt, notes=notes,
                       provenance=provenance(sys.argv, {"upstream": spec, "layer": layer}, seed, data))


def score_recognition(hypotheses: Path, part: str, system: str, seed: int, out: Path, notes: list[str] | None = None) -> dict:
    """The error rates of `hyp` against `ref` in a folder that `speechrep decode` left, into out/score.json, with more
    `notes`; returns the score."""
    found = scored(hypotheses)
    units = (hypotheses / "units").read_text(encoding="utf-8").strip()
    searched, made = (read_json(path) if path.is_file() else {} for path in
                      (hypotheses / "decoding.json", hypotheses / "made.json"))
    config = {"hypotheses": str(hypotheses), "source": [made_from(hypotheses)], "units": units,
              "lr": learning_rates([hypotheses.parent])} | ({"decoding": searched} if searched else {}) | (
        {"best": made["best"]} if "best" in made else {}) | (
        {"model": made["config"], "upstream": made["upstream"]} if "config" in made else {})
    total = sum(row["reference"] for row in found.per_utt.values())
    return write_score(out / "score.json", task="recognition", part=part, system=system, seed=seed, metrics=found.metrics,
                       per_utt=found.per_utt, notes=[*found.notes, *unlabelled_note(made), *(notes or [])],
                       provenance=provenance(sys.argv, config, seed,
                                             {part: {"utterances": len(found.per_utt), "symbols": total}}))


def _metric(result: ProbeResult, better: str = "lower") -> dict:
    return metric(100 * result.error, 100 * result.low, 100 * result.high, n=result.n, unit="%", better=better) | {
        "chance": 100 * result.chance}


def _phone_probe(parts: list[list[LabelledFrames]]) -> ProbeResult:
    arrays = []
    for items in parts:
        keep = [item.phones != "SIL" for item in items]
        arrays.append([np.concatenate([item.feats[k] for item, k in zip(items, keep)]),
                       np.concatenate([item.phones[k] for item, k in zip(items, keep)]),
                       np.concatenate([np.full(k.sum(), i) for i, k in enumerate(keep)])])
    (train_x, train_y, train_u), (test_x, test_y, test_u) = arrays
    every = max(1, len(train_x) // PROBE_FRAMES)
    return probe_error(train_x[::every], train_y[::every], test_x, test_y, train_groups=train_u[::every],
                       test_groups=test_u)


def _speaker_probe(parts: list[list[LabelledFrames]]) -> ProbeResult:
    (train_x, train_y), (test_x, test_y) = [
        (np.stack([item.feats.mean(0) for item in items]), np.array([item.speaker for item in items]))
        for items in parts]
    return probe_error(train_x, train_y, test_x, test_y)


@torch.no_grad()
def _retrieval(upstream: Upstream, folder: DataFolder, dump: Path) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """Hits and frames of each utterance, both ways: among the frames of the utterance, is the nearest one of the other
    side of the frame's own phone token, and is it the very frame?"""
    method = upstream.method
    dataset = SpeechDataset(folder, dump / upstream.kind / folder.path.name, upstream.inventory,
                            (*upstream.needs, "phones"), max_sec=60.0)
    hits: dict[str, dict[str, int]] = {f"retrieval_{way}{end}": {} for end in ("", "_frame")
                                       for way in ("speech_to_phone", "phone_to_speech")}
    frames: dict[str, int] = {}
    for i in range(len(dataset)):
        batch = to_device(collate([dataset[i]]), upstream.mean.device)
        speech, text, lengths, durations = method.joint(batch)
        segments = token_of_frame(durations, int(lengths[0]))[0]
        all_four = (*retrieval_top1(speech[0], text[0], segments), *retrieval_top1(speech[0], text[0]))
        utt = batch["utts"][0]
        frames[utt] = int(lengths[0])
        for name, hit in zip(hits, all_four):
            hits[name][utt] = int(hit.sum())
    return {name: (values, frames) for name, values in hits.items()}
