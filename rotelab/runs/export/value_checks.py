"""Validation of a bundle's members, value by value: types, ranges, and whether they fit together.

Each check returns the checked value, so that nothing unchecked gets through. Errors name the
member, the row and the column.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotelab.config.names import CHECKPOINTS, lesson_number
from rotelab.config.run_config import RunConfig
from rotelab.errors import InputError, LabError
from rotelab.facts.csv_text import UNPRINTABLE
from rotelab.facts.packs import Pack
from rotelab.registry.transfer import Column
from rotelab.runs.export.untrusted_zip import load_json
from rotelab.storage import RUN_ID

ENDED = ("finished", "stopped", "failed", "interrupted")
"""The statuses of runs that can be exported: a queued or live run belongs to its machine."""

MAX_TEXT = 100_000
"""Longest text of a cell, in characters."""
MAX_LINE = 1_000_000
"""Longest row of a table, in bytes."""
MAX_NAME = 200
"""Longest text of one line, such as a name."""

RANGES: dict[str, tuple[float, float]] = {
    "probability": (0, 1.001), "object_probability": (0, 1.001),  # sums round above 1
    "generation_accuracy": (0, 1), "share": (0, 1.001), "correct": (0, 1), "recalled": (0, 1),
    "epoch": (0, 1e9), "epochs": (0, 1e9), "step": (0, 1e12), "steps": (0, 1e12),
    "chosen": (0, 1), "contains": (0, 1), "normalized": (0, 1.001), "choice_accuracy": (0, 1),
    "contains_accuracy": (0, 1), "normalized_probability": (0, 1.001),
    "seq": (0, 1e15), "n": (0, 1e9), "rank": (0, 1e9), "layer": (0, 1e5),
    "place": (0, 99), "held_out": (0, 1),
    "weight": (0, 1e30),
}  # fmt: skip
"""Smallest and largest value of columns with a known meaning."""
WORDS = {"checkpoint": CHECKPOINTS, "status": ENDED}
SHORT = re.compile(r"[\w ./Δ-]{1,80}")
SHORT_TEXTS = ("phase", "probe", "name", "way")
NEEDED = ("status", "created", "pack_name", "config")
"""Columns that a run's row must have, even where the database has a default."""
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00")
RUN_IDS = ("shared_phase1_from",)
TIMES = ("created", "started", "finished")
ONE_LINE = ("name", "pack_name", "device_used")


@dataclass(frozen=True)
class Arrived:
    """An imported run's own row: `record` by column, with its settings and facts."""

    record: dict[str, Any]
    config: RunConfig
    pack: Pack


def check_run(data: bytes, pack: Pack, columns: Sequence[Column], source: str) -> Arrived:
    """Reads `run.json`.

    Args:
        data: its bytes.
        pack: the bundle's facts and prompts; their name is in the run's row.
        columns: the exported columns of the table `runs`.
        source: what to call it in an error.

    Raises:
        InputError: a field is missing, unknown, of another type or out of its range.
    """
    record = load_json(data, source)
    if not isinstance(record, dict):
        raise InputError("is not a table of fields.", source=source)
    check_names(list(record), columns, source, also=("parent_id",))
    for name in NEEDED:
        if name not in record:
            raise InputError(f"has no {name!r}.", source=source, column=name)
    checked: dict[str, Any] = {
        "parent_id": check_id(record.pop("parent_id", None), source, "parent_id")
    }
    known = {column.name: column for column in columns}
    for name, value in record.items():
        place = {"source": source, "column": name}
        if name in _JSON_CHECKS:
            checked[name] = _JSON_CHECKS[name](value, place)
        elif name in TIMES:
            checked[name] = _time(value, known[name], place)
        elif name in RUN_IDS:
            checked[name] = check_id(value, source, name)
        elif name in ONE_LINE:
            checked[name] = check_line(value, place)
        else:
            checked[name] = check_value(value, known[name], place, {})
    config: RunConfig = checked["config"]
    checked |= {
        "config": config.to_dict(),
        "model": config.model.name,
        "seed": config.seed,
        "device": config.model.device,
    }
    pack = Pack(checked["pack_name"], pack.facts, pack.prompts)
    config.split(pack.facts)
    return Arrived(checked, config, pack)


def check_names(
    names: Sequence[Any], columns: Sequence[Column], source: str, also: Sequence[str] = ()
) -> None:
    """Checks that a table has the columns this version knows.

    Raises:
        InputError: a column is unknown, named twice, or missing.
    """
    known = {column.name for column in columns} | set(also)
    for name in names:
        if not isinstance(name, str) or name not in known or names.count(name) > 1:
            raise InputError(
                f"has a column {str(name)[:40]!r} that is not known here or appears twice. A "
                "newer rotelab may have written it: update rotelab.",
                source=source,
            )
    for column in columns:
        if column.needed and column.name not in names:
            raise InputError(f"has no column {column.name!r}.", source=source, column=column.name)


def table_header(path: Path, columns: Sequence[Column], source: str) -> tuple[str, ...]:
    """The names of a table's columns, from its first line.

    Raises:
        InputError: they are not the columns of this table.
    """
    with path.open("rb") as file:
        names = load_json(file.readline(MAX_LINE), source)
    if not isinstance(names, list):
        raise InputError("does not begin with the names of its columns.", source=source)
    check_names(names, columns, source)
    return tuple(names)


def table_rows(path: Path, columns: Sequence[Column], facts: int, source: str) -> Iterator[tuple]:
    """The rows of a table, one JSON list a line, each checked as it is read.

    Args:
        path: the file; its first line names the columns.
        columns: the exported columns of that table.
        facts: how many facts the run has.
        source: what to call it in an error.

    Raises:
        InputError: names row and column.
    """
    known = {column.name: column for column in columns}
    kinds = [known[name] for name in table_header(path, columns, source)]
    bounds = {"fact_index": (0, facts - 1)}
    with path.open("rb") as file:
        file.readline(MAX_LINE)
        row = 0
        while line := file.readline(MAX_LINE + 1):
            row += 1
            if len(line) > MAX_LINE:
                words = f"is longer than {MAX_LINE:,} bytes."
                raise InputError(words, source=source, row=row, column=_open_column(line, kinds))
            values = load_json(line, source, row)
            if not isinstance(values, list) or len(values) != len(kinds):
                raise InputError(f"must have {len(kinds)} values.", source=source, row=row)
            yield tuple(
                check_value(v, kind, {"source": source, "row": row, "column": kind.name}, bounds)
                for v, kind in zip(values, kinds, strict=True)
            )


def check_value(
    value: Any, column: Column, place: dict[str, Any], bounds: dict[str, tuple[float, float]]
) -> Any:
    """One value of a table, in its column's type.

    Raises:
        InputError: it is of another type, out of its range, or too long.
    """
    if value is None:
        if not column.nullable:
            raise InputError("is missing.", **place)
        return None
    if column.kind == "TEXT":
        return _text(value, column.name, place)
    number = int if column.kind == "INTEGER" else int | float
    if column.kind == "REAL" and value in ("inf", "-inf"):
        value = float(value)
    elif not isinstance(value, number) or isinstance(value, bool) or _not_finite(value):
        wanted = "whole number" if column.kind == "INTEGER" else "number"
        raise InputError(f"must be a {wanted}; it is {value!r:.40}.", **place)
    low, high = bounds.get(column.name) or RANGES.get(column.name) or (-(2**63), 2**63 - 1)
    if column.kind == "REAL":
        if column.name in RANGES and not low <= value <= high:
            raise InputError(f"must be between {low:g} and {high:g}; it is {value!r:.40}.", **place)
        return float(value)
    if not low <= value <= high:
        raise InputError(f"must be between {low:g} and {high:g}; it is {value!r:.40}.", **place)
    return value


def one_line(text: str) -> str:
    """A name as it is exported: one printable line, not too long."""
    return " ".join(UNPRINTABLE.sub(" ", text).split())[:MAX_NAME]


def _open_column(line: bytes, kinds: Sequence[Column]) -> str:
    """The column in which a truncated row ends."""
    text, at, column = line.decode("utf-8", "replace"), 1, 0
    while column < len(kinds) - 1:
        try:
            _, at = json.JSONDecoder().raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        at, column = at + 1 + text[at:].startswith(", "), column + 1
    return kinds[column].name if kinds else ""


def _text(value: Any, name: str, place: dict[str, Any]) -> str:
    if not isinstance(value, str):
        raise InputError(f"must be text; it is {value!r:.40}.", **place)
    if len(value) > MAX_TEXT:
        raise InputError(f"has {len(value):,} characters; at most {MAX_TEXT:,} are taken.", **place)
    lesson = name == "checkpoint" and lesson_number(value)
    if name in WORDS and value not in WORDS[name] and not lesson:
        raise InputError(f"must be one of {', '.join(WORDS[name])}; it is {value!r:.40}.", **place)
    if name in SHORT_TEXTS and "row" in place and not SHORT.fullmatch(value):
        raise InputError(f"is no name: {value!r:.40}.", **place)
    return value


def check_line(value: Any, place: dict[str, Any], most: int = MAX_NAME) -> str:
    """A text of one line.

    Raises:
        InputError: it is not text, too long, or has line breaks or control characters.
    """
    if not isinstance(value, str) or len(value) > most or UNPRINTABLE.search(value):
        raise InputError(
            f"must be one line of at most {most} characters; it is {value!r:.40}.", **place
        )
    return value


def _time(value: Any, column: Column, place: dict[str, Any]) -> str | None:
    if value is None and column.nullable:
        return None
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise InputError(f"is no time in UTC: {value!r:.40}.", **place)
    return value


def check_id(value: Any, source: str, column: str = "run") -> str | None:
    """A run's id, or None where there is none.

    Raises:
        InputError: it is neither.
    """
    if value is not None and not (isinstance(value, str) and RUN_ID.fullmatch(value)):
        raise InputError(f"is no run's id: {value!r:.40}.", source=source, column=column)
    return value


def _config(value: Any, place: dict[str, Any]) -> RunConfig:
    try:
        config = RunConfig.from_stored(value)
    except LabError as error:
        raise InputError(
            f"{str(error)[:300]} Another rotelab may have written it.", **place
        ) from None
    name = check_line(config.model.name, place, 300)
    if name.startswith(("\\\\", "//")):  # Windows would greet that server with the user's password
        raise InputError(f"names a model on another machine: {name!r:.60}.", **place)
    check_line(config.model.device, place)
    check_line(config.pack, place, 4000)
    return config


def _tags(value: Any, place: dict[str, Any]) -> list[str]:
    return [check_line(tag, place) for tag in _listed(value, place)]


def _warnings(value: Any, place: dict[str, Any]) -> list[str]:
    return [_text(words, "warnings", place) for words in _listed(value, place)]


def _listed(value: Any, place: dict[str, Any]) -> list[Any]:
    if not isinstance(value, list) or len(value) > 1000:
        raise InputError("must be a list of at most 1000 texts.", **place)
    return value


def _seconds(value: Any, place: dict[str, Any]) -> dict[str, float]:
    for part, seconds in _table(value, place):
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not SHORT.fullmatch(part) or not number or not 0 <= seconds <= 1e12:
            raise InputError(f"must be seconds by part; it is {value!r:.60}.", **place)
    return value


def _versions(value: Any, place: dict[str, Any]) -> dict[str, str]:
    for library, version in _table(value, place):
        check_line(library, place)
        check_line(version, place)
    return value


def _table(value: Any, place: dict[str, Any]) -> list[tuple[str, Any]]:
    if not isinstance(value, dict) or len(value) > 100:
        raise InputError("must be a table of at most 100 fields.", **place)
    return list(value.items())


_JSON_CHECKS = {
    "config": _config, "tags": _tags, "warnings": _warnings, "seconds": _seconds,
    "versions": _versions,
}  # fmt: skip


def _not_finite(value: int | float) -> bool:
    return abs(value) > 2**63 if isinstance(value, int) else not math.isfinite(value)
