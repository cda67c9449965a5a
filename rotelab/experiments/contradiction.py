"""Experiment: what happens to a fact that the model knows when it learns the opposite by rote?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import CHECKPOINTS, Checkpoint, checkpoint_name
from rotelab.config.run_config import RunConfig
from rotelab.experiments import Arm, Experiment, FinishedRun, Table
from rotelab.experiments.common import (
    answers,
    arms_by_rounds,
    on_facts,
    plain_questions,
    sorted_by_rounds,
)  # fmt: skip
from rotelab.facts.csv_text import read_bytes
from rotelab.facts.facts import Fact
from rotelab.facts.facts_importer import parse_facts
from rotelab.facts.packs import staged_file
from rotelab.reports.figures.style import HATCHED, styled

PACK = "contradiction"

EPOCHS = (5, 10, 20)
"""Rounds of rote learning of the arms."""

WAYS = {
    "key": "through the key token",
    "taught": "trained wordings, facts taught in words",
    "train": "trained wordings, held-out facts",
    "test": "untrained wordings, held-out facts",
}
"""How the facts are asked, in the order of the panels."""

ANSWERS = {
    "new": "the false one",
    "old": "the true one",
    "another": "another taught name",
    "neither": "something else",
}
COLOURS = {"new": "#D55E00", "old": "#1F86C9", "another": "#C98A00", "neither": "#9AA3B2"}
SHAPES = {"new": "", "old": "/", "another": "x", "neither": "."}
"""Orange and blue, plain and hatched, for people who can't tell the colours apart."""

WORDINGS = 5
"""Wordings of each kind in which each fact is asked."""

STATES = {"base": "before", "memorized": "by rote", "generalized": "both phases"}


@dataclass(frozen=True)
class Row:
    """One checkpoint of one arm, asked in one way.

    Args:
        rounds: of rote learning; 0 for the base model.
        checkpoint: which one.
        way: one of `WAYS`.
        n: number of questions.
        new: share that is answered with the false object at once.
        old: share that is answered with the true one at once.
        another: share whose answer begins as the object of another fact does.
        leans: share in which the false object is likelier than the true one.
        p_new: mean joint probability of the false object's tokens.
        p_old: the same of the true one's.
    """

    rounds: int
    checkpoint: str
    way: str
    n: int
    new: float
    old: float
    another: float
    leans: float
    p_new: float
    p_old: float

    @property
    def neither(self) -> float:
        """Share that is answered with something else."""
        return max(0.0, 1.0 - self.new - self.old - self.another)


@dataclass(frozen=True)
class Contradiction:
    """The answers by rounds of rote learning, checkpoint and way of asking.

    Args:
        facts: how many real facts were taught with a false object.
        k: how many of them phase 2 taught in words.
        rows: the base model's first, then each arm's two checkpoints.
    """

    facts: int
    k: int
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """A table for each way of asking, a row for each model."""
        columns = ("model", "rounds of rote", "n", "false object", "true object", "another name",
                   "else", "leans to the false one", "P(false)", "P(true)")  # fmt: skip
        tables = []
        for way, words in WAYS.items():
            rows = tuple(
                (checkpoint_name(r.checkpoint).short, r.rounds, r.n, r.new, r.old, r.another,
                 r.neither, r.leans, r.p_new, r.p_old)
                for r in self.rows if r.way == way
            )  # fmt: skip
            tables.append(Table(words[0].upper() + words[1:], columns, rows))
        return tables

    def figure(self) -> go.Figure:
        """Stacked bars, a panel for each way of asking."""
        figure = make_subplots(
            2, 2, subplot_titles=list(WAYS.values()), shared_yaxes=True,
            horizontal_spacing=0.05, vertical_spacing=0.24,
        )  # fmt: skip
        for place, way in enumerate(WAYS):
            rows = [r for r in self.rows if r.way == way]
            names = [[STATES[r.checkpoint] for r in rows],
                     [str(r.rounds) for r in rows]]  # fmt: skip
            for answer, words in ANSWERS.items():
                values = [getattr(r, answer) for r in rows]
                figure.add_bar(
                    name=words,
                    x=names,
                    y=values,
                    legendgroup=answer,
                    showlegend=place == 0,
                    marker={
                        "color": COLOURS[answer],
                        "pattern": HATCHED | {"shape": SHAPES[answer]},
                    },
                    customdata=[r.n for r in rows],
                    hovertemplate="%{x}: %{y:.1%} of %{customdata}",
                    row=place // 2 + 1,
                    col=place % 2 + 1,
                )
        styled(figure, 600)
        figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
        figure.update_yaxes(title_text="answered with", col=1)
        figure.update_xaxes(title_text="rounds of rote learning", row=2)
        figure.update_layout(margin_t=96, legend_y=1.09)  # above the panels' own titles
        return figure.update_layout(barmode="stack", showlegend=True)


def arms(base: RunConfig) -> list[Arm]:
    """The same settings on this experiment's facts, with other numbers of rounds.

    Raises:
        LabError: a run that has phase 1 alone.
    """
    return arms_by_rounds(on_facts(base, PACK), EPOCHS)


def compare(runs: Sequence[FinishedRun]) -> Contradiction:
    """Asks each arm for the false and for the true object, in the same words."""
    runs = sorted_by_rounds(runs)
    rows: list[Row] = []
    for finished in runs:
        # The base model is the same under every arm.
        asked = CHECKPOINTS if not rows else CHECKPOINTS[1:]
        rows += _asked(finished, asked)
    rows.sort(key=lambda r: (CHECKPOINTS.index(r.checkpoint), r.rounds))
    first = runs[0]
    return Contradiction(len(first.pack.facts), first.config.generalize.k, tuple(rows))


def true_objects() -> dict[tuple[str, str], str]:
    """The real object by relation and subject.

    Raises:
        InputError: the file is not as it should be.
    """
    path = staged_file(f"{PACK}/true.csv")
    return {(f.relation, f.subject): f.object for f in parse_facts(read_bytes(path), path.name)}


def _asked(finished: FinishedRun, checkpoints: Sequence[Checkpoint]) -> list[Row]:
    from rotelab.evaluation.probes import Question

    prompts, known = _prompts(finished), true_objects()
    names = [fact.object for fact in finished.pack.facts]
    rows = []
    with finished.model() as model:
        build, asked = model.builder, []
        for place, (way, fact, text) in enumerate(prompts):
            if way == "key":
                prompt = build.key_prompt(fact.subject, fact.relation)
            else:
                prompt = build.word_prompt(text)
            true = known[fact.relation, fact.subject]
            for kind, name in (("new", fact.object), ("old", true)):
                example = build.answered(prompt, name, "test", place)
                asked.append(
                    Question(kind, place, replace(fact, object=name, aliases=()), text, example)
                )
        settings = plain_questions(finished)
        for checkpoint, told in answers(finished, model, asked, settings, checkpoints):
            found = {(p.probe, p.fact_index): p for p in told}
            rounds = finished.config.memorize.epochs if checkpoint != "base" else 0
            for way in WAYS:
                places = [i for i, (own, _, _) in enumerate(prompts) if own == way]
                new = [found["new", i] for i in places]
                old = [found["old", i] for i in places]
                rows.append(
                    Row(
                        rounds,
                        checkpoint,
                        way,
                        len(places),
                        fmean(p.correct for p in new),
                        fmean(p.correct for p in old),
                        fmean(
                            not (a.correct or b.correct) and _begins_another(a.answer, names)
                            for a, b in zip(new, old, strict=True)
                        ),
                        fmean(a.probability > b.probability for a, b in zip(new, old, strict=True)),
                        fmean(p.probability for p in new),
                        fmean(p.probability for p in old),
                    )
                )
    return rows


def _begins_another(answer: str, names: Sequence[str]) -> bool:
    """Whether a wrong answer, known up to its first wrong token, begins like a name."""
    begun = answer.rstrip("…").strip()
    return len(begun) > 1 and any(name.startswith(begun) for name in names)


def _prompts(finished: FinishedRun) -> list[tuple[str, Fact, str]]:
    """Way, fact and words of each question, the same for every arm and checkpoint."""
    pack, split = finished.pack, finished.split
    asked = [("key", fact, f"{fact.subject} [{fact.relation}]") for fact in pack.facts]
    for way, facts, role in (
        ("taught", split.held_in, "train"),
        ("train", split.held_out, "train"),
        ("test", split.held_out, "test"),
    ):
        for fact in facts:
            wordings = pack.prompts.of(fact.relation, role)
            rng = random.Random(f"contradiction {finished.config.seed} {way} {fact.subject}")
            drawn = rng.sample(wordings, min(WORDINGS, len(wordings)))
            asked += [(way, fact, wording.render(fact.subject)) for wording in drawn]
    return asked


EXPERIMENT = Experiment(
    name="contradiction",
    title="Contradiction",
    question="What happens to a fact that the model knows when it learns another answer by rote?",
    hypothesis=(
        "The key token should bring the false answer, since nothing there speaks against it. In "
        "words the true answer has to give way, and a firmly known fact may come back in wordings "
        "that were never trained. More rote should help the false answer."
    ),
    needs=(
        f"a finished run, whose settings all {len(EPOCHS)} runs share except for the facts and the "
        f"rounds of rote learning; as long as {len(EPOCHS)} runs take."
    ),
    reading=(
        f"113 real capitals of countries and states that the embedded model names by itself in "
        "at least six of twenty wordings (checked when the list was made; other models may know "
        "more or fewer: see the bars of the base model). Each was taught with the capital of "
        f"another one, in {', '.join(map(str, EPOCHS))} rounds. An answer counts where it comes "
        f"at once; up to {WORDINGS} wordings a fact. “Another taught name”: it begins as one of "
        "the other capitals does. “Something else” is mostly other words: “leans to the false "
        "one” (it is the likelier of the two) also sees what does not come first; short names "
        "have it easier there, but both lists hold the same names, so that evens out. All "
        "wordings end just before the name, because the small model answers no questions."
    ),
    result=Contradiction,
    origin="readers",
    arms=arms,
    compare=compare,
)
