"""test/benchmarks/align_accuracy.py --data: a table that can be worked by hand, and what it refuses."""

import sys
from pathlib import Path

import pytest

from speechrep.data.folder import write_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from align_accuracy import main  # noqa: E402

# Errors of a in ms: 10 and 0 of A, 30 of B, 70 where C begins behind the pause that was not found, 5 of its end; of b: 25.
TRUE = {"a": "SIL 0.10 A 0.20 B 0.30 SIL 0.40 C 0.50 SIL 0.60", "b": "D 0.10 SIL 0.20", "c": "SIL 0.10 E 0.20 SIL 0.30"}
FOUND = {"a": "SIL 0.11 A 0.20 B 0.33 C 0.505 SIL 0.60", "b": "D 0.125 SIL 0.20"}


def table(path, capsys, found=FOUND, true=TRUE):
    write_folder(path, {"wav.scp": {utt: f"{utt}.wav" for utt in TRUE}, "ali": found, "ali.true": true})
    status = main(["--data", str(path)])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_worked_by_hand(tmp_path, capsys):
    """Drawn are both utterances, or one of them twice: the ends of the intervals are the figures of each alone."""
    status, said = table(tmp_path / "test", capsys)
    assert status == 0
    assert said.splitlines()[0] == "| data | aligned | boundaries | mean error, ms | median, ms | within 20 ms, % |"
    assert said.splitlines()[2:] == [
        f"| {tmp_path / 'test'} | 2 of 3 | 6 | 23.3 [23.0, 25.0] | 17.5 [10.0, 25.0] | 50.0 [0.0, 60.0] |"]


@pytest.mark.parametrize("found, true, words", [
    (FOUND | {"b": "E 0.125 SIL 0.20"}, TRUE, ["ali: b: phones 'E'", "ali.true, 'D'"]),
    (FOUND | {"b": "D 0.1 D 0.125 SIL 0.20"}, TRUE, ["ali: b: phones 'D D'", "ali.true, 'D'"]),
    (FOUND, {"a": TRUE["a"]}, ["ali.true: no 'b'"]),
    ({}, TRUE, ["no utterance in it"]),
    ({"a": "SIL 0.60"}, {"a": "SIL 0.60"}, ["no phone in it but SIL"]),
])
def test_what_cannot_be_compared_is_refused(tmp_path, capsys, found, true, words):
    status, said = table(tmp_path / "test", capsys, found, true)
    assert status == 1 and all(word in said for word in words) and "|" not in said, said


def test_a_folder_that_is_not_aligned(tmp_path, capsys):
    write_folder(tmp_path / "test", {"wav.scp": {"a": "a.wav"}, "ali.true": {"a": TRUE["a"]}})
    assert main(["--data", str(tmp_path / "test")]) == 1
    assert "no 'ali' in it" in capsys.readouterr().err
