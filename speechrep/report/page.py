"""The report: one HTML file that holds everything it shows, so that it can be sent to someone."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from speechrep import __version__
from speechrep.config import build, read_yaml
from speechrep.data.alignment import read_ali
from speechrep.data.audio import AudioReader
from speechrep.data.features import FeatureConfig, build_features, slaney_mel
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.files import remove_leftovers, write_text
from speechrep.report import collect, found_pictures, joint_space, listen, plots, results, table
from speechrep.upstream import Upstream

MAX_MB = 25
"""A page above this size is too large to send about; it is said on the terminal."""


@dataclass
class Figure:
    """An image inside the page."""

    uri: str
    alt: str
    caption: str = ""
    width_rem: float | None = None
    """How wide it is shown at most; None takes the column."""


@dataclass
class Section:
    """A part of the page. `missing` says what to run when there is nothing to show, `problem` what went wrong."""

    anchor: str
    title: str
    intro: str = ""
    missing: str = ""
    problem: str = ""
    content: dict[str, Any] = field(default_factory=dict)


def make_report(exp: Path, data: Path, dump: Path, out: Path, ctap: Path | None = None, part: str = "test",
                title: str = "", credits: list[Path] = (), frames: int = 2000, seed: int = 0) -> Path:
    """Write OUT/index.html and return its path.

    exp: everything trained, decoded and scored; data: a folder of data folders; dump: KIND/PART features; ctap: the
    checkpoint whose joint space is drawn (by default the largest finished one below `exp`); credits: text files that
    must go with the corpus's audio; frames: so many are drawn in the map.

    What is not there is named with the command that makes it. Raises `SpeechrepError` for a missing `exp`, for a named
    checkpoint or file that is missing or foreign, and for a score file that is none.
    """
    if not exp.is_dir():
        raise SpeechrepError(f"{exp}: no such folder", "an experiment folder", "run the earlier stages")
    if ctap is not None and not ctap.is_file():
        raise SpeechrepError(f"{ctap}: no such file", "a checkpoint", "leave --ctap out, or name a run's best.pt")
    scores, runs, speech = collect.find_scores(exp), collect.find_runs(exp), collect.find_speech(exp)
    named = ctap is not None
    ctap = ctap or collect.find_joint(exp, runs)
    said = credits_of(credits)
    say(f"{len(scores)} scores, {len(runs)} runs, {len(speech)} folders of synthesised speech in {exp}")

    sections = [_results(scores), _listening(data, part, speech), *_pictures(exp, data, scores),
                _alignment(data, dump, part)]
    try:
        upstream = Upstream.open(str(ctap)) if ctap else None
        problem = ""
    except SpeechrepError as error:
        if named:
            raise
        upstream, problem = None, str(error)
    sections += [_similarity(upstream, data, dump, part, problem),
                 _map(upstream, data, dump, part, problem, frames, seed),
                 curves_section(runs), runs_section(runs), data_section(data, said)]
    return render(sections, title or f"{exp.resolve().parent.name}: results", out / "index.html")


def render(sections: list[Section], title: str, path: Path) -> Path:
    """Write `sections` as the page `path`, which is returned; says the problems and the size."""
    for section in sections:
        if section.problem:
            say(f"{section.title}: {section.problem}")

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["origin"] = origin
    environment.filters["as_json"] = lambda value: json.dumps(value, indent=1, ensure_ascii=False)
    html = environment.get_template("template.html").render(title=title, sections=sections, version=__version__)
    remove_leftovers(path.parent, of=path.stem)
    write_text(path, html)
    size = path.stat().st_size / 1e6
    say(f"{path}: {size:.1f} MB" + (f", more than the {MAX_MB} MB that are easily sent about" if size > MAX_MB else ""))
    return path


def say(line: str) -> None:
    """Progress and problems go to stderr."""
    print(f"report: {line}", file=sys.stderr, flush=True)


def _results(scores: list[dict[str, Any]]) -> Section:
    section = Section("results", "Results")
    if not scores:
        section.missing = "No scores yet. Stage 7 makes them: speechrep decode, then speechrep score."
    section.content["tables"] = results.tables(scores, table.ORDER, table.over_seeds)
    return section


def _listening(data: Path, part: str, speech: list[collect.Spoken]) -> Section:
    section = Section("listen", "Listen")
    taken, found = collect.of_part(speech, part)
    if not found:
        section.missing = "No synthesised speech yet. Stage 7 makes it: speechrep decode vocoded, tts, vc."
    natural = _folder(data / taken)
    others = [DataFolder(path.parent) for path in sorted(data.glob("*/wav.scp")) if path.parent.name != taken]
    try:
        listening = listen.choose(natural, found, others)
    except SpeechrepError as error:
        section.problem = str(error)
        return section
    say(f"{len(listening.clips())} clips to listen to")
    listening.codec = listen.load(listening.clips())
    problems = [f"{clip.folder.path}: {clip.utt}: {clip.problem}" for clip in listening.clips() if clip.problem]
    section.content = {"listening": listening, "part": taken, "problems": problems, "kinds": collect.KINDS,
                       "max_sec": f"{listen.MAX_CLIP_SEC:g}", "groups": _by_source(listening.pairs)}
    return section


def _pictures(exp: Path, data: Path, scores: list[dict[str, Any]]) -> list[Section]:
    """What some descriptions found; none where nothing looked for pictures."""
    score = found_pictures.choose(scores)
    if score is None:
        return []
    section = Section("pictures", "Pictures found by what is said of them")
    folder = _folder(data / score["part"])
    if folder is None:
        section.missing = f"No data folder {data / score['part']}, whose pictures these are. Stage 1 makes it."
        return [section]
    try:
        rows = found_pictures.examples(exp / score["path"], folder)
    except SpeechrepError as error:
        section.problem = str(error)
        return [section]
    listen.load([row.clip for row in rows])
    section.content = {"rows": rows, "score": score}
    return [section]


def _by_source(pairs: list[listen.Row]) -> list[list[listen.Row]]:
    """Rows that share source speaker and source clip, together."""
    groups: list[list[listen.Row]] = []
    for row in pairs:
        if groups and groups[-1][0].cells.get("source") is row.cells.get("source") \
                and groups[-1][0].title.split(" → ")[0] == row.title.split(" → ")[0]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _alignment(data: Path, dump: Path, part: str) -> Section:
    section = Section("alignment", "Alignment")
    folder = _folder(data / part)
    if folder is None or not folder.has("ali"):
        section.missing = f"No alignment of {data / part} yet. Stage 2 makes it: speechrep align."
        return section
    try:
        section.content["figures"] = [_draw_alignment(folder, dump)]
    except SpeechrepError as error:
        section.problem = str(error)
    return section


def _draw_alignment(folder: DataFolder, dump: Path) -> Figure:
    truth = folder.read("ali.true") if folder.has("ali.true") else {}
    found = folder.read("ali")
    utt = pick_utterance(folder, [utt for utt in found if utt in truth] or list(found))
    samples, rate_hz = AudioReader(folder).read(utt)
    stated = sorted(dump.glob(f"logmel*/{folder.name}/feats.yaml"))
    config = build(FeatureConfig, read_yaml(stated[0])) if stated else \
        FeatureConfig(rate_hz=rate_hz, hop_samples=rate_hz // 100, win_samples=rate_hz // 25, n_mels=40)
    if config.rate_hz != rate_hz:
        samples, rate_hz = AudioReader(folder, rate_hz=config.rate_hz).read(utt)
    mel = build_features(config)(samples)
    phones, ends = read_ali(found[utt])
    true_phones, true_ends = read_ali(truth[utt]) if utt in truth else (None, None)
    bands = slaney_mel(config.n_fft, config.n_mels, config.rate_hz, config.low_hz, config.high_hz)
    centres_hz = np.fft.rfftfreq(config.n_fft, 1 / config.rate_hz) @ bands / bands.sum(0)
    figure = plots.alignment(samples, rate_hz, mel, config.hop_sec, centres_hz, phones, ends, true_phones, true_ends)
    text = folder.read("text").get(utt, "") if folder.has("text") else ""
    caption = f"{utt}" + (f": “{text}”" if text else "")
    if true_ends is not None and [p for p in phones if p != "SIL"] == [p for p in true_phones if p != "SIL"]:
        errors = 1000 * np.abs(_bounds(phones, ends) - _bounds(true_phones, true_ends))
        caption += (f". Phone ends lie {errors.mean():.1f} ms from the true ones on average, "
                    f"{100 * (errors <= 20).mean():.0f}\u00a0% within 20 ms")
    return Figure(listen.data_uri(plots.png(figure), "image/png"),
                  f"Waveform and log-mel of {utt} with phone boundaries", caption + ".")


def _bounds(phones: list[str], ends: list[float]) -> np.ndarray:
    return np.array([end for phone, end in zip(phones, ends) if phone != "SIL"])


def pick_utterance(folder: DataFolder, utts: list[str], good_sec: float = 2.5) -> str:
    """Of `utts`, the one nearest to `good_sec` in length: enough phones to see, few enough to read."""
    seconds = folder.seconds
    known = [utt for utt in utts if utt in seconds]
    if not known:
        raise SpeechrepError(f"{folder.path}: none of its utterances is aligned", cure="run `speechrep align` on it")
    return min(known, key=lambda utt: (abs(seconds[utt] - good_sec), utt))


def _joint_section(section: Section, upstream: Upstream | None, data: Path, part: str,
                   problem: str) -> DataFolder | None:
    folder = _folder(data / part)
    if problem:
        section.problem = problem
    elif upstream is None:
        section.missing = "No trained joint space yet. Stage 5 makes it: speechrep pretrain --conf conf/ctap.yaml."
    elif folder is None or not folder.has("ali"):
        section.missing = f"No aligned part {data / part} yet. Stage 2 makes it: speechrep align."
    elif not hasattr(upstream.method, "joint"):
        section.missing = f"{upstream.spec} has no joint space of speech and phones; name one with --ctap."
    else:
        return folder
    return None


def _similarity(upstream: Upstream | None, data: Path, dump: Path, part: str, problem: str) -> Section:
    section = Section("similarity", "Frame similarity")
    folder = _joint_section(section, upstream, data, part, problem)
    if folder is None:
        return section
    try:
        utt = pick_utterance(folder, list(folder.read("ali")), good_sec=2.0)
        found = joint_space.frame_similarity(upstream.method, folder, dump, utt)
    except SpeechrepError as error:
        section.problem = str(error)
        return section
    figure = plots.similarity(found.matrix, found.phones, found.durations, found.hop_sec)
    text = folder.read("text").get(utt, "") if folder.has("text") else ""
    to_phone, to_speech = found.hits
    caption = f"{utt}" + (f": “{text}”" if text else "") + f", {upstream.spec}. " \
        f"{100 * to_phone:.0f}\u00a0% of the speech frames find a frame of their own phone among the phoneme frames, " \
        f"{100 * to_speech:.0f}\u00a0% the other way round."
    section.content["figures"] = [Figure(listen.data_uri(plots.png(figure), "image/png"),
                                         f"Similarity of speech and phoneme frames of {utt}", caption, width_rem=46)]
    return section


def _map(upstream: Upstream | None, data: Path, dump: Path, part: str, problem: str, frames: int, seed: int) -> Section:
    section = Section("map", "Map of the joint space")
    folder = _joint_section(section, upstream, data, part, problem)
    if folder is None:
        return section
    section.content["figures"] = []
    frequent: list[str] = []
    plain = Upstream(upstream.inventory.features["kind"], None, upstream.inventory)
    for name, source in ((f"The joint space, {upstream.spec}", upstream),
                         (f"For comparison the {plain.kind} features that it was learnt from", plain)):
        say(f"map: {name}")
        try:
            feats, phones, speakers = joint_space.some_frames(source, folder, dump, frames, seed)
        except SpeechrepError as error:
            section.problem = str(error)
            return section
        points, how = joint_space.to_plane(feats, seed)
        frequent = frequent or plots.frequent_phones(phones)
        figure = plots.joint_map(points, phones, speakers, frequent)
        section.content["figures"].append(Figure(
            listen.data_uri(plots.png(figure), "image/png"), f"{name}, by phone and by speaker",
            f"{name}: {len(points):,} frames of {folder.name}, silence left out; {how}."))
    return section


def curves_section(runs: list[collect.Run], closed: bool = False) -> Section:
    """The losses of each run by step; closed: each is shown when it is clicked at, where there are many."""
    section = Section("curves", "Loss curves")
    shown = [run for run in runs if any(run.log.values())]
    if not shown:
        section.missing = "No training runs yet. Stage 5 makes them: speechrep pretrain."
    section.content["runs"] = [
        (run.name, bool(run.done), Figure(listen.data_uri(plots.svg(plots.loss_curves(run.log)), "image/svg+xml"),
                                          f"Losses of {run.name} by step, training and dev")) for run in shown]
    if closed:
        section.content["open"] = 0
    return section


def runs_section(runs: list[collect.Run]) -> Section:
    """What every run was made of and by."""
    section = Section("runs", "Runs")
    if not runs:
        section.missing = "No training runs yet. Stage 5 makes them: speechrep pretrain."
    section.content["details"] = [
        {"name": run.name, "config": run.config, "done": json.dumps(run.done, indent=1, ensure_ascii=False),
         "finished": bool(run.done), "parameters": run.done.get("parameters"),
         "seconds": run.done.get("train_sec"),
         "steps": max((points[-1][0] for values in run.log.values() for points in values.values()), default=0),
         **origin(run.done.get("provenance") or {})} for run in runs]
    return section


def origin(provenance: dict[str, Any]) -> dict[str, str]:
    """Seed, commit and command of a record of provenance, as text; empty where it does not say."""
    command = provenance.get("command") or ""
    commit = str(provenance.get("commit") or "")
    return {"seed": "" if provenance.get("seed") is None else str(provenance["seed"]),
            "commit": commit[:12] + (" + changes" if commit and provenance.get("uncommitted_changes") else ""),
            "command": command if isinstance(command, str) else " ".join(map(str, command))}


def data_section(data: Path, said: list[dict[str, str]]) -> Section:
    """The parts of the corpus, and what must go with its audio."""
    section = Section("data", "Corpus")
    section.content = {"parts": collect.describe_parts(data), "credits": said}
    if not section.content["parts"]:
        section.missing = f"No data folders in {data} yet. Stage 1 makes them."
    return section


def credits_of(paths: list[Path]) -> list[dict[str, str]]:
    """Name and text of each file of credits."""
    return [{"name": path.name, "text": _read(path)} for path in paths]


def _folder(path: Path) -> DataFolder | None:
    return DataFolder(path) if (path / "wav.scp").is_file() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SpeechrepError(f"{path}: {error.strerror}", "a text file with credits", "check --credits") from None
