"""Experiment: what did training cost in plain text, real facts and closeness to the base model?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import with_interval
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, styled, whiskers
from rotelab.reports.intervals import share_interval

LISTED = 12
"""Most lost facts that the table names; all are stored."""

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
        places: at how many places it was compared with the base model.
        rows: base, memorised, generalised.
        lost: the quiz's questions that the base model answers and the generalised one does not.
    """

    tokens: int
    questions: int
    places: int
    rows: tuple[Row, ...]
    lost: tuple[str, ...]

    def tables(self) -> list[Table]:
        """A row for each checkpoint; then the forgotten facts."""
        columns = (
            "model",
            f"perplexity, {self.tokens} tokens",
            f"quiz right, n = {self.questions} [95 % interval]",
            f"KL to base, {self.places} places",
        )
        rows = [
            (checkpoint_name(r.checkpoint).short, r.perplexity,
             with_interval(r.quiz, self._within(r, "quiz")),
             r.divergence)
            for r in self.rows
        ]  # fmt: skip
        tables = [Table("Beside the facts", columns, tuple(rows))]
        if self.lost:
            title = f"Known to the base model, not after phase 2: {len(self.lost)}"
            if len(self.lost) > LISTED:
                title += f", the first {LISTED}"
            tables.append(Table(title, ("question",), tuple((q,) for q in self.lost[:LISTED])))
        return tables

    def figure(self) -> go.Figure:
        """Three panels of bars, a colour for each checkpoint."""
        figure = make_subplots(1, 3, subplot_titles=list(PANELS.values()), horizontal_spacing=0.08)
        for column, name in enumerate(PANELS, 1):
            values = [getattr(row, name) for row in self.rows]
            figure.add_bar(
                x=[checkpoint_name(row.checkpoint).long for row in self.rows],
                y=values,
                text=[] if name == "quiz" else [f"{value:.2f}" for value in values],
                textposition="outside",
                cliponaxis=False,
                error_y=whiskers(values, [self._within(row, name) for row in self.rows]),
                marker_color=[CHECKPOINT_COLOURS[row.checkpoint] for row in self.rows],
                hovertemplate="%{x}: %{y:.3f}<extra></extra>",
                row=1,
                col=column,
            )
            most = max(filter(math.isfinite, values), default=0) or 1
            figure.update_yaxes(range=[0, 1.18 * most], row=1, col=column)
        styled(figure, 340)
        figure.update_xaxes(tickangle=0, tickfont_size=13)
        return figure.update_layout(showlegend=False)

    def _within(self, row: Row, name: str) -> tuple[float, ...]:
        """The interval of the share of real facts; empty for everything else."""
        if name != "quiz" or not self.questions or not math.isfinite(row.quiz):
            return ()
        return tuple(share_interval(round(row.quiz * self.questions), self.questions))


def measure(finished: FinishedRun) -> Damage:
    """Reads the text, asks the quiz and compares with the base model, at each checkpoint."""
    from rotelab.evaluation import forgetting

    found = []
    with finished.model() as model:
        for place, checkpoint in enumerate(CHECKPOINTS):
            name = checkpoint_name(checkpoint).short
            finished.watch(place / 3, f"reading with the {name} model")
            with model.using(checkpoint):
                found.append(forgetting.measure(model))
    rows = [Row(d.checkpoint, d.perplexity, d.quiz, d.divergence) for d, _ in found]
    lost = [
        before.question
        for before, after in zip(found[0][1], found[-1][1], strict=True)
        if before.correct and not after.correct
    ]
    last, _ = found[-1]
    return Damage(last.tokens, last.questions, last.places, tuple(rows), tuple(lost))


EXPERIMENT = Experiment(
    name="damage",
    title="Collateral damage",
    question="What did training do to everything else the model knows?",
    hypothesis=(
        "Hopefully little: adapters of a low rank have room for a hundred facts beside everything "
        "else. Where recall was bought with damage, perplexity rises and real facts are lost."
    ),
    measures_s=30,
    needs="a finished run, and under a minute.",
    reading=(
        "Compare with the first row. Perplexity is how surprised the model is by six paragraphs "
        "of plain prose written for this lab: lower is better. The quiz has real facts; of eighty "
        "questions written for it, it keeps those that the embedded base model answers at once. So "
        "that model has all of them right by selection, and only losses mean anything. KL is how "
        "far the next word's probabilities have moved from the base model's on forty everyday "
        "sentence beginnings: 0 is not at all. A tenth more perplexity, or a twentieth of the "
        "quiz lost, is worth a second look; the page warns where half of the quiz is lost, or "
        "perplexity has doubled."
    ),
    result=Damage,
    origin="readers",
    probe=measure,
)
