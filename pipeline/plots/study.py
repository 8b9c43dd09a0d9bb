"""Optuna's plots of a study, as pictures and pages."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from pipeline.files import write_atomic, write_text

PLOTS = ("optimization_history", "param_importances", "parallel_coordinate", "slice")
# Scores that differ by less are the same to a plot of what matters.
SAME_SCORE = 1e-6


def trials_csv(study: optuna.Study) -> str:
    """A line a trial, in the order of the search: number (from 0), value (of a pruned trial its last), state, and the
    settings that it had, as params_*. No clocks: the same search writes the same file.
    """
    rows = [
        {"number": trial.number, "value": trial.value, "state": trial.state.name}
        | {f"params_{name}": value for name, value in sorted(trial.user_attrs["settings"].items())}
        for trial in study.get_trials(deepcopy=False)
    ]
    return pd.DataFrame(rows).to_csv(index=False)


def write_study_reports(study: optuna.Study, folder: Path) -> None:
    """trials.csv, and each of Optuna's plots as a PNG and an interactive page.

    The pages share plotly's script beside them, so that the folder can be moved or sent, and opened without a network.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from plotly.offline import get_plotlyjs

    write_text(folder / "plotly.min.js", get_plotlyjs())
    write_text(folder / "trials.csv", trials_csv(study))
    # the baseline trial holds no suggested settings, so only the history can show it
    searched = optuna.create_study(direction=study.direction)
    searched.add_trials([trial for trial in study.get_trials(deepcopy=False) if trial.params])
    values = [trial.values[0] for trial in searched.trials if trial.state.name == "COMPLETE"]
    for name in PLOTS:
        source, options, reason = searched, dict[str, Any](), ""
        if name == "optimization_history":
            source = study
        elif len(values) < 2:
            reason = "Too few complete trials for this plot"
        elif name == "param_importances":
            options["evaluator"] = optuna.importance.FanovaImportanceEvaluator(seed=0)
            # fANOVA has no variance to share out where trials do not differ
            reason = "" if max(values) - min(values) > SAME_SCORE else "No setting changes the score"
        if reason:
            page = f"<!doctype html><title>{name}</title><p>{reason}.</p>\n"
            figure = pyplot.figure()
            figure.text(0.5, 0.5, reason, ha="center")
        else:
            drawn = getattr(optuna.visualization, f"plot_{name}")(source, **options)
            page = drawn.to_html(include_plotlyjs="plotly.min.js")
            # Optuna sets the style of all figures; the context takes it back
            with warnings.catch_warnings(), pyplot.style.context("default"):
                warnings.simplefilter("ignore")
                axes = getattr(optuna.visualization.matplotlib, f"plot_{name}")(source, **options)
            figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
            figure.set_size_inches(14 if name == "slice" else 9, 5)
        for axes in figure.axes if name == "parallel_coordinate" else ():
            # lines cross the numbers of every axis, and a grid of each axis would do so too
            axes.grid(False)
            axes.set_facecolor("white")
            for label in axes.get_yticklabels():
                label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
        write_text(folder / f"{name}.html", page)
        write_atomic(folder / f"{name}.png", partial(figure.savefig, dpi=110, bbox_inches="tight"))
        pyplot.close("all")
