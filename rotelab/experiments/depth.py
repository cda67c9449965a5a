"""Experiment: does more rote learning make more understanding, and where does it do harm?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.option_paths import with_setting
from rotelab.config.run_config import RunConfig
from rotelab.experiments import Arm, Experiment, FinishedRun, Table
from rotelab.registry import Registry
from rotelab.reports.figures.style import ROLE_COLOURS, ROLE_DASHES, ROLE_MARKERS, TEXT, styled

EPOCHS = (1, 3, 6, 10, 20, 40, 100)
"""Rounds of rote learning at the run's own learning rate: the paper's, and more."""

OTHER_RATES = {0.5: (10, 40), 2.0: (10, 40)}
"""Rounds at other learning rates of phase 1, given as multiples of the run's own."""

LINES = {
    "key": ("key_token", "through the key token"),
    "train": ("train_prompts_heldout", "taught wordings, held-out facts"),
    "test": ("test_prompts_heldout", "unseen wordings, held-out facts"),
    "unrelated": ("unrelated", "unrelated questions (leak)"),
}
"""Each line's style, its probe and its name."""

HARM = {
    "quiz_rote": ("real facts right, after rote", "dot", "circle-open"),
    "quiz": ("real facts right, after both", "dash", "square"),
}
"""Lines of the lower panel, the share of the quiz still right: their dash and their marker."""

RATE_MARKERS = {0.5: "triangle-down-open", 2.0: "triangle-up-open"}


@dataclass(frozen=True)
class Row:
    """One arm after both phases: shares of `n` unseen-wording questions, and of the others.

    Args:
        epochs: rounds of rote learning.
        rate: its learning rate in phase 1, as a multiple of the settings' own.
        n: questions in unseen wordings.
        key: share answered through the key token; `train`, `test` and `unrelated` likewise.
        train: held-out facts in taught wordings.
        test: held-out facts in unseen wordings.
        unrelated: unrelated questions that the object answers.
        before: `test` before phase 2.
        quiz_rote: share of real facts still right after rote; NaN where nobody looked.
        quiz: the same after both phases.
        perplexity: of plain prose after both phases.
    """

    epochs: int
    rate: float
    n: int
    key: float
    train: float
    test: float
    unrelated: float
    before: float
    quiz_rote: float = math.nan
    quiz: float = math.nan
    perplexity: float = math.nan


@dataclass(frozen=True)
class Depth:
    """The scores by rounds of rote learning, k fixed.

    Args:
        k: how many facts of each relation phase 2 taught in words.
        learning_rate: the settings' own, of phase 1.
        rows: the arms, by learning rate, then by rounds.
        base_perplexity: of the base model; NaN where nobody looked.
    """

    k: int
    learning_rate: float
    rows: tuple[Row, ...]
    base_perplexity: float = math.nan

    def tables(self) -> list[Table]:
        """One row an arm."""
        columns = ("rounds of rote", "learning rate", "n", "key token", "train, held out",
                   "test, held out", "unrelated", "test before phase 2", "real facts after rote",
                   "real facts after both", "perplexity")  # fmt: skip
        rows = tuple(
            (r.epochs, f"{r.rate * self.learning_rate:g}", r.n, r.key, r.train, r.test, r.unrelated,
             r.before, r.quiz_rote, r.quiz, r.perplexity)
            for r in self.rows
        )  # fmt: skip
        title = f"After both phases, k = {self.k}"
        if math.isfinite(self.base_perplexity):
            title += f" (perplexity of the base model: {self.base_perplexity:.1f})"
        return [Table(title, columns, rows)]

    def figure(self) -> go.Figure:
        """Answers over the rounds, on a logarithmic axis; below, the real facts still right. Other
        learning rates are single marks."""
        figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08,
                               row_heights=[0.64, 0.36])  # fmt: skip
        own = [row for row in self.rows if row.rate == 1]
        for style, (_, words) in LINES.items():
            figure.add_scatter(
                name=words,
                x=[row.epochs for row in own],
                y=[getattr(row, style) for row in own],
                mode="lines+markers",
                line={"color": ROLE_COLOURS[style], "dash": ROLE_DASHES[style], "width": 2.5},
                marker={"symbol": ROLE_MARKERS[style], "size": 9},
                hovertemplate="%{x} rounds: %{y:.1%}",
                row=1,
                col=1,
            )
        for rate, symbol in RATE_MARKERS.items():
            rows = [row for row in self.rows if row.rate == rate]
            if rows:
                figure.add_scatter(
                    name=f"unseen wordings, learning rate × {rate:g}",
                    x=[row.epochs for row in rows],
                    y=[row.test for row in rows],
                    mode="markers",
                    marker={"symbol": symbol, "size": 12, "color": ROLE_COLOURS["test"],
                            "line": {"width": 2}},
                    hovertemplate="%{x} rounds: %{y:.1%}",
                    row=1,
                    col=1,
                )  # fmt: skip
        for field, (words, dash, symbol) in HARM.items():
            figure.add_scatter(
                name=words,
                x=[row.epochs for row in own],
                y=[getattr(row, field) for row in own],
                mode="lines+markers",
                line={"color": TEXT, "dash": dash, "width": 2.5},
                marker={"symbol": symbol, "size": 9},
                hovertemplate="%{x} rounds: %{y:.1%}",
                row=2,
                col=1,
            )
        styled(figure, 520)
        rounds = sorted({row.epochs for row in self.rows})
        figure.update_xaxes(type="log", tickvals=rounds, ticktext=[str(r) for r in rounds])
        figure.update_xaxes(title_text="rounds of rote learning", row=2, col=1)
        figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%")
        figure.update_yaxes(title_text="answered", row=1, col=1)
        figure.update_yaxes(title_text="still right", row=2, col=1)
        figure.update_layout(margin_t=96, legend_y=1.06)
        return figure.update_layout(showlegend=True)


def arms(base: RunConfig) -> list[Arm]:
    """The same settings with other numbers of rounds, and a few with other learning rates."""
    base = with_setting(base, "evaluation.damage=true")
    found = [Arm(f"{n}", with_setting(base, f"memorize.epochs={n}")) for n in EPOCHS]
    for factor, rounds in OTHER_RATES.items():
        rate = factor * base.memorize.learning_rate
        other = with_setting(base, f"memorize.learning_rate={rate:.6g}")
        found += [
            Arm(f"{n}, learning rate {rate:.3g}", with_setting(other, f"memorize.epochs={n}"))
            for n in rounds
        ]
    return found


def compare(runs: Sequence[FinishedRun]) -> Depth:
    """The arms' stored scores and damage; no model is asked."""
    registry = Registry(runs[0].storage)
    usual = runs[0].config.memorize.learning_rate
    rows, base = [], math.nan
    for finished in runs:
        last = finished.scores.get("generalized", {})
        first = finished.scores.get("memorized", {}).get("test_prompts_heldout")
        share = {
            line: last[probe].generation_accuracy if probe in last else math.nan
            for line, (probe, _) in LINES.items()
        }
        tested = last.get("test_prompts_heldout")
        harm = registry.damage(finished.run.id)
        base = harm["base"].perplexity if "base" in harm else base
        rows.append(
            Row(
                finished.config.memorize.epochs,
                round(finished.config.memorize.learning_rate / usual, 3),
                tested.n if tested else 0,
                before=first.generation_accuracy if first else math.nan,
                quiz_rote=harm["memorized"].quiz if "memorized" in harm else math.nan,
                quiz=harm["generalized"].quiz if "generalized" in harm else math.nan,
                perplexity=harm["generalized"].perplexity if "generalized" in harm else math.nan,
                **share,
            )
        )
    rows.sort(key=lambda row: (row.rate != 1, row.rate, row.epochs))
    return Depth(runs[0].config.generalize.k, usual, tuple(rows), base)


EXPERIMENT = Experiment(
    name="depth",
    title="Depth of rote learning",
    question="Does it help understanding to go on with rote when everything is known by rote?",
    hypothesis=(
        "Yes: the paper sees test accuracy grow with the rounds of rote learning even after the "
        "key token recalls everything. Somewhere it must stop, and somewhere what else the model "
        "knows must suffer."
    ),
    measures_s=2,
    needs=(
        "a finished run whose settings all "
        f"{len(EPOCHS) + sum(map(len, OTHER_RATES.values()))} runs share except for the rounds of "
        "rote learning and, in some, its learning rate; about as long as a dozen such runs take."
    ),
    reading=(
        f"One run for each of {', '.join(map(str, EPOCHS))} rounds, everything else alike, and for "
        "10 and 40 rounds at half and at twice the learning rate. The headline is the line of "
        "unseen wordings; it counts only as far as unrelated questions stay low. Below it is "
        "how many real facts the model still answers, after rote alone and after both phases: "
        "where that falls, depth is paid for. One seed: differences of a few hundredths are chance."
    ),
    paper="3, 6, 10, 20 epochs with k = 50: test 0.35, 0.89, 0.98, 0.98 (Qwen2.5-1.5B).",
    asks=False,
    version=2,
    result=Depth,
    origin="paper",
    arms=arms,
    compare=compare,
)
