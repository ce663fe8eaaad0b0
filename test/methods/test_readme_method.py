"""The method that the README shows, put where it says, passes the contract like any other."""

import re
import sys
from pathlib import Path

import pytest

import speechrep.methods

sys.path.insert(0, str(Path(__file__).parent))
import test_contract as contract  # noqa: E402
from test_contract import corpus  # noqa: E402, F401

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def method(tmp_path, monkeypatch):
    blocks = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "class Method" in block]
    assert len(blocks) == 1
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    assert len(lines) <= 25, "the README's method is meant to be read at a glance"
    (tmp_path / "next_frame.py").write_text(blocks[0])
    monkeypatch.setattr(speechrep.methods, "__path__", [*speechrep.methods.__path__, str(tmp_path)])
    monkeypatch.setitem(contract.SMALL, "next_frame", {"model": {"dim": 32}, "overfit": {"share": 0.8}})
    yield "next_frame"
    sys.modules.pop("speechrep.methods.next_frame", None)


@pytest.mark.parametrize("check", [
    contract.test_losses_are_finite_named_sums_with_counts, contract.test_padding_changes_nothing,
    contract.test_a_split_batch_adds_up_to_the_whole, contract.test_gradient_reaches_every_parameter_of_a_phase,
    contract.test_frame_lengths_agree_with_layers, contract.test_ten_utterances_can_be_overfitted])
def test_it_keeps_the_contract(check, method, corpus):  # noqa: F811
    check(method, corpus)
