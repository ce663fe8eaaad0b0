"""How fast `speechrep dump` is on one core, beside the libraries that compute such features.

    OMP_NUM_THREADS=1 python test/benchmarks/dump_speed.py

Every contestant turns the same wav files (600 s as 60 files of 10 s, 16 kHz) into 80 log-mel or Kaldi bands, 100 frames
a second, once in memory alone and once from wav to ark (soundfile and kaldiio around the libraries). The rounds are
interleaved and the best of each counts. Speeds are seconds of audio per second of processor time, which other load on
the machine disturbs least; the clock also counts waiting for the disk, to which dump, unlike the peers, syncs its
files. Prints a Markdown table.
"""

import argparse
import contextlib
import io
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import kaldiio
import numpy as np
import soundfile
import torch
import torchaudio

from speechrep.data.audio import write_wav
from speechrep.data.dump import dump
from speechrep.data.features import FeatureConfig, build_features
from speechrep.data.folder import write_folder

RATE_HZ, FILES, FILE_SEC = 16000, 60, 10.0

OURS = {
    "speechrep logmel": FeatureConfig(kind="logmel", n_fft=512),
    "speechrep logmel, 1024 points": FeatureConfig(kind="logmel", n_fft=1024, win_samples=800),
    "speechrep fbank": FeatureConfig(kind="fbank"),
    "speechrep mfcc (13)": FeatureConfig(kind="mfcc", deltas=0),
    "speechrep mfcc (39)": FeatureConfig(kind="mfcc", deltas=2),
}


def make_folder(path: Path):
    """Noise with the rhythm of syllables, written as a data folder."""
    rng = np.random.default_rng(0)
    count = int(RATE_HZ * FILE_SEC)
    rhythm = 0.1 * (1.05 + np.sin(2 * np.pi * 4 * np.arange(count) / RATE_HZ))
    entries = {}
    for i in range(FILES):
        write_wav(path / "wav" / f"u{i:02d}.wav", rhythm * rng.standard_normal(count), RATE_HZ)
        entries[f"u{i:02d}"] = str(path / "wav" / f"u{i:02d}.wav")
    return write_folder(path / "data", {"wav.scp": entries})


def peers() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The libraries that are installed: samples [T] -> features [N, D]."""
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    with warnings.catch_warnings():
        # The default bands of torchaudio, some of which are empty at these sizes.
        warnings.simplefilter("ignore")
        mel = torchaudio.transforms.MelSpectrogram(RATE_HZ, n_fft=512, win_length=400, hop_length=160, n_mels=80)
        mel_1024 = torchaudio.transforms.MelSpectrogram(RATE_HZ, n_fft=1024, win_length=800, hop_length=160, n_mels=80)
    kaldi = torchaudio.compliance.kaldi
    found["torchaudio MelSpectrogram + log"] = lambda x: torch.log(mel(torch.from_numpy(x)).clamp(min=1e-5)).T.numpy()
    found["the same, 1024 points"] = lambda x: torch.log(mel_1024(torch.from_numpy(x)).clamp(min=1e-5)).T.numpy()
    found["torchaudio.compliance.kaldi.fbank"] = lambda x: kaldi.fbank(
        torch.from_numpy(x)[None], num_mel_bins=80).numpy()
    found["torchaudio.compliance.kaldi.mfcc"] = lambda x: kaldi.mfcc(torch.from_numpy(x)[None]).numpy()
    cepstra = torchaudio.transforms.MFCC(RATE_HZ, n_mfcc=13, melkwargs=dict(n_fft=512, win_length=400, hop_length=160,
                                                                            n_mels=40))
    found["torchaudio MFCC (13)"] = lambda x: cepstra(torch.from_numpy(x)).T.numpy()
    try:
        import librosa
        options = dict(sr=RATE_HZ, n_fft=512, win_length=400, hop_length=160)
        found["librosa melspectrogram + log"] = lambda x: np.log(np.maximum(
            librosa.feature.melspectrogram(y=x, n_mels=80, **options), 1e-5)).T
        found["librosa mfcc (13)"] = lambda x: librosa.feature.mfcc(y=x, n_mfcc=13, n_mels=40, **options).T
    except ImportError:
        pass
    try:
        import lhotse
        extractor = lhotse.Fbank(lhotse.FbankConfig(num_filters=80))
        found["lhotse Fbank"] = lambda x: extractor.extract(x, RATE_HZ)
    except ImportError:
        pass
    try:
        import kaldi_native_fbank as knf
        bands = knf.FbankOptions()
        bands.frame_opts.dither, bands.mel_opts.num_bins = 0, 80

        def native(x: np.ndarray) -> np.ndarray:
            online = knf.OnlineFbank(bands)
            online.accept_waveform(RATE_HZ, x)
            online.input_finished()
            return np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])

        found["kaldi-native-fbank"] = native
    except ImportError:
        pass
    return found


def seconds_of(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor and of the clock that one call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Run the contest and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="the best of so many rounds counts (default: 5)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="dump_speed."))
    try:
        folder = make_folder(root)
        sounds = [soundfile.read(path, dtype="float32")[0] for path in folder.read("wav.scp").values()]
        contest: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}

        def peer_to_ark(compute) -> None:
            with torch.inference_mode(), kaldiio.WriteHelper(f"ark,scp:{root}/peer.ark,{root}/peer.scp") as writer:
                for utt, path in folder.read("wav.scp").items():
                    writer(utt, np.asarray(compute(soundfile.read(path, dtype="float32")[0]), dtype=np.float32))

        def in_memory(compute) -> None:
            with torch.inference_mode():
                for sound in sounds:
                    compute(sound)

        def our_dump(config) -> None:
            shutil.rmtree(root / "dump", ignore_errors=True)
            with contextlib.redirect_stderr(io.StringIO()):
                dump(folder.path, root / "dump", config, nj=1)

        for name, config in OURS.items():
            contest[name] = (lambda c=build_features(config): in_memory(c), lambda c=config: our_dump(c))
        for name, compute in peers().items():
            contest[name] = (lambda c=compute: in_memory(c), lambda c=compute: peer_to_ark(c))
        best = {name: [float("inf")] * 3 for name in contest}
        for _ in range(rounds):
            for name, (alone, whole) in contest.items():
                taken = seconds_of(alone)[0], *seconds_of(whole)
                best[name] = [min(pair) for pair in zip(best[name], taken)]
    finally:
        shutil.rmtree(root)
    speed = {name: [FILES * FILE_SEC / sec for sec in row] for name, row in best.items()}
    fastest = [max(row[column] for name, row in speed.items() if name not in OURS) for column in (0, 1)]
    print("| one core, x real time | features alone | wav to ark | by the clock "
          "| wav to ark / fastest peer's wav to ark | wav to ark / fastest peer's features alone |")
    print("|---|---|---|---|---|---|")
    for name, (alone, whole, clock) in speed.items():
        print(f"| {name} | {alone:,.0f} | {whole:,.0f} | {clock:,.0f} | {whole / fastest[1]:.2f} "
              f"| {whole / fastest[0]:.2f} |")


if __name__ == "__main__":
    main()
