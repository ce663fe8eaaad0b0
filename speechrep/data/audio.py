"""Audio in and out: files through libsndfile, entries of `wav.scp` with or without segments, resampling."""

import functools
import io
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from speechrep.errors import SpeechrepError
from speechrep.files import atomic_path

if TYPE_CHECKING:
    from speechrep.data.folder import DataFolder

SEGMENT_SLACK_SEC = 0.01
"""How far a segment may end beyond its recording: times in `segments` are often rounded to 10 ms."""

QUIET_DB = 20.0
"""A channel so much below the loudest is left out of a mix: it holds nothing, or a leak of the other."""


def read_wav(path: str | Path, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, int]:
    """Samples `start` to `stop` of a mono sound file, float32 [T] in [-1, 1], and its sampling rate in Hz.

    Any format of libsndfile (wav, flac, ogg, ...). Raises `SpeechrepError` for a missing, empty, truncated,
    multi-channel or non-audio file, and for samples that are not finite.
    """
    problem = file_problem(path)
    if problem:
        raise SpeechrepError(f"{path}: {problem[0]}", "a sound file", problem[1])
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate_hz, frames, channels = file.samplerate, file.frames, file.channels
            if channels != 1:
                raise SpeechrepError(f"{path}: {channels} channels", "one channel",
                                     f"take one of them: sox {path} mono.wav remix 1")
            stop = frames if stop is None else min(stop, frames)
            file.seek(min(start, frames))
            # Converting integers ourselves is three times as fast as libsndfile, to the same values.
            whole_numbers = file.subtype == "PCM_16"
            samples = file.read(max(0, stop - start), dtype="int16" if whole_numbers else "float32")
            if whole_numbers:
                samples = samples * np.float32(1 / 32768)
    except soundfile.LibsndfileError as error:
        raise SpeechrepError(f"{path}: not readable as audio ({error.error_string})", "a sound file",
                             "convert it to wav, or leave it out") from None
    if len(samples) < stop - start:
        raise SpeechrepError(f"{path}: truncated, {len(samples)} samples instead of {stop - start}",
                             "a whole file", "fetch it again, or leave it out")
    if not np.isfinite(samples).all():
        raise SpeechrepError(f"{path}: samples that are not numbers (NaN or infinity)", "finite samples",
                             "make it again, or leave it out")
    return samples, rate_hz


def read_mixed(path: str | Path) -> tuple[np.ndarray, int, str]:
    """A sound file of any number of channels as one: samples float32 [T], rate in Hz, and how: "" for one channel, else
    "mean", or "channel N" where the others are `QUIET_DB` below it or the mean would cancel what it holds.

    Raises `SpeechrepError` for what is missing, empty, not audio or not finite.
    """
    problem = file_problem(path)
    if problem:
        raise SpeechrepError(f"{path}: {problem[0]}", "a sound file", problem[1])
    try:
        channels, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SpeechrepError(f"{path}: not readable as audio ({error.error_string})", "a sound file",
                             "convert it to wav, or leave it out") from None
    if not np.isfinite(channels).all():
        raise SpeechrepError(f"{path}: samples that are not numbers (NaN or infinity)", "finite samples",
                             "make it again, or leave it out")
    if channels.shape[1] == 1:
        return channels[:, 0], rate_hz, ""
    energy = np.square(channels, dtype=np.float64).sum(0)
    mean = channels.mean(1)
    loud = int(energy.argmax())
    others = np.delete(energy, loud).max()
    # A mean has at least this energy, unless the channels are out of phase.
    cancelled = np.square(mean, dtype=np.float64).sum() < energy[loud] / len(energy) ** 2
    if cancelled or others < energy[loud] * 10 ** (-QUIET_DB / 10):
        return np.ascontiguousarray(channels[:, loud]), rate_hz, f"channel {loud + 1}"
    return mean, rate_hz, "mean"


def write_wav(path: str | Path, samples: np.ndarray, rate_hz: int, sync: bool = True) -> None:
    """Write float samples [T] as a mono 16-bit PCM file, atomically; what is beyond [-1, 1] is clipped.

    Scaled by 32768, as in reading, so that what was read from 16 bits is written back unchanged. sync: see
    `atomic_path`.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise SpeechrepError(f"{path}: samples of shape {samples.shape}, or some are not finite", "finite samples [T]")
    pcm = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
    with atomic_path(path, sync) as tmp:
        soundfile.write(str(tmp), pcm, rate_hz, subtype="PCM_16", format="WAV")


def file_problem(path: str | Path) -> tuple[str, str] | None:
    """What is wrong with a sound file as a file, and the cure: missing, empty, or shorter than its RIFF header says."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size == 0:
                return "an empty file", "make it again, or leave it out"
            head = file.read(12)
            if head[:4] != b"RIFF" or head[8:] != b"WAVE":
                return None
            while len(chunk := file.read(8)) == 8:
                length = int.from_bytes(chunk[4:], "little")
                if chunk[:4] == b"data":
                    missing = length - (size - file.tell())
                    # Programs that write to a pipe cannot know the length and put a number near 2^31 or 2^32 here.
                    if missing > 0 and length < 0x7FFF0000:
                        return (f"truncated, {missing} bytes of {length} are missing",
                                "fetch it again, or leave it out")
                    return None
                file.seek(length + length % 2, 1)
            return "a wav file without samples", "make it again, or leave it out"
    except FileNotFoundError:
        return "no such file", "mend the path (relative paths start at the working directory)"
    except OSError as error:
        return f"cannot be opened ({error.strerror})", "mend its path or permissions"


def header(path: str | Path) -> tuple[int, int, int]:
    """Sampling rate in Hz, samples a channel and channels of a sound file, without reading the samples."""
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        found, cure = file_problem(path) or (f"not readable as audio ({error.error_string})", "convert it to wav")
        raise SpeechrepError(f"{path}: {found}", "a sound file", cure) from None
    return info.samplerate, info.frames, info.channels


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """float32 [T] at `from_hz` -> float32 [ceil(T * to_hz / from_hz)] at `to_hz` (windowed sinc of torchaudio)."""
    if from_hz == to_hz:
        return samples
    import torch
    with torch.inference_mode():
        return _resampler(from_hz, to_hz)(torch.from_numpy(np.ascontiguousarray(samples))).numpy()


@functools.lru_cache(maxsize=16)
def _resampler(from_hz: int, to_hz: int):
    # Imported here since torchaudio takes seconds and most readers of a data folder never resample.
    import torchaudio
    return torchaudio.transforms.Resample(from_hz, to_hz)


def is_pipe(entry: str) -> bool:
    """Whether an entry of `wav.scp` is a command whose output is the sound (it ends in `|`)."""
    return entry.rstrip().endswith("|")


def run_pipe(entry: str) -> bytes:
    """The output of the commands of a `wav.scp` entry such as `flac -cds a.flac | sox -t wav - -r 8k -t wav - |`.

    Run without a shell: quotes are understood; redirections, `;`, `&` and parentheses are refused. Variables and
    wildcards are not expanded. Raises `SpeechrepError` if a command is missing or fails, with its last words.
    """
    lexer = shlex.shlex(entry.rstrip()[:-1], posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    stages: list[list[str]] = [[]]
    try:
        for token in lexer:
            if token == "|":
                stages.append([])
            elif set(token) <= set("|&;<>()"):
                raise SpeechrepError(f"{entry}: '{token}' needs a shell", "commands joined by '|'",
                                     "write the sound to a file and name that in wav.scp")
            else:
                stages[-1].append(token)
    except ValueError as error:
        raise SpeechrepError(f"{entry}: {error}", "commands joined by '|'") from None
    if not all(stages):
        raise SpeechrepError(f"{entry}: an empty command", "commands joined by '|'")
    processes: list[subprocess.Popen] = []
    with tempfile.TemporaryFile() as errors:
        try:
            for stage in stages:
                stdin = processes[-1].stdout if processes else subprocess.DEVNULL
                processes.append(subprocess.Popen(stage, stdin=stdin, stdout=subprocess.PIPE, stderr=errors))
                if len(processes) > 1:
                    stdin.close()
            output = processes[-1].communicate()[0]
        except OSError as error:
            raise SpeechrepError(f"{entry}: {error.strerror}: {stage[0]}", "commands that can be run",
                                 f"install {stage[0]}") from None
        finally:
            for process in processes:
                if process.stdout:
                    process.stdout.close()
                process.wait()
        codes = [process.returncode for process in processes]
        if codes[-1] != 0 or any(code not in (0, -signal.SIGPIPE) for code in codes):
            errors.seek(0)
            words = errors.read()[-500:].decode(errors="replace").strip()
            raise SpeechrepError(f"{entry}: exit status {codes}: {words}", "commands that succeed")
    return output


def read_pipe(entry: str) -> tuple[np.ndarray, int]:
    """Run a `wav.scp` entry that is a command; its sound, float32 [T], and sampling rate in Hz."""
    output = run_pipe(entry)
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(output), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SpeechrepError(f"{entry}: {len(output)} bytes that are not audio ({error.error_string})",
                             "a sound on its standard output, such as wav") from None
    if samples.shape[1] != 1:
        raise SpeechrepError(f"{entry}: {samples.shape[1]} channels", "one channel",
                             "append: sox -t wav - -t wav - remix 1 |")
    if not np.isfinite(samples).all():
        raise SpeechrepError(f"{entry}: samples that are not numbers (NaN or infinity)", "finite samples")
    return samples[:, 0], rate_hz


def refuse_pipe(entry: str) -> None:
    """Raise `SpeechrepError` if the entry is a command."""
    if is_pipe(entry):
        raise SpeechrepError(f"wav.scp holds a command: {entry}", "the name of a sound file",
                             "write the sounds to files; check, align and dump run commands too, with --allow-pipes")


class AudioReader:
    """Reads the sound of the utterances of a data folder.

    `rate_hz`: resample to this rate; None keeps the rate of each file. `allow_pipes`: run the commands that stand in
    `wav.scp`; otherwise such an entry is a `SpeechrepError`.
    """

    def __init__(self, folder: "DataFolder", rate_hz: int | None = None, allow_pipes: bool = False):
        self.folder, self.rate_hz, self.allow_pipes = folder, rate_hz, allow_pipes
        self._entries = folder.read("wav.scp")
        self._segments = folder.read("segments") if folder.has("segments") else None
        self._last_pipe: tuple[str, tuple[np.ndarray, int]] | None = None

    def read(self, utt: str) -> tuple[np.ndarray, int]:
        """Samples of an utterance, float32 [T] mono in [-1, 1], and their rate in Hz.

        Raises `SpeechrepError`, naming file, utterance and cure, for an unknown utterance, a segment beyond its
        recording, and whatever `read_wav` refuses.
        """
        try:
            samples, rate_hz = self._read(utt)
        except SpeechrepError as error:
            raise SpeechrepError(f"{self.folder.path}: {utt}: {error.found}", error.wanted, error.cure) from None
        if self.rate_hz is not None and rate_hz != self.rate_hz:
            return resample(samples, rate_hz, self.rate_hz), self.rate_hz
        return samples, rate_hz

    def _read(self, utt: str) -> tuple[np.ndarray, int]:
        if self._segments is None:
            if utt not in self._entries:
                raise SpeechrepError("no such utterance in wav.scp", "an utterance of the folder")
            return self._recording(self._entries[utt])
        recording, start_sec, end_sec = segment_of(self._segments, utt)
        if recording not in self._entries:
            raise SpeechrepError(f"its recording '{recording}' is not in wav.scp", "a recording of wav.scp")
        entry = self._entries[recording]
        if is_pipe(entry):
            samples, rate_hz = self._recording(entry)
            start, stop = segment_bounds(start_sec, end_sec, len(samples), rate_hz)
            return samples[start:stop], rate_hz
        rate_hz, frames, _ = header(entry)
        return read_wav(entry, *segment_bounds(start_sec, end_sec, frames, rate_hz))

    def _recording(self, entry: str) -> tuple[np.ndarray, int]:
        if not is_pipe(entry):
            return read_wav(entry)
        if not self.allow_pipes:
            refuse_pipe(entry)
        # Segments of one recording follow each other, so one recording is worth keeping.
        if self._last_pipe is None or self._last_pipe[0] != entry:
            self._last_pipe = entry, read_pipe(entry)
        return self._last_pipe[1]


def segment_of(segments: dict[str, str], utt: str) -> tuple[str, float, float]:
    """Recording, start and end in seconds of an utterance; an end of -1 means the end of the recording.

    Raises `SpeechrepError` if the utterance is unknown or its line is not `recording start end`.
    """
    if utt not in segments:
        raise SpeechrepError("no such utterance in segments", "an utterance of the folder")
    fields = segments[utt].split()
    try:
        recording, start, end = fields[0], float(fields[1]), float(fields[2])
    except (IndexError, ValueError):
        raise SpeechrepError(f"its segment '{segments[utt]}'", "recording, start and end in seconds") from None
    return recording, start, end


def segment_bounds(start_sec: float, end_sec: float, frames: int, rate_hz: int) -> tuple[int, int]:
    """First sample and the sample after the last of a segment of a recording of `frames` samples.

    An end of -1 means the end of the recording. Raises `SpeechrepError` for an empty segment or one that ends more
    than `SEGMENT_SLACK_SEC` beyond the recording.
    """
    length_sec = frames / rate_hz
    stop_sec = length_sec if end_sec == -1 else end_sec
    if not 0 <= start_sec < stop_sec:
        raise SpeechrepError(f"its segment from {start_sec} to {end_sec} s is empty or negative", "0 <= start < end")
    if stop_sec > length_sec + SEGMENT_SLACK_SEC or start_sec >= length_sec:
        raise SpeechrepError(f"its segment ends at {stop_sec} s, beyond the recording of {length_sec:.3f} s",
                             "a segment within the recording", "mend the line in segments")
    start, stop = round(start_sec * rate_hz), min(frames, round(stop_sec * rate_hz))
    if stop <= start:
        raise SpeechrepError(f"its segment from {start_sec} to {end_sec} s holds no sample", "at least one sample")
    return start, stop


def measure_seconds(folder: "DataFolder", allow_pipes: bool = False) -> dict[str, float]:
    """Utterance -> duration in seconds, from the headers of the files (a command is run to know its length)."""
    entries = folder.read("wav.scp")
    segments = folder.read("segments") if folder.has("segments") else None

    @functools.lru_cache(maxsize=None)
    def length(recording: str) -> tuple[int, int]:
        if recording not in entries:
            raise SpeechrepError(f"recording '{recording}' is not in wav.scp")
        if is_pipe(entries[recording]):
            if not allow_pipes:
                refuse_pipe(entries[recording])
            samples, rate_hz = read_pipe(entries[recording])
            return len(samples), rate_hz
        rate_hz, frames, _ = header(entries[recording])
        return frames, rate_hz

    result = {}
    for utt in folder.utts:
        try:
            if segments is None:
                frames, rate_hz = length(utt)
                result[utt] = frames / rate_hz
            else:
                recording, start_sec, end_sec = segment_of(segments, utt)
                frames, rate_hz = length(recording)
                start, stop = segment_bounds(start_sec, end_sec, frames, rate_hz)
                result[utt] = (stop - start) / rate_hz
        except SpeechrepError as error:
            raise SpeechrepError(f"{folder.path}: {utt}: {error.found}", error.wanted, error.cure) from None
    return result
