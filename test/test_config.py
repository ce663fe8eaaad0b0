"""YAML -> frozen dataclass: what is converted, what is refused, and with which words."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from speechrep.config import apply_overrides, build, plain, read_yaml, write_yaml
from speechrep.errors import SpeechrepError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1


@dataclass(frozen=True)
class Outer:
    steps: int
    name: str = "a"
    kind: Literal["x", "y"] = "x"
    sizes: tuple[int, ...] = ()
    pair: tuple[float, float] = (0.9, 0.99)
    inner: Inner = field(default_factory=Inner)
    weights: dict[str, float] = field(default_factory=dict)
    limit: float | None = None


def test_values_are_converted():
    outer = build(Outer, {"steps": 3.0, "sizes": [1, 2], "inner": {"rate": "1e-3"}, "weights": {"a": 1}, "limit": None})
    assert outer == Outer(3, sizes=(1, 2), inner=Inner(0.001), weights={"a": 1.0})
    assert build(Outer, plain(outer)) == outer


@pytest.mark.parametrize("mapping, words", [
    ({"steps": 1, "nmae": "b"}, "did you mean 'name'"),
    ({"steps": "many"}, "a int"),
    ({"steps": 1.5}, "steps"),
    ({"steps": 1, "kind": "z"}, "one of x, y"),
    ({"steps": 1, "inner": {"rat": 1}}, "did you mean 'rate'"),
    ({"steps": 1, "pair": [1]}, "pair"),
    ({"steps": True}, "bool"),
    ({}, "no value for steps"),
])
def test_mistakes_are_refused_with_the_cure(mapping, words):
    with pytest.raises(SpeechrepError) as error:
        build(Outer, mapping)
    assert words in str(error.value)


def test_overrides_reach_into_sections_and_leave_the_original_alone(tmp_path):
    original = {"train": {"lr": 1.0}, "name": "a"}
    assert apply_overrides(original, ["train.lr=1e-3", "train.steps=5", "name=b"]) == {
        "train": {"lr": "1e-3", "steps": 5}, "name": "b"}
    assert original["train"] == {"lr": 1.0}
    for wrong in ("lr", "=3", "name.x=1"):
        with pytest.raises(SpeechrepError):
            apply_overrides(original, [wrong])
    write_yaml(tmp_path / "c.yaml", original)
    assert read_yaml(tmp_path / "c.yaml") == original


def test_files_that_are_no_configuration(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bad.yaml").write_text("a: [\n")
    for name, words in (("none", "no such file"), ("list", "a list at the top"), ("bad", "not readable as YAML")):
        with pytest.raises(SpeechrepError, match=words):
            read_yaml(tmp_path / f"{name}.yaml")
