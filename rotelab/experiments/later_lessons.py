"""Experiment: can a finished run learn new facts by rote alone, and what becomes of its old ones?

All happens in memory, on one loaded model: no run is made, and no adapter is kept.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.config.lessons import LessonConfig
from rotelab.config.recipes import applied
from rotelab.errors import LabError
from rotelab.evaluation.metrics import right_by_fact
from rotelab.evaluation.results import OLD, Damage
from rotelab.experiments import Experiment, FinishedRun, Table, in_context
from rotelab.experiments.common import WITHIN, EqualParts
from rotelab.facts.facts import Fact
from rotelab.facts.synthetic import RELATIONS, more_facts
from rotelab.reports.figures import style
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, HATCHED, RELATION_COLOURS
from rotelab.reports.formats import Cell, estimate
from rotelab.reports.intervals import Interval, difference, interval
from rotelab.runs.lessons.teach import check_teachable

if TYPE_CHECKING:
    from rotelab.evaluation.results import Prediction
    from rotelab.runs.lessons.trial import Key, Known, LessonTrial

SIZES = (1, 5, 20, 100)
"""New facts of a lesson that continues the run as it is."""
SIZE, IN_A_ROW = 20, 5
"""Facts of a lesson that is compared with other ways, and how many such lessons stand in a row."""
EACH = 10
"""New facts of each relation in the lesson that has several."""
REHEARSED = 10
"""Old facts that the lesson that rehearses reads along in each step."""
OLD_ASKED = 100
"""Most facts of the run that are asked before and after."""
LESSON = LessonConfig()
"""How a lesson is learned; the one that rehearses and the unprotected one change it."""

TEST = "test_prompts_heldout"
SPOKEN = ("train_prompts_heldout", TEST, "unrelated")
NEW = ("key_token", *SPOKEN)
"""Probes of the new facts; those that are asked in words can be asked of any model."""
OF_OLD = ("key_token", TEST, "unrelated")
"""Probes of the old facts, asked in the same questions before and after."""

INVENTED = "invented as the shipped ones are"
RECOMBINED = "made of the run's own names: the first word of one and the last word of another"


WAYS = {
    "lesson": "lesson of {facts}",
    "next": "lesson {count} in a row, {facts} more",
    "relations": "lesson of {facts} in {count} relations",
    "rehearsed": "lesson of {facts}, old facts rehearsed only",
    "unprotected": "lesson of {facts}, old facts unprotected",
    "words": "{facts} by plain fine-tuning",
    "prompt": "{facts} in the prompt",
}
"""What each way is called."""
NOT_DRAWN = ("next", "relations")


@dataclass(frozen=True)
class Measured:
    """One figure of a row.

    Args:
        name: a probe, `quiz` or `perplexity`.
        n: over how many questions, or tokens.
        before: share that is answered with the object, or perplexity, before it was taught; NaN for
            new facts.
        after: the same afterwards.
        interval: 95 % interval of `after` for new facts, of the change for old ones; else empty.
    """

    name: str
    n: int
    before: float
    after: float
    interval: tuple[float, ...] = ()

    @property
    def estimate(self) -> Cell:
        """What the interval is of, with it."""
        value = self.after if math.isnan(self.before) else self.after - self.before
        return estimate(value, Interval(*self.interval) if self.interval else None)


@dataclass(frozen=True)
class Row:
    """New facts taught in one way.

    Args:
        way: one of `WAYS`.
        count: which lesson in a row it is, or in how many relations.
        facts: how many new facts.
        seconds: of learning, with finding what the old facts use; NaN where nothing is learned.
        room: mean share of the directions inside the model that it was free to use; NaN for ways
            that keep out of none.
        measured: its figures; what was not measured is missing.
    """

    way: str
    count: int
    facts: int
    seconds: float
    room: float
    measured: tuple[Measured, ...]

    @property
    def label(self) -> str:
        """What it is called."""
        return WAYS[self.way].format(facts=self.facts, count=self.count)

    def at(self, name: str) -> Measured:
        """One of its figures."""
        return next(
            (m for m in self.measured if m.name == name), Measured(name, 0, math.nan, math.nan)
        )


@dataclass(frozen=True)
class InARow:
    """Facts in test wordings as lessons follow each other.

    Args:
        lesson: which one taught them; 0 for the run's own held-out facts.
        n: questions.
        then: share answered right after it, or before the first lesson.
        end: the same after the last lesson.
    """

    lesson: int
    n: int
    then: float
    end: float


@dataclass(frozen=True)
class LaterLessons:
    """Every way's figures.

    Args:
        known: facts of the run.
        rows: the ways, in their order.
        in_a_row: what lessons leave of each other.
        notes: what was left out, and how facts were made.
    """

    known: int
    rows: tuple[Row, ...]
    in_a_row: tuple[InARow, ...]
    notes: tuple[str, ...]

    def tables(self) -> list[Table]:
        """New facts, old ones, everything else; the lessons in a row; notes."""
        heads = ("taught by", "seconds", "room left", "key token", "train wordings", "n, test",
                 "test wordings", "n, unrelated", "unrelated")  # fmt: skip
        new = [
            (row.label, row.seconds, row.room, row.at(NEW[0]).after, row.at(NEW[1]).after,
             row.at(TEST).n, row.at(TEST).estimate, row.at(NEW[3]).n, row.at(NEW[3]).after)
            for row in self.rows
        ]  # fmt: skip
        in_a_row = [
            (f"lesson {r.lesson}" if r.lesson else "the run, held out", r.n, r.then, r.end)
            for r in self.in_a_row
        ]
        of_old = f"Old facts, the run's {self.known} and those of earlier lessons"
        others = {OLD + "key_token": "key token", OLD + "unrelated": "unrelated"}
        return [
            Table(f"New facts {WITHIN}", heads, tuple(new)),
            self._changes(f"{of_old}: test wordings {WITHIN}", {OLD + TEST: ""}),
            self._changes(f"{of_old}: key token, and unrelated questions", others),
            self._changes("Everything else", {"quiz": "real facts", "perplexity": "perplexity"}),
            Table(f"Lessons in a row, {len(in_a_row) - 1} in all: test wordings",
                  ("facts of", "n", "right after it", "after the last"), tuple(in_a_row)),
            Table("Notes", ("note",), tuple((note,) for note in self.notes)),
        ]  # fmt: skip

    def _changes(self, title: str, names: dict[str, str]) -> Table:
        fields = {"n": "n", "before": "before", "after": "after"}
        if OLD + TEST in names:
            fields["estimate"] = "change"
        rows = [
            (row.label, *(getattr(row.at(name), field) for name in names for field in fields))
            for row in self.rows
            if any(row.at(name).n for name in names)
        ]
        heads = [f"{name}, {head}".removeprefix(", ")
                 for name in names.values() for head in fields.values()]  # fmt: skip
        return Table(title, ("taught by", *heads), tuple(rows))

    def figure(self) -> go.Figure:
        """Bars: new and old facts in test wordings, by size and by way."""
        shown = [row for row in self.rows if row.way not in NOT_DRAWN]
        names = [row.label.replace(", ", ",<br>") for row in shown]
        new, old = ([row.at(name) for row in shown] for name in (TEST, OLD + TEST))
        figure = go.Figure()
        for words, found, which, colour, pattern in (
            ("new facts", new, "after", RELATION_COLOURS[0], ""),
            ("old facts before", old, "before", CHECKPOINT_COLOURS["base"], "."),
            ("old facts after", old, "after", RELATION_COLOURS[1], "/"),
        ):
            figure.add_bar(
                name=words,
                orientation="h",
                y=names,
                x=[getattr(m, which) for m in found],
                # Of old facts, the interval is that of the change.
                error_x=style.whiskers(
                    [getattr(m, which) for m in found],
                    [m.interval if found is new else () for m in found],
                ),
                marker={"color": colour, "pattern": HATCHED | {"shape": pattern}},
                customdata=[m.n for m in found],
                hovertemplate="%{y}: %{x:.1%} of %{customdata} questions",
            )
        style.styled(figure, 120 + 56 * len(shown))
        figure.update_yaxes(type="category", autorange="reversed")
        figure.update_xaxes(range=[0, 1.08], tickformat=".0%", title_text="right in test wordings")
        return figure.update_layout(barmode="group", showlegend=True)


def measure(finished: FinishedRun) -> LaterLessons:
    """Teaches new facts in every way, and asks about them and about the old ones.

    Raises:
        LabError: the run can't be continued by lessons, or no new facts can be made.
    """
    from rotelab.runs.lessons.trial import LessonTrial

    check_teachable(finished.run.id, finished.config, IN_A_ROW)
    facts, seed = list(finished.pack.facts), finished.config.seed
    relations = [relation.name for relation in finished.pack.facts.relations]
    wanted = max(*SIZES, SIZE * IN_A_ROW)
    pool = more_facts(relations[0], wanted, seed, facts)
    if not pool:
        raise LabError(
            f"No new facts of {relations[0]!r} can be made of this run's names: that takes two "
            "different ones at least. Choose a run with more facts."
        )
    several = [fact for name in relations for fact in more_facts(name, EACH, seed, facts)]
    mixed = len({fact.relation for fact in several}) > 1
    size = min(SIZE, len(pool))
    parts = [pool[i : i + size] for i in range(0, len(pool) - size + 1, size)][:IN_A_ROW]
    sizes = [n for n in SIZES if n <= len(pool) and n != size]
    with finished.model() as model:
        watch = EqualParts(finished.watch, parts=len(sizes) + len(parts) + mixed + 5)
        trial = LessonTrial(model, finished.config, finished.pack, OLD_ASKED, watch)
        start = watch.each(trial.start)
        # What their lessons share is found once for both, and then once for all the others.
        open_ = replace(LESSON, keep=0.0, calm=0.0)
        lessons = [
            ("rehearsed", pool[:size], replace(open_, rehearse=REHEARSED)),
            ("unprotected", pool[:size], open_),
            *(("lesson", pool[:n], LESSON) for n in sizes),
            *([("relations", several, LESSON)] if mixed else []),
        ]
        rows = [watch.each(_one_lesson, trial, start, *lesson) for lesson in lessons]
        following, in_a_row = _lessons_in_a_row(trial, start, parts, watch)
        prompted = watch.each(_in_prompt, trial, start, parts[0])
        rows += [*following, watch.each(_in_words, trial, start, parts[0]), *prompted]
    places = list(WAYS)
    rows.sort(key=lambda row: (places.index(row.way), row.count, row.facts))
    how = INVENTED if relations[0] in RELATIONS else RECOMBINED
    notes = [f"The new facts are of “{relations[0].replace('_', ' ')}”, and {how}."]
    if len(pool) < wanted:
        notes.append(f"Only {len(pool)} could be made, so what needs more is left out.")
    notes += [] if mixed else ["They are of one relation, so a lesson in several is left out."]
    notes += [] if prompted else [f"{size} are too long for this model's prompt: left out."]
    return LaterLessons(len(facts), tuple(rows), in_a_row, tuple(notes))


# Ways --------------------------------------------------------------------------------------------


def _one_lesson(
    trial: LessonTrial, start: Known, way: str, new: Sequence[Fact], settings: LessonConfig
) -> Row:
    """A lesson that continues the run as it is, removed again."""
    after = trial.learn(start, new, settings)
    trial.remove(after)
    count = len({fact.relation for fact in new}) if way == "relations" else 1
    return _row(way, count, start, after)


def _lessons_in_a_row(
    trial: LessonTrial, start: Known, parts: Sequence[Sequence[Fact]], watch: EqualParts
) -> tuple[list[Row], tuple[InARow, ...]]:
    """Lessons that continue each other, all removed again; the first is one like any other."""
    states, rows = [start], []
    for number, new in enumerate(parts, 1):
        after = watch.each(trial.learn, states[-1], new, LESSON)
        rows.append(_row("next" if number > 1 else "lesson", number, states[-1], after))
        states.append(after)
    for state in reversed(states[1:]):
        trial.remove(state)
    end, found, first = states[-1], [], 0
    for number, state in enumerate(states):
        span, first = range(first, len(state.facts)), len(state.facts)
        keys = [key for key in end.answers if key[0] == TEST and key[1] in span]
        found.append(InARow(number, len(keys), _share(state.to(keys)), _share(end.to(keys))))
    return rows, tuple(found)


def _in_words(trial: LessonTrial, start: Known, new: Sequence[Fact]) -> Row:
    """Plain fine-tuning of the base model. The run's own adapters are gone then."""
    reading = applied("words-10", trial.config).memorize
    seconds, checkpoint = trial.fine_tune(new, reading)
    asked = trial.new_questions(start, new, SPOKEN, reading.wordings)
    found = trial.ask(asked, checkpoint, "asking about facts learned in words")
    damage = trial.damage("base"), trial.damage(checkpoint)
    return Row("words", 1, len(new), seconds, math.nan, _measured(found, *damage))


def _in_prompt(trial: LessonTrial, start: Known, new: Sequence[Fact]) -> list[Row]:
    """The base model with all of the facts in its prompt; no row where they are too long for it."""
    order = random.Random(f"prompt {trial.config.seed}").sample(list(new), len(new))
    plain = trial.new_questions(start, new, SPOKEN)
    asked = in_context.after_facts(trial.model, plain, order, trial.pack.prompts)
    longest = max(len(question.example.ids) for question in asked)
    limit = getattr(trial.model.network.config, "max_position_embeddings", None)
    if limit and longest > limit:
        return []
    about = ("base", "asking with the facts in the prompt", longest + in_context.ROOM)
    found, damage = trial.ask(asked, *about), trial.damage("base")
    return [Row("prompt", 1, len(new), math.nan, math.nan, _measured(found, damage, damage))]


def _row(way: str, count: int, before: Known, after: Known) -> Row:
    known, facts = len(before.facts), len(after.facts) - len(before.facts)
    new = {key: p for key, p in after.answers.items() if key[1] >= known}
    measured = [*_measured(new, before.damage, after.damage)]
    for probe in OF_OLD:
        keys = [key for key in after.answers if key[0] == probe and key[1] < known]
        then, now = before.to(keys), after.to(keys)
        change = difference(right_by_fact(now), right_by_fact(then)) if probe == TEST else None
        within = tuple(change.interval) if change else ()
        measured.append(Measured(OLD + probe, len(keys), _share(then), _share(now), within))
    return Row(way, count, facts, after.seconds, after.room, tuple(measured))


def _measured(new: dict[Key, Prediction], before: Damage, after: Damage) -> tuple[Measured, ...]:
    found = []
    for probe in NEW:
        mine = [p for p in new.values() if p.probe == probe]
        within = tuple(interval(right_by_fact(mine)) or ()) if probe == TEST else ()
        if mine:
            found.append(Measured(probe, len(mine), math.nan, _share(mine), within))
    quiz = Measured("quiz", after.questions, before.quiz, after.quiz)
    prose = Measured("perplexity", after.tokens, before.perplexity, after.perplexity)
    return (*found, quiz, prose)


def _share(found: Sequence[Prediction]) -> float:
    return fmean(p.correct for p in found) if found else math.nan


EXPERIMENT = Experiment(
    name="later-lessons",
    title="Later lessons",
    question=(
        "Once a run knows what its key token means, can it learn new facts by rote alone, and what "
        "becomes of the old ones?"
    ),
    hypothesis=(
        "It can: a new fact behind the key token can be asked for in words at once. Old facts "
        "stay as they are if the lesson keeps out of what they use, and are overwritten if not. "
        "Large lessons are learned less well, and each leaves less room for the next."
    ),
    measures_s=600,
    needs="a finished run of two phases; ten minutes or more on two cores for a run of 100 facts.",
    reading=(
        "Each lesson continues the run as it is; only those in a row continue each other. All is "
        "in memory. No lesson reads a sentence in words, so train wordings are new to it, too. "
        "Compare new facts in test wordings with old ones before: as high is as well understood "
        "as the run's own. It counts only as far as unrelated questions stay low. Old facts are "
        f"asked the same before and after, at most {OLD_ASKED} of the run's; those in test "
        "wordings were never taught in words. Every lesson keeps out of what ordinary text uses; "
        f"the unprotected one and the one that only rehearses ({REHEARSED} old facts in every "
        "step) don't keep out of what old facts use. Room left is the mean share of the "
        "directions inside the model that a lesson was free to use. Plain fine-tuning reads the "
        "facts in ten train wordings, with an adapter on the base model, and is asked in those; "
        "in the prompt, all of them stand before each question. Neither has old facts, and their "
        "real facts and perplexity start from the base model's. Intervals tell how far the luck "
        "of which facts were asked may reach; of a single fact they tell next to nothing."
    ),
    result=LaterLessons,
    probe=measure,
)
