"""Accuracy: the share of utterances (or frames) that are given their true class, as SUPERB (Yang et al. 2021, arXiv
2105.01051) scores its tasks of classes."""

from collections.abc import Mapping

import numpy as np

from speechrep.errors import SpeechrepError
from speechrep.metrics.wer import check_utterances


def hits(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> dict[str, bool]:
    """Utterance -> whether both lines have the same words, for exactly the utterances of `references`.

    Raises `SpeechrepError` for a missing or superfluous hypothesis, or an empty reference.
    """
    check_utterances(references, hypotheses)
    empty = [utt for utt, line in references.items() if not line.split()]
    if empty:
        raise SpeechrepError(f"{len(empty)} references without a class, such as that of '{empty[0]}'",
                             "one an utterance")
    return {utt: references[utt].split() == hypotheses[utt].split() for utt in sorted(references)}


def frame_hits(references: Mapping[str, str],
               hypotheses: Mapping[str, str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Utterance -> the true class of each frame [N] and whether it was found [N].

    Lines hold one class a frame. Raises `SpeechrepError` as `hits` does, and for lines of different lengths.
    """
    check_utterances(references, hypotheses)
    found = {}
    for utt in sorted(references):
        true, said = (np.array(table[utt].split(), dtype=str) for table in (references, hypotheses))
        if len(true) != len(said):
            raise SpeechrepError(f"'{utt}': {len(said)} frames against {len(true)} of the reference", "as many",
                                 "score against what was decoded with it")
        found[utt] = true, true == said
    return found
