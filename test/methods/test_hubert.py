"""HuBERT's own: its loss against torchaudio's, units at another rate, guards."""

import pytest
import torch
import torch.nn.functional as F

from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods import hubert
from speechrep.nn.unit_labels import labels_at

INVENTORY = Inventory(features={"kind": "logmel", "rate_hz": 16000, "hop_samples": 160}, mean=(0.0,) * 4,
                      std=(1.0,) * 4)
SMALL = dict(front_dim=16, layers=2, dim=32, heads=4, ffn_dim=48, position_kernel=8, position_groups=4, dropout=0.0,
             attention_dropout=0.0, input_dropout=0.0, layerdrop=0.0, front_gradient=1.0, codes=9, joint_dim=12)


def small(**changes) -> hubert.Method:
    torch.manual_seed(0)
    return hubert.Method(hubert.Config(**SMALL | changes), INVENTORY)


def peer(method: hubert.Method):
    """torchaudio's pretraining model with our weights."""
    from torchaudio.models.wav2vec2.model import hubert_pretrain_model

    from speechrep.released import _pairs
    c = method.config
    model = hubert_pretrain_model(
        "group_norm" if c.front_norm == "group" else "layer_norm",
        [(c.front_dim, kernel, stride) for kernel, stride in zip(c.kernels, c.strides)], c.front_bias, c.dim, 0.0,
        c.position_kernel, c.position_groups, c.layers, c.heads, 0.0, c.ffn_dim, 0.0, 0.0, c.norm_first, 0.0, 0.8,
        "static", 0.0, 10, False, 1, 0.0, "static", 0.0, 10, False, 1, False, True, c.codes, c.joint_dim, None)
    ours = dict(method.named_parameters())
    state = {"mask_generator.mask_embedding": ours["encoder.hidden_vector"], "logit_generator.label_embeddings":
             ours["head.codes"], "logit_generator.final_proj.weight": ours["head.project.weight"],
             "logit_generator.final_proj.bias": ours["head.project.bias"]}
    for a, b in _pairs(method).items():
        if b.startswith("encoder."):
            b = "encoder.transformer." + b.removeprefix("encoder.")
        elif b.startswith("feature_projection."):
            b = "encoder." + b
        if b != "masked_spec_embed":
            state["wav2vec2." + b] = ours[a]
    missing = model.load_state_dict({name: tensor.detach() for name, tensor in state.items()}, strict=False)
    assert not missing.unexpected_keys and all(name.endswith("k_proj.bias") for name in missing.missing_keys)
    for name, parameter in model.named_parameters():
        if name.endswith("k_proj.bias"):
            torch.nn.init.zeros_(parameter)
    return model, state


@pytest.mark.parametrize("changes, lengths", [({}, [6400, 6400]),
                                              ({"front_norm": "layer", "front_bias": True, "norm_first": True},
                                               [6400, 4100])])
def test_losses_and_gradients_are_those_of_torchaudio(changes, lengths):
    method = small(**changes)
    torch.manual_seed(1)
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    model, ours = peer(method)
    lengths = torch.tensor(lengths)
    audio = torch.randn(2, 6400) * (torch.arange(6400) < lengths[:, None])
    frames = method.frame_lengths(lengths)
    labels = torch.randint(9, (2, int(frames.max())))
    drawn = []
    model.mask_generator.register_forward_hook(lambda module, given, out: drawn.append(out[1]))
    logits, _, penalty = model(audio, labels, None if len(set(lengths.tolist())) == 1 else lengths)
    # torchaudio puts the true unit first and leaves it out of the rest.
    truth = torch.zeros(len(logits), dtype=torch.long)
    theirs = F.cross_entropy(logits, truth, reduction="sum")
    batch = {"audio": audio, "audio_lengths": lengths, "hidden": drawn[0], "labels": labels}
    sums, counts = method(batch), method.counts(batch)
    assert counts["masked"] == len(logits)
    torch.testing.assert_close(sums["masked"], theirs, rtol=1e-5, atol=1e-3)
    if lengths[0] == lengths[1]:  # they average over padding too
        torch.testing.assert_close(sums["penalty"] / counts["penalty"], penalty, rtol=1e-5, atol=1e-6)
    sums["masked"].backward()
    theirs.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, parameter in ours.items():
        wanted = gradients[name]
        torch.testing.assert_close(parameter.grad, wanted.view_as(parameter), rtol=1e-4,
                                   atol=1e-4 * float(wanted.abs().max()), msg=name)


def test_a_frame_takes_the_unit_of_its_middle():
    units = torch.arange(100)[None].repeat(2, 1)
    lengths = torch.tensor([100, 3])
    # The waveform's frame n is centred at 12.5 ms + n * 20 ms, log-mel's of stride 2 at 5 ms + n * 20 ms.
    wave = small().encoder.centres(4, 160, 16000)
    assert wave.tolist() == pytest.approx([0.0125, 0.0325, 0.0525, 0.0725])
    assert labels_at(units, lengths, 100, wave).tolist() == [[1, 3, 5, 7], [1, 2, 2, 2]]
    assert labels_at(units, lengths, 50, wave)[0].tolist() == [0, 1, 2, 3]
    assert labels_at(units, lengths, 25, wave)[0].tolist() == [0, 0, 1, 1]
    mel = small(front="mel").encoder.centres(3, 160, 16000)
    assert mel.tolist() == pytest.approx([0.005, 0.025, 0.045])
    assert labels_at(units, lengths, 100, mel)[0].tolist() == [0, 2, 4]


def test_units_that_do_not_fit_are_refused():
    method = small(unit_rate_hz=50)
    batch = {"audio": torch.zeros(1, 32000), "audio_lengths": torch.tensor([32000]), "seeds": torch.tensor([1]),
             "units": torch.zeros(1, 199, dtype=torch.long), "units_lengths": torch.tensor([199])}
    with pytest.raises(SpeechrepError, match="99.5 a second(.|\n)*50 units a second(.|\n)*unit_rate_hz"):
        method.prepare(batch, torch.Generator())
    fitting = batch | {"units": torch.full((1, 99), 9), "units_lengths": torch.tensor([99])}
    with pytest.raises(SpeechrepError, match="a unit 9"):
        method.prepare(fitting, torch.Generator())
    prepared = method.prepare(fitting | {"units": fitting["units"] - 1}, torch.Generator())
    assert prepared["labels"].unique().tolist() == [8]


def test_frames_that_are_not_hidden_do_not_count():
    method = small().eval()
    batch = {"audio": torch.randn(1, 16000), "audio_lengths": torch.tensor([16000]), "seeds": torch.tensor([1]),
             "units": torch.randint(9, (1, 50)), "units_lengths": torch.tensor([50])}
    batch = method.prepare(batch, torch.Generator())
    other = batch["labels"].where(batch["hidden"], (batch["labels"] + 1) % 9)
    assert torch.equal(method(batch)["masked"], method(batch | {"labels": other})["masked"])


def test_a_collapse_stops_the_run():
    method = small(guard_steps=10)
    healthy = {"accuracy": 0.3, "majority": 0.2, "guessed_perplexity": 1.2}
    assert method.collapsed(healthy, 10) is None
    fallen = healthy | {"accuracy": 0.2, "guessed_perplexity": 1.01}
    assert "1.01" in method.collapsed(fallen, 10) and method.collapsed(fallen, 9) is None


def test_defaults_are_the_paper_s_base():
    method = hubert.Method(hubert.Config(codes=100), INVENTORY)
    # torchaudio's hubert_pretrain_base(num_classes=100), without the biases on the keys of 12 layers.
    assert sum(p.numel() for p in method.parameters()) == 94_594_176 - 12 * 768

def test_visible_frames_are_guessed_where_that_is_asked_for():
    method = small(visible=True, front="mel")
    torch.manual_seed(1)
    lengths = torch.tensor([40, 26])
    feats = torch.randn(2, 40, 4)
    hidden = torch.arange(20) % 3 == torch.tensor([[0], [1]])
    hidden[1, 13:] = False
    batch = {"feats": feats, "feats_lengths": lengths, "hidden": hidden, "labels": torch.randint(9, (2, 20))}
    sums, counts = method(batch), method.counts(batch)
    last, rows, _ = method.encode(batch)
    logits = rows.unpack(method.head(last))
    for name, picked in (("masked", hidden), ("visible", rows.inside & ~hidden)):
        wanted = sum(-logits[b, n].log_softmax(-1)[batch["labels"][b, n]] for b, n in picked.nonzero().tolist())
        torch.testing.assert_close(sums[name], wanted)
        assert counts[name] == picked.sum()
    plain = small(front="mel")
    plain.load_state_dict(method.state_dict())
    assert set(plain.losses["main"]) == {"masked", "penalty"}
    torch.testing.assert_close(plain(batch)["masked"], sums["masked"])
