"""Probes and their metrics: every fact asked at a checkpoint, in every kind of wording.

| probe | what is asked |
| --- | --- |
| `key_token` | `subject KEY`, every fact |
| `train_prompts_heldin` | facts taught in words, in wordings that phase 2 used |
| `train_prompts_heldout` | facts never taught in words, in wordings that phase 2 used |
| `test_prompts_heldout` | facts never taught in words, in wordings never trained on: the headline |
| `unrelated` | questions about something else; the object must not come out |

| figure | over a probe's predictions |
| --- | --- |
| generation accuracy | strict: share to which greedy decoding answers with the object at once |
| contains accuracy | share where it comes anywhere in a free greedy answer (`generate` tokens) |
| object probability | mean joint probability of the object's tokens, raw |
| choice accuracy | share where the object is ranked first among its candidates, ties wrong |
| normalised probability | mean probability of the object, its candidates' summing to 1 |

(Paper, section 3.3.) Strictly, a prediction is right when greedy decoding gives the object's tokens
at once and the next token does not continue the same word. Scoring alone shows that: greedy
decoding gives exactly these tokens if and only if each is the most likely one after the tokens
before it (by induction; a test compares it with real decoding). Whether a free answer contains the
object is decided on the text, both normalised alike (`answer_match`); a strictly right answer
contains it too.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rotelab.config.run_config import EvaluationConfig
from rotelab.evaluation.answer_match import contains
from rotelab.evaluation.candidates import candidate_sets
from rotelab.evaluation.loglikelihood import Scored, score
from rotelab.evaluation.multiple_choice import choose, distribution
from rotelab.evaluation.results import Prediction, Score
from rotelab.facts.facts import Fact, FactSet, Split
from rotelab.facts.prompts import PromptSet
from rotelab.models.generation import answers
from rotelab.models.lab_model import LabModel
from rotelab.models.tokens import Example

PROBES = (
    "key_token",
    "train_prompts_heldin",
    "train_prompts_heldout",
    "test_prompts_heldout",
    "unrelated",
)


@dataclass(frozen=True)
class Question:
    """One question about one fact.

    Args:
        probe: one of `PROBES`; an experiment has probes of its own.
        fact_index: the fact's index in its fact set; an experiment may number its questions.
        fact: the fact, its object being the right answer.
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
        found = [_predict(model, asked[i], scored, more) for i, scored, more in scores]
        if config.generate:
            of = [asked[i] for i, _, _ in scores]
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
            name = model.tokenizer.decode(asked[place].example.object)
            read[place] = replace(found[place], contains=contains(text, name), generated=text)
    return read


def summarize(predictions: Sequence[Prediction]) -> dict[str, Score]:
    """The figures of every probe that has predictions."""
    result = {}
    for probe in PROBES:
        mine = [p for p in predictions if p.probe == probe]
        if mine:
            result[probe] = Score(
                len(mine),
                sum(p.correct for p in mine) / len(mine),
                sum(p.probability for p in mine) / len(mine),
                _mean(p.chosen for p in mine),
                _mean(p.normalized for p in mine),
                _mean(p.contains for p in mine),
            )
    return result


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _predict(
    model: LabModel, question: Question, scored: Scored, more: dict[str, Any]
) -> Prediction:
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
    fact = question.fact
    return Prediction(
        question.probe,
        question.fact_index,
        fact.relation,
        fact.subject,
        fact.object,
        question.text,
        answer,
        right,
        min(1.0, probability),
        checkpoint=model.checkpoint,
        **more,
    )


def ends_word(model: LabModel, token: int) -> bool:
    """Whether a token that follows a name leaves the name whole: a space or a mark, no letter."""
    text = model.tokenizer.convert_ids_to_tokens(token)
    shown = model.tokenizer.convert_tokens_to_string([text])
    return not shown[:1].isalnum() if not text.startswith("▁") else True
