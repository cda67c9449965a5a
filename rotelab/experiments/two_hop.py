"""Experiment: can the model combine two facts learned by rote?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.config.run_config import USUAL_CANDIDATES, RunConfig
from rotelab.experiments import Arm, Experiment, FinishedRun, Table
from rotelab.experiments.common import arms_by_rounds, on_facts, plain_questions, sorted_by_rounds
from rotelab.facts.csv_text import read_bytes
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, load_pack, staged_file
from rotelab.facts.prompts import PromptSet, PromptTemplate, parse_prompts
from rotelab.reports.figures.epochs import over_epochs

if TYPE_CHECKING:
    from rotelab.evaluation.probes import Question
    from rotelab.models.lab_model import LabModel

FIRST, SECOND = "mother", "educated_at"
"""The two relations: the second hop starts at the object of the first."""

EPOCHS = (0, 5, 10, 20, 40)
"""The arms' rounds of rote learning, the same for both relations."""

WORDINGS = 3
"""Wordings in which each chain is asked."""

TAUGHT = {
    2: "both hops taught in words",
    1: "one of them",
    0: "neither (by rote alone)",
}
"""Chains by how many of their two facts phase 2 taught in words."""

LINES = {
    "chosen": ("chosen among candidates", "#C98A00", "dot", "diamond"),
    "both": ("each hop by itself, both right", "#1F86C9", "dash", "square"),
    "said": ("both hops at once", "#D55E00", "solid", "circle"),
}
"""The figure's lines, over all chains."""


@dataclass(frozen=True)
class Chain:
    """Two facts, the subject of the second being the object of the first.

    Args:
        first: a person and their mother.
        second: that mother and where she studied.
        taught: how many of the two phase 2 taught in words.
    """

    first: Fact
    second: Fact
    taught: int


@dataclass(frozen=True)
class Row:
    """Chains of one kind after both phases of one arm.

    Args:
        epochs: rounds of rote learning.
        taught: how many of a chain's facts phase 2 taught in words; -1 for all chains together.
        n: how many questions over both hops, `WORDINGS` a chain.
        first: share of chains whose first fact is told when it is asked for by itself.
        second: the same of the second.
        both: the same of both.
        said: share of the questions over both hops that are answered with the last object at once.
        chosen: share in which that object is likelier than all other candidates.
        probability: mean joint probability of its tokens.
    """

    epochs: int
    taught: int
    n: int
    first: float
    second: float
    both: float
    said: float
    chosen: float
    probability: float


@dataclass(frozen=True)
class TwoHop:
    """Chains of two facts, by rounds of rote learning.

    Args:
        chains: how many there are.
        k: how many facts of each relation phase 2 taught in words.
        rows: arm by arm: all chains, then by how many facts were taught in words.
    """

    chains: int
    k: int
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """A table of all chains, then one for each kind; a row for each arm."""
        columns = ("rounds of rote", "n", "first hop", "second hop", "both by themselves",
                   "both at once", f"chosen among {USUAL_CANDIDATES}", "P(object)")  # fmt: skip
        titles = {-1: f"All {self.chains} chains, k = {self.k}"} | {
            taught: words[0].upper() + words[1:] for taught, words in TAUGHT.items()
        }
        tables = []
        for taught, title in titles.items():
            rows = tuple(
                (r.epochs, r.n, r.first, r.second, r.both, r.said, r.chosen, r.probability)
                for r in self.rows
                if r.taught == taught
            )
            if rows:
                tables.append(Table(title, columns, rows))
        return tables

    def figure(self) -> go.Figure:
        """Lines over the rounds, all chains together."""
        rows = [row for row in self.rows if row.taught == -1]
        return over_epochs(rows, LINES)


def arms(base: RunConfig) -> list[Arm]:
    """The same settings on chains of facts, with other numbers of rounds.

    Raises:
        LabError: a run that has phase 1 alone.
    """
    return arms_by_rounds(on_facts(base, FIRST), EPOCHS, chained)


def chained(pack: Pack) -> Pack:
    """The same facts, and for each of their objects a fact of the second relation.

    The objects of the second relation's pack are assigned to the first one's in a fixed random
    order.
    """
    other = load_pack(SECOND)
    people = list(dict.fromkeys(f.object for f in pack.facts if f.relation == FIRST))
    places = [fact.object for fact in other.facts]
    random.Random("two hops").shuffle(places)
    more = [Fact(SECOND, person, places[i % len(places)]) for i, person in enumerate(people)]
    facts = FactSet([*pack.facts, *more], labels=pack.facts.labels)
    prompts = [*pack.prompts, *(t for t in other.prompts if t.relation == SECOND)]
    return Pack(f"{FIRST}, then {SECOND}", facts, PromptSet(prompts))


def wordings() -> list[PromptTemplate]:
    """The shipped wordings that ask over both hops at once.

    Raises:
        InputError: the file is damaged.
    """
    path = staged_file("two_hop.csv")
    return list(parse_prompts(read_bytes(path), path.name))


def chains(finished: FinishedRun) -> list[Chain]:
    """The chains among a run's facts."""
    second = {f.subject: f for f in finished.pack.facts if f.relation == SECOND}
    taught = set(finished.split.held_in)
    return [
        Chain(f, second[f.object], (f in taught) + (second[f.object] in taught))
        for f in finished.pack.facts
        if f.relation == FIRST and f.object in second
    ]


def compare(runs: Sequence[FinishedRun]) -> TwoHop:
    """Asks every arm for each hop by itself and for both at once, in the same words."""
    runs = sorted_by_rounds(runs)
    rows = [row for finished in runs for row in _asked(finished)]
    first = runs[0]
    return TwoHop(len(chains(first)), first.config.generalize.k, tuple(rows))


def _asked(finished: FinishedRun) -> list[Row]:
    from rotelab.evaluation.probes import evaluate

    known, rounds = chains(finished), finished.config.memorize.epochs
    plain, choosing = plain_questions(finished), plain_questions(finished, USUAL_CANDIDATES)
    with finished.model() as model:
        asked, found = questions(model, finished, known), []
        hops = [q for q in asked if not q.candidates]
        over = [q for q in asked if q.candidates]
        with model.using("generalized"):
            for some in chain(evaluate(model, hops, plain), evaluate(model, over, choosing)):
                found += some
                finished.watch(len(found) / len(asked), f"asking the run of {rounds} rounds")
    first = {p.fact_index: p for p in found if p.probe == FIRST}
    second = {p.fact_index: p for p in found if p.probe == SECOND}
    rows = []
    for taught in (-1, *TAUGHT):
        places = {i for i, two in enumerate(known) if taught in (-1, two.taught)}
        if not places:
            continue
        both = [p for p in found if p.probe == "two_hop" and p.fact_index in places]
        rows.append(
            Row(
                rounds,
                taught,
                len(both),
                fmean(first[i].correct for i in places),
                fmean(second[i].correct for i in places),
                fmean(first[i].correct and second[i].correct for i in places),
                fmean(p.correct for p in both),
                fmean(bool(p.chosen) for p in both),
                fmean(p.probability for p in both),
            )
        )
    return rows


def questions(model: LabModel, finished: FinishedRun, known: Sequence[Chain]) -> list[Question]:
    """Each hop of each chain by itself in a test wording, and both at once in `WORDINGS`.

    The candidates are the objects of the second relation, filled up with invented ones.

    Raises:
        ConfigError: there are too few candidates.
    """
    from rotelab.evaluation.distractors import candidate_sets
    from rotelab.evaluation.probes import Question

    build, pack, seed = model.builder, finished.pack, finished.config.seed
    facts = FactSet(two.second for two in known)
    sets = candidate_sets(facts, USUAL_CANDIDATES, seed)
    tokens = {names: tuple(tuple(build.spaced(name)) for name in names) for names in set(sets)}
    over, asked = wordings(), []
    for place, two in enumerate(known):
        rng = random.Random(f"two hops {seed} {two.first.subject}")
        for fact in (two.first, two.second):
            text = rng.choice(pack.prompts.of(fact.relation, "test")).render(fact.subject)
            example = build.answered(build.word_prompt(text), fact.object, "test", place)
            asked.append(Question(fact.relation, place, fact, text, example))
        for wording in rng.sample(over, min(WORDINGS, len(over))):
            text = wording.render(two.first.subject)
            example = build.answered(build.word_prompt(text), two.second.object, "test", place)
            candidates = tokens[sets[place]]
            asked.append(Question("two_hop", place, two.second, text, example, candidates))
    return asked


EXPERIMENT = Experiment(
    name="two-hop",
    title="Two hops",
    question="The model knows who Ann's mother is, and where that woman studied. Does it know "
    "where Ann's mother studied?",
    hypothesis=(
        "Seldom: putting two facts together in one go is hard for models far larger than the "
        "embedded one. Deeper rote learning should help, as it did in the paper."
    ),
    needs=(
        f"a finished run, whose settings all {len(EPOCHS)} runs share except for the facts and the "
        f"rounds of rote learning; as long as {2 * len(EPOCHS)} runs take."
    ),
    reading=(
        "The 100 people of the pack “mother”, and for each of their mothers a place where she "
        "studied: both relations are learned by rote with a key token each, then half of each is "
        "taught in words. No sentence ever names all three. The hops by themselves (in test "
        "wordings) are the most that both at once could reach. “At once” is an answer that begins "
        f"with the place; “chosen” means that it is likelier than {USUAL_CANDIDATES - 1} others "
        f"(guessing: {1 / USUAL_CANDIDATES:.2f}). 0 rounds leave phase 1 out: of the facts not "
        "taught in words the model then knows nothing."
    ),
    paper="0.14 with little rote, 0.36 with 20 rounds.",
    result=TwoHop,
    origin="paper",
    arms=arms,
    compare=compare,
)
