"""A sweep's results: its runs' scores by cell, with mean, deviation and interval over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from rotelab.config.names import Status
from rotelab.config.option_paths import label_of
from rotelab.config.sweep_grid import SEED, axis_value
from rotelab.errors import LabError
from rotelab.evaluation.results import Answers, Score
from rotelab.registry import Registry, SweepRow
from rotelab.reports.intervals import Interval, interval_of_mean


class Figure(NamedTuple):
    """One number that a run measures.

    Args:
        checkpoint: where it is measured.
        probe: one of `config.names.PROBE_NAMES`.
        measure: a field of `evaluation.results.Score`, such as `generation_accuracy`.
    """

    checkpoint: str = "generalized"
    probe: str = "test_prompts_heldout"
    measure: str = "generation_accuracy"


def no_answers(_: Figure) -> Answers:
    """What a run says that has no single answers."""
    return {}


@dataclass(frozen=True)
class Outcome:
    """The results of one run of a sweep.

    Args:
        run_id: the run.
        status: its status.
        error: why it failed.
        values: its values of the axes' options, by path; empty if its settings are damaged.
        scores: by checkpoint and probe.
        seconds: how long each part took.
        shared_phase1_from: the run whose phase 1 it reused, if any.
        answers: reads the answers that a figure is made of, fact by fact.
    """

    run_id: str
    status: Status
    error: str
    values: dict[str, Any]
    scores: Mapping[str, Mapping[str, Score]]
    seconds: Mapping[str, float]
    shared_phase1_from: str | None = None
    answers: Callable[[Figure], Answers] = field(default=no_answers, compare=False, repr=False)

    @property
    def finished(self) -> bool:
        """Whether it has finished and its settings can be read."""
        return self.status == "finished" and bool(self.values)

    def value(self, figure: Figure) -> float | None:
        """One of its numbers; None if it was not measured."""
        score = self.scores.get(figure.checkpoint, {}).get(figure.probe)
        return None if score is None else getattr(score, figure.measure, None)


@dataclass(frozen=True)
class SweepResults:
    """A sweep, and the results of each of its runs in their order."""

    sweep: SweepRow
    outcomes: Sequence[Outcome]

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The values of each option that varies."""
        return self.sweep.axes

    @property
    def cell_axes(self) -> list[str]:
        """The axes that define a cell: all but the seed, over which means are taken."""
        return [path for path in self.axes if path != SEED]

    @property
    def unfinished(self) -> list[Outcome]:
        """The runs that have not finished."""
        return [outcome for outcome in self.outcomes if not outcome.finished]


class Spread(NamedTuple):
    """Mean, deviation and interval of one number over the runs of a cell.

    Args:
        mean: the arithmetic mean; NaN where a value is not a finite number.
        deviation: the sample standard deviation (n - 1); NaN for fewer than two runs.
        n: how many runs.
        interval: the mean's, over facts and runs; None without single answers.
    """

    mean: float
    deviation: float
    n: int
    interval: Interval | None = None


@dataclass(frozen=True)
class Plane:
    """One number over two axes of a sweep.

    Args:
        figure: which number.
        x: the path of the horizontal axis.
        y: the path of the vertical axis; empty if only one option varies.
        xs: the values of `x`.
        ys: the values of `y`; one None if there is no such axis.
        spreads: `[ys][xs]`; None where no run has finished.
        over: the paths of the axes over which means are taken: the seed, and any others.
    """

    figure: Figure
    x: str
    y: str
    xs: list[Any]
    ys: list[Any]
    spreads: list[list[Spread | None]]
    over: tuple[str, ...]

    def label(self, path: str) -> str:
        """What the page calls an axis."""
        return label_of(path)


def read_sweep(registry: Registry, sweep_id: str) -> SweepResults:
    """Reads a sweep's results so far.

    Raises:
        UnknownRun: there is no such sweep.
        LabError: the registry can't be read.
    """
    sweep = registry.sweep(sweep_id)
    outcomes = []
    for run in registry.sweep_runs(sweep_id):
        try:
            values = {path: axis_value(run.config, path) for path in sweep.axes}
        except LabError:  # a damaged run must not hide the others
            values = {}
        scores = registry.scores(run.id)
        outcomes.append(
            Outcome(
                run.id,
                run.status,
                run.error,
                values,
                scores,
                run.seconds,
                run.shared_phase1_from,
                partial(_answers, registry, run.id),
            )
        )
    return SweepResults(sweep, tuple(outcomes))


def _answers(registry: Registry, run_id: str, figure: Figure) -> Answers:
    checkpoint, probe, measure = figure
    sums = registry.fact_sums(run_id, checkpoint, probe)
    return sums.get(checkpoint, {}).get(probe, {}).get(measure, {})


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and sample standard deviation; None if there are no values."""
    if not values:
        return None
    if not all(map(math.isfinite, values)):  # a mean must not hide a broken model
        return Spread(math.nan, math.nan, len(values))
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation, len(values))


def cells(results: SweepResults) -> dict[tuple[Any, ...], list[Outcome]]:
    """The finished runs of each cell, by the values of `cell_axes`, in the order of the axes."""
    found: dict[tuple[Any, ...], list[Outcome]] = {}
    for outcome in results.outcomes:
        if outcome.finished:
            key = tuple(outcome.values[path] for path in results.cell_axes)
            found.setdefault(key, []).append(outcome)
    places = [{value: i for i, value in enumerate(results.axes[p])} for p in results.cell_axes]

    def place(key: tuple[Any, ...]) -> list[int]:
        return [at.get(value, len(at)) for at, value in zip(places, key, strict=True)]

    return {key: found[key] for key in sorted(found, key=place)}


def measured(outcomes: Sequence[Outcome], figure: Figure) -> Spread | None:
    """Mean, deviation and interval of one number over some runs; None if none of them has it."""
    there = [(o, o.value(figure)) for o in outcomes if o.finished]
    there = [(outcome, value) for outcome, value in there if value is not None]
    found = spread([value for _, value in there])
    if found is None or not math.isfinite(found.mean):
        return found
    answers = [outcome.answers(figure) for outcome, _ in there]
    # An interval over fewer runs would not be that of this mean.
    return found._replace(interval=interval_of_mean(answers)) if all(answers) else found


def plane(results: SweepResults, figure: Figure) -> Plane:
    """One number over the first two axes that have several values; the second is horizontal.

    Means are taken over all other axes.
    """
    shown = results.cell_axes or list(results.axes)
    several = [path for path in shown if len(results.axes[path]) > 1]
    chosen = (several or shown)[:2]
    y, x = chosen if len(chosen) == 2 else ("", chosen[0])
    xs, ys = results.axes[x], results.axes[y] if y else [None]

    def at(row: Any, column: Any) -> Spread | None:
        wanted = {x: column} | ({y: row} if y else {})
        mine = [o for o in results.outcomes if o.finished and wanted.items() <= o.values.items()]
        return measured(mine, figure)

    over = tuple(path for path in results.axes if path not in chosen)
    return Plane(figure, x, y, xs, ys, [[at(row, column) for column in xs] for row in ys], over)
