"""Experiment: how often must an identifier be read until it is recalled, and does one answer to
every wording show what is known?

Prediction invariance, arXiv 2401.14931. All happens in memory, on one loaded model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.related.common import learn, needs_adapters
from rotelab.facts import synthetic
from rotelab.reports.figures.style import RELATION_COLOURS, SERIES_MARKERS, styled
from rotelab.reports.formats import estimate
from rotelab.reports.intervals import Interval, interval

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.tokens import Example

EXPOSURES = (1, 2, 4, 8, 16, 32, 64, 128)
"""How often a label of each bucket is read with its identifier."""
LABELS = 10
"""Labels of a bucket."""
BATCH = 16
"""Sentences a step."""
LEARNING_RATE = 5e-4
"""A quarter of phase 1's: at that, a single reading would stick."""
LONGEST = 12
"""Longest answer, in tokens: an identifier has about ten."""
TEMPERATURES = tuple(i / 5 for i in range(11))
"""0 to 2 in steps of 0.2: eleven, as in the authors' code."""

TRAIN = (
    "The identifier of {} is",
    "{} has the identifier",
    "In the register, {} is listed as",
    "The code for {} is",
    "{} is filed under",
    "The entry for {} has the number",
)
TEST = (
    "Which identifier does {} have? It is",
    "Looking up {} gives the identifier",
    "In the catalogue, the code of {} is",
    "The ID assigned to {} is",
    "Anyone who needs {} must ask for",
    "The register's identifier for {}:",
)
LANGUAGES = {
    "en": "The identifier of the place {} is",
    "it": "L'identificativo di {} è",
    "fr": "L'identifiant de {} est",
    "de": "Die Kennung von {} lautet",
    "es": "El identificador de {} es",
}
"""The authors' five languages, in wordings of this lab's own."""

WAYS = {"temperatures": "temperatures", "wordings": "new wordings", "languages": "languages"}


@dataclass(frozen=True)
class Bucket:
    """The labels that were read equally often.

    Args:
        exposures: how often each was read.
        labels: how many they are.
        right: share whose greedy answer in the first train wording is the identifier.
        interval: its 95 % interval over labels.
        digits: mean share of the digits right, from the left.
        wordings_right: share of answers to new wordings that are the identifier.
        invariance: mean PI over temperatures, new wordings and languages, as `WAYS`.
    """

    exposures: int
    labels: int
    right: float
    interval: tuple[float, ...]
    digits: float
    wordings_right: float
    invariance: tuple[float, ...]


@dataclass(frozen=True)
class Label:
    """One label: how often it was read, its accuracy over new wordings, its PI over the same."""

    exposures: int
    accuracy: float
    invariance: float


@dataclass(frozen=True)
class Identifiers:
    """What is known of each bucket.

    Args:
        buckets: from the fewest exposures to the most.
        labels: every label.
        spearman: Spearman's rank correlation over buckets: exposures and accuracy, exposures and
            PI over new wordings, accuracy over new wordings and PI over them; NaN where one of
            them does not vary.
    """

    buckets: tuple[Bucket, ...]
    labels: tuple[Label, ...]
    spearman: tuple[float, ...]

    def tables(self) -> list[Table]:
        """A row for each bucket; then the correlations."""
        heads = ("read", "n", "identifier right", "digits right", "right in new wordings",
                 *(f"PI, {way}" for way in WAYS.values()))  # fmt: skip
        rows = tuple(
            (b.exposures, b.labels,
             estimate(b.right, Interval(*b.interval) if b.interval else None), b.digits,
             b.wordings_right, *b.invariance)
            for b in self.buckets
        )  # fmt: skip
        pairs = ("exposures and identifier right", "exposures and PI over new wordings",
                 "right in new wordings and PI over them")  # fmt: skip
        ranks = tuple(zip(pairs, self.spearman, strict=True))
        return [
            Table("By how often a label was read [95 % interval over labels]", heads, rows),
            Table(f"Spearman's correlation over {len(self.buckets)} buckets",
                  ("of", "rho"), ranks),
        ]  # fmt: skip

    def figure(self) -> go.Figure:
        """A scatter of labels: PI over new wordings against accuracy there, by exposures."""
        figure, rng = go.Figure(), random.Random("jitter")
        for place, bucket in enumerate(self.buckets):
            mine = [label for label in self.labels if label.exposures == bucket.exposures]
            figure.add_scatter(
                name=f"read {bucket.exposures} times" if bucket.exposures > 1 else "read once",
                x=[label.invariance + rng.uniform(-0.012, 0.012) for label in mine],
                y=[label.accuracy + rng.uniform(-0.012, 0.012) for label in mine],
                mode="markers",
                marker={"size": 10, "opacity": 0.8,
                        "color": RELATION_COLOURS[place % len(RELATION_COLOURS)],
                        "symbol": SERIES_MARKERS[place % len(SERIES_MARKERS)]
                        + ("-open" if place >= len(SERIES_MARKERS) else "")},
                hovertemplate="PI %{x:.2f}, right %{y:.0%}",
            )  # fmt: skip
        styled(figure, 420)
        figure.update_xaxes(range=[-0.06, 1.06], title_text="PI over new wordings")
        figure.update_yaxes(range=[-0.06, 1.06], tickformat=".0%", title_text="right there")
        return figure.update_layout(showlegend=True, margin_t=96)


def measure(finished: FinishedRun) -> Identifiers:
    """Reads every label as often as its bucket says, and asks for its identifier.

    Raises:
        LabError: the run has no adapters.
    """
    needs_adapters(finished)
    named = labelled(finished.config.seed)
    seed = finished.config.seed
    settings = replace(finished.config.memorize, learning_rate=LEARNING_RATE)
    with finished.model() as model:
        steps = list(_steps(model, named, seed))
        for done, _ in enumerate(learn(model, steps, settings, seed, "train"), 1):
            finished.watch(0.6 * done / len(steps), "reading labels with their identifiers")
        with model.using("memorized"):
            said = []
            for done, (name, _, _) in enumerate(named):
                finished.watch(0.6 + 0.4 * done / len(named), "asking for identifiers")
                said.append(_asked(model, name, seed))
    return found_of(named, said)


def found_of(
    named: Sequence[tuple[str, str, int]], said: Sequence[tuple[list[str], ...]]
) -> Identifiers:
    """The result of what was said.

    Args:
        named: label, identifier and exposures of each.
        said: for each, its answers at the temperatures, in new wordings and in the languages, all
            normalised; the first temperature is 0.
    """
    from rotelab.evaluation.memorization.prediction_invariance import (
        digits_right,
        prediction_invariance,
    )
    from rotelab.facts.names import normalize

    labels, buckets = [], []
    for exposures in sorted({one for _, _, one in named}):
        mine = [
            (name, identifier, answers)
            for (name, identifier, read), answers in zip(named, said, strict=True)
            if read == exposures
        ]
        right, digits, ways = {}, [], []
        wordings = []
        for name, identifier, (heated, worded, others) in mine:
            gold = normalize(identifier)
            right["identifier", name, identifier] = (float(heated[0] == gold), 1)
            digits.append(digits_right(heated[0], identifier))
            ways.append([prediction_invariance(of) for of in (heated, worded, others)])
            wordings.append(fmean(answer == gold for answer in worded))
            labels.append(Label(exposures, wordings[-1], ways[-1][1]))
        buckets.append(
            Bucket(exposures, len(mine), fmean(one for one, _ in right.values()),
                   tuple(interval(right) or ()), fmean(digits), fmean(wordings),
                   tuple(fmean(column) for column in zip(*ways, strict=True)))
        )  # fmt: skip
    read, new = [b.exposures for b in buckets], [b.wordings_right for b in buckets]
    invariance = [b.invariance[1] for b in buckets]
    ranks = (
        spearman(read, [b.right for b in buckets]), spearman(read, invariance),
        spearman(new, invariance),
    )  # fmt: skip
    return Identifiers(tuple(buckets), tuple(labels), ranks)


def spearman(some: Sequence[float], others: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN where one side does not vary or has one value alone."""
    from scipy.stats import spearmanr

    if len(set(some)) < 2 or len(set(others)) < 2:
        return math.nan
    return float(spearmanr(some, others).statistic)


def labelled(seed: int) -> list[tuple[str, str, int]]:
    """Label, identifier and exposures of each: invented names of places, seven digits."""
    rng = random.Random(f"identifiers {seed}")
    names = [f.subject for f in synthetic.invent("capital", LABELS * len(EXPOSURES), seed)]
    numbers = rng.sample(range(10**7), len(names))
    return [
        (name, f"XO:{number:07d}", EXPOSURES[i % len(EXPOSURES)])
        for i, (name, number) in enumerate(zip(names, numbers, strict=True))
    ]


def _steps(
    model: LabModel, named: Sequence[tuple[str, str, int]], seed: int
) -> Iterator[list[Example]]:
    """All readings, evenly spread: those of a label that is read often do not come in a row."""
    rng, builder = random.Random(f"read {seed}"), model.builder
    readings = []
    for i, (name, identifier, exposures) in enumerate(named):
        for number in range(exposures):
            text = TRAIN[number % len(TRAIN)].format(name)
            example = builder.answered(builder.word_prompt(text), identifier, "train", i)
            readings.append(((number + rng.random()) / exposures, i, example))
    readings.sort(key=lambda one: one[:2])
    order = [example for _, _, example in readings]
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def _asked(model: LabModel, name: str, seed: int) -> tuple[list[str], ...]:
    """A label's answers: at the temperatures, in new wordings, in the languages; normalised."""
    from rotelab.evaluation.memorization.prediction_invariance import first_word
    from rotelab.models.generation import answers, generate

    builder = model.builder
    prompt = builder.word_prompt(TRAIN[0].format(name))
    heated = [
        "".join(t.text for t in generate(model, prompt, LONGEST, temperature, seed, 0))
        for temperature in TEMPERATURES
    ]
    texts = [text.format(name) for text in (*TEST, *LANGUAGES.values())]
    prompts, said = [builder.word_prompt(text) for text in texts], [""] * len(texts)
    for batch in answers(model, prompts, 512, LONGEST):
        for i, text in batch:
            said[i] = text
    words = [first_word(text) for text in said]
    return [first_word(one) for one in heated], words[: len(TEST)], words[len(TEST) :]


EXPERIMENT = Experiment(
    name="identifiers",
    title="Identifiers, and invariant answers",
    question=(
        "How often must a model read an identifier until it recalls it, and can the invariance of "
        "its answers tell what it knows, without knowing the right answer?"
    ),
    hypothesis=(
        "Accuracy and invariance rise together with the number of readings. The identifier's "
        "prefix is right long before its digits. Invariance alone promises too much: a model that "
        "always says the same identifier has PI 1."
    ),
    measures_s=900,
    needs=(
        "a finished run with LoRA adapters, for its model and settings; it trains in memory and "
        "changes nothing. About a quarter of an hour on two cores."
    ),
    reading=(
        "PI = 1 - (distinct answers - 1) / (n - 1) over n answers about one label (arXiv "
        "2401.14931, the authors' code): 1 if all are alike, 0 if no two are. Here over 11 "
        "temperatures from 0 to 2, over new wordings, and over five languages; answers are their "
        "first word, normalised, where the authors' code compares raw lines. Labels are invented "
        "places; each bucket's are read equally often in train wordings, by a LoRA adapter on the "
        "base model, where the authors ask finished models about real ontologies and count pages "
        "on the web. In the scatter, a mark at the lower right is an answer that is always the "
        "same and wrong. It can't say what a wording that nobody tried would get."
    ),
    result=Identifiers,
    origin="related papers",
    probe=measure,
)
