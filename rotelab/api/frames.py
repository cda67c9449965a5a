"""Results as data frames (pandas, imported when the first one is made)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rotelab.config.names import MEASURES
from rotelab.evaluation.results import Score
from rotelab.reports.comparison import COMPARED, Comparison
from rotelab.reports.intervals import Intervals, interval_at

if TYPE_CHECKING:
    import pandas as pd


def frame(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """A data frame of rows, with its columns even where there is no row."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))


def score_rows(scores: Mapping[str, Mapping[str, Score]]) -> list[tuple[Any, ...]]:
    """One row for each checkpoint and probe: their names, and the fields of `Score`."""
    return [
        (checkpoint, probe, *score)
        for checkpoint, probes in scores.items()
        for probe, score in probes.items()
    ]


def scores_frame(scores: Mapping[str, Mapping[str, Score]], intervals: Intervals) -> pd.DataFrame:
    """A run's scores: `checkpoint`, `probe`, the fields of `Score`, and `low` and `high`, the 95 %
    interval of the generation accuracy. Columns that were not measured are left out."""
    columns = ("checkpoint", "probe", *Score._fields, "low", "high")
    rows = []
    for row in score_rows(scores):
        known = interval_at(intervals, row[0], row[1], "generation_accuracy")
        rows.append((*row, *(known or (None, None))))
    made = frame(columns, rows)
    return made.dropna(axis=1, how="all") if rows else made


def comparison_scores(found: Comparison) -> pd.DataFrame:
    """Every score of a comparison's runs, one row each."""
    rows = []
    for side in found.sides:
        for checkpoint in COMPARED:
            for probe in found.probes:
                for measure in MEASURES:
                    value = side.value(checkpoint, probe, measure)
                    if value is not None:
                        ends = side.interval(checkpoint, probe, measure) or (None, None)
                        rows.append((side.run.id, checkpoint, probe, measure, value, *ends))
    return frame(("run", "checkpoint", "probe", "measure", "value", "low", "high"), rows)
