"""Probes and metrics: what the model answers at a checkpoint, to every fact, in every wording.

| probe | what is asked |
| --- | --- |
| `key_token` | `subject KEY`, every fact |
| `train_prompts_heldin` | facts taught in words, in wordings that phase 2 used |
| `train_prompts_heldout` | facts never taught in words, in wordings that phase 2 used |
| `test_prompts_heldout` | facts never taught in words, in wordings never trained on: the headline |
| `unrelated` | questions about something else; the object must not come out |

Generation accuracy counts a prediction as right when greedy decoding brings out the object's
tokens at once and the next token does not go on with the same word. No decoding is needed to know
that: greedy decoding gives exactly these tokens if and only if each is the most likely one after
the tokens before it (induction over the tokens; a test compares it with real decoding). Object
probability is the joint probability of the object's tokens, raw (paper, section 3.3).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rotelab.batches import Example
from rotelab.config import EvaluationConfig
from rotelab.facts import Fact, FactSet, Split
from rotelab.models import LabModel
from rotelab.prompts import PromptSet
from rotelab.scoring import Scored, score

PROBES = (
    "key_token",
    "train_prompts_heldin",
    "train_prompts_heldout",
    "test_prompts_heldout",
    "unrelated",
)


@dataclass(frozen=True)
class Question:
    """One thing to ask: a fact under a probe.

    Args:
        probe: one of `PROBES`.
        fact: the fact's index.
        text: the prompt as a person reads it.
        example: its tokens.
    """

    probe: str
    fact: int
    text: str
    example: Example


@dataclass(frozen=True)
class Prediction:
    """What the model made of one question.

    Args:
        probe: one of `PROBES`.
        fact: the fact's index in its fact set.
        prompt: the prompt as a person reads it.
        answer: what greedy decoding says as far as it is known: the object, or the object's
            beginning and the first token that differs, with `…` after it.
        correct: whether the object came out.
        probability: joint probability of the object's tokens.
    """

    probe: str
    fact: int
    prompt: str
    answer: str
    correct: bool
    probability: float


@dataclass(frozen=True)
class Score:
    """A probe's figures at one checkpoint, over `n` predictions.

    Args:
        generation_accuracy: share of predictions that are correct.
        object_probability: mean joint probability of the object's tokens.
        n: number of predictions.
    """

    generation_accuracy: float
    object_probability: float
    n: int


def questions(
    model: LabModel,
    facts: FactSet,
    split: Split,
    prompts: PromptSet,
    config: EvaluationConfig,
    seed: int,
) -> list[Question]:
    """Everything that is asked after each phase, the same at every checkpoint.

    Every fact of a split is asked; where a relation has more wordings than wanted, each fact gets
    its own draw of them, by `seed`.
    """
    builder = model.builder
    index = {fact: i for i, fact in enumerate(facts)}
    asked: list[Question] = []
    for i, fact in enumerate(facts):
        text = f"{fact.subject} [{fact.relation}]"
        asked.append(Question("key_token", i, text, builder.rote(fact, i, "o")))

    def ask(probe: str, group: Sequence[Fact], role: str, wordings: int) -> None:
        for fact in group:
            known = prompts.of(fact.relation, role)
            rng = random.Random(f"ask {seed} {probe} {index[fact]}")
            for template in rng.sample(known, min(wordings, len(known))):
                text = template.render(fact.subject)
                prompt = builder.word_prompt(text)
                example = builder.answered(prompt, fact.object, role, index[fact])
                asked.append(Question(probe, index[fact], text, example))

    ask("train_prompts_heldin", split.held_in, "train", config.train_prompts)
    ask("train_prompts_heldout", split.held_out, "train", config.train_prompts)
    ask("test_prompts_heldout", split.held_out, "test", config.test_prompts)
    ask("unrelated", split.held_out or split.held_in, "unrelated", config.unrelated_prompts)
    return asked


def evaluate(
    model: LabModel, asked: Sequence[Question], batch_tokens: int
) -> Iterator[list[Prediction]]:
    """Asks every question in the model's current checkpoint; yields predictions as they come."""
    for scores in score(model, [question.example for question in asked], batch_tokens):
        yield [_predict(model, asked[index], scored) for index, scored in scores]


def summarize(predictions: Sequence[Prediction]) -> dict[str, Score]:
    """The figures of every probe that has predictions."""
    result = {}
    for probe in PROBES:
        mine = [p for p in predictions if p.probe == probe]
        if mine:
            result[probe] = Score(
                sum(p.correct for p in mine) / len(mine),
                sum(p.probability for p in mine) / len(mine),
                len(mine),
            )
    return result


def _predict(model: LabModel, question: Question, scored: Scored) -> Prediction:
    gold = question.example.object
    agreed = 0
    while agreed < len(gold) and scored.greedy[agreed] == gold[agreed]:
        agreed += 1
    said = model.tokenizer.decode([*gold[:agreed], scored.greedy[agreed]]).lstrip()
    stops = scored.greedy[agreed] in model.builder.stops
    if stops:
        said = model.tokenizer.decode(gold[:agreed]).strip()
    right = agreed == len(gold) and (stops or ends_word(model, scored.greedy[agreed]))
    answer = model.tokenizer.decode(gold).strip() if right else said + ("" if stops else "…")
    probability = math.exp(sum(scored.log_probabilities))
    return Prediction(
        question.probe, question.fact, question.text, answer, right, min(1.0, probability)
    )


def ends_word(model: LabModel, token: int) -> bool:
    """Whether a token that follows a name leaves the name whole (a blank or a mark, no letter)."""
    text = model.tokenizer.convert_ids_to_tokens(token)
    shown = model.tokenizer.convert_tokens_to_string([text])
    return not shown[:1].isalnum() if not text.startswith("▁") else True
