"""Figures of how similar the hidden states of prompts are, by layer and checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.evaluation.results import Similarity
from rotelab.reports.figures.export import with_table
from rotelab.reports.figures.style import (
    CHECKPOINT_COLOURS,
    CHECKPOINT_DASHES,
    styled,
)

OTHERS = ("train", "test", "unrelated")
PANELS = {
    "train": "key token ↔ taught wordings",
    "test": "key token ↔ unseen wordings",
    "unrelated": "key token ↔ unrelated questions",
}

Series = dict[str, dict[str, dict[int, float]]]
"""name -> checkpoint -> layer -> value."""


def series_of(rows: Sequence[Similarity]) -> Series:
    """The registry's rows by name, checkpoint and layer."""
    found: Series = {}
    for row in rows:
        found.setdefault(row.name, {}).setdefault(row.checkpoint, {})[row.layer] = row.value
    return found


def deep_layer(layers: int) -> int:
    """The layer to show first: about two thirds of the way up, where meanings form."""
    return round(2 / 3 * (layers - 1)) if layers > 1 else 0


def similarity_curves(rows: Sequence[Similarity]) -> go.Figure | None:
    """Cosine similarity of the key-token prompt with other prompts, one panel a kind of prompt.

    Returns:
        The figure, or None where nothing was measured.
    """
    series = series_of(rows)
    panels = [role for role in OTHERS if f"key-{role}" in series]
    if not panels:
        return None
    figure = make_subplots(
        1, len(panels), shared_yaxes=True, horizontal_spacing=0.03,
        subplot_titles=[PANELS[role] for role in panels],
    )  # fmt: skip
    for column, role in enumerate(panels, 1):
        for trace in _lines(series[f"key-{role}"], legend=column == 1):
            figure.add_trace(trace, 1, column)
    styled(figure, 400)
    figure.update_xaxes(title_text="layer (0 = input)", dtick=layer_step(rows))
    figure.update_yaxes(title_text="cosine similarity", col=1)
    return with_table(titles_apart(figure), "similarity", *_pairs(rows))


def similarity_heatmap(rows: Sequence[Similarity]) -> go.Figure | None:
    """The numbers of `similarity_curves` as layer × checkpoint heatmaps on one colour scale."""
    series = series_of(rows)
    panels = [role for role in OTHERS if f"key-{role}" in series]
    if not panels:
        return None
    figure = make_subplots(
        1, len(panels), shared_yaxes=True, horizontal_spacing=0.03,
        subplot_titles=[PANELS[role] for role in panels],
    )  # fmt: skip
    for column, role in enumerate(panels, 1):
        values = series[f"key-{role}"]
        there = [c for c in CHECKPOINTS if c in values]
        layers = sorted({layer for c in there for layer in values[c]})
        names = [checkpoint_name(c).long for c in there]
        z = [[values[c].get(layer) for c in there] for layer in layers]
        trace = go.Heatmap(
            x=names, y=layers, z=z, coloraxis="coloraxis", xgap=2,
            hovertemplate="%{x}, layer %{y}: <b>%{z:.2f}</b><extra></extra>",
        )  # fmt: skip
        figure.add_trace(trace, 1, column)
    styled(figure, 480)
    figure.update_layout(
        coloraxis={
            # Cividis looks the same with and without colour vision.
            "colorscale": "Cividis",
            "colorbar": {"title": {"text": "cosine", "side": "right"}, "thickness": 14},
        }
    )
    figure.update_xaxes(showline=False, ticks="")
    figure.update_yaxes(showline=False, dtick=layer_step(rows), showgrid=False)
    figure.update_yaxes(title_text="layer (0 = input)", col=1)
    return with_table(titles_apart(figure, legend=False), "similarity", *_pairs(rows))


def delta_curves(rows: Sequence[Similarity]) -> go.Figure | None:
    """ΔCosSim (paper, section 5) by layer, one line a checkpoint; hovering shows its two parts."""
    series = series_of(rows)
    if "delta" not in series:
        return None
    figure = go.Figure(_lines(series["delta"], parts=series))
    figure.add_hline(y=0, line={"color": "rgba(128,140,160,0.6)", "width": 1})
    styled(figure, 380)
    figure.update_xaxes(title_text="layer (0 = input)", dtick=layer_step(rows))
    figure.update_yaxes(title_text="ΔCosSim")
    parts = ("within", "across", "delta")
    table = [
        (checkpoint, layer, *(series.get(n, {}).get(checkpoint, {}).get(layer) for n in parts))
        for checkpoint, values in series["delta"].items()
        for layer in sorted(values)
    ]
    columns = ("checkpoint", "layer", "same_relation", "different_relations", "delta_cos_sim")
    return with_table(figure, "delta-cos-sim", columns, table)


def _pairs(rows: Sequence[Similarity]) -> tuple[tuple[str, ...], list[tuple]]:
    """The table of the first two figures: columns and rows."""
    table = [
        (row.checkpoint, row.layer, row.name.removeprefix("key-"), row.value)
        for row in rows
        if row.name.startswith("key-")
    ]
    return ("checkpoint", "layer", "key_token_with", "cosine_similarity"), table


def layer_step(rows: Sequence[Any]) -> int:
    """The distance of the ticks in layers, so that few enough fit."""
    return max(1, round(max(row.layer for row in rows) / 6))


def _lines(values, legend: bool = True, parts: Series | None = None) -> list[go.Scatter]:
    traces = []
    for checkpoint in CHECKPOINTS:
        if checkpoint not in values:
            continue
        name = checkpoint_name(checkpoint).long
        points = sorted(values[checkpoint].items())
        layers = [layer for layer, _ in points]
        hover = f"{name}, layer %{{x}}: <b>%{{y:.3f}}</b>"
        custom = None
        if parts is not None:
            within, across = (parts.get(n, {}).get(checkpoint, {}) for n in ("within", "across"))
            custom = [[within.get(layer), across.get(layer)] for layer in layers]
            hover += "<br>same relation %{customdata[0]:.3f}, others %{customdata[1]:.3f}"
        traces.append(
            go.Scatter(
                x=layers,
                y=[value for _, value in points],
                customdata=custom,
                name=name,
                legendgroup=checkpoint,
                showlegend=legend,
                mode="lines+markers",
                line={
                    "color": CHECKPOINT_COLOURS[checkpoint],
                    "dash": CHECKPOINT_DASHES[checkpoint],
                    "width": 2.5,
                },
                marker={"size": 4},
                hovertemplate=hover + "<extra></extra>",
            )
        )
    return traces


def titles_apart(figure: go.Figure, legend: bool = True) -> go.Figure:
    """Puts the panels' titles directly above them, and the legend above the titles."""
    figure.update_annotations(font={"size": 14}, yanchor="bottom")
    if legend:
        figure.update_layout(legend_y=1.12, margin_t=84)
    return figure
