"""Probes: every fact asked at a checkpoint, in every kind of wording.

| probe | what is asked |
| --- | --- |
| `key_token` | `subject KEY`, every fact |
| `train_prompts_heldin` | facts taught in words, in wordings that phase 2 used |
| `train_prompts_heldout` | facts never taught in words, in wordings that phase 2 used |
| `test_prompts_heldout` | facts never taught in words, in wordings never trained on: the headline |
| `unrelated` | questions about something else; the object must not come out |

What is computed of the answers: see `metrics`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rotelab.config.run_config import EvaluationConfig
from rotelab.evaluation.answer_match import contains, strict_answer
from rotelab.evaluation.distractors import candidate_sets
from rotelab.evaluation.loglikelihood import Scored, score
from rotelab.evaluation.multiple_choice import choose, distribution
from rotelab.evaluation.results import Prediction
from rotelab.facts.facts import Fact, FactSet, Split
from rotelab.facts.prompts import PromptSet
from rotelab.models.generation import answers
from rotelab.models.lab_model import LabModel
from rotelab.models.tokens import Example


@dataclass(frozen=True)
class Question:
    """One question about one fact.

    Args:
        probe: one of `PROBES`; an experiment has probes of its own.
        fact_index: the fact's index in its fact set; an experiment may number its questions.
        fact: the fact, its object and any alias of it being right answers.
        text: the prompt as a person reads it.
        example: the prompt and the object as tokens.
        candidates: the tokens of each candidate, the object among them; empty where the model is
            not asked to choose.
    """

    probe: str
    fact_index: int
    fact: Fact
    text: str
    example: Example
    candidates: tuple[tuple[int, ...], ...] = ()


def questions(
    model: LabModel,
    facts: FactSet,
    split: Split,
    prompts: PromptSet,
    config: EvaluationConfig,
    seed: int,
) -> list[Question]:
    """All questions of a run, the same at every checkpoint.

    Every fact of a split is asked; where a relation has more wordings than needed, each fact gets
    its own draw of them, by `seed`.

    Raises:
        ConfigError: there are too few candidates.
    """
    builder = model.builder
    index = {fact: i for i, fact in enumerate(facts)}
    asked: list[Question] = []
    for i, fact in enumerate(facts):
        text = f"{fact.subject} [{fact.relation}]"
        asked.append(Question("key_token", i, fact, text, builder.rote(fact, i, "o")))

    def ask(probe: str, group: Sequence[Fact], role: str, wordings: int) -> None:
        for fact in group:
            known = prompts.of(fact.relation, role)
            rng = random.Random(f"ask {seed} {probe} {index[fact]}")
            for template in rng.sample(known, min(wordings, len(known))):
                text = template.render(fact.subject)
                prompt = builder.word_prompt(text)
                example = builder.answered(prompt, fact.object, role, index[fact])
                asked.append(Question(probe, index[fact], fact, text, example))

    ask("train_prompts_heldin", split.held_in, "train", config.train_prompts)
    ask("train_prompts_heldout", split.held_out, "train", config.train_prompts)
    ask("test_prompts_heldout", split.held_out, "test", config.test_prompts)
    ask("unrelated", split.held_out or split.held_in, "unrelated", config.unrelated_prompts)
    if not config.choices:
        return asked
    sets = candidate_sets(facts, config.choices, seed)
    # Facts of one relation mostly share their set: it is tokenised once, and shared as one object.
    tokens = {names: tuple(tuple(builder.spaced(name)) for name in names) for names in set(sets)}
    return [replace(question, candidates=tokens[sets[question.fact_index]]) for question in asked]


def evaluate(
    model: LabModel, asked: Sequence[Question], config: EvaluationConfig
) -> Iterator[list[Prediction]]:
    """Asks every question in the model's current checkpoint; yields predictions as they come.

    Args:
        model: switched to the checkpoint to ask.
        asked: from `questions`, with the same settings.
        config: what is measured, and how many tokens a pass has.
    """
    for scores in _scores(model, asked, config):
        found = [_prediction(model, asked[i], scored, more) for i, scored, more in scores]
        of = [asked[i] for i, _, _ in scores]
        found = _with_aliases(model, of, found, config.batch_tokens)
        if config.generate:
            found = _let_answer(model, of, found, config)
        yield found


def _scores(
    model: LabModel, asked: Sequence[Question], config: EvaluationConfig
) -> Iterator[list[tuple[int, Scored, dict[str, Any]]]]:
    """The score of each question's object, and the fields that its candidates add."""
    examples = [question.example for question in asked]
    candidates = [question.candidates for question in asked]
    batch = config.batch_tokens
    if not config.choices:
        for scores in score(model, examples, batch):
            yield [(i, scored, {}) for i, scored in scores]
    elif config.normalized:
        for ranked in distribution(model, examples, candidates, batch):
            yield [
                (i, d.scored, {"chosen": d.first, "rank": d.rank, "normalized": d.probability})
                for i, d in ranked
            ]
    else:
        for chosen in choose(model, examples, candidates, batch):
            yield [(i, c.scored, {"chosen": c.first}) for i, c in chosen]


def _with_aliases(
    model: LabModel, asked: Sequence[Question], found: Sequence[Prediction], batch_tokens: int
) -> list[Prediction]:
    """Counts an answer as right that is an alias of the object, and takes the likeliest of them.

    The prompts are those that were just asked, so only the aliases' own tokens are new.
    """
    read = list(found)
    open_ = [(i, alias) for i, question in enumerate(asked) for alias in question.fact.aliases]
    if not open_:
        return read
    builder = model.builder
    examples = [
        builder.answered(asked[i].example.prompt, alias, asked[i].example.kind, asked[i].fact_index)
        for i, alias in open_
    ]
    for batch in score(model, examples, batch_tokens):
        for number, scored in batch:
            place = open_[number][0]
            answer, right = strict_answer(model, examples[number].object, scored.greedy)
            likely = _probability(scored)
            best = read[place]
            if right and not best.correct:
                best = replace(best, correct=True, answer=answer)
            read[place] = replace(best, probability=max(best.probability, likely))
    return read


def _let_answer(
    model: LabModel,
    asked: Sequence[Question],
    found: Sequence[Prediction],
    config: EvaluationConfig,
) -> list[Prediction]:
    """Adds whether a free answer contains the object; strictly right answers need no decoding."""
    read = [replace(p, contains=True) if p.correct else p for p in found]
    open_ = [place for place, p in enumerate(found) if not p.correct]
    prompts = [asked[place].example.prompt for place in open_]
    for batch in answers(model, prompts, config.batch_tokens, config.generate):
        for i, text in batch:
            place = open_[i]
            names = (model.tokenizer.decode(asked[place].example.object),
                     *asked[place].fact.aliases)  # fmt: skip
            inside = any(contains(text, name) for name in names)
            read[place] = replace(found[place], contains=inside, generated=text)
    return read


def _prediction(
    model: LabModel, question: Question, scored: Scored, more: dict[str, Any]
) -> Prediction:
    fact = question.fact
    answer, right = strict_answer(model, question.example.object, scored.greedy)
    return Prediction(
        question.probe,
        question.fact_index,
        fact.relation,
        fact.subject,
        fact.object,
        question.text,
        answer,
        right,
        _probability(scored),
        checkpoint=model.checkpoint,
        **more,
    )


def _probability(scored: Scored) -> float:
    return min(1.0, math.exp(sum(scored.log_probabilities)))
