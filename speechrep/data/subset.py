"""A little of a data folder, drawn the same each time: of one voice, which is what minimal supervision may look at, or
of all voices, for low-resource recognition."""

import hashlib
from itertools import zip_longest

import numpy as np

from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError


def one_voice(folder: DataFolder, minutes: float, speaker: str | None = None, lang: str | None = None,
              seed: int = 0, stream: str = "ali") -> list[str]:
    """Utterances of one speaker that last `minutes` together, at most and nearly, sorted.

    The speaker is by default the one with the most speech. `lang` keeps to one language, and only utterances with a
    line in `stream` count (None: all). The order in which they are taken depends on `seed` and their ids alone, so that
    another utterance in the folder changes the choice little. Raises `SpeechrepError` if there is less speech than that.
    """
    speakers, seconds = folder.read("utt2spk"), folder.seconds
    langs = folder.read("utt2lang") if lang else {}
    there = folder.read(stream) if stream else seconds
    utts = [utt for utt in folder.utts if utt in there and utt in speakers and (not lang or langs.get(utt) == lang)]
    total: dict[str, float] = {}
    for utt in utts:
        total[speakers[utt]] = total.get(speakers[utt], 0.0) + seconds[utt]
    which = f" in {lang}" if lang else ""
    if speaker is None and total:
        speaker = min(total, key=lambda name: (-total[name], name))
    if total.get(speaker, 0.0) < minutes * 60:
        have = ", ".join(f"{name} {sec / 60:.1f} min" for name, sec in sorted(total.items())) or "nobody"
        raise SpeechrepError(f"{folder.path}: {speaker or 'nobody'} speaks for {total.get(speaker, 0.0) / 60:.1f} min{which}"
                             f"; there are {have}", f"{minutes:g} min", "choose fewer --minutes, or another --speaker")
    own = [utt for utt in utts if speakers[utt] == speaker]
    own.sort(key=lambda utt: hashlib.sha256(f"{seed} {utt}".encode()).digest())
    chosen, left = [], minutes * 60
    for utt in own:
        if seconds[utt] <= left:
            chosen.append(utt)
            left -= seconds[utt]
    return sorted(chosen)


def all_voices(folder: DataFolder, minutes: float, lang: str | None = None, seed: int = 0,
               stream: str | None = "text") -> list[str]:
    """Utterances of all speakers that last `minutes` together, at most and nearly, sorted.

    Speakers take turns, so that a little holds many voices; who comes first and with what depends on `seed` and on ids
    alone. The utterances of fewer minutes are among those of more, as with the 10 minutes, 1 hour and 10 hours of
    Libri-light (arXiv 1912.07875). `lang` keeps to one language, and only utterances with a line in `stream` count
    (None: all). Raises `SpeechrepError` if there is less speech than that.
    """
    speakers, seconds = folder.read("utt2spk"), folder.seconds
    langs = folder.read("utt2lang") if lang else {}
    there = folder.read(stream) if stream else seconds
    drawn = lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest()  # noqa: E731
    own: dict[str, list[str]] = {}
    for utt in sorted(folder.utts, key=drawn):
        if utt in there and utt in speakers and (not lang or langs.get(utt) == lang):
            own.setdefault(speakers[utt], []).append(utt)
    have = sum(seconds[utt] for utts in own.values() for utt in utts)
    if have < minutes * 60:
        raise SpeechrepError(f"{folder.path}: {have / 60:.1f} min{f' in {lang}' if lang else ''}", f"{minutes:g} min",
                             "choose fewer --minutes")
    turns = [utt for turn in zip_longest(*(own[speaker] for speaker in sorted(own, key=drawn))) for utt in turn if utt]
    ends = np.cumsum([seconds[utt] for utt in turns])
    return sorted(turns[:int(np.searchsorted(ends, minutes * 60 + 1e-6, side="right"))])
