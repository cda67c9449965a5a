"""The hidden states of all prompts in two dimensions (PCA), in panels or animated."""

from __future__ import annotations

import html

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.reports.figures.export import with_table
from rotelab.reports.figures.representations import titles_apart
from rotelab.reports.figures.style import (
    CHECKPOINT_COLOURS,
    RELATION_COLOURS,
    ROLE_COLOURS,
    ROLE_MARKERS,
    ROLE_NAMES,
    styled,
)
from rotelab.reports.pca import Projection


def pca_panels(projection: Projection) -> go.Figure:
    """The points of all prompts, one panel a checkpoint, with the same axes in all.

    With one relation, the colour shows the kind of prompt; with several, the colour shows the
    relation and the shape the kind.
    """
    there = [c for c in CHECKPOINTS if c in projection.points]
    figure = make_subplots(
        1, len(there), shared_yaxes=True, horizontal_spacing=0.02,
        subplot_titles=[checkpoint_name(c).long for c in there],
    )  # fmt: skip
    for column, checkpoint in enumerate(there, 1):
        for trace in _clouds(projection, checkpoint):
            figure.add_trace(trace, 1, column)
    for trace in _legend(projection):
        figure.add_trace(trace, 1, 1)
    _axes(styled(figure, 460), projection)
    figure.update_xaxes(matches="x")
    figure.update_yaxes(matches="y")
    return titles_apart(figure)


def pca_moving(projection: Projection) -> go.Figure:
    """The same points in one panel, at the last checkpoint, with a frame for each checkpoint.

    Gradio drops a figure's frames, so they are stored in `layout.meta`, where `assets/plots.js`
    finds them: the checkpoint's `name`, and the `x` and `y` of each trace.
    """
    there = [c for c in CHECKPOINTS if c in projection.points]
    frames = []
    for checkpoint in there:
        clouds = _clouds(projection, checkpoint)
        places = [{"x": list(trace.x), "y": list(trace.y)} for trace in clouds]
        frames.append({"name": checkpoint_name(checkpoint).long, "data": places})
    figure = go.Figure([*_clouds(projection, there[-1]), *_legend(projection)])
    _axes(styled(figure, 560), projection)
    figure.update_layout(
        meta={**figure.layout.meta, "frames": frames},
        title={"text": frames[-1]["name"], "x": 0.5, "y": 0.97, "yanchor": "top"},
        margin_t=84,
    )
    # Fixed, so that the axes don't move with the points.
    for axis, number in ((figure.layout.xaxis, 0), (figure.layout.yaxis, 1)):
        values = [v for points in projection.points.values() for v in points[:, number]]
        low, high = float(min(values)), float(max(values))
        room = 0.05 * (high - low) or 1.0
        axis.range = [low - room, high + room]
    return figure


def _axes(figure: go.Figure, projection: Projection) -> None:
    figure.update_xaxes(showticklabels=False, ticks="", zeroline=False)
    figure.update_yaxes(showticklabels=False, ticks="", zeroline=False)
    first, second = (f"{share:.0%}" for share in projection.explained)
    figure.update_xaxes(title_text=f"1st direction ({first} of the spread)")
    figure.layout.yaxis.title.text = f"2nd direction ({second})"
    columns = ("layer", "checkpoint", "relation", "role", "fact", "prompt", "x", "y")
    table = (
        (projection.layer, checkpoint, *view[:3], view.text, float(x), float(y))
        for checkpoint, points in projection.points.items()
        for view, (x, y) in zip(projection.views, points, strict=True)
    )
    with_table(figure, f"map-layer-{projection.layer}", columns, table)


def _clouds(projection: Projection, checkpoint: str) -> list[go.Scatter]:
    """One trace for each relation and kind of prompt; the key tokens' stars come last, on top."""
    relations, roles = _kinds(projection)
    by_relation = len(relations) > 1
    found = []
    for number, relation in enumerate(relations):
        for role in reversed(roles):
            colour = _relation_colour(number) if by_relation else ROLE_COLOURS[role]
            group = relation if by_relation else role
            found.append(_cloud(projection, checkpoint, relation, role, colour, group))
    return found


def _kinds(projection: Projection) -> tuple[list[str], list[str]]:
    relations = list(dict.fromkeys(view.relation for view in projection.views))
    return relations, [r for r in ROLE_NAMES if any(view.role == r for view in projection.views)]


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


def _legend(projection: Projection) -> list[go.Scatter]:
    """The legend's own traces: a role's shape in grey, a relation's colour as a square."""
    relations, roles = _kinds(projection)
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


def _words(relation: str) -> str:
    return relation.replace("_", " ")
