"""PASE: every worker's loss against a loop, its targets, and the convolutions on samples."""

import pytest
import torch
from random_batch import DIM, HOP, RATE_HZ, random_batch, random_method, standard
from scipy.fft import dct

from speechrep.errors import SpeechrepError
from speechrep.nn.prosody import log_power, prosody

AUDIO = {"hears": "audio", "channels": [4, 6, 8], "kernels": [16, 10, 8], "strides": [4, 5, 4], "dim": 8, "layers": 1,
         "out_dim": 6, "worker_dim": 10, "cepstra": 4, "workers": ["wave", "power", "mfcc", "prosody"]}
MEL = {"hears": "logmel", "stride": 2, "dim": 8, "layers": 1, "out_dim": 6, "worker_dim": 10, "cepstra": 4,
       "workers": ["wave", "power", "mfcc", "prosody"]}


@torch.no_grad()
@pytest.mark.parametrize("config", [AUDIO, MEL], ids=["audio", "logmel"])
def test_losses_by_loop(config):
    method = random_method("pase", **config).eval()
    for moments in method.moments.values():
        moments.gather(3 + 2 * torch.randn(50, len(moments.total)))
        moments.update()
    plain = random_batch(15, 8)
    batch = method.prepare(plain, torch.Generator())
    factor = 1 if config is AUDIO else 2
    wanted = dict.fromkeys(("wave", "power", "mfcc", "prosody"), 0.0)
    for row, length in enumerate(plain["feats_lengths"].tolist()):
        # The utterance alone.
        audio, feats = plain["audio"][row:row + 1, :length * HOP], plain["feats"][row, :length]
        alone = {"audio": audio, "audio_lengths": torch.tensor([length * HOP]), "feats": feats[None],
                 "feats_lengths": torch.tensor([length])}
        top = method.layers(alone)[0][-1][0]
        targets = {"wave": audio.view(length, HOP), "power": log_power(audio, 256, HOP)[0],
                   "mfcc": torch.from_numpy(dct(standard(method, feats).numpy(), norm="ortho")[:, :4]),
                   "prosody": prosody(audio, torch.tensor([length]), RATE_HZ, HOP)[0]}
        for name, target in targets.items():
            target, size = method.moments[name](target), target.shape[1]
            for n in range(len(top)):
                made = method.workers[name](top[n])
                for k in range(factor):
                    if n * factor + k < length:
                        difference = made[k * size:(k + 1) * size] - target[n * factor + k]
                        wanted[name] += float((difference.abs() if name == "wave" else difference.square()).sum())
    found = method(batch)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(wanted, rel=1e-4)
    assert method.counts(batch) == {"wave": 23 * HOP, "power": 23 * 129, "mfcc": 23 * 4, "prosody": 23 * 4}


def test_workers_are_chosen():
    method = random_method("pase", **(MEL | {"workers": ["prosody"]}))
    assert method.losses == {"main": ("prosody",)} and method.needs == ("feats", "audio")
    assert random_method("pase", **AUDIO).needs == ("audio", "feats")
    batch = method.prepare(random_batch(9), torch.Generator())
    assert set(method(batch)) == set(batch["targets"]) == {"prosody"}
    with pytest.raises(SpeechrepError, match="workers vision"):
        random_method("pase", **(MEL | {"workers": ["vision"]}))
    with pytest.raises(SpeechrepError, match="product is 96 samples"):
        random_method("pase", **(AUDIO | {"strides": [4, 6, 4]}))


@torch.no_grad()
def test_frames_stand_where_their_samples_are():
    """A click in hop n reaches the frames around n and no others."""
    method = random_method("pase", **(AUDIO | {"layers": 0})).eval()
    audio = torch.zeros(1, 30 * HOP)
    clicked = audio.clone()
    clicked[0, 12 * HOP + HOP // 2] = 1.0
    lengths = torch.tensor([30 * HOP])
    quiet, loud = (method.front(x, lengths)[0][0] for x in (audio, clicked))
    touched = (quiet != loud).any(1).nonzero()[:, 0].tolist()
    assert 12 in touched and set(touched) <= {11, 12, 13}


@torch.no_grad()
def test_judges_by_loop():
    method = random_method("pase", **(MEL | {"workers": ["local", "global"], "pairs": 5})).eval()
    # A second is 50 frames of the encoder: the first utterance is shorter.
    batch = method.prepare(random_batch(60, 151, 230), torch.Generator())
    layers, frames = method.layers(batch)
    wanted, hits = {"local": 0.0, "global": 0.0}, {"local": 0, "global": 0}
    for i, name in enumerate(wanted):
        def vector(row, which, pair):
            place, count = float(batch["places"][row, 2 * i + which, pair]), int(frames[row])
            if name == "local":
                return layers[-1][row, int(place * count)]
            width = min(50, count)
            start = int(place * (count - width + 1))
            return layers[-1][row, start:start + width].mean(0)
        for row in range(3):
            for pair in range(5):
                anchor = vector(row, 0, pair)
                for other, same in ((row, True), ((row - 1) % 3, False)):
                    score = method.judges[name].score(torch.cat([anchor, vector(other, 1, pair)]))[0]
                    sure = torch.sigmoid(score if same else -score)
                    wanted[name] -= float(sure.log())
                    hits[name] += bool(score > 0) == same
    assert {name: float(value) for name, value in method(batch).items()} == pytest.approx(wanted, rel=1e-4)
    assert method.counts(batch) == {"local": 30, "global": 30}
    found = method.metrics(batch)
    assert {name: found[f"{name}_accuracy"] for name in hits} == {name: (hit, 30) for name, hit in hits.items()}
    # Alone in a batch, an utterance has no other to be told from.
    alone = method.prepare(random_batch(60), torch.Generator())
    assert method.counts(alone) == {"local": 0, "global": 0}
    assert not any(float(loss) for loss in method(alone).values())


def test_statistics_move_after_the_step_only():
    method = random_method("pase", **MEL).train()
    batch = random_batch(40, 30)
    method.prepare(batch, torch.Generator())
    first = method.prepare(batch, torch.Generator())["targets"]["power"]
    method.after_step(1)
    method.eval()
    later = method.prepare(batch, torch.Generator())["targets"]["power"][0, :20]
    assert not torch.equal(first[0, :20], later)
    assert abs(float(later.mean())) < 0.1 and float(later.std()) == pytest.approx(1, abs=0.1)


def test_a_flat_prediction_is_a_collapse():
    method = random_method("pase", **MEL).eval()
    batch = method.prepare(random_batch(80, 90), torch.Generator())

    def means():
        return {key: value / count for key, (value, count) in method.metrics(batch).items()}

    with torch.no_grad():
        for worker in method.workers.values():
            worker[2].weight.zero_()
            worker[2].bias.zero_()
        losses = {name: float(value) / method.counts(batch)[name] for name, value in method(batch).items()}
    assert {name: means()[f"{name}_of_mean"] for name in losses} == pytest.approx(losses, rel=1e-5)
    assert "hardly vary" in method.collapsed(means(), 1000) and method.collapsed(means(), 1) is None
    assert method.collapsed({"prediction_std": 0.5, "target_std": 1.0}, 1000) is None
