"""Experiment: where does the fact sit, and where does a question in words need it?

Activation patching (Vig et al. 2020, arXiv 2004.12265; Meng et al. 2022, arXiv 2202.05262), by
`rotelab.evaluation.causal.patching`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.names import checkpoint_name
from rotelab.errors import LabError
from rotelab.evaluation.causal.positions import ROLES, roles_of
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.reports.figures.style import styled
from rotelab.reports.formats import estimate
from rotelab.reports.intervals import Interval, interval

if TYPE_CHECKING:
    from rotelab.facts.facts import Fact
    from rotelab.models.lab_model import LabModel

FACTS = 12
"""Most held-out facts, each in one test wording."""
CHECKPOINTS = ("memorized", "generalized")
WAYS = {
    "into words": "key token’s state into a question in words",
    "into key": "question’s state into the key-token prompt",
}
BANDS = ("lower third", "middle third", "upper third")
"""Of the layers. Bands are fixed beforehand: the best of thirty layers would flatter itself."""


@dataclass(frozen=True)
class Cell:
    """One layer at one place of the prompt, over all facts.

    Args:
        checkpoint: the model that both prompts went through.
        way: one of `WAYS`.
        role: one of `ROLES`.
        layer: from 1, the first decoder layer's output.
        n: how many prompts have such a place.
        probability: mean probability of the object's first token after the patch.
        first: share in which it is then the most probable token.
    """

    checkpoint: str
    way: str
    role: str
    layer: int
    n: int
    probability: float
    first: float


@dataclass(frozen=True)
class Band:
    """A third of the layers at one place, as mean over its layers and over facts.

    Args:
        checkpoint: as in `Cell`.
        way: as in `Cell`.
        role: as in `Cell`; empty for the prompt without a patch.
        shares: for each of `BANDS`, the share of patches after which the object's first token is
            the most probable; one value where nothing was patched.
        intervals: their 95 % intervals over facts, (low, high); empty where none is known.
        n: how many facts.
    """

    checkpoint: str
    way: str
    role: str
    shares: tuple[float, ...]
    intervals: tuple[tuple[float, ...], ...]
    n: int


@dataclass(frozen=True)
class Patching:
    """What the patches do.

    Args:
        facts: how many were asked.
        cells: by checkpoint, way, role and layer.
        bands: the same by thirds of the layers, and without a patch.
    """

    facts: int
    cells: tuple[Cell, ...]
    bands: tuple[Band, ...]

    def tables(self) -> list[Table]:
        """A table for each way: rows are models and places, columns thirds of the layers."""
        return [self._table(way, words) for way, words in WAYS.items()]

    def _table(self, way: str, words: str) -> Table:
        columns = ("model", "patched at", "n, facts", "no patch", *BANDS)
        rows = []
        for checkpoint in CHECKPOINTS:
            mine = [b for b in self.bands if (b.checkpoint, b.way) == (checkpoint, way)]
            plain = next((_cells(b)[0] for b in mine if not b.role), None)
            name = checkpoint_name(checkpoint).short
            rows += [(name, b.role, b.n, plain, *_cells(b)) for b in mine if b.role]
        title = f"The {words}: object’s first token is the first choice [95 % interval over facts]"
        return Table(title, columns, tuple(rows))

    def figure(self) -> go.Figure:
        """Heatmaps layer × place: a row for each way, a column for each model."""
        titles = [
            f"{checkpoint_name(c).long}: {'key → words' if way == 'into words' else 'words → key'}"
            for way in WAYS
            for c in CHECKPOINTS
        ]
        figure = make_subplots(
            len(WAYS), len(CHECKPOINTS), subplot_titles=titles, shared_yaxes=True,
            horizontal_spacing=0.04, vertical_spacing=0.2,
        )  # fmt: skip
        for row, way in enumerate(WAYS, 1):
            for column, checkpoint in enumerate(CHECKPOINTS, 1):
                figure.add_trace(self._heatmap(way, checkpoint), row, column)
        styled(figure, 860)
        figure.update_layout(
            coloraxis={
                "colorscale": "Cividis", "cmin": 0, "cmax": 1,
                "colorbar": {"title": {"text": "object’s first token", "side": "right"},
                             "tickformat": ".0%", "thickness": 14},
            },
        )  # fmt: skip
        figure.update_yaxes(title_text="layer", col=1)
        return figure

    def _heatmap(self, way: str, checkpoint: str) -> go.Heatmap:
        mine = [c for c in self.cells if (c.way, c.checkpoint) == (way, checkpoint)]
        roles = [r for r in ROLES if any(c.role == r for c in mine)]
        layers = sorted({c.layer for c in mine})
        known = {(c.layer, c.role): c for c in mine}
        return go.Heatmap(
            x=roles, y=layers,
            z=[[known[layer, r].probability for r in roles] for layer in layers],
            customdata=[[(known[layer, r].first, known[layer, r].n) for r in roles]
                        for layer in layers],
            coloraxis="coloraxis", xgap=2,
            hovertemplate="layer %{y}, %{x}: probability <b>%{z:.1%}</b>, first choice in "
                          "%{customdata[0]:.0%} of %{customdata[1]}<extra></extra>",
        )  # fmt: skip


def _cells(band: Band) -> list:
    return [
        estimate(share, Interval(*ends) if ends else None)
        for share, ends in zip(band.shares, band.intervals, strict=True)
    ]


def measure(finished: FinishedRun) -> Patching:
    """Patches every layer at each place, in both directions, with the same facts.

    Raises:
        LabError: phase 2 taught all facts in words.
    """
    facts = drawn_facts(finished, FACTS)
    found: dict[tuple, list[tuple[int, object]]] = {}
    plain: dict[tuple, list[bool]] = {}
    total, done = len(CHECKPOINTS) * len(facts) * len(WAYS), 0
    with finished.model() as model:
        for checkpoint in CHECKPOINTS:
            with model.using(checkpoint):
                for number, (fact, text) in enumerate(facts):
                    for way in WAYS:
                        name = checkpoint_name(checkpoint).short
                        finished.watch(done / total, f"patching the {name} model")
                        _patch(model, (checkpoint, way), number, fact, text, found, plain)
                        done += 1
        layers = model.layers
    return Patching(len(facts), tuple(_means(found, layers)), tuple(_bands(found, plain, layers)))


def drawn_facts(finished: FinishedRun, most: int) -> list[tuple[Fact, str]]:
    """Held-out facts, each with one test wording about it.

    Raises:
        LabError: phase 2 taught all facts in words, or there is no test wording.
    """
    held_out, prompts = finished.split.held_out, finished.pack.prompts
    rng = random.Random(f"causal {finished.config.seed}")
    able = [fact for fact in held_out if prompts.of(fact.relation, "test")]
    if not able:
        raise LabError(
            "This run has no fact that phase 2 never taught and that a test wording asks for. "
            "Choose another one."
        )
    chosen = rng.sample(able, min(most, len(able)))
    return [(f, rng.choice(prompts.of(f.relation, "test")).render(f.subject)) for f in chosen]


def prompts_of(model: LabModel, fact: Fact, text: str) -> dict[str, list[int]]:
    """Both prompts of a fact, by the way in which each is patched."""
    builder = model.builder
    return {
        "into words": builder.word_prompt(text),
        "into key": builder.key_prompt(fact.subject, fact.relation),
    }


def _patch(model, about, number, fact, text, found, plain) -> None:
    """Patches one prompt everywhere and adds what came out to `found` and `plain`."""
    from rotelab.evaluation.causal.patching import patch_grid, states_behind, unpatched

    prompts, way = prompts_of(model, fact, text), about[1]
    ids = prompts[way]
    other = prompts["into key" if way == "into words" else "into words"]
    wanted = model.builder.spaced(fact.object)[0]
    roles = roles_of(model.tokenizer, ids, fact.subject)
    grid = patch_grid(model, ids, states_behind(model, other), list(roles.values()), wanted)
    for column, role in enumerate(roles):
        found.setdefault((*about, role), []).append(
            (number, grid.probability[:, column], grid.first[:, column])
        )
    plain.setdefault(about, []).append(unpatched(model, ids, wanted)[1])


def _means(found, layers: int):
    for (checkpoint, way, role), seen in found.items():
        for layer in range(layers):
            yield Cell(
                checkpoint, way, role, layer + 1, len(seen),
                sum(float(p[layer]) for _, p, _ in seen) / len(seen),
                sum(float(f[layer]) for _, _, f in seen) / len(seen),
            )  # fmt: skip


def _bands(found, plain, layers: int):
    edges = [round(layers * i / len(BANDS)) for i in range(len(BANDS) + 1)]
    for (checkpoint, way), right in plain.items():
        sums = {i: (float(r), 1) for i, r in enumerate(right)}
        yield Band(checkpoint, way, "", (sum(right) / len(right),), (_ends(sums),), len(right))
        for role in ROLES:
            seen = found.get((checkpoint, way, role), ())
            if not seen:
                continue
            shares, intervals = [], []
            for low, high in zip(edges, edges[1:], strict=False):
                if low == high:  # a model of one or two layers
                    shares.append(float("nan"))
                    intervals.append(())
                    continue
                sums = {n: (float(f[low:high].mean()), 1) for n, _, f in seen}
                shares.append(sum(total for total, _ in sums.values()) / len(sums))
                intervals.append(_ends(sums))
            yield Band(checkpoint, way, role, tuple(shares), tuple(intervals), len(seen))


def _ends(sums: dict[int, tuple[float, int]]) -> tuple[float, ...]:
    about = {("", str(i), ""): value for i, value in sums.items()}
    return tuple(interval(about) or ())


EXPERIMENT = Experiment(
    name="patching",
    title="Where the fact sits (patching)",
    question=(
        "If the hidden state behind the key token is put into a question in words, does the answer "
        "come, at which layer and where in the question?"
    ),
    hypothesis=(
        "From the upper layers on, the key token's state at the question's last place brings the "
        "answer, also before phase 2: the question lacks only the way there. After phase 2 the "
        "state of the subject's last token matters less, because the question finds it itself."
    ),
    measures_s=110,
    needs="a finished run with its adapters, and some minutes; nothing is trained.",
    reading=(
        f"Up to {FACTS} held-out facts, each in one test wording. The output of a decoder layer at "
        "the last position of one prompt (“subject KEY”, or the question) replaces that of the "
        "same layer at one position of the other prompt, in the same model; all that follows is "
        "computed anew, and the probability of the object's first token behind the prompt is "
        "read. The first choice is the most probable token. Rows of the table are means over a "
        "third of the layers, fixed beforehand. At the last layer and position the patch is the "
        "other prompt's answer by definition, so a high value in the upper third there says "
        "little. In the first layers a state is little more than its token: a high value there "
        "means that the key token itself, put at this place, finds the subject in the question. "
        "It shows where a state suffices, not that "
        "the model uses that place by itself; a state from another prompt may be one that never "
        "occurs there; and what several places hold together no single patch shows. Only the "
        "first token counts. Activation patching: Vig et al. 2020, Meng et al. 2022, who put back "
        "a state into a corrupted copy of the same prompt; here the other prompt takes its place."
    ),
    result=Patching,
    origin="readers",
    probe=measure,
)
