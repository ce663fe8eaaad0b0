"""Released models of the wav2vec 2.0 family in transformers' folder format, to and fro.

A folder holds `config.json` and the weights as `model.safetensors` or `pytorch_model.bin`; both are read without
running code from them. HuBERT, WavLM, wav2vec 2.0 and data2vec-audio of any size become the method of the same name;
what transformers has beyond it (heads, a bias on attention's keys, which softmax cannot feel) is left aside.

With the norm of the base sizes ("group") transformers takes statistics over padding too, so that its features of a
padded batch differ from those of the utterances alone; here they are always those of the utterance alone.
"""

import json
from pathlib import Path
from typing import Any

import torch

from speechrep.config import build, plain
from speechrep.data.features import FeatureConfig
from speechrep.data.inventory import Inventory
from speechrep.data.safetensors import read_safetensors, write_safetensors
from speechrep.errors import SpeechrepError
from speechrep.files import write_json
from speechrep.methods.base import Method, find_method
from speechrep.train import checkpoint

METHODS = {"wav2vec2": "wav2vec2", "hubert": "hubert", "wavlm": "wavlm", "data2vec-audio": "data2vec"}
"""transformers' `model_type` -> the method here."""
PREFIXES = ("wav2vec2.", "hubert.", "wavlm.", "data2vec_audio.")
"""What stands before the names of a model that was saved with a head."""
BODY = ("feature_extractor.", "feature_projection.", "encoder.", "masked_spec_embed")
RATE_HZ = 16000
HEARD = "preprocessor_config.json"
"""What a folder says of the samples."""

SIZES = {"layers": "num_hidden_layers", "dim": "hidden_size", "heads": "num_attention_heads",
         "ffn_dim": "intermediate_size", "kernels": "conv_kernel", "strides": "conv_stride", "front_bias": "conv_bias",
         "position_groups": "num_conv_pos_embedding_groups", "dropout": "hidden_dropout",
         "attention_dropout": "attention_dropout", "activation_dropout": "activation_dropout",
         "input_dropout": "feat_proj_dropout", "layerdrop": "layerdrop"}
"""Our field -> transformers', for all of them."""
OWN = {"hubert": {"position_kernel": "num_conv_pos_embeddings", "norm_first": "do_stable_layer_norm"},
       "wav2vec2": {"position_kernel": "num_conv_pos_embeddings", "norm_first": "do_stable_layer_norm",
                    "groups": "num_codevector_groups", "codes": "num_codevectors_per_group",
                    "code_dim": "codevector_dim", "joint_dim": "proj_codevector_dim"},
       "wavlm": {"position_kernel": "num_conv_pos_embeddings", "norm_first": "do_stable_layer_norm",
                 "buckets": "num_buckets", "farthest": "max_bucket_distance"},
       "data2vec": {"position_kernel": "conv_pos_kernel_size", "position_layers": "num_conv_pos_embeddings"}}
"""And for one of them."""
FIXED = {"hidden_act": "gelu", "feat_extract_activation": "gelu", "layer_norm_eps": 1e-5, "feat_proj_layer_norm": True,
         "conv_pos_batch_norm": False, "add_adapter": False}
"""What our models have no choice of; a folder that says otherwise is refused."""


def is_released(path: str | Path) -> bool:
    """Whether `path` is a folder in transformers' format."""
    return (Path(path) / "config.json").is_file()


def load_released(path: str | Path, features: Inventory | None = None) -> Method:
    """The model in a folder, in eval mode. `features`: the dump whose settings its samples follow, by default of 16 kHz;
    where the model was made for another rate (preprocessor_config.json, else 16 kHz), it brings them to its own. A folder
    of another kind of model is a `SpeechrepError`."""
    folder = Path(path)
    said = _read_json(folder / "config.json")
    name = METHODS.get(said.get("model_type", ""))
    if name is None:
        raise SpeechrepError(f"{folder}: a model of type {said.get('model_type')}", f"one of {', '.join(METHODS)}")
    inventory = Inventory(features=plain(FeatureConfig())) if features is None else features
    heard = _read_json(folder / HEARD) if (folder / HEARD).is_file() else {"do_normalize": False}
    config = _our_config(folder, name, said, bool(heard.get("do_normalize", True)))
    cls = find_method(name)
    method = cls(build(cls.Config, config | rates(inventory, heard.get("sampling_rate", RATE_HZ)), f"{folder}/config.json"),
                 inventory)
    fill(method, _read_weights(folder), folder)
    return method.eval()


def rates(inventory: Inventory, front_rate_hz: int) -> dict[str, int]:
    """What a configuration says where the audio is not of the rate that the model was made for."""
    audio_rate_hz = inventory.features["rate_hz"]
    return {} if audio_rate_hz == front_rate_hz else {"audio_rate_hz": audio_rate_hz, "front_rate_hz": front_rate_hz}


def start_from(method: Method, path: str | Path) -> None:
    """Put the weights of a checkpoint of ours, of the same method and sizes, or of a folder in transformers' format
    into `method`. A folder gives the encoder, to wav2vec 2.0 the quantiser too where it has one, and to methods with a
    teacher the teacher too; heads stay as they are."""
    if is_released(path):
        if getattr(method.config, "front", "") != "wave":
            raise SpeechrepError(f"{path} for {_name(method)} that does not hear the waveform", "model.front: wave",
                                 "start from a checkpoint of the same front end, or train without --start")
        return fill(method, _read_weights(Path(path)), path)
    content = checkpoint.load(path)
    if content["method"] != _name(method):
        raise SpeechrepError(f"{path}: a checkpoint of {content['method']}", f"one of {_name(method)}")
    try:
        method.load_state_dict(content["model"])
    except RuntimeError as error:
        raise SpeechrepError(f"{path}: weights of other sizes ({str(error).splitlines()[1].strip()})",
                             "those of the model configured") from None


def _name(method: Method) -> str:
    return type(method).__module__.rpartition(".")[2]


def fill(method: Method, weights: dict[str, torch.Tensor], where: str | Path) -> None:
    """Put weights under transformers' names into `method`; `where` they are from stands in errors. Missing, unknown or
    misshapen ones are a `SpeechrepError`."""
    theirs = _strip(weights)
    ours = dict(method.named_parameters())
    pairs = _pairs(method)
    heads = {a: b for a, b in _head_pairs(method).items() if b in theirs}
    if "masked_spec_embed" not in theirs:
        pairs.pop("encoder.hidden_vector")  # a model that was never masked has none
    missing = [b for b in pairs.values() if b not in theirs]
    ignored = {b for b in theirs if b.endswith(".k_proj.bias")}
    if getattr(method.config, "front_norm", "") == "group":
        ignored.add("feature_extractor.conv_layers.0.conv.bias")  # which the norm takes out again
    unknown = [b for b in theirs if b.startswith(BODY) and b not in set(pairs.values()) | ignored]
    if missing or unknown:
        raise SpeechrepError(f"{where}: weights without {missing[:3]}, and with {unknown[:3]}",
                             f"those of {_name(method)} of the sizes configured")
    with torch.no_grad():
        for a, b in (pairs | heads).items():
            if ours[a].numel() != theirs[b].numel():
                raise SpeechrepError(f"{where}: {b} of shape {list(theirs[b].shape)}", f"{list(ours[a].shape)}",
                                     "set model's sizes to those of its config.json")
            ours[a].copy_(theirs[b].view(ours[a].shape))
        if hasattr(method, "teacher"):
            method.teacher.trunk.load_state_dict(method.encoder.trunk.state_dict())


def export(method: Method, path: str | Path) -> None:
    """Write `method` as a folder that transformers' AutoModel loads; its encoder must hear the waveform."""
    c, name = method.config, _name(method)
    kinds = {ours: theirs for theirs, ours in METHODS.items()}
    if name not in kinds or c.front != "wave":
        raise SpeechrepError(f"{name} that hears {getattr(c, 'front', 'something else')}",
                             f"one of {', '.join(kinds)} with front: wave", "only these have a counterpart there")
    wanted = {"hubert": "conv", "wav2vec2": "conv", "wavlm": "conv", "data2vec": "stack"}[name]
    if c.local or c.positions != wanted or name == "data2vec" and (c.front_norm != "layer" or c.norm_first):
        raise SpeechrepError(f"{name} with local {c.local}, positions {c.positions}, front_norm {c.front_norm}",
                             "what its paper has",
                             "transformers knows no other")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    kind = kinds[name]
    architecture = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel", "wavlm": "WavLMModel",
                    "data2vec": "Data2VecAudioModel"}[name]
    sizes = {theirs: plain(getattr(c, ours)) for ours, theirs in (SIZES | OWN[name]).items()}
    write_json(folder / "config.json", {
        "model_type": kind, "architectures": [architecture], "torch_dtype": "float32", **sizes,
        "conv_dim": [c.front_dim] * len(c.kernels), "num_feat_extract_layers": len(c.kernels),
        **({} if name == "data2vec" else {"feat_extract_norm": c.front_norm}),
        "hidden_act": "gelu", "feat_extract_activation": "gelu", "layer_norm_eps": 1e-5})
    write_json(folder / HEARD, {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "padding_side": "right",
        "padding_value": 0.0, "sampling_rate": c.front_rate_hz or method.inventory.features["rate_hz"],
        "do_normalize": c.unit_audio, "return_attention_mask": c.front_norm == "layer"})
    ours = dict(method.named_parameters())
    tensors = {b: ours[a].detach().float() for a, b in _pairs(method).items()}
    for b in [b for b in tensors if b.endswith(".q_proj.bias")]:
        tensors[b.replace("q_proj", "k_proj")] = torch.zeros_like(tensors[b])
    if c.front_norm == "group" and c.front_bias:
        tensors["feature_extractor.conv_layers.0.conv.bias"] = torch.zeros(c.front_dim)
    if name == "wavlm":
        for i in range(c.layers):
            key = f"encoder.layers.{i}.attention.gru_rel_pos_const"
            tensors[key] = tensors[key].view(1, -1, 1, 1)
    write_safetensors(folder / "model.safetensors", tensors)


def _our_config(folder: Path, name: str, said: dict[str, Any], unit_audio: bool) -> dict[str, Any]:
    for key, wanted in FIXED.items():
        if said.get(key, wanted) != wanted:
            raise SpeechrepError(f"{folder}/config.json: {key} {said[key]}", f"{key} {wanted}",
                                 "such a model is not known here")
    channels = said.get("conv_dim", [512])
    if len(set(channels)) != 1:
        raise SpeechrepError(f"{folder}/config.json: conv_dim {channels}", "as many channels in each layer")
    fields = {ours: said[theirs] for ours, theirs in (SIZES | OWN[name]).items() if theirs in said}
    return fields | {"front": "wave", "front_dim": channels[0],
                     "front_norm": "layer" if name == "data2vec" else said.get("feat_extract_norm", "group"),
                     "unit_audio": unit_audio,
                     **({"top": min(8, said.get("num_hidden_layers", 12))} if name == "data2vec" else {})}


def _pairs(method: Method) -> dict[str, str]:
    """Our name of each of the encoder's parameters -> transformers'."""
    c = method.config
    pairs = {"encoder.hidden_vector": "masked_spec_embed"}

    def both(ours: str, theirs: str, kinds: tuple[str, ...] = ("weight", "bias")) -> None:
        pairs.update({f"{ours}.{kind}": f"{theirs}.{kind}" for kind in kinds})

    skipped = int(c.front_norm == "group")
    for i in range(len(c.kernels)):
        conv = f"feature_extractor.conv_layers.{i}"
        pairs[f"encoder.front.weights.{i}"] = f"{conv}.conv.weight"
        if c.front_bias and i >= skipped:
            pairs[f"encoder.front.biases.{i - skipped}"] = f"{conv}.conv.bias"
        if not skipped or i == 0:
            pairs |= {f"encoder.front.gains.{i}": f"{conv}.layer_norm.weight",
                      f"encoder.front.shifts.{i}": f"{conv}.layer_norm.bias"}
    both("encoder.norm", "feature_projection.layer_norm")
    both("encoder.project", "feature_projection.projection")
    both("encoder.trunk.norm", "encoder.layer_norm")
    if c.positions == "conv":
        both("encoder.trunk.positions.conv", "encoder.pos_conv_embed.conv",
             ("bias", "parametrizations.weight.original0", "parametrizations.weight.original1"))
    else:
        for i in range(c.position_layers):
            both(f"encoder.trunk.positions.convs.{i}", f"encoder.pos_conv_embed.layers.{i}.conv")
    gated = method.encoder.trunk.relative is not None
    for i in range(c.layers):
        ours, theirs = f"encoder.trunk.blocks.{i}", f"encoder.layers.{i}"
        for a, b in (("query", "q_proj"), ("value", "v_proj"), ("out", "out_proj")):
            both(f"{ours}.attention.{a}", f"{theirs}.attention.{b}")
        both(f"{ours}.attention.key", f"{theirs}.attention.k_proj", ("weight",))
        both(f"{ours}.attention_norm", f"{theirs}.layer_norm")
        both(f"{ours}.ffn_norm", f"{theirs}.final_layer_norm")
        both(f"{ours}.ffn_in", f"{theirs}.feed_forward.intermediate_dense")
        both(f"{ours}.ffn_out", f"{theirs}.feed_forward.output_dense")
        if gated:
            both(f"{ours}.attention.gate", f"{theirs}.attention.gru_rel_pos_linear")
            pairs[f"{ours}.attention.gate_scale"] = f"{theirs}.attention.gru_rel_pos_const"
    if gated:
        pairs["encoder.trunk.relative.table.weight"] = "encoder.layers.0.attention.rel_attn_embed.weight"
    return pairs


def _head_pairs(method: Method) -> dict[str, str]:
    """What transformers' pretraining model of wav2vec 2.0 has beside the encoder."""
    if not hasattr(method, "project_target"):
        return {}
    pairs = {"quantizer.codebook": "quantizer.codevectors"}
    for ours, theirs in (("quantizer.logits", "quantizer.weight_proj"), ("project_prediction", "project_hid"),
                         ("project_target", "project_q")):
        pairs |= {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    return pairs


def _strip(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names without the model's own prefix, and the weight norm of older versions under today's names."""
    renamed = {}
    for name, tensor in weights.items():
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        for old, new in (("conv.weight_g", "original0"), ("conv.weight_v", "original1")):
            if name.endswith(old):
                name = name.removesuffix(old) + f"conv.parametrizations.weight.{new}"
        renamed[name] = tensor.float() if tensor.is_floating_point() else tensor
    return renamed


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    for index, read in (("model.safetensors", read_safetensors), ("pytorch_model.bin", _read_bin)):
        if (folder / index).is_file():
            return read(folder / index)
        if (folder / f"{index}.index.json").is_file():
            files = set(_read_json(folder / f"{index}.index.json")["weight_map"].values())
            if any(Path(file).name != file for file in files):
                raise SpeechrepError(f"{folder}/{index}.index.json: files outside the folder", "names of files in it")
            return {name: tensor for file in sorted(files) for name, tensor in read(folder / file).items()}
    raise SpeechrepError(f"{folder}: no weights", "model.safetensors or pytorch_model.bin",
                         "download them into the folder")


def _read_bin(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a bad file
        raise SpeechrepError(f"{path}: not readable as tensors alone ({str(error).partition(chr(10))[0]})",
                             "a whole file that runs no code", "copy it again, or take model.safetensors") from None
    return {name: tensor for name, tensor in content.items() if torch.is_tensor(tensor)}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", "a folder in transformers' format") from None
    except ValueError as error:
        raise SpeechrepError(f"{path}: not readable as JSON ({error})", cure="copy it again") from None
    if not isinstance(content, dict):
        raise SpeechrepError(f"{path}: a {type(content).__name__}", "a mapping")
    return content
