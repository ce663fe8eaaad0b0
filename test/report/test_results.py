"""Score files as tables: order, roles, pooled seeds, the best."""

import pytest

from speechrep.report.results import number, role_of, tables
from speechrep.report.table import over_seeds


def score(system, value, seed=0, task="tts", better="lower", path=None, notes=(), **more):
    entry = {"value": value, "low": value - 1, "high": value + 1, "n": 1234, "unit": "%", "better": better, **more}
    return {"task": task, "part": "test", "system": system, "seed": seed, "metrics": {"wer": entry},
            "notes": list(notes), "provenance": {}, "path": path or f"{system}/{seed}"}


@pytest.mark.parametrize("value, text", [(None, "–"), (0.12345, "0.123"), (-5.678, "−5.68"), (312.04, "312.0"),
                                         (12345.6, "12,346"), (0, "0.000")])
def test_number(value, text):
    assert number(value) == text


def test_roles_and_order():
    assert [role_of(name) for name in ("natural", "vocoded vocos", "mfcc", "random quick", "ctap quick")] == [
        "ceiling", "ceiling", "floor", "floor", ""]
    table, = tables([score("mfcc", 9), score("vocoded", 3), score("ctap", 5), score("natural", 2)])
    assert [row.system for row in table.rows] == ["natural", "vocoded", "ctap", "mfcc"]
    assert table.columns == [("wer", "%", "lower")]
    assert table.rows[0].cells["wer"].interval == "[1.00, 3.00]"
    assert table.rows[0].cells["wer"].count == "1,234"


@pytest.mark.parametrize("better, best", [("lower", "a"), ("higher", "c")])
def test_the_best_system_is_marked_and_never_a_ceiling_or_floor(better, best):
    table, = tables([score(name, value, better=better) for name, value in
                     (("natural", 1), ("a", 2), ("b", 3), ("c", 4), ("mfcc", 5))])
    assert [row.system for row in table.rows if row.cells["wer"].best] == [best]


def test_a_lone_system_is_not_the_best():
    table, = tables([score("natural", 1), score("a", 2)])
    assert not any(row.cells["wer"].best for row in table.rows)


def test_seeds_are_pooled_and_kept():
    table, = tables([score("a", value, seed) for seed, value in enumerate((10, 12, 14))], pool=over_seeds)
    assert [(row.seeds, row.member, row.cells["wer"].value) for row in table.rows] == [
        (3, False, "12.00"), (1, True, "10.00"), (1, True, "12.00"), (1, True, "14.00")]


def test_the_same_seed_twice_is_not_pooled():
    table, = tables([score("a", 10, 0, path="x"), score("a", 12, 0, path="y")], pool=over_seeds)
    assert [(row.seeds, row.path) for row in table.rows] == [(1, "x"), (1, "y")]


def test_chance_is_a_floor_and_tables_are_by_task():
    found = tables([score("mfcc", 50, task="recognition", chance=90), score("a", 2, task="vc"), score("a", 2)])
    assert [table.task for table in found] == ["tts", "vc", "recognition"]
    assert [(row.system, row.role, row.cells["wer"].value) for row in found[2].rows] == [
        ("mfcc", "floor", "50.00"), ("chance", "floor", "90.00")]


def test_a_note_of_all_systems_stands_once():
    table, = tables([score("a", 1, notes=["both", "mine"]), score("b", 2, notes=["both"])])
    assert table.notes == [("both", ""), ("mine", "a")]


def test_column_order():
    mixed = score("a", 1)
    mixed["metrics"] = {"x": {"value": 1}, "mcd": {"value": 2}, "wer": {"value": None}}
    table, = tables([mixed], order=("wer", "mcd"))
    assert [name for name, _, _ in table.columns] == ["wer", "mcd", "x"]
    assert table.rows[0].cells["wer"].value == "–"
