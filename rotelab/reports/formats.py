"""A table of results, and how it is printed: text, Markdown, JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tabulate import tabulate

from rotelab.reports.intervals import Interval
from rotelab.reports.sweep_results import Spread


class Estimate(NamedTuple):
    """A figure with its interval, and with how many decimals it is shown."""

    value: float
    interval: Interval
    digits: int = 2


Cell = str | int | float | Estimate | Spread | None


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        title: what it shows.
        columns: a name for each column.
        rows: each with a cell for every column; None is shown as a dash.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def estimate(value: float | None, interval: Interval | None) -> Cell:
    """A cell with a figure, and with its interval where there is one."""
    if value is None or interval is None or not math.isfinite(value):
        return value
    return Estimate(value, interval)


def as_text(tables: Sequence[Table]) -> str:
    """The tables for a terminal."""
    return "\n\n".join(f"{table.title}\n\n{_tabulated(table, 'simple')}" for table in tables)


def as_markdown(tables: Sequence[Table]) -> str:
    """The tables as Markdown, each with its title in bold above it."""
    return "\n\n".join(
        f"**{no_markup(table.title)}**\n\n{_tabulated(table, 'pipe', no_markup)}"
        for table in tables
    )


def as_html(tables: Sequence[Table]) -> str:
    """The tables as HTML, each with its title above it; what people wrote is escaped."""
    return "".join(
        f"<p><b>{html.escape(table.title)}</b></p>{_tabulated(table, 'html')}" for table in tables
    )


def as_json(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """The tables as plain values. A mean is an object with `mean`, `deviation`, `n` and `interval`;
    NaN is None, because JSON has no NaN. The figure of one run comes without its interval, which
    `scores_json` has."""
    return [
        {
            "title": table.title,
            "columns": list(table.columns),
            "rows": [[_json_cell(cell) for cell in row] for row in table.rows],
        }
        for table in tables
    ]


def worded(table: Table) -> list[bool]:
    """For each column, whether it has words, which are aligned to the left, or numbers only."""
    return [
        any(isinstance(row[i], str) and any(map(str.isalpha, row[i])) for row in table.rows)
        for i in range(len(table.columns))
    ]


def _tabulated(table: Table, style: str, escape=str) -> str:
    if not table.rows:
        return "(nothing)"
    # What people wrote is escaped; the brackets of an interval stay.
    rows = [
        [escape(cell_text(cell)) if isinstance(cell, str) else cell_text(cell) for cell in row]
        for row in table.rows
    ]
    # By itself, tabulate would take an id for a number.
    sides = ["left" if words else "right" for words in worded(table)]
    heads = [escape(column) for column in table.columns]
    return tabulate(rows, heads, style, colalign=sides, disable_numparse=True)


def cell_text(cell: Cell) -> str:
    """A cell as text: numbers with two decimals, a dash for a missing value."""
    if isinstance(cell, Estimate):
        value, low, high = (_decimals(part, cell.digits) for part in (cell.value, *cell.interval))
        return f"{value} [{low}, {high}]"
    if isinstance(cell, Spread):
        if cell.interval is not None:
            return cell_text(Estimate(cell.mean, cell.interval))
        mean = cell_text(cell.mean)
        return mean if math.isnan(cell.deviation) else f"{mean} ± {cell_text(cell.deviation)}"
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "–"
    if isinstance(cell, float):
        return _decimals(cell, 2)
    return " ".join(str(cell).split())


def interval_json(interval: Interval | None) -> list[float | None] | None:
    """An interval as a list of its two ends; None without one."""
    return None if interval is None else [rounded(end) for end in interval]


def rounded(value: float) -> float | None:
    """A number with six decimals; None for NaN and infinity, which JSON does not have."""
    return round(value, 6) if math.isfinite(value) else None


def _decimals(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # never -0.00


def _json_cell(cell: Cell) -> Any:
    if isinstance(cell, Estimate):
        return rounded(cell.value)
    if isinstance(cell, Spread):
        interval = interval_json(cell.interval)
        return {
            "mean": rounded(cell.mean), "deviation": rounded(cell.deviation), "n": cell.n,
            "interval": interval,
        }  # fmt: skip
    return rounded(cell) if isinstance(cell, float) else cell


def no_markup(text: str) -> str:
    """The text with Markdown's special characters escaped."""
    return "".join(f"\\{char}" if char in "|*<[`\\" else char for char in text)
