"""Experiment: which attention heads and MLPs carry the way from a question to the fact?

Parts are switched off one at a time by `rotelab.evaluation.causal.switching_off`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import checkpoint_name
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.patching import drawn_facts, prompts_of
from rotelab.reports.figures.style import styled
from rotelab.reports.formats import estimate
from rotelab.reports.intervals import Interval

FACTS = 8
"""Most held-out facts, each in one test wording."""
STRONGEST = 10
"""How many parts of each way are in the table."""
ASKED = (("memorized", "into key"), ("generalized", "into key"), ("generalized", "into words"))
"""Which model is asked how. In words the memorised one hardly answers: there is nothing to lose."""
ASKED_BY = {"into key": "key token", "into words": "question in words"}
TWO_SIDED = 1.96


@dataclass(frozen=True)
class Part:
    """One part switched off.

    Args:
        checkpoint: the model.
        way: `into key` (asked through the key token) or `into words`.
        layer: from 1.
        head: from 1; 0 stands for the MLP.
        drop: by how much the probability of the object's first token falls, mean over facts.
        error: its standard error over facts.
        lost: share of facts whose first choice was the object's first token and is not any more;
            NaN where it never was.
    """

    checkpoint: str
    way: str
    layer: int
    head: int
    drop: float
    error: float
    lost: float

    @property
    def name(self) -> str:
        """Such as `layer 12, head 3`."""
        return f"layer {self.layer}, {f'head {self.head}' if self.head else 'MLP'}"


@dataclass(frozen=True)
class SwitchedOff:
    """What each part is worth.

    Args:
        facts: how many were asked.
        heads: how many a layer has.
        whole: for each of `ASKED`, the mean probability with every part on.
        parts: by the order of `ASKED`, layer and part.
    """

    facts: int
    heads: int
    whole: tuple[float, ...]
    parts: tuple[Part, ...]

    def tables(self) -> list[Table]:
        """For each way, the parts without which the probability falls most; then how much heads
        and MLPs are worth in all."""
        columns = ("part", "probability falls by", "facts lost", "drop in the other ways")
        tables = []
        for (checkpoint, way), whole in zip(ASKED, self.whole, strict=True):
            mine = sorted(self._of(checkpoint, way), key=lambda part: -part.drop)[:STRONGEST]
            rows = tuple(
                (part.name, _with_error(part), part.lost, self._elsewhere(part)) for part in mine
            )
            title = (
                f"{checkpoint_name(checkpoint).long}, asked by {ASKED_BY[way]}: {whole:.2f} with "
                f"all parts, n = {self.facts} facts [95 % interval over facts]"
            )
            tables.append(Table(title, columns, rows))
        return tables

    def _of(self, checkpoint: str, way: str) -> list[Part]:
        return [p for p in self.parts if (p.checkpoint, p.way) == (checkpoint, way)]

    def _elsewhere(self, part: Part) -> str:
        """The same part's drop in the other two ways."""
        same = [
            p for p in self.parts
            if (p.layer, p.head) == (part.layer, part.head) and p is not part
            and (p.checkpoint, p.way) != (part.checkpoint, part.way)
        ]  # fmt: skip
        return ", ".join(
            f"{checkpoint_name(p.checkpoint).short}, {ASKED_BY[p.way]}: {p.drop:.2f}" for p in same
        )

    def figure(self) -> go.Figure:
        """Heatmaps layer × part, one for each way; the MLP is the last column."""
        titles = [f"{checkpoint_name(c).long},<br>{ASKED_BY[w]}" for c, w in ASKED]
        figure = make_subplots(
            1, len(ASKED), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.04
        )
        names = [*(str(h) for h in range(1, self.heads + 1)), "MLP"]
        most = max((abs(p.drop) for p in self.parts), default=1.0) or 1.0
        for column, (checkpoint, way) in enumerate(ASKED, 1):
            mine = {(p.layer, p.head): p.drop for p in self._of(checkpoint, way)}
            layers = sorted({layer for layer, _ in mine})
            z = [[mine[layer, h] for h in (*range(1, self.heads + 1), 0)] for layer in layers]
            trace = go.Heatmap(
                x=names, y=layers, z=z, coloraxis="coloraxis", xgap=1,
                hovertemplate="layer %{y}, %{x}: falls by <b>%{z:.2f}</b><extra></extra>",
            )  # fmt: skip
            figure.add_trace(trace, 1, column)
        styled(figure, 620)
        figure.update_layout(
            margin_t=90,
            coloraxis={
                "colorscale": "RdBu_r", "cmin": -most, "cmax": most,
                "colorbar": {"title": {"text": "probability falls by", "side": "right"},
                             "thickness": 14},
            },
        )  # fmt: skip
        figure.update_yaxes(title_text="layer", col=1)
        return figure.update_xaxes(title_text="head", type="category")


def _with_error(part: Part):
    half = TWO_SIDED * part.error
    known = part.error == part.error
    return estimate(part.drop, Interval(part.drop - half, part.drop + half) if known else None)


def measure(finished: FinishedRun) -> SwitchedOff:
    """Switches off every part alone, for the same facts in every way.

    Raises:
        LabError: phase 2 taught all facts in words, or the model's heads can't be told apart.
    """
    facts = drawn_facts(finished, FACTS)
    whole, parts, heads = [], [], 0
    with finished.model() as model:
        for place, (checkpoint, way) in enumerate(ASKED):
            drops, right, still = [], [], []
            with model.using(checkpoint):
                for number, (fact, text) in enumerate(facts):
                    done = (place + number / len(facts)) / len(ASKED)
                    name = checkpoint_name(checkpoint).short
                    finished.watch(done, f"switching off parts of the {name} model")
                    probability, first, grid = _asked(
                        model,
                        prompts_of(model, fact, text)[way],
                        model.builder.spaced(fact.object)[0],
                    )
                    drops.append((probability, probability - grid.probability))
                    right.append(first)
                    still.append(grid.first)
            whole.append(sum(p for p, _ in drops) / len(drops))
            parts += _parts(checkpoint, way, [drop for _, drop in drops], right, still)
            heads = drops[0][1].shape[1] - 1
    return SwitchedOff(len(facts), heads, tuple(whole), tuple(parts))


def _asked(model, ids: Sequence[int], wanted: int):
    from rotelab.evaluation.causal.patching import unpatched
    from rotelab.evaluation.causal.switching_off import switched_off_grid

    return (*unpatched(model, ids, wanted), switched_off_grid(model, ids, wanted))


def _parts(checkpoint: str, way: str, drops, right: list[bool], still) -> list[Part]:
    import numpy as np

    fell, known = np.stack(drops), np.array(right)
    kept = np.stack(still)
    mean, count = fell.mean(0), len(fell)
    error = fell.std(0, ddof=1) / count**0.5 if count > 1 else np.full(mean.shape, np.nan)
    lost = 1 - kept[known].mean(0) if known.any() else np.full(mean.shape, np.nan)
    layers, columns = mean.shape
    return [
        Part(checkpoint, way, layer + 1, (column + 1) % columns, float(mean[layer, column]),
             float(error[layer, column]), float(lost[layer, column]))
        for layer in range(layers)
        for column in range(columns)
    ]  # fmt: skip


EXPERIMENT = Experiment(
    name="switched-off",
    title="Heads and MLPs switched off",
    question=(
        "Which attention heads and MLPs does an answer need, through the key token and, after "
        "phase 2, in words?"
    ),
    hypothesis=(
        "Through the key token mostly MLPs of the middle layers, where phase 1 stored the fact. In "
        "words the same MLPs, and some heads that lead from the question to them: phase 2 trains "
        "attention."
    ),
    measures_s=240,
    needs="a finished run with its adapters, and some minutes; nothing is trained.",
    reading=(
        f"Up to {FACTS} held-out facts, each in one test wording and through its key token. One "
        "part at a time is switched off: what a head, or an MLP, adds is zero at every position of "
        "the prompt. Read is by how much the probability of the object's first token falls. The "
        "table has the parts with the largest fall, chosen by these very figures, so their "
        "intervals (mean ± 1.96 standard errors over facts) flatter them; the heatmaps have all. "
        "A fall means that the answer needs the part, not that the fact is stored there: the "
        "first layers' MLPs prepare every word, and zero is a value that no part ever takes, so "
        "what follows may break for that alone. A part whose work another one takes over shows no "
        "fall. Below zero the answer is likelier without it."
    ),
    result=SwitchedOff,
    origin="readers",
    probe=measure,
)
