"""Figures: what is drawn, and the same bytes each time."""

import io

import matplotlib.image
import numpy as np
import pytest

from speechrep.report import plots

LOG = {"train": {"contrast": [(1, 100.0), (2, 10.0), (3, 1.0)], "lr": [(1, 1e-3)], "kl": [(1, 1.0), (2, float("nan"))]},
       "dev": {"contrast": [(3, 2.0)], "loss": [(3, 4.0)]}}


def figures():
    rng = np.random.default_rng(0)
    return {
        "losses": lambda: plots.loss_curves(LOG),
        "alignment": lambda: plots.alignment(np.sin(np.arange(8000) / 9), 8000, rng.normal(size=(100, 20)), 0.01,
                                             np.linspace(50, 3900, 20), ["SIL", "ɛː", "K"], [0.2, 0.6, 1.0],
                                             ["SIL", "ɛː", "K"], [0.21, 0.58, 1.0]),
        "similarity": lambda: plots.similarity(np.eye(6), ["SIL", "A", "B"], [2, 0, 4], 0.02),
        "map": lambda: plots.joint_map(np.random.default_rng(1).normal(size=(50, 2)), np.array(list("AB") * 25),
                                       np.array(["s1"] * 25 + ["s2"] * 25), ["A", "Z"]),
    }


@pytest.mark.parametrize("name", figures())
def test_the_same_bytes_each_time(name):
    make = figures()[name]
    first = plots.png(make(), dpi=60)
    assert first == plots.png(figures()[name](), dpi=60)
    image = matplotlib.image.imread(io.BytesIO(first))
    assert min(image.shape[:2]) > 60 and image[..., :3].std() > 0.02
    assert plots.svg(figures()[name]()) == plots.svg(figures()[name]())


def test_one_plot_for_each_loss():
    figure = plots.loss_curves(LOG)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in shown] == ["loss", "contrast", "kl", "lr"]
    contrast = shown[1]
    assert contrast.get_yscale() == "log" and shown[2].get_yscale() == "linear"
    assert [list(line.get_ydata()) for line in contrast.get_lines()] == [[100, 10, 1], [2]]
    assert plots.svg(plots.loss_curves({}))


def test_alignment_draws_both_boundaries():
    figure = figures()["alignment"]()
    assert [axis.get_yticklabels()[0].get_text() for axis in figure.axes[1:3]] == ["aligned", "true"]
    lines = [[segment[0, 0] for segment in collection.get_segments()] for collection in figure.axes[0].collections]
    assert lines == [[0.2, 0.6], [0.21, 0.58]]


def test_similarity_labels_only_phones_that_last():
    axis = figures()["similarity"]().axes[0]
    labels = [*axis.xaxis.get_majorticklabels(), *axis.xaxis.get_minorticklabels()]
    assert sorted((label.get_position()[0], label.get_text()) for label in labels) == [(0.5, "SIL"), (3.5, "B")]


def test_frequent_phones():
    assert plots.frequent_phones(np.array(list("CABBAB")), 2) == ["B", "A"]


def test_map_leaves_out_phones_without_frames():
    left, right = figures()["map"]().axes
    assert [text.get_text() for text in left.texts] == ["A"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["s1", "s2"]
