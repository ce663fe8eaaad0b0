"""Beam search over the outputs of CTC, with or without an n-gram language model, by flashlight-text.

flashlight-text (Kahn et al. 2022, arXiv 2201.12465) is the decoder of wav2letter and of SUPERB's reference; KenLM
(Heafield 2011), which reads the language model, is in its wheels. A hypothesis W of an utterance scores
  ln p(W | speech) + lm_weight * log10 p_lm(W) + word_score * (number of words)
the first term summed over the paths of W that the beam holds. SUPERB's run with a language model: beam 5, weight 2,
word score -1.

A language model of words works along the search where words are divided by a symbol, the space: then only words that it
knows, if they can be spelt, are recognised. Where they are not (pieces, whose words have no end of their own;
flashlight's search among words would lose the paths that repeat a word's last piece), it chooses among what the search
without it leaves in the beam, which should then be wide; there words may also be unknown.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from speechrep.data.text.ngram import UNKNOWN, vocabulary
from speechrep.errors import SpeechrepError

THRESHOLD = 25.0
"""Hypotheses so far below the best are dropped (s3prl's and fairseq's value)."""
NEVER = -1e4
"""The log-probability of what cannot be in the frames that end an utterance."""


@dataclass(frozen=True)
class Search:
    """How to look for the best hypothesis. The scores are those of the module's first lines."""

    beam: int = 5
    """Hypotheses that are kept at each frame (SUPERB: 5)."""
    lm: Path | None = None
    """An n-gram model as ARPA text; also in KenLM's binary form where it is of symbols."""
    lm_of: Literal["words", "symbols"] = "words"
    """What the n-grams are of: words, or the task's own symbols, a space written as `_`."""
    lm_weight: float = 2.0
    """Weight of the language model's log10 probability (SUPERB: 2)."""
    word_score: float = -1.0
    """Added for each word (SUPERB: -1); of no use without a language model of words."""


class BeamDecoder:
    """Log-probabilities [N, K] of the blank and `symbols` -> the best hypothesis, as it is written.

    space: the id of the symbol between words, None where there is none. written: a hypothesis's symbols -> what it is
    written in; the symbols themselves if None. Only characters may have a `space`.
    """

    def __init__(self, search: Search, symbols: tuple[str, ...], space: int | None = None,
                 written: Callable[[list[str]], list[str]] | None = None):
        try:
            from flashlight.lib.text import decoder
            from flashlight.lib.text.dictionary import Dictionary
        except ImportError:
            raise SpeechrepError("flashlight-text is not installed", "the decoder of the extra 'suite'",
                                 "pip install flashlight-text, or decode without --beam") from None
        if search.beam < 1:
            raise SpeechrepError(f"--beam {search.beam}", "1 or more")
        if search.lm is not None and not search.lm.is_file():
            raise SpeechrepError(f"{search.lm}: no such language model", "an ARPA file",
                                 "make it with `speechrep ngram`")
        self.symbols, self.space, self.written = symbols, space, written or list
        of_words = search.lm is not None and search.lm_of == "words"
        self.words = vocabulary(search.lm) if of_words else []
        self.lexicon = of_words and space is not None
        if self.lexicon:
            ids = {symbol: i for i, symbol in enumerate(symbols, 1)}
            self.words = [word for word in self.words if set(word) <= set(ids)]
            if not self.words:
                raise SpeechrepError(f"{search.lm}: none of its words can be spelt in the task's symbols",
                                     "a language model of the words of the transcripts", "or --lm-of symbols")
            self.lm = _kenlm(search.lm, Dictionary([*self.words, UNKNOWN]))
            self.trie, start = decoder.Trie(1 + len(symbols), space), self.lm.start(False)
            for index, word in enumerate(self.words):
                self.trie.insert([*(ids[char] for char in word), space], index, self.lm.score(start, index)[1])
            self.trie.smear(decoder.SmearingMode.MAX)
        else:
            names = ["<blank>", *("_" if symbol == " " else symbol for symbol in symbols)]
            along = search.lm is not None and not of_words
            self.lm = _kenlm(search.lm, Dictionary(names)) if along else decoder.ZeroLM()
            self.behind = _kenlm(search.lm, Dictionary([*self.words, UNKNOWN])) if of_words else None
            self.index = {word: i for i, word in enumerate(self.words)}
        self._begin(search)

    def _begin(self, search: Search) -> None:
        from flashlight.lib.text import decoder
        self.search = search
        options = search.beam, 1 + len(self.symbols), THRESHOLD, search.lm_weight
        ctc = decoder.CriterionType.CTC
        if self.lexicon:
            self.decoder = decoder.LexiconDecoder(
                decoder.LexiconDecoderOptions(*options, search.word_score, float("-inf"), 0.0, True, ctc),
                self.trie, self.lm, self.space, 0, len(self.words), [], False)
        else:
            # The decoder begins as if "silence" had been said, and would take a first space for its repetition: so the
            # blank.
            self.decoder = decoder.LexiconFreeDecoder(
                decoder.LexiconFreeDecoderOptions(*options, 0.0, True, ctc), self.lm, 0, 0, [])

    def weighed(self, lm_weight: float, word_score: float) -> "BeamDecoder":
        """The same search with another weight of the language model and score of a word; nothing is read again."""
        other = copy.copy(self)
        other._begin(replace(self.search, lm_weight=lm_weight, word_score=word_score))
        return other

    def __call__(self, log_probs: torch.Tensor) -> list[str]:
        """The best hypothesis; empty where the beam lost all."""
        if not len(log_probs):
            return []
        # A word ends with the symbol between words, which no transcript has behind the last one. The last blank joins
        # the paths of a hypothesis that end in a blank and those that do not: the decoder keeps them apart.
        ends = [self.space, 0] if self.lexicon else [0]
        last = torch.full((len(ends), log_probs.shape[1]), NEVER)
        last[range(len(ends)), ends] = 0.0
        frames = torch.cat([log_probs.float().clamp(min=NEVER), last])
        values = np.ascontiguousarray(frames.numpy(), dtype=np.float32)
        found = self.decoder.decode(values.ctypes.data, *values.shape)
        if not found:
            return []
        if self.lexicon:
            return list(" ".join(self.words[index] for index in found[0].words if 0 <= index < len(self.words)))
        said = [self.written(self._symbols(result.tokens)) for result in (found if self.words else found[:1])]
        if not self.words:
            return said[0]
        return max(zip(said, found), key=lambda pair: pair[1].score + self._of_words(pair[0]))[0]

    def _symbols(self, tokens: list[int]) -> list[str]:
        """A path, with the decoder's own token in front, -> symbols."""
        ids = torch.unique_consecutive(torch.tensor(tokens[1:], dtype=torch.long)).tolist()
        return [self.symbols[i - 1] for i in ids if i > 0]

    def _of_words(self, characters: list[str]) -> float:
        """What the language model of words and their number add to a hypothesis."""
        words = "".join(characters).split()
        state, total = self.behind.start(False), 0.0
        for word in words:
            state, score = self.behind.score(state, self.index.get(word, len(self.words)))
            total += score
        return self.search.lm_weight * (total + self.behind.finish(state)[1]) + self.search.word_score * len(words)


def _kenlm(path: Path, names):
    from flashlight.lib.text.decoder.kenlm import KenLM
    try:
        return KenLM(str(path), names)
    except (RuntimeError, ValueError) as error:
        raise SpeechrepError(f"{path}: not a language model ({str(error).splitlines()[0]})", "an ARPA file or KenLM's "
                             "binary one", "make it with `speechrep ngram`") from None
