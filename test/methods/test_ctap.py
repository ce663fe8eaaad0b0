"""What is CTAP's own: the KL margin, minimal supervision, varied voices."""

import pytest
import torch
from toy_corpus import folder, make_corpus

from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.methods import ctap

SMALL = dict(kind="tdnn", dim=24, joint_dim=16, prompt_dim=8, prompt_frames=40, speech_layers=2, token_layers=1,
             frame_layers=1, decoder_layers=1, dropout=0.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 6})


def make(corpus, labelled=None, **changes):
    inventory = take_inventory(folder(corpus, "train"), corpus / "dump/logmel/train")
    torch.manual_seed(0)
    method = ctap.Method(ctap.Config(**SMALL | changes), inventory)
    dataset = SpeechDataset(folder(corpus, "train"), corpus / "dump/logmel/train", inventory, method.needs,
                            labelled=labelled)
    return method, collate([dataset[i] for i in range(6)])


def test_under_the_margin_the_divergence_has_no_gradient_and_above_it_has(corpus):
    for margin, moved in ((1e6, False), (0.0, True)):
        method, batch = make(corpus, kl_margin=margin)
        kl = method(method.prepare(batch, torch.Generator().manual_seed(0)))["kl"]
        kl.backward()
        gradient = sum(p.grad.abs().sum() for p in method.prompt_encoder.parameters() if p.grad is not None)
        assert bool(gradient > 0) == moved and bool(kl > 0) == moved


def test_what_is_not_labelled_teaches_the_speech_side_alone(corpus):
    method, batch = make(corpus, labelled=frozenset())
    prepared = method.prepare(batch, torch.Generator().manual_seed(0))
    losses, counts = method(prepared), method.counts(prepared)
    assert float(losses["contrast"]) == float(losses["mel_phone"]) == 0 == counts["contrast"] == counts["mel_phone"]
    sum(losses.values()).backward()
    assert method.phone_embedding.weight.grad is None or not method.phone_embedding.weight.grad.any()
    assert method.speech_out.weight.grad.abs().sum() > 0


def test_the_speech_encoder_learns_nothing_from_the_decoder_at_gradient_zero(corpus):
    method, batch = make(corpus, decoder_gradient=0.0)
    method(method.prepare(batch, torch.Generator().manual_seed(0)))["mel_speech"].backward()
    assert not method.speech_out.weight.grad.any() and method.mel_out.weight.grad.abs().sum() > 0


def test_bands_are_stretched():
    mel = torch.arange(8.0).view(1, 1, 8).repeat(2, 3, 1)
    same, stretched = ctap.stretch_bands(mel, torch.tensor([1.0, 2.0]))
    assert torch.equal(same, mel[0])
    assert stretched[0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]


def test_voices_vary_in_training_alone_and_target_and_prompt_go_together(corpus):
    method, batch = make(corpus, warp=0.2)
    prepared = method.train().prepare(batch, torch.Generator().manual_seed(0))
    assert not torch.allclose(prepared["heard"], batch["feats"]) and not torch.allclose(prepared["heard"], prepared["feats"])
    same = method.eval().prepare(batch, torch.Generator().manual_seed(0))
    assert torch.equal(same["heard"], batch["feats"]) and torch.equal(same["feats"], batch["feats"])
