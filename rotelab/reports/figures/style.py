"""One look for all figures and for the page: colours, names, fonts.

The colours are Okabe and Ito's, which colour-blind people can tell apart; blue and orange are moved
a little so that each stands at least 2.9 : 1 against Gradio's light and dark grounds alike. Colour
never speaks alone: a name, a dash or a marker always says the same.
"""

from __future__ import annotations

import plotly.graph_objects as go

CHECKPOINT_COLOURS = {"base": "#808080", "memorized": "#D55E00", "generalized": "#1F86C9"}
CHECKPOINT_DASHES = {"base": "dot", "memorized": "dash", "generalized": "solid"}

RELATION_COLOURS = ("#1F86C9", "#D55E00", "#009E73", "#C4639A", "#C98A00", "#7488A6")
"""For figures that tell relations apart, or runs, in their order."""
SERIES_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SERIES_MARKERS = ("circle", "diamond", "square", "x", "triangle-up", "star")
"""As many, for the lines of such figures: what a colour says, they say too."""

ROLE_NAMES = {
    "key": "key token",
    "train": "wording seen in training",
    "test": "wording never seen",
    "unrelated": "unrelated question",
}
ROLE_COLOURS = {"key": "#C4639A", "train": "#009E73", "test": "#C98A00", "unrelated": "#7488A6"}
ROLE_DASHES = {"key": "solid", "train": "solid", "test": "dash", "unrelated": "dot"}
ROLE_MARKERS = {"key": "star", "train": "circle", "test": "diamond", "unrelated": "x"}

HATCHED = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.75)", "size": 7, "solidity": 0.3}
"""How bars carry the pattern that tells them apart beside their colour; give it a `shape`."""

TEXT = "#768196"
"""Readable on white and on Gradio's dark ground (at least 3.7 : 1 on both); `PLOT_CSS` gives each
theme its own text colour in the page, so this shows only in exported images."""
GRID = "rgba(128,140,160,0.28)"
CLEAR = "rgba(0,0,0,0)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"

PLOT_CSS = """
.js-plotly-plot .infolayer text, .js-plotly-plot .xaxislayer-above text,
.js-plotly-plot .yaxislayer-above text, .js-plotly-plot .xaxislayer-below text,
.js-plotly-plot .yaxislayer-below text, .js-plotly-plot .bartext-outside,
.js-plotly-plot .heatmap-label text {
  fill: var(--body-text-color) !important; }
.js-plotly-plot .modebar-btn path { fill: var(--body-text-color-subdued) !important; }
.js-plotly-plot .modebar-btn--logo { display: none !important; }
.js-plotly-plot .modebar:focus-within { opacity: 1 !important; }
"""
"""Goes into the page's style sheet: a figure is drawn on the server, which can't know the theme, so
its text takes the page's colour in the browser."""


KEPT = "rotelab"
"""One constant: a figure that comes anew keeps the zoom that a person chose."""

_AXIS = {
    "gridcolor": GRID,
    "zerolinecolor": GRID,
    "linecolor": GRID,
    "showline": True,
    "ticks": "outside",
    "tickcolor": GRID,
    "automargin": True,
    "title": {"standoff": 10},
}
HOUSE = go.layout.Template(
    layout={
        "autosize": True,
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"family": FONT, "size": 14, "color": TEXT},
        "title": {"font": {"size": 16}},
        "margin": {"l": 64, "r": 24, "t": 56, "b": 56},
        "legend": {
            "orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0,
            "bgcolor": CLEAR,
        },
        "hoverlabel": {"font": {"family": FONT, "size": 13}, "align": "left", "namelength": -1},
        "hovermode": "closest",
        # Few buttons: each is one more stop on the keyboard's way through the page. Pictures are
        # saved beside the figure, at paper quality and with a name.
        "modebar": {
            "bgcolor": CLEAR, "color": TEXT, "activecolor": TEXT,
            "remove": ["select2d", "lasso2d", "autoScale2d", "toImage"],
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)  # fmt: skip
"""What every figure looks like where it says nothing else."""


def translucent(colour: str, opacity: float) -> str:
    """A colour such as `#1F86C9` that lets the ground through, as CSS."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def styled(figure: go.Figure, height: int = 360) -> go.Figure:
    """Gives a figure the house's look and returns it.

    Args:
        figure: any plotly figure; its own titles and ranges stay.
        height: in pixels.
    """
    # Few settings of its own: each one is checked by Plotly, and eleven axes took half the time.
    return figure.update_layout(template=HOUSE, height=height, uirevision=KEPT)
