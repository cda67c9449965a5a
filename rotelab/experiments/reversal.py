"""Experiment: who learned from subject to object, can they go back?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.config import USUAL_CANDIDATES, EvaluationConfig
from rotelab.errors import LabError
from rotelab.experiments import Experiment
from rotelab.experiments.subject import Subject
from rotelab.facts import Fact
from rotelab.packs import staged_file
from rotelab.plots.style import CHECKPOINT_NAMES, HATCHED, styled
from rotelab.registry import CHECKPOINTS
from rotelab.report import Table
from rotelab.tables import parse_table, read_bytes

if TYPE_CHECKING:
    from rotelab.adapters import LabModel
    from rotelab.evaluation import Prediction, Question

SLOT = "{object}"

FACTS = 20
"""The objects of so many held-out facts are asked at most."""

BARS = {
    "forward": ("subject to object, as taught", "#1F86C9", ""),
    "strict": ("object to subject, said", "#D55E00", "/"),
    "choice": ("object to subject, chosen among candidates", "#C98A00", "x"),
}
"""Each bar's name, colour and pattern."""


@dataclass(frozen=True)
class Row:
    """One checkpoint.

    Args:
        checkpoint: which one.
        n: how many reversed questions.
        strict: the share answered with a right subject at once.
        choice: the share where a right subject is likelier than every wrong one.
        probability: mean probability of the right subjects together.
        forward: the run's own score in the direction that was taught.
    """

    checkpoint: str
    n: int
    strict: float
    choice: float
    probability: float
    forward: float


@dataclass(frozen=True)
class Reversal:
    """Objects asked for their subjects.

    Args:
        objects: how many were asked.
        candidates: how many subjects there were to choose from, at most.
        chance: the share that would be chosen rightly by guessing.
        forward_n: over how many questions the run's own scores are.
        rows: base, memorised, generalised.
    """

    objects: int
    candidates: int
    chance: float
    forward_n: int
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """One row a checkpoint."""
        columns = (
            "model", "n", "subject said", f"chosen among {self.candidates} subjects",
            "subject's probability", f"subject to object, n = {self.forward_n}",
        )  # fmt: skip
        rows = [(CHECKPOINT_NAMES[r.checkpoint].lower(), r.n, r.strict, r.choice, r.probability,
                 r.forward) for r in self.rows]  # fmt: skip
        rows.append(("guessing", None, None, self.chance, None, None))
        return [Table(f"From object to subject, {self.objects} objects", columns, tuple(rows))]

    def figure(self) -> go.Figure:
        """Bars in groups: a checkpoint a group."""
        figure = go.Figure()
        for name, (words, colour, pattern) in BARS.items():
            values = [getattr(row, name) for row in self.rows]
            figure.add_bar(
                name=words,
                x=[CHECKPOINT_NAMES[row.checkpoint] for row in self.rows],
                y=values,
                text=[f"{value:.2f}" for value in values],
                textposition="outside",
                marker={"color": colour, "pattern": HATCHED | {"shape": pattern}},
                hovertemplate="%{x}: %{y:.1%}",
            )
        styled(figure, 360)
        figure.update_yaxes(range=[0, 1.08], tickformat=".0%", title_text="answered right")
        return figure.update_layout(barmode="group", showlegend=True)


def measure(subject: Subject) -> Reversal:
    """Asks for the subjects of held-out facts at each checkpoint.

    Raises:
        LabError: there are no reversed wordings for any of the run's relations.
    """
    from rotelab.evaluation import evaluate

    wordings = reversed_wordings()
    facts = [f for f in subject.split.held_out or subject.split.held_in if f.relation in wordings]
    if not facts:
        names = ", ".join(r.name.replace("_", " ") for r in subject.pack.facts.relations)
        raise LabError(
            f"There are no wordings from object to subject for: {names}. There are some for: "
            f"{', '.join(sorted(wordings)).replace('_', ' ')}. Choose a run of one of these."
        )
    rng = random.Random(f"reversal {subject.config.seed}")
    facts = rng.sample(facts, min(FACTS, len(facts)))
    config = EvaluationConfig(candidates=USUAL_CANDIDATES)
    rows = []
    with subject.model() as model:
        asked = questions(model, facts, list(subject.pack.facts), wordings, subject.config.seed)
        total, done = len(asked) * len(CHECKPOINTS), 0
        for checkpoint in CHECKPOINTS:
            found: list[Prediction] = []
            with model.using(checkpoint):
                for some in evaluate(model, asked, config):
                    found += some
                    done += len(some)
                    words = f"asking the {CHECKPOINT_NAMES[checkpoint].lower()} model"
                    subject.watch(done / total, words)
            own = subject.scores.get(checkpoint, {}).get("test_prompts_heldout")
            forward = own.generation_accuracy if own else float("nan")
            rows.append(row_of(checkpoint, found, forward))
    by_prompt: dict[str, list[int]] = {}
    for question in asked:
        by_prompt.setdefault(question.text, []).append(len(question.candidates))
    # Every right subject stands among the wrong ones by itself.
    chance = _mean([len(v) / (v[0] - 1 + len(v)) for v in by_prompt.values()])
    own = subject.scores.get(CHECKPOINTS[-1], {}).get("test_prompts_heldout")
    return Reversal(
        len({(f.relation, f.object) for f in facts}),
        max(v[0] - 1 + len(v) for v in by_prompt.values()),
        chance,
        own.n if own else 0,
        tuple(rows),
    )


def row_of(checkpoint: str, found: Sequence[Prediction], forward: float) -> Row:
    """One checkpoint's shares; the answers to one question stand or fall together."""
    by_prompt: dict[str, list[Prediction]] = {}
    for prediction in found:
        by_prompt.setdefault(prediction.prompt, []).append(prediction)
    asked = by_prompt.values()
    return Row(
        checkpoint,
        len(asked),
        _mean([any(p.correct for p in some) for some in asked]),
        _mean([any(p.chosen for p in some) for some in asked]),
        _mean([sum(p.probability for p in some) for some in asked]),
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

    An object may have several subjects: each stands among the wrong ones alone, so whichever the
    model prefers, it is never counted as beaten by another right one.
    """
    from rotelab.evaluation import Question

    builder, asked = model.builder, []
    for relation, name in dict.fromkeys((fact.relation, fact.object) for fact in facts):
        mine = [fact for fact in known if fact.relation == relation]
        right = [fact.subject for fact in mine if fact.object == name]
        wrong = [fact.subject for fact in mine if fact.object != name]
        rng = random.Random(f"subjects {seed} {relation} {name}")
        wrong = rng.sample(wrong, max(0, min(len(wrong), USUAL_CANDIDATES - len(right))))
        others = [tuple(builder.spaced(subject)) for subject in wrong]
        for place, subject in enumerate(right):
            candidates = (tuple(builder.spaced(subject)), *others)
            for wording in wordings[relation]:
                text = wording.replace(SLOT, name)
                example = builder.answered(builder.word_prompt(text), subject, "test", place)
                asked.append(Question("reversal", place, text, example, candidates))
    return asked


def reversed_wordings() -> dict[str, list[str]]:
    """The shipped wordings of each relation in which the object stands and the subject is asked.

    Raises:
        InputError: the file is not as it should be.
    """
    found: dict[str, list[str]] = {}
    path = staged_file("reversal.csv")
    for row in parse_table(read_bytes(path), path.name)[1]:
        found.setdefault(row.cells["relation"], []).append(row.cells["text"])
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


EXPERIMENT = Experiment(
    name="reversal",
    title="Reversal",
    question="The model learned who the mother of Ann is. Does it know whose mother Eve is?",
    hypothesis=(
        "Hardly: models that learn “A is B” are known not to learn “B is A” (the reversal curse). "
        "Rote learning puts the subject first every time, and so do the sentences of phase 2."
    ),
    needs="a finished run of one of the five relations that come with the lab, and some minutes.",
    reading=(
        f"The objects of up to {FACTS} facts that phase 2 never taught in words, each in five "
        "sentences that name the object and ask for the subject. “Said” is an answer that begins "
        "with the subject's name; “chosen” means that it is likelier than every other subject of "
        f"the relation (up to {USUAL_CANDIDATES}), which also shows what is known but not said. "
        "Where an object has several subjects, any of them is right; the last row is what "
        "guessing would choose. Beside it stands the run's own score for the direction that was "
        "taught, in test wordings."
    ),
    result=Reversal,
    probe=measure,
)
