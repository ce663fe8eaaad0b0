"""The learning rate by hand, and what a checkpoint refuses."""

import pytest
import torch

from speechrep.errors import SpeechrepError
from speechrep.train import checkpoint
from speechrep.train.schedule import rate_at


def test_it_rises_and_falls():
    assert rate_at(0, 1.0, 100, 10, "cosine", 0.1) == pytest.approx(0.1)
    assert rate_at(9, 1.0, 100, 10, "cosine", 0.1) == pytest.approx(1.0)
    assert rate_at(55, 1.0, 100, 10, "cosine", 0.1) == pytest.approx(0.55)
    assert rate_at(100, 1.0, 100, 10, "cosine", 0.1) == pytest.approx(0.1)
    assert rate_at(55, 1.0, 100, 10, "linear", 0.0) == pytest.approx(0.5)
    assert rate_at(39, 1.0, 100, 10, "inverse_sqrt", 0.0) == pytest.approx(0.5)
    assert rate_at(70, 2.0, 100, 10, "constant", 0.0) == 2.0


def test_a_checkpoint_of_another_program_or_with_code_in_it_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("code ran",)

    torch.save({"model": {}}, tmp_path / "foreign.pt")
    torch.save({"format": checkpoint.FORMAT, "trap": Trap()}, tmp_path / "trap.pt")
    (tmp_path / "torn.pt").write_bytes((tmp_path / "foreign.pt").read_bytes()[:100])
    for name, words in (("foreign", "another program"), ("trap", "not readable"), ("torn", "not readable"),
                        ("absent", "no such file")):
        with pytest.raises(SpeechrepError, match=words):
            checkpoint.load(tmp_path / f"{name}.pt")


def test_generators_go_back_to_where_they_were():
    import random

    import numpy as np
    state = checkpoint.rng_state()
    drawn = torch.rand(3), random.random(), np.random.rand()
    checkpoint.set_rng_state(state)
    again = torch.rand(3), random.random(), np.random.rand()
    assert torch.equal(drawn[0], again[0]) and drawn[1:] == again[1:]
