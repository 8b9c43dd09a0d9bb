"""The comparison page in a real browser: every plot drawn, nothing loaded from elsewhere, a PDF with all of it."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation import Predictions
from pipeline.report import Comparison, Entry, Trial, render

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"
)
EVIL = "<img src=x onerror=alert(1)>"


def make_entry(name: str, task: str, seed: int) -> Entry:
    rng = np.random.default_rng(seed)
    if task == "binary":
        actual = rng.integers(0, 2, 400)
        score = np.clip(actual * 0.4 + rng.random(400) * 0.6, 0, 1)
        predictions = Predictions(actual, (score > 0.5).astype(int), score)
        metrics = {"accuracy": 0.8, "f1": 0.8, "roc_auc": 0.9, "average_precision": 0.9}
    else:
        actual = rng.normal(size=400)
        predictions = Predictions(actual, actual + rng.normal(0, 0.4, 400))
        metrics = {"r2": 0.84, "rmse": 0.4, "mae": 0.3}
    intervals = {metric: (value - 0.02, value + 0.02) for metric, value in metrics.items()}
    tuned = name.endswith("_tuned")
    return Entry(
        name, name.removesuffix("_tuned"), tuned, "Forest", metrics, intervals, 0.8, 1.0 + seed, 1000 * (1 + seed),
        "run", "1", "sqlite:///db.sqlite", predictions, {EVIL: 0.2, "age": 0.1},
    )  # fmt: skip


def make_comparison(name: str, task: str) -> Comparison:
    entries = tuple(make_entry(model, task, seed) for seed, model in enumerate(("forest", "forest_tuned", "linear")))
    trials = tuple(Trial(n, 0.7 + n / 100, "PRUNED" if n % 3 == 0 else "COMPLETE") for n in range(1, 13))
    return Comparison(
        dataset=name,
        task=task,
        metric="r2" if task == "regression" else "accuracy",
        evaluation="holdout",
        rows=400,
        target="price",
        ceiling=0.9,
        naive=0.0,
        entries=entries,
        chosen="forest",
        tests=dict.fromkeys(("forest_tuned", "linear"), (0.01, (-0.01, 0.02), "no difference shown")),
        studies={"forest": trials},
        drift=None,
        verdicts=(),
        links={},
        advice=("Use forest.",),
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(
        render([make_comparison("houses", "regression"), make_comparison(EVIL, "binary")], "Words.", "End.")
    )
    return path


def chromium(page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent}/profile"]
    command += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", *words, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@needs_chromium
def test_every_plot_is_drawn_without_errors(page: Path) -> None:
    done = chromium(page, "--dump-dom")
    plots = done.stdout.count('role="img"')
    assert plots >= 14
    assert f'data-drawn="{plots}"' in done.stdout
    assert len(re.findall(r'class="[^"]*js-plotly-plot', done.stdout)) == plots
    assert "CONSOLE" not in done.stderr, re.findall(r".*CONSOLE.*", done.stderr)


@needs_chromium
def test_names_from_data_show_as_text(page: Path) -> None:
    done = chromium(page, "--dump-dom")
    assert "<img src=" not in re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    assert "&lt;img src=x onerror=alert(1)&gt;" in done.stdout


@needs_chromium
def test_the_table_sorts_by_a_click_on_its_heading(page: Path, tmp_path: Path) -> None:
    clicked = tmp_path / "clicked.html"
    click = "<script>document.querySelectorAll('#summary-table thead button')[7].click()</script></body>"
    clicked.write_text(page.read_text().replace("</body>", click))
    dom = chromium(clicked, "--dump-dom").stdout
    assert 'aria-sort="ascending"' in dom
    table = dom[dom.index('id="summary-table"') : dom.index("</table>")]
    seconds = [float(row[7]) for row in (re.findall(r"<t[dh][^>]*>\s*([^<]*)", r) for r in table.split("<tr")[2:])]
    assert seconds == sorted(seconds)


@needs_chromium
def test_the_pdf_holds_every_section(page: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.pdf"
    chromium(page, f"--print-to-pdf={target}")
    assert len(re.findall(rb"/Type\s*/Page\b", target.read_bytes())) >= 5


def test_the_page_refers_to_nothing_outside_itself(page: Path) -> None:
    markup = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL)
    outside = re.findall(r'(?:src|href)="(?!#|data:|http://127\.0\.0\.1:5000/)[^"]*"', markup)
    assert outside == []
