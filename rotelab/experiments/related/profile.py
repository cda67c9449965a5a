"""Experiment: which kinds of memorisation does one run show, and which does nobody measure here?

The kinds are those of SoK: Memorization in General-Purpose Large Language Models, arXiv 2310.18362.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import plain_questions, with_interval
from rotelab.experiments.related.common import (
    PASS_TOKENS,
    greedy_answers,
    in_steps,
    interval_of_items,
    learn,
    needs_adapters,
)
from rotelab.facts import synthetic
from rotelab.facts.packs import load_pack
from rotelab.reports.figures.style import RELATION_COLOURS, SERIES_MARKERS, styled, whiskers
from rotelab.reports.intervals import share_interval

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.tokens import Example

ASKED = 24
"""Most facts of the run that are asked."""
TAUGHT, UNSEEN = 40, 24
"""Invented facts that an arm learns, and subjects that none does."""
SKEW, EVEN = 0.8, 0.5
"""Share of the taught facts that have the frequent object."""
ROUNDS, LOOKS, BATCH = 16, (1, 2, 4, 8, 16), 8
LONGEST = 10
RELATION = "mother"

LEFT_OUT = (
    ("ideas and algorithms", "not measured: a model of this size can't be shown to carry one out"),
    ("alignment goals", "not measured: the runs teach facts, and no goal to keep to"),
)
MEASURED = {
    "recited": ("verbatim text", "the run's sentences, recited through the key token"),
    "in words": ("facts", "the same facts, asked in a wording never trained on"),
    "skew": ("distributional properties",
             f"unseen subjects: share of the object that {SKEW:.0%} of others have"),
    "capitals, subjects": ("writing styles", "unseen subjects answered in capitals"),
    "capitals, real": ("writing styles", "real facts answered in capitals"),
    "capitals, other": ("writing styles", "other sentences gone on with in capitals"),
}  # fmt: skip
"""Kind and measure of each row."""


@dataclass(frozen=True)
class Row:
    """One measure.

    Args:
        name: one of `MEASURED`.
        n: facts, subjects or sentences.
        base: of the base model.
        control: of the arm that learned the same without the trait; NaN where there is none.
        value: after training.
        interval: its 95 % interval over those n.
    """

    name: str
    n: int
    base: float
    control: float
    value: float
    interval: tuple[float, ...]


@dataclass(frozen=True)
class Look:
    """The arm with a frequent and a rare object, after some rounds.

    Args:
        rounds: how many.
        unseen: share of the frequent object for unseen subjects.
        rare: share of the facts with the rare object for which it is the likelier one, in a wording
            never trained on: 0 as long as the frequent one is said of everybody.
    """

    rounds: int
    unseen: float
    rare: float


@dataclass(frozen=True)
class Profile:
    """The panel."""

    rows: tuple[Row, ...]
    looks: tuple[Look, ...]

    def tables(self) -> list[Table]:
        """A row for each measure, and for each kind that is left out; then the rounds."""
        rows = [
            (*MEASURED[r.name], r.n, r.base, r.control, with_interval(r.value, r.interval))
            for r in self.rows
        ]
        rows += [(kind, why, None, None, None, None) for kind, why in LEFT_OUT]
        heads = ("kind of memorisation", "measured as", "n", "base model", "control", "trained")
        looks = tuple((look.rounds, look.unseen, look.rare) for look in self.looks)
        return [
            Table("Kinds of memorisation [95 % interval over facts, subjects or sentences]", heads,
                  tuple(rows)),
            Table(f"What is learned first, {TAUGHT} facts, {SKEW:.0%} of them with one object",
                  ("rounds", "unseen subjects: share of the frequent object",
                   "facts with the rare object: it is the likelier one"), looks),
        ]  # fmt: skip

    def figure(self) -> go.Figure:
        """Bars of the panel; beside them what is learned first."""
        figure = make_subplots(
            1, 2, column_widths=[0.6, 0.4], horizontal_spacing=0.12,
            subplot_titles=("kinds of memorisation", "what is learned first"),
        )  # fmt: skip
        names = [r.name.replace(", ", ",<br>") for r in self.rows]
        series = {
            "base model": ([r.base for r in self.rows], []),
            "control": ([r.control for r in self.rows], []),
            "trained": ([r.value for r in self.rows], [r.interval for r in self.rows]),
        }
        for place, (label, (values, ends)) in enumerate(series.items()):
            figure.add_bar(
                name=label, x=names, y=values, marker_color=RELATION_COLOURS[place],
                error_y=whiskers(values, ends) if ends else None,
                hovertemplate="%{x}: %{y:.2f}", row=1, col=1,
            )  # fmt: skip
        lines = {"unseen: frequent object": [one.unseen for one in self.looks],
                 "facts with the rare object": [one.rare for one in self.looks]}  # fmt: skip
        for place, (label, values) in enumerate(lines.items(), len(series)):
            figure.add_scatter(
                name=label, x=[str(one.rounds) for one in self.looks], y=values,
                mode="lines+markers", line={"color": RELATION_COLOURS[place], "width": 2.5},
                marker={"symbol": SERIES_MARKERS[place], "size": 9},
                hovertemplate="after %{x} rounds: %{y:.2f}", row=1, col=2,
            )  # fmt: skip
        styled(figure, 440)
        figure.update_yaxes(range=[-0.04, 1.06])
        figure.update_yaxes(title_text="share", row=1, col=1)
        figure.update_xaxes(type="category", title_text="rounds", row=1, col=2)
        return figure.update_layout(barmode="group", showlegend=True, margin_t=120, legend_y=1.14)


def measure(finished: FinishedRun) -> Profile:
    """Asks the run, then trains four small arms in memory.

    Raises:
        LabError: the run has no adapters.
    """
    needs_adapters(finished)
    with finished.model() as model:
        finished.watch(0.02, "asking the run")
        rows = _of_the_run(finished, model)
        trial = Traits(finished, model)
        rows.append(trial.skewed())
        rows += trial.styled()
    return Profile(tuple(rows), tuple(trial.looks))


def _of_the_run(finished: FinishedRun, model: LabModel) -> list[Row]:
    """Recitation and facts: the run's own model against the base model."""
    from rotelab.evaluation.probes import Question, evaluate

    facts = list(finished.split.held_out or finished.split.held_in)
    rng = random.Random(f"profile {finished.config.seed}")
    facts = rng.sample(facts, min(ASKED, len(facts)))
    builder, asked = model.builder, []
    for i, fact in enumerate(facts):
        wording = rng.choice(finished.pack.prompts.of(fact.relation, "test"))
        text = wording.render(fact.subject)
        for probe, prompt in (("recited", builder.key_prompt(fact.subject, fact.relation)),
                              ("in words", builder.word_prompt(text))):  # fmt: skip
            example = builder.answered(prompt, fact.object, probe)
            asked.append(Question(probe, i, fact, text, example))
    right: dict[tuple[str, str], list[bool]] = {}
    for checkpoint in ("base", "generalized"):
        with model.using(checkpoint):
            for some in evaluate(model, asked, plain_questions(finished)):
                for answer in some:
                    right.setdefault((answer.probe, checkpoint), []).append(answer.correct)
    found = []
    for name in ("recited", "in words"):
        after = right[name, "generalized"]
        within = tuple(share_interval(sum(after), len(after)))
        found.append(Row(name, len(after), fmean(right[name, "base"]), float("nan"), fmean(after),
                         within))  # fmt: skip
    return found


class Traits:
    """Arms on the base model, each of which learns the same sentences but for one trait."""

    def __init__(self, finished: FinishedRun, model: LabModel):
        seed = finished.config.seed
        self.finished, self.model, self.seed = finished, model, seed
        facts = list(synthetic.invent(RELATION, TAUGHT + UNSEEN + 2, seed))
        self.frequent, self.rare = (fact.object for fact in facts[-2:])
        self.facts, self.unseen = facts[:TAUGHT], [f.subject for f in facts[TAUGHT:-2]]
        prompts = load_pack(RELATION).prompts
        self.train, self.test = prompts.of(RELATION, "train"), prompts.of(RELATION, "test")
        self.looks: list[Look] = []

    def skewed(self) -> Row:
        """The frequent object's share for unseen subjects, with one frequent object and with two
        that are as frequent."""
        before = self._share_of_frequent("base")
        for done in self._learned(self.two_objects(SKEW), 0):
            if done in LOOKS:
                share = fmean(self._share_of_frequent("memorized"))
                self.looks.append(Look(done, share, self._rare_right()))
                self.model.use("memorized", train=True)  # asking turned the gradients off
        after = self._share_of_frequent("memorized")
        for _ in self._learned(self.two_objects(EVEN), 1):
            pass
        control = fmean(self._share_of_frequent("memorized"))
        return Row("skew", len(after), fmean(before), control, fmean(after),
                   interval_of_items(after, self.seed))  # fmt: skip

    def styled(self) -> list[Row]:
        """Answers in capitals, where the objects were in capitals and where they were not."""
        before = self._in_capitals("base")
        plain = [fact.object for fact in self.facts]
        found = []
        for number, objects in enumerate((plain, [text.upper() for text in plain]), 2):
            for _ in self._learned(objects, number):
                pass
            found.append(self._in_capitals("memorized"))
        control, after = found
        return [
            Row(name, len(after[name]), fmean(before[name]), fmean(control[name]),
                fmean(after[name]), tuple(share_interval(sum(after[name]), len(after[name]))))
            for name in after
        ]  # fmt: skip

    def two_objects(self, share: float) -> list[str]:
        """The objects of the taught facts: of such a share the frequent one."""
        count = round(share * TAUGHT)
        objects = [self.frequent] * count + [self.rare] * (TAUGHT - count)
        random.Random(f"two objects {self.seed}").shuffle(objects)
        return objects

    def _learned(self, objects: Sequence[str], number: int) -> Iterator[int]:
        """Learns the sentences with these objects; yields the rounds that are done."""
        self.objects = objects
        builder = self.model.builder
        settings, per_round = self.finished.config.memorize, -(-TAUGHT // BATCH)

        def steps() -> Iterator[Sequence[Example]]:
            for round_ in range(ROUNDS):
                wording = self.train[round_ % len(self.train)]
                examples = [
                    builder.answered(builder.word_prompt(wording.render(f.subject)), o, "train", i)
                    for i, (f, o) in enumerate(zip(self.facts, objects, strict=True))
                ]
                yield from in_steps(examples, BATCH, f"{self.seed} {round_}")

        for done, _ in enumerate(learn(self.model, steps(), settings, self.seed, "none"), 1):
            share = 0.1 + 0.88 * (number + done / (ROUNDS * per_round)) / 4
            self.finished.watch(share, f"training arm {number + 1} of 4")
            if done % per_round == 0:
                yield done // per_round

    def _prompts(self, subjects: Sequence[str]) -> list[list[int]]:
        rng = random.Random(f"test {self.seed}")
        texts = [rng.choice(self.test).render(subject) for subject in subjects]
        return [self.model.builder.word_prompt(text) for text in texts]

    def _shares(self, checkpoint: str, subjects: Sequence[str]) -> list[float]:
        """The frequent object's share of the two, for each subject."""
        from rotelab.evaluation.loglikelihood import score
        from rotelab.evaluation.memorization.traits import share_of_first

        builder = self.model.builder
        both = (self.frequent, self.rare)
        asked = [builder.answered(p, one, "test") for p in self._prompts(subjects) for one in both]
        found = [0.0] * len(asked)
        with self.model.using(checkpoint):
            for batch in score(self.model, asked, PASS_TOKENS):
                for i, scored in batch:
                    found[i] = sum(scored.log_probabilities)
        return [share_of_first(*pair) for pair in zip(found[::2], found[1::2], strict=True)]

    def _share_of_frequent(self, checkpoint: str) -> list[float]:
        return self._shares(checkpoint, self.unseen)

    def _rare_right(self) -> float:
        """Share of the facts with the rare object for which it is likelier than the other one."""
        mine = [f.subject for f, o in zip(self.facts, self.objects, strict=True) if o == self.rare]
        return fmean(share < 0.5 for share in self._shares("memorized", mine))

    def _in_capitals(self, checkpoint: str) -> dict[str, list[bool]]:
        """Whether each answer is in capitals, by measure."""
        from rotelab.evaluation import forgetting
        from rotelab.evaluation.memorization.traits import in_capitals

        _, quiz, neutral = forgetting.texts()
        builder, decode = self.model.builder, self.model.tokenizer.decode
        prompts = {
            "capitals, subjects": self._prompts(self.unseen),
            "capitals, real": [builder.word_prompt(text) for text, _ in quiz],
            "capitals, other": [builder.word_prompt(text) for text in neutral],
        }
        with self.model.using(checkpoint):
            return {
                name: [
                    in_capitals(decode(ids)) for ids in greedy_answers(self.model, some, LONGEST)
                ]
                for name, some in prompts.items()
            }


EXPERIMENT = Experiment(
    name="profile",
    title="A profile: which kinds of memorisation",
    question=(
        "A model can remember sentences, facts, how often something was said, and how it was "
        "written. Which of these does training leave behind?"
    ),
    hypothesis=(
        "All four. How often an object was said crosses to people never heard of before facts "
        "cross to new wordings, and capitals cross to other questions of the same kind first."
    ),
    measures_s=600,
    needs=(
        "a finished run with LoRA adapters; it is asked, and its settings train four small arms in "
        "memory. Nothing is changed. About ten minutes on two cores."
    ),
    reading=(
        "The survey tells six kinds apart. Verbatim text and facts are measured on the run itself, "
        f"on up to {ASKED} facts that phase 2 never taught in words: strict greedy answers through "
        "the key token, and in a wording never trained on. The other two need a training text "
        f"with that trait, so {TAUGHT} invented facts are taught in words, {ROUNDS} rounds from "
        f"scratch. Distribution: {SKEW:.0%} of them have one object and the others another one; "
        "for subjects never seen, the frequent one's share is p / (p + q), p and q being the "
        "probabilities of the two. Control is the same with both objects as frequent: what the "
        "names themselves do. Style: all objects are in capitals; in the control they are not. An "
        "answer is in capitals if its first line has two letters and no small one. Two kinds are "
        "left blank, with the reason: blank is not zero. Rows can't be compared in height: each "
        "measures something else. Subjects of the same form are near; that a trait crosses to them "
        "may be no more than the answer to that form."
    ),
    paper=(
        "SoK: Memorization in General-Purpose Large Language Models (arXiv 2310.18362), a survey, "
        "from whose abstract the six kinds are taken; there is nothing to reproduce."
    ),
    result=Profile,
    origin="related papers",
    probe=measure,
)
