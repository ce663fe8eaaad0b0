"""A kept table beside the scores of now: rows, seeds, and what cannot stand in one column."""

import copy
from pathlib import Path

import pytest
from scipy import stats

from speechrep.bin import main
from speechrep.errors import SpeechrepError
from speechrep.files import read_json, write_json
from speechrep.metrics.score import metric, write_score
from speechrep.report.methods import collect_methods
from speechrep.report.methods_table import write_table
from speechrep.report.pictures import write_pictures

KEY = "sid:accuracy:test"


def put(exp, system, seed, value, n=10, unit="%", better="higher"):
    entry = metric(value, value - 5, value + 5, n=n, unit=unit, better=better)
    write_score(exp / f"tasks/{system}-{seed}/sid/test/score.json", task="sid", part="test", system=system, seed=seed,
                metrics={"accuracy": entry}, provenance={"config": {"upstream": "mfcc"}})


@pytest.fixture
def kept(tmp_path):
    """hubert in the seeds 0 and 1, cpc and MFCC in one."""
    for system, seed, value in (("hubert", 0, 60.0), ("hubert", 1, 64.0), ("cpc", 0, 50.0), ("mfcc", 0, 40.0)):
        put(tmp_path / "before", system, seed, value)
    write_table(tmp_path / "before")
    return tmp_path / "before/METHODS.json"


@pytest.fixture
def exp(tmp_path):
    """hubert in the seeds 1 and 2, and a method of one's own."""
    for system, seed, value in (("hubert", 1, 66.0), ("hubert", 2, 69.0), ("mine", 0, 55.0)):
        put(tmp_path / "exp", system, seed, value)
    return tmp_path / "exp"


def test_rows_and_seeds_are_joined(exp, kept):
    rows = {row["system"]: row for row in collect_methods(exp, kept)["systems"]}
    assert list(rows) == ["cpc", "hubert", "mine", "mfcc"]
    both = rows["hubert"]["scores"][KEY]
    # Seed 1 is that of now.
    assert both["by_seed"] == {"0": 60.0, "1": 66.0, "2": 69.0} and rows["hubert"]["seeds"] == [0, 1, 2]
    assert (both["low"], both["high"]) == pytest.approx(stats.t.interval(0.95, 2, 65, stats.sem([60, 66, 69])), rel=1e-4)
    assert both["value"] == 65 and both["over"] == "seeds"
    assert [name for name, row in rows.items() if "earlier" in row] == ["cpc", "hubert", "mfcc"]
    assert rows["mine"]["beats"]["mfcc"]["won"] == 1, "a kept floor is one to beat"
    assert collect_methods(exp, kept) == collect_methods(exp, kept), "joining leaves the file as it is"


def test_nothing_is_marked_that_is_all_from_now(exp, kept):
    for seed, value in ((0, 61.0), (3, 70.0)):
        put(exp, "hubert", seed, value)
    hubert = next(row for row in collect_methods(exp, kept)["systems"] if row["system"] == "hubert")
    assert "earlier" not in hubert and hubert["scores"][KEY]["by_seed"] == {"0": 61.0, "1": 66.0, "2": 69.0, "3": 70.0}


def test_a_kept_row_of_a_mean_alone_stands_as_it_is(exp, kept):
    table = read_json(kept)
    cpc = next(row for row in table["systems"] if row["system"] == "cpc")
    cpc["scores"][KEY] |= {"value": 51.0, "low": 49.0, "high": 53.0, "over": "seeds", "by_seed": {}}
    cpc["seeds"] = [0, 1, 2]
    write_json(kept, table)
    rows = {row["system"]: row for row in collect_methods(exp, kept)["systems"]}
    assert [rows["cpc"]["scores"][KEY][name] for name in ("value", "low", "high")] == [51, 49, 53]
    assert "seed)" not in write_table(exp, kept).read_text()
    put(exp, "cpc", 0, 58.0)
    cpc = next(row for row in collect_methods(exp, kept)["systems"] if row["system"] == "cpc")
    assert cpc["scores"][KEY]["value"] == 58, "of what has no seeds nothing can be joined"
    assert cpc["seeds"] == [0] and "earlier" not in cpc


def test_the_commands(exp, kept, capsys, monkeypatch):
    monkeypatch.chdir(exp.parent)
    assert main(["suite", "table", "--earlier", str(kept)]) == 0
    said = capsys.readouterr().out
    assert "| hubert (3 seeds) † |" in said and "| mine |" in said and "†: wholly or in part of an earlier run" in said
    assert main(["suite", "report", "--earlier", str(kept)]) == 0
    assert "cpc †" in (exp / "report/methods.html").read_text()
    assert b"cpc" in (exp / "report/bars.svg").read_bytes()
    assert b"cpc" not in write_pictures(exp, exp / "alone")[0].read_bytes()
    assert main(["suite", "table"]) == 0
    assert "cpc" not in (exp / "METHODS.md").read_text()


def test_a_kept_table_alone(tmp_path, kept):
    assert [row["system"] for row in collect_methods(tmp_path / "nothing", kept)["systems"]] == ["cpc", "hubert", "mfcc"]


@pytest.mark.parametrize("counts, refused", [
    ({"hubert": 11, "cpc": 11, "mfcc": 11}, "cpc"), ({"hubert": 11}, "hubert"),
    # Of frames MFCC have twice as many as a method, and a method perhaps fewer than another.
    ({"mfcc": 20}, None), ({"cpc": 5, "mfcc": 20}, None)])
def test_of_another_number_is_of_another_part(exp, kept, counts, refused):
    table = read_json(kept)
    for row in table["systems"]:
        row["scores"][KEY]["n"] = counts.get(row["system"], 10)
    write_json(kept, table)
    if refused is None:
        found = {row["system"]: row["scores"][KEY]["n"] for row in collect_methods(exp, kept)["systems"]}
        assert found == {"hubert": 10, "mine": 10, "cpc": 10} | counts
        return
    with pytest.raises(SpeechrepError, match=f"of {refused} is of n = 11, here of 10"):
        collect_methods(exp, kept)


def test_one_method_of_another_rate_is_joined(tmp_path, kept):
    """Where the kept systems differ in how many frames they have, another may."""
    table = read_json(kept)
    table["systems"][-1]["scores"][KEY]["n"] = 20
    write_json(kept, table)
    put(tmp_path / "exp", "mine", 0, 55.0, n=8)
    assert [row["system"] for row in collect_methods(tmp_path / "exp", kept)["systems"]] == ["cpc", "hubert", "mine", "mfcc"]


def test_the_table_of_voices_takes_a_method_beside_it(tmp_path):
    kept = Path(__file__).resolve().parents[2] / "egs/voices/METHODS.json"
    entry = metric(50.0, 49.0, 51.0, n=89677, unit="%", better="lower")
    write_score(tmp_path / "tasks/mine-0/frame_phones/test/score.json", task="frame_phones", part="test", system="mine", seed=0,
                metrics={"frame_error": entry}, provenance={})
    found = collect_methods(tmp_path, kept)
    assert len(found["systems"]) == len(read_json(kept)["systems"]) + 1
    mine = next(row for row in found["systems"] if row["system"] == "mine")
    assert mine["beats"]["mfcc"]["won"] == 1


def test_what_cannot_be_joined(exp, kept, tmp_path):
    table = read_json(kept)
    other = copy.deepcopy(table)
    other["columns"][0]["better"] = "lower"
    write_json(tmp_path / "way.json", other)
    with pytest.raises(SpeechrepError, match="better 'lower', here 'higher'"):
        collect_methods(exp, tmp_path / "way.json")
    with pytest.raises(SpeechrepError, match="no such file"):
        collect_methods(exp, tmp_path / "missing.json")
    for content in ({}, [], {"columns": [], "systems": [{"system": "x"}]}):
        write_json(tmp_path / "none.json", content)
        with pytest.raises(SpeechrepError, match="not a table"):
            collect_methods(exp, tmp_path / "none.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(SpeechrepError):
        collect_methods(exp, tmp_path / "text.json")
