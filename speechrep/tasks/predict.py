"""What a trained task says of a data folder, as files keyed by utterance, and what those files are worth."""

import sys
from pathlib import Path

from speechrep.config import plain, read_yaml
from speechrep.data.folder import DataFolder, table_text
from speechrep.errors import SpeechrepError
from speechrep.extract import batches
from speechrep.files import atomic_folder, read_json, write_json
from speechrep.metrics.score import write_score
from speechrep.provenance import made_from, provenance
from speechrep.tasks.base import BaseTask, find_task
from speechrep.tasks.cached import Cache, whole_part


def predict(task: BaseTask, folder: DataFolder, dump: Path, out: Path, cohort: DataFolder | None = None,
            cache: Cache | None = None) -> None:
    """Run `task` over every utterance of `folder` that has labels; `dump` has a sub-folder for each kind and part, `cache`
    the layers of a frozen upstream.

    Leaves the files that the task's `predict` and `files_beside` name, and made.json, which says by what, in `out`, complete
    or not at all. cohort: other speakers against whom scores of verification are normalised, such as the training part.
    Raises `SpeechrepError` if an utterance with labels has no features: it must not go missing in a score.
    """
    files = said(task, folder, dump, "test", cache)
    others = None if cohort is None else (cohort, said(task, cohort, dump, "cohort", cache))
    beside = task.files_beside(folder, files, others)
    with atomic_folder(out) as tmp:
        for name, text in ({name: table_text(table) for name, table in files.items()} | beside).items():
            (tmp / name).write_text(text, encoding="utf-8")
        write_json(tmp / "made.json", {"task": type(task).__module__.rpartition(".")[2], "config": plain(task.config),
                                       "settled": task.settled, "best": task.best, "labels": list(task.labels),
                                       "upstream": task.upstream.spec})


def said(task: BaseTask, folder: DataFolder, dump: Path, part: str,
         cache: Cache | None = None) -> dict[str, dict[str, str]]:
    """What `task.predict` says of the utterances of `folder` that serve as `part`: file -> utterance -> line."""
    labelled = [need.partition(":")[2] for need in task.needs if need.startswith("label:")]
    only = task.chosen_utts(task.config, folder, part)
    wanted = [utt for utt in folder.utts if (only is None or utt in only)
              and all(utt in folder.read(stream) for stream in labelled)]
    if not wanted:
        raise SpeechrepError(f"{folder.path}: no utterance with a label in {', '.join(labelled)}", "one or more")
    dataset = whole_part(task, folder, dump, task.needs[len(task.upstream.needs):], cache, only)
    missing = sorted(set(wanted) - set(dataset.utts))
    if missing:
        raise SpeechrepError(f"{len(missing)} of {len(wanted)} utterances without features, such as '{missing[0]}'",
                             f"all that have a label in {folder.path}", "dump this part")
    files: dict[str, dict[str, str]] = {}
    for batch in batches(task.upstream, dataset, dataset.utts):
        for name, lines in task.predict(batch).items():
            files.setdefault(name, {}).update(zip(batch["utts"], lines, strict=True))
    return files


def learning_rate(run: Path) -> float | None:
    """The learning rate of the run in a folder, of several folds that of the first; None where there is no run."""
    path = next((path for path in (run / "config.yaml", run / "fold1/config.yaml") if path.is_file()), None)
    config = read_yaml(path) if path else {}
    return (config.get("train") or {}).get("lr")


def score_predictions(folder: Path, part: str, system: str, seed: int, out: Path) -> dict:
    """Score the files that `predict` left in `folder`, into out/score.json and out/per_utt.tsv; returns the score."""
    if not (folder / "made.json").is_file():
        raise SpeechrepError(f"{folder}: no made.json", "a folder that `speechrep decode` left for a trained task",
                             "for asr and prototype use `speechrep score recognition`")
    made = read_json(folder / "made.json")
    sources = [made_from(Path(path)) for path in made.get("folds", [folder])]
    scored = find_task(made["task"]).score(folder)
    return write_score(out / "score.json", task=made["task"], part=part, system=system, seed=seed,
                       metrics=scored.metrics, per_utt=scored.per_utt, notes=scored.notes,
                       provenance=provenance(sys.argv, {"predictions": str(folder), "source": sources,
                                                        "upstream": made["upstream"],
                                                        "model": made["config"], "best": made.get("best"),
                                                        "lr": learning_rate(folder.parent)}, seed,
                                             {part: {"utterances": len(scored.per_utt)}}))
