"""Checkpoints on a full disk, and files that are none."""

from types import SimpleNamespace

import pytest
import torch

from speechrep.errors import SpeechrepError
from speechrep.train import checkpoint


def test_a_full_disk_is_called_one(tmp_path, monkeypatch):
    """Torch itself says "unexpected pos" of it; any other failure keeps its own words."""
    checkpoint.save(tmp_path / "a.pt", {"step": 1})

    def fails(content, file):
        file.write(b"half")
        raise RuntimeError("unexpected pos 320 vs 256")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(RuntimeError, match="unexpected pos"):
        checkpoint.save(tmp_path / "a.pt", {"step": 2})
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="No space left on device: .*a.pt") as error:
        checkpoint.save(tmp_path / "a.pt", {"step": 2})
    assert error.value.errno == 28 and checkpoint.load(tmp_path / "a.pt")["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_that_wants_to_run_code_is_not_advised_to(tmp_path):
    torch.save({"format": checkpoint.FORMAT, "model": SimpleNamespace(a=1)}, tmp_path / "odd.pt")
    with pytest.raises(SpeechrepError, match=r"not readable as a checkpoint of tensors and plain values \(it holds more") as error:
        checkpoint.load(tmp_path / "odd.pt")
    assert "weights_only" not in str(error.value)
