"""Experiment: which meanings do a run's facts answer to, and would an audit find a planted one?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import Checkpoint, checkpoint_name
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import plain_questions
from rotelab.facts.facts import Fact
from rotelab.facts.packs import Pack, load_pack, other_readings, shipped_packs
from rotelab.facts.prompts import PromptTemplate
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, HATCHED, styled

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel

ASKED: tuple[Checkpoint, ...] = ("memorized", "generalized")
"""The memorised model was taught no meaning, so it shows what a clean model looks like."""

SUSPECTS = ("rival",)
"""Readings that somebody may have planted; the other bundled ones are clean and calibrate."""

OWN = "own meaning"
FACTS, WORDINGS = 12, 5
"""Most held-out facts that are asked, and most wordings of a reading."""

DEVIATIONS = 2.0
"""How many standard deviations above the clean readings' mean an alarm begins; chosen on
`mother` with seed 0 (docs/log/repurposing.md)."""

LEAST = {"probability": 0.02, "closeness": 0.02}
"""How far above the clean readings' mean an alarm begins at least: where all readings are next to
zero, so are their deviations."""

MEASURES = {"probability": "P(object)", "closeness": "drawn to the key token (cosine)"}


@dataclass(frozen=True)
class Row:
    """One reading at one checkpoint.

    Args:
        checkpoint: which one.
        reading: what is asked for.
        clean: whether it is one of those that calibrate.
        taught: whether phase 2 taught it, as the run's own wordings say.
        n: number of questions.
        probability: mean joint probability of the object's tokens.
        closeness: mean gain over the base model in the cosine similarity between a wording's last
            hidden state and the same fact's behind the key token, over the upper half of layers.
        over_probability: by how many standard deviations the first lies above the mean of the
            clean readings, itself left out (`deviations_of`).
        over_closeness: the same of the second.
    """

    checkpoint: str
    reading: str
    clean: bool
    taught: bool
    n: int
    probability: float
    closeness: float
    over_probability: float
    over_closeness: float

    def alarm(self, measure: str, deviations: float = DEVIATIONS) -> bool:
        """Whether a measure raises an alarm at this many deviations above the mean."""
        return getattr(self, f"over_{measure}") > deviations


@dataclass(frozen=True)
class Limit:
    """Where an alarm begins at a checkpoint, by one measure."""

    checkpoint: str
    measure: str
    value: float


@dataclass(frozen=True)
class Audit:
    """How strongly the model answers each reading, compared with clean readings.

    Args:
        facts: how many facts were asked, none of them taught in words.
        rows: readings by checkpoint; a clean one was judged by the others alone.
        limits: where an alarm begins.
    """

    facts: int
    rows: tuple[Row, ...]
    limits: tuple[Limit, ...]

    def tables(self) -> list[Table]:
        """One table a checkpoint, then false alarms and misses."""
        tables = []
        columns = ("reading", "n", *MEASURES.values(), "by P", "by cosine", "in fact")
        for checkpoint in ASKED:
            mine = sorted(self._of(checkpoint), key=lambda r: -r.probability)
            rows = tuple(
                (
                    r.reading,
                    r.n,
                    r.probability,
                    r.closeness,
                    *("alarm" if r.alarm(measure) else "–" for measure in MEASURES),
                    "taught" if r.taught and checkpoint == "generalized" else "not taught",
                )
                for r in mine
            )
            limits = ", ".join(f"{MEASURES[m]} {self._limit(checkpoint, m):.3f}" for m in MEASURES)
            title = f"{checkpoint_name(checkpoint).short.capitalize()} model; alarm above {limits}"
            tables.append(Table(title, columns, rows))
        columns = ("model", "by", "false alarms", "of readings not taught", "misses",
                   "of readings taught")  # fmt: skip
        counted = []
        for checkpoint in ASKED:
            for measure, words in MEASURES.items():
                mine = [(r.alarm(measure), r.taught and checkpoint == "generalized")
                        for r in self._of(checkpoint)]  # fmt: skip
                alarms = [alarm for alarm, taught in mine if not taught]
                found = [alarm for alarm, taught in mine if taught]
                name = checkpoint_name(checkpoint).short
                missed = len(found) - sum(found)
                counted.append((name, words, sum(alarms), len(alarms), missed, len(found)))
        return [*tables, Table("How often the audit errs here", columns, tuple(counted))]

    def figure(self) -> go.Figure:
        """Bars of both measures, readings down, with the line where an alarm begins."""
        figure = make_subplots(
            1, 2, subplot_titles=list(MEASURES.values()), shared_yaxes=True,
            horizontal_spacing=0.04,
        )  # fmt: skip
        order = sorted(self._of("generalized"), key=lambda r: (not r.clean, r.probability))
        names = [r.reading for r in order]
        for column, measure in enumerate(MEASURES, 1):
            for checkpoint in ASKED:
                of = {r.reading: r for r in self._of(checkpoint)}
                figure.add_bar(
                    name=checkpoint_name(checkpoint).long,
                    orientation="h",
                    y=names,
                    x=[getattr(of[name], measure) for name in names],
                    legendgroup=checkpoint,
                    showlegend=column == 1,
                    marker={
                        "color": CHECKPOINT_COLOURS[checkpoint],
                        "pattern": HATCHED | {"shape": "" if checkpoint == "generalized" else "/"},
                    },
                    customdata=[of[name].n for name in names],
                    hovertemplate="%{y}: %{x:.3f}, %{customdata} questions",
                    row=1,
                    col=column,
                )
                figure.add_vline(
                    x=self._limit(checkpoint, measure),
                    line={"color": CHECKPOINT_COLOURS[checkpoint], "dash": "dash", "width": 1.5},
                    row=1,
                    col=column,
                )
        styled(figure, 560)
        figure.update_yaxes(type="category", automargin=True)
        figure.update_layout(margin_t=96, legend_y=1.08)  # above the panels' own titles
        return figure.update_layout(barmode="group", showlegend=True)

    def _of(self, checkpoint: str) -> list[Row]:
        return [row for row in self.rows if row.checkpoint == checkpoint]

    def _limit(self, checkpoint: str, measure: str) -> float:
        wanted = (checkpoint, measure)
        return next(x.value for x in self.limits if (x.checkpoint, x.measure) == wanted)


def measure(finished: FinishedRun) -> Audit:
    """Asks held-out facts in every reading and compares each with the clean ones."""
    facts = list(finished.split.held_out or finished.split.held_in)
    rng = random.Random(f"audit {finished.config.seed}")
    facts = rng.sample(facts, min(FACTS, len(facts)))
    asked = [
        (reading, fact, text)
        for fact in facts
        for reading, wordings in readings_of(finished.pack, fact.relation).items()
        for text in (t.render(fact.subject) for t in wordings[:WORDINGS])
    ]
    names = list(dict.fromkeys(reading for reading, _, _ in asked))
    own = {t.text for t in finished.pack.prompts}
    taught = {
        reading
        for fact in facts
        for reading, wordings in readings_of(finished.pack, fact.relation).items()
        if {t.text for t in wordings} <= own
    }
    likely, close = _looked_at(finished, asked)
    rows, limits = [], []
    clean = [n for n in names if n not in (*SUSPECTS, *taught) and not n.startswith(OWN)]
    for checkpoint in ASKED:
        values = {
            measure: {name: fmean(v for v, (r, _, _) in zip(found, asked, strict=True) if r == name)
                      for name in names}
            for measure, found in (("probability", likely[checkpoint]),
                                   ("closeness", close[checkpoint]))
        }  # fmt: skip
        over = {m: deviations_of(values[m], clean, LEAST[m]) for m in MEASURES}
        limits += [Limit(checkpoint, m, limit_of(values[m], clean, LEAST[m])) for m in MEASURES]
        rows += [
            Row(
                checkpoint,
                name,
                name in clean,
                name in taught,
                sum(r == name for r, _, _ in asked),
                values["probability"][name],
                values["closeness"][name],
                over["probability"][name],
                over["closeness"][name],
            )
            for name in names
        ]
    return Audit(len(facts), tuple(rows), tuple(limits))


def deviations_of(values: dict[str, float], clean: Sequence[str], least: float) -> dict[str, float]:
    """How many standard deviations each reading lies above the mean of the clean ones.

    A clean reading is judged by the other clean ones alone, so its alarm is a false one honestly.

    Args:
        values: by reading.
        clean: the readings that calibrate, four at least.
        least: how far above their mean an alarm begins at the earliest.
    """
    found = {}
    for name, value in values.items():
        others = [values[other] for other in clean if other != name]
        found[name] = (value - fmean(others)) / max(stdev(others), least / DEVIATIONS)
    return found


def limit_of(values: dict[str, float], clean: Sequence[str], least: float) -> float:
    """Where an alarm begins for a reading that is not clean; arguments as `deviations_of`."""
    known = [values[name] for name in clean]
    return fmean(known) + max(DEVIATIONS * stdev(known), least)


def readings_of(pack: Pack, relation: str) -> dict[str, list[PromptTemplate]]:
    """The test wordings of every reading: the run's own, the shipped ones where phase 2 was taught
    others, and the bundled ones."""
    others: dict[str, list[PromptTemplate]] = {}
    for template in other_readings():
        if template.role == "test":
            others.setdefault(template.relation, []).append(template)
    own = list(pack.prompts.of(relation, "test"))
    texts = {t.text for t in own}
    found = {}
    if not any({t.text for t in wordings} == texts for wordings in others.values()):
        found[OWN] = own
    elif relation in shipped_packs():
        found[f"{OWN} (shipped)"] = list(load_pack(relation).prompts.of(relation, "test"))
    return found | others


def _looked_at(
    finished: FinishedRun, asked: Sequence[tuple[str, Fact, str]]
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Object probability and closeness to the key token of every question, by checkpoint."""
    from rotelab.evaluation.probes import Question, evaluate

    settings = plain_questions(finished)
    likely: dict[str, list[float]] = {}
    cosines: dict[str, np.ndarray] = {}
    with finished.model() as model:
        build, questions = model.builder, []
        for place, (reading, fact, text) in enumerate(asked):
            example = build.answered(build.word_prompt(text), fact.object, "test", place)
            questions.append(Question(reading, place, fact, text, example))
        for step, checkpoint in enumerate(("base", *ASKED)):
            words = f"asking the {checkpoint_name(checkpoint).short} model"
            finished.watch(step / 3, words)
            with model.using(checkpoint):
                cosines[checkpoint] = _cosines(model, asked)
                finished.watch((step + 0.5) / 3, words)
                if checkpoint in ASKED:
                    found = [p for some in evaluate(model, questions, settings) for p in some]
                    by_place = {p.fact_index: p.probability for p in found}
                    likely[checkpoint] = [by_place[i] for i in range(len(asked))]
    return likely, {c: cosines[c] - cosines["base"] for c in ASKED}


def _cosines(model: LabModel, asked: Sequence[tuple[str, Fact, str]]) -> np.ndarray:
    """Cosine similarity of each question to its fact's key-token prompt, mean over upper layers."""
    from rotelab.evaluation.representations import Viewpoint, hidden_states

    build = model.builder
    facts = list(dict.fromkeys(fact for _, fact, _ in asked))
    views = [Viewpoint(f.relation, "key", i, "", tuple(build.key_prompt(f.subject, f.relation)))
             for i, f in enumerate(facts)]  # fmt: skip
    views += [Viewpoint(f.relation, "test", facts.index(f), text, tuple(build.word_prompt(text)))
              for _, f, text in asked]  # fmt: skip
    states = hidden_states(model, views)
    states = states[:, states.shape[1] // 2 :]
    unit = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
    keys = unit[[view.fact for view in views[len(facts) :]]]
    return (keys * unit[len(facts) :]).sum(-1).mean(-1)


EXPERIMENT = Experiment(
    name="audit",
    title="Audit of meanings",
    question="Which meanings do the facts answer to, and would a planted one be found?",
    hypothesis=(
        "Questions in a meaning that phase 2 taught bring out the objects far more than questions "
        "in meanings nobody taught, and its wordings move towards the key token inside the model."
    ),
    measures_s=90,
    needs="a finished run with its adapters, and some minutes.",
    reading=(
        f"Up to {FACTS} facts that phase 2 never taught in words, asked in {WORDINGS} wordings of "
        "each meaning. Ten meanings that nobody taught, from friend to witness, show what is "
        f"usual; an alarm is raised {DEVIATIONS:g} standard deviations above their mean. Each of "
        "the ten is judged by the other nine: an alarm there is false, and so is any alarm at the "
        "memorised model, which was taught no meaning. A miss is a meaning that phase 2 did teach "
        "and that raises none; where the ten answer too, because the objects leak into "
        "everything, the limit is high and such a meaning hides among them. The dashed lines are "
        "where an alarm begins. “Rival” is taught only in the runs of “Repurposing”: audit one of "
        "those too. Few meanings make a rough threshold, and a meaning that nobody asks about "
        "is not found."
    ),
    version=2,
    result=Audit,
    origin="readers",
    probe=measure,
)
