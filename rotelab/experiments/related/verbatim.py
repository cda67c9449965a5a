"""Experiment: how often must a text be read until a model goes on with it word for word?

Demystifying Verbatim Memorization in Large Language Models, arXiv 2407.17817. All happens in
memory, on one loaded model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import with_interval
from rotelab.experiments.related.common import (
    PASS_TOKENS,
    interval_of_items,
    learn,
    needs_adapters,
    text_example,
)
from rotelab.reports.figures.style import RELATION_COLOURS, SERIES_MARKERS, styled, whiskers

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel

COPIES = (0, 1, 4, 16, 64)
EACH = 6
"""Texts of each number of copies; half of them have their tokens shuffled."""
LENGTH = 64
STEPS, BATCH = 128, 8
PROMPTS = (8, 16, 32)
"""Lengths of the prompt, k."""
LEARNING_RATE = 1e-4
"""Nearer to a step of pretraining than phase 1's, at which one copy would stick."""
WRITTEN = 64
"""Texts that the model writes at a time."""
KINDS = {"text": "text", "shuffled": "shuffled tokens"}


@dataclass(frozen=True)
class Row:
    """Texts of one kind that were read equally often.

    Args:
        kind: one of `KINDS`.
        copies: how often.
        prompt: tokens of the prompt, k.
        n: how many texts.
        longest: mean over texts of the longest memorised length over all starts, tokens.
        mean: mean over texts of the mean over all starts.
        more: the longest, minus that of the control arm.
        interval: 95 % bootstrap interval of `more` over texts; empty where it can't be told.
    """

    kind: str
    copies: int
    prompt: int
    n: int
    longest: float
    mean: float
    more: float
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class Verbatim:
    """Memorised lengths, by kind, prompt and copies."""

    length: int
    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """A table for each length of the prompt."""
        heads = ("", "copies", "n", "longest l", "mean l", "longest, more than without copies")
        return [
            Table(
                f"Memorised length in tokens after a prompt of {k}, texts of {self.length} "
                "[95 % interval over texts]",
                heads,
                tuple((KINDS[r.kind], r.copies, r.n, r.longest, r.mean,
                       with_interval(r.more, r.interval))
                      for r in self.rows if r.prompt == k),
            )
            for k in sorted({r.prompt for r in self.rows})
        ]  # fmt: skip

    def figure(self) -> go.Figure:
        """The longest memorised length by copies, a line for each kind, after the middle prompt."""
        figure = go.Figure()
        prompts = sorted({r.prompt for r in self.rows})
        shown = prompts[len(prompts) // 2]
        for place, (kind, words) in enumerate(KINDS.items()):
            mine = [r for r in self.rows if (r.kind, r.prompt) == (kind, shown)]
            figure.add_scatter(
                name=words,
                x=[str(r.copies) for r in mine],
                y=[r.more for r in mine],
                error_y=whiskers([r.more for r in mine], [r.interval for r in mine]),
                mode="lines+markers",
                line={"color": RELATION_COLOURS[place], "width": 2.5},
                marker={"symbol": SERIES_MARKERS[place], "size": 10},
                hovertemplate="%{x} copies: %{y:.1f} tokens more",
            )
        styled(figure, 400)
        figure.update_xaxes(type="category", title_text="copies among the training texts")
        figure.update_yaxes(title_text=f"tokens memorised, prompt of {shown}", rangemode="tozero")
        return figure.update_layout(showlegend=True)


def measure(finished: FinishedRun) -> Verbatim:
    """Trains with the copies, and once more with other texts in their place.

    Raises:
        LabError: the run has no adapters.
    """
    needs_adapters(finished)
    from rotelab.training.null_space import own_texts

    seed, watch = finished.config.seed, finished.watch
    settings = replace(finished.config.memorize, learning_rate=LEARNING_RATE)
    with finished.model() as model:
        injected = own_texts(model, seed + 1, EACH * len(COPIES), LENGTH)
        filler = []
        for part in range(0, STEPS * BATCH, WRITTEN):
            watch(0.2 * part / (STEPS * BATCH), "writing texts to train on")
            filler += own_texts(model, seed + 2 + part, WRITTEN, LENGTH)
        injected = shuffled(injected, seed)
        places = spread([COPIES[i % len(COPIES)] for i in range(len(injected))], seed)
        lengths = []
        for arm, told in enumerate(("with the copies", "without them")):
            texts = list(filler[: STEPS * BATCH])
            if not arm:
                for place, i in places.items():
                    texts[place] = injected[i]
            steps = [[text_example(ids) for ids in texts[at : at + BATCH]]
                     for at in range(0, len(texts), BATCH)]  # fmt: skip
            for done, _ in enumerate(learn(model, steps, settings, seed, "none"), 1):
                watch(0.2 + 0.4 * arm + 0.25 * done / len(steps), f"training {told}")
            with model.using("memorized"):
                found = []
                for i, text in enumerate(injected):
                    watch(0.45 + 0.4 * arm + 0.15 * i / len(injected), f"asking, trained {told}")
                    found.append(lengths_of(model, text))
                lengths.append(found)
    return found_of(lengths[0], lengths[1], seed)


def found_of(
    treated: Sequence[dict[int, list[int]]], control: Sequence[dict[int, list[int]]], seed: int
) -> Verbatim:
    """The result of the memorised lengths.

    Args:
        treated: of each text, by the prompt's length, at every start; the texts in their order.
        control: the same without copies.
        seed: of the bootstrap.
    """
    rows = []
    for kind in KINDS:
        for copies in COPIES:
            mine = [i for i in range(len(treated)) if kind_of(i) == kind
                    and COPIES[i % len(COPIES)] == copies]  # fmt: skip
            for prompt in PROMPTS:
                longest = [max(treated[i][prompt]) for i in mine]
                more = [a - max(control[i][prompt]) for a, i in zip(longest, mine, strict=True)]
                rows.append(
                    Row(kind, copies, prompt, len(mine), fmean(longest),
                        fmean(fmean(treated[i][prompt]) for i in mine), fmean(more),
                        interval_of_items(more, seed))
                )  # fmt: skip
    return Verbatim(LENGTH, tuple(rows))


def kind_of(number: int) -> str:
    """Whether the text of this number is shuffled: every second text of each number of copies."""
    return "shuffled" if number // len(COPIES) % 2 else "text"


def shuffled(texts: Sequence[tuple[int, ...]], seed: int) -> list[tuple[int, ...]]:
    """The texts, with the tokens of those that `kind_of` calls so in another order."""
    rng, found = random.Random(f"shuffled {seed}"), []
    for number, text in enumerate(texts):
        rest = list(text[1:])
        if kind_of(number) == "shuffled":
            rng.shuffle(rest)
        found.append((text[0], *rest))
    return found


def spread(copies: Sequence[int], seed: int) -> dict[int, int]:
    """At which places of the training texts each text stands: its copies evenly from the first to
    the last, no two texts at the same place.

    Args:
        copies: how often each text stands there.
        seed: draws the places.

    Returns:
        The text's number by place.
    """
    rng, total = random.Random(f"spread {seed}"), STEPS * BATCH
    wanted = sorted(
        ((number + rng.random()) / count, i)
        for i, count in enumerate(copies) for number in range(count)
    )  # fmt: skip
    assert len(wanted) <= total
    found: dict[int, int] = {}
    for rank, (share, i) in enumerate(wanted):
        # As near to its own place as those before and after leave room.
        first, last = max(found, default=-1) + 1, total - (len(wanted) - rank)
        found[min(max(int(share * total), first), last)] = i
    return found


def lengths_of(model: LabModel, text: tuple[int, ...]) -> dict[int, list[int]]:
    """A text's memorised length after each prompt, at every start.

    Args:
        model: switched to the checkpoint to ask.
        text: with the separator first, which also stands before every prompt.
    """
    from rotelab.evaluation.loglikelihood import score
    from rotelab.evaluation.memorization.verbatim import memorised_length

    first, words = text[0], text[1:]
    starts = range(len(words) - min(PROMPTS))
    asked = [text_example((first, *words[start:])) for start in starts]
    found: dict[int, list[int]] = {prompt: [] for prompt in PROMPTS}
    greedy: dict[int, tuple[int, ...]] = {}
    for batch in score(model, asked, PASS_TOKENS):
        greedy |= {start: scored.greedy[1:] for start, scored in batch}
    for start in starts:
        for prompt in PROMPTS:
            if start + prompt < len(words):
                found[prompt].append(memorised_length(words, greedy[start], start, prompt))
    return found


EXPERIMENT = Experiment(
    name="verbatim",
    title="Word for word: how many copies it takes",
    question=(
        "How often must a text stand among others until the model goes on with it word for word?"
    ),
    hypothesis=(
        "One copy leaves nothing, and somewhere between four and sixteen the text begins to stick. "
        "Shuffled tokens need more copies, because nothing that the model knew helps. Longer "
        "prompts draw out more."
    ),
    measures_s=1800,
    needs=(
        "a finished run with LoRA adapters, for its model and settings; it trains in memory and "
        "changes nothing. About half an hour on two cores."
    ),
    reading=(
        "The memorised length l(x, k) is the number of tokens with which greedy decoding goes on "
        "as the text x does after a prompt of k of its tokens; every start in the text is tried. "
        f"Matches of more than five tokens that stand in the prompt already are copying and count "
        "as 0. The control arm reads the same texts but for the copies: what it goes on with was "
        "not learned from them, so it is taken away. Differences from the paper: a LoRA adapter at "
        f"a learning rate of {LEARNING_RATE:g}, where the authors go on with pretraining; texts of "
        f"{LENGTH} tokens that the model wrote itself; all numbers of copies in one training; "
        "tokens are compared, where the authors compare letters and digits. It begins with the "
        "base model, so it says nothing about the paper's claim on later checkpoints. "
        f"{EACH // 2} texts of each kind are few: look at the intervals."
    ),
    paper=(
        "Demystifying Verbatim Memorization in Large Language Models (arXiv 2407.17817): the "
        "protocol and the measure are those of the authors' code; none of its figures was checked "
        "here."
    ),
    result=Verbatim,
    origin="related papers",
    probe=measure,
)
