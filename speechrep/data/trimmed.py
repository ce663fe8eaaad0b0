"""A data folder less the silences in its recordings, as SUPERB's reference has them cut where speakers are verified.

Its recordings are what sox's effects `gain` and `silence` leave of those of another folder; what is said and by whom
stays, when it is said does not.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np

from speechrep.data.audio import AudioReader, header, write_wav
from speechrep.data.folder import DataFolder, split
from speechrep.data.lists import OWN_COLUMNS, read_list
from speechrep.errors import SpeechrepError
from speechrep.files import fingerprint, read_json, write_json, write_text
from speechrep.launch import advance, during, run_jobs

EFFECTS = ("gain", "-3.0", "silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%")
"""s3prl's `downstream/sv_voxceleb1/dataset.py`: 3 dB softer, then without what comes before the first 0.1 s whose RMS,
in windows of 20 ms, is above a thousandth of full scale, and without stretches of 0.1 s and more below that."""

TIMED = ("ali", "ali.true", "durations", "rttm", "segments", "utt2dur", "utt2num_frames")
TIMED_KINDS = ("units.", "reco2")
"""Streams that say when, or of which recording, which no longer holds: these, and those whose names begin so."""

JOB_UTTS = 500


def trim(folder: DataFolder, out: Path, above_sec: float = 0.0, nj: int = 1) -> DataFolder:
    """Write the data folder `out`; its sound, 16-bit, goes to the folder wav/NAME beside it.

    above_sec: utterances of which no more than so many seconds remain are left out, and OUT/skipped.tsv lists them. What an
    interrupted call has written is kept. Raises `SpeechrepError` where sox is not installed, where nothing remains, and
    for an utterance to be left out that a list such as `trials` names.
    """
    if not shutil.which("sox"):
        raise SpeechrepError("no program 'sox'", "sox, whose effect `silence` cuts", "apt-get install sox")
    if out.resolve() == folder.path.resolve():
        raise SpeechrepError(f"{out}: the folder itself", "another folder to write")
    wavs = out.parent / "wav" / out.name
    source = {"source": fingerprint(*(folder.path / name for name in ("wav.scp", "segments") if folder.has(name))),
              "effects": list(EFFECTS)}
    settled = wavs / "trimmed.json"
    if not settled.is_file() or read_json(settled) != source:
        shutil.rmtree(wavs, ignore_errors=True)
        write_json(settled, source)
    jobs = [(str(folder.path), str(wavs), utts) for utts in split(folder.utts, max(nj, len(folder.utts) // JOB_UTTS))]
    left: dict[str, float] = {}
    for seconds in run_jobs(trim_utts, jobs, log_dir=out.parent / "log", nj=nj, title=f"trim {folder.name}"):
        left |= seconds
    short = {utt: sec for utt, sec in left.items() if sec <= above_sec}
    if len(short) == len(left):
        raise SpeechrepError(f"{folder.path}: of no utterance more than {above_sec:g} s remain", "speech above a thousandth of "
                             "full scale", "choose another length, or look at the levels: `speechrep check`")
    for name in (name for name in OWN_COLUMNS if name not in TIMED and folder.has(name)):
        named = sorted(short.keys() & {row[column] for row in read_list(folder.path / name) for column in OWN_COLUMNS[name]})
        if named:
            raise SpeechrepError(f"{folder.path}/{name} names {len(named)} utterances of which no more than {above_sec:g} s "
                                 f"remain, such as '{named[0]}'", "a list of what remains", "trim this part to any length")
    kept = [utt for utt in left if utt not in short]
    sounds = {"wav.scp": {utt: str(wavs / f"{utt}.wav") for utt in kept},
              "utt2dur": {utt: f"{left[utt]:.6f}" for utt in kept}}
    timed = [*TIMED, *(name for name in folder.streams() if name.startswith(TIMED_KINDS))]
    made = folder.subset(kept, out, sounds, without=timed)
    if short:
        write_text(out / "skipped.tsv", "".join(f"{utt}\t{sec:.2f} s remain of its speech\n"
                                                for utt, sec in sorted(short.items())))
    return made


def trim_utts(folder: str, wavs: str, utts: list[str]) -> dict[str, float]:
    """Write WAVS/UTT.wav for each that is not there yet; returns the seconds that remain of each."""
    reader, seconds = AudioReader(DataFolder(folder)), {}
    for index, utt in enumerate(utts):
        path = Path(wavs) / f"{utt}.wav"
        with during(f"utterance {utt}"):
            if not path.is_file():
                samples, rate_hz = reader.read(utt)
                write_wav(path, without_silence(samples, rate_hz), rate_hz, sync=False)
            rate_hz, frames, _ = header(path)
        seconds[utt] = frames / rate_hz
        advance(index + 1, len(utts))
    return seconds


def without_silence(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """What `EFFECTS` leave of samples float32 [T] in [-1, 1]. Raises `SpeechrepError` where sox fails."""
    raw = ("-t", "raw", "-e", "floating-point", "-b", "32", "-c", "1", "-r", str(rate_hz))
    done = subprocess.run(["sox", "-D", *raw, "-", *raw, "-", *EFFECTS], input=np.asarray(samples, "<f4").tobytes(),
                          capture_output=True, check=False)
    if done.returncode:
        raise SpeechrepError(f"sox: {done.stderr.decode(errors='replace').strip()[-300:]}", "samples that sox can read")
    return np.frombuffer(done.stdout, "<f4")
