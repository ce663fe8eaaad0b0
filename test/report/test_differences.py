"""How far systems are ahead of another, seed by seed: by hand, in the table, and as pictures."""

import numpy as np
import pytest
from scipy import stats
from test_methods import put
from test_page import Reader

from speechrep.bin import main
from speechrep.errors import SpeechrepError
from speechrep.report import methods_plots
from speechrep.report.differences import certain, compare, find_differences
from speechrep.report.methods import collect_methods
from speechrep.report.methods_page import make_methods_page
from speechrep.report.methods_table import write_table
from speechrep.report.pictures import write_pictures

PHONES, SPEAKERS = "asr:per:test", "sid:accuracy:test"


def errors(exp, system, *values):
    for seed, value in enumerate(values):
        put(exp, system, "asr", seed, value, kind="recognition", name="per", better="lower")


@pytest.fixture
def exp(tmp_path):
    """HuBERT and its second iteration, CPC, their networks untrained and MFCC, whose seeds differ more than the systems do."""
    exp = tmp_path / "exp"
    errors(exp, "hubert-small", 60.0, 70.0, 65.0)
    errors(exp, "hubert2-small", 58.0, 66.0, 59.0)
    errors(exp, "cpc-small", 71.0)
    errors(exp, "random-hubert", 70.0, 80.0, 75.5)
    errors(exp, "random-cpc", 70.0, 82.0)
    errors(exp, "mfcc", 90.0, 91.0)
    put(exp, "hubert-small", "sid", 0, 90.0)
    put(exp, "hubert2-small", "sid", 0, 88.0)
    put(exp, "hubert2-small", "sid", 5, 99.0)
    return exp


def test_differences_are_of_the_same_seed(exp):
    found = find_differences(collect_methods(exp), "hubert-small")
    assert [(row["system"], row["other"]) for row in found["rows"]] == [("cpc-small", "hubert-small"),
                                                                        ("hubert2-small", "hubert-small")]
    cpc, second = (row["scores"] for row in found["rows"])
    # 60 - 58, 70 - 66, 65 - 59: mean 4, deviation 2, and Student's t of two degrees.
    assert second[PHONES]["value"] == 4 and (second[PHONES]["seeds"], second[PHONES]["won"]) == (3, 3)
    assert (second[PHONES]["low"], second[PHONES]["high"]) == pytest.approx(
        stats.t.interval(0.95, 2, 4, 2 / np.sqrt(3)), abs=1e-3)
    assert not certain(second[PHONES])
    # One shared seed has no interval; of speakers more is better, and seed 5 has no fellow.
    assert cpc == {PHONES: {"value": -11, "low": None, "high": None, "seeds": 1, "won": 0}}
    assert second[SPEAKERS] == {"value": -2, "low": None, "high": None, "seeds": 1, "won": 0}


def test_each_is_compared_with_its_own_network_untrained(exp):
    found = collect_methods(exp)
    rows = {row["system"]: row for row in find_differences(found, "random")["rows"]}
    assert {name: row["other"] for name, row in rows.items()} == {
        "cpc-small": "random-cpc", "hubert-small": "random-hubert", "hubert2-small": "random-hubert"}
    # 10, 10 and 10.5: seeds that lie ten points apart, and a difference that they hardly touch.
    assert rows["hubert-small"]["scores"][PHONES]["value"] == pytest.approx(30.5 / 3)
    assert certain(rows["hubert-small"]["scores"][PHONES]) and rows["cpc-small"]["scores"][PHONES]["won"] == 0
    assert {row["other"] for row in find_differences(found, "mfcc")["rows"]} == {"mfcc"}
    with pytest.raises(SpeechrepError, match="(?s)no system is called 'hubert'.*hubert-small"):
        find_differences(found, "hubert")


def test_floors_are_compared_where_there_are_seeds(exp, tmp_path):
    assert [one["against"] for one in compare(collect_methods(exp))] == ["mfcc", "random"]
    assert [one["against"] for one in compare(collect_methods(exp), ["cpc-small"])] == ["cpc-small"]
    alone = tmp_path / "alone"
    errors(alone, "hubert-small", 60.0)
    errors(alone, "mfcc", 90.0)
    with pytest.raises(SpeechrepError, match="nothing to compare with random"):
        compare(collect_methods(alone), ["mfcc", "random"])
    assert compare(collect_methods(alone)) == [] and "ahead" not in write_table(alone).read_text()


def test_the_table(exp, capsys):
    text = write_table(exp).read_text()
    assert "## How far each is ahead of MFCC, seed by seed" in text
    section = text.split("## How far each is ahead of a network untrained, seed by seed")[1]
    assert "| system | ahead of | asr per (%) |" in section and "sid" not in section
    assert "| hubert-small | random-hubert | **10.17** [9.45, 10.88] 3 of 3 |" in section
    assert "| cpc-small | random-cpc | −1.00 0 of 1 |" in section
    assert main(["suite", "table", "--exp", str(exp), "--against", "hubert-small,cpc-small"]) == 0
    said = capsys.readouterr().out
    assert said == (exp / "METHODS.md").read_text() and "ahead of MFCC" not in said
    assert "| system | asr per (%) | sid accuracy (%) |" in said
    assert "| hubert2-small | 4.00 [−0.968, 8.97] 3 of 3 | −2.00 0 of 1 |\n" in said
    assert main(["suite", "table", "--exp", str(exp), "--against", "nobody"]) != 0


def test_the_pictures(exp, tmp_path):
    found = collect_methods(exp)
    figure = methods_plots.ahead(found, find_differences(found, "hubert-small"))
    phones, speakers = (axis for axis in figure.axes if axis.get_visible())
    assert [axis.get_title(loc="left") for axis in (phones, speakers)] == ["asr, per (%)", "sid, accuracy (%)"]
    points = [line.get_xdata()[0] for line in phones.lines if line.get_marker() == "o"]
    assert points == [-11, 4] and [line.get_xdata()[0] for line in speakers.lines if line.get_marker() == "o"] == [-2]
    assert [label.get_text() for label in phones.get_yticklabels()] == ["cpc-small", "hubert2-small"]
    assert [path.name for path in write_pictures(exp, tmp_path)] == ["bars.svg", "ahead_of_mfcc.svg", "ahead_of_random.svg"]
    made = write_pictures(exp, tmp_path, against=["hubert-small"])
    page = make_methods_page(exp, tmp_path / "data", tmp_path, against=["hubert-small"]).read_text()
    assert [image["alt"] for image in Reader(page).all("img")] == [
        "Systems by tasks as bars with intervals", "How far each is ahead of hubert-small, seed by seed"]
    assert made[1].name == "ahead_of_hubert-small.svg" and "<!-- cpc-small" in made[1].read_text()
