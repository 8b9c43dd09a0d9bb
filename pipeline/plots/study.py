"""Optuna's plots of a study, as pictures and as a page."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from pipeline.files import write_atomic, write_text
from pipeline.html import render
from pipeline.metrics import METRICS

# Optuna's plots by name: title, and what to see.
PLOTS = {
    "optimization_history": ("History", "Each complete trial, and the best so far."),
    "param_importances": ("Importance of the settings", "How much of the score's variance each setting explains."),
    "parallel_coordinate": ("Settings together", "A line a trial, darker where it is better; drag along an axis."),
    "slice": ("Settings one by one", "Each setting against the score; darker trials came later."),
}
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


def write_study_reports(study: optuna.Study, label: str, metric: str, folder: Path) -> None:
    """trials.csv, each of Optuna's plots as a PNG, and tuning.html with all of them to explore, which needs no network.

    `label` is the model and its dataset. The same study writes the same files.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from plotly.offline import get_plotlyjs

    write_text(folder / "trials.csv", trials_csv(study))
    trials = study.get_trials(deepcopy=False)
    # the baseline trial holds no suggested settings, so only the history can show it
    whole, searched = (counted_from_1(study, trials, only) for only in (False, True))
    values = [trial.values[0] for trial in searched.trials if trial.state.name == "COMPLETE"]
    figures = []
    for name, (title, words) in PLOTS.items():
        source, options, reason = searched, dict[str, Any](target_name=METRICS[metric].label), ""
        if name == "optimization_history":
            source = whole
        elif len(values) < 2:
            reason = "Too few complete trials for this plot"
        elif name == "param_importances":
            options["evaluator"] = optuna.importance.FanovaImportanceEvaluator(seed=0)
            # fANOVA has no variance to share out where trials do not differ
            alike = max(values) - min(values) <= SAME_SCORE
            reason = f"The scores of complete trials differ by at most {SAME_SCORE:g}" if alike else ""
        if reason:
            figures.append((title, f"{reason}.", "", 0))
            figure = pyplot.figure()
            figure.text(0.5, 0.5, reason, ha="center")
        else:
            drawn = getattr(optuna.visualization, f"plot_{name}")(source, **options)
            # Optuna gives each setting 300 pixels, which a page of 1280 has no room for
            drawn.update_layout(width=None, height=400, title=None, margin={"t": 40, "r": 10, "b": 60})
            drawn.update_layout(legend={"orientation": "h", "y": 1.12})
            options_of_page = {"responsive": True, "displayModeBar": False}
            page = drawn.to_html(include_plotlyjs=False, full_html=False, div_id=name, config=options_of_page)
            settings = len(searched.best_params) if name in ("slice", "parallel_coordinate") else 1
            figures.append((title, words, page, max(320, 150 * settings)))
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
            for label_of_axis in axes.get_yticklabels():
                label_of_axis.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
        write_atomic(folder / f"{name}.png", partial(figure.savefig, dpi=110, bbox_inches="tight"))
        pyplot.close("all")
    states = Counter(trial.state.name for trial in trials)
    page = render(
        Path(__file__).parent / "templates/tuning.html",
        label=label,
        metric=METRICS[metric],
        states=states,
        best=whole.best_trial,
        figures=figures,
        plotly=get_plotlyjs(),
    )
    write_text(folder / "tuning.html", page)


def counted_from_1(
    study: optuna.Study, trials: Sequence[optuna.trial.FrozenTrial], only_suggested: bool
) -> optuna.Study:
    """A study in memory whose trials have the numbers of their runs; with `only_suggested` no trial whose settings were
    not suggested. What is left out is a failed trial, which no plot shows.
    """
    counted = optuna.create_study(direction=study.direction)
    left_out = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)
    counted.add_trials([left_out, *(t if t.params or not only_suggested else left_out for t in trials)])
    return counted
