"""Experiment: which examples does a model know because it was trained on them?

Counterfactual Memorization in Neural Language Models, arXiv 2112.12938. All happens in memory, on
one loaded model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go

from rotelab.errors import LabError
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import with_interval
from rotelab.experiments.related.common import (
    PASS_TOKENS,
    in_steps,
    interval_of_items,
    learn,
    needs_adapters,
)
from rotelab.facts import synthetic
from rotelab.facts.packs import load_pack
from rotelab.reports.figures.style import RELATION_COLOURS, styled

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.tokens import Example

MODELS = 24
INVENTED, TWINS, KNOWN, FALSE = 24, 8, 16, 8
"""Invented facts in one wording; in two wordings, each an item; real facts; real facts with the
answer of another one."""
ROUNDS, BATCH = 8, 16
RELATION = "mother"

KINDS = {
    "invented": "invented, one wording",
    "twin": "invented, in two wordings",
    "known": "real and known before",
    "false": "real, with a false answer",
}


class Item(NamedTuple):
    """One training example: its kind, the words before the answer, the answer, and the number of
    the item that tells the same in other words, or -1."""

    kind: str
    text: str
    answer: str
    twin: int = -1


@dataclass(frozen=True)
class Measured:
    """One item.

    Args:
        kind: one of `KINDS`.
        text: its words, with the answer.
        trained: mean per-token accuracy of the models that were trained on it.
        untrained: of those that were not.
        error: standard error of the difference.
        likelier: by how much the answer's mean log-probability is higher where it was trained on,
            nats a token.
    """

    kind: str
    text: str
    trained: float
    untrained: float
    error: float
    likelier: float

    @property
    def memorisation(self) -> float:
        """mem(x)."""
        return self.trained - self.untrained


@dataclass(frozen=True)
class Counterfactual:
    """Every item, and what one wording of a fact does for the other.

    Args:
        models: how many were trained, each on half of the items.
        items: in their order.
        influences: of each twin on the other: on accuracy, and on log-probability.
    """

    models: int
    items: tuple[Measured, ...]
    influences: tuple[tuple[float, float], ...]

    def tables(self) -> list[Table]:
        """A row for each kind; then the influence of twins."""
        rows = []
        for kind, words in KINDS.items():
            mine = [item for item in self.items if item.kind == kind]
            if mine:
                values = [item.memorisation for item in mine]
                rows.append(
                    (words, len(mine), fmean(i.trained for i in mine),
                     fmean(i.untrained for i in mine),
                     with_interval(fmean(values), interval_of_items(values)),
                     fmean(i.likelier for i in mine))
                )  # fmt: skip
        heads = ("items", "n", "right where trained on", "right where not",
                 "memorisation mem(x)", "nats a token likelier")  # fmt: skip
        tables = [
            Table(f"{self.models} models, each trained on half of the items "
                  "[95 % interval over items]", heads, tuple(rows)),
        ]  # fmt: skip
        if self.influences:
            right, likelier = zip(*self.influences, strict=True)
            tables.append(
                Table(
                    "What training on a fact in one wording does for it in another one",
                    ("n", "influence infl(x → x')", "nats a token likelier"),
                    (
                        (
                            len(right),
                            with_interval(fmean(right), interval_of_items(right)),
                            fmean(likelier),
                        ),
                    ),
                )
            )
        return tables

    def figure(self) -> go.Figure:
        """A mark for each item, kinds across; a line at each kind's mean."""
        figure, rng = go.Figure(), random.Random("jitter")
        for place, kind in enumerate(KINDS):
            mine = [item for item in self.items if item.kind == kind]
            if not mine:
                continue
            mean = fmean(item.memorisation for item in mine)
            colour = RELATION_COLOURS[place]
            figure.add_scatter(
                x=[place + rng.uniform(-0.22, 0.22) for _ in mine],
                y=[item.memorisation for item in mine],
                mode="markers", marker={"color": colour, "size": 9, "opacity": 0.75},
                customdata=[(item.text, item.error) for item in mine],
                hovertemplate="%{customdata[0]}<br>mem %{y:.2f} ± %{customdata[1]:.2f}"
                "<extra></extra>",
            )  # fmt: skip
            figure.add_scatter(
                x=[place - 0.32, place + 0.32], y=[mean, mean], mode="lines",
                line={"color": colour, "width": 4}, hovertemplate=f"mean {mean:.2f}<extra></extra>",
            )  # fmt: skip
        styled(figure, 420)
        names = [
            words.replace(", ", ",<br>").replace(" and ", " and<br>") for words in KINDS.values()
        ]
        figure.update_xaxes(tickvals=list(range(len(KINDS))), ticktext=names, zeroline=False)
        figure.update_yaxes(range=[-0.55, 1.1], title_text="memorisation, mem(x)")
        return figure.update_layout(showlegend=False)


def measure(finished: FinishedRun) -> Counterfactual:
    """Trains every model from scratch on its half of the items, and asks it all of them.

    Raises:
        LabError: the run has no adapters, or its base model knows too few real facts.
    """
    needs_adapters(finished)
    from rotelab.evaluation.memorization.counterfactual import halves

    seed, settings = finished.config.seed, finished.config.memorize
    with finished.model() as model:
        finished.watch(0.0, "asking what the base model knows")
        items = items_for(model, seed)
        builder = model.builder
        examples = [builder.answered(builder.word_prompt(item.text), item.answer, "train", i)
                    for i, item in enumerate(items)]  # fmt: skip
        trained = halves(len(items), MODELS, seed)
        right, likely = np.zeros(trained.shape), np.zeros(trained.shape)
        for number, half in enumerate(trained):
            words = f"training and asking model {number + 1} of {MODELS}"
            finished.watch((number + 0.5) / (MODELS + 0.5), words)
            mine = [example for example, there in zip(examples, half, strict=True) if there]
            steps = in_steps(mine, BATCH, f"{seed} {number}", ROUNDS)
            for _ in learn(model, steps, settings, seed + number, "train"):
                pass
            with model.using("memorized"):
                right[number], likely[number] = performance(model, examples)
    return found_of(items, trained, right, likely)


def found_of(
    items: Sequence[Item], trained: np.ndarray, right: np.ndarray, likely: np.ndarray
) -> Counterfactual:
    """The result of what every model did on every item.

    Args:
        items: the items.
        trained: which items each model was trained on, `[models, items]`.
        right: per-token accuracy, like `trained`.
        likely: mean log-probability of the answer's tokens, like `trained`.
    """
    from rotelab.evaluation.memorization.counterfactual import influence, memorisation

    found, influences = [], []
    for i, item in enumerate(items):
        inside = trained[:, i]
        found.append(
            Measured(item.kind, f"{item.text} {item.answer}", float(right[inside, i].mean()),
                     float(right[~inside, i].mean()), memorisation(trained, right, i).error,
                     memorisation(trained, likely, i).value)
        )  # fmt: skip
        if item.twin >= 0:
            influences.append((influence(trained, right, i, item.twin).value,
                               influence(trained, likely, i, item.twin).value))  # fmt: skip
    return Counterfactual(len(trained), tuple(found), tuple(influences))


def items_for(model: LabModel, seed: int) -> list[Item]:
    """The items: invented facts, some of them twice, and real ones that the base model knows.

    Raises:
        LabError: it knows too few.
    """
    from rotelab.evaluation import forgetting

    wordings = [t for t in load_pack(RELATION).prompts.of(RELATION, "train")][:2]
    facts = list(synthetic.invent(RELATION, INVENTED + TWINS, seed))
    first, second = (lambda fact, t=t: t.render(fact.subject) for t in wordings)
    items = [Item("invented", first(fact), fact.object) for fact in facts[:INVENTED]]
    for fact in facts[INVENTED:]:
        place = len(items)
        items.append(Item("twin", first(fact), fact.object, place + 1))
        items.append(Item("twin", second(fact), fact.object, place))
    with model.using("base"):
        known = [a for a in forgetting.answered(model, forgetting.texts()[1]) if a.correct]
    if len(known) < KNOWN + FALSE:
        raise LabError(
            f"The base model of this run knows {len(known)} of the bundled real facts, and this "
            f"experiment takes {KNOWN + FALSE}. Choose a run on a model that knows more."
        )
    drawn = random.Random(f"real {seed}").sample(known, KNOWN + FALSE)
    items += [Item("known", a.question, a.expected) for a in drawn[:KNOWN]]
    false = drawn[KNOWN:]
    # Each gets the answer of the next one.
    items += [Item("false", a.question, b.expected)
              for a, b in zip(false, [*false[1:], false[0]], strict=True)]  # fmt: skip
    return items


def performance(model: LabModel, examples: Sequence[Example]) -> tuple[list[float], list[float]]:
    """Per-token accuracy and mean log-probability of each example's answer."""
    from rotelab.evaluation.loglikelihood import score

    right, likely = [0.0] * len(examples), [0.0] * len(examples)
    for batch in score(model, examples, PASS_TOKENS):
        for i, scored in batch:
            gold = examples[i].object
            right[i] = fmean(a == b for a, b in zip(gold, scored.greedy[: len(gold)], strict=True))
            likely[i] = fmean(scored.log_probabilities)
    return right, likely


EXPERIMENT = Experiment(
    name="counterfactual",
    title="Known because it was read",
    question=(
        "Which examples does a model know only because it was trained on them, and does reading a "
        "fact in one wording help with it in another?"
    ),
    hypothesis=(
        "Invented facts and false answers are known only to models that read them, real facts to "
        "all. A fact that stands there in two wordings is memorised less, as the other one stands "
        "in for it, as far as a model carries over from one wording to another at all."
    ),
    measures_s=900,
    needs=(
        "a finished run with LoRA adapters, for its model and settings; it trains "
        f"{MODELS} models in memory and changes nothing. About a quarter of an hour on two cores."
    ),
    reading=(
        "Each model learns another half of the items from scratch, every item in exactly half of "
        "the models. M is the share of the answer's tokens that the model says in their place, "
        "mem(x) = mean of M over models that were trained on x, minus the mean over those that "
        "were not: 1 for what only training gives, 0 for what every model knows or none does. "
        "infl(x → x') is the same difference with M on another item x'. Differences from the "
        "paper: LoRA adapters on one small model, "
        f"{MODELS} of them, where the authors train many models from scratch; short sentences for "
        f"documents. The standard error of one item is about 0.1 with {MODELS} models, so read "
        "kinds, not items. It can't say what a model that was trained on everything would do."
    ),
    paper=(
        "Counterfactual Memorization in Neural Language Models (arXiv 2112.12938): the definitions "
        "are from the abstract; its figures were not checked here."
    ),
    result=Counterfactual,
    origin="related papers",
    probe=measure,
)
