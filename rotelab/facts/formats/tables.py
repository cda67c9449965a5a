"""A table as it stands in a file of any kind: named columns, and cells that are text or lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rotelab.errors import InputError

MAX_BYTES = 400_000_000
"""Largest file that is read, in bytes, unpacked."""

MAX_ROWS = 1_000_000
"""Most rows of one table in a file."""

Cell = str | list[Any]
"""A text as it stands in the file, or a list of what stands there."""


class Record(NamedTuple):
    """One row: its 1-based number, header and empty lines not counted, and its cells by column."""

    number: int
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Table:
    """One table of a file.

    Args:
        source: the file as the user knows it; inside a zip or workbook with the part's name.
        format: what it is: `CSV`, `JSON`, `JSON lines`, `Excel`, `Parquet`.
        columns: the names of its columns in their order; a dot goes into a nested object.
        records: its rows.
        encoding: of its text; empty where the format leaves no choice.
        guessed: whether the encoding is only likely.
        delimiter: between the cells of a CSV.
        said: sentences about how it was read.
    """

    source: str
    format: str
    columns: tuple[str, ...]
    records: tuple[Record, ...]
    encoding: str = ""
    guessed: bool = False
    delimiter: str = ""
    said: tuple[str, ...] = ()


def table_of(objects: Iterable[Mapping[str, Any]], source: str, format: str, **more: Any) -> Table:
    """A table of nested objects, as JSON and Parquet have them; empty ones are counted only.

    Args:
        objects: one for each row.
        source: what the user calls the file.
        format: as in `Table`.
        more: other fields of the table.

    Raises:
        InputError: there are more than `MAX_ROWS`.
    """
    columns: dict[str, None] = {}
    records: list[Record] = []
    for number, item in enumerate(objects, 1):
        for one in _apart(item):
            cells = dict(flat(one))
            if len(records) == MAX_ROWS:
                raise too_many_rows(source)
            columns.update(dict.fromkeys(cells))
            if any(cells.values()):
                records.append(Record(number, cells))
    return Table(source, format, tuple(columns), tuple(records), **more)


def _apart(item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """An object once for each of its rewrites: MQuAKE lists several, CounterFact has one."""
    rewrites = item.get("requested_rewrite")
    if isinstance(rewrites, list) and all(isinstance(one, Mapping) for one in rewrites):
        yield from ({**item, "requested_rewrite": one} for one in rewrites)
    else:
        yield item


def flat(item: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Cell]]:
    """The leaves of a nested object, each with the dotted path that leads to it."""
    for name, value in item.items():
        path = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping):
            yield from flat(value, path)
        else:
            yield path, value if isinstance(value, list) else text_of(value)


def text_of(value: Any) -> str:
    """A value of a file as text, nothing added and nothing lost; None is an empty cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # a spreadsheet keeps 1984 as 1984.0
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return str(value)


def too_many_rows(source: str) -> InputError:
    """The error for a table of more than `MAX_ROWS` rows."""
    return InputError(
        f"has more than {MAX_ROWS:,} rows. Keep those that you need, or split it.", source=source
    )


def too_large(size: int, source: str) -> InputError:
    """The error for a file of more than `MAX_BYTES` bytes."""
    return InputError(
        f"is {size / 1e6:,.0f} MB; at most {MAX_BYTES / 1e6:,.0f} MB are read. Keep the rows that "
        "you need, or split it.",
        source=source,
    )
