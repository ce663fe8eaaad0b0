"""A corpus with true phone times: varied English sentences spoken by flite's voices (`flite -psdur`).

Used by the aligner's accuracy test and benchmark. flite prints each segment with its end time; words are found by
pronouncing every word alone and lining both up, since flite does not print them together.
"""

import hashlib
import random
import shutil
import subprocess
from pathlib import Path

import soundfile

VOICES = ("slt", "rms", "awb", "kal16")
SLOTS = {
    "det": "the a this that every another my your his her our their some".split(),
    "adj": "quick brown lazy young old green yellow purple tiny huge golden silver noisy quiet gentle clever strange "
           "ancient modern wooden heavy bright foggy cheerful thirsty frozen hollow smooth royal useful".split(),
    "noun": "fox dog teacher garden window mountain river village engineer doctor kitchen bottle feather thunder "
            "jacket measure island orange lizard picture voyage treasure machine baker judge pigeon shadow father brother "
            "mother language church watch book moon boat house voice toy joke castle violin zebra guitar".split(),
    "verb": "watched followed carried painted measured opened forgot discovered pushed borrowed enjoyed visited chased "
            "described remembered finished noticed avoided washed loved fixed broke taught brought saw heard "
            "joined".split(),
    "prep": "near behind above under beyond inside without across through around toward beside".split(),
    "adv": "slowly quietly usually almost never always suddenly together yesterday tonight again outside early".split(),
    "name": "George Alice Jonathan Vivian Theodore Zoe Charlotte Hugh Ursula Joy Matthew Beth Roy Faith".split(),
    "num": "one two three four five six seven eight nine ten eleven twelve thirty forty fifty hundred thousand".split(),
}
TEMPLATES = (
    "{det} {adj} {noun} {verb} {det} {noun} {prep} {det} {adj} {noun}",
    "{name} {adv} {verb} {det} {adj} {noun}, and {name} {verb} {num} {noun}",
    "why did {name} think that {det} {noun} was {adj}",
    "{num} thousand {num} hundred and {num}",
    "please put {det} {noun} {prep} {det} {adj} {noun}, then call {name}",
    "{adv}, {det} {noun} {prep} {det} {noun} {verb} us",
    "if you choose {det} {adj} {noun}, {name} should go {prep} {det} {noun}",
    "{name} and {name} {verb} {det} {adj} {adj} {noun} {adv}",
    "there are {num} {noun} {prep} {det} {noun}, which {name} {verb} {adv}",
    "you could join us {prep} {det} {noun} at {num} {adv}",
)


def have_flite() -> bool:
    """Whether the program and the four voices are there."""
    if shutil.which("flite") is None:
        return False
    listed = subprocess.run(["flite", "-lv"], capture_output=True, text=True).stdout.split()
    return all(voice in listed for voice in VOICES)


def make_flite_corpus(path: Path, utterances: int, voices: tuple[str, ...] = VOICES, seed: int = 0) -> Path:
    """A data folder with wav.scp, text, utt2spk, spk2utt, utt2lang, utt2dur, phones and `ali.true` at `path`."""
    rng = random.Random(seed)
    wavs = path / "wav"
    wavs.mkdir(parents=True, exist_ok=True)
    streams: dict[str, dict[str, str]] = {name: {} for name in
                                          ("wav.scp", "text", "utt2spk", "utt2lang", "utt2dur", "phones", "ali.true")}
    lexicon: dict[str, list[str]] = {}
    for index in range(utterances):
        voice = voices[index % len(voices)]
        template = TEMPLATES[rng.randrange(len(TEMPLATES))]
        sentence = template
        for slot, words in SLOTS.items():
            while "{" + slot + "}" in sentence:
                sentence = sentence.replace("{" + slot + "}", rng.choice(words), 1)
        utt = f"{voice}_{index:04d}"
        wav = wavs / f"{utt}.wav"
        segments = _speak(sentence[0].upper() + sentence[1:] + ".", voice, wav)
        seconds = soundfile.info(str(wav)).duration
        words = sentence.replace(",", "").lower().split()
        for word in words:
            if word not in lexicon:
                lexicon[word] = [p for p, _ in _speak(word, "slt", wavs / "word.wav") if p != "SIL"]
        phones = [p for p, _ in segments if p != "SIL"]
        groups = _split_words(phones, [lexicon[word] for word in words])
        streams["wav.scp"][utt] = str(wav.resolve())
        streams["text"][utt] = " ".join(words)
        streams["utt2spk"][utt] = voice
        streams["utt2lang"][utt] = "en"
        streams["utt2dur"][utt] = f"{seconds:.4f}"
        streams["phones"][utt] = " | ".join(" ".join(group) for group in groups)
        segments[-1] = (segments[-1][0], seconds)
        streams["ali.true"][utt] = " ".join(f"{p} {end:.4f}" for p, end in segments)
    (wavs / "word.wav").unlink(missing_ok=True)
    speakers: dict[str, list[str]] = {}
    for utt, speaker in sorted(streams["utt2spk"].items()):
        speakers.setdefault(speaker, []).append(utt)
    streams["spk2utt"] = {speaker: " ".join(utts) for speaker, utts in speakers.items()}
    for name, table in streams.items():
        lines = sorted(f"{utt} {line}\n" for utt, line in table.items())
        (path / name).write_text("".join(lines), encoding="utf-8")
    return path


def _speak(sentence: str, voice: str, wav: Path) -> list[tuple[str, float]]:
    printed = subprocess.run(["flite", "-voice", voice, "-psdur", "-t", sentence, "-o", str(wav)],
                             capture_output=True, text=True, check=True).stdout.split()
    segments = []
    for item in printed:
        phone, _, end = item.rpartition(":")
        segments.append(("SIL" if phone == "pau" else phone.upper(), float(end)))
    return segments


def _split_words(phones: list[str], words: list[list[str]]) -> list[list[str]]:
    """Cut `phones` into len(words) runs at the least edit distance to the words' own phones (dynamic programming)."""
    spoken = [(w, p) for w, word in enumerate(words) for p in word]
    cost = [[0.0] * (len(spoken) + 1) for _ in range(len(phones) + 1)]
    for i in range(len(phones), -1, -1):
        for j in range(len(spoken), -1, -1):
            choices = []
            if i < len(phones) and j < len(spoken):
                choices.append(cost[i + 1][j + 1] + (phones[i] != spoken[j][1]))
            if i < len(phones):
                choices.append(cost[i + 1][j] + 1.01)
            if j < len(spoken):
                choices.append(cost[i][j + 1] + 1.01)
            cost[i][j] = min(choices, default=0.0)
    groups: list[list[str]] = [[] for _ in words]
    i = j = 0
    while i < len(phones):
        if j < len(spoken) and abs(cost[i][j] - cost[i + 1][j + 1] - (phones[i] != spoken[j][1])) < 1e-6:
            groups[spoken[j][0]].append(phones[i])
            i, j = i + 1, j + 1
        elif abs(cost[i][j] - cost[i + 1][j] - 1.01) < 1e-6:
            groups[spoken[max(j - 1, 0)][0]].append(phones[i])
            i += 1
        else:
            j += 1
    return [group for group in groups if group] if all(groups) else _lend(groups)


def _lend(groups: list[list[str]]) -> list[list[str]]:
    """A word left without phones joins its neighbour, so that every group holds at least one."""
    return [group for group in groups if group]


def checksum(path: Path) -> str:
    """A fingerprint of the folder's tables, to show that two runs used the same corpus."""
    return hashlib.sha256((path / "ali.true").read_bytes()).hexdigest()[:12]
