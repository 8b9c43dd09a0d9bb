"""The pages in a real browser: every plot drawn, nothing loaded from elsewhere, a PDF with all of it."""

import itertools
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pypdf
import pytest
from conftest import make_customers

import detect_drift
from pipeline.comparison.entries import Comparison, Entry, Lead
from pipeline.comparison.page import comparison_page
from pipeline.explain.cases import Case
from pipeline.explain.dependence import Dependence
from pipeline.explain.explanation import Explanation
from pipeline.gates.overview import Standing
from pipeline.metrics import Predictions

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
    return Entry(
        name, "Forest", metrics, intervals, 0.8, 1.0 + seed, 1000 * (1 + seed),
        "run", "1", "sqlite:///db.sqlite", predictions, {EVIL: 0.2, "age": 0.1},
    )  # fmt: skip


def make_explanation() -> Explanation:
    """Of a column of each kind, and two rows."""
    levels = np.array([[0.2, 0.1, 0.3], [0.5, 0.4, 0.6]])
    values = {"number": [1.0, 2.0], "date": ["2024-01-01", "2024-06-01"], "category": [EVIL, "other"]}
    shown = [Dependence(EVIL, kind, values[kind], levels, (0.3, 0.2, 0.4)) for kind in ("number", "date", "category")]
    cells, added = {EVIL: EVIL, **{f"c{n}": "1" for n in range(9)}}, {EVIL: 0.3, **{f"c{n}": -0.01 for n in range(9)}}
    cases = [Case("the median prediction", "12", EVIL, "yes", 0.5, cells, 0.29, own) for own in (added, added)]
    return Explanation(f"probability of {EVIL}", 1000, 2000, True, 100, tuple(shown), tuple(cases))


def make_comparison(name: str, task: str) -> Comparison:
    entries = tuple(make_entry(model, task, seed) for seed, model in enumerate(("forest", "forest_tuned", "linear")))
    trials = tuple((n, 0.7 + n / 100, "PRUNED" if n % 3 == 0 else "COMPLETE") for n in range(1, 13))
    return Comparison(
        dataset=name,
        task=task,
        metric="r2" if task == "regression" else "accuracy",
        evaluation="holdout",
        rows=400,
        target="price",
        synthetic=True,
        classes=() if task == "regression" else (EVIL, "yes"),
        ceiling=0.9,
        naive=0.0,
        entries=entries,
        chosen="forest",
        tests=dict.fromkeys(("forest_tuned", "linear"), Lead(0.01, -0.01, 0.02)),
        studies={"forest": trials},
        drift=None,
        standing=Standing(name, "forest", "0.8", "0.9", "none found", "", ()),
        links={},
        explanation=make_explanation() if task == "binary" else "The table was not there.",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(
        comparison_page([make_comparison("houses", "regression"), make_comparison(EVIL, "binary")], "Words.", "seed 1")
    )
    return path


def chromium(page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Open a page as a person would; console messages are on stderr."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent}/profile"]
    command += ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    command += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", *words, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)


def watched(page: Path) -> Path:
    """A copy of the page that notes every http address that it asks for; the browser's own requests are not noted."""
    copy = page.with_name(f"watched_{page.name}")
    watch = """<script>addEventListener("load", () => setTimeout(() => {
      const names = performance.getEntriesByType("resource").map(entry => entry.name);
      document.documentElement.dataset.requests = names.filter(name => name.startsWith("http")).join(" ");
    }, 5000))</script></body>"""
    copy.write_text(page.read_text().replace("</body>", watch))
    return copy


def requests_in(dom: str) -> list[str]:
    found = re.search(r'data-requests="([^"]*)"', dom)
    assert found is not None
    return found[1].split()


def pdf_of(page: Path, folder: Path) -> pypdf.PdfReader:
    chromium(page, f"--print-to-pdf={folder / 'page.pdf'}")
    return pypdf.PdfReader(folder / "page.pdf")


def without_scripts(dom: str) -> str:
    return re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)


@needs_chromium
def test_every_plot_is_drawn_without_errors_and_names_from_data_show_as_text(page: Path) -> None:
    done = chromium(page, "--dump-dom")
    plots = done.stdout.count('role="img"')
    assert plots >= 19
    assert f'data-drawn="{plots}"' in done.stdout
    assert len(re.findall(r'class="[^"]*js-plotly-plot', done.stdout)) == plots
    assert "CONSOLE" not in done.stderr, re.findall(r".*CONSOLE.*", done.stderr)
    dom = without_scripts(done.stdout)
    assert "<img src=" not in dom
    assert "&lt;img src=x onerror=alert(1)&gt;" in dom


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
def test_the_pdf_holds_every_section_and_plot(page: Path, tmp_path: Path) -> None:
    pdf = pdf_of(page, tmp_path)
    assert len(pdf.pages) >= 5
    # fonts join fi and fl to one character
    text = unicodedata.normalize("NFKC", " ".join(page.extract_text() for page in pdf.pages))
    for words in (
        "Summary",
        "houses",
        EVIL,
        "Runs",
        "All metrics",
        "Tuning of forest",
        "Predicted against actual",
        "Partial dependence on <img",
        "The table was not there",
        "4 other columns",
    ):
        assert words in text
    # titles of axes are drawn with the plots, and nowhere else
    for axis in ("seconds to fit", "predicted price", "false positive rate", "recall", "mean predicted probability"):
        assert axis in text
    assert "Print or save" not in text


@needs_chromium
def test_no_request_leaves_the_page(page: Path, tmp_path: Path) -> None:
    assert requests_in(chromium(watched(page), "--dump-dom").stdout) == []
    leaking = tmp_path / "leaking.html"
    leaking.write_text("<!doctype html><body><img src='http://127.0.0.1:9/x.png'></body>")
    assert requests_in(chromium(watched(leaking), "--dump-dom").stdout) == ["http://127.0.0.1:9/x.png"]


def test_the_page_refers_to_nothing_outside_itself(page: Path) -> None:
    outside = re.findall(
        r'(?:src|href)="(?!#|data:|index\.html|http://127\.0\.0\.1:5000/)[^"]*"', without_scripts(page.read_text())
    )
    assert outside == []


def test_the_page_is_made_for_readers_of_any_kind(page: Path) -> None:
    """One main heading and none skipped, headers that name their direction, words for every plot, a language."""
    markup = without_scripts(page.read_text())
    levels = [int(level) for level in re.findall(r"<h(\d)", markup)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert not re.findall(r"<th(?![^>]*scope=)[ >]", markup)
    assert all(len(words) > 40 for words in re.findall(r'role="img" aria-label="([^"]*)"', markup))
    assert '<html lang="en">' in markup
    assert 'name="viewport"' in markup


@needs_chromium
def test_drift_pages_in_the_browser(project: Path) -> None:
    """Hostile names and values: Evidently's charts are drawn, nothing runs, nothing is asked for, a PDF has it all."""
    for frame, name in ((make_customers(400), "data/customers.csv"), (make_customers(400, 5), "now.csv")):
        frame["plan"] = frame["plan"].replace("year", "</script><script>document.title='hacked'</script>")
        frame.rename(columns={"tenure": EVIL}).to_csv(name, index=False)
    words = ["--dataset", "customers", "--current", "now.csv", "--output", "pages"]
    assert detect_drift.main(words) == 0
    for name, charts in (("drift", "Drift is detected for"), ("quality", "missing"), ("target_drift", "Drift Score")):
        page = project / "pages" / f"{name}_report.html"
        # one start of the browser for everything
        done = chromium(watched(page), "--dump-dom", f"--print-to-pdf={project / 'page.pdf'}")
        assert "CONSOLE" not in done.stderr, re.findall(r".*CONSOLE.*", done.stderr)
        assert charts in without_scripts(done.stdout)
        assert "<img src=x" not in without_scripts(done.stdout)
        assert ">hacked" not in done.stdout
        assert requests_in(done.stdout) == []
        pdf = pypdf.PdfReader(project / "page.pdf")
        assert "customers" in pdf.pages[0].extract_text()
        assert charts in " ".join(page.extract_text() for page in pdf.pages)
