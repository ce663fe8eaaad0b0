"""Picture networks: torchvision's layout by its parameter counts and names, a block by a plain computation."""

import pytest
import torch
import torch.nn.functional as F

from speechrep.errors import SpeechrepError
from speechrep.nn.picture_norm import FrozenNorm
from speechrep.nn.pictures import load_weights
from speechrep.nn.resnet import LAYOUTS, Basic, ResNet


@pytest.mark.parametrize("layout, count", [("resnet18", 11_176_512), ("resnet34", 21_284_672), ("resnet50", 23_508_032)])
def test_as_many_parameters_as_published(layout, count):
    """torchvision's counts (11,689,512; 21,797,672; 25,557,032) less those of the classifier of 1000 classes."""
    network = ResNet(layout, norm="group")
    assert sum(p.numel() for p in network.parameters()) == count
    assert network.dim == (2048 if layout == "resnet50" else 512)


def test_names_and_shapes_are_torchvisions():
    state = ResNet("resnet50", norm="frozen").state_dict()
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert state["layer2.0.conv2.weight"].shape == (128, 128, 3, 3)
    assert state["layer4.2.bn3.running_var"].shape == (2048,)
    assert "layer1.1.downsample.0.weight" not in state
    assert "layer1.0.downsample.0.weight" not in ResNet("resnet18", norm="frozen").state_dict()


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_32nd_of_the_side_remains_or_a_16th(layout):
    x = torch.randn(2, 3, 64, 64)
    assert ResNet(layout, width=8)(x).shape[2:] == (2, 2)
    assert ResNet(layout, width=8, small=True)(x).shape[2:] == (4, 4)


def test_frozen_norm_is_batch_norm_in_eval():
    torch.manual_seed(0)
    peer = torch.nn.BatchNorm2d(5).eval()
    for tensor in (peer.weight.data, peer.bias.data, peer.running_mean):
        tensor.normal_()
    peer.running_var.uniform_(0.5, 2)
    ours = FrozenNorm(5)
    ours.load_state_dict({k: v for k, v in peer.state_dict().items() if k != "num_batches_tracked"})
    x = torch.randn(2, 5, 3, 3)
    torch.testing.assert_close(ours(x), peer(x))
    assert list(ours.parameters()) == []


def test_basic_block_is_the_papers():
    torch.manual_seed(1)
    block, x = Basic(4, 6, 2, "frozen"), torch.randn(1, 4, 6, 6)
    inner = F.conv2d(F.relu(F.conv2d(x, block.conv1.weight, stride=2, padding=1) / (1 + 1e-5) ** 0.5),
                     block.conv2.weight, padding=1) / (1 + 1e-5) ** 0.5
    short = F.conv2d(x, block.downsample[0].weight, stride=2) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(block(x), F.relu(inner + short))


def test_weights_from_a_file(tmp_path):
    torch.manual_seed(2)
    source = ResNet("resnet18", norm="frozen").eval()
    content = source.state_dict() | {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2),
                                     "bn1.num_batches_tracked": torch.tensor(3)}
    torch.save(content, tmp_path / "r18.pth")
    network, x = ResNet("resnet18", norm="frozen"), torch.randn(1, 3, 64, 64)
    load_weights(network, tmp_path / "r18.pth")
    torch.testing.assert_close(network(x), source(x))
    with pytest.raises(SpeechrepError, match="not the weights of this network"):
        load_weights(ResNet("resnet34", norm="frozen"), tmp_path / "r18.pth")
    with pytest.raises(SpeechrepError, match="no such file"):
        load_weights(network, tmp_path / "none.pth")
