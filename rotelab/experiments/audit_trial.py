"""Experiment: how often does the audit of meanings err, on clean models and on repurposed ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.experiments import Experiment
from rotelab.experiments.audit import ASKED, DEVIATIONS, MEASURES, SUSPECTS, Audit
from rotelab.experiments.audit import measure as audit
from rotelab.experiments.repurposing import EXAMPLES, arms
from rotelab.experiments.subject import Subject
from rotelab.plots.style import CHECKPOINT_NAMES, HATCHED, styled
from rotelab.report import Table

BARS = {
    "taught": ("a meaning that was taught", "#1F86C9", ""),
    "suspect": ("“rival” where nobody taught it", "#D55E00", "/"),
}
"""Bars of the figure: name, colour and pattern."""


@dataclass(frozen=True)
class Row:
    """One reading that is no calibration, at one model of one arm, by one measure.

    Args:
        arm: what was taught after rote.
        checkpoint: memorised or generalised.
        measure: by which the audit judges.
        reading: what was asked for.
        taught: whether phase 2 taught it.
        value: what the audit measured.
        limit: where it raises an alarm.
        alarm: whether it did.
    """

    arm: str
    checkpoint: str
    measure: str
    reading: str
    taught: bool
    value: float
    limit: float
    alarm: bool


@dataclass(frozen=True)
class Count:
    """How often the audit erred at one model of one arm, by one measure."""

    arm: str
    checkpoint: str
    measure: str
    false_alarms: int
    untaught: int
    misses: int
    taught: int


@dataclass(frozen=True)
class Trial:
    """Audits of a clean model and of repurposed ones, and their errors.

    Args:
        facts: how many facts each audit asked.
        rows: readings that somebody may have taught.
        counts: errors over all readings, the calibrating ones too.
    """

    facts: int
    rows: tuple[Row, ...]
    counts: tuple[Count, ...]

    def tables(self) -> list[Table]:
        """Errors summed up by measure and kind of model; by arm; and the readings themselves."""
        columns = ("models", "by", "false alarms", "of readings not taught", "misses",
                   "of readings taught")  # fmt: skip
        summed = []
        for checkpoint in ASKED:
            for measure, words in MEASURES.items():
                mine = [
                    c for c in self.counts if (c.checkpoint, c.measure) == (checkpoint, measure)
                ]
                models = f"{CHECKPOINT_NAMES[checkpoint].lower()}, {len(mine)} runs"
                summed.append((models, words, *_sums(mine)))
        by_arm = [
            (f"{c.arm}, {CHECKPOINT_NAMES[c.checkpoint].lower()}", MEASURES[c.measure], *_sums([c]))
            for c in self.counts
        ]
        readings = [
            (f"{r.arm}, {CHECKPOINT_NAMES[r.checkpoint].lower()}", r.reading, MEASURES[r.measure],
             r.value, r.limit, "alarm" if r.alarm else "–", "taught" if r.taught else "not taught")
            for r in self.rows
        ]  # fmt: skip
        return [
            Table("How often the audit erred", columns, tuple(summed)),
            Table("The same by what was taught after rote", columns, tuple(by_arm)),
            Table(
                f"The meanings that somebody may have taught, {self.facts} facts asked",
                ("model", "reading", "by", "measured", "alarm above", "audit", "in fact"),
                tuple(readings),
            ),
        ]

    def figure(self) -> go.Figure:
        """How far above the limit of an alarm each reading is in the generalised models."""
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


def compare(subjects: Sequence[Subject]) -> Trial:
    """Audits every arm as a stranger would and counts where it errs."""
    rows: list[Row] = []
    counts: list[Count] = []
    facts = 0
    for subject in subjects:
        found = audit(subject)
        facts = max(facts, found.facts)
        rows += _rows(subject.label, found)
        counts += _counts(subject.label, found)
    return Trial(facts, tuple(rows), tuple(counts))


def _rows(arm: str, found: Audit) -> list[Row]:
    limits = {(x.checkpoint, x.measure): x.value for x in found.limits}
    return [
        Row(
            arm,
            r.checkpoint,
            measure,
            r.reading,
            r.taught and r.checkpoint == "generalized",
            getattr(r, measure),
            limits[r.checkpoint, measure],
            getattr(r, f"by_{measure}"),
        )
        for r in found.rows
        for measure in MEASURES
        if not r.clean
    ]


def _counts(arm: str, found: Audit) -> list[Count]:
    counts = []
    for checkpoint in ASKED:
        for measure in MEASURES:
            mine = [(getattr(r, f"by_{measure}"), r.taught and checkpoint == "generalized")
                    for r in found.rows if r.checkpoint == checkpoint]  # fmt: skip
            false = [alarm for alarm, taught in mine if not taught]
            known = [alarm for alarm, taught in mine if taught]
            counts.append(
                Count(arm, checkpoint, measure, sum(false), len(false), len(known) - sum(known),
                      len(known))
            )  # fmt: skip
    return counts


def _sums(counts: Sequence[Count]) -> tuple[int, int, int, int]:
    fields = ("false_alarms", "untaught", "misses", "taught")
    return tuple(sum(getattr(c, field) for c in counts) for field in fields)


EXPERIMENT = Experiment(
    name="audit-trial",
    title="Does the audit find what was put in?",
    question="How often does the audit of meanings cry wolf, and how often does it miss one?",
    hypothesis=(
        "A meaning taught with fifty facts stands far above the limit, one taught with a single "
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
        f"alarm for the meaning that was taught. The limit lies {DEVIATIONS:g} standard deviations "
        "above the mean of the calibrating meanings, so of a thousand well-behaved ones a few "
        "would cross it; ten are few to know a deviation from."
    ),
    paper="repurposing is shown, no defence is tried.",
    result=Trial,
    arms=arms,
    compare=compare,
)
