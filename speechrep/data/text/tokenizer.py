"""Text -> ids and back for recognition: characters, or SentencePiece. Neither holds a blank; CTC adds its own."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from speechrep.errors import SpeechrepError
from speechrep.files import atomic_path, write_json

SPACE = "▁"
"""Stands for the space in the vocabulary of both kinds."""


class CharTokenizer:
    """One id a character. Id 0 is `<unk>`; what training text did not hold becomes it, and decodes to U+FFFD.

    `symbols`: tuple of characters in the order of their ids from 1 on, the space as `▁`.
    """

    kind = "char"

    def __init__(self, symbols: Sequence[str]):
        if len(set(symbols)) != len(symbols) or any(len(symbol) != 1 for symbol in symbols):
            raise ValueError("symbols must be single characters, each once")
        self.symbols = tuple(symbols)
        self._ids = {symbol: index for index, symbol in enumerate(self.symbols, 1)}

    @classmethod
    def train(cls, texts: Iterable[str]) -> "CharTokenizer":
        """The characters of `texts`, sorted; the space always among them."""
        found = {SPACE}.union(*(text.replace(" ", SPACE) for text in texts))
        return cls(sorted(found))

    def __len__(self) -> int:
        """Size of the vocabulary with `<unk>`."""
        return len(self.symbols) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of the characters of `text`."""
        return [self._ids.get(char, 0) for char in text.replace(" ", SPACE)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Raises `ValueError` for an id outside the vocabulary."""
        chars = []
        for index in ids:
            if not 0 <= index < len(self):
                raise ValueError(f"id {index} is not within the {len(self)} of the vocabulary")
            chars.append(self.symbols[index - 1] if index else "\ufffd")
        return "".join(chars).replace(SPACE, " ")

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON, atomically."""
        write_json(path, {"kind": self.kind, "symbols": list(self.symbols)})


class SentencePieceTokenizer:
    """SentencePiece, trained without any normalisation of its own, since `normalise` has done it.

    Id 0 is `<unk>`; a run of characters that the training text did not hold becomes it and decodes to one U+FFFD.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes):
        """
        Args:
            model: a serialised SentencePiece model, the contents of a `.model` file.
        """
        import sentencepiece
        self._model = bytes(model)
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(self._model)
        except RuntimeError as error:
            raise SpeechrepError(f"not a SentencePiece model: {error}", "what `train` or spm_train writes") from None

    @classmethod
    def train(cls, texts: Iterable[str], size: int, kind: str = "unigram") -> "SentencePieceTokenizer":
        """Train on `texts`.

        Args:
            texts: normalised lines.
            size: pieces with `<unk>`; fewer where the text does not yield as many.
            kind: unigram or bpe.

        Raises:
            SpeechrepError: no text, or `size` is smaller than its number of characters.
        """
        import sentencepiece
        lines = [line for line in texts if line.strip()]
        if not lines:
            raise SpeechrepError("no text to train the tokeniser on", "lines of words", "check the `text` of the data")
        chars = len(set("".join(lines)) | {" "})
        if size < chars + 1:
            raise SpeechrepError(f"{size} pieces for {chars} different characters", f"at least {chars + 1}",
                                 "raise the number of pieces, or use characters")
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter(lines), model_writer=out, vocab_size=size, model_type=kind, character_coverage=1.0,
            hard_vocab_limit=False, normalization_rule_name="identity", unk_id=0,
            bos_id=-1, eos_id=-1, pad_id=-1, unk_surface="\ufffd", num_threads=1, minloglevel=2,
            max_sentence_length=1_000_000)
        return cls(out.getvalue())

    @classmethod
    def from_pieces(cls, pieces: Iterable[tuple[str, float]]) -> "SentencePieceTokenizer":
        """The unigram tokeniser of these pieces with their log-probabilities, ids from 1 on, as `train` makes it."""
        from sentencepiece import sentencepiece_model_pb2
        model = sentencepiece_model_pb2.ModelProto()
        model.pieces.add(piece="<unk>", score=0.0, type=model.SentencePiece.UNKNOWN)
        for piece, score in pieces:
            model.pieces.add(piece=piece, score=score)
        model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
        model.trainer_spec.vocab_size = len(model.pieces)
        model.trainer_spec.unk_id, model.trainer_spec.unk_surface = 0, "\ufffd"
        model.trainer_spec.bos_id = model.trainer_spec.eos_id = model.trainer_spec.pad_id = -1
        model.normalizer_spec.name = "identity"
        return cls(model.SerializeToString())

    @property
    def pieces(self) -> list[tuple[str, float]]:
        """Pieces with their log-probabilities, from id 1 on."""
        return [(self._processor.IdToPiece(index), self._processor.GetScore(index)) for index in range(1, len(self))]

    def __len__(self) -> int:
        """Size of the vocabulary with `<unk>`; may be less than asked for."""
        return self._processor.GetPieceSize()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The pieces in the order of their ids, `<unk>` first."""
        return tuple(self._processor.IdToPiece(index) for index in range(len(self)))

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces of `text`, the most likely segmentation."""
        return self._processor.EncodeAsIds(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Raises `ValueError` for an id outside the vocabulary."""
        ids = [int(index) for index in ids]
        for index in ids:
            if not 0 <= index < len(self):
                raise ValueError(f"id {index} is not within the {len(self)} of the vocabulary")
        return self._processor.DecodeIds(ids)

    def save(self, path: str | Path) -> None:
        """Write the model file, atomically; other SentencePiece programs read it."""
        with atomic_path(path) as tmp:
            tmp.write_bytes(self._model)


def load_tokenizer(path: str | Path) -> CharTokenizer | SentencePieceTokenizer:
    """The tokeniser that `save` wrote: JSON for characters, anything else a SentencePiece model.

    Raises:
        SpeechrepError: no such file, or neither of the two.
    """
    import json
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such tokeniser", "a file that a tokeniser saved") from None
    if not data.lstrip().startswith(b"{"):
        return SentencePieceTokenizer(data)
    try:
        value = json.loads(data)
        return CharTokenizer(value["symbols"])
    except (ValueError, KeyError, TypeError) as error:
        raise SpeechrepError(f"{path}: not a character tokeniser: {error}", 'JSON with "symbols"') from None
