"""A corpus of a second or two an utterance, made in a moment: phones are chords, speakers are pitches. `units.toy` holds
6 units at 50 a second: the phones. Utterances take turns with five
pictures of 16 pixels."""

from pathlib import Path

import numpy as np

from speechrep.data.alignment import format_ali
from speechrep.data.audio import write_wav
from speechrep.data.dump import dump
from speechrep.data.features import FeatureConfig
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.picture import write_picture

PHONES = ("A1", "B", "K", "M", "S")
PICTURES = 5
FEATURES = FeatureConfig(kind="logmel", rate_hz=8000, hop_samples=80, win_samples=256, n_fft=256, n_mels=20)


def make_corpus(root: Path, parts: dict[str, int], seed: int = 0) -> Path:
    """data/<part> and dump/logmel/<part> below `root`, with `parts` utterances each from two speakers."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(seed + 1)
    for number in range(PICTURES):
        write_picture(root / "pictures" / f"{number}.png", np.kron(
            colours.integers(0, 256, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8))
    for part, count in parts.items():
        tables = {name: {} for name in ("wav.scp", "text", "utt2spk", "utt2lang", "phones", "ali", "utt2dur",
                                     "units.toy", "image.scp")}
        for number in range(count):
            speaker = f"spk{number % 2}"
            utt = f"{speaker}-{part}{number:03d}"
            phones = ["SIL", *rng.choice(PHONES, rng.integers(4, 9)), "SIL"]
            pieces, ends = [], []
            for phone in phones:
                time = np.arange(int(8000 * rng.uniform(0.06, 0.2))) / 8000
                pitch = 110 * (1 + number % 2)
                tone = 0.0 if phone == "SIL" else 0.3 * np.sin(2 * np.pi * pitch * (3 + 4 * PHONES.index(phone)) * time)
                pieces.append(tone + 0.003 * rng.standard_normal(len(time)))
                ends.append((ends[-1] if ends else 0.0) + len(time) / 8000)
            wav = root / "wav" / f"{utt}.wav"
            write_wav(wav, np.concatenate(pieces).astype(np.float32), 8000)
            spoken = [phone for phone in phones if phone != "SIL"]
            frames = np.searchsorted(ends, np.arange(0.01, ends[-1], 0.02), side="right")
            units = [0 if phones[i] == "SIL" else 1 + PHONES.index(phones[i]) for i in frames]
            values = {"wav.scp": str(wav), "text": "".join(p[0].lower() for p in spoken), "utt2spk": speaker,
                      "utt2lang": "en", "phones": " ".join(spoken), "ali": format_ali(phones, ends),
                      "utt2dur": f"{ends[-1]:.4f}", "units.toy": " ".join(map(str, units)),
                      "image.scp": str(root / "pictures" / f"{number % PICTURES}.png")}
            for name, value in values.items():
                tables[name][utt] = value
        write_folder(root / "data" / part, tables)
        dump(root / "data" / part, root / "dump" / "logmel" / part, FEATURES, cmvn=True)
    return root


def folder(root: Path, part: str) -> DataFolder:
    return DataFolder(root / "data" / part)
