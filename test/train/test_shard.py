"""Every method can be divided among processes: losses, gradients, what follows a step, and metrics stay what they were."""

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
sys.path.insert(0, str(Path(__file__).parents[1] / "methods"))
from test_contract import SMALL, losses, make
from toy_corpus import make_corpus

from speechrep.data.dataset import collate
from speechrep.train import shard
from speechrep.train.distributed import World


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 4})


@pytest.fixture
def alone():
    """A group of one process, whose parts are the whole: what can go wrong with a method shows all the same."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield World()
    dist.destroy_process_group()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_divided_it_does_the_same(name, corpus, alone):
    plain, dataset = make(name, corpus)
    divided = make(name, corpus)[0]
    shard.shard(divided, alone)
    batch = collate([dataset[i] for i in range(len(dataset))])
    for phase in plain.losses:
        results = []
        for method in (plain, divided):
            method.train()
            method.zero_grad()
            torch.manual_seed(4)
            sums, counts = losses(method, batch, phase)
            sum(sums[loss] / counts[loss] for loss in sums).backward()
            shard.reduce_undivided(method.parameters())
            grads = {key: shard.whole(p.grad) for key, p in method.named_parameters() if p.grad is not None}
            results.append((dict(sums), grads, shard.clip_norm_(method.parameters(), 0.1),
                            {key: shard.whole(p.grad) for key, p in method.named_parameters() if p.grad is not None}))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
        norm = sum(grad.square().sum() for grad in results[0][3].values()).sqrt()
        assert float(norm) == pytest.approx(min(0.1, float(results[0][2])), rel=1e-3)
        for method in (plain, divided):
            torch.optim.SGD(method.phase_parameters(phase), 1e-3, foreach=False).step()
    for method in (plain, divided):
        method.after_step(1)
    states = [shard.whole(dict(method.state_dict())) for method in (plain, divided)]
    torch.testing.assert_close(*states, rtol=1e-4, atol=1e-5)
    assert states[0].keys() == states[1].keys() == make(name, corpus)[0].state_dict().keys()
    with torch.no_grad():
        values = []
        for method in (plain, divided):
            method.eval()
            torch.manual_seed(4)
            values.append(method.metrics(method.prepare(batch, torch.Generator().manual_seed(3))))
    for metric, pair in values[0].items():
        assert pair == pytest.approx(values[1][metric], rel=1e-3)


def test_plain_values_pass_through():
    """Trees of plain values pass through unchanged."""
    tree = {"a": [1, "x", None, torch.ones(2)], "b": {"c": (0.9, 0.98)}}
    out = shard.whole(tree)
    assert out["a"][:3] == [1, "x", None] and torch.equal(out["a"][3], torch.ones(2)) and out["b"] == tree["b"]
