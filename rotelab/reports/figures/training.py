"""Figures of a run: recall and loss over both phases, and scores.

For a run that is training, the page shows `figures.live` instead.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import (
    CHECKPOINTS,
    checkpoint_name,
    lesson_number,
)
from rotelab.errors import LabError
from rotelab.evaluation.results import Score
from rotelab.registry import Metric, RunRow
from rotelab.registry.live import HELD_OUT
from rotelab.reports.figures.export import with_table
from rotelab.reports.figures.style import (
    CHECKPOINT_COLOURS,
    GRID,
    LESSON_COLOUR,
    TEXT,
    checkpoint_colour,
    styled,
)

PHASES = {
    "memorize": "Phase 1: learning by rote",
    "generalize": "Phase 2: what the token means",
    "lesson": "Lesson: new facts by rote",
}
PHASE_COLOURS = {
    "memorize": CHECKPOINT_COLOURS["memorized"],
    "generalize": CHECKPOINT_COLOURS["generalized"],
    "lesson": LESSON_COLOUR,
}
_TINTS = {
    "memorize": "rgba(213,94,0,0.07)",
    "generalize": "rgba(31,134,201,0.10)",
    "lesson": "rgba(0,158,115,0.08)",
}

PROBE_LABELS = {
    "key_token": "Through the<br>key token",
    "train_prompts_heldin": "Taught facts,<br>taught<br>wordings",
    "train_prompts_heldout": "Facts known<br>by rote, taught<br>wordings",
    "test_prompts_heldout": "Facts known<br>by rote, new<br>wordings",
    "unrelated": "Unrelated<br>questions<br>(low is good)",
}
"""The probes under the bars of `score_bars`, broken into lines that fit a tablet."""
LESSON_LABELS = {
    "key_token": "New facts,<br>key token",
    "train_prompts_heldout": "New facts,<br>taught<br>wordings",
    "test_prompts_heldout": "New facts,<br>new<br>wordings",
    "unrelated": "New facts,<br>unrelated<br>(low is good)",
    "old_key_token": "Old facts,<br>key token",
    "old_test_prompts_heldout": "Old facts,<br>new<br>wordings",
    "old_unrelated": "Old facts,<br>unrelated<br>(low is good)",
}
"""The same under the bars of a lesson: narrower, because there are more of them."""

CURVES = ("loss", "recall")
"""The metrics that every run has, and by which `curves` knows how long a phase is."""

DRAWN = (*CURVES, HELD_OUT)
"""The metrics that `curves` draws."""

IN_WORDS = "Held-out facts, asked in words"
"""What a point of the metric `held_out` counts."""

MAX_POINTS = 1500
"""Most points of one line: more can't be told apart on a screen, and would slow the page down."""


RECALLED = {
    "memorize": "Facts recalled",
    "generalize": "Recalled, of the facts that phase 2 rehearses",
    "lesson": "New facts recalled",
}
"""What a point of each phase's recall counts."""


def curves(
    metrics: Sequence[Metric], name: str = "", height: int = 380, epochs_each: int = 0
) -> go.Figure:
    """Recall and loss over both phases in one figure, the boundary marked, phases named.

    Args:
        metrics: a run's metrics; those named in `DRAWN` are drawn. May be empty.
        name: figures of the same name keep the zoom that a person chose.
        height: in pixels.
        epochs_each: epochs of each adapter where phase 2 averages several; the beginning of each is
            marked, because recall drops there. 0 for one adapter.
    """
    steps = {
        phase: max((m.step for m in metrics if m.phase == phase and m.name in CURVES), default=0)
        for phase in PHASES
    }
    start, lines = 0, []
    for phase, length in steps.items():
        if length:
            for row, metric in enumerate(("recall", "loss"), 1):
                lines.append(_line(row, phase, metric, metrics, start))
        start += length
    layout = copy.deepcopy(_frame(height))
    layout["uirevision"] = name or "curves"
    layout["shapes"], layout["annotations"] = _phase_marks(steps)
    if points := held_out_points(metrics, steps):
        lines.append(_held_out_line(points))
        layout["annotations"].append(_held_out_name(points))
    if epochs_each:
        _mark_adapters(layout, metrics, epochs_each, steps["memorize"])
    if not any(steps.values()):
        for axis in ("xaxis", "xaxis2"):
            layout[axis]["range"] = [0, 100]
        layout["yaxis2"]["range"] = [0, 5]
    # Built in one call: Plotly validates a figure again after every change, which took ten times as
    # long.
    return go.Figure({"data": lines, "layout": layout})


def curves_of_run(metrics: Sequence[Metric], run_id: str, epochs_each: int = 0) -> go.Figure:
    """`curves` of a run after its training, with a table of its points.

    Args:
        metrics: as for `curves`.
        run_id: also the beginning of the files' names.
        epochs_each: as for `curves`.
    """
    rows = []
    for phase in PHASES:
        for name in DRAWN:
            points = [(m.step, m.value) for m in metrics if (m.phase, m.name) == (phase, name)]
            rows += [(phase, step, name, value) for step, value in thinned(sorted(points))]
    columns = ("phase", "step", "metric", "value")
    figure = curves(metrics, run_id, epochs_each=epochs_each)
    return with_table(figure, f"{run_id}-curves", columns, rows)


def rounds_of_each(run: RunRow) -> int:
    """The `epochs_each` of a run for `curves`; 0 if it averages no adapters."""
    try:
        phase = run.config.generalize
    except LabError:  # damaged settings are reported elsewhere
        return 0
    return phase.epochs if phase.averaged > 1 else 0


def adapters_begin(metrics: Sequence[Metric], epochs_each: int) -> list[int]:
    """The steps of phase 2 after which its second adapter begins, and each further one.

    Args:
        metrics: as for `curves`.
        epochs_each: as for `curves`, at least 1.
    """
    first: dict[int, int] = {}  # step with which each adapter begins, by its 0-based place
    for m in metrics:
        if m.phase == "generalize" and m.name in CURVES and m.epoch:
            place = (m.epoch - 1) // epochs_each
            first[place] = min(m.step, first.get(place, m.step))
    return [first[place] - 1 for place in sorted(first) if place]


@functools.lru_cache(maxsize=4)
def _frame(height: int) -> dict[str, Any]:
    """The part of the layout of `curves` that is the same in every figure."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    styled(figure, height)
    figure.update_layout(
        showlegend=False,
        hovermode="x unified",
        margin={"l": 64, "r": 16, "t": 48, "b": 48},
    )
    figure.update_yaxes(title_text="Facts recalled", row=1, col=1)
    figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%", row=1, col=1)
    figure.update_yaxes(title_text="Loss", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(title_text="Learning steps", rangemode="tozero", row=2, col=1)
    return figure.to_plotly_json()["layout"]


def score_bars(
    scores: Mapping[str, Mapping[str, Score]],
    measure: str = "generation_accuracy",
    name: str = "",
) -> go.Figure:
    """Each probe's score at every checkpoint, as grouped bars, with their table.

    Of a lesson: its new facts after it, the old ones before and after it.

    Args:
        scores: by checkpoint and probe, as `Registry.scores` returns them; may lack some.
        measure: `generation_accuracy` or `object_probability`.
        name: the beginning of its files' names.
    """
    figure = go.Figure()
    rows = []
    lessons = [checkpoint for checkpoint in scores if lesson_number(checkpoint)]
    labels = LESSON_LABELS if lessons else PROBE_LABELS
    for checkpoint in (*CHECKPOINTS, *lessons):
        of = scores.get(checkpoint, {})
        probes = [probe for probe in labels if probe in of]
        if not probes:
            continue
        values = [getattr(of[probe], measure) for probe in probes]
        rows += [
            (checkpoint, probe, of[probe].n, value)
            for probe, value in zip(probes, values, strict=True)
        ]
        figure.add_bar(
            name=checkpoint_name(checkpoint).long,
            x=[labels[probe] for probe in probes],
            y=values,
            text=[f"{value:.0%}" for value in values],
            textposition="outside",
            textfont={"size": 12},
            cliponaxis=False,
            marker_color=checkpoint_colour(checkpoint),
            customdata=[of[probe].n for probe in probes],
            hovertemplate="%{y:.1%} of %{customdata}<extra>%{fullData.name}</extra>",
        )
    styled(figure, 380)
    figure.update_layout(
        barmode="group", bargap=0.22, bargroupgap=0.06, uirevision="scores", hovermode="closest"
    )
    figure.update_layout(margin={"l": 56, "r": 16, "t": 48, "b": 64})
    figure.update_yaxes(range=[0, 1.1], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_xaxes(
        categoryorder="array",
        categoryarray=list(labels.values()),
        tickangle=0,
        tickfont={"size": 12 if lessons else 14},
    )
    columns = ("checkpoint", "probe", "questions", measure)
    return with_table(figure, f"{name or 'run'}-scores", columns, rows)


def _line(
    row: int, phase: str, metric: str, metrics: Sequence[Metric], start: int
) -> dict[str, Any]:
    points = [(m.step, m.value) for m in metrics if (m.phase, m.name) == (phase, metric)]
    points = thinned(sorted(points))
    axes = {"xaxis": "x", "yaxis": "y"} if row == 1 else {"xaxis": "x2", "yaxis": "y2"}
    return {
        "type": "scatter",
        **axes,
        "x": [start + step for step, _ in points],
        # A loss that is NaN is a gap in the line.
        "y": [value if math.isfinite(value) else None for _, value in points],
        "name": RECALLED[phase] if metric == "recall" else "Loss",
        "mode": "lines+markers" if metric == "recall" or len(points) < 3 else "lines",
        "line": {"color": PHASE_COLOURS[phase], "width": 3 if metric == "recall" else 2},
        "marker": {"size": 7, "symbol": "circle" if phase == "memorize" else "diamond"},
        "hovertemplate": "%{y:.0%}" if metric == "recall" else "%{y:.3f}",
        "hoverlabel": {"namelength": -1},
    }


def held_out_points(metrics: Sequence[Metric], steps: Mapping[str, int]) -> list[tuple[int, float]]:
    """The curve of held-out facts asked in words, over both phases.

    Args:
        metrics: as for `curves`.
        steps: of each phase, in their order.

    Returns:
        (step from the run's beginning, share) in the order of asking; empty where none were asked.
    """
    starts = dict(zip(steps, accumulate(steps.values(), initial=0), strict=False))
    return sorted(
        (starts[m.phase] + m.step, m.value)
        for m in metrics
        if m.name == HELD_OUT and m.phase in starts and m.step <= steps[m.phase]
    )


def _held_out_line(points: list[tuple[int, float]]) -> dict[str, Any]:
    return {
        "type": "scatter", "xaxis": "x", "yaxis": "y",
        "x": [step for step, _ in points], "y": [share for _, share in points],
        "name": IN_WORDS, "mode": "lines+markers",
        "line": {"color": TEXT, "width": 2.5, "dash": "dot"},
        "marker": {"size": 6, "symbol": "square"},
        "hovertemplate": "%{y:.0%}", "hoverlabel": {"namelength": -1},
    }  # fmt: skip


def _held_out_name(points: list[tuple[int, float]]) -> dict[str, Any]:
    """The line's name beside its last point, below it where the line ends high."""
    step, share = points[-1]
    return {
        "x": step, "xref": "x", "y": share, "yref": "y", "showarrow": False, "xanchor": "right",
        "yanchor": "top" if share > 0.5 else "bottom", "yshift": -6 if share > 0.5 else 6,
        "text": IN_WORDS, "font": {"size": 12},
    }  # fmt: skip


def _phase_marks(steps: Mapping[str, int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shapes and annotations that tint and name each phase's part of both rows, and draw the
    boundary between them; before the first step, a text that says so."""
    shapes: list[dict[str, Any]] = []
    names: list[dict[str, Any]] = []
    start = 0
    for phase, length in steps.items():
        if not length:
            continue
        shapes.append(
            {
                "type": "rect", "xref": "x", "yref": "paper", "x0": start, "x1": start + length,
                "y0": 0, "y1": 1, "fillcolor": _TINTS[phase], "line": {"width": 0},
                "layer": "below", "name": phase,
            }
        )  # fmt: skip
        narrow = length < 0.3 * sum(steps.values())
        # Two lines each, so that the names don't overlap on a tablet.
        words = PHASES[phase].split(":")[0] if narrow else PHASES[phase].replace(": ", ":<br>")
        names.append(
            {
                "x": start if not narrow else start + length / 2, "xref": "x", "y": 1.0,
                "yref": "paper", "xanchor": "left" if not narrow else "center",
                "yanchor": "bottom", "text": f"<b>{words}</b>", "showarrow": False, "align": "left",
                "font": {"size": 13, "color": PHASE_COLOURS[phase]},
            }
        )  # fmt: skip
        if start:
            shapes.append(
                {
                    "type": "line", "xref": "x", "yref": "paper", "x0": start, "x1": start, "y0": 0,
                    "y1": 1, "line": {"color": TEXT, "width": 1.5, "dash": "dash"},
                    "name": "boundary",
                }
            )  # fmt: skip
        start += length
    if not start:
        names.append(
            {
                "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False,
                "bgcolor": GRID, "borderpad": 8, "font": {"size": 15},
                "text": "The curves appear with the first learning steps.",
            }
        )  # fmt: skip
    return shapes, names


def _mark_adapters(
    layout: dict[str, Any], metrics: Sequence[Metric], epochs_each: int, start: int
) -> None:
    """Draws a line where phase 2 begins its second adapter, and each further one."""
    for place, step in enumerate(adapters_begin(metrics, epochs_each), 2):
        x = start + step
        layout["shapes"].append(
            {
                "type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1,
                "line": {"color": PHASE_COLOURS["generalize"], "width": 1.5, "dash": "dot"},
                "name": "adapter",
            }
        )  # fmt: skip
        layout["annotations"].append(
            {
                "x": x, "xref": "x", "y": 0.5, "yref": "paper", "showarrow": False,
                # With many adapters, the labels would overlap.
                "xanchor": "left", "text": f" adapter {place} begins" if place < 5 else "",
                "font": {"size": 12}, "bgcolor": GRID,
            }
        )  # fmt: skip


def thinned(points: list[tuple[int, float]], most: int = MAX_POINTS) -> list[tuple[int, float]]:
    """At most about `most` of the points, evenly chosen, including the last."""
    stride = math.ceil(len(points) / most)
    if stride <= 1:
        return points
    kept = points[::stride]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]
