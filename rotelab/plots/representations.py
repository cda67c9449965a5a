"""Figures of what happens inside the model: similarity of prompts layer by layer, and PCA."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.plots.style import (
    CHECKPOINT_COLOURS,
    CHECKPOINT_DASHES,
    CHECKPOINT_NAMES,
    RELATION_COLOURS,
    ROLE_COLOURS,
    ROLE_MARKERS,
    ROLE_NAMES,
    styled,
)
from rotelab.projections import Projection
from rotelab.registry_rows import Similarity

OTHERS = ("train", "test", "unrelated")
PANELS = {
    "train": "key token ↔ taught wordings",
    "test": "key token ↔ unseen wordings",
    "unrelated": "key token ↔ unrelated questions",
}

Series = dict[str, dict[str, dict[int, float]]]
"""name -> checkpoint -> layer -> value."""


def series_of(rows: Sequence[Similarity]) -> Series:
    """The registry's rows sorted by name, checkpoint and layer."""
    found: Series = {}
    for row in rows:
        found.setdefault(row.name, {}).setdefault(row.checkpoint, {})[row.layer] = row.value
    return found


def deep_layer(layers: int) -> int:
    """The layer to look at first: about two thirds of the way up, where meanings form."""
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
    figure.update_xaxes(title_text="layer (0 = input)", dtick=_layer_step(rows))
    figure.update_yaxes(title_text="cosine similarity", col=1)
    return _titles_apart(figure)


def similarity_heatmap(rows: Sequence[Similarity]) -> go.Figure | None:
    """The same numbers as `similarity_curves`, as layer × checkpoint maps on one colour scale."""
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
        there = [c for c in CHECKPOINT_NAMES if c in values]
        layers = sorted({layer for c in there for layer in values[c]})
        names = [CHECKPOINT_NAMES[c] for c in there]
        z = [[values[c].get(layer) for c in there] for layer in layers]
        trace = go.Heatmap(
            x=names, y=layers, z=z, coloraxis="coloraxis", xgap=2,
            hovertemplate="%{x}, layer %{y}: <b>%{z:.2f}</b><extra></extra>",
        )  # fmt: skip
        figure.add_trace(trace, 1, column)
    styled(figure, 480)
    figure.update_layout(
        coloraxis={
            # Cividis: reads the same with and without colour vision.
            "colorscale": "Cividis",
            "colorbar": {"title": {"text": "cosine", "side": "right"}, "thickness": 14},
        }
    )
    figure.update_xaxes(showline=False, ticks="")
    figure.update_yaxes(showline=False, dtick=_layer_step(rows), showgrid=False)
    figure.update_yaxes(title_text="layer (0 = input)", col=1)
    return _titles_apart(figure, legend=False)


def delta_curves(rows: Sequence[Similarity]) -> go.Figure | None:
    """ΔCosSim (paper, section 5) by layer, one line a checkpoint; hover tells its two parts."""
    series = series_of(rows)
    if "delta" not in series:
        return None
    figure = go.Figure(_lines(series["delta"], parts=series))
    figure.add_hline(y=0, line={"color": "rgba(128,140,160,0.6)", "width": 1})
    styled(figure, 380)
    figure.update_xaxes(title_text="layer (0 = input)", dtick=_layer_step(rows))
    figure.update_yaxes(title_text="ΔCosSim")
    return figure


def pca_figure(projection: Projection) -> go.Figure:
    """Points of all prompts, one panel a checkpoint, the same axes in all.

    With one relation, colours tell the kinds of prompts apart; with several, colours tell the
    relations apart and shapes the kinds.
    """
    relations = list(dict.fromkeys(view.relation for view in projection.views))
    roles = [r for r in ROLE_NAMES if any(view.role == r for view in projection.views)]
    there = [c for c in CHECKPOINT_NAMES if c in projection.points]
    figure = make_subplots(
        1, len(there), shared_yaxes=True, horizontal_spacing=0.02,
        subplot_titles=[CHECKPOINT_NAMES[c] for c in there],
    )  # fmt: skip
    by_relation = len(relations) > 1
    for column, checkpoint in enumerate(there, 1):
        for number, relation in enumerate(relations):
            # The key-token stars last, so that they lie on top.
            for role in reversed(roles):
                colour = _relation_colour(number) if by_relation else ROLE_COLOURS[role]
                group = relation if by_relation else role
                trace = _cloud(projection, checkpoint, relation, role, colour, group)
                figure.add_trace(trace, 1, column)
    for trace in _pca_legend(relations, roles):
        figure.add_trace(trace, 1, 1)
    styled(figure, 460)
    figure.update_xaxes(matches="x", showticklabels=False, ticks="", zeroline=False)
    figure.update_yaxes(matches="y", showticklabels=False, ticks="", zeroline=False)
    first, second = (f"{share:.0%}" for share in projection.explained)
    figure.update_xaxes(title_text=f"1st direction ({first} of the spread)")
    figure.update_yaxes(title_text=f"2nd direction ({second})", col=1)
    return _titles_apart(figure)


def _layer_step(rows: Sequence[Similarity]) -> int:
    """Ticks at whole layers, few enough to be read."""
    return max(1, round(max(row.layer for row in rows) / 6))


def _lines(values, legend: bool = True, parts: Series | None = None) -> list[go.Scatter]:
    traces = []
    for checkpoint, name in CHECKPOINT_NAMES.items():
        if checkpoint not in values:
            continue
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


def _cloud(projection, checkpoint, relation, role, colour, group) -> go.Scatter:
    chosen = [
        i for i, v in enumerate(projection.views) if v.relation == relation and v.role == role
    ]
    points = projection.points[checkpoint]
    return go.Scatter(
        x=[round(float(points[i, 0]), 4) for i in chosen],
        y=[round(float(points[i, 1]), 4) for i in chosen],
        text=[html.escape(projection.views[i].text, quote=False) for i in chosen],
        mode="markers",
        marker=_marker(role, colour),
        legendgroup=group,
        showlegend=False,
        name="",
        hovertemplate=f"%{{text}}<br>{ROLE_NAMES[role]}, {_words(relation)}<extra></extra>",
    )


def _pca_legend(relations: Sequence[str], roles: Sequence[str]) -> list[go.Scatter]:
    """Legend entries of their own: a role's shape in grey, a relation's colour as a square."""
    empty = {"x": [None], "y": [None], "mode": "markers", "hoverinfo": "skip"}
    if len(relations) == 1:
        return [
            go.Scatter(
                **empty, name=ROLE_NAMES[r], legendgroup=r, marker=_marker(r, ROLE_COLOURS[r])
            )
            for r in roles
        ]
    squares = [
        go.Scatter(
            **empty, name=_words(relation), legendgroup=relation,
            marker={"symbol": "square", "size": 11, "color": _relation_colour(number)},
        )
        for number, relation in enumerate(relations)
    ]  # fmt: skip
    shapes = [
        go.Scatter(**empty, name=ROLE_NAMES[r], marker=_marker(r, CHECKPOINT_COLOURS["base"]))
        for r in roles
    ]
    return squares + shapes


def _marker(role: str, colour: str) -> dict:
    size = {"key": 11, "unrelated": 7}.get(role, 8)
    return {"symbol": ROLE_MARKERS[role], "color": colour, "size": size, "opacity": 0.85}


def _relation_colour(number: int) -> str:
    return RELATION_COLOURS[number % len(RELATION_COLOURS)]


def _titles_apart(figure: go.Figure, legend: bool = True) -> go.Figure:
    """Puts the panels' titles right above them and the legend above the titles."""
    figure.update_annotations(font={"size": 14}, yanchor="bottom")
    if legend:
        figure.update_layout(legend_y=1.12, margin_t=84)
    return figure


def _words(relation: str) -> str:
    return relation.replace("_", " ")
