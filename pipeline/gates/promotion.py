"""The champion of a dataset: who becomes it, and the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from pipeline.bootstrap import paired_differences, paired_leads
from pipeline.console import PipelineError
from pipeline.files import write_json
from pipeline.gates.card import CARD, card_of, model_card, write_card
from pipeline.gates.judge import Lead, Verdict
from pipeline.gates.results import METRICS_DIR, read_results, select_model
from pipeline.metrics import METRICS, Predictions, lead, metric_value
from pipeline.settings import Config, Dataset
from pipeline.store.connect import locked_store, open_store
from pipeline.store.registry import (
    former_champion,
    register,
    restore_champion,
    run_with_alias,
    set_challenger,
    set_champion,
)
from pipeline.store.runs import StoredRun, run_of
from pipeline.tables.split import Parts, belonging_of, load_parts
from pipeline.training.fit import columns_of_other_kind, predict

MIDNIGHT = r"(?<=\d{4}-\d{2}-\d{2})T00:00:00(\.0+)?$"
# An artifact of a promoted run: hashes of the rows that it was trained on.
TRAINING_ROWS = "training_rows.txt"


def promote(name: str, config: Config, confident: bool, commit: str, verdicts: Sequence[Verdict]) -> str:
    """Register a dataset's chosen model, as champion where it beats the present one on the same held-out rows, else as
    challenger; returns what was done in words. `commit` is that of the code, `verdicts` are those of its gates: for the
    version's tags and card. PipelineError: the store, the run or the model file is missing or not what was logged.
    """
    dataset = config.dataset(name)
    results = read_results(dataset, config)
    chosen = select_model(results.models, dataset.metric)
    assert chosen is not None
    client = open_store()
    facts = results.models[chosen]
    run = run_of(client, name, chosen, results.data_sha256, facts["params_sha256"])
    run.model_file()
    parts = load_parts(dataset, config)
    tags = {
        "model": chosen,
        "data_sha256": results.data_sha256,
        "params_sha256": facts["params_sha256"],
        "git_commit": commit,
        **{metric: str(value) for metric, value in facts["score"].items()},
        **{f"{metric}_interval": json.dumps(bounds) for metric, bounds in facts["interval"].items()},
    }
    with locked_store(client):
        rows = "\n".join(row_hashes(parts.train.X))
        # a version keeps the card that it was registered with
        card = card_of(run) or model_card(dataset, config, results, chosen, run, verdicts, commit)
        texts = {TRAINING_ROWS: rows, CARD: card}
        registered = register(client, name, run, tags, texts, description(chosen, facts, tags, run))
        version, champion = str(registered.version), run_with_alias(client, name, "champion")
        if champion is not None and champion[0] == version:
            mirror_champion(name, chosen, run.metrics, card)
            return f"{name}: {chosen} is champion already (version {version})"
        if "rolled_back" in registered.tags:
            return f"{name}: {chosen} was rolled back (version {version}) and is not promoted again"
        wins, words = True, "the first champion"
        if champion is not None:
            wins, words = contest(dataset, parts, run, champion[1], confident, config.seed)
            words = f"{words} version {champion[0]}"
        if wins:
            set_champion(client, name, version)
            mirror_champion(name, chosen, run.metrics, card)
        else:
            set_challenger(client, name, version)
    return f"{name}: {chosen} is {'champion' if wins else 'challenger'} (version {version}): {words}"


def description(name: str, facts: Mapping[str, Any], tags: Mapping[str, str], run: StoredRun) -> str:
    """What a version is, in Markdown: its model, each metric with its 95 % interval, and where it comes from."""
    lines = [f"{name} ({run.params['estimator']}), judged with 95 % intervals:", ""]
    for metric, value in facts["score"].items():
        low, high = facts["interval"][metric]
        lines.append(f"- {METRICS[metric].label}: {value:.4f} [{low:.4f}, {high:.4f}]")
    lines += ["", f"Run {run.run_id}, data SHA-256 {tags['data_sha256']}, commit {tags['git_commit']}."]
    return "\n".join(lines)


def contest(
    dataset: Dataset, parts: Parts, challenger: StoredRun, champion: StoredRun, confident: bool, seed: int
) -> tuple[bool, str]:
    """Whether the challenger beats the champion on the same rows, which neither was trained on, and that in words."""
    compared, wins, words = side_by_side(dataset, parts, challenger, champion)
    if not compared:
        return wins, words
    now, before = compared
    [(difference, (low, high))] = paired_differences(dataset.metric, now, [before], seed)
    words = f"{dataset.metric} {difference:+.4f} [{low:+.4f}, {high:+.4f}] on {len(now.actual):,} rows against"
    return (low if confident else difference) > 0, words


def leads_over_champion(dataset: Dataset, config: Config) -> dict[str, Lead]:
    """By every metric, how much better the chosen model is than the champion on the same rows, with the 95 % interval.
    PipelineError: there is no store, no model or no champion, or they cannot be compared.
    """
    results, client = read_results(dataset, config), open_store()
    chosen, found = select_model(results.models, dataset.metric), run_with_alias(client, dataset.name, "champion")
    if chosen is None or found is None:
        raise PipelineError(f"the store has no {'model' if chosen is None else 'champion'} of {dataset.name}")
    run = run_of(client, dataset.name, chosen, results.data_sha256, results.models[chosen]["params_sha256"])
    compared, _, words = side_by_side(dataset, load_parts(dataset, config), run, found[1])
    if not compared:
        raise PipelineError(f"{words} the champion's")
    now, before = compared
    leads = {}
    for metric, (low, high) in paired_leads(dataset.task, now, before, config.seed).items():
        leads[metric] = lead(metric, metric_value(metric, now), metric_value(metric, before)), (low, high)
    return leads


def side_by_side(
    dataset: Dataset, parts: Parts, challenger: StoredRun, champion: StoredRun
) -> tuple[list[Predictions], bool, str]:
    """The predictions of challenger and champion for the same rows, which neither was trained on; none where they
    cannot be compared: then whether the challenger wins, and why.

    Where a dataset is judged by cross-validation and the champion has the same table, the out-of-fold predictions of
    both are compared, which both runs hold for every row. Otherwise both models predict the rows of the test part,
    without those that the champion was trained on: after a change of the data, its training rows can be among them.
    """
    try:
        reigning = champion.load_model()
        known = set(champion.artifact(TRAINING_ROWS).read_text(encoding="utf-8").split())
    except PipelineError as error:
        mend = f"`python validate.py --rollback {dataset.name}`, or take the alias off it in `make ui`"
        raise PipelineError(f"{dataset.name}: the champion cannot be used; {mend}; {error}") from None
    compared = recorded_predictions(dataset, challenger, champion)
    if compared is None:
        if not set(reigning.feature_names_in_) <= set(parts.test.X):
            return [], True, "the table lacks columns of"
        if columns_of_other_kind(reigning, parts.test.X):
            return [], True, "the table has columns of other kinds than"
        unseen = np.array([row not in known for row in row_hashes(parts.test.X)])
        X, y = parts.test.X[unseen], parts.test.y[unseen]
        if len(np.unique(y)) < 2:
            return [], False, f"too few of the {len(parts.test.y)} test rows are new to"
        belonging = belonging_of(X, dataset)
        models = challenger.load_model(), reigning
        compared = [replace(predict(model, X, y, dataset.task), **belonging) for model in models]
    return compared, False, ""


def recorded_predictions(dataset: Dataset, *runs: StoredRun) -> list[Predictions] | None:
    """The out-of-fold predictions of two runs for all rows; None where they are not of the same rows."""
    if dataset.evaluation != "cross_validation" or len({run.tags["data_sha256"] for run in runs}) > 1:
        return None
    found = [run.predictions(dataset.task, dataset.kept) for run in runs]
    # the champion may have been judged on the test part then
    return found if len({len(predictions.actual) for predictions in found}) == 1 else None


def row_hashes(frame: pd.DataFrame) -> list[str]:
    """A 64-bit hash of each row's values, as text; a day is the same with midnight written out."""
    words = frame.select_dtypes(object)
    frame = frame.copy()
    frame[[*words]] = words.replace(MIDNIGHT, "", regex=True)
    return [f"{value:016x}" for value in hash_pandas_object(frame, index=False)]


def roll_back(name: str) -> str:
    """Put the former champion of a dataset back; returns what was done in words. PipelineError: there is no store, no
    former champion, or its model file is not what was logged.
    """
    client = open_store()
    with locked_store(client):
        former = former_champion(client, name)
        if former is None:
            raise PipelineError(f"{name}: there is no former champion to go back to")
        version, run = former
        run.model_file()
        # the mirror first: the next call finishes one that was killed in between, and goes back no further
        mirror_champion(name, run.name, run.metrics, card_of(run))
        restore_champion(client, name, version)
    return f"{name}: version {version} is champion again"


def mirror_champion(name: str, model: str, metrics: Mapping[str, float], card: str) -> None:
    """Write the champion's scores where gates find them without MLflow, and its card to the reports."""
    write_card(name, card)
    score = {metric: round(metrics[metric], 6) for metric in METRICS if metric in metrics}
    write_json(METRICS_DIR / "champion" / f"{name}.json", {"dataset": name, "model": model, "score": score})
