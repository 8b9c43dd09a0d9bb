"""One more dataset in params.yaml: lines that are inserted, while every other byte of the file stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, MappingNode, Node, ScalarNode, YAMLError

from pipeline.console import PipelineError, one_line
from pipeline.settings import EVERY, NAME

STEP = 2
WIDTH = 120
# Text that needs no quotes, unless readers of YAML 1.1 or 1.2 take it for something else: these words, in any case.
PLAIN = re.compile(r"([^\W\d]|\.{0,2}/)[\w./-]*( [\w./-]+)*")
NOT_TEXT = {"y", "yes", "n", "no", "on", "off", "true", "false", "null"}


def add_entry(params: Path, name: str, entry: Mapping[str, Any]) -> str:
    """The text of params.yaml with the entry (source, file, target, ...) as the last one under `datasets:`.

    All that was there stays byte for byte, only an empty `{}` goes. Write the text with pipeline.files.write_text.

    PipelineError: the name is no name or is taken; the file is missing, not YAML, has no `datasets:` in block style, or
    would not read as the same settings with the entry.
    """
    if not re.fullmatch(NAME, name) or name == EVERY:
        words = "stands for every dataset" if name == EVERY else "is no name of letters, digits, _ and -"
        raise PipelineError(f"{name!r} {words}; give the dataset another name")
    # not read_text, which would change the line ends
    try:
        text = params.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise PipelineError(f"{params}: not found; run the scripts in the project's root folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{params}: cannot be read ({error})") from None
    try:
        settings = _read(text)
    except (YAMLError, RecursionError, ValueError) as error:
        raise PipelineError(f"{params}: {one_line(error)}") from None
    known = isinstance(settings, dict) and "datasets" in settings
    datasets = settings["datasets"] if known else None
    if not known or not isinstance(datasets, dict | None):
        raise PipelineError(f"{params}: has no `datasets:` with a line for each name below it; add one")
    if name in map(str, datasets or ()):
        raise PipelineError(f"{params}: there is a dataset {name!r} already; give this one another name")
    changed = _with_lines(params, text, name, entry)
    expected = {**settings, "datasets": {**(datasets or {}), name: _plain_values(entry)}}
    if not _reads_as(changed, expected):
        raise PipelineError(f"{params}: {name} cannot be added without a change of other settings; add it by hand")
    return changed


def entry_lines(key: str, value: Any, indent: int = 0, step: int = STEP) -> list[str]:
    """The lines of a key and its value; what is within an inner value is in one line where that fits."""
    start = f"{' ' * indent}{_scalar(str(key))}:"
    if isinstance(value, Mapping) and value:
        inner = [line for name, below in value.items() for line in _inner_lines(name, below, indent + step, step)]
        return [start, *inner]
    if isinstance(value, list | tuple) and value:
        return [start, *(f"{' ' * (indent + step)}- {_flow(item)}" for item in value)]
    return [f"{start} {_flow(value)}"]


def _inner_lines(key: str, value: Any, indent: int, step: int) -> list[str]:
    line = f"{' ' * indent}{_scalar(str(key))}: {_flow(value)}"
    return [line] if len(line) <= WIDTH else entry_lines(key, value, indent, step)


def _with_lines(params: Path, text: str, name: str, entry: Mapping[str, Any]) -> str:
    """The text with the entry's lines. PipelineError: `datasets:` is in flow style."""
    key, block = _datasets(params, text)
    if isinstance(block, MappingNode) and block.flow_style and not block.value:
        text = text[: block.start_mark.index].rstrip(" ") + text[block.end_mark.index :]
        key, block = _datasets(params, text)
    if isinstance(block, MappingNode) and not block.flow_style:
        indent, step = _indentation(key, block)
        end = _end_of_content(text, block)
    elif isinstance(block, ScalarNode) and block.start_mark.index == block.end_mark.index:
        indent, step = key.start_mark.column + STEP, STEP
        end = key.end_mark.index
    else:
        raise PipelineError(f"{params}: `datasets:` is in flow style; give each name of it a line of its own")
    line_end = "\r\n" if re.match(r"[^\n]*\r\n", text[key.start_mark.index :]) else "\n"
    place = _after_comments(text, end, indent)
    lines = "".join(line + line_end for line in entry_lines(name, entry, indent, step))
    before = text[:place]
    return before + ("" if before.endswith("\n") else line_end) + lines + text[place:]


def _datasets(params: Path, text: str) -> tuple[Node, Node]:
    """The nodes of the key `datasets` and of its value. PipelineError: they are in flow style, or merged in."""
    root = YAML(typ="safe", pure=True).compose(text)
    found = [(key, value) for key, value in root.value if key.value == "datasets"]
    if root.flow_style or not found:
        raise PipelineError(f"{params}: is in flow style; give `datasets:` a line of its own")
    return found[0]


def _indentation(key: Node, block: Node) -> tuple[int, int]:
    """Columns before the names of a block, and how much further in their values are."""
    first, below = block.value[0]
    indent = first.start_mark.column
    is_alias = below.start_mark.index < first.start_mark.index
    if isinstance(below, MappingNode) and not below.flow_style and not is_alias:
        return indent, below.value[0][0].start_mark.column - indent
    return indent, indent - key.start_mark.column


def _end_of_content(text: str, block: Node) -> int:
    """Where the last value in a block ends. Its own mark lies behind the comments that follow it, and that of an alias
    where the anchor is.
    """
    events = YAML(typ="safe", pure=True).parse(text)
    within = [event for event in events if block.start_mark.index <= event.start_mark.index < block.end_mark.index]
    # blank lines after a text of several lines are no part of it
    return len(text[: within[-1].end_mark.index].rstrip())


def _after_comments(text: str, end: int, indent: int) -> int:
    """The start of the line after the content that ends there, and after comments below that are indented as far as
    the names; others belong to what follows.
    """
    end = text.find("\n", end) + 1 or len(text)
    place = end
    for line in re.findall(r"[^\n]*\n|[^\n]+", text[end:]):
        end += len(line)
        words = line.lstrip()
        if words and (not words.startswith("#") or len(line) - len(words) < indent):
            break
        place = end if words else place
    return place


def yaml_value(text: str) -> Any:
    """A value as params.yaml would have it; what YAML cannot read is text. A comma and the like need no quotes here."""
    try:
        value = _read(text)
    except (YAMLError, ValueError):
        return text
    # a date, or a list of one nothing, was meant as it stands
    return value if isinstance(value, (str, int, float, bool, dict, list)) and value != [None] else text


def _read(text: str) -> Any:
    """As YAML 1.2, as load_config reads it."""
    return YAML(typ="safe", pure=True).load(text)


def _reads_as(text: str, expected: Any) -> bool:
    try:
        # their words, since 1 == 1.0 == True, and the order is part of the file
        return repr(_read(text)) == repr(expected)
    except (YAMLError, RecursionError, ValueError):
        return False


def _plain_values(value: Any) -> Any:
    """The value as YAML reads it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain_values(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_values(below) for below in value]
    if isinstance(value, bool) or value is None:
        return value
    return next(kind(value) for kind in (str, int, float) if isinstance(value, kind))


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_flow(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """A value that readers of YAML 1.1 and 1.2 take for the same; text in quotes where it has to be."""
    if isinstance(value, str):
        if PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT:
            return value
        quoted = json.dumps(value, ensure_ascii=False)
        return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in quoted)
    if isinstance(value, float):
        number = float.__repr__(value)
        if number.lstrip("-") in ("inf", "nan"):
            return number.replace("inf", ".inf").replace("nan", ".nan")
        return number if "." in number else number.replace("e", ".0e")
    return json.dumps(value)
