"""Experiment: would looking the fact up among memorised states do what phase 2 does?

RetroPrompt's interpolation, arXiv 2205.14704; `rotelab.evaluation.memorization.retrieval`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.config.names import checkpoint_name
from rotelab.evaluation.memorization.retrieval import TEMPERATURE, USUAL_NEIGHBOURS
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, styled
from rotelab.reports.formats import estimate
from rotelab.reports.intervals import Interval, interval

if TYPE_CHECKING:
    from rotelab.evaluation.probes import Question
    from rotelab.models.lab_model import LabModel

CHECKPOINTS = ("base", "memorized", "generalized")
SHARES = (0.0, 0.2, 0.5, 0.8, 1.0)
"""How much the neighbours count: lambda. The authors' is 0.2."""
NEIGHBOURS = (1, 16)
"""How many vote: k. The authors' is 16."""
USUAL_SHARE = 0.2
FACTS = 50
"""Most held-out facts that are asked."""
PROBES = ("test_prompts_heldout", "unrelated")


@dataclass(frozen=True)
class Row:
    """One way to look up at one checkpoint.

    Args:
        checkpoint: it gives the states of the store, those of the questions, and the words.
        k: how many neighbours vote.
        share: how much they count, lambda.
        rule: `paper` or `code`.
        n: questions in test wordings.
        first: share whose first token is the object's.
        interval: its 95 % interval over facts.
        whole: share that goes on with the rest of the object by greedy decoding.
        leaks: unrelated questions.
        leak: share of them that begin with the object's first token.
    """

    checkpoint: str
    k: int
    share: float
    rule: str
    n: int
    first: float
    interval: tuple[float, ...]
    whole: float
    leaks: int
    leak: float


@dataclass(frozen=True)
class Retrieval:
    """All ways to look up.

    Args:
        stored: how many facts the store has.
        rows: by checkpoint, then k, then rule and lambda.
    """

    stored: int
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """A row for each way; the authors' rule beside the paper's in a table of its own."""
        heads = ("model", "k", "lambda", "n", "first token right", "whole object", "n, unrelated",
                 "leak")  # fmt: skip

        def cells(r: Row) -> tuple:
            right = estimate(r.first, Interval(*r.interval) if r.interval else None)
            name = checkpoint_name(r.checkpoint).short
            return (name, r.k, f"{r.share:g}", r.n, right, r.whole, r.leaks, r.leak)

        paper = tuple(cells(r) for r in self.rows if r.rule == "paper")
        code = tuple(cells(r) for r in self.rows if r.rule == "code")
        title = f"Test wordings with {self.stored} stored facts [95 % interval over facts]"
        return [
            Table(title, heads, paper),
            Table("The same by the rule of the authors' code", heads, code),
        ]

    def figure(self) -> go.Figure:
        """Lines over lambda at the authors' k: right first tokens, and the leak, dotted."""
        figure = go.Figure()
        k = max(row.k for row in self.rows)
        for checkpoint in dict.fromkeys(row.checkpoint for row in self.rows):
            mine = [r for r in self.rows if (r.checkpoint, r.k, r.rule) == (checkpoint, k, "paper")]
            name = checkpoint_name(checkpoint).short
            for field, words, dash, symbol in (
                ("first", "right", "solid", "circle"), ("leak", "leak", "dot", "x"),
            ):  # fmt: skip
                figure.add_scatter(
                    name=f"{name}, {words}", x=[r.share for r in mine],
                    y=[getattr(r, field) for r in mine], mode="lines+markers",
                    line={"color": CHECKPOINT_COLOURS[checkpoint], "dash": dash, "width": 2.5},
                    marker={"symbol": symbol, "size": 9}, hovertemplate="lambda %{x}: %{y:.1%}",
                )  # fmt: skip
        styled(figure, 400)
        figure.update_xaxes(title_text=f"lambda: how much {k} neighbours count")
        figure.update_yaxes(
            range=[-0.04, 1.06], tickformat=".0%", title_text="object's first token"
        )
        return figure.update_layout(showlegend=True, margin_t=110)


def measure(finished: FinishedRun) -> Retrieval:
    """Stores the state behind every key token, and looks up test wordings and unrelated ones."""
    from rotelab.evaluation.probes import questions

    facts, rows = finished.pack.facts, []
    seed = finished.config.seed
    kept = list(range(len(finished.split.held_out)))
    kept = random.Random(f"retrieval {seed}").sample(kept, min(FACTS, len(kept)))
    held_out = [finished.split.held_out[i] for i in sorted(kept)]
    split = replace(finished.split, held_in=(), held_out=tuple(held_out or finished.split.held_in))
    with finished.model() as model:
        asked = questions(
            model, facts, split, finished.pack.prompts,
            replace(finished.config.evaluation, candidates=0, normalized=False), seed,
        )  # fmt: skip
        stored = [q for q in asked if q.probe == "key_token"]
        asked = [q for q in asked if q.probe in PROBES]
        for place, checkpoint in enumerate(CHECKPOINTS):
            name = checkpoint_name(checkpoint).short
            finished.watch(place / len(CHECKPOINTS), f"looking up with the {name} model")
            with model.using(checkpoint):
                rows += _looked_up(model, checkpoint, stored, asked)
    return Retrieval(len(stored), tuple(rows))


def _looked_up(
    model: LabModel, checkpoint: str, stored: Sequence[Question], asked: Sequence[Question]
) -> list[Row]:
    import numpy as np

    from rotelab.evaluation.memorization.prompt_ends import read_ends
    from rotelab.evaluation.memorization.retrieval import (
        cosines,
        interpolated,
        knn_distribution,
    )

    keys, _ = read_ends(model, [q.example.prompt for q in stored])
    states, p = read_ends(model, [q.example.prompt for q in asked])
    labels = np.array([q.example.object[0] for q in stored])
    gold = np.array([q.example.object[0] for q in asked])
    goes_on = _goes_on(model, asked)
    similar = cosines(states, keys)
    rows = []
    for k in NEIGHBOURS:
        p_knn = knn_distribution(similar, labels, p.shape[1], k, TEMPERATURE)
        ways = [("paper", share) for share in SHARES]
        if k == USUAL_NEIGHBOURS:
            ways += [("code", share) for share in SHARES]
        for rule, share in ways:
            said = interpolated(p, p_knn, share, rule).argmax(1)
            rows.append(_row(checkpoint, (k, share, rule), asked, said == gold, goes_on))
    return rows


def _row(
    checkpoint: str,
    way: tuple[int, float, str],
    asked: Sequence[Question],
    first: Sequence[bool],
    goes_on: Sequence[bool],
) -> Row:
    sums: dict[tuple[str, str, str], tuple[float, int]] = {}
    whole = leak = leaks = 0
    for question, right, rest in zip(asked, first, goes_on, strict=True):
        if question.probe == "unrelated":
            leaks += 1
            leak += bool(right)
            continue
        fact = question.fact
        about = (fact.relation, fact.subject, fact.object)
        total, count = sums.get(about, (0.0, 0))
        sums[about] = (total + float(right), count + 1)
        whole += bool(right and rest)
    n = sum(count for _, count in sums.values())
    share = sum(total for total, _ in sums.values()) / n
    return Row(checkpoint, *way, n, share, tuple(interval(sums) or ()), whole / n, leaks,
               leak / leaks if leaks else float("nan"))  # fmt: skip


def _goes_on(model: LabModel, asked: Sequence[Question]) -> list[bool]:
    """Whether greedy decoding goes on with the rest of the object after its first token, and then
    ends it."""
    from rotelab.evaluation.answer_match import strict_answer
    from rotelab.evaluation.loglikelihood import score

    found = [False] * len(asked)
    for batch in score(model, [q.example for q in asked], 512):
        for index, scored in batch:
            gold = asked[index].example.object
            found[index] = strict_answer(model, gold, (gold[0], *scored.greedy[1:]))[1]
    return found


EXPERIMENT = Experiment(
    name="retrieval",
    title="Looking up beside the weights (RetroPrompt)",
    question=(
        "If the state behind each key token were kept in a store, would looking up the nearest "
        "one answer a question in words, so that phase 2 is not needed?"
    ),
    hypothesis=(
        "Before phase 2 it helps as far as the states of a question lie near that of its subject's "
        "key token; after phase 2 there is nothing left to add. The store is keyed by the subject, "
        "so it wins whatever is asked: unrelated questions get the object too."
    ),
    measures_s=70,
    needs="a finished run, and about two minutes; nothing is trained.",
    reading=(
        "Stored: the last hidden state of “subject KEY” of every fact, with its object's first "
        "token. Asked: held-out facts in test wordings. The k nearest stored states vote by a "
        "softmax over their similarity, summed by token, p_knn; P = lambda · p_knn + (1 - lambda) "
        "· p, and the largest is said. The rest of the object is the model's own greedy answer. "
        "lambda = 0 is the model alone, 1 the store alone. The leak is the share of unrelated "
        "questions that begin with the object's first token: look-up without a threshold is worth "
        "no more than its leak is low. Differences from the paper: cosine of centred states at a "
        f"temperature of {TEMPERATURE:g} in place of inner products of a masked model's; no "
        "training with the neighbours' loss. The authors' code applies log-sum-exp to "
        "probabilities, not to their logarithms: log((1 - lambda) · e^p + lambda · e^p_knn). "
        "Its table stands beside the paper's rule. It can't say what a trained retriever would do."
    ),
    result=Retrieval,
    origin="related papers",
    probe=measure,
)
