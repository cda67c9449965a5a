"""Curves over the epochs of rote learning, which several experiments draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rotelab.reports.figures.style import styled

Line = tuple[str, str, str, str]
"""A curve's name, colour, dash and marker."""


def over_epochs(rows: Sequence[Any], lines: Mapping[str, Line]) -> go.Figure:
    """Shares of right answers by the number of epochs of phase 1.

    Args:
        rows: one a point, with the field `epochs` and the fields of `lines`, shares from 0 to 1.
        lines: each curve, by the field that it shows.
    """
    figure = go.Figure()
    for field, (words, colour, dash, marker) in lines.items():
        figure.add_scatter(
            name=words,
            x=[str(row.epochs) for row in rows],
            y=[getattr(row, field) for row in rows],
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2.5},
            marker={"symbol": marker, "size": 9},
            hovertemplate="%{x} rounds: %{y:.1%}",
        )
    styled(figure, 380)
    figure.update_xaxes(type="category", title_text="rounds of rote learning")
    figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%", title_text="answered right")
    return figure.update_layout(showlegend=True)
