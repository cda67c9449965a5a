"""Which real facts a run lost, kept or never knew, and what a recipe cost in earlier runs.

The real facts are the quiz of `evaluation.forgetting`, asked at each of a run's checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.config.recipes import decided
from rotelab.config.run_config import RunConfig
from rotelab.evaluation.results import QuizAnswer
from rotelab.registry import Registry
from rotelab.reports.formats import Table

Fate = Literal["lost", "never known", "new", "kept"]
FATES: tuple[Fate, ...] = ("lost", "never known", "new", "kept")
"""What became of a real fact, in the order in which lists show it; `new` is one that is known since
the training only."""


@dataclass(frozen=True)
class RealFact:
    """One real fact through a run.

    Args:
        question: the beginning of a sentence, such as `The capital of Peru is`.
        expected: its right end.
        answers: the answer at each checkpoint, in the order of training; the first is what was
            known before: by the base model, or by the run that a lesson continues.
    """

    question: str
    expected: str
    answers: Mapping[str, QuizAnswer]

    @property
    def sentence(self) -> str:
        """The fact: “The capital of Peru is Lima”."""
        return f"{self.question} {self.expected}"

    @property
    def before(self) -> QuizAnswer:
        """The answer before the training."""
        return next(iter(self.answers.values()))

    @property
    def after(self) -> QuizAnswer:
        """The answer at the last checkpoint."""
        return list(self.answers.values())[-1]

    @property
    def fate(self) -> Fate:
        """What became of it by the last checkpoint."""
        return self.fate_at(self.after.checkpoint)

    def fate_at(self, checkpoint: str) -> Fate:
        """What had become of it by then."""
        after = self.answers[checkpoint].correct
        if self.before.correct:
            return "kept" if after else "lost"
        return "new" if after else "never known"


def real_facts(quiz: Mapping[str, Sequence[QuizAnswer]]) -> list[RealFact]:
    """A run's real facts before and after: those it lost first, then in the order of the quiz.

    Args:
        quiz: as `Registry.quiz_answers` returns it.

    Returns:
        Those that were asked at every checkpoint; none before a second one was asked.
    """
    if len(quiz) < 2:
        return []
    asked = {c: {a.question: a for a in answers} for c, answers in quiz.items()}
    found = [
        RealFact(a.question, a.expected, {c: answers[a.question] for c, answers in asked.items()})
        for a in next(iter(quiz.values()))
        if all(a.question in answers for answers in asked.values())
    ]
    return sorted(found, key=lambda fact: FATES.index(fact.fate))  # stable


def lost_by(facts: Sequence[RealFact], checkpoint: str) -> list[RealFact]:
    """The facts that were known before and are not at this checkpoint."""
    return [fact for fact in facts if fact.fate_at(checkpoint) == "lost"]


def known_before(facts: Sequence[RealFact]) -> int:
    """How many of the facts were known before the training."""
    return sum(fact.before.correct for fact in facts)


# For a report ------------------------------------------------------------------------------------


def real_fact_tables(run_id: str, facts: Sequence[RealFact]) -> list[Table]:
    """How many real facts each checkpoint kept, and the lost ones by name; none without facts."""
    if not facts:
        return []
    trained = list(facts[0].answers)[1:]
    known = known_before(facts)
    counts = []
    for checkpoint in trained:
        lost = len(lost_by(facts, checkpoint))
        counts.append((checkpoint_name(checkpoint).short, known - lost, lost))
    title = f"{run_id}: real facts ({len(facts)} asked, {known} known before)"
    tables = [Table(title, ("after", "kept", "lost"), tuple(counts))]
    lost = [fact for fact in facts if fact.fate == "lost"]
    if lost:
        columns = ("real fact", *(f"{checkpoint_name(c).short} says" for c in trained))
        rows = tuple((f.sentence, *(f.answers[c].said for c in trained)) for f in lost)
        tables.append(Table(f"{run_id}: the {len(lost)} real facts lost", columns, rows))
    return tables


def real_facts_json(facts: Sequence[RealFact]) -> list[dict[str, Any]]:
    """Every real fact as plain values: question, right answer, fate, each checkpoint's answer."""
    return [
        {
            "question": fact.question,
            "expected": fact.expected,
            "fate": fact.fate,
            "answers": {
                checkpoint: {"said": answer.said, "correct": answer.correct}
                for checkpoint, answer in fact.answers.items()
            },
        }
        for fact in facts
    ]


# Before a run ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecipeCost:
    """What training like this cost in earlier runs.

    Args:
        runs: how many runs it is the median of; at least one.
        kept: the share of the quiz that was answered afterwards, of what was answered before; 1 at
            most.
        perplexity: the perplexity of plain prose afterwards, as a multiple of the base model's.
    """

    runs: int
    kept: float
    perplexity: float


def recipe_cost(registry: Registry, config: RunConfig) -> RecipeCost | None:
    """Medians over the finished runs, imported ones too, with the same model and recipe.

    Args:
        registry: has the runs.
        config: the settings of the run to come. “The same recipe” means that all options which a
            recipe decides are equal, so it also works for settings of one's own. How much is taught
            (facts, k, rounds) may differ.

    Returns:
        None where there are no such runs, or nothing was measured beside their facts.

    Raises:
        LabError: the registry can't be read.
    """
    mine, kept, rise = decided(config), [], []
    for earlier, damage in registry.finished_damage(config.model.name):
        before, after = damage.get(CHECKPOINTS[0]), damage.get(CHECKPOINTS[-1])
        # NaN, of a run that diverged, is not above 0 either.
        measured = before and after and before.quiz > 0 and after.perplexity > 0
        if measured and decided(earlier) == mine:
            kept.append(min(1.0, after.quiz / before.quiz))
            rise.append(after.perplexity / before.perplexity)
    return RecipeCost(len(kept), median(kept), median(rise)) if kept else None
