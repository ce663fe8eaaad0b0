"""Features whose dimensions have the mean and deviation of the training part within each utterance or each speaker
(cepstral mean and variance normalisation): much of what voices, rooms and microphones add is taken out.

Kaldi's recipes take each speaker's statistics, s3prl those of the utterance. A speaker's have more to go by: an utterance
of a second differs from others by its phones as much as by its voice. But they take for known who speaks.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from speechrep.data.folder import DataFolder
from speechrep.data.inventory import Inventory
from speechrep.data.moments import Moments
from speechrep.files import atomic_path, fingerprint

BY_UTTERANCE, BY_SPEAKER = "feats:utterance", "feats:speaker"
"""The streams of features that are standardised within each utterance and each speaker."""

LEAST_DEVIATION = 0.1
"""Of the training part's. A band in which a speaker has next to nothing would otherwise be noise blown up to the size of
speech."""

Statistics = tuple[np.ndarray, np.ndarray]
"""Mean and standard deviation of each dimension [D], in double precision."""


def statistics(matrices: Iterable[np.ndarray]) -> Statistics:
    """Those of the frames of all `matrices`, each [N, D]; there must be one."""
    moments = None
    for matrix in matrices:
        moments = moments or Moments(matrix.shape[1])
        moments.add(matrix)
    return moments.mean_std()


def standardised(matrix: np.ndarray, own: Statistics | None, inventory: Inventory) -> np.ndarray:
    """[N, D] with the statistics `own`, by default those of its frames, -> [N, D] in single precision with those of the
    training part."""
    mean, std = own or statistics([matrix])
    wanted_mean, wanted_std = np.array(inventory.mean), np.array(inventory.std)
    std = np.maximum(std, LEAST_DEVIATION * wanted_std)
    return ((matrix - mean) / std * wanted_std + wanted_mean).astype(np.float32)


def speaker_statistics(folder: DataFolder, dump: Path, feats: Mapping[str, np.ndarray]) -> dict[str, Statistics]:
    """Speaker -> the statistics of all features that a dump has of them, kept in its `speakers.npz` until `utt2spk` or the
    features change."""
    made_from = fingerprint(*(folder.path / "utt2spk", *(dump / name for name in ("source", "feats.yaml", "feats.scp"))))
    path = dump / "speakers.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["made_from"]) == made_from:
                return dict(zip(kept["speakers"].tolist(), zip(kept["mean"], kept["std"])))
    from tqdm import tqdm  # only here is there something to wait for
    utts: dict[str, list[str]] = {}
    for utt, speaker in folder.read("utt2spk").items():
        if utt in feats:
            utts.setdefault(speaker, []).append(utt)
    with tqdm(total=sum(map(len, utts.values())), desc=f"{dump}: speakers' statistics", unit="utt", file=sys.stderr,
              mininterval=5, delay=5) as bar:
        def matrices(speaker: str):
            for utt in utts[speaker]:
                yield feats[utt]
                bar.update()
        found = {speaker: statistics(matrices(speaker)) for speaker in utts}
    with atomic_path(path) as tmp:
        np.savez(tmp, made_from=made_from, speakers=list(found), mean=np.array([mean for mean, _ in found.values()]),
                 std=np.array([std for _, std in found.values()]))
    return found
