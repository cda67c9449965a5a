"""Figures of a sweep: one measure over two options, as a heatmap and as curves with intervals."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from rotelab.reports.figures.export import Cell, with_table
from rotelab.reports.figures.style import (
    CHECKPOINT_COLOURS,
    RELATION_COLOURS,
    SERIES_DASHES,
    SERIES_MARKERS,
    TEXT,
    styled,
    translucent,
)
from rotelab.reports.sweep_results import Plane, Spread

_NONE = "No run of this cell has finished yet."


def heatmap(plane: Plane, name: str = "") -> go.Figure:
    """One cell for each pair of values: the stronger its colour, the higher the mean.

    Args:
        plane: the measure over two options.
        name: figures of the same name keep the zoom that a person chose.
    """
    colour = CHECKPOINT_COLOURS.get(plane.figure.checkpoint, TEXT)
    figure = go.Figure(
        go.Heatmap(
            z=[[None if s is None else _or_none(s.mean) for s in row] for row in plane.spreads],
            x=[_name(value) for value in plane.xs],
            y=[_name(value) for value in plane.ys],
            text=[[_short(s) for s in row] for row in plane.spreads],
            texttemplate="%{text}",
            textfont={"size": 15},
            customdata=[[_words(s) for s in row] for row in plane.spreads],
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=True,
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
            # A quarter transparent, because the cells' text has the page's own colour.
            colorscale=[[0, "rgba(128,140,160,0.16)"], [1, translucent(colour, 0.75)]],
            showscale=False,  # the numbers are in the cells
        )
    )
    styled(figure, 150 + 56 * len(plane.ys))
    # Categories, so that 1, 5, 10 and 50 get cells of equal width.
    figure.update_xaxes(title_text=plane.label(plane.x), type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    if plane.y:
        figure.update_yaxes(title_text=plane.label(plane.y))
    else:
        figure.update_yaxes(visible=False)
    figure.update_layout(
        uirevision=f"{name} heatmap", margin={"l": 72, "r": 16, "t": 24, "b": 64}, dragmode=False
    )
    return with_table(figure, f"{name or 'sweep'}-heatmap", *_table(plane))


def spread_curves(plane: Plane, name: str = "") -> go.Figure:
    """The mean along one option, a line for each value of the other, its interval as a band.

    Args:
        plane: the measure over two options.
        name: figures of the same name keep the zoom that a person chose.
    """
    figure = go.Figure()
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in plane.xs)
    for place, (value, row) in enumerate(zip(plane.ys, plane.spreads, strict=True)):
        points = [
            (x if numbers else _name(x), spread)
            for x, spread in zip(plane.xs, row, strict=True)
            if spread is not None and math.isfinite(spread.mean)
        ]
        if numbers:
            points.sort(key=lambda point: point[0])
        if points:
            _line(figure, place, _name(value), points)
    styled(figure, 380)
    figure.update_xaxes(title_text=plane.label(plane.x))
    if not numbers:
        figure.update_xaxes(
            type="category", categoryorder="array", categoryarray=[_name(x) for x in plane.xs]
        )
    figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%", title_text="Mean, 95 % interval")
    figure.update_layout(
        uirevision=f"{name} curves",
        showlegend=bool(plane.y),
        legend_title_text=plane.label(plane.y) if plane.y else "",
        margin={"l": 64, "r": 16, "t": 48, "b": 64},
    )
    if not figure.data:
        figure.add_annotation(
            x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 15},
            text="The curves appear with the first finished run.",
        )  # fmt: skip
    return with_table(figure, f"{name or 'sweep'}-curves", *_table(plane))


def _table(plane: Plane) -> tuple[list[str], list[list[Cell]]]:
    """The table of both figures, columns and rows: a row for each pair of values."""
    axes = [axis for axis in (plane.y, plane.x) if axis]
    shown = plane.figure
    columns = [
        *axes, "checkpoint", "probe", f"mean {shown.measure}", "deviation", "runs",
        "low", "high",
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for y, row in zip(plane.ys, plane.spreads, strict=True):
        for x, spread in zip(plane.xs, row, strict=True):
            if spread is not None:
                place = [_plain(y), _plain(x)] if plane.y else [_plain(x)]
                *figures, interval = spread
                ends = interval or (None, None)
                rows.append([*place, shown.checkpoint, shown.probe, *figures, *ends])
    return columns, rows


def _plain(value: Any) -> Cell:
    return value if isinstance(value, int | float) else "all" if value is None else str(value)


def _line(figure: go.Figure, place: int, name: str, points: list[tuple[Any, Spread]]) -> None:
    """A line with its band; where an interval is not known, the band has no height."""
    colour = RELATION_COLOURS[place % len(RELATION_COLOURS)]
    xs, means = [x for x, _ in points], [spread.mean for _, spread in points]
    if any(spread.interval for _, spread in points):
        lower, upper = zip(*(s.interval or (s.mean, s.mean) for _, s in points), strict=True)
        figure.add_scatter(
            x=[*xs, *reversed(xs)], y=[*upper, *reversed(lower)], fill="toself", mode="lines",
            fillcolor=translucent(colour, 0.18), line={"width": 0}, hoverinfo="skip",
            showlegend=False, legendgroup=name, name=f"{name}, 95 % interval",
        )  # fmt: skip
    figure.add_scatter(
        x=xs,
        y=means,
        name=name,
        legendgroup=name,
        mode="lines+markers",
        line={"color": colour, "width": 2.5, "dash": SERIES_DASHES[place % len(SERIES_DASHES)]},
        marker={"size": 8, "symbol": SERIES_MARKERS[place % len(SERIES_MARKERS)]},
        customdata=[_words(spread) for _, spread in points],
        hovertemplate="%{x}: %{customdata}<extra>%{fullData.name}</extra>",
    )


def _short(spread: Spread | None) -> str:
    if spread is None or math.isnan(spread.mean):
        return "–"
    if spread.interval is None:
        return f"{spread.mean:.0%}"
    low, high = (f"{100 * end:.0f}" for end in spread.interval)
    return f"{spread.mean:.0%}<br><span style='font-size:12px'>[{low}, {high}]</span>"


def _words(spread: Spread | None) -> str:
    if spread is None:
        return _NONE
    runs = "1 run" if spread.n == 1 else f"{spread.n} runs"
    if not math.isnan(spread.deviation):
        runs += f", ± {spread.deviation:.1%}"
    mean = "not a number" if math.isnan(spread.mean) else f"{spread.mean:.1%}"
    if spread.interval is not None:
        mean += " [{:.1f}, {:.1f}]".format(*(100 * end for end in spread.interval))
    return f"{mean} ({runs})"


def _name(value: Any) -> str:
    # Plotly interprets a few HTML tags; a model's name is shown as it is.
    if value is None:
        return "all"
    return f"{value:g}" if isinstance(value, float) else str(value).replace("<", "&lt;")


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
