"""torchaudio's bundles of released weights, "torchaudio:HUBERT_BASE" and the like: HuBERT, wav2vec 2.0 and WavLM.

torchaudio fetches the weights over the network when a bundle is first asked for, and keeps them. Its names are turned into
those of transformers' format, so that `speechrep.released` does the rest for both.
"""

import torch
from torch import nn

from speechrep.config import build, plain
from speechrep.data.features import FeatureConfig
from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Method, find_method
from speechrep.released import RATE_HZ, fill, rates

PREFIX = "torchaudio:"


def is_bundle(spec: str) -> bool:
    """Whether `spec` names a bundle."""
    return str(spec).startswith(PREFIX)


def bundles() -> list[str]:
    """The names that torchaudio has and that are known here, without models fine-tuned to recognise."""
    import torchaudio.pipelines as pipelines
    return [name for name in sorted(dir(pipelines)) if _method_of(name) and "_ASR_" not in name]


def load_bundle(spec: str, features: Inventory | None = None) -> Method:
    """The model of a bundle, in eval mode; `features` as in `released.load_released`. Raises `SpeechrepError` for a name
    that torchaudio does not have and where the weights cannot be fetched."""
    name, model, unit_audio = fetch(spec)
    return from_torchaudio(model, _method_of(name), unit_audio, features)


def start_from_bundle(method: Method, spec: str) -> None:
    """Put the encoder's weights of a bundle into `method`, which must be of the same kind and sizes."""
    name, model, _ = fetch(spec)
    if type(method).__module__.rpartition(".")[2] != _method_of(name):
        raise SpeechrepError(f"{spec} for another method", f"method: {_method_of(name)}")
    fill(method, _weights(model), spec)


def fetch(spec: str) -> tuple[str, nn.Module, bool]:
    """(name, torchaudio's model, whether samples are brought to unit variance first)."""
    import torchaudio.pipelines as pipelines
    name = spec.removeprefix(PREFIX)
    if name not in bundles():
        raise SpeechrepError(f"{spec}: no such bundle", f"{PREFIX} and one of {', '.join(bundles())}")
    try:
        model = getattr(pipelines, name).get_model(dl_kwargs={"weights_only": True})
    except OSError as error:
        raise SpeechrepError(f"{spec}: its weights cannot be fetched ({error})", "a reachable network",
                             "on a machine without one, give a folder in transformers' format") from None
    return name, getattr(model, "model", model), hasattr(model, "model")


def from_torchaudio(model: nn.Module, name: str, unit_audio: bool = False, features: Inventory | None = None) -> Method:
    """torchaudio's `Wav2Vec2Model` as the method `name`, in eval mode, with its sizes and weights."""
    inventory = Inventory(features=plain(FeatureConfig())) if features is None else features
    cls = find_method(name)
    method = cls(build(cls.Config, _sizes(model) | {"front": "wave", "unit_audio": unit_audio} | rates(inventory, RATE_HZ),
                       name), inventory)
    fill(method, _weights(model), f"{PREFIX}{name}")
    return method.eval()


def _method_of(name: str) -> str:
    return next((method for method in ("hubert", "wav2vec2", "wavlm") if name.startswith(f"{method.upper()}_")), "")


def _sizes(model: nn.Module) -> dict:
    convs = model.feature_extractor.conv_layers
    transformer = model.encoder.transformer
    block = transformer.layers[0]
    gated = hasattr(block.attention, "num_buckets")
    return {"kernels": tuple(layer.conv.kernel_size[0] for layer in convs),
            "strides": tuple(layer.conv.stride[0] for layer in convs),
            "front_dim": convs[0].conv.out_channels, "front_bias": convs[0].conv.bias is not None,
            "front_norm": "group" if isinstance(convs[0].layer_norm, nn.GroupNorm) else "layer",
            "dim": model.encoder.feature_projection.projection.out_features, "layers": len(transformer.layers),
            "heads": block.attention.num_heads, "ffn_dim": block.feed_forward.intermediate_dense.out_features,
            "norm_first": block.layer_norm_first, "position_kernel": transformer.pos_conv_embed.conv.kernel_size[0],
            "position_groups": transformer.pos_conv_embed.conv.groups} | (
                {"buckets": block.attention.num_buckets, "farthest": block.attention.max_distance} if gated else {})


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("encoder.feature_projection.", "feature_projection.").replace("encoder.transformer.", "encoder.")
        name = name.replace("attention.attention.", "attention.")
        if ".attention.in_proj_" in name:
            for one, part in zip(("q_proj", "k_proj", "v_proj"), tensor.chunk(3)):
                renamed[name.replace("in_proj_", f"{one}.")] = part
        else:
            renamed[name] = tensor
    return renamed
