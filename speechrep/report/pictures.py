"""The figures of the page of methods as files of their own, for a README."""

from pathlib import Path

from speechrep.files import atomic_path
from speechrep.report import methods_plots, plots
from speechrep.report.methods import collect_methods
from speechrep.report.methods_page import find_weights


def write_pictures(exp: Path, out: Path, earlier: Path | None = None) -> list[Path]:
    """OUT/bars.svg and, where tasks have learned weights of several layers, OUT/layers.svg, of all that stands in EXP/tasks,
    in the first with what `earlier` has (see `collect_methods`); their paths. The same scores give the same bytes. Raises
    `SpeechrepError` if nothing is scored."""
    figures = {"bars.svg": methods_plots.bars(collect_methods(exp, earlier))}
    weights = find_weights(exp)
    if weights:
        figures["layers.svg"] = methods_plots.layer_weights(weights)
    for name, figure in figures.items():
        with atomic_path(out / name) as tmp:
            tmp.write_bytes(plots.svg(figure))
    return [out / name for name in figures]
