"""A figure as HTML with the script that draws it, for a file that needs no other."""

from __future__ import annotations

import plotly.graph_objects as go


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
