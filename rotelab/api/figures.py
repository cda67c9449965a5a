"""The figures of a run by name, as the page draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rotelab.errors import LabError
from rotelab.reports.figures.logit_lens import change_bars, lens_curves
from rotelab.reports.figures.pca import pca_panels
from rotelab.reports.figures.representations import (
    deep_layer,
    similarity_curves,
    similarity_heatmap,
)
from rotelab.reports.figures.training import DRAWN, curves_of_run, rounds_of_each, score_bars
from rotelab.reports.pca import kept_layers, project

if TYPE_CHECKING:
    from collections.abc import Callable

    import plotly.graph_objects as go

    from rotelab.registry import RunRow
    from rotelab.runs.lab import Lab


def draw(lab: Lab, run: RunRow, kind: str, **options: Any) -> go.Figure:
    """A figure of a run; `Run.figure` says which there are.

    Raises:
        LabError: there is no such figure or option, or the run has not measured what it shows.
    """
    if kind not in FIGURES:
        raise LabError(f"{kind!r} is no figure of a run. There are {', '.join(FIGURES)}.")
    make, allowed = FIGURES[kind]
    if unknown := set(options) - allowed:
        takes = f"It takes {', '.join(sorted(allowed))}." if allowed else "It takes none."
        raise LabError(f"The figure {kind} has no option {', '.join(sorted(unknown))}. {takes}")
    made = make(lab, run, **options)
    if made is None:
        raise LabError(f"Run {run.id} has not measured what the figure {kind} shows.")
    return made


def _curves(lab: Lab, run: RunRow) -> go.Figure | None:
    metrics = lab.registry.metrics(run.id, DRAWN)
    return curves_of_run(metrics, run.id, rounds_of_each(run)) if metrics else None


def _scores(lab: Lab, run: RunRow, measure: str = "generation_accuracy") -> go.Figure | None:
    scores = lab.registry.scores(run.id)
    return score_bars(scores, measure, run.id) if scores else None


def _similarity(lab: Lab, run: RunRow) -> go.Figure | None:
    return similarity_curves(lab.registry.similarities(run.id))


def _heatmap(lab: Lab, run: RunRow) -> go.Figure | None:
    return similarity_heatmap(lab.registry.similarities(run.id))


def _lens(lab: Lab, run: RunRow) -> go.Figure | None:
    return lens_curves(lab.registry.lens(run.id))


def _changes(lab: Lab, run: RunRow) -> go.Figure | None:
    rows = lab.registry.weight_changes(run.id)
    # A phase that was left out changed nothing, so it gets no bars of zero.
    trained = {row.checkpoint for row in rows if row.change > 0}
    return change_bars([row for row in rows if row.checkpoint in trained])


def _map(lab: Lab, run: RunRow, layer: int | None = None) -> go.Figure | None:
    layers = kept_layers(lab.storage, run.id)
    if not layers:
        return None
    found = project(lab.storage, run.id, deep_layer(layers) if layer is None else layer)
    return None if found is None else pca_panels(found)


FIGURES: dict[str, tuple[Callable[..., go.Figure | None], frozenset[str]]] = {
    "curves": (_curves, frozenset()),
    "scores": (_scores, frozenset({"measure"})),
    "similarity": (_similarity, frozenset()),
    "heatmap": (_heatmap, frozenset()),
    "lens": (_lens, frozenset()),
    "changes": (_changes, frozenset()),
    "map": (_map, frozenset({"layer"})),
}
"""What draws each figure, and the options that it takes."""
