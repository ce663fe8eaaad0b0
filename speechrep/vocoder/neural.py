"""Vocoders by name or path: Griffin-Lim, ours, and the released layouts of Vocos and HiFi-GAN.

What a path may be:
    griffin-lim              no path: no training, always there
    exp/.../best.pt          what `speechrep pretrain` wrote for the method `vocos`
    a folder or file with pytorch_model.bin and config.yaml beside it (Vocos, for instance charactr/vocos-mel-24khz)
    a file with `generator` weights and config.json beside it (HiFi-GAN, for instance UNIVERSAL_V1)
Weights are read as tensors and plain values; code in a file is never run.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio

from speechrep.config import build, read_yaml
from speechrep.data.features import FeatureConfig, slaney_mel
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.nn.fourier_vocoder import FourierVocoder, spread_bands
from speechrep.nn.hifigan import HifiGan, merge_weight_norm
from speechrep.vocoder.griffin_lim import check_log_mel, griffin_lim, mel_to_magnitude

GRIFFIN_LIM = "griffin-lim"

Mel = np.ndarray | torch.Tensor


class Vocoder:
    """Log-mel features of an utterance, raw [N, D] -> samples, float32 [N * hop] at `rate_hz`.

    Calls are deterministic, and an utterance sounds the same alone and among others.
    """

    def __init__(self, name: str, features: FeatureConfig, samples_of: Callable[[torch.Tensor], torch.Tensor],
                 device: str | torch.device = "cpu"):
        self.name, self.features, self.rate_hz = name, features, features.rate_hz
        self._samples_of, self._device = samples_of, torch.device(device)

    @classmethod
    def load(cls, path: str | Path, features: FeatureConfig, device: str | torch.device = "cpu") -> "Vocoder":
        """The vocoder at `path` (see the top of the file) for features computed as `features` says.

        A `SpeechrepError` if there is none, if the file is corrupt or foreign, or if it was trained on other features
        (rate, hop, window, bands).
        """
        if features.kind != "logmel":
            raise SpeechrepError(f"features of kind {features.kind}", "logmel", "a vocoder needs a log-mel dump")
        if str(path) == GRIFFIN_LIM:
            return cls(GRIFFIN_LIM, features, lambda mel: griffin_lim(mel, features), device)
        path = Path(path)
        weights = _find_weights(path)
        content = _read(weights)
        if isinstance(content.get("method"), str):
            samples_of = _ours(weights, content, features, device)
        elif isinstance(content.get("generator"), dict):
            samples_of = _hifigan(weights, content["generator"], features, device)
        elif "head.out.weight" in content:
            samples_of = _vocos(weights, content, features, device)
        else:
            raise SpeechrepError(f"{weights}: not a vocoder that is known here ({_some(content)})",
                                 "a checkpoint of the method vocos, or the released layout of Vocos or HiFi-GAN")
        return cls(str(path), features, samples_of, device)

    def __call__(self, mel: Mel) -> np.ndarray:
        """Samples, float32 [N * hop], of one utterance [N, D]; a `SpeechrepError` if D is another or a value is NaN."""
        mel = torch.as_tensor(mel, dtype=torch.float32)
        check_log_mel(mel, self.features)
        if len(mel) == 0:
            return np.zeros(0, np.float32)
        with torch.inference_mode():
            return self._samples_of(mel.to(self._device)).float().cpu().numpy()

    def many(self, mels: Sequence[Mel]) -> list[np.ndarray]:
        """The samples of several utterances."""
        return [self(mel) for mel in mels]


def _find_weights(path: Path) -> Path:
    """The file of weights that `path`, a file or a folder, means."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise SpeechrepError(f"{path}: no such file or folder", f"'{GRIFFIN_LIM}' or a vocoder's checkpoint",
                             "train one with `method: vocos`, or check the path")
    found = [path / name for name in ("best.pt", "pytorch_model.bin") if (path / name).is_file()]
    found = found or sorted({*path.glob("generator*"), *path.glob("g_*")})
    if len(found) != 1:
        raise SpeechrepError(f"{path}: {len(found) or 'no'} files of weights{_some(p.name for p in found)}",
                             "best.pt, pytorch_model.bin, or one generator", "name the file itself")
    return found[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a bad file
        first_line = str(error).partition("\n")[0]
        raise SpeechrepError(f"{path}: not readable as tensors and plain values ({first_line})",
                             "weights of a vocoder", "copy it again") from None
    if not isinstance(content, dict):
        raise SpeechrepError(f"{path}: a {type(content).__name__}", "a mapping of names to weights")
    return content


def _ours(path: Path, content: dict[str, Any], features: FeatureConfig, device) -> Callable:
    if content["method"] != "vocos":
        raise SpeechrepError(f"{path}: a checkpoint of the method {content['method']}", "of the method vocos",
                             f"name a vocoder, or '{GRIFFIN_LIM}'")
    config, inventory = content["config"], content["inventory"]
    trained_on = build(FeatureConfig, inventory["features"], f"{path}: features")
    _check(path, features, {field.name: getattr(trained_on, field.name) for field in fields(FeatureConfig)})
    head_fft = config["head_fft"] or features.n_fft
    network = FourierVocoder(
        features.dim, config["dim"], config["hidden_dim"], config["layers"], head_fft, features.hop_samples,
        config["kernel"], torch.tensor(inventory["mean"] or [0.0] * features.dim),
        torch.tensor(inventory["std"] or [1.0] * features.dim).clamp_min(1e-3),
        spread_bands(_bands(features, head_fft)) if config["guess"] else None)
    state = {key.removeprefix("generator."): value for key, value in content["model"].items()
             if key.startswith("generator.")}
    _fill(path, network, state, device)
    return lambda mel: network(mel[None])[0]


def _hifigan(path: Path, state: dict[str, torch.Tensor], features: FeatureConfig, device) -> Callable:
    config = read_json(_beside(path, "config.json"))
    try:
        _check(path, features, {
            "rate_hz": config["sampling_rate"], "hop_samples": config["hop_size"], "win_samples": config["win_size"],
            "n_fft": config["n_fft"], "n_mels": config["num_mels"], "low_hz": config["fmin"],
            "high_hz": config["fmax"] or config["sampling_rate"] / 2})
        network = HifiGan(config["num_mels"], config["upsample_rates"], config["upsample_kernel_sizes"],
                          config["upsample_initial_channel"], config["resblock_kernel_sizes"],
                          config["resblock_dilation_sizes"], short=str(config["resblock"]) == "2")
    except KeyError as error:
        raise SpeechrepError(f"{path.parent / 'config.json'}: no key {error}", "the config.json of HiFi-GAN") from None
    _fill(path, network, merge_weight_norm(state), device)
    return lambda mel: network(mel[None])[0]


def _vocos(path: Path, state: dict[str, torch.Tensor], features: FeatureConfig, device) -> Callable:
    """A released Vocos. Where its bands are others than ours (the first release: HTK's scale, height one), they are
    computed from the bins' magnitudes that our bands imply, at the same rate, hop, window and band count."""
    where = _beside(path, "config.yaml")
    config = read_yaml(where)
    try:
        mel, backbone, head = (config[key]["init_args"] for key in ("feature_extractor", "backbone", "head"))
        rate_hz, n_fft, hop = mel["sample_rate"], mel["n_fft"], mel["hop_length"]
        theirs = state.get("feature_extractor.mel_spec.mel_scale.fb")
        if theirs is None:
            theirs = torchaudio.functional.melscale_fbanks(
                n_fft // 2 + 1, mel.get("f_min", 0), mel.get("f_max") or rate_hz / 2, mel["n_mels"], rate_hz,
                mel.get("norm"), mel.get("mel_scale", "htk"))
        _check(path, features, {"rate_hz": rate_hz, "hop_samples": hop, "win_samples": n_fft, "n_fft": n_fft,
                                "n_mels": mel["n_mels"], "high_hz": _top_hz(theirs, rate_hz, features)})
        centred = head["padding"] == "center"
        network = FourierVocoder(mel["n_mels"], backbone["dim"], backbone["intermediate_dim"], backbone["num_layers"],
                                 head["n_fft"], head["hop_length"], centred=centred)
    except (KeyError, TypeError) as error:
        raise SpeechrepError(f"{where}: no {error}", "the config.yaml of a Vocos with MelSpectrogramFeatures and "
                             "ISTFTHead") from None
    _fill(path, network, {key: value for key, value in state.items()
                          if key.startswith(("backbone.", "head.out."))}, device)
    same = torch.allclose(theirs, _bands(features, features.n_fft), atol=1e-4)

    def samples_of(log_mel: torch.Tensor) -> torch.Tensor:
        if not same:
            bands = theirs.to(log_mel)
            log_mel = torch.log((mel_to_magnitude(log_mel, features) @ bands).clamp_min(1e-7))
        if not centred:
            return network(log_mel[None])[0]
        # A centred frame i lies on sample i * hop, ours half a hop later. One frame more at each end gives
        # (N + 1) * hop samples, which start half a hop early.
        log_mel = torch.cat([log_mel[:1], log_mel, log_mel[-1:]])
        return network(log_mel[None])[0, hop // 2:][:(len(log_mel) - 2) * hop]

    return samples_of


def _check(path: Path, features: FeatureConfig, trained_on: dict[str, Any]) -> None:
    """A `SpeechrepError` that names each setting in which the features differ from those the vocoder knows."""
    wrong = {name: value for name, value in trained_on.items() if getattr(features, name) != value}
    if wrong:
        raise SpeechrepError(
            f"{path}: trained on other features", "; ".join(
                f"{name} {value} (the features have {getattr(features, name)})" for name, value in wrong.items()),
            f"dump log-mel features with these settings, or take '{GRIFFIN_LIM}'")


def _fill(path: Path, network: torch.nn.Module, state: dict[str, torch.Tensor], device) -> None:
    """Load `state` whole, and make `network` ready."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise SpeechrepError(f"{path}: other weights than its configuration says: {' '.join(lines)[:300]}",
                             "the configuration that belongs to the weights") from None
    network.to(device).eval().requires_grad_(False)


def _beside(path: Path, name: str) -> Path:
    if not (path.parent / name).is_file():
        raise SpeechrepError(f"{path.parent / name}: no such file", "the configuration beside the weights",
                             f"copy the {name} that came with {path.name}")
    return path.parent / name


def _bands(features: FeatureConfig, n_fft: int) -> torch.Tensor:
    return torch.from_numpy(slaney_mel(n_fft, features.n_mels, features.rate_hz, features.low_hz,
                                       features.high_hz)).float()


def _top_hz(bands: torch.Tensor, rate_hz: int, features: FeatureConfig) -> float:
    """Where the last of `bands` [n_fft / 2 + 1, D] ends: that of `features` where it is within two bins of it."""
    bin_hz = rate_hz / 2 / (len(bands) - 1)
    top = (int(bands.sum(1).nonzero().max()) + 1) * bin_hz
    return features.high_hz if abs(top - features.high_hz) <= 2 * bin_hz else top


def _some(names) -> str:
    names = [str(name) for name in names]
    return f": {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}" if names else ""
