"""The model card of a registered version (Mitchell et al., Model Cards for Model Reporting, 2019): Markdown with the
metadata that the Hugging Face Hub reads, and the same as a page.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pipeline.console import without_passwords
from pipeline.explain.importance import importance_intervals, read_importance
from pipeline.files import write_text
from pipeline.gates.calibrated import origin_words, seed_words
from pipeline.gates.judge import Verdict
from pipeline.gates.overview import REPORTS, doubts, standing
from pipeline.gates.results import METRICS_DIR, Results, read_object
from pipeline.html import plain_markdown, render
from pipeline.metrics import METRICS
from pipeline.settings import Config, Dataset
from pipeline.store.connect import database_of
from pipeline.store.runs import StoredRun
from pipeline.tables.columns import value_text
from pipeline.uncertainty import uncertainty_words
from pipeline.worth import decision_words


class FoundCheck(TypedDict):
    check: str
    alarm: bool | None
    sentence: str


# metrics/checks.json: what was found of each model of each dataset.
CHECKS = TypeAdapter(dict[str, dict[str, list[FoundCheck]]])
# The name of the artifact of a registered run; the champion's is in reports/<dataset>/ too.
CARD = "model_card.md"
# Columns that it names.
LEADING = 5


def model_card(
    dataset: Dataset,
    config: Config,
    results: Results,
    name: str,
    run: StoredRun,
    verdicts: Sequence[Verdict],
    commit: str,
) -> str:
    """The card of the model `name`, of its run, in Markdown; `commit` is that of the code. Names and values that a
    table brings are shown as they are, never read as Markdown or HTML.
    """
    from skops.card import Card

    facts, _ = read_object(METRICS_DIR / f"data/{dataset.name}.json")
    model = results.models[name]
    card, top = Card(run.load_model(), template=None), f"{dataset.name}: {name}"

    def add(title: str, text: str, **table: Sequence[str]) -> None:
        """A section, with a table of plain texts below its words."""
        if table:
            columns = {head: [*map(plain_markdown, rows)] for head, rows in table.items()}
            card.add_table(description=text, **{f"{top}/{title}": columns})
            # skops takes the whole path for the heading of a table
            card.select(f"{top}/{title}").title = title
        else:
            card.add(**{f"{top}/{title}": text})

    checks = checks_of(dataset.name, name)
    card.add(**{top: plain_markdown(lead_words(dataset, results.models, name, run))})
    add(
        "Intended use and limits",
        "\n".join(f"- {plain_markdown(line)}" for line in limits(dataset, facts, results, checks)),
    )
    add("Data", plain_markdown(data_words(dataset, config, facts)))
    rough = f"; they are rough, of {model['rough']}" if model["rough"] else ""
    add("Metrics", f"{judged_words(dataset)} With 95 % intervals{rough}.", **scores_of(model))
    add("What it has learned", importance_words(dataset), **leading_columns(dataset, config, run))
    if "uncertainty" in model:
        add("Uncertainty", plain_markdown(uncertainty_words(model["uncertainty"])))
    if "decision" in model:
        add("Threshold", plain_markdown(threshold_text(dataset, model["decision"], run)))
    add(
        "Gates",
        "What the model had to pass to be registered.",
        gate=[verdict.text() for verdict in verdicts],
        verdict=[verdict.word() for verdict in verdicts],
    )
    if checks:
        add(
            "Checks",
            "Each is a test at 1 %, with intervals of 99 %; how often each is wrong: docs/comparison.md.",
            **checks,
        )
    settings = {key: value for key, value in run.params.items() if key not in ("model_type", "estimator")}
    add("Settings", "Other settings are the estimator's own.", setting=[*settings], value=[*settings.values()])
    add("How to load it", loading(dataset.name, run))
    trained = run.tags.get("mlflow.source.git.commit", "not known")
    made = f"MLflow run {run.run_id}, trained at git commit {trained}, registered at {commit}, seed {config.seed}"
    hashes = f"SHA-256 of the table {results.data_sha256}, of the settings {model['params_sha256']}"
    add("Where it comes from", f"{made}; {hashes}.")
    card.add_model_plot(section=f"{top}/Steps")
    return f"---\n{front_matter(dataset, name, model)}---\n{card.render()}\n"


def front_matter(dataset: Dataset, name: str, model: Mapping[str, Any]) -> str:
    """The metadata of the Hugging Face Hub, as YAML: https://huggingface.co/docs/hub/model-cards."""
    from ruamel.yaml import YAML

    task = f"tabular-{'regression' if dataset.task == 'regression' else 'classification'}"
    scores = [
        {"type": metric, "name": METRICS[metric].label, "value": value} for metric, value in model["score"].items()
    ]
    result = {
        "task": {"type": task},
        "dataset": {"type": dataset.name, "name": dataset.name},
        "metrics": scores,
    }
    metadata = {
        "library_name": "sklearn",
        "pipeline_tag": task,
        "tags": ["sklearn", "mlflow", task],
        "model-index": [{"name": f"{dataset.name}-{name}", "results": [result]}],
    }
    text = io.StringIO()
    YAML().dump(metadata, text)
    return text.getvalue()


def lead_words(dataset: Dataset, models: Mapping[str, Mapping[str, Any]], name: str, run: StoredRun) -> str:
    """What it is, of what kind of table, and how good."""
    model = models[name]
    label, (low, high) = METRICS[dataset.metric].label, model["interval"][dataset.metric]
    said = doubts(dataset, models, name, dataset.metric).strip()
    doubt = f" ({said})" if said else ""
    origin = f" {origin_words([dataset.name])}" if dataset.synthetic else ""
    return (
        f"{run.params['estimator']} that predicts {dataset.target} ({dataset.task}). It has the best cross-validated "
        f"{label} of all models that were trained, {model['cv'][dataset.metric]:.4f}, and reaches "
        f"{model['score'][dataset.metric]:.4f} [{low:.4f}, {high:.4f}]{doubt} on the rows that it is judged on.{origin}"
    )


def threshold_text(dataset: Dataset, found: Mapping[str, Any], run: StoredRun) -> str:
    """What the threshold brings, and what it does to rows that come."""
    words = decision_words(found, dataset.positive_word, dataset.doubt)
    words += f" The threshold is {run.params['threshold']}."
    if "cost" in found:
        return words
    share = found["capacity"] / found["rows"]
    return (
        f"{words} It is fixed: of other rows like these about {share:.2%} reach it, however many come at once. To "
        "follow up so many of a batch and no other number, take those with the highest probability."
    )


def limits(
    dataset: Dataset, facts: Mapping[str, Any], results: Results, checks: Mapping[str, Sequence[str]]
) -> list[str]:
    """What the model is for and what it is not, a sentence each; `checks`: as `checks_of` gives them."""
    lines = [
        "For rows that are written and spread as those of the table below; python detect_drift.py --dataset "
        f"{dataset.name} --current FILE looks whether others are."
    ]
    if dataset.synthetic:
        lines += filter(None, [seed_words(dataset, results.models)])
    if dataset.evaluation == "cross_validation":
        lines.append("No untouched rows: scores are those of out-of-fold predictions over all rows.")
    if results.drift is None:
        lines.append("Drift has not been looked for.")
    else:
        found = standing(results, dataset, ()).drift
        lines.append(f"Drift, when the card was written: {found}.")
    ceiling = results.ceiling.get(dataset.metric)
    if ceiling is not None:
        lines.append(
            f"On all rows that the generator could draw no model can be expected to do better than "
            f"{METRICS[dataset.metric].label} {ceiling:.4f}; on few rows chance can pass that."
        )
    lines += [f"Warning of the table: {warning}" for warning in facts.get("warnings", ())]
    rows = zip(*checks.values(), strict=True)
    return lines + [found for _, verdict, found in rows if verdict == "alarm"]


def data_words(dataset: Dataset, config: Config, facts: Mapping[str, Any]) -> str:
    """Rows, columns, classes, and what is kept aside."""
    if dataset.evaluation == "cross_validation":
        kept = "The model was fitted on the training part of them"
    elif dataset.time:
        kept = f"The last ones by {dataset.time}, {config.test_size:.0%} of them or so, are the test part"
    else:
        whole = f" and the rows of one {dataset.group} together" if dataset.group else ""
        kept = f"About {config.test_size:.0%} are the test part, drawn with seed {config.seed}{whole}"
    words = f"{facts['rows']:,} rows and {facts['columns']:,} columns from {Path(dataset.source).name}. {kept}."
    if facts["class_share"]:
        shares = ", ".join(f"{word} {share:.1%}" for word, share in facts["class_share"].items())
        words += f" Classes of {dataset.target}: {shares}."
    if facts["task"] == "binary":
        words += f" The positive one is {value_text(facts['positive'])}."
    kinds: dict[str, list[str]] = {}
    for column, kind in facts["types"].items():
        if column != dataset.target:
            kinds.setdefault(kind, []).append(column)
    return words + "".join(f" Columns read as {kind}: {', '.join(names)}." for kind, names in kinds.items())


def judged_words(dataset: Dataset) -> str:
    """What the scores are of."""
    if dataset.evaluation == "cross_validation":
        return "Of pooled out-of-fold predictions over all rows."
    return "On the test part, which no model learns from, and neither models nor settings are chosen on."


def scores_of(model: Mapping[str, Any]) -> dict[str, list[str]]:
    """Columns of the table of metrics: each with its interval, cross-validated, and of the naive prediction."""
    naive = model["naive"]
    bounds = [model["interval"][metric] for metric in model["score"]]
    return {
        "metric": [METRICS[metric].label for metric in model["score"]],
        "score": [f"{value:.4f}" for value in model["score"].values()],
        "95 % interval": [f"{low:.4f} to {high:.4f}" for low, high in bounds],
        "cross-validated": [f"{model['cv'][metric]:.4f}" for metric in model["score"]],
        "naive": [f"{naive[metric]:.4f}" if metric in naive else "" for metric in model["score"]],
    }


def importance_words(dataset: Dataset) -> str:
    """What importance is."""
    return (
        f"The columns that matter most: by how much {METRICS[dataset.metric].label} gets worse on the test part when "
        "the values of one are shuffled (permutation importance), with 95 % intervals."
    )


def leading_columns(dataset: Dataset, config: Config, run: StoredRun) -> dict[str, list[str]]:
    """Columns of the table of what matters most to a model."""
    importance = read_importance(run)
    judged = run.predictions(dataset.task, dataset.kept)
    share = config.test_size if dataset.evaluation == "cross_validation" else 1
    bounds = importance_intervals(importance, judged, share)
    leading = sorted(importance, key=lambda name: -importance[name][0])[:LEADING]
    return {
        "column": leading,
        "importance": [f"{importance[name][0]:.4f}" for name in leading],
        "95 % interval": [
            f"{bounds[name][0]:.4f} to {bounds[name][1]:.4f}" if name in bounds else "not known" for name in leading
        ],
    }


def checks_of(dataset: str, name: str) -> dict[str, list[str]]:
    """What the comparison's checks said of a model, as columns of a table; empty where there are none."""
    found, _ = read_object(METRICS_DIR / "checks.json")
    try:
        checks = CHECKS.validate_python(found)[dataset][name]
    except (ValidationError, KeyError):
        return {}
    words = {True: "alarm", False: "no alarm", None: "no verdict"}
    return {
        "check": [one["check"].replace("_", " ") for one in checks],
        "verdict": [words[one["alarm"]] for one in checks],
        "found": [one["sentence"] for one in checks],
    }


def loading(dataset: str, run: StoredRun) -> str:
    """How to load it and predict, in Markdown."""
    store = "sqlite:///mlruns/db.sqlite" if database_of(run.store) else without_passwords(run.store)
    return f"""It takes rows as the source has them.
`python -m pipeline.predict {dataset} rows.csv out.csv` reads them from a file while
it is the champion; in Python:

```python
import mlflow

mlflow.set_tracking_uri("{store}")
model = mlflow.pyfunc.load_model("models:/{run.tags["model_id"]}")
model.predict(rows)  # a pandas DataFrame
```"""


def card_of(run: StoredRun) -> str:
    """The card that a run was registered with; empty where it has none."""
    return run.artifact(CARD).read_text(encoding="utf-8") if run.has(CARD) else ""


def write_card(dataset: str, text: str) -> None:
    """Write a champion's card to the reports, as Markdown and as a page; an empty one removes that of the former."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    card, page = REPORTS / dataset / CARD, (REPORTS / dataset / CARD).with_suffix(".html")
    if not text:
        card.unlink(missing_ok=True)
        page.unlink(missing_ok=True)
        return
    # scikit-learn's own diagram is the only HTML in it: what tables bring is escaped
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(text.split("---\n", 2)[2])
    write_text(card, text)
    write_text(page, render(Path(__file__).parent / "templates/card.html", dataset=dataset, body=Markup(body)))
