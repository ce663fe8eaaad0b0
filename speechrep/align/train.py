"""Training of the aligner on a corpus itself, from flat start."""

import hashlib
import sys
from collections import Counter

import numpy as np
import torch
from tqdm import tqdm

from speechrep.align.gmm import flat_start, reestimate, split
from speechrep.align.hmm import FAR, STATES, pdfs
from speechrep.align.model import OTHER, AlignConfig, Aligned, Aligner, Features, base_phone, phone_words
from speechrep.data.audio import AudioReader
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError

MAX_TRAIN_SEC = 30.0
"""Utterances longer than this are aligned, but not trained on."""
REJECT = 0.5
"""Closer to 0 rejects more: at 0.4, one of 500 clean utterances, of an odd voice, was lost."""
MIN_TOKENS = 4
"""Phones with fewer tokens in the training part share the model of all speech."""


def choose(folder: DataFolder, max_min: float, seed: int) -> list[str]:
    """Up to `max_min` minutes of utterances, in turns from each speaker and language, in an order drawn by `seed`."""
    phones, seconds = folder.read("phones"), folder.seconds
    speaker = folder.read("utt2spk") if folder.has("utt2spk") else {}
    lang = folder.read("utt2lang") if folder.has("utt2lang") else {}
    groups: dict[tuple, list[str]] = {}
    for utt in folder.utts:
        words = phone_words(phones.get(utt, ""))
        count = sum(map(len, words))
        if count and seconds[utt] <= MAX_TRAIN_SEC and seconds[utt] > count * STATES * 0.006:
            groups.setdefault((speaker.get(utt), lang.get(utt)), []).append(utt)
    if not groups:
        raise SpeechrepError(f"{folder.path}: no utterance with phones and audio to train on", "a stream 'phones'",
                             "run speechrep phonemize first")
    ranked = []
    for name, utts in sorted(groups.items(), key=str):
        utts.sort(key=lambda utt: hashlib.sha256(f"{seed} {utt}".encode()).digest())
        total = 0.0
        for utt in utts:
            ranked.append((total, str(name), utt))
            total += seconds[utt]
    chosen, left = [], max_min * 60
    for _, _, utt in sorted(ranked):
        if left <= 0:
            break
        chosen.append(utt)
        left -= seconds[utt]
    return sorted(chosen)


def train(folder: DataFolder, config: AlignConfig, seed: int = 0, allow_pipes: bool = False,
          threads: int = 1) -> Aligner:
    """Train an aligner on (at most `config.max_train_min` minutes of) a data folder with the stream `phones`.

    The result depends on the data, the configuration and the seed, not on `threads`. Raises `SpeechrepError` if there
    is nothing to train on.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            return _train(folder, config, seed, allow_pipes, threads)
    finally:
        torch.set_num_threads(before)


def _train(folder: DataFolder, config: AlignConfig, seed: int, allow_pipes: bool, threads: int) -> Aligner:
    utts = choose(folder, config.max_train_min, seed)
    lines = folder.read("phones")
    rate_hz = config.rate_hz or min(16000, AudioReader(folder, allow_pipes=allow_pipes).read(utts[0])[1])
    count = Counter(base_phone(p) for utt in utts for word in phone_words(lines[utt]) for p in word)
    units = [OTHER, *sorted(phone for phone, n in count.items() if n >= MIN_TOKENS and phone != OTHER)]
    reader = AudioReader(folder, rate_hz=rate_hz, allow_pipes=allow_pipes)
    generator = torch.Generator().manual_seed(seed)
    model = Aligner(config, rate_hz, units, None)
    feats, chains, phones = [], [], []
    for utt in tqdm(utts, "align: features", file=sys.stderr, mininterval=5):
        x, item = model.features(reader.read(utt)[0]), model.chain(lines[utt])
        if len(x[0]) >= item.min_frames and torch.isfinite(x[0]).all():
            feats.append(x)
            chains.append(item)
            phones.append(lines[utt])
    if not feats:
        raise SpeechrepError(f"{folder.path}: every utterance is shorter than its phones", "audio that says its text")
    cepstra, bonus = [x for x, _ in feats], [x for _, x in feats]
    gmm = flat_start(cepstra, len(units) + 1, 0.9)
    steps = len(config.scales) + config.splits * config.split_iterations
    with tqdm(total=steps, desc="align: training", file=sys.stderr, mininterval=5) as bar:
        for scale in config.scales:
            gmm, fit = reestimate(gmm, cepstra, bonus, chains, scale, config.silence, threads=threads)
            bar.update()
        frames = np.zeros(len(gmm.stay))
        for item, x in zip(chains, cepstra):
            states = pdfs(item.unit)
            np.add.at(frames, states, len(x) / len(states))
        for _ in range(config.splits):
            gmm = split(gmm, frames, 30.0, generator)
            for _ in range(config.split_iterations):
                gmm, fit = reestimate(gmm, cepstra, bonus, chains, config.scales[-1], config.silence, threads=threads)
                bar.update()
    if not np.isfinite(fit).all():
        raise SpeechrepError(f"{folder.path}: the aligner's training diverged", "finite likelihoods",
                             "run speechrep check on the folder")
    model.gmm = gmm
    model.limit, model.usual = reject_limit(model, feats, phones)
    return model


def reject_limit(model: Aligner, feats: list[Features], phones: list[str], utterances: int = 200) -> tuple[float, float]:
    """The score per frame below which a text does not fit: REJECT of the way from the median score of the utterances
    with their own phones to the median with those of others; and that first median."""
    step = -(-len(feats) // utterances)
    own = list(range(0, len(feats), step))
    pairs = [(i, next((j for j in own[k + len(own) // 2:] + own if phones[j] != phones[i]), -1))
             for k, i in enumerate(own)]
    pairs = [(i, j) for i, j in pairs if j >= 0]
    right = [r.score for r in model.align([feats[i] for i in own], [phones[i] for i in own]) if isinstance(r, Aligned)]
    wrong = [r.score for r in model.align([feats[i] for i, _ in pairs], [phones[j] for _, j in pairs])
             if isinstance(r, Aligned)]
    if len(right) < 5 or len(wrong) < 5:
        return FAR, 0.0
    usual = float(np.median(right))
    return usual - REJECT * max(0.0, usual - float(np.median(wrong))), usual
