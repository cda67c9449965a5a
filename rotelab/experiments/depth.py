"""Experiment: does more rote learning make more understanding?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from rotelab.config import RunConfig, with_setting
from rotelab.experiments import Arm, Experiment
from rotelab.experiments.subject import Subject
from rotelab.plots.style import ROLE_COLOURS, ROLE_DASHES, ROLE_MARKERS, styled
from rotelab.report import Table

EPOCHS = (1, 3, 6, 10, 20, 40)
"""Rounds of rote learning of the arms: the paper's, one below and one above."""

LINES = {
    "key": ("key_token", "through the key token"),
    "train": ("train_prompts_heldout", "taught wordings, held-out facts"),
    "test": ("test_prompts_heldout", "unseen wordings, held-out facts"),
    "unrelated": ("unrelated", "unrelated questions (leak)"),
}
"""Each line's style, the probe behind it, and what it is called."""


@dataclass(frozen=True)
class Row:
    """One arm after both phases: shares of `n` unseen-wording questions, and of the others."""

    epochs: int
    n: int
    key: float
    train: float
    test: float
    unrelated: float
    before: float


@dataclass(frozen=True)
class Depth:
    """The scores by rounds of rote learning, k fixed.

    Args:
        k: how many facts of each relation phase 2 taught in words.
        rows: the arms, in the order of their rounds.
    """

    k: int
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """One row an arm."""
        columns = ("rounds of rote", "n", "key token", "train, held out", "test, held out",
                   "unrelated", "test before phase 2")  # fmt: skip
        rows = tuple(
            (r.epochs, r.n, r.key, r.train, r.test, r.unrelated, r.before) for r in self.rows
        )
        return [Table(f"After both phases, k = {self.k}", columns, rows)]

    def figure(self) -> go.Figure:
        """Lines over the rounds, on a logarithmic axis."""
        figure = go.Figure()
        rounds = [row.epochs for row in self.rows]
        for style, (_, words) in LINES.items():
            figure.add_scatter(
                name=words,
                x=rounds,
                y=[getattr(row, style) for row in self.rows],
                mode="lines+markers",
                line={"color": ROLE_COLOURS[style], "dash": ROLE_DASHES[style], "width": 2.5},
                marker={"symbol": ROLE_MARKERS[style], "size": 9},
                hovertemplate="%{x} rounds: %{y:.1%}",
            )
        styled(figure, 380)
        figure.update_xaxes(
            type="log", tickvals=rounds, ticktext=[str(r) for r in rounds],
            title_text="rounds of rote learning",
        )  # fmt: skip
        figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%", title_text="answered")
        return figure.update_layout(showlegend=True)


def arms(base: RunConfig) -> list[Arm]:
    """The same settings with other numbers of rounds."""
    return [Arm(f"{n}", with_setting(base, f"memorize.epochs={n}")) for n in EPOCHS]


def compare(subjects: Sequence[Subject]) -> Depth:
    """The arms' own scores; nothing is asked anew."""
    rows = []
    for subject in subjects:
        last = subject.scores.get("generalized", {})
        first = subject.scores.get("memorized", {}).get("test_prompts_heldout")
        share = {
            line: last[probe].generation_accuracy if probe in last else float("nan")
            for line, (probe, _) in LINES.items()
        }
        tested = last.get("test_prompts_heldout")
        before = first.generation_accuracy if first else float("nan")
        epochs = subject.config.memorize.epochs
        rows.append(Row(epochs, tested.n if tested else 0, before=before, **share))
    return Depth(subjects[0].config.generalize.k, tuple(sorted(rows, key=lambda r: r.epochs)))


EXPERIMENT = Experiment(
    name="depth",
    title="Depth of rote learning",
    question="Does it help understanding to go on learning by heart when all is known by heart?",
    hypothesis=(
        "Yes: the paper sees test accuracy grow with the rounds of rote learning even after the "
        "key token recalls everything. Somewhere it must stop."
    ),
    needs=(
        f"a finished run whose settings all {len(EPOCHS)} runs have, but for their rounds of rote "
        "learning; as long as so many runs take."
    ),
    reading=(
        f"One run for each of {', '.join(map(str, EPOCHS))} rounds, everything else alike. The "
        "headline is the line of unseen wordings; it counts only as far as unrelated questions "
        "stay low. One seed: differences of a few hundredths are chance."
    ),
    paper="3, 6, 10, 20 epochs with k = 50: test 0.35, 0.89, 0.98, 0.98 (Qwen2.5-1.5B).",
    result=Depth,
    arms=arms,
    compare=compare,
)
