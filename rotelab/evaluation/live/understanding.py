"""Whether a training model answers in words: some facts, in wordings never trained on.

Asked now and then beside the spot checks, so that understanding shows as a curve over the steps,
and not only at the checkpoints. Training is left untouched, as `spot_checks` says.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rotelab.config.run_config import EvaluationConfig
from rotelab.evaluation.probes import Question, evaluate
from rotelab.evaluation.results import Understood
from rotelab.facts.facts import Fact, FactSet, Split
from rotelab.facts.prompts import PromptSet
from rotelab.models.lab_model import LabModel

HELD_OUT, TAUGHT = 12, 4
"""Most facts asked: of those that phase 2 never shows in words, and of those that it does. Twelve
tell 60 % from 90 %, and cost as much as one training step or two."""

PROBE = {True: "test_prompts_heldout", False: "test_prompts_heldin"}
"""What the questions are called, by whether their facts are held out."""


def word_questions(
    model: LabModel, facts: FactSet, split: Split, prompts: PromptSet, seed: int
) -> list[Question]:
    """The questions, the same throughout a run: one for each of some facts, evenly chosen.

    Args:
        model: its tokenizer makes the prompts.
        facts: all facts.
        split: which of them are held out.
        prompts: the wordings; a relation without test wordings is not asked.
        seed: draws a wording for each fact.
    """
    index = {fact: i for i, fact in enumerate(facts)}
    asked = []
    for held_out, group, most in (
        (True, split.held_out, HELD_OUT), (False, split.held_in, TAUGHT),
    ):  # fmt: skip
        group = [fact for fact in group if prompts.of(fact.relation, "test")]
        for fact in _evenly(group, most):
            wordings = prompts.of(fact.relation, "test")
            rng = random.Random(f"understood {seed} {index[fact]}")
            text = rng.choice(wordings).render(fact.subject)
            prompt = model.builder.word_prompt(text)
            example = model.builder.answered(prompt, fact.object, "test", index[fact])
            asked.append(Question(PROBE[held_out], index[fact], fact, text, example))
    return asked


def ask_in_words(
    model: LabModel, asked: Sequence[Question], config: EvaluationConfig, phase: str, step: int
) -> list[Understood]:
    """Asks the model as it is now; training may go on afterwards.

    Args:
        model: as training left it.
        asked: from `word_questions`.
        config: how many tokens a pass has.
        phase: the phase in training.
        step: how many steps of it are done.
    """
    # Neither candidates nor free answers: the object's own tokens are enough, in one pass.
    plain = EvaluationConfig(batch_tokens=config.batch_tokens)
    found = [
        Understood(phase, step, p.fact_index, p.probe == PROBE[True], p.probability, p.correct)
        for predictions in evaluate(model, asked, plain)
        for p in predictions
    ]
    return sorted(found, key=lambda row: row.fact_index)


def share_held_out(found: Sequence[Understood]) -> float | None:
    """The share of the held-out facts that were answered; None where none was asked."""
    held_out = [row.correct for row in found if row.held_out]
    return sum(held_out) / len(held_out) if held_out else None


def _evenly(group: Sequence[Fact], most: int) -> list[Fact]:
    """At most so many of a group, the first among them: it is the one that spot checks ask."""
    if len(group) <= most:
        return list(group)
    return [group[place * len(group) // most] for place in range(most)]
