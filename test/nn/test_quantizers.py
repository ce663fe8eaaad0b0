"""Codebooks against updates worked by hand and plain loops."""

import math
import socket

import pytest
import torch
import torch.distributed as dist

from speechrep.nn.masking import pad_mask
from speechrep.nn.quantizers import (EMAQuantizer, GumbelQuantizer, KMeansQuantizer, code_counts, diversity,
                                     gumbel_noise, perplexity)


def test_perplexity_by_hand():
    counts = torch.tensor([[2.0, 2, 2, 2], [8, 0, 0, 0], [2, 1, 1, 0]])
    # The third: entropy 1/2 ln 2 + 2 (1/4 ln 4) = 3/2 ln 2.
    torch.testing.assert_close(perplexity(counts), torch.tensor([4.0, 1.0, 2 ** 1.5]))


def test_code_counts_leave_padding_out():
    ids = torch.tensor([[[0, 2], [1, 2], [1, 1]]])
    assert code_counts(ids, 3, pad_mask(torch.tensor([2]), 3)).tolist() == [[1, 1, 0], [0, 0, 2]]
    assert code_counts(ids, 3).tolist() == [[1, 2, 0], [0, 1, 2]]


def test_diversity_by_hand():
    uniform, peaked = torch.full((2, 4), 2.5), torch.tensor([[10.0, 0, 0, 0]] * 2)
    assert float(diversity(uniform, 10)) == pytest.approx(0, abs=1e-5)
    assert float(diversity(peaked, 10)) == pytest.approx(1 - 1 / 4, abs=1e-5)
    half = torch.tensor([[5.0, 5, 0, 0], [10, 0, 0, 0]])
    assert float(diversity(half, 10)) == pytest.approx((8 - 2 - 1) / 8, abs=1e-5)


# Gumbel


def test_noise_is_gumbel_and_an_utterances_own():
    noise = gumbel_noise(torch.tensor([400, 250]), 400, 50, torch.tensor([3, 4]))
    # Mean: Euler's constant; variance: pi^2 / 6.
    assert float(noise[0].mean()) == pytest.approx(0.5772, abs=0.03)
    assert float(noise[0].var()) == pytest.approx(math.pi ** 2 / 6, rel=0.05)
    assert not noise[1, 250:].any()
    torch.testing.assert_close(gumbel_noise(torch.tensor([250]), 260, 50, torch.tensor([4]))[0, :250], noise[1, :250])


def test_gumbel_forward_and_gradient_by_loop():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(6, 2, 5, 8).train()
    x, noise = torch.randn(2, 3, 6, requires_grad=True), torch.randn(2, 3, 10)
    pad = pad_mask(torch.tensor([3, 2]), 3)
    out, ids, probs_sum = quantizer(x, pad, 0.7, noise)
    wanted_sum = torch.zeros(2, 5)
    for b in range(2):
        for n in range(3):
            logits = quantizer.logits.weight @ x[b, n] + quantizer.logits.bias
            for g in range(2):
                part = slice(5 * g, 5 * g + 5)
                if not pad[b, n]:
                    wanted_sum[g] += torch.softmax(logits[part], 0).detach()
                best = int((logits[part] + noise[b, n, part]).argmax())
                assert int(ids[b, n, g]) == best
                torch.testing.assert_close(out[b, n, 4 * g:4 * g + 4], quantizer.codebook[g, best])
    torch.testing.assert_close(probs_sum, wanted_sum)
    # Straight through: the gradient to x is that of the soft mixture at the same logits.
    direction = torch.randn_like(out)
    straight, = torch.autograd.grad((out * direction).sum(), x)
    soft = ((quantizer.logits(x) + noise) / 0.7).unflatten(-1, (2, 5)).softmax(-1)
    mixture = torch.cat([soft[:, :, g] @ quantizer.codebook[g] for g in range(2)], -1)
    torch.testing.assert_close(straight, torch.autograd.grad((mixture * direction).sum(), x)[0])
    torch.testing.assert_close(quantizer.lookup(ids), out.detach(), rtol=1e-5, atol=1e-6)


def test_gumbel_agrees_with_transformers():
    from transformers import Wav2Vec2Config
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer
    torch.manual_seed(1)
    peer = Wav2Vec2GumbelVectorQuantizer(Wav2Vec2Config(conv_dim=(12,) * 7, num_codevector_groups=2,
                                                        num_codevectors_per_group=6, codevector_dim=10)).eval()
    with torch.no_grad():
        peer.codevectors.uniform_()
        ours = GumbelQuantizer(12, 2, 6, 10).eval()
        ours.logits.load_state_dict(peer.weight_proj.state_dict())
        ours.codebook.copy_(peer.codevectors.view(2, 6, 5))
    x = torch.randn(3, 7, 12)
    wanted, _ = peer(x)
    torch.testing.assert_close(ours(x, None, 1.0)[0], wanted)


def test_gumbel_shared_codebook_and_hidden_layer():
    quantizer = GumbelQuantizer(6, 2, 5, 8, hidden=12, shared=True).eval()
    out, ids, _ = quantizer(torch.randn(1, 4, 6), None, 1.0)
    for n in range(4):
        for g in range(2):
            torch.testing.assert_close(out[0, n, 4 * g:4 * g + 4], quantizer.codebook[0, ids[0, n, g]])
    with pytest.raises(ValueError, match="multiple of groups"):
        GumbelQuantizer(6, 2, 5, 7)


# Moving average


def ema(codebook: list, **options) -> EMAQuantizer:
    quantizer = EMAQuantizer(len(codebook), len(codebook[0]), **({"decay": 0.9, "epsilon": 0.01} | options)).train()
    book = torch.tensor(codebook)
    quantizer.codebook.copy_(book), quantizer.sums.copy_(book), quantizer.idle.zero_()
    return quantizer


def test_ema_update_by_hand():
    quantizer = ema([[0.0, 0.0], [10.0, 0.0]])
    x = torch.tensor([[[1.0, 0], [3, 0], [9, 1], [99, 99]]], requires_grad=True)
    pad = pad_mask(torch.tensor([3]), 4)
    out, ids, commitment = quantizer(x, pad)
    assert ids[0, :3].tolist() == [0, 0, 1]
    torch.testing.assert_close(out[0, :3].detach(), torch.tensor([[0.0, 0], [0, 0], [10, 0]]))
    assert float(commitment.detach()) == pytest.approx(1 + 9 + 2)
    gradient, = torch.autograd.grad(commitment, x, retain_graph=True)
    torch.testing.assert_close(gradient[0], torch.tensor([[2.0, 0], [6, 0], [-2, 2], [0, 0]]))
    straight, = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(straight, torch.ones_like(x))
    quantizer.update()
    # counts: 0.9 * 1 + 0.1 * (2, 1) = (1.1, 1.0), 2.1 in all; sums: 0.1 * (4, 0) and 0.9 * (10, 0) + 0.1 * (9, 1).
    torch.testing.assert_close(quantizer.counts, torch.tensor([1.1, 1.0]))
    smoothed = [(1.1 + 0.01) / 2.12 * 2.1, (1.0 + 0.01) / 2.12 * 2.1]
    torch.testing.assert_close(quantizer.codebook, torch.tensor([[0.4 / smoothed[0], 0.0],
                                                                 [9.9 / smoothed[1], 0.1 / smoothed[1]]]))


def test_ema_micro_batches_add_up_and_eval_leaves_no_trace():
    torch.manual_seed(2)
    x, priority = torch.randn(4, 9, 3), torch.rand(4, 9)
    pad = pad_mask(torch.tensor([9, 7, 4, 8]), 9)
    whole, parts = EMAQuantizer(5, 3), EMAQuantizer(5, 3)
    parts.load_state_dict(whole.state_dict())
    for _ in range(3):
        whole(x, pad, priority)
        for row in range(4):
            parts(x[row:row + 1], pad[row:row + 1], priority[row:row + 1])
        parts.eval()
        parts(x * 100, pad)
        parts.train()
        whole.update(), parts.update()
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value, rtol=1e-5, atol=1e-6)
    before = {key: value.clone() for key, value in whole.state_dict().items()}
    whole.update()
    assert all(torch.equal(value, before[key]) for key, value in whole.state_dict().items())


def test_ema_first_step_takes_codes_from_the_frames():
    torch.manual_seed(3)
    quantizer = EMAQuantizer(4, 2, patience=5).train()
    x = 7 + torch.randn(1, 50, 2)
    priority = torch.rand(1, 50)
    _, ids, _ = quantizer(x, torch.zeros(1, 50, dtype=torch.bool), priority)
    unused = sorted(set(range(4)) - set(ids[0].tolist()))
    assert unused
    quantizer.update()
    best = priority[0].topk(len(unused)).indices
    torch.testing.assert_close(quantizer.codebook[unused], x[0, best])


def test_ema_revives_a_code_after_its_patience():
    quantizer = ema([[0.0], [100.0]], patience=3)
    x, pad = torch.tensor([[[1.0], [-1.0], [2.0]]]), torch.zeros(1, 3, dtype=torch.bool)
    for step in range(1, 5):
        quantizer(x, pad, torch.tensor([[0.1, 0.2, 0.9]]))
        quantizer.update()
        # Idle for 1, 2, 3 steps: where it was, but for the smoothing; at the fourth the frame of priority 0.9.
        assert (float(quantizer.codebook[1, 0]) > 50) == (step < 4)
    assert float(quantizer.codebook[1, 0]) == 2.0 and int(quantizer.idle[1]) == 0
    quantizer(x, pad)
    quantizer.update()
    assert quantizer.idle.tolist() == [0, 0]


def test_ema_finds_clusters():
    torch.manual_seed(4)
    centres = torch.tensor([[0.0, 0], [8, 0], [0, 8], [8, 8], [4, 4]])
    quantizer = EMAQuantizer(32, 2, decay=0.9).train()
    for _ in range(60):
        x = (centres[torch.randint(5, (1, 300))] + 0.1 * torch.randn(1, 300, 2))
        quantizer(x, torch.zeros(1, 300, dtype=torch.bool))
        quantizer.update()
    quantizer.eval()
    out, ids, commitment = quantizer(centres[None], torch.zeros(1, 5, dtype=torch.bool))
    assert len(set(ids[0].tolist())) == 5
    assert float(commitment) / 5 < 0.1


def _one_process(rank: int, port: int, x: torch.Tensor, priority: torch.Tensor, state: dict, results) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    quantizer = EMAQuantizer(6, 3, decay=0.8).train()
    quantizer.load_state_dict(state)
    share = slice(0, 2) if rank == 0 else slice(2, 3)
    for _ in range(2):
        quantizer(x[share], torch.zeros(x[share].shape[:2], dtype=torch.bool), priority[share])
        quantizer.update()
    probs = (1.0 + rank) * torch.arange(1.0, 7).view(2, 3).requires_grad_()
    value = diversity(probs, 6.0 + rank)
    results.put((rank, {key: value.tolist() for key, value in quantizer.state_dict().items()}, float(value)))
    dist.destroy_process_group()


def test_ema_two_processes_equal_one():
    torch.manual_seed(5)
    x, priority = torch.randn(3, 20, 3), torch.rand(3, 20)
    alone = EMAQuantizer(6, 3, decay=0.8).train()
    state = {key: value.clone() for key, value in alone.state_dict().items()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=_one_process, args=(rank, port, x, priority, state, results))
                 for rank in range(2)]
    for process in processes:
        process.start()
    both = [results.get() for _ in processes]
    for process in processes:
        process.join()
    for _ in range(2):
        alone(x, torch.zeros(3, 20, dtype=torch.bool), priority)
        alone.update()
    sums = 3 * torch.arange(1.0, 7).view(2, 3)
    for _, found, value in both:
        for key, wanted in alone.state_dict().items():
            torch.testing.assert_close(torch.tensor(found[key], dtype=wanted.dtype), wanted, rtol=1e-5, atol=1e-6)
        assert value == pytest.approx(float(diversity(sums, 13.0)), abs=1e-6)


# k-means with gradient


def test_kmeans_by_loop():
    torch.manual_seed(6)
    quantizer = KMeansQuantizer(6, 2, 4)
    with torch.no_grad():
        quantizer.codebook.mul_(100)
    x = torch.randn(2, 5, 6, requires_grad=True)
    pad = pad_mask(torch.tensor([5, 3]), 5)
    out, ids, to_codes, to_x = quantizer(x, pad)
    total = 0.0
    for b, length in enumerate((5, 3)):
        peer = torch.nn.functional.group_norm(quantizer.project(x[b:b + 1, :length].transpose(1, 2)), 2)
        for n in range(length):
            for g in range(2):
                part = peer[0, 3 * g:3 * g + 3, n]
                distances = (quantizer.codebook[g] - part).square().sum(1)
                assert int(ids[b, n, g]) == int(distances.argmin())
                total += float(distances.min().detach())
                torch.testing.assert_close(out[b, n, 3 * g:3 * g + 3], quantizer.codebook[g, ids[b, n, g]])
    assert float(to_codes.detach()) == pytest.approx(total, rel=1e-4)
    assert float(to_x.detach()) == pytest.approx(total, rel=1e-4)
    # Each side's gradient only.
    assert torch.autograd.grad(to_codes, x, retain_graph=True, allow_unused=True)[0] is None
    assert torch.autograd.grad(to_x, quantizer.codebook, retain_graph=True, allow_unused=True)[0] is None
    assert torch.autograd.grad(to_x, x, retain_graph=True)[0].abs().sum() > 0
    gradient, = torch.autograd.grad(to_codes, quantizer.codebook)
    used = torch.zeros(2, 4, dtype=torch.bool)
    for b, length in enumerate((5, 3)):
        for g in range(2):
            used[g, ids[b, :length, g]] = True
    assert torch.equal(gradient.abs().sum(-1) > 0, used)


def test_kmeans_shared_codebook():
    quantizer = KMeansQuantizer(6, 2, 4, shared=True)
    out, ids, _, _ = quantizer(torch.randn(1, 3, 6), torch.zeros(1, 3, dtype=torch.bool))
    torch.testing.assert_close(out[0, 1, 3:], quantizer.codebook[0, ids[0, 1, 1]])
