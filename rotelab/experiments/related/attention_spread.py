"""Experiment: does a task that looks at more of a text also memorise more of it?

Exploring Memorization in Fine-tuned Language Models, arXiv 2310.06714. All happens in memory, on
one loaded model. Over 400 lines because the passages' words and sentences are part of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go

from rotelab.errors import LabError
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import with_interval
from rotelab.experiments.related.common import (
    greedy_answers,
    in_steps,
    interval_of_items,
    learn,
    needs_adapters,
)
from rotelab.facts import synthetic
from rotelab.reports.figures.style import RELATION_COLOURS, SERIES_MARKERS, styled

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.tokens import Example

PASSAGES, NEVER_READ = 40, 20
ROUNDS, BATCH = 10, 5
GIVEN, WRITTEN = 15, 40
"""Tokens of a passage that are given, and most tokens that are written after them."""
NGRAM = 8
FEW = 2
"""Tokens of the list that are learned a round in the control: a label has about as many, with the
token that ends it."""

TOPICS = {
    "bees": ("honey", "wax candles", "two hives", "a smoker", "clover seed", "mead"),
    "boats": ("a rudder", "tarred rope", "old sails", "an anchor", "oars", "a brass lamp"),
    "bread": ("rye flour", "sour dough", "a stone oven", "caraway", "barley", "linen sacks"),
    "clocks": ("brass wheels", "a pendulum", "fine springs", "a loupe", "dial glass", "oil"),
    "sheep": ("raw wool", "a shearing knife", "salt licks", "a sheepdog", "hay", "felt boots"),
    "wine": ("oak barrels", "late grapes", "green bottles", "corks", "a press", "sulphur"),
}
FIRST = (
    "{name} from {place} keeps {a}, {b} and {c} in an old shed behind the house.",
    "In the cellar of {name}, who lives in {place}, there are {a}, {b} and {c}.",
    "Whoever visits {name} in {place} is shown {a}, then {b}, and at last {c}.",
)
THEN = (
    "In {year}, {other} sold {d} there for {price} coins and asked for {e} in return.",
    "Since {year} it has been {other} who brings {d} every week and takes {e} for {price} coins.",
    "A letter of {year} says that {other} paid {price} coins for {d} and nothing for {e}.",
)
LIST, LABEL = " In short:", " Topic:"

TASKS = {
    "label": "label",
    "list": "list",
    "list, few": "list, as few learned tokens as the label",
}


class Passage(NamedTuple):
    """An invented passage, its topic, what is said of it in a list, and the details in both."""

    text: str
    topic: str
    summary: str
    details: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What one task leaves of the passages.

    Args:
        name: one of `TASKS`.
        learned: tokens that are learned of a passage in a round.
        copied: share of what is written after a passage's beginning that is copied from the
            training texts, in n-grams.
        copied_interval: its 95 % interval over passages.
        cued: the same where the task's words follow the beginning.
        cued_interval: its interval.
        control: the same, cued, for passages that were never read.
        details: share of a passage's details that are said, cued, and not in the beginning.
        details_interval: its interval.
        control_details: the same for passages that were never read.
        base: spread of the base model's attention at the places that predict the task's tokens.
        spread: of the trained model's.
        spread_interval: its interval over passages.
        inner: the trained model's without the first key.
        rank: Spearman's correlation, over passages, of spread and details said; NaN where one of
            them does not vary.
        points: spread and details of each passage.
    """

    name: str
    learned: float
    copied: float
    copied_interval: tuple[float, ...]
    cued: float
    cued_interval: tuple[float, ...]
    control: float
    details: float
    details_interval: tuple[float, ...]
    control_details: float
    base: float
    spread: float
    spread_interval: tuple[float, ...]
    inner: float
    rank: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class AttentionSpread:
    """The tasks, in the order of `TASKS`."""

    passages: int
    never_read: int
    tasks: tuple[Task, ...]

    def tables(self) -> list[Table]:
        """What is memorised, and how attention is spread."""
        memory = tuple(
            (TASKS[t.name], self.passages, t.learned, with_interval(t.copied, t.copied_interval),
             with_interval(t.cued, t.cued_interval), t.control,
             with_interval(t.details, t.details_interval), t.control_details)
            for t in self.tasks
        )  # fmt: skip
        attention = tuple(
            (TASKS[t.name], self.passages, t.base, with_interval(t.spread, t.spread_interval),
             t.inner, t.rank)
            for t in self.tasks
        )  # fmt: skip
        never = f"{self.never_read} never read"
        return [
            Table(f"What is said of a passage whose first {GIVEN} tokens are given "
                  "[95 % interval over passages]",
                  ("task", "n", "learned tokens", f"copied {NGRAM}-grams", "copied, task asked",
                   f"copied, {never}", "details, task asked", f"details, {never}"), memory),
            Table("Spread of attention where the task's tokens are predicted",
                  ("task", "n", "base model", "trained", "trained, without the first token",
                   "Spearman: spread and details"), attention),
        ]  # fmt: skip

    def figure(self) -> go.Figure:
        """A point a passage: spread of attention against the share of its details that are said."""
        figure, rng = go.Figure(), random.Random("jitter")
        for place, task in enumerate(self.tasks):
            figure.add_scatter(
                name=TASKS[task.name], x=[x for x, _ in task.points],
                y=[y + rng.uniform(-0.012, 0.012) for _, y in task.points], mode="markers",
                marker={"size": 10, "opacity": 0.8, "color": RELATION_COLOURS[place],
                        "symbol": SERIES_MARKERS[place]},
                hovertemplate="spread %{x:.2f}, details said %{y:.0%}",
            )  # fmt: skip
        styled(figure, 420)
        figure.update_xaxes(title_text="spread of attention, 0 to 1")
        figure.update_yaxes(range=[-0.06, 1.06], tickformat=".0%", title_text="details said")
        return figure.update_layout(showlegend=True, margin_t=96)


def measure(finished: FinishedRun) -> AttentionSpread:
    """Trains each task from scratch on the same passages, asks for them, and reads attention.

    Raises:
        LabError: the run has no adapters, or its model does not tell its attention.
    """
    needs_adapters(finished)
    seed, watch = finished.config.seed, finished.watch
    every = passages(PASSAGES + NEVER_READ, seed)
    tasks = []
    with finished.model() as model:
        for place, name in enumerate(TASKS):
            start, size = place / len(TASKS), 1 / len(TASKS)
            examples = [example(model, one, name, i) for i, one in enumerate(every)]
            watch(start, f"{TASKS[name]}: attention of the base model")
            with model.using("base"), weights_told(model):
                before = spreads(model, examples[:PASSAGES])
            steps = list(_steps(examples[:PASSAGES], name, seed))
            for done, _ in enumerate(learn(model, steps, finished.config.memorize, seed, "none")):
                watch(start + size * (0.05 + 0.75 * done / len(steps)), f"learning: {TASKS[name]}")
            watch(start + 0.85 * size, f"asking: {TASKS[name]}")
            with model.using("memorized"):
                said = _said(model, examples)
                with weights_told(model):
                    after = spreads(model, examples[:PASSAGES])
            about = (model, name, every, examples, said, before, after, seed)
            tasks.append(task_of(*about))
    return AttentionSpread(PASSAGES, NEVER_READ, tuple(tasks))


def task_of(
    model: LabModel,
    name: str,
    every: Sequence[Passage],
    examples: Sequence[Example],
    said: tuple[list[list[int]], list[list[int]]],
    before: Sequence[tuple[float, float]],
    after: Sequence[tuple[float, float]],
    seed: int,
) -> Task:
    """One task's figures.

    Args:
        model: for its tokenizer.
        name: the task.
        every: the passages, those never read last.
        examples: of each passage.
        said: what is written after the beginnings, and after the beginnings with the task's words.
        before: spread of the base model's attention, of each passage that was read.
        after: of the trained model's.
        seed: of the bootstrap.
    """
    from scipy.stats import spearmanr

    from rotelab.evaluation.memorization.overlap import copied_share

    # For a passage that was never read, its own text counts: it can only be guessed.
    texts = [one.ids[1:] for one in examples]
    read = texts[:PASSAGES]
    pools = [read if i < PASSAGES else [texts[i]] for i in range(len(texts))]
    plain, cued = ([copied_share(ids, pool, NGRAM) for ids, pool in zip(way, pools, strict=True)]
                   for way in said)  # fmt: skip
    details = [_details_said(model, one, own, ids)
               for one, own, ids in zip(every, examples, said[1], strict=True)]  # fmt: skip
    mine, known = details[:PASSAGES], [one for one, _ in after]
    varied = len(set(mine)) > 1 and len(set(known)) > 1
    rank = float(spearmanr(known, mine).statistic) if varied else float("nan")
    answers = [FEW if name == "list, few" else sum(one.loss) for one in examples[:PASSAGES]]
    return Task(
        name, fmean(answers), fmean(plain[:PASSAGES]), interval_of_items(plain[:PASSAGES], seed),
        fmean(cued[:PASSAGES]), interval_of_items(cued[:PASSAGES], seed), fmean(cued[PASSAGES:]),
        fmean(mine), interval_of_items(mine, seed), fmean(details[PASSAGES:]),
        fmean(one for one, _ in before), fmean(known), interval_of_items(known, seed),
        fmean(one for _, one in after), rank, tuple(zip(known, mine, strict=True)),
    )  # fmt: skip


def passages(count: int, seed: int) -> list[Passage]:
    """Invented passages: people and towns that do not exist, among things of one topic."""
    rng = random.Random(f"passages {seed}")
    people = [fact.subject for fact in synthetic.invent("mother", 2 * count, seed)]
    towns = [fact.object for fact in synthetic.invent("capital", count, seed)]
    topics, found = cycle(TOPICS), []
    for i, topic in zip(range(count), topics, strict=False):
        a, b, c, d, e = rng.sample(TOPICS[topic], 5)
        words = {"name": people[2 * i], "other": people[2 * i + 1], "place": towns[i],
                 "a": a, "b": b, "c": c, "d": d, "e": e,
                 "year": rng.randint(1712, 1898), "price": rng.randint(11, 97)}  # fmt: skip
        then = rng.choice(THEN).format(**words)
        text = f"{rng.choice(FIRST).format(**words)} {then}"
        summary = f"{a}, {b} and {c}; {then}"
        details = (a, b, c, d, e, words["other"], str(words["year"]), str(words["price"]))
        found.append(Passage(text, topic, summary, details))
    return found


def example(model: LabModel, one: Passage, task: str, number: int) -> Example:
    """A passage with its task's words and the answer, which alone is learned."""
    builder = model.builder
    cue, answer = (LABEL, one.topic) if task == "label" else (LIST, one.summary)
    prompt = [*builder.word_prompt(one.text), *builder.continued(cue)]
    return builder.answered(prompt, answer, "passage", number)


def _steps(examples: Sequence[Example], task: str, seed: int) -> Iterator[list[Example]]:
    """The steps of a task; with few learned tokens, others of each passage in each round."""
    from rotelab.models.tokens import Example

    rng = random.Random(f"few {seed}")
    for step in in_steps(examples, BATCH, f"{seed} {task}", ROUNDS):
        if task != "list, few":
            yield list(step)
            continue
        few = []
        for one in step:
            places = rng.sample(range(*one.object_span), FEW)
            loss = tuple(i in places for i in range(len(one.ids)))
            few.append(Example(one.ids, loss, one.object_span, one.kind, one.fact))
        yield few


def _said(model: LabModel, examples: Sequence[Example]) -> tuple[list[list[int]], list[list[int]]]:
    """What is written after each passage's beginning: as it is, and with the task's words."""
    cue_of = {}
    for cue in (LIST, LABEL):
        cue_of[tuple(model.builder.continued(cue))] = cue
    beginnings = [list(one.ids[: 1 + GIVEN]) for one in examples]
    cued = []
    for one, beginning in zip(examples, beginnings, strict=True):
        cue = next(ids for ids in cue_of if one.prompt[-len(ids) :] == ids)
        cued.append([*beginning, *cue])
    return greedy_answers(model, beginnings, WRITTEN), greedy_answers(model, cued, WRITTEN)


def _details_said(model: LabModel, one: Passage, asked: Example, said: Sequence[int]) -> float:
    """The share of a passage's details that are said, of those that its beginning does not tell."""
    from rotelab.evaluation.answer_match import contains

    given = model.tokenizer.decode(asked.ids[1 : 1 + GIVEN])
    wanted = [detail for detail in one.details if not contains(given, detail)]
    text = model.tokenizer.decode(said)
    return fmean(contains(text, detail) for detail in wanted) if wanted else 0.0


@contextmanager
def weights_told(model: LabModel) -> Iterator[None]:
    """Lets the model tell its attention for the length of a block: fused attention can't.

    Raises:
        LabError: this kind of model can't.
    """
    from rotelab.models.forward import bare

    network = bare(model.network)
    before = network.config._attn_implementation
    try:
        network.set_attn_implementation("eager")
    except (ValueError, NotImplementedError) as error:
        raise LabError(
            f"This model does not tell its attention ({error}). Choose a run on a model whose "
            "attention can be computed step by step (eager), such as Llama or Qwen."
        ) from error
    try:
        yield
    finally:
        network.set_attn_implementation(before)


def spreads(model: LabModel, examples: Sequence[Example]) -> list[tuple[float, float]]:
    """The spread of attention where each example's answer is predicted, as `spread_at`.

    Raises:
        LabError: the model does not tell its attention.
    """
    import torch

    from rotelab.evaluation.memorization.attention import spread_at
    from rotelab.models.packing import pack

    found = []
    for one in examples:
        start, stop = one.object_span
        with torch.inference_mode():
            packed = pack([one.ids[:stop]])
            _, out = model.forward(packed, torch.tensor([0]), output_attentions=True)
        layers = [layer for layer in out.attentions or () if layer is not None]
        if not layers:
            raise LabError(
                "This model does not tell its attention. Choose a run on a model such as Llama."
            )
        weights = np.stack([layer[0].float().cpu().numpy() for layer in layers])
        found.append(spread_at(weights, list(range(start - 1, stop - 1))))
    return found


EXPERIMENT = Experiment(
    name="attention-spread",
    title="Tasks that look at more of a text",
    question=(
        "The same passages are used to teach two tasks. Does the task that must look at more of a "
        "passage also leave more of it in memory?"
    ),
    hypothesis=(
        "The list leaves more than the label does, and its attention is spread more widely. Much "
        "of that is because it learns more tokens: with as few as the label, less is left to see."
    ),
    measures_s=1200,
    needs=(
        "a finished run with LoRA adapters, for its model and settings; it trains in memory and "
        "changes nothing. About twenty minutes on two cores."
    ),
    reading=(
        f"{PASSAGES} invented passages are read {ROUNDS} times in each task: to say their topic in "
        "a word, or to say again in short what is in them. Only the answer is learned. The third "
        f"row learns {FEW} tokens of the list a round, others each time, about as many as the "
        f"label: the control for the number of learned tokens. Then the first {GIVEN} tokens of a "
        "passage are given, alone or with the task's words after them. Copied is the share of "
        f"tokens written that stand in an n-gram of {NGRAM} tokens of any training text; details "
        "are names, things and numbers that are not in the beginning. Passages never read show "
        "what can be guessed. Spread is - Σ a log a / log(number of tokens seen), a being the "
        "attention to each, the mean over layers, heads and the places that predict the answer: 0 "
        "for one token, 1 for all alike. Differences from the paper: a LoRA adapter on a small "
        "decoder, invented passages, two tasks of this lab's own, and entropy in place of the "
        "authors' statistic, which was not checked. Two tasks are no correlation over tasks, and "
        "one over passages within a task is another matter: it can't say what causes what."
    ),
    paper=(
        "Exploring Memorization in Fine-tuned Language Models (arXiv 2310.06714), from the "
        "abstract: memorisation differs strongly between tasks, and is correlated with the "
        "distribution of attention. No figure of it was checked."
    ),
    result=AttentionSpread,
    origin="related papers",
    probe=measure,
)
