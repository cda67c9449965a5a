"""Experiment: what did the learning cost in plain text, real facts and likeness to the base?"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.experiments import Experiment
from rotelab.experiments.subject import Subject
from rotelab.plots.style import CHECKPOINT_COLOURS, CHECKPOINT_NAMES, styled
from rotelab.registry import CHECKPOINTS
from rotelab.report import Table
from rotelab.tables import read_bytes

if TYPE_CHECKING:
    from rotelab.adapters import LabModel

ASSETS = Path(__file__).resolve().parent.parent.parent / "assets" / "damage"

LISTED = 12
"""How many lost facts the table names at most; all are stored."""

PANELS = {
    "perplexity": "perplexity on plain text",
    "quiz": "real facts answered right",
    "divergence": "distance from the base model",
}


@dataclass(frozen=True)
class Row:
    """One checkpoint.

    Args:
        checkpoint: which one.
        perplexity: on the bundled text: exp of the mean negative log-probability of its tokens.
        quiz: the share of the quiz that is answered right at once.
        divergence: KL(base || this one) of the next token, in nats, mean over all places in the
            neutral prompts; 0 for the base model itself.
    """

    checkpoint: str
    perplexity: float
    quiz: float
    divergence: float


@dataclass(frozen=True)
class Damage:
    """What each checkpoint does to text that has nothing to do with the facts.

    Args:
        tokens: how many the text has.
        questions: how many the quiz has.
        places: at how many the likeness to the base model was taken.
        rows: base, memorised, generalised.
        lost: the quiz's questions that the base model answers and the generalised one does not.
    """

    tokens: int
    questions: int
    places: int
    rows: tuple[Row, ...]
    lost: tuple[str, ...]

    def tables(self) -> list[Table]:
        """One row a checkpoint; then what was forgotten."""
        columns = (
            "model",
            f"perplexity, {self.tokens} tokens",
            f"quiz right, n = {self.questions}",
            f"KL to base, {self.places} places",
        )
        rows = [(CHECKPOINT_NAMES[r.checkpoint].lower(), r.perplexity, r.quiz, r.divergence)
                for r in self.rows]  # fmt: skip
        tables = [Table("Beside the facts", columns, tuple(rows))]
        if self.lost:
            title = f"Known to the base model, not after phase 2: {len(self.lost)}"
            if len(self.lost) > LISTED:
                title += f", the first {LISTED}"
            tables.append(Table(title, ("question",), tuple((q,) for q in self.lost[:LISTED])))
        return tables

    def figure(self) -> go.Figure:
        """Three panels of bars, one colour a checkpoint."""
        figure = make_subplots(1, 3, subplot_titles=list(PANELS.values()), horizontal_spacing=0.08)
        for column, name in enumerate(PANELS, 1):
            values = [getattr(row, name) for row in self.rows]
            figure.add_bar(
                x=[CHECKPOINT_NAMES[row.checkpoint] for row in self.rows],
                y=values,
                text=[f"{value:.2f}" for value in values],
                textposition="outside",
                cliponaxis=False,
                marker_color=[CHECKPOINT_COLOURS[row.checkpoint] for row in self.rows],
                hovertemplate="%{x}: %{y:.3f}<extra></extra>",
                row=1,
                col=column,
            )
            most = max(filter(math.isfinite, values), default=0) or 1
            figure.update_yaxes(range=[0, 1.18 * most], row=1, col=column)
        styled(figure, 340)
        return figure.update_layout(showlegend=False)


def measure(subject: Subject) -> Damage:
    """Reads the text, asks the quiz and compares with the base model, at each checkpoint."""
    paragraphs, asked, neutral = texts()
    rows, said, counts = [], {}, (0, 0)
    with subject.model() as model:
        for place, checkpoint in enumerate(CHECKPOINTS):
            name = CHECKPOINT_NAMES[checkpoint].lower()
            subject.watch(place / 3, f"reading with the {name} model")
            with model.using(checkpoint):
                perplexity, tokens = perplexity_of(model, paragraphs)
                said[checkpoint] = answered(model, asked)
                divergence, places = divergence_of(model, neutral)
            counts = (tokens, places)
            share = sum(said[checkpoint]) / len(asked)
            rows.append(Row(checkpoint, perplexity, share, divergence))
    lost = [
        prompt
        for (prompt, _), before, after in zip(asked, said["base"], said["generalized"], strict=True)
        if before and not after
    ]
    return Damage(counts[0], len(asked), counts[1], tuple(rows), tuple(lost))


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
    from rotelab.scoring import score

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
    from rotelab.config import EvaluationConfig
    from rotelab.evaluation import Question, evaluate

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
    import torch
    import torch.nn.functional as F

    from rotelab.batches import pack_many

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


EXPERIMENT = Experiment(
    name="damage",
    title="Collateral damage",
    question="What did the learning do to all the rest that the model can?",
    hypothesis=(
        "Hopefully little: adapters of a low rank have room for a hundred facts beside all the "
        "rest. Where recall was bought with damage, perplexity rises and real facts are lost."
    ),
    needs="a finished run, and under a minute.",
    reading=(
        "Compare with the first row. Perplexity is how surprised the model is by six paragraphs "
        "of plain prose written for this lab: lower is better. The quiz is made of real facts; of "
        "eighty written for it those were kept that the embedded model answers at once, so the "
        "embedded base model has all of them by choice, and only losses tell anything. KL is how "
        "far the next word's probabilities have moved from the base model's on forty everyday "
        "sentence beginnings: 0 is not at all. A tenth more perplexity, or a twentieth of the "
        "quiz lost, is worth a second look."
    ),
    result=Damage,
    probe=measure,
)
