"""Systems by tasks: values over seeds, floors, costs, the table, its JSON and the page."""

import json

import numpy as np
import pytest
import torch
from scipy import stats
from suite_corpus import make_recipe
from test_page import Reader
from test_page_in_chromium import BROWSER, browse

from speechrep.bin import main
from speechrep.config import write_yaml
from speechrep.errors import SpeechrepError
from speechrep.files import read_json, write_json
from speechrep.metrics.score import metric, write_score
from speechrep.metrics.seeds import t_interval, t_quantile
from speechrep.report import methods_plots
from speechrep.report.methods import collect_methods, floor_of
from speechrep.report.methods_page import find_weights, make_methods_page
from speechrep.report.methods_plots import total_loss
from speechrep.report.methods_table import methods_markdown, write_table
from speechrep.report.results import number
from speechrep.report.pictures import write_pictures


def test_students_interval_agrees_with_scipy():
    for freedom in (1, 2, 5, 30, 31, 47, 300):
        assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-4)
    values = [71.5, 70.25, 74.0]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert t_interval(values) == pytest.approx((np.mean(values), low, high), rel=1e-5)
    with pytest.raises(ValueError, match="no spread"):
        t_interval([1.0])


def put(exp, system, task, seed, value, low=None, high=None, *, kind="sid", name="accuracy", better="higher", lr=None,
        upstream="mfcc", part="test", **more):
    run = exp / f"tasks/{system}-{seed}/{task}"
    entry = metric(value, low, high, n=10, unit="%", better=better)
    write_score(run / part / "score.json", task=kind, part=part, system=system, seed=seed, metrics={name: entry} | more,
                provenance={"config": {"upstream": upstream}})
    if lr is not None:
        write_yaml(run / "config.yaml", {"task": kind, "train": {"lr": lr}, "upstream": upstream})


@pytest.fixture
def exp(tmp_path):
    """hubert in two seeds and a second method, MFCC and an untrained hubert, on speakers and phones."""
    exp = tmp_path / "exp"
    for seed, value in ((0, 90.0), (1, 92.0)):
        run = tmp_path / f"hubert/small-{seed}"
        put(exp, "hubert-small", "sid", seed, value, 85, 95, lr=[1e-3, 1e-2][seed], upstream=str(run / "best.pt"))
        write_yaml(run.parent / run.name / "config.yaml", {"train": {"steps": 3600, "batch_sec": 10.0}})
        write_json(run / "done.json", {"parameters": 2_000_000 + 200_000 * seed, "train_sec": 100.0 + seed,
                                       "provenance": {"data": {"train": {"seconds": 7200.0}, "dev": {"seconds": 60.0}}}})
    put(exp, "hubert-small", "asr", 0, 30.0, 28, 32, kind="recognition", name="per", better="lower")
    put(exp, "cpc", "sid", 0, 80.0, 70, 90)
    put(exp, "mfcc", "sid", 0, 85.0, 80, 88)
    put(exp, "mfcc", "asr", 0, 40.0, 33, 42, kind="recognition", name="per", better="lower")
    put(exp, "random-hubert", "sid", 0, 95.0, 93, 97, upstream=f"random:{tmp_path}/hubert/small-0/best.pt")
    return exp


def test_what_is_collected(exp):
    found = collect_methods(exp)
    assert [column["key"] for column in found["columns"]] == ["asr:per:test", "sid:accuracy:test"]
    rows = {row["system"]: row for row in found["systems"]}
    assert list(rows) == ["cpc", "hubert-small", "mfcc", "random-hubert"]
    both = rows["hubert-small"]["scores"]["sid:accuracy:test"]
    # Two seeds: mean 91, deviation sqrt(2), standard error 1, t with one degree of freedom 12.7062.
    assert both["value"] == 91 and both["low"] == pytest.approx(91 - 12.7062) and both["high"] == pytest.approx(91 + 12.7062)
    assert both["over"] == "seeds" and both["by_seed"] == {"0": 90, "1": 92} and both["lr"] == [1e-3, 1e-2]
    alone = rows["hubert-small"]["scores"]["asr:per:test"]
    assert (alone["value"], alone["low"], alone["high"], alone["over"]) == (30, 28, 32, "utterances")
    # 3600 steps of 10 s are 10 hours, of a corpus of 2.
    assert {name: rows["hubert-small"][name] for name in ("parameters", "data_hours", "heard_hours", "train_sec")} == {
        "parameters": 2_100_000, "data_hours": 2, "heard_hours": 10, "train_sec": 100.5}
    assert rows["random-hubert"]["heard_hours"] == rows["random-hubert"]["train_sec"] == 0
    assert rows["random-hubert"]["parameters"] == 2_000_000 and rows["mfcc"]["heard_hours"] is None
    # 91 +- 12.7 against 85 is better, not clearly; 30 [28, 32] against 40 [33, 42] clearly.
    assert rows["hubert-small"]["beats"] == {
        "mfcc": {"floor": "mfcc", "of": 2, "won": 2, "clearly": 1, "lost": []},
        "random": {"floor": "random-hubert", "of": 1, "won": 0, "clearly": 0, "lost": ["sid:accuracy:test"]}}
    assert rows["cpc"]["beats"]["mfcc"]["lost"] == ["sid:accuracy:test"] and rows["mfcc"]["beats"] == {}


def test_the_table(exp):
    path = write_table(exp)
    lines = path.read_text().splitlines()
    row = next(line for line in lines if line.startswith("| hubert-small")).split("|")
    assert [cell.strip() for cell in row[1:-1]] == [
        "hubert-small (2 seeds)", "yes, 2 of 2, 1 clearly", "no, 0 of 1, 0 clearly", "30.00 [28.00, 32.00] (1 seed)",
        "**91.00** [78.29, 103.7]", "2.10", "2.00", "10.00", "100.5"]
    assert any(line.startswith("| cpc |") and "80.00 [70.00, 90.00] ▽" in line and "no, 0 of 1" in line for line in lines)
    assert "Learning rates: sid 0.001/0.01." in path.read_text()
    head = next(line for line in lines if line.startswith("| system"))
    assert "asr per (%) ↓ | sid accuracy (%) ↑" in head and "beats mfcc | beats random" in head
    assert read_json(exp / "METHODS.json") == json.loads(json.dumps(collect_methods(exp)))


def test_learning_rates_that_most_do_not_have_are_told_with_their_systems(exp):
    for system, rate in (("a", 1e-3), ("b", 1e-2), ("c", 1e-2), ("d", 1e-1)):
        put(exp, system, "ks", 0, 70.0, lr=rate)
    assert "Learning rates: ks 0.01 (0.001 a; 0.1 d); sid 0.001/0.01." in methods_markdown(collect_methods(exp))


def test_parts_folds_and_habits_have_columns_of_their_own(exp):
    put(exp, "cpc", "sid.superb", 0, 70.0)
    put(exp, "cpc", "sid", 0, 75.0, part="dev")
    put(exp, "cpc", "er/fold1", 0, 10.0, lr=1e-3)
    put(exp, "cpc", "er/fold2", 0, 10.0, lr=1e-4)
    put(exp, "cpc", "er", 0, 60.0, name="accuracy")
    found = collect_methods(exp)
    assert [column["key"] for column in found["columns"]] == [
        "asr:per:test", "er:accuracy:test", "sid:accuracy:dev", "sid:accuracy:test", "sid.superb:accuracy:test"]
    cpc = next(row for row in found["systems"] if row["system"] == "cpc")
    assert cpc["scores"]["er:accuracy:test"]["value"] == 60 and cpc["scores"]["er:accuracy:test"]["lr"] == [1e-4, 1e-3]
    text = methods_markdown(found)
    assert "Learning rates: er 0.0001/0.001; sid 0.001/0.01." in text
    assert "| sid, dev accuracy (%) ↑ | sid, test accuracy (%) ↑ |" in text and "| er accuracy" in text


def test_main_metrics_are_the_tasks_own(exp, monkeypatch):
    from speechrep.tasks import sid
    monkeypatch.setattr(sid.Task, "main_metrics", ("accuracy_es", "accuracy", "missing"))
    put(exp, "cpc", "sid", 0, 80.0, accuracy_es=metric(50.0, n=2, unit="%", better="higher"),
        accuracy_fr=metric(60.0, n=2, unit="%", better="higher"))
    assert {column["metric"] for column in collect_methods(exp)["columns"]} == {"per", "accuracy_es", "accuracy"}


def test_floors():
    names = ["mfcc", "random-cpc", "random-hubert", "mfcc-old", "x"]
    assert [floor_of("random", name, names) for name in ("hubert-small", "hubert2-small", "cpc-base", "wavlm")] == [
        "random-hubert", "random-hubert", "random-cpc", "random-cpc"]
    assert floor_of("random", "hubert2-small", [*names, "random-hubert2"]) == "random-hubert2"
    # A training with a tag has a network of its own.
    tagged = [*names, "random-hubert-small-long"]
    assert [floor_of("random", name, tagged) for name in ("hubert-small", "hubert-small-long", "hubert2-small-long")] == [
        "random-hubert", "random-hubert-small-long", "random-hubert-small-long"]
    assert floor_of("random", "hubert-small-long", names) == "random-hubert"
    assert floor_of("mfcc", "x", names) == "mfcc" and floor_of("random", "x", ["mfcc"]) is None


def test_nothing_and_what_is_no_score(tmp_path, exp):
    with pytest.raises(SpeechrepError, match="no scores"):
        write_table(tmp_path / "nothing")
    (exp / "tasks/mfcc-0/sid/test/score.json").write_text("{}")
    with pytest.raises(SpeechrepError, match="not a score"):
        write_table(exp)


def test_bars_show_every_value(exp):
    figure = methods_plots.bars(collect_methods(exp))
    axes = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in axes] == ["asr, per (%)", "sid, accuracy (%)"]
    assert sorted(patch.get_width() for patch in axes[1].patches) == [80, 85, 91, 95]
    assert [patch.get_width() for patch in axes[0].patches] == [30, 40]
    assert [axis.get_xlabel() for axis in axes] == ["← better", "better →"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["cpc", "hubert-small", "mfcc", "random-hubert"]


def test_layers_of_different_numbers():
    figure = methods_plots.layer_weights({"a-0": {"asr": np.array([0.7, 0.2, 0.1]), "sid": np.full(3, 1 / 3)},
                                          "b-0": {"sid": np.array([0.25, 0.75])}})
    first, second = (np.ma.filled(axis.images[0].get_array(), np.nan) for axis in figure.axes[:2])
    np.testing.assert_allclose(first, [[2.1, 0.6, 0.3], [1, 1, 1]])
    assert second.shape == (2, 2) and np.isnan(second[0]).all() and second[1].tolist() == [0.5, 1.5]


def test_the_loss_that_is_drawn():
    log = {"train": {"ctc": [(1, 2.0)], "lr": [(1, 0.1)]}, "dev": {"ctc": [(1, 3.0)], "loss": [(1, 3.0)]}}
    assert total_loss(log, "dev") == [(1, 3.0)] and total_loss(log, "train") == [(1, 2.0)]
    log["train"]["more"] = log["dev"]["more"] = [(1, 1.0)]
    assert total_loss(log, "train") == [] and total_loss({}, "dev") == []


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe where three systems have been trained and scored."""
    torch.set_num_threads(1)
    root = make_recipe(tmp_path_factory.mktemp("methods"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        options = ["--upstream", "mfcc,exp/apc/small-0/best.pt,random:exp/apc/small-0/best.pt", "--task", "intent,frame_phones"]
        assert main(["suite", "train", *options, "--device", "cpu"]) == 0 and main(["suite", "score", *options]) == 0
    return root


@pytest.fixture(scope="module")
def page(recipe):
    return make_methods_page(recipe / "exp", recipe / "data", recipe / "page", "Toys & <b>tests</b>").read_text()


def test_the_page_holds_everything(page, recipe):
    read = Reader(page)
    assert "Toys & <b>tests</b>" in read.text and not [p for p in read.all("p") if p.get("class") in ("missing", "problem")]
    assert [attrs["id"] for attrs in read.all("section")] == ["methods", "bars", "layers", "overview", "curves", "runs", "data"]
    table = read_json(recipe / "exp/METHODS.json")
    for row in table["systems"]:
        assert row["system"] in read.text
        for entry in row["scores"].values():
            assert number(entry["value"]) in read.text
    images = [image["src"][:22] for image in read.all("img")]
    assert images == ["data:image/svg+xml;bas", "data:image/png;base64,"] + ["data:image/svg+xml;bas"] * 2
    assert all(image["alt"] for image in read.all("img")) and "random-apc" in read.text and "apc/small-0" in read.text
    weights = find_weights(recipe / "exp")
    assert sorted(weights) == ["apc-small-0", "random-apc-0"] and sorted(weights["apc-small-0"]) == ["frame_phones", "intent"]
    assert all(own.sum() == pytest.approx(1) and len(own) == 2 for tasks in weights.values() for own in tasks.values())
    assert page == make_methods_page(recipe / "exp", recipe / "data", recipe / "again", "Toys & <b>tests</b>").read_text()


def test_the_verb_leaves_pictures_too(recipe, tmp_path, monkeypatch, capsys):
    """Beside the page, of the values and weights that it shows; of the same scores the same bytes, and none where there is
    nothing to show."""
    monkeypatch.chdir(recipe)
    assert main(["suite", "report"]) == 0
    assert {"exp/report/methods.html", "exp/report/bars.svg", "exp/report/layers.svg"} <= set(capsys.readouterr().out.split())
    made = write_pictures(recipe / "exp", tmp_path / "again")
    assert [path.name for path in made] == ["bars.svg", "layers.svg"]
    for path in made:
        assert path.read_bytes() == (recipe / "exp/report" / path.name).read_bytes()
        # Text is drawn as outlines, each behind a comment that says it.
        assert all(f"<!-- {name}" in path.read_text() for name in ("apc-small", "random-apc"))
    assert all(f"<!-- {task}" in made[1].read_text() for task in ("intent", "frame_phones"))
    (tmp_path / "exp").mkdir()
    assert main(["suite", "report", "--exp", str(tmp_path / "exp")]) == 0
    assert [path.name for path in (tmp_path / "exp/report").iterdir()] == ["methods.html"]
    with pytest.raises(SpeechrepError, match="no scores"):
        write_pictures(tmp_path / "exp", tmp_path)


def test_what_is_missing_is_named(recipe, tmp_path):
    exp = tmp_path / "exp"
    exp.mkdir()
    read = Reader(make_methods_page(exp, tmp_path / "data", tmp_path).read_text())
    assert len([p for p in read.all("p") if p.get("class") == "missing"]) == 7 and not read.all("img")
    assert "utils/evaluate.sh score" in read.text and "speechrep pretrain" in read.text
    with pytest.raises(SpeechrepError, match="no such folder"):
        make_methods_page(tmp_path / "nothing", tmp_path / "data", tmp_path)
    with pytest.raises(SpeechrepError, match="NOBODY"):
        make_methods_page(exp, tmp_path / "data", tmp_path, credits=[tmp_path / "NOBODY"])


@pytest.mark.skipif(BROWSER is None, reason="no chromium; install the Debian package chromium")
@pytest.mark.parametrize("size", ["1400,1000", "500,900"])
def test_the_page_loads(page, tmp_path, size):
    found = browse(tmp_path, page, size)
    assert found["errors"] == [] and len(found["widths"]) == 4 and all(width > 100 for width in found["widths"])
    assert all(height > 50 for height in found["sections"]) and found["overflow"] <= 0
