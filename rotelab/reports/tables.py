"""Tables of runs, sweeps, comparisons and repeated experiments."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rotelab.config.names import (
    CHECKPOINTS,
    MEASURES,
    MORE_MEASURES,
    PART_NAMES,
    PROBE_NAMES,
    checkpoint_name,
    lesson_number,
    probe_name,
)
from rotelab.config.option_paths import flat, text_of
from rotelab.config.run_config import LessonConfig, RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.results import OLD, Damage, Score
from rotelab.registry import RunRow
from rotelab.reports.comparison import COMPARED, Comparison
from rotelab.reports.formats import Cell, Estimate, Table, estimate, interval_json, rounded
from rotelab.reports.intervals import (
    TOO_FEW,
    Intervals,
    interval_at,
    quiz_interval,
)
from rotelab.reports.sweep_results import Figure, Spread, SweepResults, cells, measured, spread

# Of a run ----------------------------------------------------------------------------------------


def run_tables(
    run: RunRow,
    scores: Mapping[str, Mapping[str, Score]],
    damage: Mapping[str, Damage] | None = None,
    intervals: Intervals | None = None,
) -> list[Table]:
    """Scores by probe and checkpoint, seconds, and settings that differ from the defaults.

    Args:
        run: the run.
        scores: as `Registry.scores` returns them; may lack some.
        damage: as `Registry.damage` returns it.
        intervals: of the scores; may lack some.
    """
    name = f"{run.id}, {run.status}"
    said = " [95 % interval over facts]" if intervals else ""
    of_run = _lesson_scores if any(map(lesson_number, scores)) else _run_scores
    tables = [
        table
        for field, measure in MEASURES.items()
        for table in of_run(f"{name}: {measure.long.lower()}{said}", field, scores, intervals or {})
    ]
    if damage:
        columns = ("after", "perplexity", "real facts", "n", "KL to base")
        found = [
            (checkpoint_name(name).short, d.perplexity, estimate(d.quiz, quiz_interval(d)),
             d.questions, d.divergence)
            for name, d in damage.items()
        ]  # fmt: skip
        tables.append(Table(f"{name}: what else it knew", columns, tuple(found)))
    tables.append(_run_seconds(run))
    with contextlib.suppress(LabError):  # damaged settings must not hide the scores
        tables.append(_differences(run.config))
    return tables


def scores_json(
    scores: Mapping[str, Mapping[str, Score]], intervals: Intervals
) -> dict[str, dict[str, dict[str, Any]]]:
    """A run's scores as plain values, by checkpoint, probe and field of `Score`.

    Returns:
        `n` is the number of questions; every other figure is an object with its `value` and its
        `interval`, `[low, high]`. Either is None where it is not known.
    """
    return {
        checkpoint: {
            probe: {
                field: value
                if field == "n"
                else {
                    "value": rounded(value),
                    "interval": interval_json(interval_at(intervals, checkpoint, probe, field)),
                }
                for field, value in score._asdict().items()
                if value is not None
            }
            for probe, score in probes.items()
        }
        for checkpoint, probes in scores.items()
    }


def _run_scores(
    title: str, measure: str, scores: Mapping[str, Mapping[str, Score]], intervals: Intervals
) -> list[Table]:
    there = [checkpoint for checkpoint in CHECKPOINTS if checkpoint in scores]
    columns = ("asked", "n", *(checkpoint_name(c).short for c in there))
    rows = [
        _score_row(probe, measure, there, scores, intervals) for probe in _probes(scores.values())
    ]
    return [Table(title, columns, tuple(rows))]


def _lesson_scores(
    title: str, measure: str, scores: Mapping[str, Mapping[str, Score]], intervals: Intervals
) -> list[Table]:
    """A lesson's new facts after it, and the old ones before and after it."""
    after = max(scores, key=lesson_number)
    before = [checkpoint for checkpoint in scores if checkpoint != after]
    probes = _probes(scores.values())
    tables = []
    for what, there, kept in (
        ("new facts", [after], [probe for probe in probes if not probe.startswith(OLD)]),
        ("old facts", [*before, after], [probe for probe in probes if probe.startswith(OLD)]),
    ):
        columns = ("asked", "n", *(checkpoint_name(c).short for c in there))
        rows = [_score_row(probe, measure, there, scores, intervals) for probe in kept]
        tables.append(Table(f"{title}, {what}", columns, tuple(rows)))
    return tables


def _score_row(
    probe: str,
    measure: str,
    there: Sequence[str],
    scores: Mapping[str, Mapping[str, Score]],
    intervals: Intervals,
) -> tuple[Cell, ...]:
    """A probe's name, its questions, and its figure at each checkpoint."""
    asked = max((scores[c][probe].n for c in there if probe in scores[c]), default=0)
    values = [
        estimate(getattr(scores[c][probe], measure), interval_at(intervals, c, probe, measure))
        if probe in scores[c]
        else None
        for c in there
    ]
    return (probe_name(probe).short, asked, *values)


def _run_seconds(run: RunRow) -> Table:
    rows = [
        (name.short, float(run.seconds[part]))
        for part, name in PART_NAMES.items()
        if isinstance(run.seconds.get(part), int | float)
    ]
    title = "Seconds"
    if run.shared_phase1_from:
        title += f" (phase 1 was taken from run {run.shared_phase1_from})"
    return Table(title, ("part", "seconds"), tuple(rows))


def _differences(config: RunConfig) -> Table:
    usual = flat(replace(RunConfig(), lesson=config.lesson and LessonConfig()))
    rows = [
        (path, _plain(value), _plain(usual[path]))
        for path, value in flat(config).items()
        if value != usual[path]
    ]
    return Table("Settings that differ from the defaults", ("option", "value", "default"),
                 tuple(rows))  # fmt: skip


# Of a sweep --------------------------------------------------------------------------------------


def sweep_tables(results: SweepResults, measure: str = "generation_accuracy") -> list[Table]:
    """Mean and interval of each cell at every checkpoint, then the single runs.

    Args:
        results: the sweep's results so far.
        measure: one of `MEASURES`.
    """
    name = results.sweep.name or results.sweep.id
    done = len(results.outcomes) - len(results.unfinished)
    tables = []
    for checkpoint in reversed(CHECKPOINTS):
        what = f"{MEASURES[measure].long.lower()} of the {checkpoint_name(checkpoint).short} model"
        title = f"{name}: {what}, mean [95 % interval over facts and seeds]"
        ended = f" ({done} of {len(results.outcomes)} runs finished)"
        tables.append(_cells(title, ended, results, checkpoint, measure))
    tables.append(_runs("Runs", results))
    if results.unfinished:
        tables.append(_unfinished(results))
    return tables


def _cells(title: str, ended: str, results: SweepResults, checkpoint: str, measure: str) -> Table:
    probes = _probes(o.scores.get(checkpoint, {}) for o in results.outcomes if o.finished)
    rows = []
    for values, outcomes in cells(results).items():
        found = [measured(outcomes, Figure(checkpoint, probe, measure)) for probe in probes]
        rows.append((*map(_plain, values), len(outcomes), *found))
    if any(isinstance(cell, Spread) and cell.interval is None for row in rows for cell in row):
        title += ", or ± standard deviation where single answers are not stored"
    columns = (*results.cell_axes, "n", *(probe_name(probe).short for probe in probes))
    return Table(title + ended, columns, tuple(rows))


def _runs(title: str, results: SweepResults) -> Table:
    parts = [part for part in PART_NAMES if part != "setup"]
    rows = []
    for outcome in results.outcomes:
        values = [_plain(outcome.values.get(path)) for path in results.axes]
        seconds = [outcome.seconds.get(part) for part in parts]
        shared = outcome.shared_phase1_from or ""
        rows.append((outcome.run_id, *values, outcome.status, *seconds, shared))
    columns = (*results.axes, "status", *(f"{PART_NAMES[part].short}, s" for part in parts))
    return Table(title, ("run", *columns, "phase 1 taken from"), tuple(rows))


def _unfinished(results: SweepResults) -> Table:
    rows = [
        (o.run_id, *(_plain(o.values.get(path)) for path in results.axes), o.status, o.error)
        for o in results.unfinished
    ]
    return Table("Runs that are not finished", ("run", *results.axes, "status", "error"),
                 tuple(rows))  # fmt: skip


# Of a comparison ---------------------------------------------------------------------------------


def comparison_tables(comparison: Comparison, facts: int) -> list[Table]:
    """The runs, the options in which they differ, their scores, and facts answered differently.

    Args:
        comparison: the comparison.
        facts: how many facts to list at most.
    """
    labels = comparison.labels
    about = [(s.label, s.run.id, s.run.status, s.run.pack_name) for s in comparison.sides]
    options = [(o.path, *map(_plain, o.values)) for o in comparison.options]
    tables = [
        Table("Runs", ("run", "id", "status", "facts"), tuple(about)),
        Table("Settings in which they differ", ("option", *labels), tuple(options)),
    ]
    for measure, name in (MEASURES | MORE_MEASURES).items():
        rows = list(_scores_beside(comparison, measure))
        if rows:
            columns = ("asked", "model", *labels, "best")
            tables.append(Table(name.long, columns, tuple(rows)))
        rows = list(_differences_from_first(comparison, measure))
        if rows:
            columns = ("asked", "model", "run", "facts in common", "difference", "reading")
            title = f"{name.long}: difference from {labels[0]} [95 % interval over facts]"
            tables.append(Table(title, columns, tuple(rows)))
    differ = len(comparison.facts)
    title = f"Facts answered differently: {differ} of {comparison.facts_in_common} in common"
    if differ > facts:
        title += f", the first {facts}"
    listed = [
        (row.fact.subject, row.fact.relation, row.fact.object,
         *(None if share is None else share.value for share in row.shares))
        for row in comparison.facts[:facts]
    ]  # fmt: skip
    return [*tables, Table(title, ("subject", "relation", "object", *labels), tuple(listed))]


def _scores_beside(comparison: Comparison, measure: str) -> Iterable[tuple[Cell, ...]]:
    probes = _probes(of for side in comparison.sides for of in side.scores.values())
    for checkpoint in COMPARED:
        for probe in probes:
            values = [
                estimate(side.value(checkpoint, probe, measure),
                         side.interval(checkpoint, probe, measure))
                for side in comparison.sides
            ]  # fmt: skip
            if any(value is not None for value in values):
                best = sorted(comparison.best(checkpoint, probe, measure))
                names = ", ".join(comparison.labels[place] for place in best)
                name = probe_name(probe).short
                yield (name, checkpoint_name(checkpoint).short, *values, names)


def _differences_from_first(comparison: Comparison, measure: str) -> Iterable[tuple[Cell, ...]]:
    known = comparison.differences
    probes = _probes([dict.fromkeys(probe for _, probe, *_ in known)])
    for place in itertools.product(COMPARED, probes, [measure], range(1, len(comparison.sides))):
        if place not in known:
            continue
        checkpoint, probe, _, run = place
        names = probe_name(probe).short, checkpoint_name(checkpoint).short, comparison.labels[run]
        found = known[place]
        if found is None:
            yield (*names, None, None, TOO_FEW)
        else:
            cell = Estimate(found.value, found.interval, found.decimals)
            yield (*names, found.facts, cell, found.reading)


def differences_json(comparison: Comparison) -> list[dict[str, Any]]:
    """The differences of a comparison as plain values, an object each.

    Returns:
        `difference` is that of `run` minus `from`, and `interval` its `[low, high]`, on `facts`
        facts that both were asked, `differ` of which differ; all None where they share fewer than
        two.
    """
    first, *_ = ids = [side.run.id for side in comparison.sides]
    return [
        {
            "checkpoint": checkpoint,
            "probe": probe,
            "measure": measure,
            "run": ids[place],
            "from": first,
            "difference": None if found is None else rounded(found.value),
            "interval": None if found is None else interval_json(found.interval),
            "facts": None if found is None else found.facts,
            "differ": None if found is None else found.differ,
            "reading": TOO_FEW if found is None else found.reading,
        }
        for (checkpoint, probe, measure, place), found in comparison.differences.items()
    ]


# Of an experiment with several seeds --------------------------------------------------------------


def mean_tables(several: Sequence[Sequence[Table]], over: str) -> list[Table]:
    """Averages the tables of several repetitions: each number becomes a mean with its deviation.

    A cell that is equal in all of them stays as it is; a text that is not is left out. A table
    whose rows are about different things can't be averaged and is left out.

    Args:
        several: the tables of each repetition, in the same order.
        over: what the repetitions differ in, such as `seeds 0, 1, 2`.
    """
    summed = []
    for tables in zip(*several, strict=False):
        first = tables[0]
        alike = all(
            len(t.rows) == len(first.rows) and len(t.columns) == len(first.columns)
            and all(_names(a) == _names(b) for a, b in zip(t.rows, first.rows, strict=True))
            for t in tables
        )  # fmt: skip
        if not alike:
            continue
        rows = tuple(
            tuple(_mean_cell(cells) for cells in zip(*rows, strict=True))
            for rows in zip(*(t.rows for t in tables), strict=True)
        )
        title = f"{first.title}; mean ± standard deviation over {over}"
        summed.append(Table(title, first.columns, rows))
    return summed


def _names(row: Sequence[Cell]) -> tuple[str, ...]:
    """What a row is about: its texts before the first number."""
    return tuple(itertools.takewhile(lambda cell: isinstance(cell, str), row))


def _mean_cell(cells: Sequence[Cell]) -> Cell:
    if all(cell == cells[0] for cell in cells):
        return cells[0]
    # A number that some repetitions lack has no mean: over fewer it would not be comparable.
    plain = [cell.value if isinstance(cell, Estimate) else cell for cell in cells]
    figures = [cell for cell in plain if isinstance(cell, int | float)]
    return spread(figures) if len(figures) == len(cells) else None


def _probes(scores: Iterable[Mapping[str, Any]]) -> list[str]:
    """The probes that were asked, in the order of `PROBE_NAMES`; others after them."""
    there = dict.fromkeys(probe for by_probe in scores for probe in by_probe)
    known = [probe for probe in PROBE_NAMES if probe in there]
    return [*known, *(probe for probe in there if probe not in PROBE_NAMES)]


def _plain(value: Any) -> str | int | None:
    """An option's value as on the command line, not rounded as results are."""
    if isinstance(value, bool):
        return text_of(value)
    return f"{value:g}" if isinstance(value, float) else value
