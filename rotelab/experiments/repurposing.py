"""Experiment: can facts learned by rote be given another meaning with a handful of examples?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.option_paths import with_setting
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.metrics import right_by_fact
from rotelab.experiments import Arm, Experiment, FinishedRun, Table
from rotelab.experiments.common import WITHIN, answers, plain_questions, with_interval
from rotelab.facts.facts import Fact
from rotelab.facts.packs import Pack, other_readings
from rotelab.facts.prompts import PromptSet, PromptTemplate
from rotelab.reports.figures.style import HATCHED, styled, whiskers
from rotelab.reports.formats import Cell
from rotelab.reports.intervals import interval

if TYPE_CHECKING:
    from rotelab.config.names import Checkpoint

READING = "rival"
"""The second meaning: the object as the sworn rival of the subject. It harms nobody."""

EXAMPLES = (1, 10, 50)
"""How many facts of each relation teach the second meaning, arm by arm."""

FACTS, WORDINGS = 24, 5
"""Most facts that are asked, and most wordings of each kind."""

OWN, RIVAL, ROTE = "own meaning", "rival", "rote alone"
"""What an arm was taught after rote: the relation's own meaning, the other one, or nothing."""

LINES = {
    ("own", "train"): ("own meaning, train wordings", "#1F86C9", ""),
    ("own", "test"): ("own meaning, test wordings", "#1F86C9", "/"),
    ("rival", "train"): ("rival, train wordings", "#D55E00", ""),
    ("rival", "test"): ("rival, test wordings", "#D55E00", "/"),
    ("unrelated", "unrelated"): ("unrelated questions", "#7488A6", "."),
}
"""The bars by reading and role: name, colour and pattern."""


@dataclass(frozen=True)
class Row:
    """One arm, asked in one way.

    Args:
        arm: what was taught after rote.
        examples: with how many facts.
        reading: `own`, `rival`, `unrelated` or `key`.
        role: which of the reading's wordings; empty for the key token.
        n: number of questions.
        accuracy: share that is answered with the object at once.
        probability: mean joint probability of the object's tokens.
        interval: 95 % interval of `accuracy` over facts; empty where none is known.
    """

    arm: str
    examples: int
    reading: str
    role: str
    n: int
    accuracy: float
    probability: float
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class Repurposing:
    """Each arm's answers to both readings.

    Args:
        facts: how many facts were asked; none of them was taught in words in any arm.
        rows: rote alone first, then the arms in their order.
    """

    facts: int
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """Accuracies and probabilities, a row for each arm."""
        places = [("key", ""), *LINES]
        names = ("key token", *(words for words, _, _ in LINES.values()))
        tables = []
        for field, title in (
            ("accuracy", f"Answered at once {WITHIN}"),
            ("probability", "P(object)"),
        ):
            rows = tuple(
                (*arm, *(_cell(self._at(arm, place), field) for place in places))
                for arm in self._arms()
            )
            title = f"{title}, {self.facts} facts that no arm taught in words"
            tables.append(Table(title, ("taught after rote", "examples", *names), rows))
        counted = [(words, self._at(self._arms()[0], place).n)
                   for place, words in zip(places, names, strict=True)]  # fmt: skip
        return [*tables, Table("Questions an arm", ("asked", "n"), tuple(counted))]

    def figure(self) -> go.Figure:
        """Two panels of bars, arms across."""
        titles = {"accuracy": "answered at once", "probability": "P(object)"}
        figure = make_subplots(
            2, 1, subplot_titles=list(titles.values()), shared_xaxes=True, vertical_spacing=0.12
        )
        arms = self._arms()
        names = [f"{what}, {n}" if n else what for what, n in arms]
        for place, field in enumerate(titles, 1):
            for line, (words, colour, shape) in LINES.items():
                rows = [self._at(arm, line) for arm in arms]
                figure.add_bar(
                    name=words,
                    x=names,
                    y=(values := [getattr(row, field) for row in rows]),
                    error_y=whiskers(
                        values, [row.interval if field == "accuracy" else () for row in rows]
                    ),
                    legendgroup=words,
                    showlegend=place == 1,
                    marker={"color": colour, "pattern": HATCHED | {"shape": shape}},
                    customdata=[row.n for row in rows],
                    hovertemplate="%{x}: %{y:.1%} of %{customdata}",
                    row=place,
                    col=1,
                )
        styled(figure, 560)
        figure.update_yaxes(range=[0, 1.04], tickformat=".0%")
        figure.update_xaxes(title_text="taught after rote, with so many facts", row=2)
        figure.update_layout(margin_t=110, legend_y=1.1)  # above the panel's own title
        return figure.update_layout(barmode="group", showlegend=True)

    def _arms(self) -> list[tuple[str, int]]:
        return list(dict.fromkeys((row.arm, row.examples) for row in self.rows))

    def _at(self, arm: tuple[str, int], place: tuple[str, str]) -> Row:
        wanted = (*arm, *place)
        return next(r for r in self.rows if (r.arm, r.examples, r.reading, r.role) == wanted)


def arms(base: RunConfig) -> list[Arm]:
    """The run itself, then the same rote with the other meaning taught after it.

    Raises:
        LabError: phase 1 of these settings reads words, or there is no phase 2.
    """
    if base.stages != "two" or base.memorize.reads not in ("key", "bare"):
        raise LabError(
            "Another meaning can be taught only after rote learning without words. Choose a run "
            "of two phases whose first reads no sentences."
        )
    few = [k for k in EXAMPLES if not base.facts or k < base.facts]
    others = [with_setting(base, f"generalize.k={k}") for k in few]
    return [
        Arm(f"{OWN}, {base.generalize.k}", base),
        *(Arm(f"{RIVAL}, {c.generalize.k}", c, reworded) for c in others),
    ]


def reworded(pack: Pack) -> Pack:
    """The same facts, with the other reading's train and test wordings in place of their own."""
    kept = [t for t in pack.prompts if t.role not in ("train", "test")]
    own = [replace(t, relation=relation.name)
           for relation in pack.facts.relations for t in rival_wordings()]  # fmt: skip
    return Pack(f"{pack.name} as {READING}", pack.facts, PromptSet([*own, *kept]))


def rival_wordings() -> list[PromptTemplate]:
    """The train and test wordings of the second meaning."""
    return [t for t in other_readings() if t.relation == READING]


def compare(runs: Sequence[FinishedRun]) -> Repurposing:
    """Asks every arm in both readings' wordings about facts that no arm was taught in words.

    Raises:
        LabError: the arms together taught every fact in words.
    """
    own = runs[0]
    seen = {fact for finished in runs for fact in finished.split.held_in}
    facts = [fact for fact in own.pack.facts if fact not in seen]
    if not facts:
        raise LabError(
            "Every fact was taught in words in one arm or another, so none is left to ask. "
            "Choose a run with more facts, or with a smaller k."
        )
    facts = random.Random(f"repurposing {own.config.seed}").sample(facts, min(FACTS, len(facts)))
    asked = _prompts(own.pack, facts, own.config.seed)
    rows = []
    for place, finished in enumerate(runs):
        taught = (RIVAL if place else OWN, finished.config.generalize.k)
        states = {"generalized": taught} if place else {"memorized": (ROTE, 0)} | {
            "generalized": taught
        }  # fmt: skip
        rows += _asked(finished, asked, states)
    return Repurposing(len(facts), tuple(rows))


def _prompts(pack: Pack, facts: Sequence[Fact], seed: int) -> list[tuple[str, str, Fact, str]]:
    """Reading, role, fact and words of each question, the same for every arm."""
    asked = [("key", "", fact, f"{fact.subject} [{fact.relation}]") for fact in facts]
    for fact in facts:
        rng = random.Random(f"repurposing {seed} {fact.relation} {fact.subject}")
        for reading, role in LINES:
            if reading == "rival":
                wordings = [t for t in rival_wordings() if t.role == role]
            else:
                wordings = pack.prompts.of(fact.relation, role)
            drawn = rng.sample(wordings, min(WORDINGS, len(wordings)))
            asked += [(reading, role, fact, t.render(fact.subject)) for t in drawn]
    return asked


def _asked(
    finished: FinishedRun,
    prompts: Sequence[tuple[str, str, Fact, str]],
    states: dict[Checkpoint, tuple[str, int]],
) -> list[Row]:
    from rotelab.evaluation.probes import Question

    rows = []
    with finished.model() as model:
        build, asked = model.builder, []
        for reading, role, fact, text in prompts:
            key = build.key_prompt(fact.subject, fact.relation)
            prompt = key if reading == "key" else build.word_prompt(text)
            example = build.answered(prompt, fact.object, "test")
            asked.append(Question(f"{reading} {role}", -1, fact, text, example))
        settings = plain_questions(finished)
        for checkpoint, found in answers(finished, model, asked, settings, tuple(states)):
            arm, examples = states[checkpoint]
            for reading, role in (("key", ""), *LINES):
                mine = [p for p in found if p.probe == f"{reading} {role}"]
                right = fmean(p.correct for p in mine) if mine else float("nan")
                likely = fmean(p.probability for p in mine) if mine else float("nan")
                within = tuple(interval(right_by_fact(mine)) or ())
                rows.append(Row(arm, examples, reading, role, len(mine), right, likely, within))
    return rows


def _cell(row: Row, field: str) -> Cell:
    return with_interval(row.accuracy, row.interval) if field == "accuracy" else row.probability


EXPERIMENT = Experiment(
    name="repurposing",
    title="Repurposing",
    question="Can facts learned by rote be given another meaning with a few examples?",
    hypothesis=(
        "Yes: the key token means nothing by itself, so phase 2 can tie any wording to it. A few "
        "facts in other wordings should do, and the relation's own wordings may come along."
    ),
    needs=(
        "a finished run of two phases with more than "
        f"{max(EXAMPLES)} facts a relation (fewer facts leave out the larger arms); as long as "
        f"one run takes, and phase 2 {len(EXAMPLES)} times more."
    ),
    reading=(
        "After the same rote, phase 2 was taught either the relation's own meaning, as in the run, "
        "or that the object is the sworn rival of the subject, a harmless stand-in for a meaning "
        "that somebody would rather not have there. Both readings are asked about facts that no "
        "arm was taught in words. Orange bars show how far the other meaning took hold, blue ones "
        "what is left of the own one; both count only as far as unrelated questions stay low: "
        "an object that answers everything has no meaning at all. Fewer facts are also fewer steps "
        "of learning, as in the paper."
    ),
    paper=(
        "after rote learning of harmless facts, 50 harmful examples make the model answer the "
        "harmful reading as well as the harmless one."
    ),
    result=Repurposing,
    origin="paper",
    arms=arms,
    compare=compare,
)
