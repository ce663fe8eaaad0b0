"""Models in transformers' format against transformers itself, randomly initialised."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import torchaudio
from toy_corpus import make_corpus

from speechrep.bin import main
from speechrep.config import plain, read_yaml, write_yaml
from speechrep.data.features import FeatureConfig
from speechrep.data.inventory import Inventory
from speechrep.data.safetensors import read_safetensors, write_safetensors
from speechrep.errors import SpeechrepError
from speechrep.methods.base import find_method
from speechrep.released import export, load_released, start_from
from speechrep.train import checkpoint
from speechrep.train.pretrain import pretrain
from speechrep.upstream import Upstream

transformers = pytest.importorskip("transformers")

SMALL = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, conv_dim=[16] * 7,
             num_feat_extract_layers=7)
CONV = dict(num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4)
LARGE = dict(feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)
GATED = dict(num_buckets=12, max_bucket_distance=9)
MODELS = {"hubert": ("Hubert", CONV), "hubert_large": ("Hubert", CONV | LARGE),
          "hubert_biased": ("Hubert", CONV | {"conv_bias": True}),
          "wav2vec2": ("Wav2Vec2", CONV), "wav2vec2_large": ("Wav2Vec2", CONV | LARGE),
          "wavlm": ("WavLM", CONV | GATED), "wavlm_large": ("WavLM", CONV | GATED | LARGE),
          "data2vec": ("Data2VecAudio", dict(conv_pos_kernel_size=5, num_conv_pos_embeddings=2,
                                             num_conv_pos_embedding_groups=4))}
LENGTHS = torch.tensor([6000, 3300, 4500])
TELEPHONE = Inventory(features=plain(FeatureConfig(rate_hz=8000, hop_samples=80, win_samples=200)))


def shake(module: torch.nn.Module) -> None:
    """Weights at which every part has a say in what comes out."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3 if parameter.ndim < 3 else 0.15)


def make(name: str):
    family, sizes = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**SMALL | sizes)
    model = getattr(transformers, f"{family}Model")(config).eval()
    shake(model)
    return model


def audio() -> torch.Tensor:
    x = torch.randn(3, 6000, generator=torch.Generator().manual_seed(1))
    return x * (torch.arange(6000) < LENGTHS[:, None])


def states(model, *args, **kwargs) -> list[torch.Tensor]:
    """The input of their first layer and every layer's output, the last one as it leaves the model: with norms before
    the branches there is one more behind the last layer, which some versions leave out of `hidden_states`."""
    out = model(*args, output_hidden_states=True, **kwargs)
    return [*out.hidden_states[:-1], out.last_hidden_state]


@torch.no_grad()
def agree(method, model) -> None:
    """Ours in a padded batch against theirs: each utterance alone and, where their model is meant to be used with an
    attention mask, in the same padded batch. Their group norm and their stacked positions mix padding in."""
    x = audio()
    ours, lengths = method.layers({"audio": x, "audio_lengths": LENGTHS})
    assert lengths.tolist() == model._get_feat_extract_output_lengths(LENGTHS).tolist()
    for row, (samples, frames) in enumerate(zip(LENGTHS.tolist(), lengths.tolist())):
        alone = states(model, x[row:row + 1, :samples])
        for a, b in zip(ours, alone, strict=True):
            torch.testing.assert_close(a[row, :frames], b[0], atol=1e-4, rtol=1e-4)
            assert not a[row, frames:].any()
    if getattr(model.config, "feat_extract_norm", "") == "layer":
        mask = (torch.arange(6000) < LENGTHS[:, None]).long()
        padded = states(model, x, attention_mask=mask)
        inside = torch.arange(ours[0].shape[1]) < lengths[:, None]
        for a, b in zip(ours, padded, strict=True):
            torch.testing.assert_close(a[inside], b[inside], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_theirs_loaded_here(name, form, tmp_path):
    model = make(name)
    model.save_pretrained(tmp_path)
    if form == "bin":
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    agree(load_released(tmp_path), model)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_ours_loaded_there(name, tmp_path):
    make(name).save_pretrained(tmp_path / "theirs")
    method = load_released(tmp_path / "theirs")
    shake(method)
    if hasattr(method, "teacher"):
        method.teacher.trunk.load_state_dict(method.encoder.trunk.state_dict())
    export(method, tmp_path / "ours")
    model, report = transformers.AutoModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert type(model).__name__ == f"{MODELS[name][0]}Model"
    agree(method, model.eval())
    back = load_released(tmp_path / "ours")
    assert back.config == method.config
    for key, value in method.encoder.state_dict().items():
        assert torch.equal(back.encoder.state_dict()[key], value), key


def test_a_model_with_a_head_and_old_names(tmp_path):
    """wav2vec 2.0's pretraining model: prefixed names, weight norm of older versions, the quantiser comes along."""
    config = transformers.Wav2Vec2Config(**SMALL | CONV, codevector_dim=16, num_codevectors_per_group=6)
    model = transformers.Wav2Vec2ForPreTraining(config).eval()
    shake(model)
    model.save_pretrained(tmp_path)
    old = {key.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1",
                                                                               "weight_v"): value
           for key, value in model.state_dict().items()}
    assert old.keys() != model.state_dict().keys()
    (tmp_path / "model.safetensors").unlink()
    torch.save(old, tmp_path / "pytorch_model.bin")
    method = load_released(tmp_path)
    agree(method, model.wav2vec2)
    assert torch.equal(method.quantizer.codebook.flatten(0, 1), model.quantizer.codevectors[0])
    assert torch.equal(method.project_target.weight, model.project_q.weight)


def test_a_method_starts_from_a_folder(tmp_path):
    model = make("data2vec")
    model.save_pretrained(tmp_path)
    cls = find_method("data2vec")
    loaded = load_released(tmp_path)
    torch.manual_seed(5)
    fresh = cls(loaded.config, loaded.inventory)
    head = fresh.head.weight.clone()
    start_from(fresh, tmp_path)
    for key, value in loaded.encoder.state_dict().items():
        assert torch.equal(fresh.encoder.state_dict()[key], value)
    assert torch.equal(fresh.teacher.trunk.norm.weight, fresh.encoder.trunk.norm.weight)
    assert torch.equal(fresh.head.weight, head)
    mel = cls(dataclasses.replace(loaded.config, front="mel"),
              Inventory(features=loaded.inventory.features, mean=(0.0,), std=(1.0,)))
    with pytest.raises(SpeechrepError, match="front: wave"):
        start_from(mel, tmp_path)


def test_the_verb_that_exports(tmp_path, capsys):
    """A checkpoint as transformers loads it; of a model that it does not know, nothing."""
    loaded = loaded_hubert(tmp_path)
    content = checkpoint.content_of("hubert", loaded, loaded.state_dict())
    checkpoint.save(tmp_path / "best.pt", content)
    assert main(["export", "--checkpoint", str(tmp_path / "best.pt"), "--out", str(tmp_path / "ours")]) == 0
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        alone = {"audio": audio()[:1], "audio_lengths": LENGTHS[:1]}
        torch.testing.assert_close(loaded.layers(alone)[0][-1], states(theirs, alone["audio"])[-1], atol=1e-4, rtol=1e-4)
    method = find_method("hubert")(dataclasses.replace(loaded.config, local=True), loaded.inventory)
    checkpoint.save(tmp_path / "local.pt", checkpoint.content_of("hubert", method, method.state_dict()))
    assert main(["export", "--checkpoint", str(tmp_path / "local.pt"), "--out", str(tmp_path / "none")]) == 1
    assert "transformers knows no other" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_method_starts_from_a_checkpoint(tmp_path):
    loaded = loaded_hubert(tmp_path)
    checkpoint.save(tmp_path / "best.pt", checkpoint.content_of("hubert", loaded, loaded.state_dict()))
    fresh = find_method("hubert")(loaded.config, loaded.inventory)
    assert not torch.equal(fresh.head.codes, loaded.head.codes)
    start_from(fresh, tmp_path / "best.pt")
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), loaded.parameters(), strict=True))
    other = find_method("hubert")(dataclasses.replace(loaded.config, layers=2), loaded.inventory)
    with pytest.raises(SpeechrepError, match="weights of other sizes"):
        start_from(other, tmp_path / "best.pt")
    checkpoint.save(tmp_path / "other.pt", checkpoint.content_of("wavlm", loaded, {}))
    with pytest.raises(SpeechrepError, match="a checkpoint of wavlm"):
        start_from(fresh, tmp_path / "other.pt")


def test_pretraining_starts_where_it_is_told(tmp_path):
    corpus = make_corpus(tmp_path, {"train": 4, "dev": 2})
    small = read_yaml(Path(__file__).parent / "methods/small/hubert.yaml")["model"]

    def run(exp: str, lr: float, start: Path | None = None) -> dict:
        write_yaml(tmp_path / f"{exp}.yaml", {
            "method": "hubert", "model": small, "weights": {"masked": 1.0, "penalty": 0.0},
            "train": {"steps": 2, "lr": lr, "warmup": 0, "precision": "fp32"}})
        pretrain(tmp_path / f"{exp}.yaml", corpus / "data/train", corpus / "data/dev", corpus / "dump/logmel",
                 tmp_path / exp, device="cpu", start=start, load_start=start_from)
        return torch.load(tmp_path / exp / "last.pt", weights_only=True)["model"]

    first = run("first", 1e-3)
    second = run("second", 0.0, tmp_path / "first/last.pt")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert read_yaml(tmp_path / "second/config.yaml")["start"] == str(tmp_path / "first/last.pt")
    assert any(not torch.equal(first[key], value) for key, value in run("third", 0.0).items())


def test_a_folder_is_an_upstream(tmp_path):
    method = loaded_hubert(tmp_path)
    upstream = Upstream.open(str(tmp_path / "theirs"))
    assert upstream.needs == ("audio",) and upstream.dims == (32,) * 4
    assert upstream.hop_samples == upstream.stride == 320 and upstream.rate_hz == 16000
    given = {"audio": audio(), "audio_lengths": LENGTHS}
    with torch.no_grad():
        for a, b in zip(upstream.layers(given)[0], method.layers(given)[0], strict=True):
            assert torch.equal(a, b)


def loaded_hubert(folder):
    make("hubert").save_pretrained(folder / "theirs")
    return load_released(folder / "theirs")


def test_the_audio_is_normalised_where_the_folder_says_so(tmp_path):
    make("hubert").save_pretrained(tmp_path)
    assert not load_released(tmp_path).config.unit_audio
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": true, "sampling_rate": 16000}')
    method = load_released(tmp_path)
    assert method.config.unit_audio
    x, lengths = audio(), {"audio_lengths": LENGTHS}
    with torch.no_grad():
        for a, b in zip(method.layers({"audio": x} | lengths)[0], method.layers({"audio": 3 * x} | lengths)[0]):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind, said", [("hubert", None), ("data2vec", {"do_normalize": True, "sampling_rate": 16000})])
def test_audio_of_another_rate_is_brought_to_the_models(kind, said, tmp_path):
    """Telephone speech: what the model gives for it at 16 kHz, with and without padding; written and read as before."""
    make(kind).save_pretrained(tmp_path / "theirs")
    if said:
        (tmp_path / "theirs/preprocessor_config.json").write_text(json.dumps(said))
    at_16k = load_released(tmp_path / "theirs")
    upstream = Upstream.open(str(tmp_path / "theirs"), TELEPHONE)
    assert upstream.rate_hz == 8000 and upstream.hop_samples == upstream.stride == 160
    audio_8k, lengths = audio(), LENGTHS
    audio_16k = torchaudio.functional.resample(audio_8k, 8000, 16000) * (torch.arange(12000) < 2 * lengths[:, None])
    with torch.no_grad():
        found, frames = upstream.layers({"audio": audio_8k, "audio_lengths": lengths})
        wanted, _ = at_16k.layers({"audio": audio_16k, "audio_lengths": 2 * lengths})
        assert torch.equal(frames, upstream.frame_lengths(lengths))
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        alone, _ = upstream.layers({"audio": audio_8k[1:2, :3300], "audio_lengths": lengths[1:2]})
        for a, b in zip(found, alone, strict=True):
            torch.testing.assert_close(a[1, :frames[1]], b[0], atol=1e-4, rtol=1e-4)
    centres = [method.encoder.centres(50, 80, rate) for method, rate in ((upstream.method, 8000), (at_16k, 16000))]
    assert torch.equal(*centres)
    export(upstream.method, tmp_path / "ours")
    assert json.loads((tmp_path / "ours/preprocessor_config.json").read_text())["sampling_rate"] == 16000
    again = Upstream.open(str(tmp_path / "ours"), TELEPHONE)
    with torch.no_grad():
        for a, b in zip(found, again.layers({"audio": audio_8k, "audio_lengths": lengths})[0], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_model_made_at_8_khz_hears_8_khz(tmp_path):
    """And what is of 16 kHz is brought down for it."""
    make("hubert").save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false, "sampling_rate": 8000}')
    assert load_released(tmp_path, TELEPHONE).config.front_rate_hz == 0
    method = load_released(tmp_path)
    assert (method.config.audio_rate_hz, method.config.front_rate_hz) == (16000, 8000)
    assert Upstream.open(str(tmp_path)).hop_samples == 640


@pytest.mark.parametrize("spoil, message", [
    (lambda said: said.update(model_type="bert"), "a model of type bert"),
    (lambda said: said.update(hidden_act="relu"), "hidden_act relu"),
    (lambda said: said.update(conv_dim=[16] * 6 + [8]), "as many channels"),
    (lambda said: said.update(num_hidden_layers=4), "weights without"),
    (lambda said: said.update(num_hidden_layers=2), "and with"),
    (lambda said: said.update(intermediate_size=40), "of shape"),
    (lambda said: said.update(hidden_size=33), "must be a multiple"),
])
def test_a_folder_that_does_not_fit_is_refused(spoil, message, tmp_path):
    make("hubert").save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    spoil(said)
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(SpeechrepError, match=message):
        load_released(tmp_path)


def test_folders_that_lack_or_hide_something(tmp_path):
    make("hubert").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SpeechrepError, match="no weights"):
        load_released(tmp_path)

    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    torch.save({"x": Bomb()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SpeechrepError, match="runs no code"):
        load_released(tmp_path)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(SpeechrepError, match="a list"):
        load_released(tmp_path)


def test_safetensors_against_the_package_and_cut_files(tmp_path):
    peer = pytest.importorskip("safetensors.torch")
    tensors = {"a": torch.randn(2, 3), "b": torch.randn(4).bfloat16(), "c": torch.tensor([True, False]),
               "d": torch.tensor(7), "e": torch.zeros(0, 2).half(), "f": torch.randn(3, 4).T}
    write_safetensors(tmp_path / "ours", tensors)
    peer.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "theirs")
    for read in (peer.load_file(tmp_path / "ours"), read_safetensors(tmp_path / "theirs"),
                 read_safetensors(tmp_path / "ours")):
        assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype
                   for name, tensor in tensors.items())
    whole = (tmp_path / "ours").read_bytes()
    for bad in (whole[:-3], whole[:20], b"", b"\xff" * 40, whole[:8] + b"x" * (len(whole) - 8)):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(SpeechrepError, match="safetensors"):
            read_safetensors(tmp_path / "bad")
    with pytest.raises(SpeechrepError, match="no such file"):
        read_safetensors(tmp_path / "none")
