"""Experiment: does a model that learned facts from subject to object know them the other way?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.config.names import CHECKPOINTS, Checkpoint, checkpoint_name
from rotelab.config.run_config import USUAL_CANDIDATES, EvaluationConfig, RunConfig
from rotelab.errors import LabError
from rotelab.experiments import Arm, Experiment, FinishedRun, Table
from rotelab.experiments.common import answers, arms_by_rounds, sorted_by_rounds
from rotelab.facts.csv_text import parse_table, read_bytes
from rotelab.facts.facts import Fact
from rotelab.facts.packs import Pack, staged_file
from rotelab.reports.figures.epochs import over_epochs

if TYPE_CHECKING:
    from rotelab.evaluation.probes import Question
    from rotelab.evaluation.results import Prediction
    from rotelab.models.lab_model import LabModel

SLOT = "{object}"

FACTS = 20
"""Most held-out facts whose objects are asked."""

EPOCHS = (0, 5, 10, 20, 40)
"""The arms' rounds of rote learning; 0 leaves phase 1 out, so that sentences alone are learned."""

LINES = {
    "forward": ("subject to object, as taught", "#1F86C9", "solid", "circle"),
    "strict": ("object to subject, said", "#D55E00", "dash", "diamond"),
    "choice": ("object to subject, chosen among candidates", "#C98A00", "dot", "square"),
}
"""The figure's lines."""


@dataclass(frozen=True)
class Row:
    """One checkpoint of one arm.

    Args:
        epochs: rounds of rote learning of the arm.
        checkpoint: which one.
        n: how many reversed questions.
        strict: the share answered with a right subject at once.
        choice: the share where a right subject is likelier than every wrong one.
        probability: mean probability of the right subjects together.
        forward: the run's own score in the direction that was taught.
    """

    epochs: int
    checkpoint: str
    n: int
    strict: float
    choice: float
    probability: float
    forward: float


@dataclass(frozen=True)
class Reversal:
    """Objects asked for their subjects, by rounds of rote learning.

    Args:
        objects: how many were asked, in each arm.
        candidates: how many subjects there were to choose from, at most.
        chance: the share that would be chosen rightly by guessing.
        forward_n: over how many questions the run's own scores are.
        rows: the base model, then each arm memorised and generalised, by its rounds.
    """

    objects: int
    candidates: int
    chance: float
    forward_n: int
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """A row for each checkpoint of each arm."""
        columns = (
            "rounds of rote", "model", "n", "subject said",
            f"chosen among {self.candidates} subjects", "subject's probability",
            f"subject to object, n = {self.forward_n}",
        )  # fmt: skip
        rows = [(None if r.checkpoint == "base" else r.epochs,
                 checkpoint_name(r.checkpoint).short, r.n, r.strict, r.choice, r.probability,
                 r.forward) for r in self.rows]  # fmt: skip
        rows.append((None, "guessing", None, None, self.chance, None, None))
        return [Table(f"From object to subject, {self.objects} objects", columns, tuple(rows))]

    def figure(self) -> go.Figure:
        """Lines over the rounds, both phases done."""
        rows = [row for row in self.rows if row.checkpoint == CHECKPOINTS[-1]]
        return over_epochs(rows, LINES)


def arms(base: RunConfig) -> list[Arm]:
    """The same settings with other numbers of rounds of rote learning."""
    return arms_by_rounds(base, EPOCHS, with_wordings)


def with_wordings(pack: Pack) -> Pack:
    """The pack unchanged, after checking that its facts can be asked the other way round.

    Raises:
        LabError: there are no reversed wordings for any of its relations.
    """
    wordings = reversed_wordings()
    names = [relation.name for relation in pack.facts.relations]
    if not any(name in wordings for name in names):
        raise LabError(
            "There are no wordings from object to subject for: "
            f"{', '.join(names).replace('_', ' ')}. There are some for: "
            f"{', '.join(sorted(wordings)).replace('_', ' ')}. Choose a run of one of these."
        )
    return pack


def compare(runs: Sequence[FinishedRun]) -> Reversal:
    """Asks every arm for the subjects of the same held-out facts; the base model once."""
    runs = sorted_by_rounds(runs)
    first, rows = runs[0], []
    for finished in runs:
        asked = CHECKPOINTS if finished is first else CHECKPOINTS[1:]
        if not finished.config.memorize.epochs:
            asked = tuple(c for c in asked if c != "memorized")  # the base model once more
        rows += _asked(finished, asked)
    facts = _facts(first)
    found = {(f.relation, f.object) for f in facts}
    known = list(first.pack.facts)
    right = [sum((f.relation, f.object) == one for f in known) for one in sorted(found)]
    sizes = [
        min(USUAL_CANDIDATES, sum(f.relation == relation for f in known))
        for relation, _ in sorted(found)
    ]
    # Each right subject competes with the wrong ones alone.
    chance = fmean([n / size for n, size in zip(right, sizes, strict=True)])
    own = first.scores.get(CHECKPOINTS[-1], {}).get("test_prompts_heldout")
    return Reversal(len(found), max(sizes), chance, own.n if own else 0, tuple(rows))


def _facts(finished: FinishedRun) -> list[Fact]:
    """The held-out facts that are asked; the same in every arm."""
    wordings = reversed_wordings()
    facts = [f for f in finished.split.held_out if f.relation in wordings]
    facts = facts or [f for f in finished.split.held_in if f.relation in wordings]
    rng = random.Random(f"reversal {finished.config.seed}")
    return rng.sample(facts, min(FACTS, len(facts)))


def _asked(finished: FinishedRun, checkpoints: Sequence[Checkpoint]) -> list[Row]:
    """One arm at some checkpoints."""
    config = EvaluationConfig(candidates=USUAL_CANDIDATES)
    epochs, rows = finished.config.memorize.epochs, []
    with finished.model() as model:
        known, seed = list(finished.pack.facts), finished.config.seed
        asked = questions(model, _facts(finished), known, reversed_wordings(), seed)
        for checkpoint, found in answers(finished, model, asked, config, checkpoints):
            own = finished.scores.get(checkpoint, {}).get("test_prompts_heldout")
            forward = own.generation_accuracy if own else float("nan")
            rows.append(row_of(epochs, checkpoint, found, forward))
    return rows


def row_of(epochs: int, checkpoint: str, found: Sequence[Prediction], forward: float) -> Row:
    """One checkpoint's shares; a question is right if any of its right subjects is."""
    by_prompt: dict[str, list[Prediction]] = {}
    for prediction in found:
        by_prompt.setdefault(prediction.prompt, []).append(prediction)
    asked = by_prompt.values()
    return Row(
        epochs,
        checkpoint,
        len(asked),
        fmean([any(p.correct for p in some) for some in asked]),
        fmean([any(p.chosen for p in some) for some in asked]),
        fmean([sum(p.probability for p in some) for some in asked]),
        forward,
    )


def questions(
    model: LabModel,
    facts: Sequence[Fact],
    known: Sequence[Fact],
    wordings: dict[str, list[str]],
    seed: int,
) -> list[Question]:
    """One question for each right subject of each fact's object, in every reversed wording.

    An object may have several subjects: each competes with the wrong ones alone, so that one right
    subject never counts as beaten by another.
    """
    from rotelab.evaluation.probes import Question

    builder, asked = model.builder, []
    for relation, name in dict.fromkeys((fact.relation, fact.object) for fact in facts):
        mine = [fact for fact in known if fact.relation == relation]
        right = [fact.subject for fact in mine if fact.object == name]
        wrong = [fact.subject for fact in mine if fact.object != name]
        rng = random.Random(f"subjects {seed} {relation} {name}")
        wrong = rng.sample(wrong, max(0, min(len(wrong), USUAL_CANDIDATES - len(right))))
        others = [tuple(builder.spaced(subject)) for subject in wrong]
        for place, subject in enumerate(right):
            turned = Fact(relation, name, subject)
            candidates = (tuple(builder.spaced(subject)), *others)
            for wording in wordings[relation]:
                text = wording.replace(SLOT, name)
                example = builder.answered(builder.word_prompt(text), subject, "test", place)
                asked.append(Question("reversal", place, turned, text, example, candidates))
    return asked


def reversed_wordings() -> dict[str, list[str]]:
    """The shipped wordings of each relation that name the object and ask for the subject.

    Raises:
        InputError: the file is damaged.
    """
    found: dict[str, list[str]] = {}
    path = staged_file("reversal.csv")
    for row in parse_table(read_bytes(path), path.name)[1]:
        found.setdefault(row.cells["relation"], []).append(row.cells["text"])
    return found


EXPERIMENT = Experiment(
    name="reversal",
    title="Reversal",
    question="The model learned who the mother of Ann is. Does it know whose mother Eve is?",
    hypothesis=(
        "Hardly: models that learn “A is B” are known not to learn “B is A” (the reversal curse). "
        "Rote learning puts the subject first every time, and so do the sentences of phase 2."
    ),
    needs=(
        f"a finished run of one of the relations that come with the lab, whose settings all "
        f"{len(EPOCHS)} runs share except for the rounds of rote learning; as long as "
        f"{len(EPOCHS)} runs take."
    ),
    reading=(
        f"The objects of up to {FACTS} facts that phase 2 never taught in words, each in five "
        "sentences that name the object and ask for the subject. “Said” is an answer that begins "
        "with the subject's name; “chosen” means that it is likelier than every other subject of "
        f"the relation (up to {USUAL_CANDIDATES}), which also shows what is known but not said. "
        "Where an object has several subjects, any of them is right; the last row is what "
        "guessing would choose. Beside it is the runs' own score for the direction that was "
        "taught, in test wordings. 0 rounds leave phase 1 out: plain fine-tuning on sentences."
    ),
    paper="0.26 from object to subject after both phases; plain fine-tuning 0.01.",
    version=2,
    result=Reversal,
    origin="paper",
    arms=arms,
    compare=compare,
)
