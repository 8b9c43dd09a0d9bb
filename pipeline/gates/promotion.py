"""The champion of a dataset: who becomes it, and the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from pipeline.console import PipelineError
from pipeline.files import write_json
from pipeline.gates.card import CARD, card_of, model_card, write_card
from pipeline.gates.judge import Lead, Verdict
from pipeline.gates.overview import doubts
from pipeline.gates.results import METRICS_DIR, read_results, select_model
from pipeline.intervals import paired_differences, rough
from pipeline.metrics import METRICS, Predictions, metrics_of
from pipeline.settings import Config, Dataset
from pipeline.store.connect import locked_store, open_store
from pipeline.store.registry import (
    Try,
    former_champion,
    record_try,
    register,
    restore_champion,
    run_with_alias,
    set_challenger,
    set_champion,
    tries_of,
    version_of,
)
from pipeline.store.runs import StoredRun, run_of
from pipeline.tables.split import Parts, belonging_of, load_parts
from pipeline.training.fit import columns_of_other_kind, predict, validated_rows
from pipeline.worth import decision_words

if TYPE_CHECKING:
    from mlflow import MlflowClient

MIDNIGHT = r"(?<=\d{4}-\d{2}-\d{2})T00:00:00(\.0+)?$"
# An artifact of a promoted run: hashes of the rows that it was trained on.
TRAINING_ROWS = "training_rows.txt"
# The chance that any of the tries on the same rows promotes a model that is no better.
ALPHA = 0.05
# So many tries wear rows out: of leads that the first one finds 80 times in 100, the last one finds 30.
TRIES = 10
WORN_OUT = f"the rows are worn out by {TRIES} tries, fresh ones are needed"
# Two tries are on the same rows where they share so much of those of the later one.
SHARED = 0.1


def promote(name: str, config: Config, commit: str, verdicts: Sequence[Verdict]) -> str:
    """Register a dataset's chosen model, as champion where it is shown to beat the present one, else as challenger;
    returns what was done in words. `commit` is that of the code, `verdicts` are those of its gates: for the
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
        said = doubts(dataset, results.models, chosen, dataset.metric)
        registered = register(client, name, run, tags, texts, description(dataset, chosen, facts, tags, run, said))
        version, champion = str(registered.version), run_with_alias(client, name, "champion")
        if champion is not None and champion[0] == version:
            mirror_champion(name, chosen, run.metrics, card)
            return f"{name}: {chosen} is champion already (version {version})"
        if "rolled_back" in registered.tags:
            return f"{name}: {chosen} was rolled back (version {version}) and is not promoted again"
        wins, words = True, "the first champion"
        if champion is not None:
            wins, words = contest(client, dataset, parts, (version, run), champion, config.seed)
        if wins:
            set_champion(client, name, version)
            mirror_champion(name, chosen, run.metrics, card)
        else:
            set_challenger(client, name, version)
    return f"{name}: {chosen} is {'champion' if wins else 'challenger'} (version {version}): {words}"


def description(
    dataset: Dataset, name: str, facts: Mapping[str, Any], tags: Mapping[str, str], run: StoredRun, said: str
) -> str:
    """What a version is, in Markdown: its model, each metric with its 95 % interval, and where it comes from. `said`:
    what goes behind a score.
    """
    lines = [f"{name} ({run.params['estimator']}), judged with 95 % intervals{said and f' ({said.strip()})'}:", ""]
    for metric, value in facts["score"].items():
        low, high = facts["interval"][metric]
        lines.append(f"- {METRICS[metric].label}: {value:.4f} [{low:.4f}, {high:.4f}]")
    if "decision" in facts:
        lines.append(f"- {decision_words(facts['decision'], dataset.positive_word, dataset.doubt)}")
    lines += ["", f"Run {run.run_id}, data SHA-256 {tags['data_sha256']}, commit {tags['git_commit']}."]
    return "\n".join(lines)


def contest(
    client: MlflowClient,
    dataset: Dataset,
    parts: Parts,
    challenger: tuple[str, StoredRun],
    champion: tuple[str, StoredRun],
    seed: int,
) -> tuple[bool, str]:
    """Whether the challenger (its version and run) beats the champion on the same rows, which neither was trained on,
    and that in words. It does where the lower bound of the paired interval is above 0, at the level of its try.
    """
    compared, rows, reason = side_by_side(dataset, parts, challenger[1], champion[1])
    if not compared:
        return False, f"it cannot be compared, {reason} version {champion[0]}"
    known, pair = tries_of(client, dataset.name), (challenger[0], champion[0])
    number, judged, warning = charged(known, rows, *pair)
    now, before = (predictions.of(judged) for predictions in compared)
    if pair not in {(one.version, one.champion) for one in known}:
        if not judged.all() and too_few(dataset.task, before):
            return False, f"not compared with version {champion[0]}{warning}, which are too few"
        record_try(client, dataset.name, Try(*pair, number, list(rows.columns), row_hashes(rows[judged])))
    level = level_of(number)
    [(difference, (low, high))] = paired_differences(dataset.metric, now, [before], seed, level)
    words = (
        f"{dataset.metric} {difference:+.4f} [{low:+.4f}, {high:+.4f}] on {judged.sum():,} rows against version "
        f"{champion[0]}, try {number} on these rows, at level {100 * level:.4g} %{warning}"
    )
    return low > 0, words


def charged(
    known: Sequence[Try], rows: pd.DataFrame, version: str | None, champion: str
) -> tuple[int, np.ndarray, str]:
    """The number of a version's try against the champion on rows (n x d), which of them judge it (n,), and a warning
    where they are worn out. The same two versions again are the same try; None: of a model that has no version yet.
    """
    for one in known:
        if (one.version, one.champion) == (version, champion):
            return one.number, is_judged(rows, one), f"; {WORN_OUT}" if one.number == TRIES else ""
    earlier = [is_judged(rows, one) for one in known]
    number = 1 + sum(mask.mean() >= SHARED for mask in earlier)
    if number > TRIES:
        fresh = ~np.any(earlier, axis=0)
        return 1, fresh, f"; {WORN_OUT}: {fresh.sum():,} of {len(rows):,} are fresh"
    return number, np.ones(len(rows), dtype=bool), f"; {WORN_OUT}" if number == TRIES else ""


def too_few(task: str, predictions: Predictions) -> bool:
    return len(np.unique(predictions.actual)) < 2 or bool(rough(task, predictions))


def level_of(number: int) -> float:
    """The two-sided level of the interval of the n-th try on the same rows: 95 % at first, then higher.

    Alpha spending (Lan & DeMets 1983; over endless tries, Foster & Stine 2008): the n-th may promote a model that is no
    better with a chance of ALPHA / (n (n + 1)). All tries together have ALPHA, as these add up to it.
    """
    return 1 - 2 * ALPHA / (number * (number + 1))


def is_judged(rows: pd.DataFrame, tried: Try) -> np.ndarray:
    """Which rows (n x d) a try was judged on (n,), told by their values in the columns of then; all of them where one
    of these is not there any more.
    """
    if not set(tried.columns) <= set(rows):
        return np.ones(len(rows), dtype=bool)
    return np.isin(row_hashes(rows[list(tried.columns)]), tried.rows)


def leads_over_champion(dataset: Dataset, config: Config) -> dict[str, Lead]:
    """By every metric, how much better the chosen model is than the champion on the same rows, with the interval that
    its promotion would have: at the level of that try. Nothing is recorded. PipelineError: there is no store, no model
    or no champion, or they cannot be compared.
    """
    results, client = read_results(dataset, config), open_store()
    chosen, found = select_model(results.models, dataset.metric), run_with_alias(client, dataset.name, "champion")
    if chosen is None or found is None:
        raise PipelineError(f"the store has no {'model' if chosen is None else 'champion'} of {dataset.name}")
    run = run_of(client, dataset.name, chosen, results.data_sha256, results.models[chosen]["params_sha256"])
    compared, rows, reason = side_by_side(dataset, load_parts(dataset, config), run, found[1])
    if not compared:
        raise PipelineError(f"they cannot be compared, {reason} the champion")
    known, version = tries_of(client, dataset.name), version_of(client, dataset.name, run)
    number, judged, warning = charged(known, rows, version, found[0])
    now, before = (predictions.of(judged) for predictions in compared)
    if not judged.all() and too_few(dataset.task, before):
        raise PipelineError(f"they cannot be compared{warning}, which are too few")
    level, leads = level_of(number), {}
    told = f", try {number} on these rows, at level {100 * level:.4g} %{warning}"
    for metric in metrics_of(dataset.task):
        [(value, (low, high))] = paired_differences(metric, now, [before], config.seed, level)
        leads[metric] = Lead(value, (low, high), told)
    return leads


def side_by_side(
    dataset: Dataset, parts: Parts, challenger: StoredRun, champion: StoredRun
) -> tuple[list[Predictions], pd.DataFrame, str]:
    """The predictions of challenger and champion for the same rows (n x d), which neither was trained on, and these;
    none where they cannot be compared, and why.

    Where a dataset is judged by cross-validation and the champion has the same table, the out-of-fold predictions of
    both are compared, which both runs hold for every row. Otherwise both models predict the rows of the test part,
    without those that the champion was trained on: after a change of the data, its training rows can be among them.
    They are told by their values in the champion's columns, so that a new column hides none.
    """
    try:
        reigning = champion.load_model()
        known = set(champion.artifact(TRAINING_ROWS).read_text(encoding="utf-8").split())
    except PipelineError as error:
        mend = f"`python validate.py --rollback {dataset.name}`, or take the alias off it in `make ui`"
        raise PipelineError(f"{dataset.name}: the champion cannot be used; {mend}; {error}") from None
    compared, whole = recorded_predictions(dataset, challenger, champion), parts.whole
    if compared is not None and whole is not None:
        rows = whole.X.iloc[validated_rows(whole.folds)]
    else:
        rows, columns = parts.test.X, list(reigning.feature_names_in_)
        if not set(columns) <= set(rows):
            return [], rows, "as the table lacks columns of"
        if columns_of_other_kind(reigning, rows):
            return [], rows, "as the table has columns of other kinds than"
        unseen = np.array([row not in known for row in row_hashes(rows[columns])])
        rows, y = rows[unseen], parts.test.y[unseen]
        if len(np.unique(y)) < 2:
            return [], rows, f"as too few of the {len(parts.test.y)} test rows are new to"
        belonging = belonging_of(rows, dataset)
        models = challenger.load_model(), reigning
        compared = [replace(predict(model, rows, y, dataset.task), **belonging) for model in models]
    return compared, rows, ""


def recorded_predictions(dataset: Dataset, *runs: StoredRun) -> list[Predictions] | None:
    """The out-of-fold predictions of two runs for all rows; None where they are not of the same rows."""
    if dataset.evaluation != "cross_validation" or len({run.tags["data_sha256"] for run in runs}) > 1:
        return None
    try:
        found = [run.predictions(dataset.task, dataset.kept) for run in runs]
    except PipelineError:
        # a champion of an earlier version, whose rows do not say what they belong to
        return None
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
