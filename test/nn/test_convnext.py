import torch

from speechrep.nn.convnext import ConvNeXtBackbone, ConvNeXtBlock


def test_block_is_the_formula():
    torch.manual_seed(0)
    block = ConvNeXtBlock(6, 10, kernel=3, scale=0.5)
    x = torch.randn(1, 6, 9)
    middle = torch.stack([sum(x[0, c, t + k - 1] * block.dwconv.weight[c, 0, k] for k in range(3) if 0 <= t + k - 1 < 9)
                          + block.dwconv.bias[c] for c in range(6) for t in range(9)]).view(6, 9)
    normed = (middle - middle.mean(0)) / (middle.var(0, unbiased=False) + 1e-6).sqrt()
    hidden = block.pwconv1.weight @ normed + block.pwconv1.bias[:, None]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2 ** 0.5))
    expected = x[0] + 0.5 * (block.pwconv2.weight @ hidden + block.pwconv2.bias[:, None])
    torch.testing.assert_close(block(x)[0], expected, atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing():
    torch.manual_seed(1)
    backbone = ConvNeXtBackbone(5, 16, 32, layers=3)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(2, 20, 5)
    frames = torch.ones(2, 1, 20)
    frames[0, :, 13:] = 0
    torch.testing.assert_close(backbone(x, frames)[0, :13], backbone(x[:1, :13])[0], atol=1e-5, rtol=1e-4)


def test_names_are_those_of_the_released_models():
    names = set(ConvNeXtBackbone(5, 16, 32, layers=1).state_dict())
    assert names == {f"{part}.{kind}" for part in ("embed", "norm", "final_layer_norm", "convnext.0.dwconv",
                                                   "convnext.0.norm", "convnext.0.pwconv1", "convnext.0.pwconv2")
                     for kind in ("weight", "bias")} | {"convnext.0.gamma"}
