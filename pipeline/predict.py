"""Predict the rows of a file with a dataset's champion.

    python -m pipeline.predict customer_churn new_rows.csv predictions.csv

The rows are written as those of the dataset's source are; columns that the model does not need may be absent. Writes
them as CSV with the prediction in the target's own words and, of classes, the probability of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.console import PipelineError, exit_code, reports_errors
from pipeline.files import write_atomic
from pipeline.settings import Config, load_config

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

ROWS = 50_000


def predict_file(name: str, config: Config, source: Path, output: Path) -> int:
    """Write the rows of a file with their predictions; returns their number. PipelineError: there is no champion, the
    file is faulty, or a value fits no way of writing of its column.
    """
    from pipeline.store.connect import open_store
    from pipeline.store.registry import run_with_alias
    from pipeline.tables.csv_text import quoting_of
    from pipeline.tables.parts import read_parts
    from pipeline.tables.read import given_layout, kept_layout

    dataset, champion = config.dataset(name), run_with_alias(open_store(), name, "champion")
    if champion is None:
        raise PipelineError(f"{name}: there is no champion; make one with `python validate.py --promote`")
    if source.resolve() == output.resolve():
        raise PipelineError(f"{output}: is the file with the rows; give another name for the predictions")
    model, done = champion[1].served_model(), 0
    if "read" not in model.named_steps:
        raise PipelineError(f"{name}: its champion does not read rows by itself; train, compare and promote again")

    def write(temporary: Path) -> None:
        nonlocal done
        with temporary.open("w", encoding="utf-8", newline="") as file:
            for part in read_parts(source, "give an existing file", given_layout(dataset), kept_layout(dataset), ROWS):
                answered = with_predictions(model, part, source, done)
                answered.to_csv(file, index=False, header=not done, lineterminator="\n", quoting=quoting_of(answered))
                done += len(part)

    write_atomic(output, write)
    return done


def with_predictions(model: Pipeline, rows: pd.DataFrame, source: Path, before: int) -> pd.DataFrame:
    """Rows (n x d) of a file, of which so many come before them, with their predictions. PipelineError: a value does
    not fit, or a column of the rows has the name of one of predictions.
    """
    import pandas as pd

    from pipeline.serving.model import as_written
    from pipeline.serving.pyfunc import predictions

    # what is missing is None, as nothing was lost in reading
    words = rows.select_dtypes(object)
    plain = rows.set_axis(range(before, before + len(rows)))
    plain[[*words]] = words.where(words.notna(), None).to_numpy()
    # numbers of a typed format are beyond doubt, however the source wrote them
    read = plain.copy()
    for name, column in model[0].columns.items():
        if name in read:
            read[name] = as_written(read[name], column)
    try:
        found = predictions(model, read)
    except PipelineError as error:
        raise PipelineError(f"{source}: {error}") from None
    answer = found if isinstance(found, pd.DataFrame) else pd.DataFrame({"prediction": found}, index=plain.index)
    taken = set(answer) & set(plain)
    if taken:
        raise PipelineError(f"{source}: column {sorted(taken)[0]!r} is a name of the predictions; rename it")
    return pd.concat([plain, answer], axis=1)


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.predict", description="Predict the rows of a file with a dataset's champion."
    )
    parser.add_argument("dataset", choices=list(config.datasets), help="whose champion predicts")
    parser.add_argument("file", type=Path, help="rows as the dataset's source has them, in any format that it may have")
    parser.add_argument("output", type=Path, help="the CSV file to write")
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    args = build_parser(config).parse_args(argv)
    rows = predict_file(args.dataset, config, args.file, args.output)
    print(f"wrote {args.output} ({rows:,} rows)")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
