"""torchaudio's models, randomly initialised, against the methods that take their weights."""

import pytest
import torch
import torchaudio.models as models
import torchaudio.pipelines as pipelines
from test_released import LENGTHS, audio, shake

from speechrep import bundles
from speechrep.errors import SpeechrepError
from speechrep.extract import fingerprint
from speechrep.methods.base import find_method
from speechrep.upstream import Upstream

CONVS = [(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2]
SIZES = dict(extractor_conv_layer_config=CONVS, encoder_embed_dim=32, encoder_projection_dropout=0.1,
             encoder_pos_conv_kernel=8, encoder_pos_conv_groups=4, encoder_num_layers=3, encoder_num_heads=4,
             encoder_attention_dropout=0.1, encoder_ff_interm_features=48, encoder_ff_interm_dropout=0.0,
             encoder_dropout=0.1, encoder_layer_drop=0.05, aux_num_out=None)
BASE = dict(extractor_mode="group_norm", extractor_conv_bias=False, encoder_layer_norm_first=False)
LARGE = dict(extractor_mode="layer_norm", extractor_conv_bias=True, encoder_layer_norm_first=True)
GATED = dict(encoder_num_buckets=12, encoder_max_distance=9)
MODELS = {"HUBERT_BASE": (models.wav2vec2_model, SIZES | BASE), "HUBERT_LARGE": (models.wav2vec2_model, SIZES | LARGE),
          "WAV2VEC2_BASE": (models.wav2vec2_model, SIZES | BASE), "WAVLM_BASE": (models.wavlm_model, SIZES | BASE | GATED)}


def make(name):
    factory, sizes = MODELS[name]
    model = factory(**sizes).eval()
    shake(model)
    return model


@torch.no_grad()
def agree(method, model):
    """Every layer of every utterance, ours in a padded batch against theirs alone."""
    ours, lengths = method.layers({"audio": audio(), "audio_lengths": LENGTHS})
    for row, (samples, frames) in enumerate(zip(LENGTHS.tolist(), lengths.tolist())):
        theirs = model.extract_features(audio()[row:row + 1, :samples])[0]
        if method.config.norm_first:  # theirs leaves out the norm behind the last layer
            theirs[-1] = model.encoder.transformer.layer_norm(theirs[-1])
        for a, b in zip(ours[1:], theirs, strict=True):
            assert b.shape[1] == frames
            torch.testing.assert_close(a[row, :frames], b[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_layer_agrees(name, monkeypatch):
    """By the way a user goes, but for the download."""
    model = make(name)
    asked = {}

    def get_model(self, dl_kwargs=None):
        asked.update(dl_kwargs)
        return model

    monkeypatch.setattr(type(getattr(pipelines, name)), "get_model", get_model)
    upstream = Upstream.open(f"torchaudio:{name}")
    assert asked == {"weights_only": True}
    assert upstream.method.__class__ is find_method(name.split("_")[0].lower())
    assert upstream.dims == (32,) * 4 and upstream.hop_samples == 320
    agree(upstream.method, model)
    fresh = type(upstream.method)(upstream.method.config, upstream.inventory)
    bundles.start_from_bundle(fresh, f"torchaudio:{name}")
    agree(fresh.eval(), model)


def test_the_sizes_of_the_real_ones():
    """A bundle says itself how its samples are to be scaled, and has the sizes of its paper."""
    assert {"HUBERT_BASE", "HUBERT_LARGE", "WAV2VEC2_BASE", "WAVLM_BASE_PLUS", "WAVLM_LARGE"} <= set(bundles.bundles())
    assert not any("ASR" in name for name in bundles.bundles())
    with torch.device("meta"):
        sizes = bundles._sizes(models.wavlm_base())
    assert (sizes["layers"], sizes["dim"], sizes["heads"], sizes["ffn_dim"]) == (12, 768, 12, 3072)
    assert (sizes["position_kernel"], sizes["buckets"], sizes["farthest"], sizes["front_norm"]) == (128, 320, 800, "group")


def test_what_cannot_be(monkeypatch):
    with pytest.raises(SpeechrepError, match="torchaudio:HUBERT: no such bundle"):
        Upstream.open("torchaudio:HUBERT")
    digests = {fingerprint(f"torchaudio:{name}", None, None) for name in MODELS}
    assert len(digests) == len(MODELS)

    def get_model(self, dl_kwargs=None):
        raise OSError("no route")

    monkeypatch.setattr(type(pipelines.HUBERT_BASE), "get_model", get_model)
    with pytest.raises(SpeechrepError, match="cannot be fetched .no route."):
        Upstream.open("torchaudio:HUBERT_BASE")
