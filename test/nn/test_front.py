"""Front ends against torch's own convolutions, one utterance at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from speechrep.nn.front import MelFront, WaveFront, scale_gradient, unit_audio
from speechrep.nn.strided_conv import strided_conv

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


@pytest.mark.parametrize("kernel, stride", [(3, 2), (2, 2), (10, 5), (8, 4), (4, 2), (1, 1), (2, 3), (7, 2)])
@pytest.mark.parametrize("has_bias", [False, True])
def test_strided_conv_is_conv1d_with_its_gradients(kernel, stride, has_bias):
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(size, generator=draw, dtype=torch.double).requires_grad_()
                       for size in ((60, 6), (7, 6, kernel), (7,)))
    wanted = (x, weight, bias) if has_bias else (x, weight)
    ours = strided_conv(x, weight, bias if has_bias else None, stride)
    peer = F.conv1d(F.pad(x.T[None], (0, max(kernel - stride, 0))), weight, bias if has_bias else None, stride)[0].T
    torch.testing.assert_close(ours, peer)
    up = torch.randn(ours.shape, generator=draw, dtype=torch.double)
    for a, b in zip(torch.autograd.grad(ours, wanted, up), torch.autograd.grad(peer, wanted, up), strict=True):
        torch.testing.assert_close(a, b)


def plainly(front: WaveFront, audio: torch.Tensor) -> torch.Tensor:
    """One utterance [T] -> [N, C], as the papers' code has it."""
    x = audio[None, None]
    for i, (weight, stride) in enumerate(zip(front.weights, front.strides)):
        skipped = front.norm == "group"
        bias = None if front.biases is None or i < skipped else front.biases[i - skipped]
        x = F.conv1d(x, weight, bias, stride)
        if front.norm == "group":
            x = F.group_norm(x, x.shape[1], front.gains[0], front.shifts[0]) if i == 0 else x
        else:
            x = F.layer_norm(x.transpose(1, 2), x.shape[1:2], front.gains[i], front.shifts[i]).transpose(1, 2)
        x = F.gelu(x) if front.activation == "gelu" else F.relu(x)
    return x[0].T


@pytest.mark.parametrize("norm, bias, activation", [("group", False, "gelu"), ("group", True, "relu"),
                                                    ("layer", True, "gelu"), ("channel", False, "relu")])
def test_a_packed_batch_gives_what_each_utterance_gives_alone(norm, bias, activation):
    torch.manual_seed(0)
    front = WaveFront((8, 8, 12, 12, 12, 12, 10), KERNELS, STRIDES, norm, bias, activation)
    for parameter in front.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    audio, lengths = torch.randn(3, 2000), torch.tensor([2000, 1230, 720])
    audio[1, 1230:] = 5.0  # what stands in padding is never heard
    frames, counts = front(audio, lengths)
    assert counts.tolist() == [6, 3, 2] and front.frame_lengths(lengths).tolist() == counts.tolist()
    alone = [plainly(front, row[:length]) for row, length in zip(audio, lengths)]
    ups = [torch.randn_like(x) for x in alone]
    for row, count, x in zip(frames, counts, alone):
        torch.testing.assert_close(row[:count], x, atol=1e-4, rtol=1e-4)
        assert not row[count:].any()
    parameters = list(front.parameters())
    ours = torch.autograd.grad(sum((row[:count] * up).sum() for row, count, up in zip(frames, counts, ups)), parameters)
    peer = torch.autograd.grad(sum((x * up).sum() for x, up in zip(alone, ups)), parameters)
    for a, b in zip(ours, peer, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=2e-3)


def test_bfloat16_stays_close():
    torch.manual_seed(0)
    front = WaveFront(32, KERNELS, STRIDES)
    audio, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    full = front(audio, lengths)[0]
    with torch.autocast("cpu", torch.bfloat16):
        half = front(audio, lengths)[0]
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).norm() < 0.03 * full.norm()
    half.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in front.parameters())


def test_mel_front_counts_and_zeroes():
    for stride in (1, 2, 4):
        front = MelFront(5, 8, stride)
        lengths = torch.tensor([13, 6])
        x, counts = front(torch.randn(2, 13, 5) * torch.tensor([[[1.0]], [[1.0]]]), lengths)
        assert counts.tolist() == [-(-13 // stride), -(-6 // stride)] == front.frame_lengths(lengths).tolist()
        assert not x[1, counts[1]:].any()
    with pytest.raises(ValueError, match="stride 3"):
        MelFront(5, 8, 3)


def test_unit_audio_looks_at_its_own_samples():
    audio = torch.tensor([[1.0, 3.0, 99.0], [2.0, 4.0, 6.0]])
    out = unit_audio(audio, torch.tensor([2, 3]))
    torch.testing.assert_close(out, torch.tensor([[-1.0, 1.0, 0.0], [-1.2247, 0.0, 1.2247]]), atol=1e-4, rtol=0)


def test_scale_gradient():
    x = torch.ones(3, requires_grad=True)
    (scale_gradient(x, 0.1) * 2).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3,), 0.2))


class Touched(TorchDispatchMode):
    """Counts the elements that operators read and write, which is what a front end's time goes into."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        if not function.is_view:
            self.count += sum(leaf.numel() for leaf in tree_leaves((arguments, named, result)) if torch.is_tensor(leaf))
        return result


def costs(front, *lengths: int) -> tuple[int, int]:
    """Elements touched in a step, forward and backward, and elements kept between the two."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().size() // tensor.element_size()
        return tensor

    shape = (len(lengths), max(lengths)) + (() if isinstance(front, WaveFront) else (8,))
    with Touched() as touched, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        heard = front.rows if isinstance(front, WaveFront) else front
        heard(torch.randn(shape), torch.tensor(lengths))[0].sum().backward()
    return touched.count, sum(kept.values())


@pytest.mark.parametrize("norm", ["group", "layer", "mel"])
def test_a_step_costs_in_proportion_to_the_audio(norm):
    """Work and memory grow by as much from three units of length to four as from one to two, and a waveform's padding costs
    next to nothing."""
    front = MelFront(8, 8, 2) if norm == "mel" else WaveFront(8, KERNELS, STRIDES, norm)
    unit = 1024 if norm == "mel" else 5 * 2048
    one, two, three, four = (costs(front, unit * count) for count in (1, 2, 3, 4))
    for kind in (0, 1):
        assert four[kind] - three[kind] == pytest.approx(two[kind] - one[kind], rel=0.02)
        assert four[kind] == pytest.approx(2 * two[kind], rel=0.05)
    if norm != "mel":
        for kind, parts in enumerate(zip(four, one)):
            assert costs(front, 4 * unit, unit)[kind] == pytest.approx(sum(parts), rel=0.1)
