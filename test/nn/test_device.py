"""What `--device` means, on machines with and without GPUs, which are pretended."""

import pytest
import torch

from speechrep.errors import SpeechrepError
from speechrep.nn.device import find_device
from speechrep.train import distributed


@pytest.fixture
def gpus(monkeypatch):
    def pretend(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return pretend


@pytest.mark.parametrize("name, local, count, device", [
    ("auto", 0, 0, "cpu"), ("auto", 0, 2, "cuda:0"), ("auto", 1, 2, "cuda:1"), ("cpu", 1, 2, "cpu"),
    ("cuda", 0, 1, "cuda:0"), ("cuda", 1, 2, "cuda:1"), ("cuda:1", 0, 2, "cuda:1"),
])
def test_what_is_meant(gpus, name, local, count, device):
    gpus(count)
    assert find_device(name, local) == device


@pytest.mark.parametrize("name, local, count, words", [
    ("cuda", 0, 0, "GPU 0 is asked for, 0 are seen"), ("cuda:2", 0, 2, "GPU 2 is asked for, 2 are seen"),
    ("auto", 1, 1, "fewer --processes"), ("gpu", 0, 1, "--device gpu\n  wanted: cpu, cuda"),
])
def test_what_is_refused(gpus, name, local, count, words):
    gpus(count)
    with pytest.raises(SpeechrepError) as caught:
        find_device(name, local)
    assert words in str(caught.value)


def test_processes_of_a_machine_share_its_gpus(gpus, monkeypatch):
    """`--device cuda` too: torch.cuda.set_device wants a number."""
    gpus(2)
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(distributed.dist, "is_initialized", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for local in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", local)
        assert str(distributed.start("cuda").device) == f"cuda:{local}"
    assert taken == [torch.device("cuda:0"), torch.device("cuda:1")]
