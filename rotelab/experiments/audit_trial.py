"""Experiment: how often does the audit of meanings err, on clean models and on repurposed ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import checkpoint_name
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.audit import ASKED, DEVIATIONS, MEASURES, SUSPECTS, Audit
from rotelab.experiments.audit import measure as audit
from rotelab.experiments.repurposing import EXAMPLES, arms
from rotelab.reports.figures.style import HATCHED, styled

LIMITS = (1.5, 2.5, 3.0)
"""Other thresholds of an alarm, in standard deviations."""

BARS = {
    "taught": ("a meaning that was taught", "#1F86C9", ""),
    "suspect": ("“rival” where nobody taught it", "#D55E00", "/"),
}
"""Bars of the figure: name, colour and pattern."""


@dataclass(frozen=True)
class Row:
    """One reading at one model of one arm, by one measure.

    Args:
        arm: what was taught after rote.
        checkpoint: memorised or generalised.
        measure: by which the audit judges.
        reading: the meaning that was asked for.
        clean: whether it is one of the calibrating readings.
        taught: whether phase 2 taught it.
        value: what the audit measured.
        limit: where it raises an alarm.
        over: how many standard deviations it lies above the mean of the clean readings.
        place: its place among all readings of this model, 1 being the one with most deviations.
    """

    arm: str
    checkpoint: str
    measure: str
    reading: str
    clean: bool
    taught: bool
    value: float
    limit: float
    over: float
    place: int


@dataclass(frozen=True)
class Trial:
    """Audits of a clean model and of repurposed ones, and their errors.

    Args:
        facts: how many facts each audit asked.
        rows: every reading.
    """

    facts: int
    rows: tuple[Row, ...]

    def calibrated(self, measure: str) -> float:
        """The fewest deviations at which the models that were not repurposed raise no false alarm:
        the run itself, and every arm before its phase 2."""
        clean = self.rows[0].arm
        return max(
            row.over
            for row in self.rows
            if row.measure == measure
            and not row.taught
            and (row.arm == clean or row.checkpoint == "memorized")
        )

    def tables(self) -> list[Table]:
        """Errors by threshold; places of the taught meanings; the readings themselves."""
        asked = {m: sum(r.checkpoint == m and r.measure == next(iter(MEASURES)) and not r.taught
                        for r in self.rows) for m in ASKED}  # fmt: skip
        known = sum(r.taught for r in self.rows) // len(MEASURES)
        columns = ("by", "alarm begins at", "deviations", *(
            f"false alarms, {checkpoint_name(c).short} (of {asked[c]})" for c in ASKED
        ), f"misses (of {known})")  # fmt: skip
        erred = []
        for measure, words in MEASURES.items():
            told = {f"{limit:g}": limit for limit in LIMITS}
            told[f"{DEVIATIONS:g}, the audit's own"] = DEVIATIONS
            fewest = self.calibrated(measure)
            told["as calibrated on the clean models"] = fewest
            for name, limit in told.items():
                mine = [(r, r.over > limit) for r in self.rows if r.measure == measure]
                false = [sum(alarm and not r.taught and r.checkpoint == c for r, alarm in mine)
                         for c in ASKED]  # fmt: skip
                erred.append((words, name, limit, *false, sum(r.taught and not a for r, a in mine)))
        among = sum(r.arm == self.rows[0].arm for r in self.rows) // len(MEASURES) // len(ASKED)
        taught: dict[tuple[str, str], dict[str, int]] = {}
        for row in self.rows:
            if row.taught:
                taught.setdefault((row.arm, row.reading), {})[row.measure] = row.place
        places = [(*which, *(by[m] for m in MEASURES)) for which, by in taught.items()]
        readings = [
            (f"{r.arm}, {checkpoint_name(r.checkpoint).short}", r.reading, MEASURES[r.measure],
             r.value, r.limit, r.over, "alarm" if r.over > DEVIATIONS else "–",
             "taught" if r.taught else "not taught")
            for r in self.rows
            if not r.clean
        ]  # fmt: skip
        return [
            Table("How often the audit erred, by where its alarm begins", columns, tuple(erred)),
            Table(
                f"Place of the meaning that was taught, among {among}",
                ("model", "reading", *(f"by {w}" for w in MEASURES.values())),
                tuple(places),
            ),
            Table(
                f"The meanings that somebody may have taught, {self.facts} facts asked",
                ("model", "reading", "by", "measured", "alarm above", "deviations", "audit",
                 "in fact"),
                tuple(readings),
            ),
        ]  # fmt: skip

    def figure(self) -> go.Figure:
        """How far above the threshold of an alarm each reading is in the generalised models."""
        figure = make_subplots(2, 1, subplot_titles=[f"by {w}" for w in MEASURES.values()],
                               shared_xaxes=True, vertical_spacing=0.14)  # fmt: skip
        for place, measure in enumerate(MEASURES, 1):
            for kind, (words, colour, pattern) in BARS.items():
                mine = [
                    r
                    for r in self.rows
                    if (r.checkpoint, r.measure) == ("generalized", measure)
                    and r.taught == (kind == "taught")
                    and (r.taught or r.reading in SUSPECTS)
                ]
                figure.add_bar(
                    name=words,
                    x=[r.arm for r in mine],
                    y=[r.value - r.limit for r in mine],
                    legendgroup=kind,
                    showlegend=place == 1,
                    marker={"color": colour, "pattern": HATCHED | {"shape": pattern}},
                    customdata=[(r.reading, r.value, r.limit) for r in mine],
                    hovertemplate="%{x}: %{customdata[0]} %{customdata[1]:.3f}, alarm above "
                    "%{customdata[2]:.3f}",
                    row=place,
                    col=1,
                )
        styled(figure, 520)
        figure.update_yaxes(title_text="above the limit", zeroline=True, zerolinewidth=2)
        figure.update_xaxes(title_text="taught after rote, with so many facts", row=2)
        figure.update_layout(margin_t=110, legend_y=1.1)
        return figure.update_layout(barmode="group", showlegend=True)


def compare(runs: Sequence[FinishedRun]) -> Trial:
    """Audits every arm as a stranger would."""
    rows: list[Row] = []
    facts = 0
    for finished in runs:
        found = audit(finished)
        facts = max(facts, found.facts)
        rows += _rows(finished.label, found)
    return Trial(facts, tuple(rows))


def _rows(arm: str, found: Audit) -> list[Row]:
    limits = {(x.checkpoint, x.measure): x.value for x in found.limits}
    rows = []
    for checkpoint in ASKED:
        for measure in MEASURES:
            over = f"over_{measure}"
            mine = [r for r in found.rows if r.checkpoint == checkpoint]
            mine.sort(key=lambda r: -getattr(r, over))
            rows += [
                Row(
                    arm,
                    checkpoint,
                    measure,
                    r.reading,
                    r.clean,
                    r.taught and checkpoint == "generalized",
                    getattr(r, measure),
                    limits[checkpoint, measure],
                    getattr(r, over),
                    place,
                )
                for place, r in enumerate(mine, 1)
            ]
    return rows


EXPERIMENT = Experiment(
    name="audit-trial",
    title="Does the audit find what was put in?",
    question="How often does the audit of meanings give a false alarm, and how often does it miss?",
    hypothesis=(
        "A meaning taught with fifty facts lies far above the limit, one taught with a single "
        "fact hardly; false alarms are rare, because the limit comes from meanings nobody taught."
    ),
    needs=(
        "a finished run of two phases; it makes the runs of “Repurposing” on the same settings "
        "where they are not there yet, then audits each for some minutes."
    ),
    reading=(
        "The audit is done as a stranger would, once on the run itself, whose only meaning is its "
        f"own, and once on each run that was taught “rival” instead, with {EXAMPLES[0]}, "
        f"{EXAMPLES[1]} and {EXAMPLES[2]} facts; each before phase 2 and after it. A false alarm "
        "is one for a meaning that was not taught: the ten calibrating ones, each judged by the "
        "other nine, “rival” in the clean run, and the own meaning in the others. A miss is no "
        f"alarm for the meaning that was taught. The audit's limit lies {DEVIATIONS:g} standard "
        "deviations above the mean of the calibrating meanings; the first table says what other "
        "limits would have done, and which is the lowest that gives no false alarm at models that "
        "nobody repurposed: the run itself, and all of them before phase 2. Ten meanings are few "
        "to know a deviation from. Whatever the limit, the second table gives the place of the "
        "meaning that was taught: the first place is the one to look into."
    ),
    paper="repurposing is shown, no defence is tried.",
    version=2,
    result=Trial,
    origin="readers",
    arms=arms,
    compare=compare,
)
