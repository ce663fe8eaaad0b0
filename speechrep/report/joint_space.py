"""The joint space of speech and phonemes as numbers to draw: one utterance's similarity matrix, a plane of frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechrep.data.dataset import SpeechDataset, collate
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Method
from speechrep.tasks.frames import labelled_frames
from speechrep.tasks.generate import some
from speechrep.upstream import Upstream

SILENCE = "SIL"
PCA_DIMS = 30
PERPLEXITY = 30.0
UTTERANCES_OF_SPEAKER = 12
"""As many utterances of a speaker are enough for the few hundred frames of it that are drawn."""


@dataclass(frozen=True)
class Similarity:
    """The cosines [N, N] of speech frames (rows) with phoneme frames (columns) of one utterance."""

    utt: str
    matrix: np.ndarray
    phones: list[str]
    durations: list[int]
    hop_sec: float

    @property
    def hits(self) -> tuple[float, float]:
        """The share of frames whose nearest frame of the other side belongs to the same phone token: of speech frames
        among phoneme frames, and of phoneme frames among speech frames."""
        token = np.repeat(np.arange(len(self.durations)), self.durations)
        return (float((token[self.matrix.argmax(1)] == token).mean()),
                float((token[self.matrix.argmax(0)] == token).mean()))


@torch.no_grad()
def frame_similarity(method: Method, folder: DataFolder, dump: Path, utt: str) -> Similarity:
    """The similarity matrix of `utt`; `method` has `joint`, and `dump` has a folder of features for each part.

    Raises `SpeechrepError` where the utterance has no features or no alignment.
    """
    features = method.inventory.features
    dataset = SpeechDataset(folder, dump / features["kind"] / folder.name, method.inventory, ("feats", "phones"))
    if utt not in dataset.utts:
        raise SpeechrepError(f"{folder.path}: {utt} has no features or no alignment", "one of the dumped utterances")
    batch = collate([dataset[dataset.utts.index(utt)]])
    device = next(method.parameters()).device
    batch = {key: value.to(device) if torch.is_tensor(value) else value for key, value in batch.items()}
    speech, phones, lengths, durations = method.joint(batch)
    length = int(lengths[0])
    unit = torch.nn.functional.normalize
    matrix = unit(speech[0, :length].float(), dim=-1) @ unit(phones[0, :length].float(), dim=-1).T
    names = [method.inventory.phones[i] for i in batch["phones"][0].tolist()]
    total = features["hop_samples"] / features["rate_hz"] * round(int(batch["feats_lengths"][0]) / length)
    return Similarity(utt, matrix.cpu().numpy(), names, durations[0].tolist(), total)


def some_frames(upstream: Upstream, folder: DataFolder, dump: Path, most: int = 2000,
                seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most `most` frames of the last layer, equally many of every speaker where it has them, silence left out.

    Returns features [N, D] of unit length, phones [N] without stress or tone, speakers [N].
    """
    speakers = folder.read("utt2spk")
    aligned = folder.read("ali")
    chosen: set[str] = set()
    for speaker in sorted(set(speakers.values())):
        own = [utt for utt in folder.utts if speakers[utt] == speaker and utt in aligned]
        chosen.update(some(own, UTTERANCES_OF_SPEAKER))
    pools: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for frames in labelled_frames(upstream, folder, dump, utts=chosen):
        spoken = frames.phones != SILENCE
        pools.setdefault(frames.speaker, []).append((frames.feats[spoken], frames.phones[spoken]))
    rng = np.random.default_rng(seed)
    feats, phones, owners = [], [], []
    for speaker in sorted(pools):
        x, labels = (np.concatenate(part) for part in zip(*pools[speaker]))
        keep = np.sort(rng.permutation(len(x))[:most // len(pools)])
        feats.append(x[keep])
        phones.append(labels[keep])
        owners.append(np.full(len(keep), speaker))
    if not feats:
        raise SpeechrepError(f"{folder.path}: no frames with a phone", "aligned utterances with features")
    x = np.concatenate(feats).astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return x, np.concatenate(phones), np.concatenate(owners)


def to_plane(feats: np.ndarray, seed: int = 0) -> tuple[np.ndarray, str]:
    """features [N, D] -> points [N, 2] and how they were made: t-SNE of the first principal components where
    scikit-learn is installed, else the first two principal components."""
    centred = feats - feats.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    components = u * s
    # The sign of a singular vector is arbitrary; the largest entry is made positive.
    components *= np.where(np.take_along_axis(components, np.abs(components).argmax(0)[None], 0) < 0, -1, 1)
    share = float((s[:2] ** 2).sum() / max((s ** 2).sum(), 1e-12))
    plane = np.zeros((len(feats), 2))
    plane[:, :components.shape[1]] = components[:, :2]
    pca = f"the first two principal components ({100 * share:.0f} % of the variance)"
    if len(feats) < 20:
        return plane, pca
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return plane, pca + "; with scikit-learn installed (pip install scikit-learn) it is a t-SNE"
    perplexity = min(PERPLEXITY, (len(feats) - 1) / 3)
    dims = min(PCA_DIMS, components.shape[1])
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return tsne.fit_transform(components[:, :dims].astype(np.float32)), \
        f"t-SNE (perplexity {perplexity:.0f}) of the first {dims} principal components"
