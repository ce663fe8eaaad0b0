"""Vocoders from files: ours, and random weights in the released layouts of Vocos and HiFi-GAN."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml

from speechrep.config import plain
from speechrep.data.features import FeatureConfig, slaney_mel
from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.vocos import Config, Method
from speechrep.nn.fourier_vocoder import FourierVocoder
from speechrep.nn.hifigan import HifiGan
from speechrep.vocoder.griffin_lim import griffin_lim
from speechrep.vocoder.neural import Vocoder

FEATURES = FeatureConfig(rate_hz=8000, hop_samples=80, win_samples=256, n_mels=20)
RELEASED = FeatureConfig(rate_hz=24000, hop_samples=64, win_samples=256, n_mels=20)


def mel_of(features: FeatureConfig, frames: int = 30) -> torch.Tensor:
    return torch.randn(frames, features.dim, generator=torch.Generator().manual_seed(0)) - 3


def our_checkpoint(path, **changes):
    torch.manual_seed(0)
    config = Config(dim=16, hidden_dim=24, layers=2, adversarial=changes.pop("adversarial", False),
                    periods=(2,), period_channels=1, resolutions=(256,), resolution_channels=2, **changes)
    inventory = Inventory(features=dataclasses.asdict(FEATURES), mean=(-3.0,) * 20, std=(2.0,) * 20)
    method = Method(config, inventory).eval()
    torch.save({"format": "speechrep-1", "method": "vocos", "config": plain(config), "inventory": plain(inventory),
                "model": method.state_dict()}, path)
    return method


@pytest.mark.parametrize("changes", [{}, {"guess": True}, {"adversarial": True}, {"kernel": 5},
                                     {"head_fft": 160, "guess": True}])
def test_ours(tmp_path, changes):
    method = our_checkpoint(tmp_path / "best.pt", **changes)
    mel = mel_of(FEATURES)
    with torch.no_grad():
        expected = method.synthesize(mel[None], torch.tensor([30]))[0].numpy()
    for path in (tmp_path, tmp_path / "best.pt"):
        vocoder = Vocoder.load(path, FEATURES)
        made = vocoder(mel)
        assert made.dtype == np.float32 and made.shape == (30 * 80,) and vocoder.rate_hz == 8000
        np.testing.assert_allclose(made, expected, atol=1e-5)
    np.testing.assert_array_equal(vocoder.many([mel, mel[:7].numpy()])[1], vocoder(mel[:7]))
    assert vocoder(mel[:0]).shape == (0,)


def test_griffin_lim_by_name():
    mel = mel_of(FEATURES)
    np.testing.assert_array_equal(Vocoder.load("griffin-lim", FEATURES)(mel), griffin_lim(mel, FEATURES).numpy())


def vocos_release(folder, padding="same", **mel):
    """The layout of charactr/vocos-mel-24khz and of its descendants: config.yaml and pytorch_model.bin."""
    torch.manual_seed(0)
    kinds = {"feature_extractor": ("vocos.feature_extractors.MelSpectrogramFeatures",
                                   dict(sample_rate=24000, n_fft=256, hop_length=64, n_mels=20, padding=padding,
                                        **mel)),
             "backbone": ("vocos.models.VocosBackbone",
                          dict(input_channels=20, dim=16, intermediate_dim=24, num_layers=2)),
             "head": ("vocos.heads.ISTFTHead", dict(dim=16, n_fft=256, hop_length=64, padding=padding))}
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(
        {key: {"class_path": name, "init_args": values} for key, (name, values) in kinds.items()}))
    shapes = {"backbone.embed.weight": (16, 20, 7), "backbone.embed.bias": (16,), "head.out.weight": (258, 16),
              "head.out.bias": (258,), "backbone.norm.weight": (16,), "backbone.norm.bias": (16,),
              "backbone.final_layer_norm.weight": (16,), "backbone.final_layer_norm.bias": (16,)}
    for i in range(2):
        prefix = f"backbone.convnext.{i}."
        shapes |= {prefix + "gamma": (16,), prefix + "dwconv.weight": (16, 1, 7), prefix + "dwconv.bias": (16,),
                   prefix + "norm.weight": (16,), prefix + "norm.bias": (16,), prefix + "pwconv1.weight": (24, 16),
                   prefix + "pwconv1.bias": (24,), prefix + "pwconv2.weight": (16, 24), prefix + "pwconv2.bias": (16,)}
    state = {name: 0.2 * torch.randn(shape) for name, shape in shapes.items()}
    state |= {"head.istft.window": torch.hann_window(256),
              "feature_extractor.mel_spec.spectrogram.window": torch.hann_window(256)}
    torch.save(state, folder / "pytorch_model.bin")
    return state


def network_of(state, centred):
    network = FourierVocoder(20, 16, 24, 2, 256, 64, centred=centred)
    network.load_state_dict({key: value for key, value in state.items() if key.startswith(("backbone", "head.out"))})
    return network.eval()


def test_released_vocos_with_our_bands(tmp_path):
    """The layout of the releases made for HiFi-GAN's features: same alignment, same bands, so the network alone."""
    state = vocos_release(tmp_path / "v", "same", norm="slaney", mel_scale="slaney", f_min=0, f_max=12000)
    mel = mel_of(RELEASED)
    with torch.no_grad():
        expected = network_of(state, False)(mel[None])[0].numpy()
    made = Vocoder.load(tmp_path / "v", RELEASED)(mel)
    assert made.shape == (30 * 64,)
    np.testing.assert_allclose(made, expected, atol=1e-6)
    # Bands stored beside the weights overrule what the YAML leaves out.
    state = vocos_release(tmp_path / "v", "same")
    state["feature_extractor.mel_spec.mel_scale.fb"] = torch.from_numpy(slaney_mel(256, 20, 24000, 0, 12000)).float()
    torch.save(state, tmp_path / "v" / "pytorch_model.bin")
    np.testing.assert_allclose(Vocoder.load(tmp_path / "v", RELEASED)(mel), expected, atol=1e-6)


def test_released_vocos_with_other_bands_and_centred_frames(tmp_path):
    """charactr/vocos-mel-24khz has HTK's bands of height one and frames centred on multiples of the hop."""
    state = vocos_release(tmp_path / "v", "center")
    vocoder = Vocoder.load(tmp_path / "v" / "pytorch_model.bin", RELEASED)
    ours = torch.from_numpy(slaney_mel(256, 20, 24000, 0, 12000)).float()
    theirs = _htk(256, 20, 24000)
    # Of a flat spectrum both sets of bands are known exactly.
    mel = torch.log(0.5 * ours.sum(0)).expand(30, 20)
    with torch.no_grad():
        expected = network_of(state, True)(torch.log(0.5 * theirs.sum(0)).expand(1, 32, 20))[0, 32:32 + 30 * 64]
    made = vocoder(mel)
    assert made.shape == (30 * 64,)
    np.testing.assert_allclose(made, expected.numpy(), atol=0.02 * float(expected.abs().max()))


def _htk(n_fft, n_mels, rate_hz):
    """Triangles of height one between equal steps of 2595 log10(1 + f / 700)."""
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, n_mels + 2) / 2595) - 1)
    bins = np.arange(n_fft // 2 + 1)[:, None] * rate_hz / n_fft
    up, down = (bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]
    return torch.from_numpy(np.maximum(0, np.minimum(up, down))).float()


def hifigan_release(folder, resblock="1"):
    """The layout of jik876/hifi-gan: config.json and generator weights under weight normalisation."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    dilations = [[1, 3, 5], [1, 3, 5]] if resblock == "1" else [[1, 2], [2, 6]]
    (folder / "config.json").write_text(json.dumps({
        "resblock": resblock, "upsample_rates": [8, 4, 2], "upsample_kernel_sizes": [16, 8, 4],
        "upsample_initial_channel": 16, "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": dilations,
        "num_mels": 20, "n_fft": 256, "hop_size": 64, "win_size": 256, "sampling_rate": 24000, "fmin": 0,
        "fmax": 8000, "fmax_for_loss": None, "segment_size": 8192}))
    network = HifiGan(20, (8, 4, 2), (16, 8, 4), 16, (3, 5), dilations, short=resblock == "2").eval()
    state = {}
    for name, value in network.state_dict().items():
        if name.endswith("weight"):
            direction = torch.randn_like(value)
            length = torch.rand(len(value), 1, 1) + 0.5
            value.copy_(length * direction / direction.square().sum((1, 2), keepdim=True).sqrt())
            state |= {name + "_g": length, name + "_v": direction}
        else:
            state[name] = value
    torch.save({"generator": state}, folder / "generator_v1")
    return network, state


@pytest.mark.parametrize("resblock", ["1", "2"])
def test_released_hifigan(tmp_path, resblock):
    network, state = hifigan_release(tmp_path / "h", resblock)
    names = {"conv_pre.weight_g", "conv_pre.weight_v", "ups.2.weight_v", "conv_post.bias"}
    names |= {"resblocks.5.convs1.2.weight_g", "resblocks.5.convs2.2.weight_v"} if resblock == "1" \
        else {"resblocks.5.convs.1.weight_v"}
    assert names <= set(state)
    features = dataclasses.replace(RELEASED, high_hz=8000.0)
    mel = mel_of(features)
    with torch.no_grad():
        expected = network(mel[None])[0].numpy()
    made = Vocoder.load(tmp_path / "h", features)(mel)
    assert made.shape == (30 * 64,)
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_other_features_are_refused_by_name(tmp_path):
    our_checkpoint(tmp_path / "best.pt")
    hifigan_release(tmp_path / "h")
    vocos_release(tmp_path / "v")
    cases = [(tmp_path, FEATURES, "rate_hz", 16000), (tmp_path, FEATURES, "hop_samples", 64),
             (tmp_path, FEATURES, "n_mels", 40), (tmp_path, FEATURES, "high_hz", 3000.0),
             (tmp_path, FEATURES, "win_samples", 200), (tmp_path / "h", RELEASED, "n_mels", 20),
             (tmp_path / "v", RELEASED, "high_hz", 8000.0), (tmp_path / "v", RELEASED, "hop_samples", 80)]
    for path, features, name, value in cases:
        expected = "high_hz 8000" if path.name == "h" else name
        with pytest.raises(SpeechrepError, match=expected):
            Vocoder.load(path, dataclasses.replace(features, **{name: value}))
    with pytest.raises(SpeechrepError, match="fbank"):
        Vocoder.load("griffin-lim", FeatureConfig(kind="fbank"))
    with pytest.raises(SpeechrepError, match=r"\[N, 20\]"):
        Vocoder.load(tmp_path, FEATURES)(torch.zeros(5, 21))


def test_bad_files_are_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("code ran",))

    with pytest.raises(SpeechrepError, match="no such file"):
        Vocoder.load(tmp_path / "none.pt", FEATURES)
    with pytest.raises(SpeechrepError, match="no files of weights"):
        Vocoder.load(tmp_path, FEATURES)
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"generator": Trap()}, tmp_path / "trap.pt")
    for name in ("text.pt", "trap.pt"):
        with pytest.raises(SpeechrepError, match="not readable"):
            Vocoder.load(tmp_path / name, FEATURES)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(SpeechrepError, match="not a vocoder"):
        Vocoder.load(tmp_path / "other.pt", FEATURES)
    torch.save({"method": "ctap", "model": {}}, tmp_path / "ctap.pt")
    with pytest.raises(SpeechrepError, match="method ctap"):
        Vocoder.load(tmp_path / "ctap.pt", FEATURES)
    hifigan_release(tmp_path / "h")
    config = json.loads((tmp_path / "h" / "config.json").read_text())
    features = dataclasses.replace(RELEASED, high_hz=8000.0)
    (tmp_path / "h" / "config.json").write_text(json.dumps(config | {"upsample_initial_channel": 32}))
    with pytest.raises(SpeechrepError, match="other weights than its configuration"):
        Vocoder.load(tmp_path / "h", features)
    (tmp_path / "h" / "config.json").unlink()
    with pytest.raises(SpeechrepError, match="config.json: no such file"):
        Vocoder.load(tmp_path / "h", features)
