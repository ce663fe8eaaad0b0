"""Recognition by connectionist temporal classification on an upstream, frozen or fine-tuned, as SUPERB's phone
recognition (units phones, head linear) and speech recognition (units chars, head blstm).

Units are phones, without stress or tone where not told otherwise, from the alignment; the characters of the transcript;
or SentencePiece's pieces of it (Kudo 2018, arXiv 1804.10959), trained on the transcripts of the training part. To a
target nothing is appended, unless `end_symbol` is set: s3prl appends an end, and to characters a space before it.

With `minutes` it is low-resource recognition: so much of the training part, all voices in turn, is learned from; of a
corpus that has them the published parts, such as Libri-light's train_10min (arXiv 1912.07875).

Loss:
  ctc   negative log-likelihood of the target, summed over utterances; counted in target symbols
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder
from speechrep.data.subset import all_voices
from speechrep.data.text.normalise import normalise
from speechrep.data.text.tokenizer import SentencePieceTokenizer
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch
from speechrep.metrics.wer import edits, phones
from speechrep.nn.masking import pad_mask
from speechrep.tasks import ctc
from speechrep.tasks.base import Scored
from speechrep.tasks.beam import BeamDecoder, Search
from speechrep.tasks.ctc import best_path
from speechrep.tasks.spelling import scored
from speechrep.upstream import Upstream


@dataclass(frozen=True)
class Config(ctc.Config):
    """The head and what it spells in."""

    units: Literal["phones", "chars", "pieces"] = "phones"
    """Phones, without silences; the characters, or SentencePiece's pieces, of the transcript."""
    phones_from: Literal["ali", "phones"] = "ali"
    """The stream of the data folder that has the phones: the alignment, which lacks what the aligner rejected; or `phones`,
    which every utterance has, as `speechrep phonemize` reads the text or the corpus brings them (SUPERB: each word's first
    pronunciation in a lexicon)."""
    stress: bool = False
    """Keep the digits of stress and tone, as SUPERB's phones do."""
    pieces: int = 500
    """How many pieces at most (an assumption; SUPERB has characters only)."""
    spoken: bool = False
    """Spell the transcript as it is said, lower case and without punctuation, numbers spelt out (needs utt2lang)."""
    minutes: float = 0.0
    """How much labelled speech of the training part is learned from (see `speechrep.data.subset.all_voices`); 0 for all."""
    best_by: Literal["symbols", "words"] = "symbols"
    """By the errors of what on dev, on the best path, the best weights are chosen: of phones, characters or pieces; of
    words (SUPERB's recognition)."""

    def __post_init__(self):
        if self.units == "phones" and self.best_by == "words":
            raise ValueError("phones make no words: best_by must be symbols")
        if self.units != "phones" and self.phones_from != "ali":
            raise ValueError(f"phones_from says where phones are from, and units are {self.units}")
        if self.minutes < 0:
            raise ValueError("minutes must be 0 or more")

    @property
    def stream(self) -> str:
        """That of the data folder which holds what is spelt."""
        return self.phones_from if self.units == "phones" else "text"

    @property
    def part(self) -> str:
        """The data folder that has just its minutes, where a corpus has one: train_10min, train_1h."""
        hours = self.minutes / 60
        return f"train_{hours:g}h" if hours == int(hours) else f"train_{self.minutes:g}min"


class Task(ctc.CTCTask):
    """Frames -> symbols. A label is a symbol; of pieces "piece TAB log-probability"."""

    Config = Config
    main_metrics = ("per", "wer", "cer")

    @classmethod
    def superb_of(cls, config: Config) -> dict[str, str]:
        """Of phones, which of them are meant; the end in any units."""
        meant = {"model.phones_from=phones": "phones are those of the text, as stage 1 pronounced it (SUPERB: by a lexicon, "
                                             "run.sh --lexicon), of every utterance, aligned or not"}
        return (meant if config.units == "phones" else {}) | cls.superb

    def __init__(self, config: Config, upstream: Upstream, labels: tuple[str, ...]):
        super().__init__(config, upstream, labels)
        self.tokenizer = None
        if config.units == "pieces":
            rows = [label.split("\t") for label in labels]
            self.tokenizer = SentencePieceTokenizer.from_pieces([(piece, float(score)) for piece, score in rows])
        elif config.stream == "ali":
            names = (phone if config.stress else bare(phone) for phone in self.inventory.phones)
            self.register_buffer("unit_of_phone", torch.tensor([self.ids.get(name, 0) for name in names]))

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        if config.units == "phones":
            return ("phones",) if config.phones_from == "ali" else ("label:phones",)
        return ("text", "label:utt2lang") if config.spoken else ("text",)

    @classmethod
    def parts_of(cls, config: Config) -> tuple[tuple[str, str, str], ...]:
        return ((config.part, "dev", "test"), *cls.parts) if config.minutes else cls.parts

    @classmethod
    def chosen_utts(cls, config: Config, folder: DataFolder, part: str) -> frozenset[str] | None:
        """Of the training part so many minutes, the same each time."""
        if part != "train" or not config.minutes or folder.name == config.part:
            return None
        return frozenset(all_voices(folder, config.minutes, stream=config.stream))

    @classmethod
    def obstacle(cls, config: Config, folders: dict[str, DataFolder]) -> str:
        """A training part with fewer minutes than are to be learned from."""
        train = folders["train"]
        if not config.minutes or train.name == config.part:
            return ""
        seconds, spelt = train.seconds, train.read(config.stream)
        have = sum(seconds[utt] for utt in train.utts if utt in spelt) / 60
        return f"{train.path} has only {have:.1f} min" if have < config.minutes else ""

    @classmethod
    def selects_of(cls, config: Config) -> str:
        return "word_error_rate" if config.best_by == "words" else cls.selects

    @staticmethod
    def labels_of(config: Config, train: SpeechDataset) -> tuple[str, ...]:
        """The symbols of the training part: sorted, or pieces in SentencePiece's order."""
        if config.units == "phones":
            found = train.inventory.phones if config.phones_from == "ali" else \
                {phone for utt in train.utts for phone in phones(train.labels["phones"][utt])}
            return tuple(sorted({phone if config.stress else bare(phone) for phone in found} - {"SIL"}))
        langs = train.labels.get("utt2lang", {})
        texts = [said(config, train.texts[utt], langs.get(utt, "")) for utt in train.utts]
        if config.units == "chars":
            return tuple(sorted(set("".join(texts))))
        # The order of the pieces depends on that of the lines no more than on the corpus: `utts` are sorted.
        trained = SentencePieceTokenizer.train(texts, config.pieces)
        return tuple(f"{piece}\t{score!r}" for piece, score in trained.pieces)

    @property
    def ending(self) -> tuple[int, ...]:
        """As of any task that spells; of characters, where there are spaces, one before the end."""
        end = super().ending
        return (self.ids[" "], *end) if end and self.config.units == "chars" and " " in self.ids else end

    def target_rows(self, batch: Batch) -> list[torch.Tensor]:
        if self.config.stream == "phones":
            return [torch.tensor([self.ids[phone] for phone in phones(line, tones=self.config.stress) if phone in self.ids],
                                 dtype=torch.long) for line in batch["labels"]["phones"]]
        if self.config.units == "phones":
            units = self.unit_of_phone[batch["phones"]].masked_fill(
                pad_mask(batch["phones_lengths"], batch["phones"].shape[1]), 0)
            return [row[row > 0] for row in units]
        return [torch.tensor(self.encode(text), dtype=torch.long) for text in self.texts(batch)]

    def texts(self, batch: Batch) -> list[str]:
        """What is spelt, for each utterance."""
        langs = batch["labels"]["utt2lang"] if self.config.spoken else [""] * len(batch["texts"])
        return [said(self.config, text, lang) for text, lang in zip(batch["texts"], langs)]

    def path_metrics(self, batch: Batch, paths: list[list[str]]) -> dict[str, tuple[float, float]]:
        """`word_error_rate` where it is chosen by."""
        if self.config.best_by == "symbols":
            return {}
        counts = [edits(text.split(), "".join(self.spelt(path)).split()) for text, path in zip(self.texts(batch), paths)]
        return {"word_error_rate": (float(sum(count.errors for count in counts)),
                                    float(sum(count.reference for count in counts)))}

    def encode(self, text: str) -> list[int]:
        """The ids of a text, those of symbols that training never saw left out."""
        if self.tokenizer is None:
            return [self.ids[char] for char in text if char in self.ids]
        # A piece's id in the tokeniser, whose 0 is the unknown one, is its id here, where 0 is the blank.
        return [i for i in self.tokenizer.encode(text) if i > 0]

    def spelt(self, symbols: list[str]) -> list[str]:
        """Recognised symbols as what is written and scored: phones, or the characters that the pieces make."""
        if self.tokenizer is None:
            return symbols
        return list(self.tokenizer.decode([self.ids[symbol] for symbol in symbols]))

    @torch.no_grad()
    def transcribe(self, batch: Batch) -> list[list[str]]:
        """Phones or characters of the best path, for each utterance."""
        return [self.spelt(best_path(row, self.symbols)) for row in self.emissions(batch)]

    def beam_decoder(self, search: Search) -> BeamDecoder:
        """What finds the best hypothesis in the emissions of an utterance, as what is written and scored."""
        units = self.config.units
        wanted = {"phones": "symbols", "pieces": "words"}.get(units, search.lm_of)
        if search.lm is not None and search.lm_of != wanted:
            made = "phones" if units == "phones" else "words"
            raise SpeechrepError(f"a language model of {search.lm_of} for a task that spells {units}",
                                 f"one of {wanted}",
                                 f"make it with `speechrep ngram --of {made}`, and give --lm-of {wanted}")
        return BeamDecoder(search, self.symbols, self.ids.get(" ") if units == "chars" else None, self.spelt)

    @staticmethod
    def score(folder: Path) -> Scored:
        """Phone error rate, or character and word error rate."""
        return scored(folder)


def bare(phone: str) -> str:
    """A phone without the digits of stress and tone."""
    return phone.rstrip("0123456789") or phone


def said(config: Config, text: str, lang: str) -> str:
    """The text that is spelt."""
    return normalise(text, lang) if config.spoken else text
