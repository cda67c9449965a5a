"""One style for all figures and for the page: colours, dashes, markers, fonts.

The colours are Okabe and Ito's, which colour-blind people can tell apart; blue and orange are
changed a little, so that each has a contrast of at least 2.9 : 1 on Gradio's light and dark
backgrounds. Colour is never the only sign: a name, a dash or a marker always shows the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from rotelab.config.names import LESSON, lesson_number

CHECKPOINT_COLOURS = {"base": "#808080", "memorized": "#D55E00", "generalized": "#1F86C9"}
CHECKPOINT_DASHES = {"base": "dot", "memorized": "dash", "generalized": "solid"}
LESSON_COLOUR = "#009E73"
"""Of every lesson's checkpoint: the page shows one of them beside the others."""

RELATION_COLOURS = ("#1F86C9", "#D55E00", "#009E73", "#C4639A", "#C98A00", "#7488A6")
"""Colours of relations, or of runs, in their order."""
SERIES_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SERIES_MARKERS = ("circle", "diamond", "square", "x", "triangle-up", "star")
"""Dashes and markers of the same lines, so that colour is not the only sign."""

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
"""The pattern that tells bars apart besides their colour; add a `shape`."""


def whiskers(values: Sequence[float], intervals: Sequence[Sequence[float]]) -> dict[str, Any]:
    """A trace's `error_y` or `error_x`: each value's interval as a whisker.

    Args:
        values: of the bars or points.
        intervals: (low, high) of each; empty where none is known, which draws no whisker.
    """
    known = [found and math.isfinite(value) for value, found in zip(values, intervals, strict=True)]
    ends = [found if there else (0.0, 0.0) for found, there in zip(intervals, known, strict=True)]
    above = [max(high - v, 0.0) if k else None
             for v, (_, high), k in zip(values, ends, known, strict=True)]  # fmt: skip
    below = [max(v - low, 0.0) if k else None
             for v, (low, _), k in zip(values, ends, known, strict=True)]  # fmt: skip
    return {
        "type": "data", "symmetric": False, "array": above, "arrayminus": below,
        "visible": any(known), "color": TEXT, "thickness": 2, "width": 4,
    }  # fmt: skip


TEXT = "#768196"
"""Readable on white and on Gradio's dark background (contrast of at least 3.7 : 1 on both). On the
page, `PLOT_CSS` gives text the theme's own colour, so this is used in exported images only."""
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
"""Part of the page's style sheet: figures are made on the server, which can't know the theme, so
their text gets the page's colour in the browser."""


KEPT = "rotelab"
"""A `uirevision` that never changes: a figure that is sent again keeps the zoom a person chose."""

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
        # Few buttons, because each is one more stop for people who use the keyboard. Buttons beside
        # the figure save it in print quality and under a name.
        "modebar": {
            "bgcolor": CLEAR, "color": TEXT, "activecolor": TEXT,
            "remove": ["select2d", "lasso2d", "autoScale2d", "toImage"],
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)  # fmt: skip
"""The style of every figure, unless it sets its own."""


def checkpoint_colour(checkpoint: str) -> str:
    """A checkpoint's colour, such as `#1F86C9`."""
    return LESSON_COLOUR if lesson_number(checkpoint) else CHECKPOINT_COLOURS[checkpoint]


def css_name(checkpoint: str) -> str:
    """The CSS variable with that colour, without its dashes in front."""
    return LESSON if lesson_number(checkpoint) else checkpoint


def translucent(colour: str, opacity: float) -> str:
    """A colour such as `#1F86C9`, partly transparent, as CSS."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def styled(figure: go.Figure, height: int = 360) -> go.Figure:
    """Gives a figure the common style, and returns it.

    Args:
        figure: any Plotly figure; its own titles and ranges stay.
        height: in pixels.
    """
    # Few settings here: Plotly validates each one, and eleven axes took half the time.
    return figure.update_layout(template=HOUSE, height=height, uirevision=KEPT)
