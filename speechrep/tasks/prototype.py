"""Recognition without training: each frame of speech is the phone whose prototype in the joint space is nearest."""

import numpy as np
import torch
import torch.nn.functional as F

from speechrep.data.dataset import SpeechDataset, collate, to_device
from speechrep.methods.base import Batch, Method
from speechrep.metrics.wer import edits
from speechrep.nn.length_regulator import token_of_frame

CHANGE_COSTS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""What a change of phone may cost, in nats; which, is chosen on dev."""


def steadiest_path(scores: torch.Tensor, lengths: torch.Tensor, cost: float) -> list[torch.Tensor]:
    """The path of classes whose summed score, less `cost` for each change, is greatest (Viterbi).

    scores [B, N, K], lengths [B] -> for each row class ids [length].
    """
    best = scores[:, 0].clone()
    back = torch.empty(scores.shape, dtype=torch.long, device=scores.device)
    own = torch.arange(scores.shape[2], device=scores.device).expand_as(best)
    # Each frame's best depends on the one before it, so only rows and classes go side by side.
    for frame in range(1, scores.shape[1]):
        top, leader = best.max(1, keepdim=True)
        change = top - cost > best
        back[:, frame] = torch.where(change, leader, own)
        inside = (frame < lengths)[:, None]
        best = torch.where(inside, torch.where(change, top - cost, best) + scores[:, frame], best)
    paths = []
    for row, length in enumerate(lengths.tolist()):
        steps = back[row, :length].cpu().numpy()
        path = np.empty(length, dtype=np.int64)
        path[-1] = int(best[row].argmax())
        for frame in range(length - 1, 0, -1):
            path[frame - 1] = steps[frame, path[frame]]
        paths.append(torch.from_numpy(path))
    return paths


class Prototypes:
    """The mean of the phoneme encoder's frames for each phone (without stress or tone), over a training part."""

    def __init__(self, names: list[str], vectors: torch.Tensor, change_cost: float = 0.0):
        self.names, self.vectors, self.change_cost = names, F.normalize(vectors, dim=-1), change_cost

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
        """The phones of the steadiest path through the prototypes' probabilities, SIL left out.

        A frame's probabilities are those of the method's own contrast with the prototypes as candidates.
        """
        return self._spell(*self._scores(method, batch), self.change_cost)

    def _scores(self, method: Method, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        layers, lengths = method.layers(batch)
        return (F.normalize(layers[-1], dim=-1) @ self.vectors.T * method.scale()).log_softmax(-1), lengths

    def _spell(self, scores: torch.Tensor, lengths: torch.Tensor, cost: float) -> list[list[str]]:
        paths = (torch.unique_consecutive(path).tolist() for path in steadiest_path(scores, lengths, cost))
        return [[self.names[i] for i in path if self.names[i] != "SIL"] for path in paths]

    @torch.no_grad()
    def with_change_cost_of(self, method: Method, dev: SpeechDataset, device: str = "cpu", most: int = 80) -> "Prototypes":
        """The same prototypes with the cost of `CHANGE_COSTS` that has the least phone error rate on at most `most`
        utterances of `dev`, evenly over it."""
        errors = dict.fromkeys(CHANGE_COSTS, 0)
        chosen = np.unique(np.linspace(0, len(dev) - 1, min(most, len(dev))).astype(int)).tolist()
        # Those of like length together: a path is followed frame by frame to the longest one's end.
        chosen.sort(key=lambda i: dev.seconds[i])
        for start in range(0, len(chosen), 16):
            batch = to_device(collate([dev[i] for i in chosen[start:start + 16]]), torch.device(device))
            said = [[phone for i in row[:length] if (phone := method.inventory.phones[i].rstrip("0123456789")) != "SIL"]
                    for row, length in zip(batch["phones"].tolist(), batch["phones_lengths"].tolist())]
            scored = self._scores(method, batch)
            for cost in CHANGE_COSTS:
                errors[cost] += sum(edits(a, b).errors for a, b in zip(said, self._spell(*scored, cost)))
        return Prototypes(self.names, self.vectors, min(CHANGE_COSTS, key=errors.get))
