"""Speech from a model, as a data folder: text-to-speech, voice conversion, and the ceiling, natural speech vocoded.

The folder that a job leaves can be scored, aligned or listened to as any corpus can. Beside the usual streams:
`utt2content` (the natural utterance with the same words), `utt2parallel` (the natural utterance of the same speaker with
the same words, where there is one), `utt2source` (conversion: whose words), `prompt` (the utterance that gave the voice).
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from speechrep.align.model import phone_words
from speechrep.data.alignment import format_ali, frames_per_phone, read_ali
from speechrep.data.ark import read_scp
from speechrep.data.audio import write_wav
from speechrep.data.dataset import SpeechDataset, collate, to_device
from speechrep.data.folder import DataFolder, write_folder
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_folder, write_text
from speechrep.methods.base import Method

NOTES = "notes.txt"
"""In a data folder of speech: what scores of it are to say beside their numbers."""

Vocoder = Callable[[np.ndarray], np.ndarray]
"""log-mel [N, D] -> samples [N * hop]."""


@dataclass
class Item:
    """One utterance to make: its words from `content`, its voice from `prompt`."""

    utt: str
    content: str
    prompt: str
    speaker: str
    streams: dict[str, str] = field(default_factory=dict)


def some(utts: list[str], count: int) -> list[str]:
    """`count` of the utterances (all for 0), the same ones at every call whatever their order, in the order of their ids."""
    chosen = sorted(utts, key=lambda utt: (zlib.crc32(utt.encode()), utt))
    return sorted(chosen[:count] if count else chosen)


def prompt_for(speaker: str, prompts: DataFolder, min_sec: float = 2.0) -> str:
    """The utterance of `prompts` whose voice stands for a speaker: of those of `min_sec` or more, the median in length."""
    speakers, seconds = prompts.read("utt2spk"), prompts.seconds
    own = sorted((seconds[utt], utt) for utt in prompts.utts if speakers[utt] == speaker)
    if not own:
        raise SpeechrepError(f"{prompts.path}: no utterance of the speaker {speaker}", "at least one, as the prompt",
                             "name a folder with this speaker in --prompts")
    long_enough = [utt for length, utt in own if length >= min_sec]
    return long_enough[len(long_enough) // 2] if long_enough else own[-1][1]


def tts_items(data: DataFolder, prompts: DataFolder, count: int, min_sec: float = 0.0) -> list[Item]:
    """Each chosen utterance of `data` said again in its own speaker's voice, the voice taken from `prompts`.

    count: how many, 0 for all; min_sec: of at least this length, since an error rate says little of single words.
    """
    speakers, seconds, aligned = data.read("utt2spk"), data.seconds, data.read("ali")
    chosen = some([utt for utt in data.utts if utt in aligned and seconds[utt] >= min_sec], count)
    return [Item(utt, utt, prompt_for(speakers[utt], prompts), speakers[utt], {"utt2parallel": utt}) for utt in chosen]


def between_silences(words: list[list[str]]) -> list[str]:
    """The phones of a text's words as they are spoken: one word after another, with silence at both ends alone, since a
    text without punctuation does not tell where a speaker would pause."""
    return ["SIL", *(phone for word in words for phone in word), "SIL"]


def phones_to_say(data: DataFolder, items: list[Item], pauses: str = "ends") -> dict[str, list[str]]:
    """Utterance of an item -> phones, silences among them, that its content is spoken with.

    pauses: "ends" takes the phones of the text (the stream `phones`) between silences; "natural" those of the natural
    alignment (`ali`), with the pauses that the speaker made, which is a ceiling. Raises `SpeechrepError` for an utterance
    without a line in that stream.
    """
    stream = "ali" if pauses == "natural" else "phones"
    lines = data.read(stream)
    missing = [item.content for item in items if not lines.get(item.content, "").strip(" |")]
    if missing:
        raise SpeechrepError(f"{data.path}/{stream}: no line for {len(missing)} utterances, such as '{missing[0]}'",
                             "the phones of all that is to be spoken", "run `speechrep phonemize` on the folder")
    return {item.utt: read_ali(lines[item.content])[0] if pauses == "natural" else
            between_silences(phone_words(lines[item.content])) for item in items}


def sayable(data: DataFolder, prompts: DataFolder, count: int, min_sec: float,
            known: frozenset[str]) -> tuple[list[Item], list[str]]:
    """As `tts_items`, of the utterances all of whose phones are `known`; and a note of how many are not."""
    every = tts_items(data, prompts, 0, min_sec)
    said = phones_to_say(data, every)
    there = [item for item in every if known.issuperset(said[item.utt])]
    chosen = set(some([item.utt for item in there], count))
    return [item for item in there if item.utt in chosen], [
        f"{len(every) - len(there)} of {len(every)} utterances of {data.name} left out, they have phones that no labelled "
        "utterance has"]


def known_phones(folder: DataFolder, utts: frozenset[str]) -> frozenset[str]:
    """The phones, silence among them, of the alignments of these utterances."""
    aligned = folder.read("ali")
    return frozenset(phone for utt in utts if utt in aligned for phone in read_ali(aligned[utt])[0]) | {"SIL"}


def vc_items(data: DataFolder, prompts: DataFolder, count: int, min_sec: float = 0.0) -> list[Item]:
    """For each pair of different speakers, `count` utterances of the one in the voice of the other (as for TTS).

    Where the target speaker says the same text in `data`, that utterance is named in `utt2parallel`.
    """
    speakers, texts, seconds = data.read("utt2spk"), data.read("text"), data.seconds
    said = {(speakers[utt], texts[utt]): utt for utt in data.utts if utt in texts}
    items = []
    for source in sorted(set(speakers.values())):
        own = some([utt for utt in data.utts if speakers[utt] == source and seconds[utt] >= min_sec], count)
        for target in sorted(set(speakers.values()) - {source}):
            prompt = prompt_for(target, prompts)
            for utt in own:
                streams = {"utt2source": source}
                parallel = said.get((target, texts.get(utt, "")))
                if parallel:
                    streams["utt2parallel"] = parallel
                items.append(Item(f"{target}-from-{utt}", utt, prompt, target, streams))
    return items


def source_items(data: DataFolder, prompts: DataFolder, count: int, min_sec: float = 0.0) -> list[Item]:
    """What `vc_items` takes words from, each utterance once, by its own speaker: the ceiling of conversion."""
    speakers = data.read("utt2spk")
    sources = sorted({item.content for item in vc_items(data, prompts, count, min_sec)})
    return [Item(utt, utt, prompt_for(speakers[utt], prompts), speakers[utt], {"utt2parallel": utt}) for utt in sources]


def write_speech(out: Path, data: DataFolder, items: list[Item], mels: dict[str, np.ndarray], vocoder: Vocoder,
                 rate_hz: int, alignments: dict[str, str] | None = None, notes: list[str] | None = None) -> DataFolder:
    """Vocode `mels` (utt -> [N, D]) into a data folder at `out`, complete or not at all. `notes`: sentences that scores of
    it are to carry, a line each of the file `NOTES` in the folder."""
    from tqdm import tqdm
    texts = data.read("text")
    languages = data.read("utt2lang") if data.has("utt2lang") else {}
    tables: dict[str, dict[str, str]] = {"wav.scp": {}, "text": {}, "utt2spk": {}, "utt2content": {}, "prompt": {}}
    seconds = {}
    with atomic_folder(out / "wav") as folder:
        for item in tqdm(items, desc=f"vocode {out.name}", unit="utt", mininterval=2.0):
            samples = vocoder(mels[item.utt])
            seconds[item.utt] = len(samples) / rate_hz
            write_wav(folder / f"{item.utt}.wav", samples, rate_hz)
    for item in items:
        values = {"wav.scp": str(out / "wav" / f"{item.utt}.wav"), "text": texts.get(item.content, ""),
                  "utt2spk": item.speaker, "utt2dur": f"{seconds[item.utt]:.4f}", "utt2content": item.content,
                  "prompt": item.prompt} | item.streams
        if item.content in languages:
            values["utt2lang"] = languages[item.content]
        for stream, value in values.items():
            tables.setdefault(stream, {})[item.utt] = value
    if alignments:
        tables["ali"] = alignments
    write_folder(out / "data", tables)
    if notes:
        write_text(out / "data" / NOTES, "".join(f"{note}\n" for note in notes))
    return DataFolder(out / "data")


def natural_speech(out: Path, data: DataFolder, items: list[Item]) -> DataFolder:
    """The items' content as it was recorded, as such a folder: what every other system is compared with."""
    itself = {item.utt: item.utt for item in items}
    return data.subset(itself, out / "data", {"utt2content": itself, "utt2parallel": itself})


@torch.no_grad()
def tts_mels(method: Method, duration: Method | None, data: DataFolder, dump: Path, prompts: DataFolder,
             items: list[Item], seed: int, device: str = "cpu",
             pauses: str = "ends") -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Mels [N, D] of the items' phones in their prompts' voices, and the alignment that was spoken.

    A phone that training never saw is left silent. duration: a duration model; without one the natural durations of
    `ali` are spoken, pauses and all, which is a ceiling. pauses: as of `phones_to_say`.
    dump: the folder with a sub-folder of log-mels for each of the two parts. Raises `SpeechrepError` for an utterance of
    whose phones training saw none.
    """
    content, lines = read_scp(dump / data.path.name / "feats.scp"), data.read("ali")
    said = phones_to_say(data, items, "natural" if duration is None else pauses)
    for item in items:
        if not any(method.inventory.phone_id(phone) for phone in said[item.utt]):
            raise SpeechrepError(f"{data.path}: {item.content} has no phone that the checkpoint knows "
                                 f"({' '.join(said[item.utt][1:5])} ...)", "the phones that it was trained on",
                                 "align and train with the phones of the text, or decode with --pauses natural")
    voices = read_scp(dump / prompts.path.name / "feats.scp")
    hop_sec = method.inventory.features["hop_samples"] / method.inventory.features["rate_hz"]
    mels, alignments = {}, {}
    generator = torch.Generator().manual_seed(seed)
    for part in _parts(items, 16):
        names = [said[item.utt] for item in part]
        ids = [torch.tensor([method.inventory.phone_id(phone) or 0 for phone in own]) for own in names]
        phones = pad_sequence(ids, batch_first=True).to(device)
        phones_lengths = torch.tensor([len(own) for own in names], device=device)
        prompt, prompt_lengths = _prompts(part, voices, device)
        if duration is None:
            natural = [frames_per_phone(np.array(read_ali(lines[item.content])[1]), len(content[item.content]), hop_sec)
                       for item in part]
            durations = pad_sequence([torch.from_numpy(own) for own in natural], batch_first=True).to(device)
        else:
            durations = duration.durations(phones, phones_lengths, prompt, prompt_lengths, generator)
        spoken, lengths = method.synthesize(phones, phones_lengths, durations, prompt, prompt_lengths)
        for row, item in enumerate(part):
            mels[item.utt] = spoken[row, :int(lengths[row])].float().cpu().numpy()
            ends = (durations[row, :len(names[row])].cumsum(0).cpu().numpy() * hop_sec).tolist()
            alignments[item.utt] = format_ali(names[row], ends)
    return mels, alignments


@torch.no_grad()
def vc_mels(method: Method, data: DataFolder, dump: Path, prompts: DataFolder, items: list[Item],
            device: str = "cpu") -> dict[str, np.ndarray]:
    """Mels [N, D] of the items' content utterances in their prompts' voices. The source is the stream that the method
    hears, feats or audio; the prompt is always of feats."""
    heard = method.needs[0]
    dataset = SpeechDataset(data, dump / data.path.name, method.inventory, (heard,), max_sec=math.inf, min_sec=0.0)
    place = {utt: i for i, utt in enumerate(dataset.utts)}
    voices = read_scp(dump / prompts.path.name / "feats.scp")
    mels = {}
    for part in _parts(items, 16):
        source = to_device(collate([dataset[place[item.content]] for item in part]), torch.device(device))
        lengths = source["feats_lengths"]
        converted = method.convert(source[heard], source[f"{heard}_lengths"], *_prompts(part, voices, device))
        for row, item in enumerate(part):
            mels[item.utt] = converted[row, :int(lengths[row])].float().cpu().numpy()
    return mels


def natural_mels(data: DataFolder, dump: Path, items: list[Item]) -> dict[str, np.ndarray]:
    """The natural mels [N, D] of the items' content: through the vocoder, they are the ceiling."""
    feats = read_scp(dump / data.path.name / "feats.scp")
    return {item.utt: np.array(feats[item.content], dtype=np.float32) for item in items}


def _parts(items: list[Item], size: int) -> list[list[Item]]:
    return [items[start:start + size] for start in range(0, len(items), size)]


def _prompts(items: list[Item], voices, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    prompts = [torch.from_numpy(np.array(voices[item.prompt], dtype=np.float32)) for item in items]
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return pad_sequence(prompts, batch_first=True).to(device), lengths.to(device)
