"""Figure of one fact under activation patching: layer × token."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from rotelab.reports.figures.export import with_table
from rotelab.reports.figures.style import styled


def patching_heatmap(
    pieces: Sequence[str],
    layers: Sequence[int],
    probability: Sequence[Sequence[float]],
    first: Sequence[Sequence[bool]],
    token: str,
) -> go.Figure:
    """The probability of the object's first token after each patch; a dot where it is said.

    Args:
        pieces: the patched prompt's tokens.
        layers: the numbers of the patched layers.
        probability: `[layers, pieces]`.
        first: whether the token is the most probable one, the same shape.
        token: the object's first token.
    """
    places = list(range(len(pieces)))
    figure = go.Figure(
        go.Heatmap(
            x=places, y=layers, z=[[float(value) for value in row] for row in probability],
            zmin=0, zmax=1, colorscale="Cividis", xgap=2,
            text=[list(pieces)] * len(layers),
            colorbar={"title": {"text": "probability", "side": "right"}, "tickformat": ".0%",
                      "thickness": 14},
            hovertemplate="layer %{y}, “%{text}”: <b>%{z:.1%}</b><extra></extra>",
        )
    )  # fmt: skip
    dots = [
        (x, y) for y, row in zip(layers, first, strict=True) for x, yes in enumerate(row) if yes
    ]
    figure.add_scatter(
        x=[x for x, _ in dots], y=[y for _, y in dots], mode="markers", hoverinfo="skip",
        name=f"“{token}” is the first choice", showlegend=bool(dots),
        marker={"symbol": "circle", "size": 6, "color": "#D55E00",
                "line": {"color": "#ffffff", "width": 1}},
    )  # fmt: skip
    styled(figure, 440)
    figure.update_xaxes(
        tickvals=places, ticktext=list(pieces), title_text="token whose state is replaced",
        showgrid=False, range=[-0.5, len(pieces) - 0.5],
    )  # fmt: skip
    figure.update_yaxes(
        title_text="layer", showgrid=False, range=[min(layers) - 1, max(layers) + 1]
    )
    rows = [
        (layer, place + 1, pieces[place], float(said[place]), int(best[place]))
        for layer, said, best in zip(layers, probability, first, strict=True)
        for place in places
    ]
    columns = ("layer", "position", "token", "probability", "first_choice")
    return with_table(figure, "patching", columns, rows)
