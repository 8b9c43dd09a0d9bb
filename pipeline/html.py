"""HTML pages of one look: each is a single file that needs no network, and explains its terms at its end."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.metrics import METRICS

if TYPE_CHECKING:
    from jinja2 import Environment

BASE = Path(__file__).parent / "templates"
# What Markdown would read as something else, in a value of a table or a name.
SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
# Terms that pages use, each in a sentence or two; metrics explain themselves.
TERMS = {
    "95 % interval": (
        "Where the score on all rows of this kind may be: made to hold it 95 times in 100, from how the score moves "
        "when some of the judged rows, or groups or times of them, are left out (jackknife)."
    ),
    "ceiling": (
        "The best score that any model can be expected to reach on all rows that the generator of a table could draw; "
        "on few rows chance can pass it."
    ),
    "champion": "The model that is served: promoted by `validate.py --promote`, until another is shown to beat it.",
    "chosen model": "The model with the best cross-validated score. The test part has no say in it.",
    "contribution": (
        "What the value of a column adds to the prediction of a row, beside the mean prediction of other rows: its "
        "Shapley value, the mean over the orders in which columns can come in."
    ),
    "corrected p-value": (
        "A p-value that allows for all that was looked at: below the level set in params.yaml it counts as drift."
    ),
    "cross-validated": (
        "The training part is cut into folds; each is predicted by a model fitted on the others, and the score is that "
        "of all these predictions together."
    ),
    "drift": (
        "Current rows are spread otherwise than those that the model was trained on, by a test and by enough to "
        "matter; `alpha` and `min_change` in params.yaml say how sure and how much."
    ),
    "expected score": "The score on current rows as it can be told without their labels, from the model's own errors.",
    "gate": "A bound in params.yaml that the chosen model has to pass.",
    "lucky seed": (
        "A model scores higher on the table of this seed than on those of all seeds that the generator was calibrated "
        "over, so that other seeds are to be expected to give less; unlucky where it scores lower."
    ),
    "naive": "The prediction of somebody who looks at no column: the mean, or the most frequent class.",
    "no difference shown": (
        "The interval of the difference holds 0: these rows do not tell the two apart. It does not say that they are "
        "equal."
    ),
    "no untouched rows": (
        "The score is of all rows, each predicted by a model that had not seen it; but the model and its settings were "
        "chosen on most of these rows, so that it is likely to be too good."
    ),
    "partial dependence": (
        "The mean prediction of the same rows when a column is set to one value after another. Where columns hang "
        "together, some of the rows that are made so are like none that exist."
    ),
    "permutation importance": "By how much the score gets worse when the values of one column are shuffled.",
    "pruned": "A trial that was stopped before its last step, as it was worse than others so far.",
    "rough": (
        "Said of an interval that few rows or groups decide: how often such intervals hold the true score was counted "
        "on simulated tables (docs/training.md), and is not always 95 times in 100."
    ),
    "test part": (
        "Rows that are kept aside: no model learns from them, and neither models nor settings are chosen on them. "
        "Promotion compares with the champion on them, and counts how often."
    ),
    "trial": "One combination of settings that the search has tried.",
    "tuned": "Fitted with the best settings of a search, and judged like any other model.",
}


def plain_markdown(text: object) -> str:
    """A text, in one line, that Markdown shows as it is."""
    escaped = SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def glossary() -> dict[str, str]:
    """What each term means, metrics by their labels, in the order of the alphabet."""
    metrics = {metric.label: metric.meaning for metric in METRICS.values()}
    return dict(sorted((TERMS | metrics).items(), key=lambda item: item[0].casefold()))


def render(template: Path, **values: Any) -> str:
    """The text of a template with its values. In an HTML template `term(name)` is a link to the term's meaning, in a
    list below the content, and `badge(label, words, kind, link)` is one of a line of badges; in one of Markdown the
    filter `markdown` shows a text as it is.
    """
    from markupsafe import Markup

    meanings, used = glossary(), dict[str, str]()

    def anchor(name: str) -> str:
        return f"term-{re.sub(r'[^a-z0-9]+', '-', name.casefold()).strip('-')}"

    def term(name: str, shown: str = "") -> Markup:
        used[name] = meanings[name]
        return Markup('<a class="term" href="#{}">{}</a>').format(anchor(name), shown or name)

    def badge(label: str, words: str, kind: str = "", link: str = "") -> Markup:
        inner = Markup('<span class="badge {}">{} <b>{}</b></span>').format(kind, label, words)
        return Markup('<a href="{}">{}</a>').format(link, inner) if link else inner

    page = _environment(template.parent).get_template(template.name)
    return page.render(**values, term=term, badge=badge, anchor=anchor, used=used)


@cache
def _environment(folder: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader([folder, BASE]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = plain_markdown
    return environment
