"""The demo's one figure: how many facts are recalled after each epoch of rote learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from rotelab.registry import Metric
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, styled


def recall_curve(
    metrics: Sequence[Metric],
    facts: int,
    height: int = 250,
    gettext: Callable[[str], str] = str,
) -> go.Figure:
    """Facts recalled through their key token, by epoch of phase 1.

    Args:
        metrics: a run's metrics; those of phase 1 named `recall` are drawn.
        facts: how many facts there were.
        height: in pixels.
        gettext: translates a message into the reader's language.
    """
    points = sorted(
        (m.epoch, round(m.value * facts))
        for m in metrics
        if (m.phase, m.name) == ("memorize", "recall")
    )
    figure = go.Figure(
        go.Scatter(
            x=[0, *(epoch for epoch, _ in points)],
            y=[0, *(known for _, known in points)],
            mode="lines",
            line={"color": CHECKPOINT_COLOURS["memorized"], "width": 3},
            fill="tozeroy",
            fillcolor="rgba(213,94,0,0.12)",
            hovertemplate=gettext("round {x}: {y} of {n}").format(x="%{x}", y="%{y}", n=facts)
            + "<extra></extra>",
        )
    )
    styled(figure, height)
    figure.update_layout(
        showlegend=False, dragmode=False, margin={"l": 60, "r": 12, "t": 12, "b": 46}
    )
    figure.update_xaxes(
        title_text=gettext("Rounds of reading"), fixedrange=True, rangemode="tozero"
    )
    figure.update_yaxes(
        title_text=gettext("Known by heart"), range=[0, facts * 1.06], fixedrange=True, nticks=5
    )
    return figure
