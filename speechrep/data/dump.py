"""Features of a data folder in ark files, made by parallel jobs.

A dump folder holds `feats.1.ark` ... `feats.K.ark`, `utt2num_frames`, `feats.yaml` (the configuration), `moments.json`
(sums over all frames), `cmvn.npz` where asked for, and `feats.scp`, which appears last: where it is, the features are whole.
Of an aligned folder it also holds `durations`: frames of each phone of `ali`, whose sum is the utterance's frames.

How the utterances are divided among arks depends on the data alone, and a job makes one ark after the other, so the
files are the same whatever the number of jobs and however often the work was interrupted.
"""

import hashlib
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from speechrep.config import build, plain, read_yaml, write_yaml
from speechrep.data.alignment import frames_per_phone, read_ali
from speechrep.data.ark import ArkWriter
from speechrep.data.audio import AudioReader, measure_seconds
from speechrep.data.features import FeatureConfig, build_features
from speechrep.data.folder import DataFolder, read_table, split, write_table
from speechrep.data.moments import Moments
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_path, read_json, write_json, write_text
from speechrep.launch import advance, during, run_jobs

MAX_ARK_SEC = 1800.0
"""Seconds of audio in an ark of a large corpus: 58 MB of 80 bands at 100 frames a second."""

MIN_ARK_SEC = 120.0
"""Seconds of audio in an ark of a small corpus, for which opening and closing files would otherwise take longest."""

MIN_ARKS = 32
"""Between the two, a corpus is cut into so many arks, so that it can occupy this many jobs."""


def dump(data: str | Path, out: str | Path, config: FeatureConfig, *, nj: int = 1, cmvn: bool = False,
         redo: bool = False, allow_pipes: bool = False, log_dir: str | Path | None = None,
         backend: str | None = None) -> bool:
    """Write the features of the data folder `data` to the dump folder `out`; False if they were there already.

    What an interrupted run of the same configuration has finished is kept. Raises `SpeechrepError` if `out` holds
    features of another configuration or of other utterances (unless `redo`), an utterance is too short for one frame,
    the disk is too small, or a job fails. `cmvn`: also write `cmvn.npz` (mean [D], std [D], frames). Paths in
    `feats.scp` begin as `out` is given, so a relative one starts at the working directory, as in Kaldi.
    """
    folder, out = DataFolder(data), Path(out)
    if allow_pipes and not folder.has("utt2dur"):
        folder.write("utt2dur", {utt: f"{sec:.6f}" for utt, sec in measure_seconds(folder, allow_pipes=True).items()})
    arks = _ark_count(folder)
    source = _digest(folder, arks)
    if _prepare(out, config, source, redo):
        if cmvn and not (out / "cmvn.npz").exists():
            _write_cmvn(out)
        _remove_parts(out)
        _write_durations(folder, out, config)
        print(f"{out}: already there", file=sys.stderr)
        return False
    _announce(folder, out, config, arks)
    jobs = [(str(folder.path), str(out), plain(config), part, arks, allow_pipes)
            for part in split(list(range(1, arks + 1)), nj)]
    run_jobs(dump_arks, jobs, log_dir=log_dir or out / "log", nj=nj, title=f"dump {folder.name}", backend=backend)
    _join(out, arks, config.dim, cmvn)
    _remove_parts(out)
    _write_durations(folder, out, config)
    return True


def dump_arks(data: str, out: str, config: dict, numbers: list[int], count: int, allow_pipes: bool) -> None:
    """One job: those of the `count` arks that have these numbers (from 1) and are not there yet.

    Of audio and features, memory holds one utterance.
    """
    settings = build(FeatureConfig, config)
    folder = DataFolder(data)
    arks = split(folder.utts, count)
    reader = AudioReader(folder, rate_hz=settings.rate_hz, allow_pipes=allow_pipes)
    features = build_features(settings)
    seconds = folder.seconds
    total = sum(seconds[utt] for number in numbers for utt in arks[number - 1])
    done = 0.0
    threads = torch.get_num_threads()
    # The order of a sum, and so its last bits, may depend on the number of threads.
    torch.set_num_threads(1)
    try:
        for number in numbers:
            if (Path(out) / f"feats.{number}.json").exists():
                done += sum(seconds[utt] for utt in arks[number - 1])
                continue
            moments = Moments(settings.dim)
            with ArkWriter(out, f"feats.{number}", scp=False) as writer:
                for utt in arks[number - 1]:
                    with during(f"utterance {utt}"):
                        matrix = features(reader.read(utt)[0])
                        if len(matrix) == 0:
                            raise _too_short(folder, [utt])
                        writer.write(utt, matrix)
                        moments.add(matrix)
                    done += seconds[utt]
                    advance(done, total)
            write_json(Path(out) / f"feats.{number}.json",
                       {"places": writer.places, "num_frames": writer.num_frames, **moments.plain()})
    finally:
        torch.set_num_threads(threads)


def dump_config(out: str | Path) -> FeatureConfig:
    """The configuration with which a dump folder was made."""
    return build(FeatureConfig, read_yaml(Path(out) / "feats.yaml"), where=f"{out}/feats.yaml")


def _write_durations(folder: DataFolder, out: Path, config: FeatureConfig) -> None:
    """The stream `ali` as whole frames, `utt n1 n2 ...`; it may have changed since the features were made."""
    path = out / "durations"
    if not folder.has("ali"):
        path.unlink(missing_ok=True)
        return
    frames, rows = read_table(out / "utt2num_frames"), {}
    for utt, line in folder.read("ali").items():
        try:
            _, ends = read_ali(line)
        except SpeechrepError as error:
            raise SpeechrepError(f"{folder.path}/ali, utterance {utt}: {error.found}", error.wanted,
                                 "run `speechrep align` again") from None
        counts = frames_per_phone(np.asarray(ends), int(frames[utt]), config.hop_samples / config.rate_hz)
        rows[utt] = " ".join(map(str, counts))
    if not path.is_file() or read_table(path) != rows:
        write_table(path, rows)


def _ark_count(folder: DataFolder) -> int:
    seconds = sum(folder.seconds.values())
    if not seconds:
        raise SpeechrepError(f"{folder.path}: no utterances", "at least one line in wav.scp")
    count = math.ceil(seconds / min(MAX_ARK_SEC, max(MIN_ARK_SEC, seconds / MIN_ARKS)))
    return min(count, len(folder.utts))


def _digest(folder: DataFolder, arks: int) -> str:
    """Changes when an utterance, its place or its length does, or the number of arks."""
    digest = hashlib.sha256(str(arks).encode())
    for stream in ("wav.scp", "segments"):
        if folder.has(stream):
            digest.update((folder.path / stream).read_bytes())
    digest.update(repr(sorted(folder.seconds.items())).encode())
    return digest.hexdigest()


def _own_files(out: Path) -> Iterator[Path]:
    for pattern in ("feats.scp", "feats.*.json", "feats.*.ark", "feats.yaml", "utt2num_frames",
                    "moments.json", "cmvn.npz", "speakers.npz", "source", "durations"):
        yield from out.glob(pattern)


def _prepare(out: Path, config: FeatureConfig, source: str, redo: bool) -> bool:
    """True if the dump is whole. Otherwise the folder is ready for the jobs: what doesn't fit has been removed."""
    out.mkdir(parents=True, exist_ok=True)
    for leftover in out.glob(".*.tmp*"):
        leftover.unlink()
    complete = (out / "feats.scp").exists()
    difference = ""
    if not (out / "source").exists() or not (out / "feats.yaml").exists():
        difference = "features of an unknown configuration"
    elif read_yaml(out / "feats.yaml") != plain(config):
        old, new = read_yaml(out / "feats.yaml"), plain(config)
        difference = "features with other settings: " + ", ".join(
            f"{key} {old.get(key)} instead of {new.get(key)}" for key in new | old if old.get(key) != new.get(key))
    elif (out / "source").read_text(encoding="utf-8").strip() != source:
        difference = "features of other utterances or audio than the data folder holds now"
    if not difference and not redo:
        return complete
    if complete and not redo:
        raise SpeechrepError(f"{out}: holds {difference}", "an empty folder, or one with the same features",
                             "name another folder, or replace what is there: --redo")
    # feats.scp goes first: without it the folder never looks finished.
    for path in _own_files(out):
        path.unlink()
    write_yaml(out / "feats.yaml", plain(config))
    write_text(out / "source", source + "\n")
    return False


def _announce(folder: DataFolder, out: Path, config: FeatureConfig, arks: int) -> None:
    counts = {utt: config.num_frames(round(sec * config.rate_hz)) for utt, sec in folder.seconds.items()}
    short = [utt for utt, count in counts.items() if count == 0]
    if short:
        raise _too_short(folder, short)
    size = sum(counts.values()) * config.dim * 4 + sum(len(utt.encode()) + 16 for utt in counts)
    there = sum(path.stat().st_size for path in out.glob("feats.*.ark"))
    free = shutil.disk_usage(out).free
    hours = sum(folder.seconds.values()) / 3600
    print(f"{out}: {config.kind} of {len(counts)} utterances, {hours:.2f} h: {size / 1e6:,.1f} MB in {arks} arks "
          f"({free / 1e9:,.1f} GB free)", file=sys.stderr)
    if size - there > free:
        raise SpeechrepError(f"{out}: {free / 1e6:,.1f} MB of disk are free", f"{(size - there) / 1e6:,.1f} MB",
                             "free some space, or name a folder on another disk")


def _too_short(folder: DataFolder, utts: list[str]) -> SpeechrepError:
    return SpeechrepError(f"{folder.path}: {len(utts)} utterances too short for one frame: {' '.join(utts[:10])}",
                          "at least one window of audio", f"leave them out: speechrep check --skip-bad {folder.path}")


def _join(out: Path, arks: int, dim: int, cmvn: bool) -> None:
    """Make the files of the whole from those of the arks; utterances stay in order since arks are contiguous."""
    moments, frames, places = Moments(dim), {}, {}
    for number in range(1, arks + 1):
        part = read_json(out / f"feats.{number}.json")
        frames |= part["num_frames"]
        places |= part["places"]
        moments.merge(part)
    write_table(out / "utt2num_frames", {utt: str(count) for utt, count in frames.items()})
    write_json(out / "moments.json", moments.plain())
    if cmvn:
        _write_cmvn(out)
    write_table(out / "feats.scp", places)


def _write_cmvn(out: Path) -> None:
    values = read_json(out / "moments.json")
    moments = Moments(len(values["total"]))
    moments.merge(values)
    mean, std = moments.mean_std()
    with atomic_path(out / "cmvn.npz") as tmp:
        np.savez(tmp, mean=mean, std=std, frames=np.int64(moments.frames))


def _remove_parts(out: Path) -> None:
    for part in out.glob("feats.*.json"):
        part.unlink()
