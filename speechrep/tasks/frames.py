"""Frame features with the phone and the speaker of each, from any upstream: what probes and maps are made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechrep.data.alignment import frames_per_phone, read_ali
from speechrep.data.dataset import SpeechDataset, collate, to_device
from speechrep.data.folder import DataFolder
from speechrep.extract import MOST_AT_ONCE, open_upstream
from speechrep.upstream import Upstream

__all__ = ["LabelledFrames", "labelled_frames", "open_upstream"]


@dataclass(frozen=True)
class LabelledFrames:
    """One utterance: features [N, D], phone of each frame without stress or tone [N], and whose they are."""

    utt: str
    feats: np.ndarray
    phones: np.ndarray
    speaker: str
    language: str


@torch.no_grad()
def labelled_frames(upstream: Upstream, folder: DataFolder, dump: Path, layer: int = -1,
                    batch_sec: float = 200.0, utts: set[str] | None = None) -> Iterator[LabelledFrames]:
    """The frames of a layer of `upstream`, utterance by utterance; a frame's phone is the one at its place in `ali`.

    Utterances without an alignment are left out. Raises `SpeechrepError` for aligned ones that have no features.
    """
    dataset = SpeechDataset(folder, dump / upstream.kind / folder.path.name, upstream.inventory, upstream.needs, max_sec=60.0)
    languages = folder.read("utt2lang") if folder.has("utt2lang") else {}
    alignments = folder.read("ali")
    dataset.require_features(utt for utt in folder.utts if utt in alignments and (utts is None or utt in utts))
    hop_sec = upstream.hop_samples / upstream.rate_hz
    chosen = [i for i, utt in enumerate(dataset.utts) if utt in alignments and (utts is None or utt in utts)]
    device = upstream.mean.device
    start = 0
    while start < len(chosen):
        some = chosen[start:start + MOST_AT_ONCE]
        some = some[:max(1, int(batch_sec / max(dataset.seconds[i] for i in some)))]
        batch = to_device(collate([dataset[i] for i in some]), device)
        layers, lengths = upstream.layers(batch)
        for row, (utt, length) in enumerate(zip(batch["utts"], lengths.tolist())):
            phones, ends = read_ali(alignments[utt])
            names = np.array([phone.rstrip("0123456789") for phone in phones])
            yield LabelledFrames(utt, layers[layer][row, :length].float().cpu().numpy(),
                                 np.repeat(names, frames_per_phone(np.array(ends), length, hop_sec)),
                                 dataset.speakers[utt], languages.get(utt, ""))
        start += len(some)
