"""The figures of the report. Each function returns a matplotlib Figure; `png` and `svg` turn one into bytes.

Colours are told apart by the colour-blind (Paul Tol's "muted" and Okabe and Ito's sets), and where there are many a
marker or a label says the same. The bytes depend on the values alone: no time, no random names.
"""

import io
import math

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

COLOURS = ("#332288", "#cc6677", "#117733", "#ddaa33", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499",
           "#0072b2", "#d55e00", "#555555")
MARKERS = "o^sDvP"
TRAIN, DEV = "#9aa5b1", "#0b5394"
ALIGNED, TRUE = "#0b5394", "#d55e00"
STYLE = {"font.size": 9, "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False,
         "axes.edgecolor": "#60707f", "axes.labelcolor": "#2b3640", "xtick.color": "#60707f", "ytick.color": "#60707f",
         "xtick.labelcolor": "#2b3640", "ytick.labelcolor": "#2b3640", "axes.titlesize": 9.5,
         "axes.titleweight": "bold",
         "axes.titlecolor": "#1c242b", "axes.titlelocation": "left", "axes.linewidth": 0.7, "figure.facecolor": "white",
         "axes.facecolor": "white", "svg.hashsalt": "speechrep", "svg.fonttype": "path", "legend.frameon": False}


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG."""
    return _save(figure, "png", dpi=dpi, metadata={"Software": None})


def svg(figure: Figure) -> bytes:
    """The figure as SVG, text as outlines, so that it looks the same wherever it is opened."""
    return _save(figure, "svg", metadata={"Date": None, "Creator": None})


def loss_curves(log: dict[str, dict[str, list[tuple[int, float]]]], columns: int = 4) -> Figure:
    """One small plot for each value that a run logged, training and dev.

    log: part -> name -> [(step, value)] as `speechrep.report.collect.read_log` returns it. The total comes first, the
    norm of the gradient and the learning rate last. Positive values that span more than a factor of 30 get a
    logarithmic axis.
    """
    names = list(dict.fromkeys(name for part in ("train", "dev") for name in log.get(part, {})))
    last = [name for name in names if name.startswith("grad_norm")] + [name for name in names if name == "lr"]
    names = [name for name in names if name == "loss"] + [name for name in names if name not in ("loss", *last)] + last
    columns = max(1, min(columns, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.75 * columns, 1.95 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, name in zip(axes, names):
            drawn = [_curve(axis, log.get(part, {}).get(name, []), part) for part in ("train", "dev")]
            values = np.concatenate(drawn)
            values = values[np.isfinite(values)]
            if len(values) and values.min() > 0 and values.max() > 30 * values.min() and name != "lr":
                axis.set_yscale("log")
                axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
                axis.yaxis.set_major_formatter("{x:g}")
                axis.yaxis.set_minor_formatter(NullFormatter())
            axis.set_title(name.replace("_", " "))
            axis.set_xlabel("step")
            axis.grid(axis="y", color="#e4e8ec", linewidth=0.6)
            axis.locator_params(axis="x", nbins=5)
        for axis in axes[len(names):]:
            axis.set_visible(False)
        if names:
            handles = [Line2D([], [], color=TRAIN, lw=1.2),
                       Line2D([], [], color=DEV, lw=1.4, marker="o", ms=3)]
            axes[0].legend(handles, ["train", "dev"], loc="upper right", fontsize=8, handlelength=1.6)
    return figure


def _curve(axis, points: list[tuple[int, float]], part: str) -> np.ndarray:
    if not points:
        return np.zeros(0)
    steps, values = np.array(points, dtype=float).T
    if part == "train":
        axis.plot(steps, values, color=TRAIN, linewidth=1.0)
    else:
        axis.plot(steps, values, color=DEV, linewidth=1.3, marker="o", markersize=2.6 if len(steps) < 40 else 0)
    return values


def alignment(samples: np.ndarray, rate_hz: int, mel: np.ndarray, hop_sec: float, centres_hz: np.ndarray,
              phones: list[str], ends: list[float], true_phones: list[str] | None = None,
              true_ends: list[float] | None = None) -> Figure:
    """Waveform and log-mel of one utterance under its phone boundaries.

    samples [T] in [-1, 1]; mel [N, D] natural logarithm; centres_hz [D] of the mel bands; `ends` are end times in
    seconds. With `true_phones` and `true_ends` the true boundaries stand beside the found ones.
    """
    seconds = len(samples) / rate_hz
    strips = [("aligned", phones, ends, ALIGNED)]
    if true_phones is not None:
        strips.append(("true", true_phones, true_ends, TRUE))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.9 + 0.3 * len(strips)), layout="constrained")
        axes = figure.subplots(2 + len(strips), 1, sharex=True,
                               height_ratios=[1.1, *[0.28] * len(strips), 2.6])
        wave, mel_axis = axes[0], axes[-1]
        wave.plot(np.arange(len(samples)) / rate_hz, samples, color="#4a5866", linewidth=0.5)
        wave.set_ylabel("amplitude")
        size = max(0.05, float(np.abs(samples).max()) * 1.05)
        wave.set_ylim(-size, size)
        for axis, (name, labels, bounds, colour) in zip(axes[1:], strips):
            _strip(axis, name, labels, bounds, colour, seconds)
        low, high = np.percentile(mel, [5, 99.7]) if mel.size else (0, 1)
        image = mel_axis.imshow(mel.T, origin="lower", aspect="auto", cmap="gray_r", vmin=low, vmax=high,
                                extent=(0, len(mel) * hop_sec, -0.5, mel.shape[1] - 0.5), interpolation="nearest")
        shown = [hz for hz in (250, 500, 1000, 2000, 4000, 8000) if hz <= centres_hz[-1]]
        mel_axis.set_yticks(np.interp(shown, centres_hz, np.arange(len(centres_hz))), [f"{hz:,}" for hz in shown])
        mel_axis.set_ylabel("mel band centre (Hz)")
        mel_axis.set_xlabel("time (s)")
        for axis in (wave, mel_axis):
            axis.vlines(ends[:-1], *axis.get_ylim(), color=ALIGNED, linewidth=0.9, alpha=0.85)
            if true_ends is not None:
                axis.vlines(true_ends[:-1], *axis.get_ylim(), color=TRUE, linewidth=0.9, linestyles=(0, (3, 2)))
        mel_axis.set_xlim(0, seconds)
        figure.colorbar(image, ax=mel_axis, pad=0.01, fraction=0.03, label="log magnitude")
    return figure


def _strip(axis, name: str, labels: list[str], ends: list[float], colour: str, seconds: float) -> None:
    starts = [0.0, *ends[:-1]]
    axis.vlines([0.0, *ends], 0, 1, color=colour, linewidth=0.9)
    for label, start, end in zip(labels, starts, ends):
        room = (end - start) / seconds * 130 / max(1, len(label))
        if label != "SIL":
            axis.text((start + end) / 2, 0.45, label, ha="center", va="center", color=colour, clip_on=True,
                      fontsize=float(np.clip(9 * room, 5, 8.5)))
        else:
            axis.axvspan(start, end, color="#eef1f4", linewidth=0)
    axis.set_ylim(0, 1)
    axis.set_yticks([0.45], [name])
    axis.tick_params(axis="both", length=0)
    axis.tick_params(axis="x", labelbottom=False)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)


def similarity(matrix: np.ndarray, phones: list[str], durations: list[int], hop_sec: float) -> Figure:
    """The cosine of every speech frame with every phoneme frame of one utterance.

    matrix [N, N], rows speech frames, columns frames of the phoneme encoder; durations in frames of the joint space,
    one for each of `phones`, sum N.
    """
    ends = np.cumsum(durations)
    centres = ends - np.asarray(durations) / 2 - 0.5
    bound = max(0.1, float(np.abs(matrix).max()))
    many = sum(1 for duration in durations if duration)
    labelled = np.flatnonzero(durations)
    size = float(np.clip(2.6 + 0.135 * many, 5.5, 10))
    font = float(np.clip(72 * (size - 1.6) / max(many, 1) * 0.75, 4, 8))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(size + 0.9, size), layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(matrix, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
        for end in ends[:-1]:
            axis.axhline(end - 0.5, color="#1c242b", linewidth=0.3, alpha=0.35)
            axis.axvline(end - 0.5, color="#1c242b", linewidth=0.3, alpha=0.35)
        names = [phones[i] for i in labelled]
        # Every other name stands further out, so that those of short phones do not overlap.
        for kind, first, pad in (("major", 0, 2), ("minor", 1, 4 + 2.2 * font)):
            places, shown = centres[labelled[first::2]], names[first::2]
            axis.set_xticks(places, shown, fontsize=font, rotation=90, minor=kind == "minor")
            axis.set_yticks(places, shown, fontsize=font, minor=kind == "minor")
            axis.tick_params(which=kind, length=0, pad=pad)
        axis.set_xlabel(f"phoneme encoder, frames of {1000 * hop_sec:g} ms")
        axis.set_ylabel(f"speech encoder, frames of {1000 * hop_sec:g} ms")
        for side in axis.spines.values():
            side.set_visible(True)
        figure.colorbar(image, ax=axis, pad=0.015, fraction=0.04, label="cosine similarity")
    return figure


def frequent_phones(phones: np.ndarray, most: int = 12) -> list[str]:
    """The `most` frequent names of phones [N], the most frequent first."""
    names, counts = np.unique(phones, return_counts=True)
    return names[np.argsort(-counts, kind="stable")[:most]].tolist()


def joint_map(points: np.ndarray, phones: np.ndarray, speakers: np.ndarray, frequent: list[str]) -> Figure:
    """Frames as points in a plane, twice: coloured by phone (those in `frequent`) and by speaker.

    points [N, 2]; phones [N] and speakers [N] are names.
    """
    frequent = [name for name in frequent if (phones == name).any()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 5.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        rest = ~np.isin(phones, frequent)
        left.scatter(*points[rest].T, s=_dot(points) / 2, color="#d5dbe1", linewidths=0, rasterized=True)
        _clouds(left, points, phones, frequent)
        for name in frequent:
            text = left.text(*_middle(points[phones == name]), name, fontsize=11, fontweight="bold", ha="center",
                             va="center", color=COLOURS[frequent.index(name) % len(COLOURS)])
            text.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])
        left.set_title(f"by phone: {len(frequent)} frequent ones" + (", others grey" if rest.any() else ""))
        voices = sorted(set(speakers.tolist()))
        order = np.random.default_rng(0).permutation(len(points))
        _clouds(right, points[order], speakers[order], voices, mixed=True)
        right.set_title("by speaker")
        handles = [Line2D([], [], linestyle="", markersize=5, color=COLOURS[i % len(COLOURS)],
                                           marker=MARKERS[i // len(COLOURS) % len(MARKERS)])
                   for i in range(len(voices))]
        right.legend(handles[:24], voices[:24], loc="upper center", bbox_to_anchor=(0.5, 0.0), fontsize=8,
                     ncols=min(6, len(voices)) or 1, handletextpad=0.1, columnspacing=1.0)
        for axis in (left, right):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_aspect("equal", adjustable="datalim")
            for side in axis.spines.values():
                side.set_visible(True)
                side.set_color("#d5dbe1")
    return figure


def _clouds(axis, points: np.ndarray, labels: np.ndarray, names: list[str], mixed: bool = False) -> None:
    if mixed:  # one drawing order for all, lest the last speaker hide the others
        numbers = np.searchsorted(names, labels)
        colours = np.array(COLOURS)[numbers % len(COLOURS)]
        for shape, marker in enumerate(MARKERS):
            chosen = numbers // len(COLOURS) % len(MARKERS) == shape
            axis.scatter(*points[chosen].T, s=_dot(points), c=colours[chosen], marker=marker, linewidths=0, alpha=0.75,
                         rasterized=True)
        return
    for i, name in enumerate(names):
        axis.scatter(*points[labels == name].T, s=_dot(points), color=COLOURS[i % len(COLOURS)], linewidths=0,
                     alpha=0.75, marker=MARKERS[i // len(COLOURS) % len(MARKERS)], rasterized=True)


def _dot(points: np.ndarray) -> float:
    """The area of a marker in square points: few frames get larger ones."""
    return float(np.clip(24000 / max(1, len(points)), 7, 30))


def _middle(points: np.ndarray) -> np.ndarray:
    """Of the points, the one nearest all others: a mean may lie where there are none."""
    distances = np.abs(points[:, None, :] - points[None, :400, :]).sum((1, 2))
    return points[int(distances.argmin())]


def _save(figure: Figure, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=kind, bbox_inches="tight", pad_inches=0.06, **options)
    return buffer.getvalue()
