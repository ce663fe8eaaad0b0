"""Scores of synthesised speech that lies in a data folder (see `speechrep.tasks.generate`), and of natural speech.

Whatever applies is computed: recognition against `text`, spectrum and pitch against the natural utterance named in
`utt2parallel`, durations where both sides have `ali`, the voice against enrolment utterances of the target (`utt2spk`)
and the source (`utt2source`), and predicted opinion. A judge that is not installed leaves a note instead of its rows.
"""

import hashlib
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrep.data.alignment import read_ali
from speechrep.data.audio import AudioReader, resample
from speechrep.data.folder import DataFolder
from speechrep.data.text.normalise import normalise
from speechrep.data.text.phonemize import Phonemizer
from speechrep.errors import SpeechrepError
from speechrep.launch import advance
from speechrep.metrics import f0, mcd, speaker, wer
from speechrep.metrics.bootstrap import mean_interval, ratio_interval
from speechrep.metrics.judges import RATE_HZ, opinion, sphinx, voice, whisper, world
from speechrep.metrics.judges.cache import Cache
from speechrep.metrics.score import metric
from speechrep.tasks.generate import NOTES

JUDGES = ("recogniser", "spectrum", "durations", "voice", "opinion")
RECOGNISERS = {"whisper": whisper, "pocketsphinx": sphinx}
UNSEGMENTED = ("zh", "ja", "th")
"""Languages written without spaces: no word error rate."""


@dataclass(frozen=True)
class Options:
    """How to score."""

    max_utts: int = 0
    """Score at most so many utterances, the same contents for every system; 0 for all."""
    judges: tuple[str, ...] = JUDGES
    """Which groups of metrics to compute."""
    recogniser: str = "whisper"
    """whisper or pocketsphinx."""
    tracker: str = "dio"
    """F0: dio (quick) or harvest."""
    overall: bool = False
    """Also DNSMOS's overall quality, half a second of computing an utterance."""
    enrol_utts: int = 20
    """At most so many enrolment utterances make the voice of a speaker."""
    g2p: dict[str, str] | None = None
    """Language -> phonemiser for PER, where not the default."""
    threads: int = 2
    """Threads of the recogniser."""


@dataclass
class Result:
    """`metrics`: name -> entry of score.json. `per_utt`: utterance -> column -> value. `notes`: what was left out, and
    who judged."""

    metrics: dict[str, dict[str, Any]]
    per_utt: dict[str, dict[str, Any]]
    notes: list[str]


def score_synthesis(hypothesis: DataFolder, reference: DataFolder | None, enrolment: DataFolder | None,
                    options: Options = Options(), cache: Cache | None = None, require: bool = False) -> Result:
    """Score the utterances of `hypothesis`.

    reference: the natural utterances that `utt2parallel` names, and their `ali`. enrolment: utterances that make the
    speakers' voices. `require`: a missing judge is a `SpeechrepError` and not a note.
    Raises `SpeechrepError` if a parallel utterance or a speaker's enrolment is missing.
    """
    utts = chosen(hypothesis, options.max_utts)
    result = Result({}, {utt: _about(hypothesis, utt) for utt in utts}, _notes(hypothesis))
    if len(utts) < len(hypothesis.utts):
        result.notes.append(f"{len(utts)} of {len(hypothesis.utts)} utterances, chosen by their names")
    cache = cache or Cache()
    work = {"recogniser": _recognition, "spectrum": _spectrum, "durations": _durations, "voice": _voices,
            "opinion": _opinions}
    unknown = sorted(set(options.judges) - set(work))
    if unknown:
        raise SpeechrepError(f"no judge '{unknown[0]}'", f"some of {', '.join(work)}")
    for step, kind in enumerate(options.judges):
        print(f"{hypothesis.path}: {kind}", file=sys.stderr, flush=True)
        try:
            work[kind](hypothesis, reference, enrolment, utts, options, cache, result)
        except MissingJudge as error:
            if require:
                raise SpeechrepError(error.found, error.wanted, error.cure) from None
            result.notes.append(f"no {kind}: {error.found}; {error.cure}")
        advance(step + 1, len(options.judges))
    return result


def judges_to_add(notes: list[str], options: Options) -> list[str]:
    """The kinds of judges that were missing when a score with these notes was made, and are installed now."""
    judges = {"recogniser": RECOGNISERS.get(options.recogniser), "spectrum": world, "voice": voice, "opinion": opinion}
    found = []
    for kind in options.judges:
        if kind in judges and any(note.startswith(f"no {kind}: ") for note in notes):
            with suppress(MissingJudge):
                _installed(judges[kind].ready)
                found.append(kind)
    return found


class MissingJudge(SpeechrepError):
    """A judge that is not installed."""


def chosen(folder: DataFolder, count: int) -> list[str]:
    """At most `count` utterances (0: all), sorted: the same contents for every system, whatever its utterances' names.

    Contents (`utt2content`, else the utterance itself) come in the order of a hash, one utterance of each before the
    second of any.
    """
    content = folder.read("utt2content") if folder.has("utt2content") else {}
    by_content: dict[str, list[str]] = {}
    for utt in folder.utts:
        by_content.setdefault(content.get(utt, utt), []).append(utt)
    ranked = [(rank, _hash(name), utt) for name, own in by_content.items()
              for rank, utt in enumerate(sorted(own, key=_hash))]
    utts = [utt for _, _, utt in sorted(ranked)]
    return sorted(utts[:count] if count else utts)


def _notes(folder: DataFolder) -> list[str]:
    path = folder.path / NOTES
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _about(folder: DataFolder, utt: str) -> dict[str, Any]:
    streams = {"speaker": "utt2spk", "lang": "utt2lang", "source": "utt2source", "content": "utt2content"}
    return {column: folder.read(stream)[utt] for column, stream in streams.items()
            if folder.has(stream) and utt in folder.read(stream)}


def _installed(ready) -> None:
    """Call `ready` of a judge, to learn early whether it is there."""
    try:
        ready()
    except SpeechrepError as error:
        raise MissingJudge(error.found, error.wanted, error.cure) from None


def _audio(folder: DataFolder, utt: str) -> np.ndarray:
    return AudioReader(folder, RATE_HZ).read(utt)[0]


def _recognition(hypothesis, reference, enrolment, utts, options, cache, result) -> None:
    if not hypothesis.has("text"):
        result.notes.append("no recognition: the folder has no text")
        return
    if options.recogniser not in RECOGNISERS:
        raise SpeechrepError(f"recogniser '{options.recogniser}'", f"one of {', '.join(RECOGNISERS)}")
    judge = RECOGNISERS[options.recogniser]
    _installed(judge.ready)
    known = judge.languages()
    result.notes.append(f"recogniser: {judge.name()}")
    texts = hypothesis.read("text")
    languages = hypothesis.read("utt2lang") if hypothesis.has("utt2lang") else {}
    by_language: dict[str, list[str]] = {}
    for utt in utts:
        by_language.setdefault(languages.get(utt, "en"), []).append(utt)
    references, heard = {}, {}
    for lang, own in sorted(by_language.items()):
        own = [utt for utt in own if texts.get(utt, "").strip()]
        if known is not None and lang not in known:
            result.notes.append(f"recogniser: {len(own)} utterances in '{lang}' left out, a language it does not know")
            continue
        for utt, text in zip(own, _transcripts(judge, hypothesis, own, lang, cache, options)):
            references[utt], heard[utt] = normalise(texts[utt], lang), _readable(text, lang)
    if not references:
        return
    _error_rates(references, heard, {utt: languages.get(utt, "en") for utt in references}, options, result)


def _transcripts(judge, folder: DataFolder, utts: list[str], lang: str, cache: Cache, options: Options) -> list[str]:
    extra = {"threads": options.threads} if judge is whisper else {}
    name, texts = f"{judge.name()} {lang}", []
    for start in range(0, len(utts), 16):
        audio = [_audio(folder, utt) for utt in utts[start:start + 16]]
        new = [samples for samples in audio if not cache.knows(name, samples)]
        for samples, text in zip(new, judge.transcribe(new, lang, **extra)):
            cache.ask(name, samples, lambda text=text: text)
        texts += [cache.ask(name, samples, lambda: "") for samples in audio]
    return texts


def _readable(text: str, lang: str) -> str:
    """What the recogniser wrote as words; characters that the language does not have do not stop the scoring."""
    try:
        return normalise(text, lang)
    except SpeechrepError:
        kept = "".join(c if c.isalpha() or c in "' " else " " for c in text.lower())
        try:
            return normalise(kept, lang)
        except SpeechrepError:
            return " ".join(kept.split())


def _error_rates(references: dict[str, str], heard: dict[str, str], languages: dict[str, str], options: Options,
                 result: Result) -> None:
    for utt in references:
        result.per_utt[utt] |= {"text": references[utt], "heard": heard[utt]}
    segmented = [utt for utt in references if languages[utt] not in UNSEGMENTED]
    phonemizer = Phonemizer(options.g2p)
    said, understood, foreign = {}, {}, 0
    try:
        for utt, text in references.items():
            said[utt] = _phones(phonemizer, text, languages[utt])
            own = _own_letters(heard[utt], languages[utt])
            understood[utt] = _phones(phonemizer, own, languages[utt])
            foreign += own != heard[utt]
    except SpeechrepError as error:
        result.notes.append(f"no PER: {error.found}")
        said = {}
    if said and foreign:
        result.notes.append(f"PER without the letters of other languages that the recogniser wrote in {foreign} utterance(s)")
    for name, utts, true, hypothesis, symbols in (
            ("wer", segmented, references, heard, wer.words),
            ("cer", list(references), references, heard, wer.characters),
            ("per", list(said), said, understood, wer.phones),
            ("per_toneless", list(said), said, understood, lambda line: wer.phones(line, tones=False))):
        counts = wer.corpus_edits({utt: true[utt] for utt in utts}, {utt: hypothesis[utt] for utt in utts}, symbols)
        for utt, count in counts.items():
            result.per_utt[utt] |= {f"{name}_errors": count.errors, f"{name}_symbols": count.reference}
        spoken = sorted({languages[utt] for utt in utts})
        for lang in [None, *(spoken if len(spoken) > 1 and name in ("wer", "cer") else [])]:
            some = [count for utt, count in counts.items() if lang is None or languages[utt] == lang]
            if sum(count.reference for count in some):
                value = ratio_interval([c.errors for c in some], [c.reference for c in some])
                result.metrics[f"{name}_{lang}" if lang else name] = metric(
                    *value, n=sum(c.reference for c in some), unit="", better="lower")


def _own_letters(heard: str, lang: str) -> str:
    """What was heard, less what the language cannot say: letters of other scripts have no phones in it."""
    def said(text: str) -> bool:
        try:
            normalise(text, lang)
        except SpeechrepError:
            return False
        return True

    return heard if said(heard) else " ".join("".join(char if said(char) else "" for char in heard).split())


def _phones(phonemizer: Phonemizer, text: str, lang: str) -> str:
    return " ".join(phone for word in phonemizer.phones(text, lang) for phone in word) if text else ""


def _spectrum(hypothesis, reference, enrolment, utts, options, cache, result) -> None:
    pairs = _parallel(hypothesis, reference, utts)
    if not pairs:
        return
    _installed(world.ready)
    result.notes.append(f"spectrum and pitch: WORLD ({world.PACKAGE}), {options.tracker}, mel-cepstra without c0")
    distortions, pitches = {}, {}
    for utt, natural in pairs.items():
        (ours, our_rate), (true, true_rate) = AudioReader(hypothesis).read(utt), AudioReader(reference).read(natural)
        rate = min(our_rate, true_rate)
        (f0_true, mcep_true), (f0_ours, mcep_ours) = (
            world.analyse(resample(samples, from_hz, rate), rate, options.tracker)
            for samples, from_hz in ((true, true_rate), (ours, our_rate)))
        distortions[utt], i, j = mcd.mel_cepstral_distortion(mcep_true, mcep_ours)
        pitches[utt] = f0.pitch_errors(f0_true[i], f0_ours[j])
        result.per_utt[utt] |= {"mcd": distortions[utt], "f0_corr": pitches[utt].correlation,
                                "vuv": pitches[utt].voicing_errors / pitches[utt].frames}
        if pitches[utt].voiced:
            result.per_utt[utt]["logf0_rmse"] = float(np.sqrt(pitches[utt].square_log / pitches[utt].voiced))
    found = list(pitches.values())
    frames, voiced = sum(p.frames for p in found), sum(p.voiced for p in found)
    result.metrics["mcd"] = metric(*mean_interval(list(distortions.values())), n=len(found), unit="dB", better="lower")
    if voiced:
        value = ratio_interval([p.square_log for p in found], [p.voiced for p in found], transform=np.sqrt)
        result.metrics["logf0_rmse"] = metric(*value, n=voiced, unit="ln Hz", better="lower")
        result.metrics["msep"] = metric(*ratio_interval([p.square_hz for p in found], [p.voiced for p in found]),
                                        n=voiced, unit="Hz²", better="lower")
    correlations = [p.correlation for p in found if p.correlation is not None]
    if correlations:
        result.metrics["f0_corr"] = metric(*mean_interval(correlations), n=len(correlations), unit="", better="higher")
    result.metrics["vuv"] = metric(*ratio_interval([p.voicing_errors for p in found], [p.frames for p in found]),
                                   n=frames, unit="", better="lower")


def _durations(hypothesis, reference, enrolment, utts, options, cache, result) -> None:
    pairs = _parallel(hypothesis, reference, utts)
    if not pairs or not hypothesis.has("ali") or not reference.has("ali"):
        return
    ours, true = hypothesis.read("ali"), reference.read("ali")
    sums, counts, unlike = [], [], 0
    for utt, natural in pairs.items():
        if utt not in ours or natural not in true:
            unlike += 1
            continue
        errors = f0.duration_errors(read_ali(true[natural]), read_ali(ours[utt]))
        if errors is None or not len(errors):
            unlike += 1
            continue
        result.per_utt[utt]["duration_ms"] = float(errors.mean())
        sums.append(errors.sum())
        counts.append(len(errors))
    if unlike:
        result.notes.append(f"durations: {unlike} utterances left out, they have no alignment or other phones")
    if counts:
        value = ratio_interval(sums, counts)
        result.metrics["duration_error"] = metric(*value, n=sum(counts), unit="ms", better="lower")


def _parallel(hypothesis: DataFolder, reference: DataFolder | None, utts: list[str]) -> dict[str, str]:
    """Utterance -> natural utterance of the same speaker and text, where there is one other than itself."""
    if reference is None or not hypothesis.has("utt2parallel"):
        return {}
    there = set(reference.utts)
    pairs = {utt: natural for utt, natural in hypothesis.read("utt2parallel").items() if utt in set(utts)}
    missing = sorted(set(pairs.values()) - there)
    if missing:
        raise SpeechrepError(f"{hypothesis.path}/utt2parallel: '{missing[0]}' is not in {reference.path}",
                             "natural utterances of the reference", "name the folder that was synthesised: --reference")
    return pairs


def _voices(hypothesis, reference, enrolment, utts, options, cache, result) -> None:
    if enrolment is None or not hypothesis.has("utt2spk"):
        return
    _installed(voice.ready)
    result.notes.append(f"voice: {voice.name()}, up to {options.enrol_utts} enrolment utterances of {enrolment.name}")

    def embedding(folder: DataFolder, utt: str) -> np.ndarray:
        samples = _audio(folder, utt)
        return np.array(cache.ask(voice.name(), samples, lambda: [round(float(x), 6) for x in voice.embed(samples)]))

    targets = hypothesis.read("utt2spk")
    sources = hypothesis.read("utt2source") if hypothesis.has("utt2source") else {}
    enrolled = enrolment.read("utt2spk")
    wanted = {targets[utt] for utt in utts} | {sources[utt] for utt in utts if utt in sources}
    own = {name: sorted((utt for utt in enrolment.utts if enrolled.get(utt) == name), key=_hash) for name in wanted}
    silent = sorted(name for name, found in own.items() if not found)
    if silent:
        raise SpeechrepError(f"{enrolment.path}: no utterance of the speaker '{silent[0]}'",
                             "at least one for enrolment", "name a folder with these speakers: --enroll")
    voices: dict[tuple[str, str], np.ndarray] = {}

    def of_speaker(name: str, without: str) -> np.ndarray:
        """The voice of a speaker; natural speech is not compared with itself."""
        names = [utt for utt in own[name] if utt != without][:options.enrol_utts] or own[name][:1]
        key = name, without if without in own[name][:options.enrol_utts] else ""
        if key not in voices:
            voices[key] = speaker.centroid(np.stack([embedding(enrolment, utt) for utt in names]))
        return voices[key]

    near_target, near_source, closer = {}, {}, {}
    for utt in utts:
        vector = embedding(hypothesis, utt)
        near_target[utt] = float(speaker.cosine(vector, of_speaker(targets[utt], utt)))
        result.per_utt[utt]["cos_target"] = near_target[utt]
        if utt in sources and sources[utt] != targets[utt]:
            near_source[utt] = float(speaker.cosine(vector, of_speaker(sources[utt], utt)))
            closer[utt] = float(near_target[utt] > near_source[utt])
            result.per_utt[utt] |= {"cos_source": near_source[utt], "closer_to_target": closer[utt]}
    for name, values, better in (("cos_target", near_target, "higher"), ("cos_source", near_source, "lower"),
                                 ("closer_to_target", closer, "higher")):
        if values:
            result.metrics[name] = metric(*mean_interval(list(values.values())), n=len(values), unit="", better=better)


def _opinions(hypothesis, reference, enrolment, utts, options, cache, result) -> None:
    _installed(opinion.ready)
    result.notes.append(f"opinion: {opinion.name()}, at 16 kHz; narrow-band speech scores lower for its band alone")
    for name, judge in (("dnsmos_p808", opinion.p808), ("dnsmos_ovrl", opinion.overall))[:2 if options.overall else 1]:
        values = []
        for utt in utts:
            samples = _audio(hypothesis, utt)
            values.append(cache.ask(f"{opinion.name()} {name}", samples, lambda: judge(samples)))
            result.per_utt[utt][name] = values[-1]
        result.metrics[name] = metric(*mean_interval(values), n=len(values), unit="1-5", better="higher")
