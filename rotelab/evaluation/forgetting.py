"""What learning does to all the rest that the model can: plain prose, real facts, everyday words.

Measured on texts of the lab's own (`assets/damage`), which no training reads.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from rotelab.config.run_config import EvaluationConfig
from rotelab.evaluation.loglikelihood import score
from rotelab.evaluation.probes import Question, evaluate
from rotelab.facts.csv_tables import read_bytes
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack_many

TOLERATED_LOSS, TOLERATED_RISE = 0.5, 2.0
"""What a recipe may cost without a warning: so much of the quiz, and so many times the
perplexity."""
ASSETS = Path(__file__).resolve().parents[2] / "assets" / "damage"


@dataclass(frozen=True)
class Measured:
    """One checkpoint.

    Args:
        perplexity: on the bundled prose: exp of the mean negative log-probability of its tokens.
        tokens: how many those are.
        right: for each question of the quiz, whether it is answered right at once.
        divergence: KL(base || this one) of the next token, in nats, mean over all places in the
            neutral prompts; 0 for the base model itself.
        places: how many those are.
    """

    perplexity: float
    tokens: int
    right: tuple[bool, ...]
    divergence: float
    places: int


def measure(model: LabModel) -> Measured:
    """Reads the prose, asks the quiz and compares with the base model.

    Args:
        model: switched to the checkpoint. It takes some seconds on two processor cores.
    """
    paragraphs, asked, neutral = texts()
    perplexity, tokens = perplexity_of(model, paragraphs)
    right = tuple(answered(model, asked))
    divergence, places = (0.0, 0) if model.checkpoint == "base" else divergence_of(model, neutral)
    return Measured(perplexity, tokens, right, divergence, places)


def warning(quiz: float, quiz_now: float, perplexity: float, perplexity_now: float) -> str:
    """A sentence where recall was bought with damage, else nothing.

    Args:
        quiz: share of the quiz that the base model answers.
        quiz_now: and after both phases.
        perplexity: of the base model on plain prose.
        perplexity_now: and after both phases.
    """
    lost = quiz > 0 and quiz_now <= quiz * (1 - TOLERATED_LOSS)
    if not lost and perplexity_now < perplexity * TOLERATED_RISE:
        return ""
    return (
        "Training cost other things the model knew: it answered "
        f"{quiz:.0%} of a quiz of real facts before and answers {quiz_now:.0%} now, and plain "
        f"prose has a perplexity of {perplexity_now:.0f} instead of {perplexity:.0f}. Sparing more "
        "of ordinary activity, a lower learning rate or fewer rounds keep more of it."
    )


def texts() -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """The bundled text by paragraphs, the quiz as (prompt, answer), and the neutral prompts."""
    prose = read_bytes(ASSETS / "prose.txt").decode()
    quiz = csv.DictReader(io.StringIO(read_bytes(ASSETS / "quiz.csv").decode()))
    neutral = read_bytes(ASSETS / "neutral.txt").decode()
    paragraphs = [part.strip() for part in prose.split("\n\n") if part.strip()]
    return (
        paragraphs,
        [(row["prompt"], row["answer"]) for row in quiz],
        [line.strip() for line in neutral.splitlines() if line.strip()],
    )


def perplexity_of(model: LabModel, paragraphs: Sequence[str]) -> tuple[float, int]:
    """Perplexity of the current checkpoint, each paragraph by itself, and over how many tokens."""
    builder = model.builder
    examples = [builder.answered([builder.separator], text, "text") for text in paragraphs]
    found = [
        value
        for scores in score(model, examples, 1)  # a paragraph a pass
        for _, scored in scores
        for value in scored.log_probabilities
    ]
    mean = -sum(found) / len(found)
    return math.exp(min(mean, 100.0)), len(found)


def answered(model: LabModel, asked: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether the current checkpoint answers each question with the right name at once."""
    builder = model.builder
    questions = [
        Question("quiz", i, prompt, builder.answered(builder.word_prompt(prompt), answer, "quiz"))
        for i, (prompt, answer) in enumerate(asked)
    ]
    right = {p.fact: p.correct for some in evaluate(model, questions, EvaluationConfig())
             for p in some}  # fmt: skip
    return [right[i] for i in range(len(asked))]


def divergence_of(model: LabModel, prompts: Sequence[str]) -> tuple[float, int]:
    """KL(base || current checkpoint) of the next token in nats, mean over every place in the
    prompts, and over how many places."""
    total, places = 0.0, 0
    sequences = [model.builder.word_prompt(text) for text in prompts]
    for _, packed in pack_many(sequences, 96):  # each place has two rows of the whole vocabulary
        with torch.inference_mode():
            ours = F.log_softmax(model.forward(packed)[0].float(), -1)
            base = F.log_softmax(model.forward(packed, checkpoint="base")[0].float(), -1)
            kl = F.kl_div(ours, base, log_target=True, reduction="none").sum(-1)
        # The separator alone comes before every text, and asks nothing.
        first = packed.nodes[0][0]
        keep = [node for node in range(len(kl)) if node != first]
        total += float(kl[keep].sum())
        places += len(keep)
    return total / places, places
