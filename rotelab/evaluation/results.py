"""What is measured at a checkpoint, as evaluation yields it and the registry stores it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class SpotAnswer(NamedTuple):
    """What one of the three fixed questions was answered with after a step of a phase.

    `place` tells them apart; `way` is `key_token`, `train` (taught words) or `test` (new words);
    `expected` is the fact's object, and `correct` says whether the answer begins with it.
    """

    phase: str
    step: int
    place: int
    epoch: int
    way: str
    fact_index: int
    question: str
    expected: str
    answer: str
    correct: bool


class Score(NamedTuple):
    """One probe's result: n predictions, the share that is right, the mean object probability.

    Where they were measured, also the share whose object is ranked first among its candidates, its
    mean probability among them, and the share of free answers that contain it.
    """

    n: int
    generation_accuracy: float
    object_probability: float
    choice_accuracy: float | None = None
    normalized_probability: float | None = None
    contains_accuracy: float | None = None


@dataclass(frozen=True)
class Prediction:
    """One answer to one prompt.

    Args:
        rank: the object's place among all candidates, 0 the best; None where not measured, like
            all that follows.
        chosen: whether it is the first of them.
        normalized: its probability among them.
        contains: whether a free answer contains it.
        generated: that answer; None where the strict reading had decided already.
    """

    probe: str
    fact_index: int
    relation: str
    subject: str
    object: str
    prompt: str
    answer: str
    correct: bool
    probability: float
    rank: int | None = None
    checkpoint: str = ""
    chosen: bool | None = None
    normalized: float | None = None
    contains: bool | None = None
    generated: str | None = None


class Similarity(NamedTuple):
    """One representation number of one layer at one checkpoint."""

    checkpoint: str
    layer: int
    name: str
    value: float


class LensReading(NamedTuple):
    """What a layer would say at one checkpoint to prompts of one kind; see `lens.Reading`."""

    checkpoint: str
    layer: int
    role: str
    n: int
    share: float
    probability: float
    rank: float


class Damage(NamedTuple):
    """What learning did to all the rest at one checkpoint; see `damage.Measured`. `quiz` is the
    share of the questions that are answered right."""

    checkpoint: str
    perplexity: float
    tokens: int
    quiz: float
    questions: int
    divergence: float
    places: int


class WeightChange(NamedTuple):
    """How far a checkpoint's own adapter moves one weight matrix; see `inside.changes`."""

    checkpoint: str
    layer: int
    matrix: str
    change: float
    weight: float
