"""Evidently's charts, its drift table showing this project's verdicts."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from pipeline.console import one_line

if TYPE_CHECKING:
    from evidently.presets import DataDriftPreset


# Charts grow with the columns, by some 20 kB each; above this only the first of them are drawn.
CHART_BYTES = 2_000_000
UUID = re.compile(r"(?<=\")[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=\")")
# The compared columns, as the metrics file holds them.
Verdicts = Sequence[Mapping[str, Any]]


class Charts(NamedTuple):
    """Evidently's widgets and figures as JSON, how many columns they show, and why there are none."""

    data: str = ""
    shown: int = 0
    failure: str = ""


def draw(reference: pd.DataFrame, current: pd.DataFrame, names: Sequence[str], verdicts: Verdicts) -> Charts:
    """Charts of the named columns, of the first of them where all would make the page too large: with verdicts
    Evidently's drift table, without them its summary. Columns of text are categories.
    """
    if not names:
        return Charts()
    try:
        data = evidently_json(reference[list(names)], current[list(names)], verdicts)
    except Exception as error:  # a table that Evidently cannot draw must not hide the verdict
        return Charts(failure=f"{type(error).__name__}: {one_line(error)}")
    if len(data) > CHART_BYTES and len(names) > 1:
        return draw(reference, current, names[: len(names) * 2 // 3], verdicts)
    return Charts(data, len(names))


def evidently_json(reference: pd.DataFrame, current: pd.DataFrame, verdicts: Verdicts) -> str:
    """Widgets and figures of Evidently as JSON that a script can hold: no name or value of a table can end it."""
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.utils import NumpyEncoder
    from evidently.presets import DataSummaryPreset
    from plotly import io

    # plotly's own look would be copied into each of hundreds of figures
    io.templates.default = "none"
    numbers = list(reference.select_dtypes("float64"))
    definition = DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in reference if name not in numbers]
    )
    preset = drift_preset(list(reference), verdicts) if verdicts else DataSummaryPreset(columns=list(reference))
    sides = [Dataset.from_pandas(side, definition) for side in (current, reference)]
    text = json.dumps(Report([preset]).run(*sides).dump_dict()["widgets"], cls=NumpyEncoder)
    figures = {}

    def move_figures(node: dict[str, Any]) -> dict[str, Any]:
        # the browser takes figures from a list of their own; Evidently leaves a second copy in each widget
        for graph in node.pop("additionalGraphs", ()):
            figures[graph["id"]] = graph if "type" in graph else graph["params"]
        # after count and missing a category has its values, in an order that differs between processes
        if node.get("description") == "cat":
            node["metrics"][2:] = sorted(node["metrics"][2:], key=itemgetter("label"))
        return node

    widgets = json.loads(text, object_hook=move_figures)
    page = json.dumps({"widgets": widgets, "figures": figures}).replace("<", r"\u003c").replace(">", r"\u003e")
    # Evidently draws its ids at random; the same rows are to make the same page
    ids = {found: f"id-{number}" for number, found in enumerate(dict.fromkeys(UUID.findall(page)))}
    return UUID.sub(lambda found: ids[found[0]], page)


def drift_preset(names: list[str], verdicts: Verdicts) -> DataDriftPreset:
    """Evidently's drift preset with tests of ours: their score is how far a share of rows changed."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    def verdict(old: pd.Series, new: pd.Series, kind: ColumnType, threshold: float) -> tuple[float, bool]:
        return columns[old.name]["findings"][0]["change"], columns[old.name]["drift"]

    columns = {column["column"]: column for column in verdicts}
    tests = {name: f"change of a share ({columns[name]['findings'][0]['test']})" for name in names}
    for test in tests.values():
        register_stattest(StatTest(test, test, [ColumnType.Numerical, ColumnType.Categorical]), verdict)
    # one drifted column is drift of the table, be it one that cannot be drawn
    share = 0.0 if any(column["drift"] for column in verdicts) else 0.001
    return DataDriftPreset(columns=names, per_column_method=tests, drift_share=share)
