"""Optuna's plots of a study, as pictures and pages."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import write_atomic, write_text

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

# Scores that differ by less are the same to a plot of what matters.
SAME_SCORE = 1e-6


def write_study_reports(study: optuna.Study, folder: Path) -> None:
    """trials.csv, and each of Optuna's plots as a PNG and an interactive page.

    The pages share plotly's script beside them, so that the folder can be moved or sent, and opened without a network.
    """
    import matplotlib
    import optuna

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from plotly.offline import get_plotlyjs

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "plotly.min.js", get_plotlyjs())
    write_text(folder / "trials.csv", study.trials_dataframe().to_csv(index=False))
    shown = optuna.create_study(direction="maximize")
    # the baseline trial holds no suggested settings, so only the history can show it
    shown.add_trials([trial for trial in study.get_trials(deepcopy=False) if trial.params])
    values = [trial.value for trial in shown.trials if trial.value is not None and trial.state.name == "COMPLETE"]
    few = "" if len(values) > 1 else "Too few complete trials for this plot"
    # fANOVA has no variance to share out where trials do not differ
    level = few or ("" if max(values) - min(values) > SAME_SCORE else "No setting changes the score")
    figures: dict[str, tuple[str, optuna.Study, dict[str, Any]]] = {
        "optimization_history": ("plot_optimization_history", study, {}),
        "param_importances": (
            "plot_param_importances",
            shown,
            {"evaluator": optuna.importance.FanovaImportanceEvaluator(seed=0)},
        ),
        "parallel_coordinate": ("plot_parallel_coordinate", shown, {}),
        "slice": ("plot_slice", shown, {}),
    }
    for name, (function, source, options) in figures.items():
        reason = "" if source is study else level if name == "param_importances" else few
        if reason:
            write_text(folder / f"{name}.html", f"<!doctype html><title>{name}</title><p>{reason}.</p>\n")
            figure = pyplot.figure()
            figure.text(0.5, 0.5, reason, ha="center")
        else:
            page = getattr(optuna.visualization, function)(source, **options)
            write_text(folder / f"{name}.html", page.to_html(include_plotlyjs="plotly.min.js"))
            # Optuna sets the style of all figures; the context takes it back
            with warnings.catch_warnings(), pyplot.style.context("default"):
                warnings.simplefilter("ignore")
                axes = getattr(optuna.visualization.matplotlib, function)(source, **options)
            figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
            figure.set_size_inches(14 if name == "slice" else 9, 5)
            if name == "parallel_coordinate":
                make_readable(figure)
        write_atomic(folder / f"{name}.png", partial(figure.savefig, dpi=110, bbox_inches="tight"))
        pyplot.close("all")


def make_readable(figure: Figure) -> None:
    """Parallel coordinates without the grid of each axis, and with a plain ground behind the numbers."""
    for axes in figure.axes:
        axes.grid(False)
        axes.set_facecolor("white")
        for label in axes.get_yticklabels():
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
