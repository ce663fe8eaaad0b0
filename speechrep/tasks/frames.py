"""Frame features with the phone and the speaker of each, from any upstream: what probes and maps are made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechrep.data.dataset import SpeechDataset, collate, take_inventory, to_device
from speechrep.data.folder import DataFolder
from speechrep.nn.length_regulator import strided, token_of_frame
from speechrep.upstream import FEATURES, Upstream


@dataclass(frozen=True)
class LabelledFrames:
    """One utterance: features [N, D], phone of each frame without stress or tone [N], and whose they are."""

    utt: str
    feats: np.ndarray
    phones: np.ndarray
    speaker: str
    language: str


def open_upstream(spec: str, train: DataFolder, dump: Path, device: str = "cpu") -> Upstream:
    """The upstream `spec`; plain features take their statistics from the training part's dump."""
    features = take_inventory(train, dump / spec / train.path.name) if spec in FEATURES else None
    return Upstream.open(spec, features, device)


@torch.no_grad()
def labelled_frames(upstream: Upstream, folder: DataFolder, dump: Path, layer: int = -1,
                    batch_sec: float = 200.0, utts: set[str] | None = None) -> Iterator[LabelledFrames]:
    """The frames of a layer of `upstream`, utterance by utterance; a frame's phone is the one at its place in `ali`.

    Utterances without an alignment, and phones that the upstream's training never saw, are left out.
    """
    dataset = SpeechDataset(folder, dump / upstream.kind / folder.path.name, upstream.inventory, ("feats", "phones"))
    languages = folder.read("utt2lang") if folder.has("utt2lang") else {}
    names = np.array([phone.rstrip("0123456789") for phone in upstream.inventory.phones])
    chosen = [i for i, utt in enumerate(dataset.utts) if utts is None or utt in utts]
    device = next(iter(upstream.buffers())).device
    stride = upstream.stride
    start = 0
    while start < len(chosen):
        size = max(1, int(batch_sec / max(dataset.seconds[i] for i in chosen[start:start + 40])))
        batch = to_device(collate([dataset[i] for i in chosen[start:start + min(size, 40)]]), device)
        layers, lengths = upstream.layers(batch)
        tokens = token_of_frame(strided(batch["durations"], stride), layers[layer].shape[1])
        phones = torch.gather(batch["phones"], 1, tokens).cpu().numpy()
        for row, (utt, length) in enumerate(zip(batch["utts"], lengths.tolist())):
            yield LabelledFrames(utt, layers[layer][row, :length].float().cpu().numpy(), names[phones[row, :length]],
                                 dataset.speakers[utt], languages.get(utt, ""))
        start += len(batch["utts"])
