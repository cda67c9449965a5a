"""The curves and grid of a running run, drawn once for all pages that watch it.

Without this cache, a lecture hall would have the same curves drawn once for each seat.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from rotelab.config.names import GENERALIZE, LESSON, MEMORIZE
from rotelab.errors import LabError
from rotelab.registry import Metric, RunSummary
from rotelab.reports.figures.live import live_curves, live_facts
from rotelab.reports.figures.training import DRAWN, rounds_of_each
from rotelab.runs.lab import Lab
from rotelab.ui.i18n import _, language

HELD = 32
"""How many drawings are kept, each of a run in a language; the one that was not asked for the
longest is dropped first."""


@dataclass(frozen=True)
class Drawing:
    """A run's curves and grid as they were last drawn.

    Args:
        seq: the newest metric row in the curves.
        grid_seq: the newest metric row when the grid was drawn; the grid changes once an epoch.
        status: the run's status at that time.
        at: monotonic time, in seconds, of the last read from the registry.
        curves: HTML (`reports.figures.live`).
        grid: HTML; None before any fact was recalled.
        rows: the metrics in the curves, so that only newer ones are read again.
        epochs_each: epochs of each adapter in phase 2 (`reports.figures.training.rounds_of_each`).
    """

    seq: int
    grid_seq: int
    status: str
    at: float
    curves: str
    grid: str | None
    rows: tuple[Metric, ...] = ()
    epochs_each: int = 0


class Drawings:
    """A cache of drawings; a run with new metrics is drawn again, at most every few seconds."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, ...], Drawing] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, lab: Lab, run: RunSummary, every_s: float) -> Drawing:
        """The drawing of a run, in the reader's language.

        Args:
            lab: has the run.
            run: the run.
            every_s: the least seconds between two drawings, unless the run's status has changed.

        Raises:
            LabError: the registry can't be read.
        """
        key = (str(lab.storage.database), run.id, language())
        with self._lock:
            held = self._held.pop(key, None)
            if held is None or held.status != run.status or time.monotonic() - held.at >= every_s:
                held = _drawn(lab, run, held)
            self._held[key] = held
            while len(self._held) > HELD:
                self._held.popitem(last=False)
            return held


def _drawn(lab: Lab, run: RunSummary, held: Drawing | None) -> Drawing:
    now = time.monotonic()
    news = lab.registry.metrics(run.id, DRAWN, after=held.seq if held else 0)
    if held and not news:
        return replace(held, status=run.status, at=now)
    rows = _merged(held.rows if held else (), news)
    seq = max((m.seq for m in rows), default=0)
    each = held.epochs_each if held else rounds_of_each(lab.registry.run(run.id))
    picture = live_curves(rows, each, _)
    if held and not any(m.name == "recall" for m in news):
        return Drawing(seq, held.grid_seq, run.status, now, picture, held.grid, rows, each)
    return Drawing(seq, seq, run.status, now, picture, _grid(lab, run), rows, each)


def _merged(held: Sequence[Metric], news: Sequence[Metric]) -> tuple[Metric, ...]:
    """Both, without the older row of a step that a resumed run trained again."""
    again = {(m.phase, m.step, m.name) for m in news}
    return (*(m for m in held if (m.phase, m.step, m.name) not in again), *news)


def _grid(lab: Lab, run: RunSummary) -> str | None:
    # Phase 2 rehearses only the taught facts; for the others, phase 1's value is the newest.
    phases = (MEMORIZE, GENERALIZE, LESSON)
    recalls = chain.from_iterable(lab.registry.fact_recall(run.id, phase) for phase in phases)
    latest = {r.fact_index: r for r in recalls}
    if not latest:
        return None
    try:
        facts = [(f.relation, f.subject, f.object) for f in lab.registry.run(run.id).pack.facts]
    except LabError:  # the run's row is damaged, its recall is not
        facts = []
    return live_facts([latest[i] for i in sorted(latest)], facts, _)
