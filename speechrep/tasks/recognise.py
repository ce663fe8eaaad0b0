"""Recognised symbols of a data folder as files: `ref` and `hyp`, one line an utterance, which scoring reads."""

import math
from pathlib import Path

import torch

from speechrep.data.alignment import read_ali
from speechrep.data.dataset import SpeechDataset, collate, to_device
from speechrep.data.folder import DataFolder, table_text
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_folder
from speechrep.methods.base import Method
from speechrep.tasks.base import BaseTask
from speechrep.tasks.prototype import Prototypes


def recognise(recogniser: BaseTask | tuple[Method, Prototypes], folder: DataFolder, dump: Path, out: Path,
              device: str = "cpu", batch: int = 16) -> None:
    """Transcribe every utterance of `folder` that has a reference. `dump` has a sub-folder for each kind and part.

    Phones are compared without stress, tone or silence; characters with the word boundary written as `_`.
    Leaves `hyp`, `ref` and `units` in the folder `out`, complete or not at all.
    """
    if isinstance(recogniser, tuple):
        method, units = recogniser[0], "phones"
        hears = method.needs[:1]
        transcribe = lambda part: recogniser[1].transcribe(method, part)  # noqa: E731
    else:
        method, units = recogniser, recogniser.config.units
        hears = recogniser.upstream.needs
        transcribe = recogniser.transcribe
    references = folder.read("ali" if units == "phones" else "text")
    kind = method.inventory.features["kind"]
    dataset = SpeechDataset(folder, dump / kind / folder.path.name, method.inventory, hears, max_sec=math.inf)
    hyp, ref = {}, {}
    order = sorted((i for i, utt in enumerate(dataset.utts) if utt in references), key=lambda i: dataset.seconds[i])
    for start in range(0, len(order), batch):
        part = to_device(collate([dataset[i] for i in order[start:start + batch]]), torch.device(device))
        for utt, symbols in zip(part["utts"], transcribe(part)):
            hyp[utt] = " ".join(spell(symbols))
            if units == "phones":
                spoken = (phone.rstrip("0123456789") for phone in read_ali(references[utt])[0])
                ref[utt] = " ".join(phone for phone in spoken if phone != "SIL")
            else:
                ref[utt] = " ".join(spell(references[utt]))
    if not hyp:
        raise SpeechrepError(f"{folder.path}: no utterance to recognise")
    with atomic_folder(out) as tmp:
        (tmp / "hyp").write_text(table_text(hyp), encoding="utf-8")
        (tmp / "ref").write_text(table_text(ref), encoding="utf-8")
        (tmp / "units").write_text(units + "\n", encoding="utf-8")


def spell(symbols: list[str] | str) -> list[str]:
    """Symbols as words of a line: a space would vanish there."""
    return ["_" if symbol == " " else symbol for symbol in symbols]
