"""What a trained task says of a data folder, as files keyed by utterance, and what those files are worth."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from speechrep.config import plain, read_yaml
from speechrep.data.folder import DataFolder, table_text
from speechrep.errors import SpeechrepError
from speechrep.extract import batches
from speechrep.files import atomic_folder, read_json, write_json
from speechrep.metrics.score import write_score
from speechrep.provenance import made_from, provenance
from speechrep.tasks.base import BaseTask, Scored, find_task, zero_shot_tasks
from speechrep.tasks.cached import Cache, whole_part
from speechrep.tasks.kept import score_kept


def predict(task: BaseTask, folder: DataFolder, dump: Path, out: Path, cohort: DataFolder | None = None,
            cache: Cache | None = None) -> None:
    """Run `task` over every utterance of `folder` that has labels; `dump` has a sub-folder for each kind and part, `cache`
    the layers of a frozen upstream.

    Leaves the files that the task's `predict` and `files_beside` name, and made.json, which says by what, and how many
    utterances have no label, in `out`, complete or not at all. cohort: other speakers against whom scores of verification
    are normalised, such as the training part. Raises `SpeechrepError` if an utterance with labels has no features: it must
    not go missing in a score.
    """
    files = said(task, folder, dump, "test", cache)
    others = None if cohort is None else (cohort, said(task, cohort, dump, "cohort", cache))
    beside = task.files_beside(folder, files, others)
    wanted, unlabelled = labelled_utts(task, folder, "test")
    with atomic_folder(out) as tmp:
        for name, text in ({name: table_text(table) for name, table in files.items()} | beside).items():
            (tmp / name).write_text(text, encoding="utf-8")
        write_json(tmp / "made.json", {"task": type(task).__module__.rpartition(".")[2], "config": plain(task.config),
                                       "settled": task.settled, "best": task.best, "labels": list(task.labels),
                                       "upstream": task.upstream.spec, "unlabelled": unlabelled,
                                       "of": len(wanted) + unlabelled})


def labelled_utts(task: BaseTask, folder: DataFolder, part: str) -> tuple[list[str], int]:
    """The utterances of `folder` that serve as `part` and have all labels that `task` wants to decode it, and how many
    serve as it but have not."""
    streams = [folder.labels(stream) for stream in _label_streams(task, part)]
    only = task.chosen_utts(task.config, folder, part)
    serving = [utt for utt in folder.utts if only is None or utt in only]
    wanted = [utt for utt in serving if all(utt in stream for stream in streams)]
    return wanted, len(serving) - len(wanted)


def _label_streams(task: BaseTask, part: str) -> list[str]:
    return [need.removeprefix("label:") for need in task.decode_needs(part) if need.startswith("label:")]


def unlabelled_note(made: dict[str, Any]) -> list[str]:
    """A note on the utterances that a made.json says have no label, where it says that there are any."""
    return [f"{made['unlabelled']} of {made['of']} utterances have no label and are not scored"] if made.get(
        "unlabelled") else []


def said(task: BaseTask, folder: DataFolder, dump: Path, part: str,
         cache: Cache | None = None) -> dict[str, dict[str, str]]:
    """What `task.predict` says of the utterances of `folder` that serve as `part`: file -> utterance -> line."""
    wanted, _ = labelled_utts(task, folder, part)
    if not wanted:
        labels = _label_streams(task, part)
        raise SpeechrepError(f"{folder.path}: no utterance" + (f" with a label in {', '.join(labels)}" if labels else ""),
                             "one or more")
    dataset = whole_part(task, folder, dump, task.decode_needs(part), cache,
                         task.chosen_utts(task.config, folder, part))
    missing = sorted(set(wanted) - set(dataset.utts))
    if missing:
        raise SpeechrepError(f"{len(missing)} of {len(wanted)} utterances without features, such as '{missing[0]}'",
                             f"all that have a label in {folder.path}", "dump this part")
    files: dict[str, dict[str, str]] = {}
    for batch in batches(task.upstream, dataset, dataset.utts):
        for name, lines in task.predict(batch).items():
            files.setdefault(name, {}).update(zip(batch["utts"], lines, strict=True))
    return files


def learning_rates(runs: Iterable[Path]) -> list[float]:
    """The learning rate of each of some runs, given by their folders; of a folder that holds no run none. Folds that were
    swept may have different ones."""
    configs = [read_yaml(run / "config.yaml") for run in runs if (run / "config.yaml").is_file()]
    return [config["train"]["lr"] for config in configs if (config.get("train") or {}).get("lr") is not None]


def score_predictions(folder: Path, part: str, system: str, seed: int, out: Path) -> dict:
    """Score the files that `predict`, or a task that trains nothing, left in `folder`, into out/score.json and
    out/per_utt.tsv; returns the score.

    Of trained tasks its provenance has the learning rates of the trainings, `lr`: of several folds one each, in their order.
    """
    if not (folder / "made.json").is_file():
        raise SpeechrepError(f"{folder}: no made.json", "a folder that `speechrep decode` left for a trained task",
                             "for asr and prototype use `speechrep score recognition`")
    made = read_json(folder / "made.json")
    if made["task"] in zero_shot_tasks():
        return score_kept(folder, out, system, seed, part)
    folders = [Path(path) for path in made.get("folds", [folder])]
    sources = [made_from(path) for path in folders]
    scored = find_task(made["task"]).score(folder)
    return write_score(out / "score.json", task=made["task"], part=part, system=system, seed=seed,
                       metrics=scored.metrics, per_utt=scored.per_utt, notes=scored.notes + unlabelled_note(made),
                       provenance=provenance(sys.argv, {"predictions": str(folder), "source": sources,
                                                        "upstream": made["upstream"],
                                                        "model": made["config"], "best": made.get("best"),
                                                        "lr": learning_rates(path.parent for path in folders)}, seed,
                                             {part: _counts(made, scored)}))


def _counts(made: dict[str, Any], scored: Scored) -> dict[str, int]:
    """How many utterances were heard; where something else is scored, such as trials, of that too."""
    heard = made["of"] - made["unlabelled"] if "of" in made else len(scored.per_utt)
    return {"utterances": heard} | ({"scored": len(scored.per_utt)} if len(scored.per_utt) != heard else {})
