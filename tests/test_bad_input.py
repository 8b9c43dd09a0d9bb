"""Faulty tables and settings: exit 2, one line that names the fault and its mend, no traceback, no output touched."""

import errno
import gzip
import socket
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_customers, make_houses

import detect_drift
import generate_data
import train
import tune_hyperparameters

GOOD = "size,kind,price\n" + "".join(f"{i % 7},{'ab'[i % 2]},{i * 1.5}\n" for i in range(40))


def text(content: str | bytes) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda path: path.write_bytes(data) and None


def labels(values: str) -> Callable[[Path], None]:
    """A table whose target holds the values in turn."""
    several = values.split()
    return text("size,kind,price\n" + "".join(f"{i},{i % 3},{several[i % len(several)]}\n" for i in range(40)))


def with_line(line: str) -> Callable[[Path], None]:
    return text(GOOD + line + "\n")


def directory(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def missing(path: Path) -> None:
    pass


# what every script that reads a table says of a faulty file
FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (missing, "not found"),
    "empty file": (text(""), "is empty"),
    "only blanks": (text("\n\n  \n"), "is empty"),
    "header only": (text("size,kind,price\n"), "has no rows"),
    "column name twice": (text("size,size,price\n1,2,3\n"), "columns 1 and 2 are both called 'size'"),
    "column name twice but for blanks": (text("size, size ,price\n1,2,3\n"), "are both called 'size'"),
    "too many fields": (with_line("1,a,2,3"), "line 42 has 4 fields, the header has 3"),
    "too few fields": (with_line("1,a"), "line 42 has 2 fields, the header has 3"),
    "quote left open": (with_line('1,"a,2'), "line 42: a quote is opened and not closed"),
    "NUL byte": (text(GOOD.encode() + b"1,a\0,2\n"), "NUL byte in line 42"),
    "directory": (directory, "is "),
    "socket": (unix_socket, "is no file"),
    "infinity": (with_line("inf,a,2"), "'inf' in line 42 is infinite or too large"),
    "beyond float64": (with_line("1e999,a,2"), "in line 42 is infinite or too large"),
}
# what is read in a source, and in data/ is none of the pipeline's own files
COPIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "wrong delimiter": (text(GOOD.replace(",", ";")), "no column 'price'"),
    "latin-1": (text("size,kind,price\n1,caf\xe9 cr\xe8me br\xfbl\xe9e,2\n".encode("latin-1")), "line 2 is not UTF-8"),
    "utf-16": (text(GOOD.encode("utf-16")), "line 1"),
}
# what only the ingest of a table can say
TARGETS: dict[str, tuple[Callable[[Path], None], str]] = {
    "target misspelt": (text(GOOD.replace("price", "prize")), "no column 'price'; did you mean 'prize'?"),
    "target absent": (text(GOOD.replace("price", "zzz")), "no column 'price'; known: size, kind, zzz"),
    "target constant": (labels("7"), "target price is always 7"),
    "one class only": (labels("yes"), "target price is always yes"),
    "target empty": (text(GOOD.split("\n")[0] + "\n" + "1,a,\n" * 9), "target price is empty in every row"),
    "words among a target of numbers": (with_line("1,a,cheap"), "'cheap' in line 42 is no number"),
    "texts of a target that are no classes": (
        text("size,kind,price\n" + "".join(f"{i},a,p{i}\n" for i in range(40))),
        "different texts, no classes",
    ),
    "a class too small": (labels(" ".join(["a"] * 39 + ["b"])), "has too few rows (1), 3 folds"),
    "nothing to learn from": (
        text("size,kind,price\n" + "".join(f"1,a,{i}.5\n" for i in range(40))),
        "no column is left",
    ),
}


def contents(folder: Path) -> dict[str, bytes]:
    """Every regular file below a folder, but for what the stage reads or only locks."""
    ignored = ("source.csv", "given.csv", "params.yaml")
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ignored and "lock" not in path.name and path.stat().st_size
    }


@pytest.fixture
def houses(project: Path) -> Path:
    """The project with one regression dataset from source.csv."""
    params = {**PARAMS, "gates": {}, "tuning": {"trials": 2, "startup_trials": 1, "search_rows": 100}}
    params["datasets"] = {"houses": {"source": "source.csv", "file": "data/houses.csv", "target": "price"}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    return project


def refused(capsys: pytest.CaptureFixture[str], status: int, words: str) -> None:
    """Exit 2 and exactly one line, with these words."""
    error = capsys.readouterr().err
    assert status == 2, error
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("fault", [*FILES, *TARGETS])
def test_ingest_refuses(houses: Path, capsys: pytest.CaptureFixture[str], fault: str) -> None:
    make, words = (FILES | TARGETS)[fault]
    make(Path("source.csv"))
    before = contents(houses)
    refused(capsys, generate_data.main([]), words)
    assert contents(houses) == before


@pytest.mark.parametrize("fault", [*FILES, *COPIES])
@pytest.mark.parametrize("script", [train, tune_hyperparameters, detect_drift])
def test_a_faulty_file_in_data_is_refused(
    houses: Path, capsys: pytest.CaptureFixture[str], script: object, fault: str
) -> None:
    make_houses().to_csv("source.csv", index=False)
    assert generate_data.main([]) == 0
    Path("data/houses.csv").unlink()
    make, words = (FILES | COPIES)[fault]
    make(Path("data/houses.csv"))
    before = contents(houses)
    capsys.readouterr()
    refused(capsys, script.main(["--dataset", "houses"]), words)
    assert contents(houses) == before


@pytest.mark.parametrize("fault", list(FILES))
@pytest.mark.parametrize("side", ["--current", "--reference"])
def test_drift_refuses_a_faulty_file(houses: Path, capsys: pytest.CaptureFixture[str], side: str, fault: str) -> None:
    Path("source.csv").write_text(GOOD)
    assert generate_data.main([]) == 0
    FILES[fault][0](Path("given.csv"))
    before = contents(houses)
    capsys.readouterr()
    refused(capsys, detect_drift.main(["--dataset", "houses", side, "given.csv"]), FILES[fault][1])
    assert contents(houses) == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("table.csv.gz", gzip.compress(GOOD.encode())[:-12], "cannot be read"),
        ("table.csv.gz", b"\x1f\x8bnot gzip at all", "cannot be read"),
        ("table.parquet", b"PAR1\1not parquet", "cannot be read"),
    ],
)
def test_damaged_archives_are_refused(
    houses: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, words: str
) -> None:
    Path(name).write_bytes(content)
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("source.csv", name))
    refused(capsys, generate_data.main([]), words)


def test_a_truncated_parquet_file_is_refused(houses: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_houses().to_parquet("whole.parquet")
    Path("table.parquet").write_bytes(Path("whole.parquet").read_bytes()[:-20])
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("source.csv", "table.parquet"))
    refused(capsys, generate_data.main([]), "cannot be read")


def test_a_file_without_permission_is_refused(
    houses: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def denied(path: Path, *mode: str, **how: object) -> object:
        if path.name == "source.csv":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *mode, **how)

    Path("source.csv").write_text(GOOD)
    # permissions do not bind root, who runs many a container
    monkeypatch.setattr(Path, "open", denied)
    refused(capsys, generate_data.main([]), "Permission denied")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"types": {"kind": "number"}}, "column 'kind': 'a' in line 2 is no number"),
        ({"types": {"kind": "date"}}, "column 'kind': 'a' in line 2 is no date"),
        ({"types": {"knd": "number"}}, "no column 'knd'; did you mean 'kind'?"),
        ({"drop": ["sizes"]}, "no column 'sizes'; did you mean 'size'?"),
        ({"split": {"group": "kin"}}, "no column 'kin'; did you mean 'kind'?"),
        ({"split": {"group": "kind"}}, "fewer groups in kind than 3 folds"),
        ({"split": {"time": "kind"}, "threshold": "tuned"}, "threshold: tuned looks at later rows"),
        ({"task": "binary", "positive": 1}, "has 40 classes, binary has two"),
        ({"target": "kind", "positive": "c"}, "'c' is no value of target kind; values: a, b"),
        ({"target": "kind", "task": "regression"}, "column 'kind': 'a' in line 2 is no number"),
    ],
)
def test_settings_that_do_not_fit_the_table_are_refused(
    houses: Path, capsys: pytest.CaptureFixture[str], setting: dict, words: str
) -> None:
    Path("source.csv").write_text(GOOD)
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["datasets"]["houses"] |= setting
    Path("params.yaml").write_text(yaml.safe_dump(params))
    refused(capsys, generate_data.main([]), words)


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "a'b", 'a"b', "<b>", "$(x)", "a;b", "a`b", ""])
def test_names_that_could_be_paths_or_code_are_refused(
    houses: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["datasets"][name] = params["datasets"].pop("houses")
    Path("params.yaml").write_text(yaml.safe_dump(params))
    refused(capsys, generate_data.main([]), "a name is text of letters, digits, _ and -")


@pytest.mark.pictures
def test_columns_and_values_may_be_called_anything(houses: Path) -> None:
    odd = ["<img src=x onerror=alert(1)>", "a'b", 'c"d', "$(x)", "../e", "f g", "price"]
    frame = pd.DataFrame({name: [f"{name}{i % 3}" for i in range(60)] for name in odd[:3]})
    frame = frame.assign(**{name: [float(i * k % 11) for i in range(60)] for k, name in enumerate(odd[3:], 3)})
    frame.to_csv("source.csv", index=False)
    assert generate_data.main([]) == 0
    assert train.main([]) == 0
    assert detect_drift.main([]) == 0


@pytest.mark.parametrize(
    ("of_one_value", "words"),
    [
        (slice(45, 60), "the rows of the test part have one value of left only"),
        (slice(0, 45), "the rows of the train part have one value of left only"),
        (slice(0, 12), "the training rows of fold 1 have one value of left only"),
        (slice(12, 45), "the validated rows have one value of left only"),
    ],
)
@pytest.mark.parametrize("numbers", [False, True])
def test_parts_of_one_value_in_order_of_time_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], of_one_value: slice, words: str, numbers: bool
) -> None:
    frame = make_customers(60).assign(day=range(60), left=[1.5, 0] * 30 if numbers else ["Yes", "No"] * 30)
    frame.loc[frame.index[of_one_value], "left"] = 0 if numbers else "No"
    frame.to_csv("y.csv", index=False)
    facts = {"task": "regression"} if numbers else {"task": "binary", "positive": "Yes"}
    customers = {"source": "y.csv", "file": "data/customers.csv", "target": "left", "split": {"time": "day"}, **facts}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "gates": {}, "datasets": {"customers": customers}}))
    refused(capsys, generate_data.main([]), words)


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_a_setting_that_an_estimator_refuses_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], threshold: float
) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["datasets"]["customers"]["threshold"] = threshold
    params["models"]["forest"]["params"]["max_depth"] = -5
    Path("params.yaml").write_text(yaml.safe_dump(params))
    words = "RandomForestClassifier cannot be fitted: InvalidParameterError: The 'max_depth' parameter"
    refused(capsys, train.main(["--dataset", "customers"]), words)
