"""Forgetting: what training does to everything else the model knows.

Measured on the lab's own texts (`assets/damage`), which no training reads: perplexity on plain
prose, a quiz of real facts, and the divergence from the base model on everyday sentences.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from rotelab.config.run_config import EvaluationConfig
from rotelab.evaluation.loglikelihood import score
from rotelab.evaluation.probes import Question, evaluate
from rotelab.evaluation.results import Damage, Prediction, QuizAnswer
from rotelab.facts.csv_text import read_bytes
from rotelab.facts.facts import Fact
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack_many
from rotelab.storage import ASSETS

TOLERATED_LOSS, TOLERATED_RISE = 0.5, 2.0
"""A warning is given from this share of the quiz lost, or this many times the perplexity."""
TEXTS = ASSETS / "damage"
SAID = 6
"""Most tokens of a wrong answer that are kept."""


def measure(model: LabModel) -> tuple[Damage, list[QuizAnswer]]:
    """Reads the prose, asks the quiz and compares with the base model.

    Args:
        model: switched to the checkpoint. It takes some seconds on two processor cores.

    Returns:
        The figures, and the answer to each question of the quiz.
    """
    paragraphs, asked, neutral = texts()
    perplexity, tokens = perplexity_of(model, paragraphs)
    answers = answered(model, asked)
    divergence, places = (0.0, 0) if model.checkpoint == "base" else divergence_of(model, neutral)
    quiz = sum(answer.correct for answer in answers) / len(answers)
    found = Damage(model.checkpoint, perplexity, tokens, quiz, len(answers), divergence, places)
    return found, answers


def warning(base: Damage, trained: Damage) -> str:
    """A warning where training cost too much of what the base model knew, else an empty text."""
    lost = base.quiz > 0 and trained.quiz <= base.quiz * (1 - TOLERATED_LOSS)
    if not lost and trained.perplexity < base.perplexity * TOLERATED_RISE:
        return ""
    return (
        "Training cost other things the model knew: it answered "
        f"{base.quiz:.0%} of a quiz of real facts before and answers {trained.quiz:.0%} now, and "
        f"plain prose has a perplexity of {trained.perplexity:.0f} instead of "
        f"{base.perplexity:.0f}. Protecting more ordinary activity, a lower learning rate or fewer "
        "rounds would keep more of it."
    )


def texts() -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """The bundled prose by paragraphs, the quiz as (prompt, answer), and the neutral prompts."""
    prose = read_bytes(TEXTS / "prose.txt").decode()
    quiz = csv.DictReader(io.StringIO(read_bytes(TEXTS / "quiz.csv").decode()))
    neutral = read_bytes(TEXTS / "neutral.txt").decode()
    paragraphs = [part.strip() for part in prose.split("\n\n") if part.strip()]
    return (
        paragraphs,
        [(row["prompt"], row["answer"]) for row in quiz],
        [line.strip() for line in neutral.splitlines() if line.strip()],
    )


def perplexity_of(model: LabModel, paragraphs: Sequence[str]) -> tuple[float, int]:
    """Perplexity of the current checkpoint, each paragraph by itself, and the number of tokens."""
    builder = model.builder
    read = [builder.answered([builder.separator], text, "text") for text in paragraphs]
    examples = [example.cut(model.limit.most) for example in read]
    found = [
        value
        for scores in score(model, examples, 1)  # one paragraph a pass
        for _, scored in scores
        for value in scored.log_probabilities
    ]
    mean = -sum(found) / len(found)
    return math.exp(min(mean, 100.0)), len(found)


def answered(model: LabModel, asked: Sequence[tuple[str, str]]) -> list[QuizAnswer]:
    """The current checkpoint's answers: right where the right name comes at once.

    Args:
        model: switched to the checkpoint.
        asked: each question's prompt and right answer.
    """
    builder = model.builder
    questions = [
        Question(
            "quiz", i, Fact("quiz", prompt, answer), prompt,
            builder.answered(builder.word_prompt(prompt), answer, "quiz"),
        )
        for i, (prompt, answer) in enumerate(asked)
    ]  # fmt: skip
    found = {p.fact_index: p for some in evaluate(model, questions, EvaluationConfig(generate=SAID))
             for p in some}  # fmt: skip
    return [
        QuizAnswer(model.checkpoint, i, prompt, answer, _said(found[i]), found[i].correct)
        for i, (prompt, answer) in enumerate(asked)
    ]


def _said(answer: Prediction) -> str:
    """The first line of what was said."""
    if answer.generated is None:
        return answer.answer
    return next((line.strip() for line in answer.generated.splitlines() if line.strip()), "")


def divergence_of(model: LabModel, prompts: Sequence[str]) -> tuple[float, int]:
    """KL(base || current checkpoint) of the next token in nats, mean over every place in the
    prompts, and the number of places."""
    total, places = 0.0, 0
    sequences = [model.builder.word_prompt(text) for text in prompts]
    for _, packed in pack_many(sequences, 96):  # each place has two rows of the whole vocabulary
        with torch.inference_mode():
            ours = F.log_softmax(model.forward(packed)[0].float(), -1)
            base = F.log_softmax(model.forward(packed, checkpoint="base")[0].float(), -1)
            kl = F.kl_div(ours, base, log_target=True, reduction="none").sum(-1)
        # The separator comes before every text and says nothing about it.
        first = packed.nodes[0][0]
        keep = [node for node in range(len(kl)) if node != first]
        total += float(kl[keep].sum())
        places += len(keep)
    return total / places, places
