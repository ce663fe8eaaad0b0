import torch
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

from speechrep.nn.hifigan import HifiGan, merge_weight_norm


def test_weight_norm_is_merged():
    torch.manual_seed(0)
    plain = torch.nn.Conv1d(3, 4, 5)
    normed = weight_norm(torch.nn.Conv1d(3, 4, 5))
    with torch.no_grad():
        normed.parametrizations.weight.original0.mul_(1.7)
    nested = merge_weight_norm(torch.nn.ModuleDict({"conv": normed}).state_dict())
    assert set(nested) == {"conv.weight", "conv.bias"}
    torch.testing.assert_close(nested["conv.weight"], normed.weight)
    old = {"conv.weight_g": normed.parametrizations.weight.original0, "conv.weight_v":
           normed.parametrizations.weight.original1, "conv.bias": plain.bias}
    torch.testing.assert_close(merge_weight_norm(old)["conv.weight"], normed.weight)


def test_length_and_range():
    torch.manual_seed(0)
    for short in (False, True):
        network = HifiGan(10, (4, 2), (8, 4), 16, (3, 5), ((1, 3), (1, 2)), short)
        made = network(torch.randn(2, 7, 10))
        assert made.shape == (2, 56) and made.abs().max() <= 1


def test_forward_is_the_paper():
    """One upsampling, one residual block, written out with functions."""
    torch.manual_seed(1)
    network = HifiGan(3, (4,), (8,), 8, (3,), ((1, 3),))
    w = network.state_dict()

    def conv(x, name, dilation=1):
        kernel = w[f"{name}.weight"].shape[2]
        return F.conv1d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=dilation * (kernel - 1) // 2,
                        dilation=dilation)

    mel = torch.randn(1, 6, 3)
    x = F.leaky_relu(conv(mel.transpose(1, 2), "conv_pre"), 0.1)
    x = F.conv_transpose1d(x, w["ups.0.weight"], w["ups.0.bias"], stride=4, padding=2)
    for i, dilation in enumerate((1, 3)):
        y = conv(F.leaky_relu(x, 0.1), f"resblocks.0.convs1.{i}", dilation)
        x = x + conv(F.leaky_relu(y, 0.1), f"resblocks.0.convs2.{i}")
    expected = torch.tanh(conv(F.leaky_relu(x, 0.01), "conv_post"))[:, 0]
    torch.testing.assert_close(network(mel), expected)
