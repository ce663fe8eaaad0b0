"""What an experiment folder holds that is worth showing: scores, runs, synthesised speech, found by what they are."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechrep.config import read_yaml
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.methods.base import find_method, method_names
from speechrep.metrics.score import read_score

KINDS = {"vocoded": "natural speech through the vocoder", "tts": "text-to-speech", "vc": "voice conversion"}
"""The folders in which synthesised speech is looked for, and what each is."""


@dataclass(frozen=True)
class Run:
    """One training run: its folder, what it logged, its configuration and, when it has finished, its record."""

    name: str
    """Path below the experiment folder."""
    log: dict[str, dict[str, list[tuple[int, float]]]]
    """part (train, dev) -> name of the value -> (step, value) in the order of steps."""
    config: str
    """The resolved configuration as it stands in config.yaml."""
    done: dict[str, Any]
    """done.json, empty for a run that has not finished."""


@dataclass(frozen=True)
class Spoken:
    """A data folder of synthesised speech."""

    kind: str
    """vocoded, tts or vc."""
    system: str
    """Path below the experiment folder, without the part: `ctap/quick/tts`."""
    part: str
    """The part of the corpus whose words are said: test, dev, ..."""
    folder: DataFolder


def find_scores(exp: Path) -> list[dict[str, Any]]:
    """Every score.json below `exp`, sorted by path, each with its `path` below `exp`.

    Raises `SpeechrepError` for one that is not a score.
    """
    return [{**read_score(path), "path": path.parent.relative_to(exp).as_posix()}
            for path in sorted(exp.rglob("score.json"))]


def read_log(path: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """A run's log.jsonl as part -> name -> [(step, value)]. Lines that a kill cut off are passed over."""
    log: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            step, part = int(values.pop("step")), str(values.pop("part"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        for name, value in values.items():
            if isinstance(value, (int, float)):
                log.setdefault(part, {}).setdefault(name, []).append((step, float(value)))
    return log


def find_runs(exp: Path) -> list[Run]:
    """Every folder with a log.jsonl below `exp`, sorted by path."""
    runs = []
    for path in sorted(exp.rglob("log.jsonl")):
        folder = path.parent
        config, done = folder / "config.yaml", folder / "done.json"
        runs.append(Run(folder.relative_to(exp).as_posix(), read_log(path),
                        config.read_text(encoding="utf-8") if config.is_file() else "",
                        read_json(done) if done.is_file() else {}))
    return runs


def find_speech(exp: Path) -> list[Spoken]:
    """Every data folder of synthesised speech below `exp` (it has the stream `utt2content`), by kind and path."""
    found = []
    for stream in sorted(exp.rglob("utt2content")):
        folder = stream.parent
        parts = folder.relative_to(exp).parts
        parts = parts[:-1] if parts and parts[-1] == "data" else parts
        named = [part for part in parts if _kind(part) in KINDS]
        if not named or not (folder / "wav.scp").is_file():
            continue
        system = parts[:-1] if parts[-1] != named[-1] else parts
        found.append(Spoken(_kind(named[-1]), "/".join(system), parts[-1], DataFolder(folder)))
    return sorted(found, key=lambda spoken: (list(KINDS).index(spoken.kind), spoken.system, spoken.part))


def _kind(name: str) -> str:
    return re.split(r"[-_.]", name)[0]


def of_part(found: list[Spoken], part: str) -> tuple[str, list[Spoken]]:
    """The folders of `part`, or, when there are none, of the first part there is; and the part that was taken."""
    parts = sorted({spoken.part for spoken in found})
    taken = part if part in parts or not parts else parts[0]
    return taken, [spoken for spoken in found if spoken.part == taken]


def find_joint(exp: Path, runs: list[Run]) -> Path | None:
    """The checkpoint whose joint space is shown when none is named: of the runs of a method that has one (`joint`), the
    finished one with the most parameters."""
    best: tuple[int, str, Path] | None = None
    for run in runs:
        path = exp / run.name / "best.pt"
        config = exp / run.name / "config.yaml"
        if not path.is_file() or not config.is_file():
            continue
        name = read_yaml(config).get("method")
        if name not in method_names() or not hasattr(find_method(name), "joint"):
            continue
        size = int(run.done.get("parameters", 0))
        if best is None or size > best[0]:
            best = size, run.name, path
    return best and best[2]


def describe_parts(data: Path) -> list[dict[str, Any]]:
    """For each data folder in `data`: its name, utterances, hours, speakers and languages."""
    rows = []
    for path in sorted(data.iterdir()) if data.is_dir() else []:
        if not (path / "wav.scp").is_file():
            continue
        folder = DataFolder(path)
        try:
            hours = sum(folder.seconds.values()) / 3600
        except SpeechrepError:
            hours = None
        speakers = set(folder.read("utt2spk").values()) if folder.has("utt2spk") else set()
        languages = set(folder.read("utt2lang").values()) if folder.has("utt2lang") else set()
        rows.append({"part": path.name, "utterances": len(folder.utts), "hours": hours, "speakers": sorted(speakers),
                     "languages": sorted(languages)})
    return rows
