"""`model.whiten`: a head's features made white by statistics of the training part, kept with its weights."""

import numpy as np
import pytest
import torch
import yaml
from toy_corpus import folder, make_corpus

from speechrep.data.dataset import SpeechDataset, collate, spread, take_inventory
from speechrep.nn.masking import pad_mask
from speechrep.tasks import frame_phones, sid
from speechrep.tasks.base import load_task
from speechrep.tasks.cached import Cache, whole_part
from speechrep.tasks.train import train_task
from speechrep.train import checkpoint
from speechrep.upstream import Upstream

TRAIN = {"steps": 40, "batch_sec": 15, "lr": 0.02, "warmup": 5, "dev_every": 20, "save_every": 20, "precision": "fp32"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Chords in one language."""
    torch.set_num_threads(1)
    root = make_corpus(tmp_path_factory.mktemp("whiten"), {"train": 40, "dev": 8})
    for part in ("train", "dev"):
        data = folder(root, part)
        data.write("utt2lang", dict.fromkeys(data.utts, "es"))
    return root


def trained(root, exp, task="frame_phones", upstream="logmel", init=None, train=(), cache=None, watch=None, **model):
    conf = {"task": task, "weights": {"cross_entropy": 1.0}, "model": model, "train": TRAIN | dict(train)}
    (root / f"{task}.yaml").write_text(yaml.safe_dump(conf))
    train_task(root / f"{task}.yaml", upstream, root / "data/train", root / "data/dev", root / "dump", root / exp, device="cpu",
               init=init, cache=cache, watch=watch)
    return load_task(root / exp / "best.pt")


def training_part(root):
    train = folder(root, "train")
    return SpeechDataset(train, root / "dump/logmel/train", take_inventory(train, root / "dump/logmel/train"),
                         ("feats", "label:ali"))


def test_the_head_of_a_trained_task_sees_white_features(root):
    task, part = trained(root, "exp/white", whiten=True), training_part(root)
    batch = collate([part[i] for i in range(len(part))])
    with torch.no_grad():
        x, lengths = task.features(batch)
    pad = pad_mask(lengths, x.shape[1])
    assert pad.any() and not x[pad].any()
    seen = x[~pad].double().numpy()
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-3)
    # All but what the floor takes from directions that hardly vary.
    left = np.linalg.eigvalsh(np.cov(seen.T))
    assert left.max() < 1.001 and np.median(left) > 0.9
    plain = torch.linalg.eigvalsh(torch.from_numpy(np.cov(task._sum_of_layers(batch)[0][~pad].numpy().T)))
    assert plain.max() / plain.median() > 20


def test_mixed_precision_does_not_reach_it(root):
    """Of features that are computed, and of several layers that were kept."""
    task, part = trained(root, "exp/white", whiten=True), training_part(root)
    batch = collate([part[i] for i in range(4)])
    kept = batch | {"layers": torch.randn(4, 30, 3, task.dim) + 100, "layers_lengths": torch.tensor([30, 20, 30, 25])}
    for layers, heard in ((1, batch), (3, kept)):
        task.layer_scalars = torch.nn.Parameter(torch.arange(layers) / 3)
        with torch.no_grad():
            x, _ = task.features(heard)
            with torch.autocast("cpu", torch.bfloat16):
                mixed, _ = task.features(heard)
        assert mixed.dtype == torch.float32
        torch.testing.assert_close(mixed, x)


def test_a_run_that_goes_on_keeps_its_statistics(root):
    whole = trained(root, "exp/whole", whiten=True)

    class Killed(Exception):
        pass

    def kill(step, values):
        if step == 20:
            raise Killed

    with pytest.raises(Killed):
        trained(root, "exp/killed", whiten=True, train={"save_every": 10}.items(), watch=kill)
    assert checkpoint.load(root / "exp/killed/last.pt")["step"] == 10
    again = trained(root, "exp/killed", whiten=True, train={"save_every": 10}.items())
    for (name, value), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_fine_tuning_from_a_head_keeps_its_statistics(root):
    first = trained(root, "exp/first", whiten=True)
    part = training_part(root)
    task = frame_phones.Task(first.config, Upstream.open("logmel", part.inventory), first.labels)
    task.load_state_dict(first.state_dict())
    task.whitening[0, 0] += 1
    before = task.whitening.clone()
    task.take_train(part)
    assert torch.equal(task.whitening, before)
    after = trained(root, "exp/after", whiten=True, init=root / "exp/first/best.pt", train={"steps": 20}.items())
    assert torch.equal(after.whitening, first.whitening) and not torch.equal(after.out.weight, first.out.weight)


def test_means_that_are_kept_are_whitened_as_frames_are(root):
    """A task that pools whitens its utterances' means, whether it is given these or the frames."""
    train, dump = folder(root, "train"), root / "dump"
    cache = Cache(root / "layers", train, dump)
    upstream = Upstream.open("logmel", take_inventory(train, dump / "logmel/train"))
    made = []
    for kept in (None, cache):
        config = sid.Config(whiten=True)
        labels = sid.Task.labels_of(config, SpeechDataset(train, dump / "logmel/train", upstream.inventory,
                                                          sid.Task.needs_of(config)))
        torch.manual_seed(0)
        task = sid.Task(config, upstream, labels)
        task.take_train(whole_part(task, train, dump, task.needs_of(config), kept))
        made.append(task)
    torch.testing.assert_close(made[0].centre, made[1].centre, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made[0].whitening, made[1].whitening, rtol=1e-3, atol=1e-3)


def test_statistics_are_of_utterances_from_all_over_the_part(root):
    part = training_part(root)
    batches = list(spread(part, part.seconds.sum() / 2, together=4))
    utts = [utt for batch in batches for utt in batch["utts"]]
    assert len(set(utts)) == len(utts) and 0.3 < len(utts) / len(part) < 0.7
    assert {utt.split("-")[0] for utt in utts} == {utt.split("-")[0] for utt in part.utts}
    assert utts == [utt for batch in spread(part, part.seconds.sum() / 2, together=4) for utt in batch["utts"]]
    assert sum(len(batch["utts"]) for batch in spread(part, 1e9)) == len(part)
