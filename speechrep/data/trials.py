"""Trials of speaker verification: Kaldi's `trials`, lines `UTTERANCE UTTERANCE target` or `... nontarget`.

Where a corpus comes without them they are made here: within a language, since telling languages apart is no verification.
"""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

from speechrep.data.lists import read_list
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

Trial = tuple[str, str, bool]
"""The utterance enrolled, the one tested, and whether both are of one speaker."""


def read_trials(path: str | Path, known: Collection[str] | None = None) -> list[Trial]:
    """The trials of a file in its order. Raises `SpeechrepError` if it is missing, for a line that is not as above, a
    trial that stands twice, a pair that is called both, in either order, and an utterance that is not among those
    `known`."""
    path = Path(path)
    rows = read_list(path)
    unknown = [utt for row in rows for utt in row[:2] if known is not None and utt not in known]
    if unknown:
        raise SpeechrepError(f"{path}: a trial with the unknown utterance '{unknown[0]}'", "utterances of the same data folder",
                             "prepare the folder again, or mend the list")
    kinds: dict[frozenset[str], str] = {}
    for enrolled, tested, kind in rows:
        if kinds.setdefault(frozenset((enrolled, tested)), kind) != kind:
            raise SpeechrepError(f"{path}: {enrolled} and {tested} are target and nontarget", "one of the two")
    return [(enrolled, tested, said == "target") for enrolled, tested, said in rows]


def trials_text(trials: list[Trial]) -> str:
    """Trials as the text of a file, sorted."""
    return "".join(f"{enrolled} {tested} {'target' if target else 'nontarget'}\n"
                   for enrolled, tested, target in sorted(trials))


def write_trials(path: str | Path, trials: list[Trial]) -> None:
    """Write `trials`, sorted, atomically."""
    write_text(path, trials_text(trials))


def make_trials(utt2spk: Mapping[str, str], utt2lang: Mapping[str, str], each: int = 4,
                utt2content: Mapping[str, str] | None = None) -> list[Trial]:
    """Trials among the utterances of each language that has two speakers or more.

    Each utterance is enrolled in up to `each` trials against others of its speaker and as many against others of the
    language; no pair comes twice, in either order. Pairs whose lines in `utt2content` are equal are left out: the same
    words twice are alike for another reason than the voice, and no speaker may say the same words twice. Which pairs
    are taken hangs on their ids alone. Raises `SpeechrepError` if there is no trial of one of the kinds.
    """
    trials: dict[frozenset[str], Trial] = {}
    for lang in sorted({utt2lang[utt] for utt in utt2spk}):
        utts = [utt for utt in sorted(utt2spk) if utt2lang[utt] == lang]
        if len({utt2spk[utt] for utt in utts}) < 2:
            continue
        for enrolled in utts:
            others = [utt for utt in utts if utt != enrolled
                      and (utt2content is None or utt2content[utt] != utt2content[enrolled])]
            others.sort(key=lambda utt: hashlib.sha256(" ".join(sorted((enrolled, utt))).encode()).digest())
            for target in (True, False):
                free = [utt for utt in others if (utt2spk[utt] == utt2spk[enrolled]) == target
                        and frozenset((enrolled, utt)) not in trials]
                trials |= {frozenset((enrolled, utt)): (enrolled, utt, target) for utt in free[:each]}
    kinds = {target for _, _, target in trials.values()}
    if len(kinds) < 2:
        missing = "any trial" if not kinds else "a non-target" if True in kinds else "a target"
        raise SpeechrepError(f"{len(utt2spk)} utterances without {missing} within a language",
                             "a language with two speakers, one of whom says two different things")
    return sorted(trials.values())
