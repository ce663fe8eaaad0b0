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
    assert losses["contrast"].item() == losses["mel_phone"].item() == 0 == counts["contrast"] == counts["mel_phone"]
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


def test_what_is_spoken_has_the_mean_spectrum_of_the_prompt(corpus):
    """By whichever path, whatever is decoded and however long the rows are; without the option it has not."""
    for wanted in (True, False):
        method, batch = make(corpus, voice_means=wanted)
        method.eval()
        feats, lengths = batch["feats"], batch["feats_lengths"]
        prompt, prompt_lengths = batch["prompt"].flip(0), batch["prompt_lengths"].flip(0)
        spoken, spoken_lengths = method.synthesize(batch["phones"], batch["phones_lengths"], batch["durations"], prompt,
                                                   prompt_lengths)
        for mel, size in ((method.convert(feats, lengths, prompt, prompt_lengths), lengths), (spoken, spoken_lengths)):
            assert torch.equal(size, lengths) and mel.shape == feats.shape
            for row, length in enumerate(lengths.tolist()):
                own, other = (_spectrum_by_hand(method.normalise(x)) for x in (
                    mel[row, :length], prompt[row, :int(prompt_lengths[row])]))
                assert torch.allclose(own, other, atol=0.05) == wanted


def _spectrum_by_hand(mel):
    level = mel.mean(1)
    mean = mel[level >= level.mean()].mean(0)
    return mean - mean.mean()


def test_conversion_exchanges_the_mean_of_the_joint_space(corpus):
    """A constant that the source has in all of its joint space does not reach the decoder; the prompt's does."""
    method, batch = make(corpus, voice_means=True)
    method.eval()
    heard = []
    decode, encode = method.decode, method.encode_speech
    method.decode = lambda joint, *others: heard.append(joint) or decode(joint, *others)
    offset = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(1))

    def shifted(feats, lengths):
        layers, size = encode(feats, lengths)
        return [*layers[:-1], layers[-1] + offset * (feats is batch["feats"])], size

    arguments = batch["feats"], batch["feats_lengths"], batch["prompt"], batch["prompt_lengths"]
    plain = method.convert(*arguments)
    method.encode_speech = shifted
    again = method.convert(*arguments)
    torch.testing.assert_close(plain, again, rtol=1e-4, atol=1e-4)
    assert len(heard) == 2 and not torch.allclose(heard[0], encode(*arguments[:2])[0][-1], atol=1e-3)


def test_pauses_need_not_sound_of_the_voice(corpus):
    """The share of the mean spectrum is learnt frame by frame, from the prompt of the utterance."""
    method, batch = make(corpus, voice_means=True)
    prepared = method.prepare(batch, torch.Generator().manual_seed(0))
    method(prepared)["mel_speech"].backward()
    assert method.spectrum_share.weight.grad.abs().sum() > 0
    joint, lengths, voice = torch.zeros(6, 8, 16), torch.full((6,), 8), torch.zeros(6, 8)
    spectrum = method.spectrum(batch["prompt"], batch["prompt_lengths"])
    with torch.no_grad():
        method.spectrum_share.weight.zero_()
        for bias, share in ((30.0, 1.0), (-30.0, 0.0)):
            method.spectrum_share.bias.fill_(bias)
            more = method.decode(joint, lengths, voice, spectrum) - method.decode(joint, lengths, voice, 0 * spectrum)
            torch.testing.assert_close(more, share * spectrum[:, None].expand_as(more), rtol=1e-4, atol=1e-5)
