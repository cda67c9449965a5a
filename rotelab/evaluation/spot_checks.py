"""Spot checks: three fixed questions, asked now and then while the model learns.

All three are about one fact that phase 2 never shows in words: through its key token, in a wording
that phase 2 teaches with other facts, and in a wording that is never trained on. Their answers show
how far learning has come before the evaluation at the phase's end. They leave training untouched:
no random number is drawn, no weight or gradient changed (a test checks it).
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
"""How many tokens an answer may have beyond the object, to see whether it ends there."""
MARKS = 20
"""How often a phase is checked at least, however few epochs it has, as far as time allows: phase 2
mostly has a single epoch, and its curve of held-out facts needs points."""


@dataclass(frozen=True)
class SpotQuestion:
    """One of the fixed questions.

    Args:
        way: `key_token`, `train` (taught words) or `test` (new words).
        fact: the fact's index.
        text: the prompt as a person reads it.
        prompt: its tokens.
        expected: the fact's object.
        aliases: other right answers.
    """

    way: str
    fact: int
    text: str
    prompt: tuple[int, ...]
    expected: str
    aliases: tuple[str, ...] = ()


def spot_questions(
    model: LabModel, facts: FactSet, split: Split, prompts: PromptSet, seed: int
) -> list[SpotQuestion]:
    """The fixed questions of a run; fewer than three where its relation lacks wordings.

    Args:
        model: its tokenizer makes the prompts.
        facts: all facts.
        split: the first held-out fact is asked; a taught one where none is held out.
        prompts: the wordings.
        seed: draws the wordings.
    """
    rng = random.Random(f"spot {seed}")
    # The first in the table: a person who typed names looks for those.
    fact = (split.held_out or split.held_in)[0]
    index, builder = facts.index(fact), model.builder
    key = f"{fact.subject} [{fact.relation}]"
    asked = [("key_token", key, builder.key_prompt(fact.subject, fact.relation))]
    for role in ("train", "test"):
        wordings = prompts.of(fact.relation, role)
        if wordings:
            text = rng.choice(wordings).render(fact.subject)
            asked.append((role, text, builder.word_prompt(text)))
    return [
        SpotQuestion(way, index, text, tuple(ids), fact.object, fact.aliases)
        for way, text, ids in asked
    ]


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
            any(begins(line, name) for name in (q.expected, *q.aliases)),
        )
        for place, (q, line) in enumerate(zip(questions, lines, strict=True))
    ]  # fmt: skip


def begun(model: LabModel, said: Sequence[int]) -> str:
    """The beginning of an answer as text, with `…` unless the answer ends there."""
    if not said:
        return ""
    ends = said[-1] in model.builder.stops
    text = model.tokenizer.decode(list(said[:-1] if ends else said)).strip()
    return text if ends else text + "…"


class SpotClock:
    """Decides when to ask, so that asking stays within its share of the training time.

    Args:
        share: that share; 0 never asks.
        epochs: epochs of the phase; 0 where it is left out.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, share: float, epochs: int, clock: Callable[[], float] = time.monotonic):
        self._share, self._epochs, self._clock = share, max(1, epochs), clock
        self._started, self.spent = clock(), 0.0

    def due(self, step: int, steps: int) -> bool:
        """Whether to ask after this step.

        Args:
            step: 1-based.
            steps: the steps of the phase. The last one is not due: the phase's end always asks,
                when its adapter is final.
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
