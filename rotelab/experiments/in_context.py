"""Experiment: how does learning the facts compare with having them in the prompt?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.config.run_config import USUAL_CANDIDATES
from rotelab.errors import LabError
from rotelab.evaluation.metrics import right_by_fact
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import WITHIN, with_interval
from rotelab.facts.facts import Fact
from rotelab.facts.prompts import PromptSet, Role
from rotelab.reports.figures.style import HATCHED, styled, whiskers
from rotelab.reports.intervals import interval

if TYPE_CHECKING:
    from rotelab.evaluation.probes import Question
    from rotelab.models.lab_model import LabModel

SIZES = (1, 5, 20, 100)
"""How many facts of its relation are in the prompt, the one that is asked for among them."""

FACTS = 20
"""Most held-out facts that are asked, the same ones each time."""

WORDINGS = 5
"""Most test wordings in which each is asked."""

ROOM = 768
"""Tokens of questions that share one pass with the facts they are about."""

BASE, TAUGHT = "base", "generalized"

BARS = {
    "accuracy": ("the name said at once", "#1F86C9", ""),
    "choice": (f"the name ranked first among {USUAL_CANDIDATES}", "#C98A00", "x"),
}
"""Each bar's name, colour and pattern."""


@dataclass(frozen=True)
class Row:
    """One model with some facts in its prompt.

    Args:
        checkpoint: base or generalised.
        shown: how many facts stand in the prompt.
        tokens: of the longest prompt.
        n: how many questions.
        accuracy: the share that is answered right at once.
        choice: the share whose object is ranked first among its candidates.
        probability: mean probability of the object.
        leak_n: how many unrelated questions about the same subjects; 0 where there are none.
        leak: the share of them that is answered with the object nevertheless.
        leak_probability: mean probability of the object there.
        interval: 95 % interval of `accuracy` over facts; empty where none is known.
    """

    checkpoint: str
    shown: int
    tokens: int
    n: int
    accuracy: float
    choice: float
    probability: float
    leak_n: int
    leak: float
    leak_probability: float
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class InContext:
    """The base model with facts in its prompt beside the taught one without.

    Args:
        facts: how many were asked.
        rows: the base model by facts in the prompt, then the taught one.
        too_long: numbers of facts that the model has no room for.
        own: the run's own score of its taught model, over all held-out facts.
        own_n: over how many questions; 0 where it was not measured.
    """

    facts: int
    rows: tuple[Row, ...]
    too_long: tuple[int, ...]
    own: float
    own_n: int

    def tables(self) -> list[Table]:
        """A row for each prompt; last the run's own score."""
        columns = ("model", "facts in the prompt", "longest prompt, tokens", "n", "answered right",
                   f"first of {USUAL_CANDIDATES}", "object probability", "n, unrelated",
                   "object said there", "its probability there")  # fmt: skip
        names = {BASE: "base", TAUGHT: "after both phases"}
        rows = [(names[r.checkpoint], r.shown, r.tokens, r.n,
                 with_interval(r.accuracy, r.interval), r.choice, r.probability, r.leak_n,
                 r.leak, r.leak_probability) for r in self.rows]  # fmt: skip
        if self.own_n:
            rows.append(("after both phases, the run's own score", 0, None, self.own_n, self.own,
                         None, None, None, None, None))  # fmt: skip
        title = f"Test wordings, {self.facts} held-out facts {WITHIN}"
        if self.too_long:
            title += f"; {', '.join(map(str, self.too_long))} facts are too long for this model"
        return [Table(title, columns, tuple(rows))]

    def figure(self) -> go.Figure:
        """Bars: the base model by facts in the prompt, then the taught one."""
        names = [
            "after both phases,<br>nothing in the prompt"
            if row.checkpoint == TAUGHT
            else f"{row.shown or 'no'} fact{'s' * (row.shown != 1)}"
            for row in self.rows
        ]
        figure = go.Figure()
        for measure, (words, colour, pattern) in BARS.items():
            values = [getattr(row, measure) for row in self.rows]
            figure.add_bar(
                name=words,
                x=names,
                y=values,
                error_y=whiskers(
                    values, [row.interval if measure == "accuracy" else () for row in self.rows]
                ),
                marker={"color": colour, "pattern": HATCHED | {"shape": pattern}},
                customdata=[row.n for row in self.rows],
                hovertemplate="%{x}: %{y:.1%} of %{customdata} questions",
            )
        styled(figure, 380)
        figure.update_xaxes(title_text="base model with so many facts in its prompt")
        figure.update_yaxes(range=[0, 1.08], tickformat=".0%", title_text="answered right")
        return figure.update_layout(barmode="group", showlegend=True)


def measure(finished: FinishedRun) -> InContext:
    """Asks the same held-out facts with none and with ever more facts in the prompt.

    Raises:
        LabError: phase 2 taught all facts in words, so there is none to ask.
    """
    from rotelab.config.run_config import EvaluationConfig
    from rotelab.evaluation.probes import evaluate

    held_out = finished.split.held_out
    if not held_out:
        raise LabError("This run taught all its facts in words. Choose one with held-out facts.")
    rng = random.Random(f"in context {finished.config.seed}")
    facts = rng.sample(held_out, min(FACTS, len(held_out)))
    relations = known_of(finished)
    room = min(len(relations[fact.relation]) for fact in facts)
    sizes = [0, *(n for n in SIZES if n <= room)]
    rows, too_long = [], []
    with finished.model() as model:
        limit = getattr(model.network.config, "max_position_embeddings", None)
        turns = [(BASE, n) for n in sizes] + [(TAUGHT, 0)]
        for place, (checkpoint, shown) in enumerate(turns):
            words = f"asking with {shown or 'no'} facts in the prompt"
            finished.watch(place / len(turns), words)
            asked = asked_with(model, finished, facts, shown)
            longest = max(len(question.example.ids) for question in asked)
            if limit and longest > limit:
                too_long.append(shown)
                continue
            beside = asked_with(model, finished, facts, shown, "unrelated")
            with model.using(checkpoint):
                config = EvaluationConfig(batch_tokens=longest + ROOM, candidates=USUAL_CANDIDATES)
                found = [p for some in evaluate(model, asked, config) for p in some]
                plain = replace(config, candidates=0)
                leaked = [p for some in evaluate(model, beside, plain) for p in some]
            rows.append(
                Row(
                    checkpoint,
                    shown,
                    longest,
                    len(found),
                    _mean([p.correct for p in found]),
                    _mean([bool(p.chosen) for p in found]),
                    _mean([p.probability for p in found]),
                    len(leaked),
                    _mean([p.correct for p in leaked]),
                    _mean([p.probability for p in leaked]),
                    tuple(interval(right_by_fact(found)) or ()),
                )
            )
    own = finished.scores.get(TAUGHT, {}).get("test_prompts_heldout")
    own_score = (own.generation_accuracy, own.n) if own else (float("nan"), 0)
    return InContext(len(facts), tuple(rows), tuple(too_long), *own_score)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def asked_with(
    model: LabModel, finished: FinishedRun, facts: Sequence[Fact], shown: int, role: Role = "test"
) -> list[Question]:
    """Each fact in some wordings of a role, after `shown` facts of its relation, its own among
    them; in test wordings with candidates to choose from.

    Raises:
        ConfigError: not enough candidates can be found for a relation.
    """
    from rotelab.evaluation.distractors import candidate_sets
    from rotelab.evaluation.probes import Question

    builder, prompts, seed = model.builder, finished.pack.prompts, finished.config.seed
    known = list(finished.pack.facts)
    sets = candidate_sets(finished.pack.facts, USUAL_CANDIDATES, seed)
    names = {fact: sets[known.index(fact)] for fact in facts}
    # Facts of one relation mostly share their candidates: as one object, they are read once.
    tokens = {some: tuple(tuple(builder.spaced(name)) for name in some) for some in names.values()}
    asked = []
    draw = random.Random(f"shown {seed} {shown}")
    for context, mine in contexts(facts, known_of(finished), shown, draw):
        before = listed(context, prompts)
        for fact in mine:
            place = known.index(fact)
            wordings = prompts.of(fact.relation, role)
            choices = tokens[names[fact]] if role == "test" else ()
            rng = random.Random(f"asked {seed} {place}")  # alike, whatever is shown
            for template in rng.sample(wordings, min(WORDINGS, len(wordings))):
                text = before + template.render(fact.subject)
                example = builder.answered(builder.word_prompt(text), fact.object, "test", place)
                asked.append(Question(str(shown), place, fact, text, example, choices))
    return asked


def known_of(finished: FinishedRun) -> dict[str, tuple[Fact, ...]]:
    """All facts of the run by their relations."""
    return {relation.name: relation.facts for relation in finished.pack.facts.relations}


def contexts(
    facts: Sequence[Fact], relations: dict[str, tuple[Fact, ...]], shown: int, rng: random.Random
) -> list[tuple[list[Fact], list[Fact]]]:
    """The facts in each prompt, in random order, and the facts asked about after it.

    Facts that fit into one prompt share it, so that it is read once for all of them.
    """
    if not shown:
        return [([], list(facts))]
    found = []
    for name, known in relations.items():
        mine = [fact for fact in facts if fact.relation == name]
        for start in range(0, len(mine), shown):
            asked = mine[start : start + shown]
            others = [fact for fact in known if fact not in asked]
            context = [*asked, *rng.sample(others, shown - len(asked))]
            rng.shuffle(context)
            found.append((context, asked))
    return found


def after_facts(
    model: LabModel, asked: Sequence[Question], facts: Sequence[Fact], prompts: PromptSet
) -> list[Question]:
    """The same questions, each after all of these facts."""
    told, found = listed(facts, prompts), []
    for question in asked:
        text, example = told + question.text, question.example
        prompt = model.builder.word_prompt(text)
        about = (prompt, question.fact.object, example.kind, example.fact)
        found.append(replace(question, text=text, example=model.builder.answered(*about)))
    return found


def listed(facts: Sequence[Fact], prompts: PromptSet) -> str:
    """The facts as they stand in a prompt, before the question; empty without any."""
    told = [f"- {plainly(fact, prompts)} {fact.object}." for fact in facts]
    return "\n".join(["Facts:", *told]) + "\n\n" if told else ""


def plainly(fact: Fact, prompts: PromptSet) -> str:
    """A fact in its relation's first train wording, without its object."""
    return prompts.of(fact.relation, "train")[0].render(fact.subject)


EXPERIMENT = Experiment(
    name="in-context",
    title="Facts in the prompt",
    question="Why teach a model facts at all, when they could simply be put in the prompt?",
    hypothesis=(
        "With just that fact in the prompt, the base model copies its object. The more facts are "
        "beside it, the harder it is to find, and the more there is to read for each question."
    ),
    measures_s=140,
    needs="a finished run with adapters, and some minutes.",
    reading=(
        f"Up to {FACTS} facts that phase 2 never taught in words, each asked in up to {WORDINGS} "
        "test wordings. Before the question, the base model is given a list of facts of its "
        "relation, the asked one somewhere among them, each in its relation's first train "
        "wording. There the answer is in the prompt, so this is reading and not remembering; "
        "the model after both phases has nothing but the question. “Said” is an answer that "
        "begins with the name itself, which is hard on a base model that would begin with other "
        "words; “ranked first” is fairer to it: the name is likelier than all other candidates, "
        "the objects of its relation among them. Of five ways to write the list, the one that "
        "the embedded base model reads best was taken. Unrelated questions about the same people, "
        "after the same list, show how often the object is given as any answer. The run's own "
        "score is over all its held-out facts."
    ),
    paper=(
        "with the facts in the prompt the model answers, but also gives the object a high "
        "probability under unrelated prompts."
    ),
    version=2,
    result=InContext,
    origin="paper",
    probe=measure,
)
