"""wav2vec 2.0's own: its losses against transformers', false frames, temperature, guards."""

import dataclasses
import math

import pytest
import torch

from speechrep.methods import wav2vec2
from speechrep.methods.wav2vec2 import false_frames
from speechrep.data.inventory import Inventory

INVENTORY = Inventory(features={"kind": "logmel", "rate_hz": 16000, "hop_samples": 160}, mean=(0.0,) * 4,
                      std=(1.0,) * 4)
MEL = dict(front="mel", front_dim=12, layers=1, dim=16, heads=2, ffn_dim=16, position_kernel=4, position_groups=2,
           dropout=0.0, attention_dropout=0.0, input_dropout=0.0, target_dropout=0.0, layerdrop=0.0, groups=2, codes=4,
           code_dim=8, joint_dim=8, negatives=5)


def small(**changes) -> wav2vec2.Method:
    torch.manual_seed(0)
    return wav2vec2.Method(wav2vec2.Config(**MEL | changes), INVENTORY)


def mel_batch() -> dict:
    draw = torch.Generator().manual_seed(2)
    lengths = torch.tensor([120, 80])
    return {"feats": torch.randn(2, 120, 4, generator=draw), "feats_lengths": lengths, "seeds": torch.tensor([3, 4])}


def test_losses_and_gradients_are_those_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    from speechrep.released import load_released
    config = transformers.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, conv_dim=[16] * 7,
        num_feat_extract_layers=7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, codevector_dim=16,
        num_codevectors_per_group=6, proj_codevector_dim=12, hidden_dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, feat_proj_dropout=0.0, feat_quantizer_dropout=0.0, final_dropout=0.0, layerdrop=0.0,
        num_negatives=7, mask_feature_prob=0.0)
    model = transformers.Wav2Vec2ForPreTraining(config)
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    model.save_pretrained(tmp_path)
    method = load_released(tmp_path)
    method.encoder.sizes = dataclasses.replace(method.encoder.sizes, front_gradient=1.0, least_spans=2)
    method.config = dataclasses.replace(method.config, negatives=7, target_dropout=0.0)
    audio, lengths = torch.randn(3, 6400), torch.full((3,), 6400)
    batch = method.prepare({"audio": audio, "audio_lengths": lengths, "seeds": torch.tensor([5, 6, 7])},
                           torch.Generator())
    frames = batch["hidden"].shape[1]
    negatives = torch.zeros(3, frames, 7, dtype=torch.long)
    for b, (hidden, false) in enumerate(zip(batch["hidden"], batch["false"])):
        negatives[b, hidden] = hidden.nonzero()[:, 0][false] + b * frames
    for training in (False, True):
        model.train(training), method.train(training)
        if training:
            batch = method.prepare(batch, torch.Generator())
        theirs = model(audio, mask_time_indices=batch["hidden"], sampled_negative_indices=negatives)
        ours, counts = method(batch), method.counts(batch)
        assert counts["contrast"] == counts["diversity"] == int(batch["hidden"].sum())
        if training:  # the codes are drawn with noise there, so that only what has none can be compared
            torch.testing.assert_close(ours["diversity"], theirs.diversity_loss, atol=1e-3, rtol=1e-4)
            continue
        torch.testing.assert_close(ours["contrast"], theirs.contrastive_loss, atol=1e-3, rtol=1e-4)
        ours["contrast"].backward()
        theirs.contrastive_loss.backward()
        for a, b in ((method.encoder.front.weights[0], model.wav2vec2.feature_extractor.conv_layers[0].conv.weight),
                     (method.encoder.front.weights[3], model.wav2vec2.feature_extractor.conv_layers[3].conv.weight),
                     (method.encoder.trunk.blocks[1].ffn_in.weight,
                      model.wav2vec2.encoder.layers[1].feed_forward.intermediate_dense.weight),
                     (method.encoder.hidden_vector, model.wav2vec2.masked_spec_embed),
                     (method.quantizer.codebook.flatten(0, 1), model.quantizer.codevectors[0])):
            gradient = a.grad if a.is_leaf else method.quantizer.codebook.grad.flatten(0, 1)
            wanted = b.grad if b.is_leaf else model.quantizer.codevectors.grad[0]
            torch.testing.assert_close(gradient, wanted, atol=1e-4 * float(wanted.abs().max()), rtol=1e-4)


@torch.no_grad()
def test_contrast_is_the_plain_loop():
    method, batch = small().eval(), mel_batch()
    batch = method.prepare(batch, torch.Generator())
    frames, rows = method.encoder.hear(batch)
    normed, x = method.encoder.enter(frames)
    outputs, _ = method.encoder.trunk.rows(method.encoder.hide(x, rows.pack(batch["hidden"])), rows)
    guess = rows.unpack(method.project_prediction(outputs[-1]))
    vectors, ids, _ = method.quantizer(rows.unpack(normed), None, 1.0)
    true, total = method.project_target(vectors), 0.0
    for b, hidden in enumerate(batch["hidden"]):
        places = hidden.nonzero()[:, 0].tolist()
        for i, place in enumerate(places):
            logits = [float(torch.cosine_similarity(guess[b, place], true[b, place], 0)) / 0.1]
            for j in batch["false"][b][i].tolist():
                if not torch.equal(ids[b, places[j]], ids[b, place]):
                    logits.append(float(torch.cosine_similarity(guess[b, place], true[b, places[j]], 0)) / 0.1)
            total += math.log(sum(math.exp(x) for x in logits)) - logits[0]
    assert float(method(batch)["contrast"]) == pytest.approx(total, rel=1e-4)


def test_false_frames_are_others_and_all_of_them():
    false = false_frames(5, 4000, torch.Generator().manual_seed(0))
    for place, row in enumerate(false):
        counts = row.bincount(minlength=5)
        assert counts[place] == 0 and all(abs(int(n) - 1000) < 120 for i, n in enumerate(counts) if i != place)
    assert false_frames(1, 9, torch.Generator()).shape == (1, 0)


def test_tau_falls_and_is_kept():
    method = small(first_tau=2.0, last_tau=0.5, tau_decay=0.9)
    method.after_step(3)
    assert float(method.state_dict()["tau"]) == pytest.approx(2 * 0.9 ** 3)
    method.after_step(100)
    assert float(method.tau) == 0.5


def test_the_front_end_gets_a_share_of_the_gradient():
    def gradient(factor: float) -> torch.Tensor:
        method = small(front_gradient=factor).eval()
        method(method.prepare(mel_batch(), torch.Generator()))["contrast"].backward()
        return method.encoder.front.convs[0].weight.grad

    torch.testing.assert_close(gradient(0.1), 0.1 * gradient(1.0))


def test_a_collapse_stops_the_run_and_not_too_early():
    method = small(guard_steps=10)
    healthy = {"code_perplexity": 3.0, "contrast": 1.5}
    assert method.collapsed(healthy, 10) is None
    assert "perplexity of 1.02" in method.collapsed(healthy | {"code_perplexity": 1.02}, 10)
    assert "trivial" in method.collapsed(healthy | {"contrast": 0.001}, 10)
    assert method.collapsed({"code_perplexity": 1.0, "contrast": 0.0}, 9) is None
    # A codebook that gives one code for everything is seen by the metrics.
    method.eval()
    torch.nn.init.zeros_(method.quantizer.logits.weight)
    total, count = method.metrics(method.prepare(mel_batch(), torch.Generator()))["code_perplexity"]
    assert total / count == pytest.approx(1.0)
