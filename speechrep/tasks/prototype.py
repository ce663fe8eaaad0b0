"""Recognition without training: each frame of speech is the phone whose prototype in the joint space is nearest."""

import numpy as np
import torch
import torch.nn.functional as F

from speechrep.data.dataset import SpeechDataset, collate, to_device
from speechrep.methods.base import Batch, Method
from speechrep.nn.length_regulator import token_of_frame

SMOOTHING_FRAMES = 3
"""Similarities are averaged over this many frames of the joint space, since one frame slips easily."""


class Prototypes:
    """The mean of the phoneme encoder's frames for each phone (without stress or tone), over a training part."""

    def __init__(self, names: list[str], vectors: torch.Tensor):
        self.names, self.vectors = names, F.normalize(vectors, dim=-1)

    @classmethod
    @torch.no_grad()
    def of(cls, method: Method, dataset: SpeechDataset, most: int = 500, device: str = "cpu") -> "Prototypes":
        """From at most `most` utterances, evenly over the part."""
        bases = [phone.rstrip("0123456789") for phone in method.inventory.phones]
        names = sorted(set(bases))
        number = torch.tensor([names.index(base) for base in bases], device=device)
        chosen = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).astype(int)).tolist()
        sums, counts = 0.0, torch.zeros(len(names), device=device)
        for start in range(0, len(chosen), 16):
            batch = to_device(collate([dataset[i] for i in chosen[start:start + 16]]), torch.device(device))
            _, phones, lengths, durations = method.joint(batch)
            token = token_of_frame(durations, phones.shape[1])
            inside = torch.arange(phones.shape[1], device=device) < lengths[:, None]
            ids = number[torch.gather(batch["phones"], 1, token)[inside]]
            one_hot = F.one_hot(ids, len(names)).float()
            sums = sums + one_hot.T @ F.normalize(phones[inside], dim=-1)
            counts += one_hot.sum(0)
        seen = counts > 0
        return cls([name for name, here in zip(names, seen.tolist()) if here], (sums / counts[:, None].clamp(min=1))[seen])

    @torch.no_grad()
    def transcribe(self, method: Method, batch: Batch) -> list[list[str]]:
        """Nearest prototypes of the speech frames, smoothed over 3 frames, repetitions and SIL removed."""
        layers, lengths = method.layers(batch)
        nearest = (F.normalize(layers[-1], dim=-1) @ self.vectors.T)
        nearest = F.avg_pool1d(F.pad(nearest.transpose(1, 2), (1, 1), mode="replicate"), SMOOTHING_FRAMES, 1).argmax(1)
        found = []
        for row, length in zip(nearest.cpu(), lengths.tolist()):
            ids = torch.unique_consecutive(row[:length])
            found.append([self.names[i] for i in ids.tolist() if self.names[i] != "SIL"])
        return found

