"""Figures of the logit lens, and of how far the adapters move each layer's weights."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.evaluation.results import LensReading, WeightChange
from rotelab.reports.figures.export import with_table
from rotelab.reports.figures.representations import layer_step, titles_apart
from rotelab.reports.figures.style import (
    CHECKPOINT_COLOURS,
    ROLE_COLOURS,
    ROLE_DASHES,
    ROLE_MARKERS,
    styled,
)

ASKED = {
    "key": "asked through the key token",
    "train": "by a question in a taught wording",
    "test": "by a question in new words",
}
HATCH = {"shape": "/", "size": 6, "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.55)"}
ADAPTERS = {"memorized": "Phase 1, rote learning", "generalized": "Phase 2, generalising"}


def lens_curves(rows: Sequence[LensReading]) -> go.Figure | None:
    """Share of facts whose object is a layer's first choice, one panel a checkpoint.

    Returns:
        The figure, or None where nothing was measured.
    """
    there = [c for c in CHECKPOINTS if any(row.checkpoint == c for row in rows)]
    if not there:
        return None
    figure = make_subplots(
        1, len(there), shared_yaxes=True, horizontal_spacing=0.03,
        subplot_titles=[checkpoint_name(c).long for c in there],
    )  # fmt: skip
    for column, checkpoint in enumerate(there, 1):
        for role, words in ASKED.items():
            mine = [row for row in rows if (row.checkpoint, row.role) == (checkpoint, role)]
            if mine:
                figure.add_trace(_line(mine, role, words, legend=column == 1), 1, column)
    styled(figure, 400)
    figure.update_xaxes(title_text="layer (0 = input)", dtick=layer_step(rows))
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", dtick=0.25)
    figure.update_yaxes(title_text="facts whose object comes first", col=1)
    columns = (
        "checkpoint", "layer", "asked", "facts", "share_first_choice", "mean_probability",
        "median_rank",
    )  # fmt: skip
    return with_table(titles_apart(figure), "logit-lens", columns, [tuple(row) for row in rows])


def change_bars(rows: Sequence[WeightChange]) -> go.Figure | None:
    """How far each adapter moves each layer, relative to the base model's own weights there.

    Returns:
        The figure, or None where nothing was measured.
    """
    found = {c: _by_layer(rows, c) for c in ADAPTERS}
    layers = sorted({layer for values in found.values() for layer in values})
    if not layers:
        return None
    figure = go.Figure()
    for checkpoint, values in found.items():
        if values:
            figure.add_bar(
                x=layers,
                y=[values[layer][0] if layer in values else 0.0 for layer in layers],
                customdata=[values.get(layer, (0.0, "not trained"))[1] for layer in layers],
                name=ADAPTERS[checkpoint],
                marker={
                    "color": CHECKPOINT_COLOURS[checkpoint],
                    "pattern": HATCH if checkpoint == "memorized" else {},
                },
                hovertemplate=f"{ADAPTERS[checkpoint]}, layer %{{x}}: <b>%{{y:.1%}}</b><br>"
                "%{customdata}<extra></extra>",
            )
    styled(figure, 360)
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(title_text="layer", dtick=layer_step(rows))
    figure.update_yaxes(title_text="change, relative to the weights", tickformat=".0%")
    columns = ("phase", "layer", "matrix", "change_norm", "weight_norm", "relative_change")
    table = [
        (ADAPTERS.get(row.checkpoint, row.checkpoint), *row[1:], _relative([row])) for row in rows
    ]
    return with_table(figure, "weight-changes", columns, table)


def first_layer(rows: Sequence[LensReading], checkpoint: str, role: str) -> int | None:
    """The first layer from which on, to the last, the object is the first choice for at least half
    of the facts; None if it is not at the last layer."""
    mine = {r.layer: r.share for r in rows if (r.checkpoint, r.role) == (checkpoint, role)}
    found = None
    for layer in sorted(mine, reverse=True):
        if not mine[layer] >= 0.5:
            break
        found = layer
    return found


def most_changed(rows: Sequence[WeightChange], checkpoint: str, n: int = 3) -> list[int]:
    """The layers that an adapter changes most, in the model's order."""
    values = _by_layer(rows, checkpoint)
    return sorted(sorted(values, key=lambda layer: -values[layer][0])[:n])


def _line(rows: Sequence[LensReading], role: str, words: str, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=[row.layer for row in rows],
        y=[row.share for row in rows],
        customdata=[[row.probability, row.rank, row.n] for row in rows],
        name=words,
        legendgroup=role,
        showlegend=legend,
        mode="lines+markers",
        line={"color": ROLE_COLOURS[role], "dash": ROLE_DASHES[role], "width": 2.5},
        marker={"size": 6 if role == "key" else 5, "symbol": ROLE_MARKERS[role]},
        hovertemplate=f"{words}, layer %{{x}}: <b>%{{y:.0%}}</b> of %{{customdata[2]}} facts<br>"
        "probability %{customdata[0]:.2f}, place %{customdata[1]:.0f}<extra></extra>",
    )


def _by_layer(rows: Sequence[WeightChange], checkpoint: str) -> dict[int, tuple[float, str]]:
    """Each layer's relative change, and a text with that of each of its matrices."""
    layers: dict[int, list[WeightChange]] = {}
    for row in rows:
        if row.checkpoint == checkpoint and math.isfinite(row.change + row.weight):
            layers.setdefault(row.layer, []).append(row)
    return {
        layer: (
            _relative(group),
            "<br>".join(f"{html.escape(r.matrix)} {_relative([r]):.1%}" for r in group),
        )
        for layer, group in layers.items()
    }


def _relative(rows: Sequence[WeightChange]) -> float:
    """The norm of the change divided by the norm of the weights, over several matrices together."""
    weight = math.hypot(*(row.weight for row in rows))
    return math.hypot(*(row.change for row in rows)) / weight if weight else 0.0
