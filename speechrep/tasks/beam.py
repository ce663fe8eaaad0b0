"""Beam search over the outputs of CTC, with or without an n-gram language model, by flashlight-text.

flashlight-text (Kahn et al. 2022, arXiv 2201.12465) is the decoder of wav2letter and of SUPERB's reference; KenLM
(Heafield 2011), which reads the language model, is in its wheels. A hypothesis W of an utterance scores
  ln p(W | speech) + lm_weight * log10 p_lm(W) + word_score * (number of words)
the first term summed over the paths of W that the beam holds. SUPERB's run with a language model: beam 5, weight 2, word
score -1. A language model of words needs a lexicon: the words that it knows, spelt in the task's symbols; nothing else is
then recognised.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
    """An n-gram model as ARPA text or KenLM's binary form; ARPA only where it is of words."""
    lm_of: Literal["words", "symbols"] = "words"
    """What the n-grams are of: words, or the task's own symbols, a space written as `_`."""
    lm_weight: float = 2.0
    """Weight of the language model's log10 probability (SUPERB: 2)."""
    word_score: float = -1.0
    """Added for each word (SUPERB: -1); of no use without a language model of words."""


class BeamDecoder:
    """Log-probabilities [N, K] of the blank and `symbols` -> the best hypothesis's symbols.

    spell: a word -> the ids of its symbols, from 1 on, or None where it cannot be spelt. space: the id of the symbol between
    words, None where words carry their own bounds. join: the words of a hypothesis -> its symbols.
    """

    def __init__(self, search: Search, symbols: tuple[str, ...], space: int | None = None,
                 spell: Callable[[str], list[int] | None] | None = None,
                 join: Callable[[list[str]], list[str]] | None = None):
        try:
            from flashlight.lib.text import decoder
            from flashlight.lib.text.dictionary import Dictionary
        except ImportError:
            raise SpeechrepError("flashlight-text is not installed", "the decoder of the extra 'suite'",
                                 "pip install flashlight-text, or decode without --beam") from None
        if search.beam < 1:
            raise SpeechrepError(f"--beam {search.beam}", "1 or more")
        self.symbols, self.join, self.space = symbols, join, space
        self.words: list[str] | None = None
        count = 1 + len(symbols)
        ctc = decoder.CriterionType.CTC
        if search.lm is not None and not search.lm.is_file():
            raise SpeechrepError(f"{search.lm}: no such language model", "an ARPA file", "make it with `speechrep ngram`")
        if search.lm is None or search.lm_of == "symbols":
            names = Dictionary([f"<{0}>", *("_" if symbol == " " else symbol for symbol in symbols)])
            self.lm = decoder.ZeroLM() if search.lm is None else _kenlm(search.lm, names)
            weight = 0.0 if search.lm is None else search.lm_weight
            options = decoder.LexiconFreeDecoderOptions(search.beam, count, THRESHOLD, weight, 0.0, True, ctc)
            # The decoder begins as if "silence" had been said, and would take a first space for its repetition.
            self.decoder = decoder.LexiconFreeDecoder(options, self.lm, 0, 0, [])
            return
        spelt = [(word, spell(word)) for word in vocabulary(search.lm)]
        self.words = [word for word, ids in spelt if ids]
        if not self.words:
            raise SpeechrepError(f"{search.lm}: none of its {len(spelt)} words can be spelt in the task's symbols",
                                 "a language model of the words of the transcripts", "or --lm-of symbols")
        names = Dictionary([*self.words, UNKNOWN])
        self.lm = _kenlm(search.lm, names)
        silence = space or 0
        self.trie = decoder.Trie(count, silence)
        start = self.lm.start(False)
        for index, (_, ids) in enumerate((word, ids) for word, ids in spelt if ids):
            self.trie.insert([*ids, *([space] if space else [])], index, self.lm.score(start, index)[1])
        self.trie.smear(decoder.SmearingMode.MAX)
        options = decoder.LexiconDecoderOptions(search.beam, count, THRESHOLD, search.lm_weight, search.word_score,
                                                float("-inf"), 0.0, True, ctc)
        self.decoder = decoder.LexiconDecoder(options, self.trie, self.lm, silence, 0, len(self.words), [], False)

    def __call__(self, log_probs: torch.Tensor) -> list[str]:
        """The best hypothesis; empty where the beam lost all."""
        if not len(log_probs):
            return []
        # A word ends with the symbol between words, which no transcript has behind the last one. The last blank joins
        # the paths of a hypothesis that end in a blank and those that do not: the decoder keeps them apart.
        ends = [self.space, 0] if self.words is not None and self.space else [0]
        last = torch.full((len(ends), log_probs.shape[1]), NEVER)
        last[range(len(ends)), ends] = 0.0
        frames = torch.cat([log_probs.float().clamp(min=NEVER), last])
        values = np.ascontiguousarray(frames.numpy(), dtype=np.float32)
        found = self.decoder.decode(values.ctypes.data, *values.shape)
        if not found:
            return []
        if self.words is not None:
            return self.join([self.words[index] for index in found[0].words if 0 <= index < len(self.words)])
        ids = torch.unique_consecutive(torch.tensor(found[0].tokens[1:-1], dtype=torch.long)).tolist()
        return [self.symbols[i - 1] for i in ids if i > 0]


def _kenlm(path: Path, names):
    from flashlight.lib.text.decoder.kenlm import KenLM
    try:
        return KenLM(str(path), names)
    except (RuntimeError, ValueError) as error:
        raise SpeechrepError(f"{path}: not a language model ({str(error).splitlines()[0]})", "an ARPA file or KenLM's "
                             "binary one", "make it with `speechrep ngram`") from None
