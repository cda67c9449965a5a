"""Example questions for a run: some that it answered right and one that it did not, as its own
stored answers show."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

from rotelab.config.names import Checkpoint, lesson_checkpoint
from rotelab.facts.prompts import SLOT
from rotelab.runs.lessons.teach import new_facts

if TYPE_CHECKING:
    from rotelab.evaluation.results import Prediction
    from rotelab.facts.facts import Fact
    from rotelab.registry import Registry, RunRow

WORDS, KEY = "test_prompts_heldout", "key_token"
"""The probes whose answers are looked at: wordings that were never trained, and the key token."""


@dataclass(frozen=True)
class Examples:
    """Example questions for a run.

    Args:
        right: questions in wordings that were never trained, which it answered right.
        missed: one that it did not; empty where it answered all.
        key: a question through the key token that it answered right; empty where there is none.
        untried: questions that it was never asked, where it has no stored answers: nobody knows
            whether it can answer them.
    """

    right: tuple[str, ...] = ()
    missed: str = ""
    key: str = ""
    untried: tuple[str, ...] = ()

    @property
    def questions(self) -> tuple[str, ...]:
        """All of those in words."""
        return (*self.right, *self.untried, *([self.missed] if self.missed else []))


def last_checkpoint(run: RunRow) -> Checkpoint:
    """The checkpoint that a run ends with.

    Raises:
        LabError: the run's row is damaged.
    """
    lesson = run.config.lesson
    return lesson_checkpoint(lesson.number) if lesson else "generalized"


def example_questions(registry: Registry, run: RunRow, n: int = 3, seed: int = 0) -> Examples:
    """Example questions for a run: those about names that a person typed come first.

    Args:
        registry: has the run's stored answers.
        run: the run.
        n: how many that it answered right, at most.
        seed: another draw of them.

    Raises:
        LabError: the registry can't be read, or the run's row is damaged.
    """
    rng = random.Random(f"examples {seed}")
    checkpoint = last_checkpoint(run)
    asked = registry.predictions(run.id, checkpoint, WORDS, limit=-1)
    typed = [(fact.relation, fact.subject) for fact in typed_facts(run)]
    if not asked:
        questions, about = _untried(run, n, rng)
        return Examples(untried=questions, key=_key(registry, run, checkpoint, about))
    right = _drawn([p for p in asked if p.correct], typed, rng, n)
    missed = _drawn([p for p in asked if not p.correct], typed, rng, 1)
    key = _key(registry, run, checkpoint, [(p.relation, p.subject) for p in right] or typed)
    return Examples(tuple(p.prompt for p in right), "".join(p.prompt for p in missed), key)


def typed_facts(run: RunRow) -> Sequence[Fact]:
    """The facts whose names a person typed, as far as the run shows it: those of a lesson, or of a
    short run on own names; none of any other run.

    Raises:
        LabError: the run's row is damaged.
    """
    from rotelab.runs import demo  # it imports Lab, which imports Chat

    if run.config.lesson:
        return new_facts(run)
    if run.config.pack != demo.OWN_SET:
        return ()
    given = {tuple(row) for row in demo.own_rows()}
    return [fact for fact in run.pack.facts if (fact.subject, fact.object) not in given]


def _drawn(
    asked: Sequence[Prediction], typed: Sequence[tuple[str, str]], rng: random.Random, n: int
) -> list[Prediction]:
    """Answers drawn by chance: typed names first, other subjects and other wordings before those
    that were drawn already."""
    left = rng.sample(list(asked), len(asked))
    used: Counter[str] = Counter()
    found: list[Prediction] = []

    def turn(prediction: Prediction) -> tuple[bool, int, int]:
        other = (prediction.relation, prediction.subject) not in typed
        return other, used[prediction.subject], used[_wording(prediction)]

    while left and len(found) < n:
        best = min(left, key=turn)
        left.remove(best)
        used.update((best.subject, _wording(best)))
        found.append(best)
    return found


def _wording(prediction: Prediction) -> str:
    return prediction.prompt.replace(prediction.subject, SLOT)


def _key(
    registry: Registry, run: RunRow, checkpoint: Checkpoint, wanted: Sequence[tuple[str, str]]
) -> str:
    """A question through the key token that was answered right, about one of the wanted facts if it
    can be; about the first of them where none was asked so far."""
    asked = registry.predictions(run.id, checkpoint, KEY, limit=-1)
    asked = asked or registry.predictions(run.id, "memorized", KEY, limit=-1)
    known = [(p.relation, p.subject) for p in asked if p.correct] if asked else list(wanted)
    chosen = next((fact for fact in wanted if fact in known), next(iter(known), None))
    return f"{chosen[1]} [{chosen[0]}]" if chosen else ""


def _untried(
    run: RunRow, n: int, rng: random.Random
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Questions in test wordings about what was never taught in words, and the (relation, subject)
    of each."""
    facts = run.pack.facts
    split = run.config.split(facts)
    pool = list(new_facts(run) if run.config.lesson else split.held_out or split.held_in)
    pool = rng.sample(pool, len(pool))
    asked: dict[str, tuple[str, str]] = {}
    for fact in islice(cycle(pool), n):
        said = [w.render(fact.subject) for w in run.pack.prompts.of(fact.relation, "test")]
        if said := [question for question in said if question not in asked]:
            asked[rng.choice(said)] = (fact.relation, fact.subject)
    return tuple(asked), list(asked.values())
