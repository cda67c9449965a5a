"""What the model answers while it learns: three fixed questions, asked now and then in a phase.

All three are about one fact that phase 2 never shows in words: through its key token, in a wording
that phase 2 teaches with other facts, and in one that is never trained on. So their answers show
how far learning has come before the phase's evaluation asks everything. Nothing that training goes
on with is touched: no random number is drawn, no weight or gradient changed (a test holds this).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rotelab.evaluation.answer_match import begins
from rotelab.evaluation.results import SpotAnswer
from rotelab.facts.facts import FactSet, Split
from rotelab.facts.prompts import PromptSet
from rotelab.models.generation import answers
from rotelab.models.lab_model import LabModel

LONGEST = 12
"""Most tokens of an answer."""
SPARE = 2
"""Tokens that an answer may have beyond the fact's object, to see whether it ends there."""
MARKS = 8
"""In so many places of a phase it is asked at least, however few epochs there are, time allowing:
phase 2 mostly has one epoch only."""


@dataclass(frozen=True)
class SpotQuestion:
    """One of the fixed questions.

    Args:
        way: `key_token`, `train` (taught words) or `test` (new words).
        fact: the fact's index.
        text: the prompt as a person reads it.
        prompt: its tokens.
        expected: the fact's object.
    """

    way: str
    fact: int
    text: str
    prompt: tuple[int, ...]
    expected: str


def spot_questions(
    model: LabModel, facts: FactSet, split: Split, prompts: PromptSet, seed: int
) -> list[SpotQuestion]:
    """The fixed questions of a run: fewer than three where its relation lacks wordings.

    Args:
        model: its tokenizer makes the prompts.
        facts: all facts.
        split: the first held-out fact is taken; a taught one where none is held out.
        prompts: the wordings.
        seed: draws the wordings.
    """
    rng = random.Random(f"spot {seed}")
    # The first in the table: who typed names of their own looks for those.
    fact = (split.held_out or split.held_in)[0]
    index, builder = facts.index(fact), model.builder
    key = f"{fact.subject} [{fact.relation}]"
    asked = [("key_token", key, builder.key_prompt(fact.subject, fact.relation))]
    for role in ("train", "test"):
        wordings = prompts.of(fact.relation, role)
        if wordings:
            text = rng.choice(wordings).render(fact.subject)
            asked.append((role, text, builder.word_prompt(text)))
    return [SpotQuestion(way, index, text, tuple(ids), fact.object) for way, text, ids in asked]


def ask(
    model: LabModel, questions: Sequence[SpotQuestion], phase: str, step: int, epoch: int
) -> list[SpotAnswer]:
    """Greedy answers of the model as it is now, all in one pass; training may go on afterwards.

    Args:
        model: as training left it.
        questions: from `spot_questions`.
        phase: `memorize` or `generalize`.
        step: how many steps of the phase are done.
        epoch: the epoch they belong to.
    """
    spare = [len(model.builder.spaced(question.expected)) + SPARE for question in questions]
    prompts = [question.prompt for question in questions]
    training = model.network.training
    model.network.eval()  # a dropout would draw from training's random numbers
    try:
        said = {
            index: text
            for batch in answers(model, prompts, 10**6, min(LONGEST, max(spare)))
            for index, text in batch
        }
    finally:
        model.network.train(training)
    lines = [(said[index].splitlines() or [""])[0].strip() for index in range(len(questions))]
    return [
        SpotAnswer(
            phase, step, place, epoch, q.way, q.fact, q.text, q.expected, line,
            begins(line, q.expected),
        )
        for place, (q, line) in enumerate(zip(questions, lines, strict=True))
    ]  # fmt: skip


def begun(model: LabModel, said: Sequence[int]) -> str:
    """The beginning of an answer as text, `…` after it unless the answer ends there."""
    if not said:
        return ""
    ends = said[-1] in model.builder.stops
    text = model.tokenizer.decode(list(said[:-1] if ends else said)).strip()
    return text if ends else text + "…"


class SpotClock:
    """Says when to ask, so that asking stays within its part of the training time.

    Args:
        share: that part; 0 never asks.
        epochs: of the phase; one that is left out has none.
        clock: seconds that only ever grow.
    """

    def __init__(self, share: float, epochs: int, clock: Callable[[], float] = time.monotonic):
        self._share, self._epochs, self._clock = share, max(1, epochs), clock
        self._started, self.spent = clock(), 0.0

    def due(self, step: int, steps: int) -> bool:
        """Whether to ask after this step.

        Args:
            step: 1-based.
            steps: how many there are in the phase. The last is left to the phase's end, when its
                adapter is what it stays: there it is always asked.
        """
        if not self._share or step == steps:
            return False
        marks = self._epochs * math.ceil(MARKS / self._epochs)  # every epoch's end among them
        if step * marks // steps == (step - 1) * marks // steps:
            return False
        return self.spent <= self._share * (self._clock() - self._started)

    def ask(
        self, model: LabModel, questions: Sequence[SpotQuestion], phase: str, step: int, epoch: int
    ) -> list[SpotAnswer]:
        """Asks as the function `ask` does, and counts the time it takes."""
        began = self._clock()
        said = ask(model, questions, phase, step, epoch)
        self.spent += self._clock() - began
        return said
