"""A data folder and its dumped features as batches of tensors.

Streams that a method may need:

| stream | keys of the batch |
|---|---|
| feats | `feats` [B, N, D], `feats_lengths` [B]; also there where audio or phones are needed |
| feats:utterance, feats:speaker | the same, with the training part's mean and deviation within each utterance or speaker |
| audio | `audio` [B, T] with T = N * hop, `audio_lengths` [B] |
| phones | `phones` [B, U] ids with SIL, `durations` [B, U] in feature frames, `phones_lengths` [B] |
| prompt | `prompt` [B, M, D], `prompt_lengths` [B]: of another utterance of the same speaker where there is one |
| speaker | `speaker` [B] |
| text | `texts`, a list of transcripts |
| label:STREAM | `labels[STREAM]`, the lines of that stream of the data folder, such as utt2spk or intent |
| image | `image` [B, 3, H, W] in [0, 1], of `image.scp`, all of one size; `image_id` [B], equal for one picture |
| units:NAME | `units` [B, N'] from `units.NAME` of the data folder, at their own frame rate, `units_lengths` [B] |

Every batch also has `utts`, `labelled` [B] (False where only the speech may be used: minimal supervision) and `seeds` [B],
from which a method draws what is random about an utterance: they depend on (seed, epoch, utterance) alone, so that neither
workers nor processes nor resuming change a draw. Padded positions hold zeros.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechrep.config import read_yaml
from speechrep.data.alignment import frames_per_phone, read_ali
from speechrep.data.ark import read_scp
from speechrep.data.audio import AudioReader
from speechrep.data.batches import Key
from speechrep.data.folder import DataFolder
from speechrep.data.inventory import Inventory
from speechrep.data.picture import read_picture
from speechrep.data.standardise import BY_SPEAKER, BY_UTTERANCE, speaker_statistics, standardised
from speechrep.errors import SpeechrepError
from speechrep.files import fingerprint

STREAMS = ("feats", "audio", "phones", "prompt", "speaker", "text", "image")
"""And "units:NAME", as many of them as there are codebooks; a method takes one. And "label:STREAM", any number of them."""

FEATS = ("feats", BY_UTTERANCE, BY_SPEAKER)
"""Streams of features; a method takes one."""

FILES = {"phones": "ali", "text": "text", "speaker": "utt2spk", BY_SPEAKER: "utt2spk", "image": "image.scp"}
"""Stream -> the file of the data folder behind it."""


def stream_file(need: str) -> str:
    """The file of a data folder behind a stream; "" where the dump or the audio has it."""
    kind, _, name = need.partition(":")
    return name if kind == "label" else f"units.{name}" if kind == "units" else FILES.get(need, "")


def streams_digest(folders: Iterable[DataFolder], needs: Iterable[str]) -> str:
    """What data folders say that is learned from: of which utterances, how long they are, and the files behind `needs`."""
    names = sorted({"utt2dur", *filter(None, map(stream_file, needs))})
    return fingerprint(*(word for folder in folders for name in names for word in (name, folder.path / name)))[:12]


class SpeechDataset(torch.utils.data.Dataset):
    """Utterances of a data folder with the streams in `needs`; indexed by position or by a sampler's `Key`.

    Where `phones` are needed, utterances are left out that have no line in `ali` (the aligner rejected them) or a phone
    that the inventory lacks, and those without a label in a stream of labels; `left_out` counts them.
    labelled: the utterances whose phones a method may learn from; None for all. only: the utterances that there are at all;
    None for all of the folder. prompt_frames: of the prompt, only a window
    of so many frames is read, drawn anywhere in it; 0 for the whole.
    """

    def __init__(self, folder: DataFolder, dump: Path, inventory: Inventory, needs: tuple[str, ...], seed: int = 0,
                 max_sec: float = 30.0, min_sec: float = 0.3, labelled: frozenset[str] | None = None,
                 prompt_frames: int = 0, only: frozenset[str] | None = None):
        units = [need.partition(":")[2] for need in needs if need.startswith("units:")]
        unknown = {need for need in needs if not need.startswith(("units:", "label:"))} - {*STREAMS, *FEATS}
        heard = [need for need in needs if need in FEATS]
        if unknown or len(units) > 1 or len(heard) > 1:
            raise SpeechrepError(f"streams {', '.join(needs)}", f"some of {', '.join(STREAMS)}, one units:NAME, and feats as "
                                 f"one of {', '.join(FEATS)}")
        self.folder, self.inventory, self.needs, self.seed = folder, inventory, needs, seed
        self.labelled, self.prompt_frames = labelled, prompt_frames
        self.feats = read_scp(Path(dump) / "feats.scp")
        self.hop = int(inventory.features["hop_samples"])
        self.rate_hz = int(inventory.features["rate_hz"])
        ali = folder.read("ali") if "phones" in needs else None
        self.texts = folder.read("text") if "text" in needs else None
        self.labels = {need[6:]: folder.labels(need[6:]) for need in needs if need.startswith("label:")}
        if units and not folder.has(f"units.{units[0]}"):
            raise SpeechrepError(f"{folder.path}: no units.{units[0]}", "the units that the method learns from",
                                 "run the recipe's stage 4, or `speechrep units`")
        self.units = folder.read(f"units.{units[0]}") if units else None
        self.pictures = folder.read("image.scp") if "image" in needs else None
        seconds = folder.seconds

        def usable(utt: str) -> bool:
            return (utt in self.feats and min_sec <= seconds[utt] <= max_sec
                    and (self.texts is None or utt in self.texts)
                    and all(utt in table for table in self.labels.values())
                    and (self.units is None or utt in self.units)
                    and (self.pictures is None or utt in self.pictures)
                    and (ali is None or utt in ali and all(inventory.phone_id(p) is not None
                                                           for p in set(ali[utt].split()[0::2]))))

        there = [utt for utt in folder.utts if only is None or utt in only]
        self.utts = [utt for utt in there if usable(utt)]
        self.left_out = len(there) - len(self.utts)
        if not self.utts:
            raise SpeechrepError(f"{folder.path}: none of {len(there)} utterances has all of {', '.join(needs)}",
                                 f"features in {dump} and {min_sec} to {max_sec} s of audio",
                                 "run the earlier stages for this part")
        self.seconds = np.array([seconds[utt] for utt in self.utts])
        self.ali = ali
        self.audio = AudioReader(folder, rate_hz=self.rate_hz) if "audio" in needs else None
        # Samples are cut, and durations counted, to the frames of the features.
        self.with_feats = not {*FEATS, "audio", "phones"}.isdisjoint(needs)
        self.by_utterance = heard == [BY_UTTERANCE]
        self.own_statistics = speaker_statistics(folder, Path(dump), self.feats) if heard == [BY_SPEAKER] else None
        self.speaker_ids = {speaker: i for i, speaker in enumerate(inventory.speakers)}
        self.image_ids = {path: i for i, path in enumerate(sorted(set((self.pictures or {}).values())))}
        self.speakers = folder.read("utt2spk")
        self.by_speaker: dict[str, list[int]] = {}
        for i, utt in enumerate(self.utts):
            self.by_speaker.setdefault(self.speakers.get(utt, ""), []).append(i)

    def __len__(self) -> int:
        return len(self.utts)

    def require_features(self, utts: Iterable[str]) -> None:
        """Raises `SpeechrepError` if the dump lacks one of `utts`, which must not go missing in a score."""
        wanted = set(utts)
        missing = sorted(wanted - set(self.feats))
        if missing:
            raise SpeechrepError(f"{len(missing)} of {len(wanted)} utterances of {self.folder.path} have no features, such as "
                                 f"'{missing[0]}'", "features of all of them", "run stage 3 (dump) again")

    def prompt_of(self, index: int, draw: int) -> int:
        """The position of the prompt for utterance `index`: another of the same speaker where there is one."""
        speaker = self.speakers.get(self.utts[index], "")
        same = self.by_speaker[speaker]
        if len(same) == 1 or not speaker:
            return index
        choice = draw % (len(same) - 1)
        return same[choice] if same[choice] < index else same[choice + 1]

    def __getitem__(self, key: int | Key) -> dict[str, Any]:
        epoch, index, micro = key if isinstance(key, tuple) else (0, key, 0)
        utt = self.utts[index]
        draw = np.random.default_rng((self.seed, epoch, index))
        seed = int(draw.integers(2 ** 62))
        item: dict[str, Any] = {"utt": utt, "micro": micro, "seed": seed,
                                "labelled": self.labelled is None or utt in self.labelled}
        if self.with_feats:
            item["feats"] = feats = torch.from_numpy(self._heard(utt))
        if self.audio is not None:
            samples = torch.from_numpy(self.audio.read(utt)[0])[:len(feats) * self.hop]
            item["audio"] = torch.nn.functional.pad(samples, (0, len(feats) * self.hop - len(samples)))
        if "phones" in self.needs:
            phones, ends = read_ali(self.ali[utt])
            item["phones"] = torch.tensor([self.inventory.phone_id(phone) for phone in phones])
            item["durations"] = torch.from_numpy(
                frames_per_phone(np.asarray(ends), len(feats), self.hop / self.rate_hz)).long()
        if "prompt" in self.needs:
            other = self.utts[self.prompt_of(index, seed)]
            item["prompt"] = torch.from_numpy(self.feats.window(other, self.prompt_frames, draw.random()))
        if "speaker" in self.needs:
            item["speaker"] = self._speaker_id(utt)
        if self.units is not None:
            item["units"] = torch.from_numpy(np.array(self.units[utt].split(), dtype=np.int64))
        if self.texts is not None:
            item["text"] = self.texts[utt]
        if self.labels:
            item["labels"] = {name: table[utt] for name, table in self.labels.items()}
        if self.pictures is not None:
            item["image"] = torch.from_numpy(read_picture(self.pictures[utt])).permute(2, 0, 1).float() / 255
            item["image_id"] = self.image_ids[self.pictures[utt]]
        return item

    def _heard(self, utt: str) -> np.ndarray:
        """Its features [N, D], standardised as is needed."""
        matrix = self.feats[utt]
        if not self.by_utterance and self.own_statistics is None:
            return matrix
        # Who has no speaker stands alone.
        own = None if self.by_utterance else self.own_statistics.get(self.speakers.get(utt, ""))
        return standardised(matrix, own, self.inventory)

    def _speaker_id(self, utt: str) -> int:
        speaker = self.speakers.get(utt)
        if speaker not in self.speaker_ids:
            raise SpeechrepError(f"{self.folder.path}/utt2spk: {utt} is of " + (f"the speaker {speaker}" if speaker else
                                                                               "no speaker"),
                                 "a speaker of the training part")
        return self.speaker_ids[speaker]


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Pad items of one micro-batch with zeros into a batch (keys as in the table above)."""
    batch: dict[str, Any] = {"utts": [item["utt"] for item in items],
                             "seeds": torch.tensor([item["seed"] for item in items]),
                             "labelled": torch.tensor([item["labelled"] for item in items])}
    for key in ("feats", "audio", "phones", "prompt", "units", "layers"):
        if key in items[0]:
            batch[key] = torch.nn.utils.rnn.pad_sequence([item[key] for item in items], batch_first=True)
            batch[f"{key}_lengths"] = torch.tensor([len(item[key]) for item in items])
    if "durations" in items[0]:
        batch["durations"] = torch.nn.utils.rnn.pad_sequence([item["durations"] for item in items], batch_first=True)
    if "speaker" in items[0]:
        batch["speaker"] = torch.tensor([item["speaker"] for item in items])
    if "labels" in items[0]:
        batch["labels"] = {name: [item["labels"][name] for item in items] for name in items[0]["labels"]}
    if "text" in items[0]:
        batch["texts"] = [item["text"] for item in items]
    if "image" in items[0]:
        sizes = {tuple(item["image"].shape) for item in items}
        if len(sizes) > 1:
            raise SpeechrepError(f"pictures of different sizes: {sorted(sizes)}", "pictures of one size",
                                 "scale them when the corpus is prepared, as egs/tuxpaint does")
        batch["image"] = torch.stack([item["image"] for item in items])
        batch["image_id"] = torch.tensor([item["image_id"] for item in items])
    return batch


def spread(part: SpeechDataset, seconds: float, together: int = 8) -> Iterator[dict[str, Any]]:
    """So many seconds of a part, or all of it where it has less, in batches of a few utterances of much the same length,
    drawn from all over it, the same each time."""
    order = np.random.default_rng(0).permutation(len(part))
    order = order[:1 + np.searchsorted(part.seconds[order].cumsum(), seconds)]
    order = order[np.argsort(part.seconds[order], kind="stable")]
    for start in range(0, len(order), together):
        yield collate([part[int(i)] for i in order[start:start + together]])


def collate_step(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The micro-batches of one step of one process, in the order of their numbers."""
    numbers = sorted({item["micro"] for item in items})
    return [collate([item for item in items if item["micro"] == number]) for number in numbers]


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its tensors on `device`."""
    return {key: value.to(device, non_blocking=True) if torch.is_tensor(value) else value for key, value in batch.items()}


def take_inventory(folder: DataFolder, dump: Path) -> Inventory:
    """The inventory of a training part: its phones (SIL first), speakers, feature settings and statistics, and the
    phonemisers that `speechrep phonemize` noted."""
    dump = Path(dump)
    phones = sorted({phone for line in folder.read("ali").values() for phone in read_ali(line)[0]} - {"SIL"}) \
        if folder.has("ali") else []
    if not (dump / "cmvn.npz").is_file():
        raise SpeechrepError(f"{dump}: no cmvn.npz", "feature statistics of the training part",
                             "run `speechrep dump --cmvn` on it")
    with np.load(dump / "cmvn.npz", allow_pickle=False) as stats:
        mean, std = stats["mean"].astype(float).tolist(), stats["std"].astype(float).tolist()
    return Inventory(("SIL", *phones), tuple(sorted(set(folder.read("utt2spk").values()))),
                     read_yaml(dump / "feats.yaml"), tuple(mean), tuple(std),
                     read_yaml(folder.path / "g2p.yaml") if (folder.path / "g2p.yaml").is_file() else {})
