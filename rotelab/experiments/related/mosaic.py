"""Experiment: does a copy with other words in it count as a copy?

The Mosaic Memory of Large Language Models, arXiv 2405.15523. All happens in memory, on one model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import with_interval
from rotelab.experiments.related.common import (
    in_steps,
    learn,
    log_likelihoods,
    needs_adapters,
    text_example,
)
from rotelab.reports.figures.style import RELATION_COLOURS, styled, whiskers

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel

CANARIES, LENGTH = 60, 32
"""Texts that are trained on, and as many that are not; tokens of each."""
EXACT = (1, 2, 4, 7, 10)
"""Exact copies of an arm; between them the curve is taken to be straight."""
COPIES = 10
REPLACED = (3, 8, 16)
"""Tokens replaced in each of the other copies, beside one exact copy."""
TOP = 10
"""A token is replaced by one of so many that the model finds likeliest in its place."""
BATCH = 20
LEARNING_RATE = 1e-4
"""Much less than phase 1's: at that, ten copies are recognised without an error, and rho can't be
told."""
RESAMPLES = 300

PUBLISHED = {1: 0.8977, 5: 0.7811, 10: 0.6462, 15: 0.5202, 20: 0.4519, 25: 0.4014, 50: 0.1864,
             75: 0.0810}  # fmt: skip
"""GPT-Neo 1.3B: mean rho over five seeds by the tokens replaced of 100 (the authors' notebook)."""

Texts = list[tuple[int, ...]]


@dataclass(frozen=True)
class Arm:
    """One training.

    Args:
        exact: exact copies of each canary.
        replaced: tokens replaced in each of the other copies; 0 where there are none.
        auc: of the attack.
        auc_interval: 95 % interval over canaries.
        equivalent: exact copies that would do as well, n_eq.
        rho: what one of the other copies is worth; NaN for exact copies alone, like the next.
        rho_interval: 95 % interval over canaries; empty where it can't be told.
    """

    exact: int
    replaced: int
    auc: float
    auc_interval: tuple[float, ...]
    equivalent: float
    rho: float
    rho_interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class Mosaic:
    """The arms, with exact copies alone first.

    Args:
        canaries: how many were trained on, and how many were not.
        length: tokens of each.
        arms: in their order.
    """

    canaries: int
    length: int
    arms: tuple[Arm, ...]

    def tables(self) -> list[Table]:
        """The curve of exact copies; then what fuzzy ones are worth."""
        n = f"{self.canaries} canaries and {self.canaries} others [95 % interval over canaries]"
        exact = tuple((a.exact, with_interval(a.auc, a.auc_interval))
                      for a in self.arms if not a.replaced)  # fmt: skip
        fuzzy = tuple(
            (a.replaced, f"{a.replaced / self.length:.0%}", with_interval(a.auc, a.auc_interval),
             a.equivalent, with_interval(a.rho, a.rho_interval))
            for a in self.arms if a.replaced
        )  # fmt: skip
        heads = ("tokens replaced", "share", "AUC", "exact copies that do as well", "rho")
        return [
            Table(f"Exact copies: AUC of the attack, {n}", ("copies", "AUC"), exact),
            Table(f"One exact copy and {COPIES - 1} fuzzy ones, {n}", heads, fuzzy),
        ]

    def figure(self) -> go.Figure:
        """Left: the attack by exact copies. Right: what a fuzzy copy is worth."""
        figure = make_subplots(
            1, 2, subplot_titles=("exact copies", "fuzzy copies"), horizontal_spacing=0.12
        )
        exact = [a for a in self.arms if not a.replaced]
        fuzzy = [a for a in self.arms if a.replaced]
        own, theirs = RELATION_COLOURS[:2]
        figure.add_scatter(
            name="this model", x=[a.exact for a in exact], y=[a.auc for a in exact],
            error_y=whiskers([a.auc for a in exact], [a.auc_interval for a in exact]),
            mode="lines+markers", line={"color": own, "width": 2.5}, marker={"size": 9},
            hovertemplate="%{x} copies: AUC %{y:.2f}", legendgroup="own", row=1, col=1,
        )  # fmt: skip
        figure.add_scatter(
            name="this model", x=[a.replaced / self.length for a in fuzzy],
            y=[a.rho for a in fuzzy],
            error_y=whiskers([a.rho for a in fuzzy], [a.rho_interval for a in fuzzy]),
            mode="lines+markers", line={"color": own, "width": 2.5}, marker={"size": 9},
            hovertemplate="%{x:.0%} replaced: rho %{y:.2f}", legendgroup="own", showlegend=False,
            row=1, col=2,
        )  # fmt: skip
        figure.add_scatter(
            name="GPT-Neo 1.3B, published", x=[r / 100 for r in PUBLISHED],
            y=list(PUBLISHED.values()), mode="lines+markers",
            line={"color": theirs, "width": 2, "dash": "dash"},
            marker={"size": 8, "symbol": "diamond"},
            hovertemplate="%{x:.0%} replaced: rho %{y:.2f}", row=1, col=2,
        )  # fmt: skip
        styled(figure, 420)
        figure.update_xaxes(title_text="copies of each text", row=1, col=1)
        figure.update_xaxes(title_text="tokens replaced", tickformat=".0%", row=1, col=2)
        figure.update_yaxes(title_text="AUC of the attack", row=1, col=1)
        figure.update_yaxes(title_text="worth of a fuzzy copy, rho", row=1, col=2)
        return figure.update_layout(showlegend=True, margin_t=110, legend_y=1.12)


def measure(finished: FinishedRun) -> Mosaic:
    """Trains every arm from scratch, and attacks it.

    Raises:
        LabError: the run has no adapters.
    """
    needs_adapters(finished)
    from rotelab.training.null_space import own_texts

    seed = finished.config.seed
    settings = replace(finished.config.memorize, learning_rate=LEARNING_RATE)
    plans = [(n, 0) for n in EXACT] + [(1, r) for r in REPLACED]
    work = [n if not r else COPIES for n, r in plans]
    found = []
    with finished.model() as model:
        finished.watch(0.0, "writing canaries")
        texts = own_texts(model, seed + 1, 2 * CANARIES, LENGTH)
        with model.using("base"):
            before = np.array(log_likelihoods(model, texts))
            likely = likeliest(model, texts[:CANARIES])
        for place, (exact, replaced) in enumerate(plans):
            words = f"training on {exact} exact copies"
            if replaced:
                words = f"training on copies with {replaced} tokens replaced"
            finished.watch((1 + sum(work[:place])) / (2 + sum(work)), words)
            read = copies(texts[:CANARIES], likely, exact, replaced, seed)
            examples = [text_example(ids, i) for i, ids in enumerate(read)]
            for _ in learn(model, in_steps(examples, BATCH, f"{seed} {place}"), settings, seed):
                pass
            with model.using("memorized"):
                found.append(np.array(log_likelihoods(model, texts)) - before)
    return found_of(plans, np.array(found), seed)


def found_of(plans: Sequence[tuple[int, int]], scores: np.ndarray, seed: int) -> Mosaic:
    """The result of the attack's scores.

    Args:
        plans: exact copies and replaced tokens of each arm.
        scores: by arm and text, `[arms, 2 · canaries]`, those trained on first: how much likelier
            a text has become, the logarithm of the ratio of perplexities, negative.
        seed: of the bootstrap.
    """
    count = scores.shape[1] // 2
    members, others = scores[:, :count], scores[:, count:]
    aucs, equivalents, rhos = _curves(plans, members, others)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(RESAMPLES):
        mine, theirs = rng.integers(0, count, (2, count))
        drawn, _, drawn_rhos = _curves(plans, members[:, mine], others[:, theirs])
        draws.append((drawn, drawn_rhos))
    about = [np.array([draw[i] for draw in draws]) for i in (0, 1)]
    arms = tuple(
        Arm(exact, replaced, aucs[i], _middle(about[0][:, i]), equivalents[i], rhos[i],
            _middle(about[1][:, i]) if replaced else ())
        for i, (exact, replaced) in enumerate(plans)
    )  # fmt: skip
    return Mosaic(count, LENGTH, arms)


def _curves(
    plans: Sequence[tuple[int, int]], members: np.ndarray, others: np.ndarray
) -> tuple[list[float], list[float], list[float]]:
    """AUC, n_eq and rho of each arm."""
    from rotelab.evaluation.memorization import mosaic

    aucs = [mosaic.auc(mine, theirs) for mine, theirs in zip(members, others, strict=True)]
    known = {exact: value for (exact, replaced), value in zip(plans, aucs, strict=True)
             if not replaced}  # fmt: skip
    exact = mosaic.smoothed(mosaic.filled_in(known))
    equivalents, rhos = [], []
    for (number, replaced), value in zip(plans, aucs, strict=True):
        equivalents.append(mosaic.equivalent_copies(value, exact) if replaced else float(number))
        rhos.append(mosaic.exact_duplicate_equivalent(value, exact) if replaced else float("nan"))
    return aucs, equivalents, rhos


def _middle(values: np.ndarray) -> tuple[float, ...]:
    """The middle 95 % of bootstrap values; empty where some can't be told."""
    if not np.isfinite(values).all():
        return ()
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def copies(
    texts: Sequence[tuple[int, ...]],
    likely: Sequence[Sequence[Sequence[int]]],
    exact: int,
    replaced: int,
    seed: int,
) -> Texts:
    """What an arm reads: each text so many times, or once and `COPIES - 1` times with tokens
    replaced, at other places in each copy.

    Args:
        texts: the canaries, each with the separator first.
        likely: from `likeliest`.
        exact: exact copies.
        replaced: tokens replaced in each other copy; 0 for no other copies.
        seed: draws places and tokens.
    """
    rng, found = random.Random(f"mosaic {seed} {replaced}"), []
    for text, by_place in zip(texts, likely, strict=True):
        found += [text] * exact
        for _ in range(COPIES - exact if replaced else 0):
            copy = list(text)
            for place in rng.sample(range(1, len(text)), replaced):
                copy[place] = rng.choice([t for t in by_place[place] if t != text[place]])
            found.append(tuple(copy))
    return found


def likeliest(model: LabModel, texts: Sequence[tuple[int, ...]]) -> list[list[list[int]]]:
    """For each text and place the `TOP` tokens that the model finds likeliest there; none at 0."""
    import torch

    from rotelab.models.packing import pack

    found = []
    for text in texts:
        packed = pack([text])
        with torch.inference_mode():
            logits = model.forward(packed)[0]
        best = logits[list(packed.nodes[0])].topk(TOP).indices.tolist()
        found.append([[], *best[:-1]])
    return found


EXPERIMENT = Experiment(
    name="mosaic",
    title="Mosaic memory: do fuzzy copies count?",
    question=(
        "If a text is read ten times, but each time with other words replaced, is it memorised "
        "nearly as well as from ten exact copies?"
    ),
    hypothesis=(
        "Nearly: what a fuzzy copy is worth, rho, falls smoothly with the share of tokens replaced "
        "and is above one half with a tenth of them replaced."
    ),
    measures_s=600,
    needs=(
        "a finished run with LoRA adapters, for its model and settings; it trains in memory and "
        "changes nothing. About ten minutes on two cores."
    ),
    reading=(
        "Canaries, texts that the base model wrote, are trained on; as many others are not. The "
        "attack guesses which ones were read: the text's perplexity under the trained model, "
        "divided by that under the base model. Its AUC is 0.5 for a guess and 1 without an error. "
        "n_eq is the number of exact copies with which the attack does as well as with one exact "
        f"copy and {COPIES - 1} fuzzy ones, on the curve of exact copies smoothed by three; "
        f"rho = (n_eq - 1) / {COPIES - 1}. Where the attack makes no error any more, rho can't be "
        "told. Differences from the paper: a LoRA adapter on a small model; canaries of 32 tokens, "
        "not 100; replacements are the model's own likely next tokens, because there is no masked "
        "language model here; the reference is the base model, not another one. With 60 canaries "
        "an AUC has a standard error of about 0.05."
    ),
    paper=(
        "The Mosaic Memory of Large Language Models (arXiv 2405.15523): the dashed line is GPT-Neo "
        "1.3B, mean of five seeds, from the authors' notebook; this lab's formulas give the same "
        "figures from the authors' AUCs. Abstract: a fuzzy copy is worth up to 0.8 of an exact one."
    ),
    result=Mosaic,
    origin="related papers",
    probe=measure,
)
