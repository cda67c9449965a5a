"""The moment of understanding: one answer's probability, layer by layer and step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.evaluation.results import LayerChance
from rotelab.reports.figures.export import with_table
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, styled

PHASE_NUMBERS = {"memorize": 1, "generalize": 2}
NOW = "#e03c8a"
"""The colour of the line that the slider moves: to be seen on every colour of the map."""

PACE_MS = 220
"""How long each step is shown where the figure plays: there are some dozens of them."""


@dataclass(frozen=True)
class Moment:
    """When a model came to answer a question, and kept to it.

    Args:
        phase: the phase.
        step: after which step of it.
        layer: the first layer from which on, to the last, the answer's first token was first then.
    """

    phase: str
    step: int
    layer: int


Checks = dict[tuple[str, int], dict[int, LayerChance]]
"""Each time of asking, (phase, step), in order, with its rows by layer."""


def checks_of(rows: Sequence[LayerChance]) -> Checks:
    """The times at which the question was asked."""
    found: Checks = {}
    for row in rows:
        if row.phase in PHASE_NUMBERS:
            found.setdefault((row.phase, row.step), {})[row.layer] = row
    return dict(sorted(found.items(), key=lambda item: (PHASE_NUMBERS[item[0][0]], item[0][1])))


def moment_of(rows: Sequence[LayerChance]) -> Moment | None:
    """The first time after which the right answer was the model's first choice until the end; None
    where it is not at the end."""
    found = None
    for (phase, step), layers in reversed(checks_of(rows).items()):
        last = max(layers)
        if layers[last].rank != 1:
            break
        first = last
        while first - 1 in layers and layers[first - 1].rank == 1:
            first -= 1
        found = Moment(phase, step, first)
    return found


def moment_stops(rows: Sequence[LayerChance], gettext: Callable[[str], str] = str) -> list[str]:
    """The name of each time of asking, in order: the stops of the slider."""
    words = {
        "memorize": gettext("Phase 1, step {step}"),
        "generalize": gettext("Phase 2, step {step}"),
    }
    return [words[phase].format(step=step) for phase, step in checks_of(rows)]


def moment_map(
    rows: Sequence[LayerChance], gettext: Callable[[str], str] = str
) -> go.Figure | None:
    """A map of all layers and times of asking, and beside it the layers at one of them.

    Gradio drops a figure's frames, so they are in `layout.meta`, where `assets/plots.js` finds
    them: the name of each time, and the two traces that move.

    Args:
        rows: from the registry.
        gettext: translates a message into the reader's language.

    Returns:
        The figure, or None where the question was asked less than twice.
    """
    checks = checks_of(rows)
    if len(checks) < 2:
        return None
    names = moment_stops(rows, gettext)
    layers = sorted({layer for found in checks.values() for layer in found})
    chances = [[_chance(found, layer) for layer in layers] for found in checks.values()]
    figure = make_subplots(
        1, 2, shared_yaxes=True, column_widths=[0.72, 0.28], horizontal_spacing=0.03
    )
    # The two that move come first: a frame has the first traces of a figure.
    figure.add_trace(
        go.Scatter(
            x=[len(names) - 1] * 2, y=[layers[0] - 0.5, layers[-1] + 0.5], mode="lines",
            line={"color": NOW, "width": 3}, hoverinfo="skip", showlegend=False,
        ), 1, 1,
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=chances[-1], y=layers, mode="lines+markers", showlegend=False,
            line={"color": CHECKPOINT_COLOURS["generalized"], "width": 2.5}, marker={"size": 5},
            hovertemplate=gettext("layer %{y}: <b>%{x:.0%}</b>") + "<extra></extra>",
        ), 1, 2,
    )  # fmt: skip
    figure.add_trace(_heatmap(checks, layers, chances, names, gettext), 1, 1)
    _mark_boundary(figure, checks, layers)
    _lay_out(figure, checks, layers, gettext)
    frames = [
        {"name": name, "data": [{"x": [i, i]}, {"x": chances[i]}]} for i, name in enumerate(names)
    ]
    columns = ("phase", "step", "layer", "probability", "rank")
    with_table(figure, "moment", columns, [tuple(row) for row in rows])
    return figure.update_layout(
        meta={**figure.layout.meta, "frames": frames, "pace": PACE_MS},
        title={"text": names[-1], "x": 0.5, "y": 0.98, "yanchor": "top", "font": {"size": 15}},
        margin={"l": 56, "r": 16, "t": 46, "b": 56},
    )


# Parts -------------------------------------------------------------------------------------------


def _chance(found: dict[int, LayerChance], layer: int) -> float:
    return round(found[layer].probability, 5) if layer in found else 0.0


def _heatmap(checks, layers, chances, names, gettext) -> go.Heatmap:
    places = [
        [[names[i], found[layer].rank if layer in found else None]
         for i, found in enumerate(checks.values())]
        for layer in layers
    ]  # fmt: skip
    return go.Heatmap(
        x=list(range(len(names))), y=layers,
        z=[[column[row] for column in chances] for row in range(len(layers))],
        zmin=0, zmax=1, colorscale="Cividis", customdata=places, xgap=1,
        colorbar={
            "orientation": "h", "thickness": 10, "len": 0.24, "x": 0.87, "y": -0.1,
            "yanchor": "top", "tickformat": ".0%", "tickvals": [0, 0.5, 1],
        },
        hovertemplate=gettext(
            "%{customdata[0]}, layer %{y}: <b>%{z:.0%}</b>, place %{customdata[1]}"
        ) + "<extra></extra>",
    )  # fmt: skip


def _mark_boundary(figure: go.Figure, checks: Checks, layers: Sequence[int]) -> None:
    """A dashed line where phase 2 begins."""
    for place, (one, other) in enumerate(pairwise(checks)):
        if one[0] != other[0]:
            figure.add_shape(
                type="line", x0=place + 0.5, x1=place + 0.5, y0=layers[0] - 0.5,
                y1=layers[-1] + 0.5, line={"color": "white", "width": 3, "dash": "dash"},
                row=1, col=1,
            )  # fmt: skip


def _lay_out(figure, checks: Checks, layers: Sequence[int], gettext) -> None:
    styled(figure, 430)
    steps = list(checks)
    every = max(1, len(steps) // 10)
    ticks = [i for i in range(len(steps)) if i % every == 0]
    figure.update_xaxes(
        tickvals=ticks,
        ticktext=[f"{PHASE_NUMBERS[steps[i][0]]} · {steps[i][1]}" for i in ticks],
        title_text=gettext("phase · learning step"), showgrid=False, row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(
        range=[-0.03, 1.03], tickformat=".0%", tickvals=[0, 0.5, 1], side="top", row=1, col=2
    )
    every = max(1, len(layers) // 8)
    figure.update_yaxes(range=[layers[0] - 0.5, layers[-1] + 0.5], dtick=every, showgrid=False)
    figure.update_yaxes(title_text=gettext("layer (0 = input)"), row=1, col=1)
