"""What is the duration models' own: minimal supervision."""

import pytest
import torch
from toy_corpus import folder, make_corpus

from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.methods import duration


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 6})


@pytest.mark.parametrize("kind", ["diffusion", "regression"])
def test_only_labelled_utterances_are_learnt_from(corpus, kind):
    inventory = take_inventory(folder(corpus, "train"), corpus / "dump/logmel/train")
    torch.manual_seed(0)
    method = duration.Method(duration.Config(kind=kind, dim=16, layers=1, denoiser_layers=2, prompt_dim=8, prompt_frames=40,
                                             dropout=0.0), inventory)

    def losses(chosen, labelled):
        dataset = SpeechDataset(folder(corpus, "train"), corpus / "dump/logmel/train", inventory, method.needs,
                                labelled=labelled)
        batch = method.prepare(collate([dataset[i] for i in chosen]), torch.Generator().manual_seed(0))
        method.zero_grad()
        loss = method(batch)["duration"]
        loss.backward()
        return float(loss.detach()), method.counts(batch)["duration"], method.embedding.weight.grad.clone()

    utts = folder(corpus, "train").utts
    some = frozenset([utts[1], utts[4]])
    among, count, gradient = losses(range(6), some)
    alone, count_alone, gradient_alone = losses([1, 4], None)
    assert count == count_alone == sum(len(folder(corpus, "train").read("ali")[utt].split()) // 2 for utt in some)
    assert among == pytest.approx(alone, rel=1e-5) and among > 0
    torch.testing.assert_close(gradient, gradient_alone, rtol=1e-3, atol=1e-5)
    nothing, count, gradient = losses(range(6), frozenset())
    assert nothing == count == 0 and not gradient.any()


def test_less_noise_draws_durations_that_vary_less(corpus):
    inventory = take_inventory(folder(corpus, "train"), corpus / "dump/logmel/train")
    dataset = SpeechDataset(folder(corpus, "train"), corpus / "dump/logmel/train", inventory, duration.Method.needs)
    batch = collate([dataset[0]])

    def spread(noise):
        torch.manual_seed(0)
        method = duration.Method(duration.Config(dim=16, layers=1, denoiser_layers=2, prompt_dim=8, prompt_frames=40,
                                                 sample_noise=noise), inventory).eval()
        drawn = [method.durations(batch["phones"], batch["phones_lengths"], batch["prompt"], batch["prompt_lengths"],
                                  torch.Generator().manual_seed(seed)) for seed in range(20)]
        return float(torch.stack(drawn).float().log1p().std(0).mean())

    assert spread(0.0) == 0 < spread(0.3) < 0.6 * spread(1.0)
