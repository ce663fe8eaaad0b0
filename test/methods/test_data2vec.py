"""data2vec's and MT4SSL's own: the teacher, its targets, both losses, guards."""

import pytest
import torch
import torch.nn.functional as F

from speechrep.data.inventory import Inventory
from speechrep.methods import data2vec, mt4ssl
from speechrep.nn.packing import Rows
from speechrep.nn.teacher import decay_at, instance_norm, spread

INVENTORY = Inventory(features={"kind": "logmel", "rate_hz": 16000, "hop_samples": 160}, mean=(0.0,) * 4,
                      std=(1.0,) * 4)
SMALL = dict(front="mel", front_dim=12, layers=3, dim=16, heads=2, ffn_dim=24, position_kernel=5, position_groups=2,
             position_layers=2, dropout=0.0, attention_dropout=0.0, layerdrop=0.0, top=2)


def small(**changes) -> data2vec.Method:
    torch.manual_seed(0)
    return data2vec.Method(data2vec.Config(**SMALL | changes), INVENTORY)


def both(**changes) -> mt4ssl.Method:
    torch.manual_seed(0)
    return mt4ssl.Method(mt4ssl.Config(**SMALL | {"codes": 7} | changes), INVENTORY)


def batch() -> dict:
    draw = torch.Generator().manual_seed(2)
    lengths = torch.tensor([120, 80])
    feats = torch.randn(2, 120, 4, generator=draw) * (torch.arange(120) < lengths[:, None])[..., None]
    return {"feats": feats, "feats_lengths": lengths, "seeds": torch.tensor([3, 4]),
            "units": torch.randint(7, (2, 60), generator=draw), "units_lengths": torch.tensor([60, 40])}


def test_decay_rises_and_stays():
    assert [decay_at(step, 0.999, 0.9999, 30000) for step in (0, 15000, 30000, 99999)] == \
        pytest.approx([0.999, 0.99945, 0.9999, 0.9999])


def test_the_teacher_follows_by_hand():
    method = small(first_decay=0.9, last_decay=0.5, decay_steps=4)
    before = {name: p.clone() for name, p in method.teacher.trunk.named_parameters()}
    with torch.no_grad():
        for parameter in method.encoder.trunk.parameters():
            parameter.add_(torch.randn(parameter.shape))
    method.after_step(1)  # 0.9 - 0.4 / 4
    students = dict(method.encoder.trunk.named_parameters())
    for name, parameter in method.teacher.trunk.named_parameters():
        wanted = students[name] if name.startswith("positions") else 0.8 * before[name] + 0.2 * students[name]
        torch.testing.assert_close(parameter, wanted)
        assert not parameter.requires_grad
    ours = {id(p) for p in method.phase_parameters("main")}
    assert not any(id(p) in ours for p in method.teacher.parameters())
    assert len(ours) == sum(p.requires_grad for p in method.parameters())


def test_the_teacher_is_never_in_training_and_sees_everything():
    method = small(dropout=0.5, layerdrop=0.5).train()
    assert not any(module.training for module in method.teacher.modules())
    x, rows = torch.randn(9, 16), Rows(torch.tensor([5, 4]))
    assert torch.equal(method.teacher.targets(x, rows), method.teacher.targets(x, rows))
    given = batch()
    one, other = (given | {"hidden": torch.arange(60).expand(2, 60) % 2 == half} for half in (0, 1))
    for prepared in (one, other):
        prepared["hidden"] = prepared["hidden"] & (torch.arange(60) < torch.tensor([[60], [40]]))
    frames, rows = method.encoder.hear(given)
    targets = method.teacher.targets(method.encoder.enter(frames)[1].detach(), rows)
    for prepared in (one, other):
        torch.testing.assert_close(method.predict(prepared)[1], targets[rows.pack(prepared["hidden"])])


def test_targets_are_the_mean_of_normed_feed_forward_outputs():
    method = small()
    caught = [[] for _ in range(3)]
    for block, list_ in zip(method.teacher.trunk.blocks, caught):
        block.ffn_out.register_forward_hook(lambda module, given, out, list_=list_: list_.append(out))
    x, rows = torch.randn(9, 16), Rows(torch.tensor([5, 4]))
    targets = method.teacher.targets(x, rows)
    wanted = sum(torch.cat([F.instance_norm(part.T[None])[0].T for part in layer[0].split([5, 4])])
                 for layer in caught[1:]) / 2
    torch.testing.assert_close(targets, wanted, atol=1e-5, rtol=1e-5)
    normed = instance_norm(x, rows)
    assert normed[:5].mean(0).abs().max() < 1e-6 and (normed[5:].std(0, correction=0) - 1).abs().max() < 1e-3


@torch.no_grad()
def test_losses_are_the_plain_loops():
    method = both().eval()
    prepared = method.prepare(batch(), torch.Generator())
    frames, rows = method.encoder.hear(prepared)
    x = method.encoder.enter(frames)[1]
    targets = rows.unpack(method.teacher.targets(x, rows))
    last = rows.unpack(method.encoder.trunk.rows(method.encoder.hide(x, rows.pack(prepared["hidden"])), rows)[0][-1])
    units = regression = 0.0
    for b in range(2):
        for n in prepared["hidden"][b].nonzero()[:, 0].tolist():
            logits = method.unit_head(last[b, n])
            units -= float(logits.log_softmax(0)[prepared["units"][b, n]])
            regression += float((method.regression_head(last[b, n]) - targets[b, n]).square().sum()) / 16 ** 0.5
    losses, counts = method(prepared), method.counts(prepared)
    assert float(losses["units"]) == pytest.approx(units, rel=1e-4)
    assert float(losses["regression"]) == pytest.approx(regression, rel=1e-4)
    assert counts["units"] == counts["regression"] == int(prepared["hidden"].sum())


@torch.no_grad()
def test_mt4ssl_without_units_is_data2vec():
    parent, child = small().eval(), both().eval()
    child.encoder.load_state_dict(parent.encoder.state_dict())
    child.teacher.load_state_dict(parent.teacher.state_dict())
    child.regression_head.load_state_dict(parent.head.state_dict())
    prepared = parent.prepare(batch(), torch.Generator())
    alike = child.prepare(batch(), torch.Generator())
    assert torch.equal(prepared["hidden"], alike["hidden"])
    torch.testing.assert_close(parent(prepared)["regression"], child(alike)["regression"])


def test_no_gradient_through_the_targets():
    method = small()
    prepared = method.prepare(batch(), torch.Generator())
    assert not method.predict(prepared)[1].requires_grad


def test_a_collapse_stops_the_run():
    method, child = small(guard_steps=10), both(guard_steps=10)
    healthy = {"target_std": 0.4, "prediction_std": 0.2}
    units = {"accuracy": 0.3, "majority": 0.2, "guessed_perplexity": 9.0}
    assert method.collapsed(healthy, 10) is None and child.collapsed(healthy | units, 10) is None
    for fallen, word in (({"target_std": 0.05}, "teacher"), ({"prediction_std": 0.001}, "student")):
        assert word in method.collapsed(healthy | fallen, 10) and word in child.collapsed(healthy | units | fallen, 10)
        assert method.collapsed(healthy | fallen, 9) is None
    assert "most frequent unit" in child.collapsed(healthy | units | {"accuracy": 0.2, "guessed_perplexity": 1.0}, 10)
    assert spread(torch.ones(5, 3)) == 0 and spread(torch.tensor([[1.0], [3.0]])) == 1
    # Predictions that are one vector are seen by the metrics.
    torch.nn.init.zeros_(method.head.weight)
    total, count = method.eval().metrics(method.prepare(batch(), torch.Generator()))["prediction_std"]
    assert total / count == pytest.approx(0.0, abs=1e-6)
