"""What units have to do with phones and voices: counted in each job while it labels utterances, then added up and scored."""

import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speechrep.data.alignment import frames_per_phone, read_ali
from speechrep.data.folder import DataFolder
from speechrep.metrics.purity import cluster_purity, phone_purity, pnmi, pnmi_within, speaker_share
from speechrep.metrics.score import metric, write_score
from speechrep.provenance import provenance

SPEAKERS = 100
"""Of how many speakers of a part it is counted what units tell of them: these tables grow with their number."""


@dataclass
class Counts:
    """Of some utterances: frames of each of K units, `used` [K]; the same of each (language, phone, speaker, half of the
    utterances), `table`, the speaker being "" where voices are not counted; the sum of squared distances to the centroids."""

    used: np.ndarray
    table: dict[tuple[str, str, str, int], np.ndarray] = field(default_factory=dict)
    inertia: float = 0.0
    utterances: int = 0


class Counter:
    """Counts the units of utterances of a data folder, `size` of them, a unit every `hop_sec` seconds; by phones where it
    has `ali`, by languages and speakers where it has those."""

    def __init__(self, folder: DataFolder, size: int, hop_sec: float):
        self.hop_sec, self.counts = hop_sec, Counts(np.zeros(size, dtype=np.int64))
        self._alignments = folder.read("ali") if folder.has("ali") else {}
        self._languages = folder.read("utt2lang") if folder.has("utt2lang") else {}
        self._speakers = folder.labels("utt2spk") if folder.has("utt2spk") else {}
        self._counted = set(sorted(set(self._speakers.values()))[:SPEAKERS])

    def add(self, utt: str, ids: np.ndarray, distance: float) -> None:
        """An utterance: its units [N] and the sum of their squared distances."""
        counts, size = self.counts, len(self.counts.used)
        counts.used += np.bincount(ids, minlength=size)
        counts.inertia += distance
        counts.utterances += 1
        if utt not in self._alignments:
            return
        phones, ends = read_ali(self._alignments[utt])
        durations = frames_per_phone(np.array(ends), len(ids), self.hop_sec)
        speaker, language = self._speakers.get(utt), self._languages.get(utt, "")
        # Halves that do not depend on which job has the utterance.
        voice = (speaker, zlib.crc32(utt.encode()) % 2) if speaker in self._counted else ("", 0)
        for phone, some in zip(phones, np.split(ids, np.cumsum(durations)[:-1])):
            row = counts.table.setdefault((language, phone.rstrip("0123456789"), *voice), np.zeros(size, dtype=np.int64))
            np.add.at(row, some, 1)


def score_units(out: Path, name: str, settings: Mapping[str, Any], folder: DataFolder, counted: Sequence[Counts]) -> None:
    """Write out/score.json of the units `name` of a part from what its jobs counted, and say it on stderr.

    settings: those of the units, among them `seed`, `frame_rate_hz` and `method_codes`, which have no distances.
    """
    used = sum(counts.used for counts in counted)
    frames = int(used.sum())
    share = used[used > 0] / frames
    perplexity = float(np.exp(-(share * np.log(share)).sum()))
    metrics = {"used_codes": metric(int((used > 0).sum()), n=len(used), unit="codes", better="higher"),
               "perplexity": metric(perplexity, n=frames, unit="codes", better="higher")}
    if not settings["method_codes"]:
        metrics["inertia"] = metric(sum(counts.inertia for counts in counted) / frames, n=frames,
                                    unit="squared distance a frame", better="lower")
    notes = [f"{len(used)} units at {settings['frame_rate_hz']:g} a second"]
    for more, why in (_of_phones(counted), _of_voices(counted)):
        metrics |= more
        notes += why
    data = {folder.path.name: {"utterances": sum(counts.utterances for counts in counted), "frames": frames}}
    write_score(out / "score.json", task="units", part=folder.path.name, system=name, seed=settings["seed"],
                metrics=metrics, notes=notes, provenance=provenance(sys.argv, settings, settings["seed"], data))
    print(f"{folder.path}/units.{name}: " + ", ".join(f"{key} {entry['value']:.4g}" for key, entry in metrics.items()),
          file=sys.stderr)


def _of_phones(counted: Sequence[Counts]) -> tuple[dict[str, dict], list[str]]:
    """Metrics and notes; none where no utterance is aligned."""
    rows: dict[str, dict[str, np.ndarray]] = {}
    for counts in counted:
        for (language, phone, _, _), frames in counts.table.items():
            own = rows.setdefault(language, {})
            own[phone] = own.get(phone, 0) + frames
    if not rows:
        return {}, []
    phones = sorted({phone for own in rows.values() for phone in own})
    table = np.stack([sum(own.get(phone, 0) for own in rows.values()) for phone in phones])
    values = {"phone_purity": phone_purity(table), "cluster_purity": cluster_purity(table), "pnmi": pnmi(table)}
    notes = ["phones without stress or tone, silence among them"]
    if len(rows) > 1:
        values["pnmi_within_language"] = pnmi_within([np.stack(list(own.values())) for own in rows.values()])
        notes.append("where languages have phones of their own, units that tell the language alone have a pnmi; within a "
                     "language they have none")
    return {label: metric(value, n=int(table.sum()), unit="", better="higher") for label, value in values.items()}, notes


def _of_voices(counted: Sequence[Counts]) -> tuple[dict[str, dict], list[str]]:
    """The same of speakers; none where no phone is said by two of them, in both halves."""
    voices: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for counts in counted:
        for (language, phone, speaker, half), frames in counts.table.items():
            if speaker:
                voices.setdefault((language, phone), {}).setdefault(speaker, np.zeros((2, len(frames))))[half] += frames
    spoken = [np.stack(list(by_speaker.values()), axis=1) for by_speaker in voices.values()]
    share = speaker_share(spoken)
    if np.isnan(share):
        return {}, []
    note = f"speaker_share: of {SPEAKERS} speakers at the most; 0 is units that tell no voices"
    return {"speaker_share": metric(share, n=int(sum(table.sum() for table in spoken)), unit="", better="lower")}, [note]
