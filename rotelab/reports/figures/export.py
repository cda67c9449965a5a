"""Stores a figure's numbers in the figure, for the page's CSV button.

PNG and SVG are made in the browser, where the page draws (`assets/plots.js`). `interactive_html`
makes a part of a page that needs no server.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import plotly.graph_objects as go

from rotelab.facts.csv_text import write_table

Cell = str | float | None


class Titled(Protocol):
    """A table with a title, such as `reports.formats.Table`."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def with_table(
    figure: go.Figure, name: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> go.Figure:
    """Stores the table of its numbers and a name for its files in a figure, and returns it.

    Args:
        figure: any Plotly figure; both go into `layout.meta`.
        name: the beginning of the files' names.
        columns: the names of the table's columns.
        rows: its cells.
    """
    csv = write_table(columns, ([_short(cell) for cell in row] for row in rows))
    figure.update_layout(meta={**(figure.layout.meta or {}), "name": name, "csv": csv})
    return figure


def with_tables(figure: go.Figure, name: str, tables: Sequence[Titled]) -> go.Figure:
    """`with_table` for several tables, one below the other, each under its title.

    Args:
        figure: any Plotly figure.
        name: the beginning of the files' names.
        tables: the tables that it was drawn from.
    """
    parts = []
    for table in tables:
        title = write_table([table.title], []) if len(tables) > 1 else ""
        rows = ([_short(cell) for cell in row] for row in table.rows)
        parts.append(title + write_table(table.columns, rows))
    csv = "\n".join(parts)
    figure.update_layout(meta={**(figure.layout.meta or {}), "name": name, "csv": csv})
    return figure


def of_run(figure: go.Figure | None, run_id: str) -> go.Figure | None:
    """Puts a run's id at the beginning of the names of a figure's files; returns the figure."""
    if figure is not None:
        meta = dict(figure.layout.meta)
        figure.update_layout(meta=meta | {"name": f"{run_id}-{meta['name']}"})
    return figure


def interactive_html(figure: go.Figure) -> str:
    """A figure as a part of an HTML page, Plotly's script included; it asks no other host.

    Plotly writes `<`, `>` and `/` of texts as escapes, so that none can end the script.

    Args:
        figure: any figure of the lab; it is not changed.
    """
    drawn = go.Figure(figure)
    drawn.update_layout(meta=None)  # the CSV for the page's own buttons
    return drawn.to_html(
        full_html=False,
        include_plotlyjs=True,
        config={"responsive": True, "displaylogo": False},
        default_height=f"{figure.layout.height or 420}px",
    )


def _short(cell: Cell) -> Cell:
    if not isinstance(cell, float):
        return cell
    # NaN is an empty cell. Seven digits are the precision of float32.
    return float(f"{cell:.7g}") if math.isfinite(cell) else None
