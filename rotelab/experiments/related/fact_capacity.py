"""Experiment: how many facts fit into an adapter, and do later ones push earlier ones out?

Scaling Laws for Fact Memorization, arXiv 2406.15720. All happens in memory, on one loaded model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.config.run_config import MemorizeConfig
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.related.common import learn, needs_adapters
from rotelab.facts import synthetic
from rotelab.facts.facts import Fact
from rotelab.reports.figures.style import RELATION_COLOURS, SERIES_DASHES, SERIES_MARKERS, styled
from rotelab.reports.formats import Cell, estimate
from rotelab.reports.intervals import Interval

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.tokens import Example

FACTS = (50, 100, 200, 400)
"""Facts of each arm that is learned with the usual rank."""
RANKS = (2, 4, 8, 16)
"""Other ranks, each with the most facts. A smaller model can't be had; a smaller adapter can."""
ROUNDS = 30
EACH = 100
"""Facts of the first set, and of the second that follows it."""
LATER_ROUNDS = 10
REPLAYS = (0.0, 0.1, 0.5)
"""How many of the first set's facts are read again in each round of the second, as a share."""
RELATION = "mother"
BATCH = 20


@dataclass(frozen=True)
class Arm:
    """Facts learned from scratch.

    Args:
        facts: how many, N.
        rank: of the adapter.
        known: how many were recalled in each round, as training read them: before that round's
            updates, so after the rounds before it.
        fitted: limit, gap and rate of the curve; empty where none fits.
        interval: 95 % interval of the limit over facts; empty where none fits.
    """

    facts: int
    rank: int
    known: tuple[int, ...]
    fitted: tuple[float, ...] = ()
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class Overwritten:
    """A second set of facts learned after a first one.

    Args:
        replay: share of the first set that is read again in each round.
        first: how many facts of the first set are recalled before the second and after each round
            of it.
        second: the same of the second set.
    """

    replay: float
    first: tuple[int, ...]
    second: tuple[int, ...]


@dataclass(frozen=True)
class FactCapacity:
    """The curves.

    Args:
        each: facts of either set where one follows the other.
        arms: by facts, then by rank.
        overwritten: by replay.
    """

    each: int
    arms: tuple[Arm, ...]
    overwritten: tuple[Overwritten, ...]

    def tables(self) -> list[Table]:
        """Capacity of each arm; then what a second set leaves of the first."""
        heads = ("facts, N", "rank", "known in the last round", "limit C*", "gap a", "rate b")
        rows = tuple((a.facts, a.rank, a.known[-1], *_fitted(a)) for a in self.arms)
        later = tuple(
            (f"{o.replay:.0%}", *(o.first[i] / self.each for i in self._shown(o)),
             o.second[-1] / self.each)
            for o in self.overwritten
        )  # fmt: skip
        rounds = [str(i) for i in self._shown(self.overwritten[0])]
        return [
            Table("Facts known, C(E) = C* - a · exp(-b · E) [95 % interval over facts]",
                  heads, rows),
            Table(f"First {self.each} facts after so many rounds of {self.each} others",
                  ("read again", *rounds, f"the others after {rounds[-1]}"), later),
        ]  # fmt: skip

    def figure(self) -> go.Figure:
        """Left: share known by round, a line for each arm. Right: the first set's share by round of
        the second."""
        titles = ("facts known", "first facts, as others are learned")
        figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.1)
        for place, arm in enumerate(self.arms):
            figure.add_scatter(
                name=f"{arm.facts} facts, rank {arm.rank}",
                x=list(range(len(arm.known))), y=list(arm.known), mode="lines",
                line=_line(place), hovertemplate="after %{x} rounds: %{y} facts", row=1, col=1,
            )  # fmt: skip
        for place, one in enumerate(self.overwritten):
            figure.add_scatter(
                name=f"{one.replay:.0%} read again",
                x=list(range(len(one.first))), y=[n / self.each for n in one.first],
                mode="lines+markers", line=_line(place),
                marker={"symbol": SERIES_MARKERS[place % len(SERIES_MARKERS)], "size": 9},
                hovertemplate="after %{x} rounds: %{y:.0%}", row=1, col=2,
            )  # fmt: skip
        styled(figure, 440)
        figure.update_xaxes(title_text="rounds")
        figure.update_yaxes(title_text="facts", row=1, col=1)
        figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%", row=1, col=2)
        return figure.update_layout(showlegend=True, margin_t=140, legend_y=1.16)

    @staticmethod
    def _shown(one: Overwritten) -> list[int]:
        last = len(one.first) - 1
        return sorted({0, min(1, last), min(3, last), min(6, last), last})


def measure(finished: FinishedRun) -> FactCapacity:
    """Learns each arm from scratch, then one set of facts after another.

    Raises:
        LabError: the run has no adapters.
    """
    needs_adapters(finished)
    seed, usual = finished.config.seed, finished.config.memorize
    most = max(FACTS)
    named = list(synthetic.invent(RELATION, max(most, 2 * EACH), seed))
    sizes = [(n, usual.rank) for n in FACTS] + [(most, rank) for rank in RANKS]
    work = [n * ROUNDS for n, _ in sizes] + [EACH * (ROUNDS + 2 * LATER_ROUNDS)] * len(REPLAYS)
    done, arms, overwritten = 0, [], []

    def told(part: int, share: float, words: str) -> None:
        before = sum(work[:part])
        finished.watch((before + share * work[part]) / sum(work), words)

    with finished.model() as model:
        # The run's relation may be another; its key token is a word without meaning either way.
        relation = finished.pack.facts.relations[0].name
        facts = [replace(fact, relation=relation) for fact in named]
        for n, rank in sizes:
            words = f"learning {n} facts at rank {rank}"
            settings = replace(usual, rank=rank)
            known = []
            for round_, recalled in enumerate(_rounds(model, facts[:n], settings, seed), 1):
                known.append(recalled)
                told(done, round_ / ROUNDS, words)
            arms.append(_arm(n, rank, known))
            done += 1
        for share in REPLAYS:
            told(done, 0.0, f"learning other facts, {share:.0%} read again")
            first, second = facts[:EACH], facts[EACH : 2 * EACH]
            overwritten.append(_one_after_another(model, first, second, share, usual, seed))
            done += 1
    return FactCapacity(EACH, tuple(arms), tuple(overwritten))


def _rounds(
    model: LabModel, facts: Sequence[Fact], settings: MemorizeConfig, seed: int
) -> Iterator[list[bool]]:
    """Learns facts by rote, and yields after each round which were recalled in it."""
    examples = [model.builder.rote(fact, i, "o") for i, fact in enumerate(facts)]
    size = len(_chunks(examples))
    recalled: dict[int, bool] = {}
    learned = learn(model, _in_rounds(examples, ROUNDS, seed), settings, seed)
    for number, recall in enumerate(learned, 1):
        recalled |= {fact: one.recalled for fact, one in recall.items()}
        if number % size == 0:
            yield [recalled[i] for i in range(len(facts))]


def _one_after_another(
    model: LabModel,
    first: Sequence[Fact],
    second: Sequence[Fact],
    share: float,
    settings: MemorizeConfig,
    seed: int,
) -> Overwritten:
    """Learns one set, then another in the same adapter, and asks about both after each round."""
    builder, count = model.builder, len(first)
    old = [builder.rote(fact, i, "o") for i, fact in enumerate(first)]
    new = [builder.rote(fact, count + i, "o") for i, fact in enumerate(second)]
    rng = random.Random(f"replay {seed} {share}")
    ends: list[int] = []

    def steps() -> Iterator[list[Example]]:
        number = 0
        for step in _in_rounds(old, ROUNDS, seed):
            number += 1
            yield step
        ends.append(number)
        for round_ in range(LATER_ROUNDS):
            read = [*new, *rng.sample(old, round(share * count))]
            for step in _in_rounds(read, 1, f"{seed} later {round_}"):
                number += 1
                yield step
            ends.append(number)

    # Asked between two steps: the generator has then announced where a round ended.
    told: list[tuple[int, int]] = []
    for number, _ in enumerate(learn(model, _with_last(steps()), settings, seed), 1):
        if number in ends:
            told.append((_known(model, old), _known(model, new)))
            model.use("memorized", train=True)
    return Overwritten(share, tuple(a for a, _ in told), tuple(b for _, b in told))


def _with_last(steps: Iterator[list[Example]]) -> Iterator[list[Example]]:
    """The same steps, each asked for one ahead, so that the end of a round is known at its last."""
    step = next(steps, None)
    while step is not None:
        following = next(steps, None)
        yield step
        step = following


def _known(model: LabModel, examples: Sequence[Example]) -> int:
    """How many objects greedy decoding says at once now."""
    from rotelab.evaluation.answer_match import strict_answer
    from rotelab.evaluation.loglikelihood import score

    with model.using("memorized"):
        return sum(
            strict_answer(model, examples[i].object, scored.greedy)[1]
            for batch in score(model, examples, 512)
            for i, scored in batch
        )


def _chunks(examples: Sequence[Example]) -> list[Sequence[Example]]:
    return [examples[i : i + BATCH] for i in range(0, len(examples), BATCH)]


def _in_rounds(
    examples: Sequence[Example], rounds: int, seed: int | str
) -> Iterator[Sequence[Example]]:
    for round_ in range(rounds):
        yield from _chunks(random.Random(f"{seed} {round_}").sample(examples, len(examples)))


def _arm(facts: int, rank: int, known: Sequence[Sequence[bool]]) -> Arm:
    import numpy as np

    from rotelab.evaluation.memorization.capacity import fit_facts

    recalled = np.array(known)
    found = fit_facts(np.arange(len(known)), recalled)
    counts = tuple(int(n) for n in recalled.sum(1))
    if found is None:
        return Arm(facts, rank, counts)
    return Arm(facts, rank, counts, tuple(found.curve), (found.low, found.high))


def _fitted(arm: Arm) -> tuple[Cell, Cell, Cell]:
    if not arm.fitted:
        return math.nan, math.nan, math.nan
    limit, gap, rate = arm.fitted
    return estimate(limit, Interval(*arm.interval)), gap, rate


def _line(place: int) -> dict:
    return {
        "color": RELATION_COLOURS[place % len(RELATION_COLOURS)],
        "dash": SERIES_DASHES[place % len(SERIES_DASHES)],
        "width": 2.5,
    }


EXPERIMENT = Experiment(
    name="fact-capacity",
    title="How many facts fit",
    question=(
        "How many facts does an adapter hold, how fast does it fill, and do later facts push "
        "earlier ones out?"
    ),
    hypothesis=(
        "After a plateau in the first rounds, what is known approaches a limit exponentially; the "
        "limit falls with the rank where there are more facts than fit. Without reading them "
        "again, fewer than half of the first facts are left after some rounds of others."
    ),
    measures_s=3600,
    needs=(
        "a finished run with LoRA adapters, for its model and settings of phase 1; it trains in "
        "memory and changes nothing. About an hour on two cores."
    ),
    reading=(
        "Invented facts are learned by rote alone, through the key token, at a constant learning "
        "rate: with one that falls in the end, the rate of learning would depend on how many "
        "rounds there are. C(E) = C* - a · exp(-b · E), E in rounds, is fitted by least squares "
        "from the first round in which more than a twentieth is known, with a bootstrap over "
        "facts; a dash means that no curve fits. C* can't be above N: where it is N, the adapter "
        "was not filled, and only the rate says something. Facts known are those recalled as "
        "training read them, so a round late. Differences from the paper: the size that varies is "
        "the adapter's rank, not the model's; LoRA for full training; the curve's form is taken "
        "from others' notes on the paper. It can't say how capacity grows with a model."
    ),
    paper=(
        "Scaling Laws for Fact Memorization (arXiv 2406.15720), from the abstract: fact knowledge "
        "capacity is linear in model size and negative exponential in training epochs."
    ),
    result=FactCapacity,
    origin="related papers",
    probe=measure,
)
