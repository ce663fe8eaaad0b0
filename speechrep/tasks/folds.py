"""Predictions of several folds, each by a task trained on the others, as one."""

from pathlib import Path

from speechrep.data.folder import read_table, table_text
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_folder, read_json, write_json

COUNTS = ("unlabelled", "of")
"""What of made.json is added up over folds."""


def join_folds(folders: list[Path], out: Path) -> None:
    """Join what `speechrep decode` left for each fold in `folders` into `out`, to be scored as one prediction.

    Raises `SpeechrepError` unless all are of one task, differ in `fold` alone, and test each utterance that has a label
    exactly once.
    """
    inside = [folder for folder in folders if out.resolve() in (folder.resolve(), *folder.resolve().parents)]
    if inside:
        raise SpeechrepError(f"{out}: {inside[0]} lies in it and would be replaced", "another --out")
    made = [read_json(folder / "made.json") for folder in folders]
    same = [some | {"config": {key: value for key, value in some["config"].items() if key != "fold"},
                    "settled": {}, "best": {}, "labels": []} | dict.fromkeys(COUNTS, 0) for some in made]
    odd = next((folder for folder, some in zip(folders, same) if some != same[0]), None)
    if odd is not None:
        raise SpeechrepError(f"{odd}: made by another task, configuration or upstream than {folders[0]}",
                             "predictions that differ in model.fold alone")
    names = ("hyp", "ref", "fold")
    joined: dict[str, dict[str, str]] = {name: {} for name in names}
    everything: dict[str, str] = {}
    for folder in folders:
        tables = {name: read_table(folder / name) for name in names}
        doubled = sorted(set(tables["hyp"]) & set(joined["hyp"]))
        if doubled:
            raise SpeechrepError(f"{folder}: {len(doubled)} utterances that another fold tests, such as '{doubled[0]}'",
                                 "each in one fold", "name each fold once")
        for name in names:
            joined[name] |= tables[name]
        everything |= read_table(folder / "utt2session")
    missing = sorted(set(everything) - set(joined["hyp"]))
    if missing:
        raise SpeechrepError(f"{len(missing)} of {len(everything)} utterances are tested in no fold, such as '{missing[0]}'",
                             "all folds", "decode the others, and name them too")
    with atomic_folder(out) as tmp:
        for name, table in (joined | {"utt2session": everything}).items():
            (tmp / name).write_text(table_text(table), encoding="utf-8")
        write_json(tmp / "made.json", made[0] | {"folds": [str(folder) for folder in folders],
                                                 "best": [some.get("best") for some in made],
                                                 **{name: sum(some.get(name, 0) for some in made) for name in COUNTS},
                                                 "config": same[0]["config"]})
