"""The training curves of several runs in one figure: recall and loss, phase by phase."""

from __future__ import annotations

import copy
import functools
import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.registry import Metric
from rotelab.reports.figures.export import with_table
from rotelab.reports.figures.style import (
    GRID,
    RELATION_COLOURS,
    SERIES_DASHES,
    SERIES_MARKERS,
    styled,
)
from rotelab.reports.figures.training import PHASES, thinned

ROWS = {"recall": "Facts recalled", "loss": "Loss"}
LONGEST_NAME = 40
"""Characters of a run's name in the legend."""

Line = tuple[str, Sequence[Metric]]
"""A run's name, and its metrics."""


def run_colour(place: int) -> str:
    """The colour of the run at that place; 0 is the first."""
    return RELATION_COLOURS[place % len(RELATION_COLOURS)]


def overlaid(lines: Sequence[Line], name: str = "", height: int = 460) -> go.Figure:
    """Recall above, loss below, a column for each phase; each run has a colour, dash and marker.

    Args:
        lines: each run's name and its metrics; those named `loss` and `recall` are drawn.
        name: figures of the same name keep the zoom that a person chose.
        height: in pixels.
    """
    there = {m.phase for _, metrics in lines for m in metrics if m.name in ROWS}
    phases = [phase for phase in PHASES if phase in there]
    traces = []
    for place, (label, metrics) in enumerate(lines):
        legend = True
        for column, phase in enumerate(phases):
            for row, metric in enumerate(ROWS):
                trace = _line(place, label, metrics, phase, metric)
                if trace is None:
                    continue
                panel = row * len(phases) + column + 1
                axis = "" if panel == 1 else panel
                axes = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
                traces.append(trace | axes | {"showlegend": legend})
                legend = False
    layout = copy.deepcopy(_frame(tuple(phases), height))
    layout["uirevision"] = name or "comparison"
    losses = [m.value for _, metrics in lines for m in metrics if m.name == "loss"]
    most = max(filter(math.isfinite, losses), default=0) or 1
    for column in range(len(phases)):
        # Set explicitly: by default Plotly ends axes that share a range at 4.
        layout[f"yaxis{len(phases) + column + 1}"]["range"] = [0, 1.05 * most]
    # Built in one call: Plotly validates a figure again after every change.
    figure = go.Figure({"data": traces, "layout": layout})
    columns = ("run", "phase", "step", "metric", "value")
    rows = [
        (label, m.phase, m.step, m.name, m.value)
        for label, metrics in lines
        for m in metrics
        if m.name in ROWS
    ]
    return with_table(figure, f"comparison-{name.replace(' ', '-')}".rstrip("-"), columns, rows)


@functools.lru_cache(maxsize=8)
def _frame(phases: tuple[str, ...], height: int) -> dict[str, Any]:
    """The layout without what changes from one comparison to the next."""
    columns = max(1, len(phases))
    figure = make_subplots(
        rows=len(ROWS), cols=columns, shared_xaxes=True, shared_yaxes=True,
        vertical_spacing=0.07, horizontal_spacing=0.03,
    )  # fmt: skip
    styled(figure, height)
    figure.update_layout(showlegend=True, margin={"l": 64, "r": 16, "t": 48, "b": 56})
    figure.update_xaxes(rangemode="tozero")
    for row, title in enumerate(ROWS.values(), 1):
        figure.update_yaxes(title_text=title, row=row, col=1)
    figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%", row=1)
    for column, phase in enumerate(phases, 1):
        figure.update_xaxes(title_text=f"{PHASES[phase]} (steps)", row=len(ROWS), col=column)
    if not phases:
        figure.add_annotation(
            x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 15},
            bgcolor=GRID, borderpad=8, text="The curves appear with the first learning steps.",
        )  # fmt: skip
    return figure.to_plotly_json()["layout"]


def _line(
    place: int, label: str, metrics: Sequence[Metric], phase: str, metric: str
) -> dict[str, Any] | None:
    """One run's line of one metric in one phase; None where it has none."""
    points = [(m.step, m.value) for m in metrics if (m.phase, m.name) == (phase, metric)]
    points = thinned(sorted(points))
    if not points:
        return None
    recall, mark = metric == "recall", SERIES_MARKERS[place % len(SERIES_MARKERS)]
    # Plotly interprets a few HTML tags; users' texts are shown as they were written.
    short = label if len(label) <= LONGEST_NAME else f"{label[: LONGEST_NAME - 1]}…"
    return {
        "type": "scatter",
        "x": [step for step, _ in points],
        # A loss that is NaN is a gap in the line.
        "y": [value if math.isfinite(value) else None for _, value in points],
        "name": html.escape(short, quote=False),
        "legendgroup": str(place),
        "mode": "lines+markers" if recall or len(points) < 3 else "lines",
        "line": {
            "color": run_colour(place), "dash": SERIES_DASHES[place % len(SERIES_DASHES)],
            "width": 2.5 if recall else 2,
        },
        "marker": {"size": 7, "symbol": mark, "color": run_colour(place)},
        "hovertemplate": f"step %{{x}}: <b>%{{y:{'.0%' if recall else '.3f'}}}</b>"
        "<extra>%{fullData.name}</extra>",
    }  # fmt: skip
