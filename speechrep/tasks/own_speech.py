"""A person's own text and recordings through a trained system: what the verbs synthesize, convert and transcribe do."""

from pathlib import Path

import numpy as np
import torch

from speechrep.config import build
from speechrep.data.audio import read_wav, resample
from speechrep.data.features import FeatureConfig, build_features
from speechrep.data.standardise import BY_SPEAKER, BY_UTTERANCE, standardised
from speechrep.data.text.normalise import normalise
from speechrep.data.text.phonemize import Phonemizer
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch, Method
from speechrep.tasks.generate import between_silences
from speechrep.vocoder.neural import Vocoder


def feature_config(method: Method) -> FeatureConfig:
    """The features that a method was trained on."""
    return build(FeatureConfig, method.inventory.features, "feature settings of the checkpoint")


def _recording(path: str | Path, config: FeatureConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples [N * hop] at the features' rate and features [N, D] of a recording of any rate."""
    samples, rate_hz = read_wav(path)
    samples = resample(samples, rate_hz, config.rate_hz)
    feats = build_features(config)(samples)
    if len(feats) < 10:
        raise SpeechrepError(f"{path}: {len(samples) / config.rate_hz:.3f} s of audio", "at least a tenth of a second",
                             "name a longer recording")
    wanted = len(feats) * config.hop_samples
    return torch.from_numpy(np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))), torch.from_numpy(feats)


def features_of(path: str | Path, config: FeatureConfig) -> torch.Tensor:
    """The features [N, D] of a recording of any rate. Too short a recording is a `SpeechrepError`."""
    return _recording(path, config)[1]


def _single(feats: torch.Tensor, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    return feats[None].to(device), torch.tensor([len(feats)], device=device)


def phones_of(text: str, lang: str, method: Method, lexicon: str | None = None) -> list[str]:
    """The phones that a text is spoken with, by the phonemisers that training used, in the method's inventory.

    Silence stands at both ends. A phone that training never heard is a `SpeechrepError` that lists all such phones.
    """
    g2p = method.inventory.g2p
    if g2p and lang not in g2p:
        raise SpeechrepError(f"the language {lang}", f"one that the checkpoint was trained on: {', '.join(sorted(g2p))}")
    words = Phonemizer(g2p or None, lexicon).phones(normalise(text, lang), lang)
    phones = between_silences(words)
    unknown = sorted({phone for phone in phones if method.inventory.phone_id(phone) is None})
    if unknown or not words:
        raise SpeechrepError(f"'{text}' has the phones {' '.join(unknown)}" if unknown else "an empty text",
                             "phones that the checkpoint was trained on", "spell the words another way, or use --lexicon")
    return phones


@torch.no_grad()
def synthesize(text: str, lang: str, prompt: str | Path, method: Method, duration: Method, vocoder: Vocoder,
               seed: int = 0, lexicon: str | None = None, device: str = "cpu") -> np.ndarray:
    """Speak `text` in the voice of the recording `prompt`: samples [T] at the vocoder's rate."""
    phones = phones_of(text, lang, method, lexicon)
    if duration.inventory.phones != method.inventory.phones:
        raise SpeechrepError("a duration model with other phones than the checkpoint's",
                             "both trained on the same data folder")
    ids = torch.tensor([[method.inventory.phone_id(phone) for phone in phones]], device=device)
    lengths = torch.tensor([len(phones)], device=device)
    voice = _single(features_of(prompt, feature_config(method)), device)
    frames = duration.durations(ids, lengths, *voice, torch.Generator().manual_seed(seed))
    mel, _ = method.synthesize(ids, lengths, frames, *voice)
    return vocoder(mel[0])


@torch.no_grad()
def convert(source: str | Path, prompt: str | Path, method: Method, vocoder: Vocoder, device: str = "cpu") -> np.ndarray:
    """Say what the recording `source` says in the voice of the recording `prompt`: samples [T] at the vocoder's rate."""
    config = feature_config(method)
    samples, feats = _recording(source, config)
    heard = feats if method.needs[0] == "feats" else samples
    mel = method.convert(*_single(heard, device), *_single(features_of(prompt, config), device))
    return vocoder(mel[0])


def one_recording(path: str | Path, method: Method, device: str = "cpu") -> Batch:
    """A recording as a batch of one, features and samples. Where the method wants features by utterance or speaker, all that
    is known of the voice is this recording."""
    samples, feats = _recording(path, feature_config(method))
    if not {BY_UTTERANCE, BY_SPEAKER}.isdisjoint(method.needs):
        feats = torch.from_numpy(standardised(feats.numpy(), None, method.inventory))
    samples, feats = _single(samples, device), _single(feats, device)
    return {"utts": [str(path)], "feats": feats[0], "feats_lengths": feats[1], "audio": samples[0],
            "audio_lengths": samples[1]}
