"""All that is wrong with a data folder, found at once, and what is left of it without the utterances concerned."""

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechrep.data.audio import (file_problem, header, is_pipe, read_pipe, read_wav, refuse_pipe, segment_bounds,
                                  segment_of)
from speechrep.data.folder import bad_id, is_stream, key_kind, spk2utt, table_text, write_table
from speechrep.data.lists import OWN_COLUMNS, cut_lists, list_problems
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

MAX_CHARS_PER_SEC = 40.0
"""More characters a second than this and the text is not what is said; conversation has about 15 (an assumption that
leaves wide room). A Chinese or Japanese character counts as `CHARS_PER_IDEOGRAPH`."""

CHARS_PER_IDEOGRAPH = 3.0
"""A syllable, three letters on average in alphabetic spelling."""

MAX_PHONES_PER_SEC = 33.0
"""An aligner of three states a phone and 100 frames a second cannot place more; conversation has 10 to 15."""

MIN_SEC = 0.03
"""Shorter than one analysis window of 25 ms and there is nothing to compute."""

SILENCE_PEAK = 10 ** (-70 / 20)
"""Audio that never exceeds -70 dB of full scale (10 steps of 16 bits), apart from a constant offset, is silence."""

DURATION_SLACK_SEC = 0.05
"""How far utt2dur may be from the audio, and the last phone of `ali` beyond its end."""

COMPLETE_STREAMS = ("utt2spk", "text", "utt2lang", "utt2dur")
"""Where these are in the folder, every utterance must be in them; others may be partial."""

IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True)
class Problem:
    """One thing wrong. `utt` is "" where no single utterance is concerned."""

    file: str
    """The file in which it shows."""
    utt: str
    """The utterance (in spk2utt the speaker, in wav.scp beside segments the recording)."""
    found: str
    """What is wrong."""
    cure: str
    """What to do about it."""
    skip: str = "utt"
    """What --skip-bad does: "utt" leaves the utterance out, "rewrite" writes the file anew, "none" cannot help."""

    def __str__(self) -> str:
        return f"{self.file}: " + (f"{self.utt}: " if self.utt else "") + f"{self.found} (cure: {self.cure})"


@dataclass
class Report:
    """What `check_folder` found."""

    problems: list[Problem]
    """All problems, by file and then by utterance."""
    utts: int
    """Number of utterances."""
    seconds: dict[str, float]
    """Duration of each utterance whose audio could be read."""
    rates: Counter
    """Sampling rate in Hz -> number of recordings."""

    def summary(self) -> str:
        """One line for people."""
        rates = ", ".join(f"{rate} Hz" for rate in sorted(self.rates)) or "no audio"
        problems = {0: "no problems", 1: "1 problem"}.get(len(self.problems), f"{len(self.problems)} problems")
        return f"{self.utts} utterances, {sum(self.seconds.values()) / 3600:.2f} h, {rates}: {problems}"


def check_folder(path: str | Path, rate_hz: int | None = None, allow_pipes: bool = False,
                 threads: int | None = None) -> Report:
    """Read every stream and all audio of a data folder and list all problems; nothing is changed.

    `rate_hz`: the sampling rate that all audio should have; None demands that all files agree. Commands in `wav.scp`
    are problems unless `allow_pipes`, which runs them. Raises `SpeechrepError` if the folder or wav.scp is missing.
    """
    path = Path(path)
    if not path.is_dir():
        raise SpeechrepError(f"{path}: no such folder", "a data folder", "run stage 1 (prepare) of the recipe")
    if not (path / "wav.scp").is_file():
        raise SpeechrepError(f"{path}: no wav.scp in it", "a data folder with lines 'utterance-id file.wav'",
                             "run stage 1 (prepare) of the recipe")
    problems: list[Problem] = []
    names = sorted(p.name for p in path.iterdir() if p.is_file() and is_stream(p.name))
    tables = {name: _scan(path / name, name, problems) for name in names}
    utts = set(tables.get("segments", tables["wav.scp"]))
    if not utts:
        problems.append(Problem(str(path / "wav.scp"), "", "no utterances", "add lines 'utterance-id file.wav'",
                                "none"))
    _check_ids(path, tables, utts, problems)
    problems += [Problem(str(path / name), utt, found, "prepare the folder again", "none")
                 for name, utt, found in list_problems(path, utts)]
    audio = _check_audio(path, tables, rate_hz, allow_pipes, threads or min(8, os.cpu_count() or 1), problems)
    _check_content(path, tables, audio, problems)
    order = list(dict.fromkeys(["wav.scp", "segments", "utt2spk", "spk2utt", "text", *names, *OWN_COLUMNS]))
    problems.sort(key=lambda problem: (order.index(Path(problem.file).name), problem.utt))
    seconds = {utt: length for utt, (length, _) in audio.items() if utt in utts}
    return Report(list(dict.fromkeys(problems)), len(utts), seconds,
                  Counter(rate for _, rate in audio.values()))


def skip_bad(path: str | Path, problems: list[Problem]) -> dict[str, str]:
    """Leave the utterances of `problems` out of every stream of the folder and return them with their reasons.

    They are added to PATH/skipped.tsv (utterance, tab, reason) before any stream is touched; an utterance that is in
    it already keeps its reason, so that a killed run, started again, ends in the same files. Streams are written
    sorted, spk2utt from utt2spk; a wrong utt2dur is removed. Raises `SpeechrepError` if no utterance would remain.
    """
    path = Path(path)
    ignored: list[Problem] = []
    names = sorted(p.name for p in path.iterdir() if p.is_file() and is_stream(p.name))
    tables = {name: _scan(path / name, name, ignored) for name in names}
    segmented = "segments" in tables
    reasons: dict[str, str] = {}
    for problem in problems:
        if problem.skip == "utt" and key_kind(Path(problem.file).name, segmented) == "utterance":
            reasons.setdefault(problem.utt, problem.found)
    bad_recordings = {problem.utt: problem.found for problem in problems if problem.skip == "utt"
                      and key_kind(Path(problem.file).name, segmented) == "recording"}
    for utt, line in tables.get("segments", {}).items():
        recording = line.split(None, 1)[0] if line else ""
        if recording in bad_recordings:
            reasons.setdefault(utt, bad_recordings[recording])
    kept = [utt for utt in tables.get("segments", tables["wav.scp"]) if utt not in reasons]
    if not kept:
        raise SpeechrepError(f"{path}: nothing would be left without the bad utterances", "at least one good utterance",
                             "mend the folder; it has not been changed")
    _record(path / "skipped.tsv", reasons)
    keys = {"utterance": set(kept), "recording": set(kept)}
    if segmented:
        keys["recording"] = {tables["segments"][utt].split()[0] for utt in kept}
    cut = {name: {key: rest for key, rest in table.items() if key in keys[key_kind(name, segmented)]}
           for name, table in tables.items() if key_kind(name, segmented) != "speaker"}
    speakers = set(cut.get("utt2spk", {}).values())
    cut |= {name: {key: rest for key, rest in table.items() if key in speakers} for name, table in tables.items()
            if key_kind(name, segmented) == "speaker"}
    if any(problem.skip == "rewrite" and problem.file == str(path / "utt2dur") for problem in problems):
        cut.pop("utt2dur")
        (path / "utt2dur").unlink()
    if "utt2spk" in cut:
        cut["spk2utt"] = spk2utt(cut["utt2spk"])
    cut_lists(path, set(kept))
    # The files that say which utterances there are come last: until then a second run finds the same problems.
    for name in sorted(cut, key=lambda name: (name == "wav.scp", name == "segments", name)):
        if not (path / name).is_file() or (path / name).read_bytes() != table_text(cut[name]).encode():
            write_table(path / name, cut[name])
    return reasons


def store_seconds(path: str | Path, seconds: dict[str, float]) -> None:
    """Write utt2dur, if the folder has none: the durations are known after a check."""
    if not (Path(path) / "utt2dur").exists():
        write_table(Path(path) / "utt2dur", {utt: f"{sec:.6f}" for utt, sec in seconds.items()})


def _record(path: Path, reasons: dict[str, str]) -> None:
    rows = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    known = {row.partition("\t")[0] for row in rows}
    rows += [f"{utt}\t{' '.join(reason.split())}" for utt, reason in sorted(reasons.items()) if utt not in known]
    write_text(path, "".join(row + "\n" for row in rows))


def _scan(path: Path, name: str, problems: list[Problem]) -> dict[str, str]:
    """The readable lines of a table, the first of each key; what is wrong with it as a table goes to `problems`."""
    table: dict[str, str] = {}
    last = ""
    for number, line in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), 1):
        fields = line.split(None, 1)
        if not fields:
            if line or number > 1 or path.stat().st_size:
                problems.append(Problem(str(path), "", f"line {number} is empty", "remove it", "rewrite"))
            continue
        key = fields[0].decode(errors="backslashreplace")
        try:
            fields[0].decode()
            rest = fields[1].rstrip().decode() if len(fields) > 1 else ""
        except UnicodeDecodeError:
            problems.append(Problem(str(path), key, f"line {number} is not UTF-8",
                                    f"convert it: iconv -f LATIN1 -t UTF-8 {path}"))
            table.setdefault(key, "")
            continue
        if key in table:
            problems.append(Problem(str(path), key, f"a duplicate id, again in line {number}",
                                    "give each utterance an id of its own"))
            continue
        if key < last:
            problems.append(Problem(str(path), key, f"unsorted: line {number} stands after '{last}'",
                                    f"LC_ALL=C sort -o {path} {path}", "rewrite"))
        table[key] = rest
        last = key
    return table


def _check_ids(path: Path, tables: dict[str, dict[str, str]], utts: set[str], problems: list[Problem]) -> None:
    segmented = "segments" in tables
    home = "segments" if segmented else "wav.scp"
    for name, table in tables.items():
        kind = key_kind(name, segmented)
        for key, rest in table.items():
            if bad_id(key):
                problems.append(Problem(str(path / name), key, bad_id(key), "rename it"))
            elif kind == "utterance" and key not in utts:
                problems.append(Problem(str(path / name), key, f"not in {home}",
                                        f"add it to {home}, or remove it here"))
            spaced = _spaced_id(name, key, rest)
            if spaced:
                problems.append(Problem(str(path / name), key, f"a space in the id '{spaced}'",
                                        "write ids without spaces, with '_' say"))
    for name in COMPLETE_STREAMS:
        for utt in sorted(utts - set(tables[name])) if name in tables else []:
            problems.append(Problem(str(path / name), utt, "missing", "add a line for it",
                                    "rewrite" if name == "utt2dur" else "utt"))
    for utt, speaker in tables.get("utt2spk", {}).items():
        if bad_id(speaker) and not _spaced_id("utt2spk", utt, speaker):
            problems.append(Problem(str(path / "utt2spk"), utt, f"its speaker: {bad_id(speaker)}",
                                    "rename the speaker"))
    for utt, language in tables.get("utt2lang", {}).items():
        if utt in utts and not re.fullmatch("[a-z]{2}", language):
            problems.append(Problem(str(path / "utt2lang"), utt, f"the language '{language}'",
                                    "two small letters of ISO 639-1, such as en or zh"))
    if "utt2spk" not in tables:
        problems.append(Problem(str(path / "utt2spk"), "", "no such file",
                                "write 'utterance speaker' lines; an unknown speaker may be the utterance itself",
                                "none"))
        return
    right = spk2utt({utt: speaker for utt, speaker in tables["utt2spk"].items() if speaker})
    if "spk2utt" not in tables:
        problems.append(Problem(str(path / "spk2utt"), "", "no such file", "speechrep check --skip-bad writes it",
                                "rewrite"))
        return
    for speaker in sorted(right | tables["spk2utt"]):
        given = tables["spk2utt"].get(speaker, "").split()
        wanted = right.get(speaker, "").split()
        if given != wanted:
            extra, missing = sorted(set(given) - set(wanted)), sorted(set(wanted) - set(given))
            detail = f"lacks {missing[0]}" if missing else f"has {extra[0]}" if extra else "another order"
            problems.append(Problem(str(path / "spk2utt"), speaker, f"differs from utt2spk ({detail})",
                                    "speechrep check --skip-bad writes it anew", "rewrite"))


def _spaced_id(name: str, key: str, rest: str) -> str:
    """The id that was meant, if a line looks as if its id held a space: then the rest begins with a part of the id."""
    words = rest.split()
    if len(words) < 2:
        return ""
    if name == "wav.scp" and not is_pipe(rest) and not os.path.exists(rest):
        # The longest end of the line that is a file is the path, whatever stands before it belongs to the id.
        starts = [match.end() for match in re.finditer(r"\s+", rest)]
        start = next((start for start in starts if os.path.exists(rest[start:])), None)
        if start is not None:
            return f"{key} {rest[:start].rstrip()}"
        return f"{key} {words[0]}" if re.match(r"\S+\s+\.{0,2}/", rest) else ""
    fixed = {"utt2spk": 1, "utt2dur": 1, "utt2lang": 1, "utt2num_frames": 1, "segments": 3}.get(name)
    if fixed is None or len(words) <= fixed:
        return ""
    return " ".join([key, *words[:len(words) - fixed]])


def _check_audio(path: Path, tables: dict[str, dict[str, str]], rate_hz: int | None, allow_pipes: bool, threads: int,
                 problems: list[Problem]) -> dict[str, tuple[float, int]]:
    """Utterance -> (seconds, rate in Hz) where the audio could be read."""
    entries, segments = tables["wav.scp"], tables.get("segments")
    parts: dict[str, list[str]] = {recording: [] for recording in entries}
    for utt in segments or {}:
        try:
            recording = segment_of(segments, utt)[0]
        except SpeechrepError as error:
            problems.append(Problem(str(path / "segments"), utt, error.found, f"write {error.wanted}"))
            continue
        if recording not in entries:
            problems.append(Problem(str(path / "segments"), utt, f"its recording '{recording}' is not in wav.scp",
                                    "add it to wav.scp"))
            continue
        parts[recording].append(utt)
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(lambda recording: _check_recording(
            path, recording, entries[recording], segments, parts[recording], allow_pipes), entries))
    rates = Counter(rate for rate, _, _ in results if rate)
    wanted = rate_hz or (rates.most_common(1)[0][0] if rates else 0)
    audio: dict[str, tuple[float, int]] = {}
    for recording, (rate, lengths, found) in zip(entries, results):
        problems.extend(found)
        audio.update({utt: (seconds, rate) for utt, seconds in lengths.items()})
        if rate and rate != wanted:
            text = f"{rate} Hz instead of {wanted} Hz" if rate_hz else f"{rate} Hz, most others have {wanted} Hz"
            problems.append(Problem(str(path / "wav.scp"), recording, f"{entries[recording]}: {text}",
                                    f"resample it: sox {entries[recording]} -r {wanted} new.wav"))
    return audio


def _check_recording(path: Path, recording: str, entry: str, segments: dict[str, str] | None, utts: list[str],
                     allow_pipes: bool) -> tuple[int, dict[str, float], list[Problem]]:
    """Rate in Hz (0 if unknown), utterance -> seconds, problems; all the audio that is used is read."""
    wav_scp = str(path / "wav.scp")
    rate = 0
    try:
        if is_pipe(entry):
            if not allow_pipes:
                refuse_pipe(entry)
            sound, rate = read_pipe(entry)
            frames = len(sound)
        elif not entry:
            raise SpeechrepError("no file behind the id", cure="write 'utterance-id file.wav'")
        elif _spaced_id("wav.scp", recording, entry):
            return 0, {}, []
        else:
            sound = None
            trouble = file_problem(entry)
            if trouble:
                raise SpeechrepError(f"{entry}: {trouble[0]}", cure=trouble[1])
            rate, frames, channels = header(entry)
            if segments is None or channels != 1:
                sound = read_wav(entry)[0]
                frames = len(sound)
        if frames == 0:
            raise SpeechrepError(f"{entry}: no samples", cure="make it again, or leave it out")
    except SpeechrepError as error:
        found = error.found if error.found.startswith((entry, "wav.scp")) or not entry else f"{entry}: {error.found}"
        return rate, {}, [Problem(wav_scp, recording, found, error.cure or f"give it {error.wanted}")]
    if segments is None:
        found = _content_problem(sound, rate)
        problem = [Problem(wav_scp, recording, f"{entry}: {found}", "leave it out")] if found else []
        return rate, {recording: frames / rate}, problem
    lengths, problems = {}, []
    for utt in utts:
        try:
            start, stop = segment_bounds(*segment_of(segments, utt)[1:], frames, rate)
            part = read_wav(entry, start, stop)[0] if sound is None else sound[start:stop]
        except SpeechrepError as error:
            problems.append(Problem(str(path / "segments"), utt, f"{entry}: {error.found.removeprefix(f'{entry}: ')}",
                                    error.cure or f"give it {error.wanted}"))
            continue
        lengths[utt] = len(part) / rate
        found = _content_problem(part, rate)
        if found:
            problems.append(Problem(str(path / "segments"), utt, f"{entry}: {found}", "leave it out"))
    return rate, lengths, problems


def _content_problem(samples: np.ndarray, rate_hz: int) -> str:
    if len(samples) < MIN_SEC * rate_hz:
        return f"only {1000 * len(samples) / rate_hz:.0f} ms, less than {1000 * MIN_SEC:.0f}"
    if (float(samples.max()) - float(samples.min())) / 2 < SILENCE_PEAK:
        return "nothing but silence"
    return ""


def _check_content(path: Path, tables: dict[str, dict[str, str]], audio: dict[str, tuple[float, int]],
                   problems: list[Problem]) -> None:
    """Streams against the audio: text, phones, durations, alignments."""
    undecodable = {(problem.file, problem.utt) for problem in problems if "not UTF-8" in problem.found}
    for utt, text in tables.get("text", {}).items():
        file = str(path / "text")
        if (file, utt) in undecodable:
            continue
        if not text:
            problems.append(Problem(file, utt, "an empty transcript", "write what is said, or leave it out"))
        elif utt in audio:
            ideographs = len(IDEOGRAPH.findall(text))
            chars = len("".join(text.split())) + (CHARS_PER_IDEOGRAPH - 1) * ideographs
            if chars > MAX_CHARS_PER_SEC * audio[utt][0]:
                problems.append(Problem(file, utt, f"{chars:.0f} characters cannot be said in {audio[utt][0]:.2f} s",
                                        "mend the text or the segment"))
    for utt, line in tables.get("phones", {}).items():
        count = len([phone for phone in line.split() if phone != "|"])
        if utt in audio and count > MAX_PHONES_PER_SEC * audio[utt][0]:
            problems.append(Problem(str(path / "phones"), utt, f"{count} phones cannot be said in "
                                    f"{audio[utt][0]:.2f} s", "mend the text or the segment"))
    for stream, what in (("utt2dur", "the duration"), ("ali", "the end of the last phone")):
        for utt, line in tables.get(stream, {}).items():
            if utt not in audio:
                continue
            last = line.split()[-1] if line else ""
            try:
                off = abs(float(last) - audio[utt][0]) > DURATION_SLACK_SEC
            except ValueError:
                off = True
            if off:
                problems.append(Problem(str(path / stream), utt, f"{what} is '{last}', but the audio has "
                                        f"{audio[utt][0]:.2f} s", f"remove {path / stream} and make it again",
                                        "rewrite" if stream == "utt2dur" else "utt"))
