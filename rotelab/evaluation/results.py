"""Results of evaluating a checkpoint, as `evaluation` yields them and `registry` stores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Answers = dict[tuple[str, str, str], tuple[float, int]]
"""One figure of one probe, fact by fact: by (relation, subject, object), what it adds up to over
the questions about the fact, and how many questions these are."""

PROBES = (
    "key_token",
    "train_prompts_heldin",
    "train_prompts_heldout",
    "test_prompts_heldout",
    "unrelated",
)
"""The probes of every run; see `probes`."""

OLD = "old_"
OLD_PROBES = tuple(OLD + probe for probe in ("key_token", "test_prompts_heldout", "unrelated"))
"""The probes of a later lesson that ask the facts known before it; the others ask its new facts."""

MUST_NOT_COME = ("unrelated", OLD + "unrelated")
"""The probes that ask something else: there, the fact's object must not come out."""

OUTCOMES = ("right", "wrong", "leak", "no-leak")
"""What can become of an answer: the last two where the object must not come out."""
BAD_OUTCOMES = ("wrong", "leak")


class SpotAnswer(NamedTuple):
    """The answer to one of the three fixed questions of `spot_checks`, after a step of a phase.

    `place` numbers the questions from 0; `way` is `key_token`, `train` (taught words) or `test`
    (new words); `answer` is the first line of the greedy answer; `expected` is the fact's object,
    and `correct` says whether the answer begins with it or with an alias of it.
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
    """One probe's figures at one checkpoint, over `n` predictions.

    `generation_accuracy` is the share that is correct, `object_probability` the mean joint
    probability of the object's tokens. The rest is None where it was not measured:
    `choice_accuracy` is the share whose object ranks first among its candidates,
    `normalized_probability` its mean probability among them, and `contains_accuracy` the share of
    free answers that contain it.
    """

    n: int
    generation_accuracy: float
    object_probability: float
    choice_accuracy: float | None = None
    normalized_probability: float | None = None
    contains_accuracy: float | None = None


@dataclass(frozen=True)
class Prediction:
    """The model's answer to one prompt. The fields that default to None may not be measured.

    Args:
        probe: one of `results.PROBES`; an experiment has probes of its own.
        fact_index: the fact's index in its fact set; an experiment may number its questions.
        relation: the fact's relation.
        subject: what the fact is about.
        object: the right answer; its aliases, which the fact has, are right as well.
        prompt: the prompt as a person reads it.
        answer: the greedy answer as far as scoring shows it: the object, or the object's beginning
            and the first token that differs, with `…` after it.
        correct: whether the object or an alias came out.
        probability: joint probability of the object's tokens, or of an alias's that is likelier.
        rank: how many other candidates are as likely or likelier; 0 is the best.
        checkpoint: the checkpoint that answered.
        chosen: whether the object ranks first among its candidates.
        normalized: the object's probability among its candidates.
        contains: whether a free answer contains the object.
        generated: the free answer; None where `correct` had already decided.
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

    @property
    def outcome(self) -> str:
        """What became of it, one of `OUTCOMES`."""
        if self.probe in MUST_NOT_COME:
            return "leak" if self.correct else "no-leak"
        return "right" if self.correct else "wrong"


class Similarity(NamedTuple):
    """How alike two groups of prompts are at one layer of one checkpoint.

    `layer` 0 is the embedding, then one for each transformer layer. `name` is `key-train`,
    `key-test` or `key-unrelated` (mean cosine similarity between a fact's key-token prompt and its
    wording), or `within`, `across` or `delta` (see `representations.similarities`). `value` is in
    [-1, 1] (`delta` in [-2, 2]).
    """

    checkpoint: str
    layer: int
    name: str
    value: float


class LensReading(NamedTuple):
    """What one layer of one checkpoint would answer to `n` prompts of one kind.

    `layer` 0 is the embedding, then one for each transformer layer; the last is the model's own
    answer. `role` is `key`, `train` or `test`. `share` is the share of prompts at which the
    object's first token is the most probable of all tokens (a tie counts as missed), `probability`
    the mean probability of that token, `rank` its median place among all tokens, 1 the first.
    """

    checkpoint: str
    layer: int
    role: str
    n: int
    share: float
    probability: float
    rank: float


class Understood(NamedTuple):
    """Whether a fact was answered in words never trained on, after a `step` of a phase.

    `step` 0 is before training; `held_out` says whether phase 2 leaves the fact out of its
    sentences; `probability` is the joint probability of the object's tokens, and `correct` says
    whether the object, or an alias, came at once.
    """

    phase: str
    step: int
    fact_index: int
    held_out: bool
    probability: float
    correct: bool


class LayerChance(NamedTuple):
    """What one layer would answer to one question, after a `step` of a phase (logit lens).

    `layer` 0 is the embedding, then one for each transformer layer; the last is the model's own
    answer. `probability` is that of the right object's first token, and `rank` its place among all
    tokens, 1 the first.
    """

    phase: str
    step: int
    layer: int
    probability: float
    rank: int


class Damage(NamedTuple):
    """What training did to everything else the model knows, at one checkpoint.

    `perplexity` is exp of the mean negative log-probability of the bundled prose's `tokens`;
    `quiz` the share of the `questions` about real facts that are answered right at once;
    `divergence` KL(base || this checkpoint) of the next token in nats, mean over all `places` in
    the neutral prompts (0, over no places, for the base model itself).
    """

    checkpoint: str
    perplexity: float
    tokens: int
    quiz: float
    questions: int
    divergence: float
    places: int


class QuizAnswer(NamedTuple):
    """A checkpoint's answer to one question of the quiz of real facts (`forgetting`).

    `place` numbers the questions from 0; `expected` is the right answer; `said` is the beginning of
    what the model answered, and `correct` says whether the right answer came at once.
    """

    checkpoint: str
    place: int
    question: str
    expected: str
    said: str
    correct: bool


class WeightChange(NamedTuple):
    """How far a checkpoint's own adapter moves one weight matrix of one layer, counted from 1.

    `change` is the Frobenius norm of the change, `weight` that of the matrix itself.
    """

    checkpoint: str
    layer: int
    matrix: str
    change: float
    weight: float
