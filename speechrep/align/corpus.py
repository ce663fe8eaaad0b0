"""Aligning whole data folders in parallel jobs, and what it leaves behind."""

import os
import sys
from pathlib import Path

from speechrep.align.model import Aligned, AlignConfig, Aligner
from speechrep.align.textgrid import Interval, read_textgrid, write_textgrid
from speechrep.align.train import train
from speechrep.config import plain, write_yaml
from speechrep.data.alignment import format_ali, read_ali
from speechrep.data.audio import AudioReader
from speechrep.data.folder import DataFolder, split
from speechrep.errors import SpeechrepError
from speechrep.files import fingerprint, read_json, remove_leftovers, write_json, write_text
from speechrep.launch import advance, during, run_jobs

CHUNK_SEC = 300.0
"""Audio that is held in memory at a time by each job."""

STREAMS = ("wav.scp", "segments", "utt2dur", "phones", "text", "utt2spk", "utt2lang")
"""What an alignment depends on; where and how long the audio is stands for the audio itself, as in a dump."""


def align_folders(folders: list[DataFolder], exp: str | Path, config: AlignConfig, *, nj: int = 1, seed: int = 0,
                  textgrids: bool = False, allow_pipes: bool = False) -> dict[str, tuple[int, int]]:
    """Train an aligner on the first folder and align them all.

    Writes `ali` in each folder, EXP/aligner.pt, EXP/align.yaml, EXP/rejected.tsv (folder, utterance, score, reason),
    on request EXP/textgrids/FOLDER/UTT.TextGrid, and last EXP/done.json. The same for any `nj`. What is finished is
    kept: the aligner while configuration, seed and training part stay the same, and everything while no folder has
    changed either. Returns folder path -> (aligned, rejected). Raises `SpeechrepError` if a folder lacks `phones`,
    before any work, and if none of its utterances can be aligned.
    """
    exp = Path(exp)
    for folder in folders:
        folder.read("phones")
        if not allow_pipes:
            folder.seconds  # writes utt2dur, which is among the inputs, where it is missing
    sources = [fingerprint(*(folder.path / stream for stream in STREAMS)) for folder in folders]
    trained_on = fingerprint(plain(config), seed, sources[0])
    source = fingerprint(trained_on, [[str(folder.path), it] for folder, it in zip(folders, sources)], textgrids)
    done = read_json(exp / "done.json") if (exp / "done.json").is_file() else {}
    if done.get("source") == source and done.get("outputs") == _outputs(exp, folders, textgrids):
        print(f"{exp}: already aligned", file=sys.stderr)
        return {path: tuple(pair) for path, pair in done["counts"].items()}
    model_path = exp / "aligner.pt"
    exp.mkdir(parents=True, exist_ok=True)
    remove_leftovers(exp, *(folder.path for folder in folders), *(exp / "textgrids").glob("*"))
    if _source_of(model_path) != trained_on:
        model = train(folders[0], config, seed, allow_pipes, threads=nj)
        model.source = trained_on
        model.save(model_path)
    write_yaml(exp / "align.yaml", plain(config))
    rejected, counts = ["folder\tutterance\tscore\treason"], {}
    for folder in folders:
        parts = split(folder.utts, max(nj, 1))
        jobs = [(str(model_path), str(folder.path), part, str(exp / "textgrids" / folder.name) if textgrids else "",
                 allow_pipes) for part in parts]
        results = run_jobs(align_part, jobs, log_dir=exp / "log", nj=nj, title=f"align {folder.name}")
        lines = {utt: line for aligned, _ in results for utt, line in aligned.items()}
        refused = [row for _, rows in results for row in rows]
        if not lines:
            raise SpeechrepError(f"{folder.path}: no utterance could be aligned; {refused[0][2]}",
                                 "phones that fit the audio", f"see {exp}/log")
        folder.write("ali", lines)
        rejected += [f"{folder.path}\t{utt}\t{score}\t{reason}" for utt, score, reason in refused]
        counts[str(folder.path)] = len(lines), len(refused)
    os.sync()
    write_text(exp / "rejected.tsv", "\n".join(rejected) + "\n")
    write_json(exp / "done.json", {"source": source, "outputs": _outputs(exp, folders, textgrids), "counts": counts})
    return counts


def _outputs(exp: Path, folders: list[DataFolder], textgrids: bool) -> str:
    there = [(exp / "textgrids" / folder.name).is_dir() for folder in folders] if textgrids else []
    return fingerprint(exp / "aligner.pt", exp / "rejected.tsv", *(folder.path / "ali" for folder in folders), there)


def _source_of(model_path: Path) -> str | None:
    """The fingerprint in a model; None where there is no readable one, which then is trained anew."""
    try:
        return Aligner.load(model_path).source
    except SpeechrepError:
        return None


def align_part(model_path: str, folder_path: str, utts: list[str], textgrids: str,
               allow_pipes: bool) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """One job: lines of `ali` by utterance, and (utterance, score, reason) of those without."""
    model, folder = Aligner.load(model_path), DataFolder(folder_path)
    phones = folder.read("phones")
    texts = folder.read("text") if folder.has("text") else {}
    reader = AudioReader(folder, rate_hz=model.rate_hz, allow_pipes=allow_pipes)
    lines: dict[str, str] = {}
    refused: list[tuple[str, str, str]] = []
    chunk, feats, lengths = [], [], []
    for index, utt in enumerate(utts):
        if not phones.get(utt, "").strip(" |"):
            refused.append((utt, "", "no phones"))
        else:
            with during(f"utterance {utt}"):
                samples, rate_hz = reader.read(utt)
                chunk.append(utt)
                lengths.append(len(samples) / rate_hz)
                feats.append(model.features(samples))
        if chunk and (sum(lengths) >= CHUNK_SEC or index == len(utts) - 1):
            for utt_, seconds, result in zip(chunk, lengths, model.align(feats, [phones[u] for u in chunk])):
                if isinstance(result, str):
                    refused.append((utt_, "", result))
                elif not model.fits(result):
                    reason = f"the text does not fit (below {model.least:.4f})"
                    refused.append((utt_, f"{result.score:.4f}", reason))
                else:
                    ends = [float(end) * model.hop_sec for end in result.ends]
                    ends[-1] = seconds
                    lines[utt_] = format_ali(result.phones, ends)
                    if textgrids:
                        write_utterance_textgrid(Path(textgrids) / f"{utt_}.TextGrid", result, ends,
                                                 texts.get(utt_, "").split())
            chunk, feats, lengths = [], [], []
        advance(index + 1, len(utts))
    return lines, refused


def write_utterance_textgrid(path: Path, result: Aligned, ends: list[float], words: list[str]) -> None:
    """A TextGrid with the tiers words and phones; silences are empty, as the Montreal Forced Aligner writes them.

    Where the text has another number of words than the phones, a word is labelled by its phones.
    """
    starts = [0.0, *ends[:-1]]
    count = int(result.words.max()) + 1
    phones = [Interval(a, b, "" if p == "SIL" else p) for a, b, p in zip(starts, ends, result.phones)]
    spoken: list[Interval] = []
    last = None
    for a, b, phone, word in zip(starts, ends, result.phones, result.words.tolist()):
        if word >= 0 and word == last:
            old = spoken[-1]
            spoken[-1] = Interval(old.start, b, old.label if len(words) == count else f"{old.label} {phone}")
        else:
            spoken.append(Interval(a, b, "" if word < 0 else words[word] if len(words) == count else phone))
        last = word
    write_textgrid(path, {"words": spoken, "phones": phones}, sync=False)


def import_textgrids(folder: DataFolder, textgrids: str | Path) -> tuple[int, list[str]]:
    """Write the stream `ali` from the tiers `phones` of DIR/UTT.TextGrid or DIR/SPEAKER/UTT.TextGrid, of an utterance
    SPEAKER_NAME also of DIR/SPEAKER/NAME.TextGrid.

    That is how the Montreal Forced Aligner writes them; empty labels, spn, sil and sp become SIL. Returns how many were
    read and the utterances without a file.

    Raises `SpeechrepError` if there are none, or one ends more than 50 ms away from its audio.
    """
    root = Path(textgrids)
    paths = sorted(root.rglob("*.TextGrid"))
    found = {f"{path.parent.name}_{path.stem}": path for path in paths} | {path.stem: path for path in paths}
    seconds, lines, missing = folder.seconds, {}, []
    for utt in folder.utts:
        if utt not in found:
            missing.append(utt)
            continue
        tiers = read_textgrid(found[utt])
        tier = next((items for name, items in tiers.items() if name == "phones" or name.endswith(" - phones")), None)
        if tier is None:
            raise SpeechrepError(f"{found[utt]}: tiers {', '.join(tiers)}", "a tier 'phones'")
        end = tier[-1].end if tier else 0.0
        if abs(end - seconds[utt]) > 0.05:
            raise SpeechrepError(f"{found[utt]}: ends at {end:.3f} s, its audio at {seconds[utt]:.3f} s",
                                 "times of the same audio")
        lines[utt] = textgrid_ali(tier, seconds[utt])
    if not lines:
        raise SpeechrepError(f"{root}: no UTT.TextGrid of the {len(folder.utts)} utterances of {folder.path}",
                             "files named by utterance id")
    folder.write("ali", lines)
    return len(lines), missing


def textgrid_ali(tier: list[Interval], seconds: float) -> str:
    """A `phones` tier as a line of `ali` that ends at `seconds`; gaps are SIL, neighbouring silences are joined."""
    phones: list[str] = []
    ends: list[float] = []

    def put(phone: str, end: float) -> None:
        if phones and phone == "SIL" and phones[-1] == "SIL":
            ends[-1] = end
        else:
            phones.append(phone)
            ends.append(end)

    for item in tier:
        label = "_".join(item.label.split())
        silent = label.lower() in ("", "spn", "sil", "sp", "<eps>")
        if item.start > (ends[-1] if ends else 0.0) + 1e-4:
            put("SIL", item.start)
        put("SIL" if silent else label, item.end)
    if ends and seconds > ends[-1] + 1e-3:
        put("SIL", seconds)
    if ends:
        ends[-1] = seconds
    read_ali(format_ali(phones, ends))
    return format_ali(phones, ends)
