"""The figures of the page of methods as files of their own, for a README."""

from pathlib import Path

from speechrep.files import atomic_path
from speechrep.report import methods_plots, plots
from speechrep.report.differences import compare
from speechrep.report.methods import collect_methods
from speechrep.report.methods_page import find_weights


def write_pictures(exp: Path, out: Path, earlier: Path | None = None, against: list[str] = ()) -> list[Path]:
    """Of all that stands in EXP/tasks OUT/bars.svg; OUT/ahead_of_NAME.svg for each comparison, seed by seed; and, where
    tasks have learned weights of several layers, OUT/layers.svg. Returns their paths.

    earlier (whose systems and seeds stand in the first two) and against: as of `collect_methods` and
    `speechrep.report.differences.compare`. The same scores give the same bytes. Raises `SpeechrepError` if nothing is
    scored.
    """
    found = collect_methods(exp, earlier)
    figures = {"bars.svg": methods_plots.bars(found)}
    figures |= {f"ahead_of_{one['against']}.svg": methods_plots.ahead(found, one) for one in compare(found, against)}
    weights = find_weights(exp)
    if weights:
        figures["layers.svg"] = methods_plots.layer_weights(weights)
    for name, figure in figures.items():
        with atomic_path(out / name) as tmp:
            tmp.write_bytes(plots.svg(figure))
    return [out / name for name in figures]
