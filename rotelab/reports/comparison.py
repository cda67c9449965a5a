"""Compares two to six runs: settings that differ, scores, and facts answered differently."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from rotelab.config.names import Checkpoint
from rotelab.config.option_paths import flat, label_of
from rotelab.config.recipes import recipe_of
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.results import Answers, Score
from rotelab.facts.facts import Fact
from rotelab.registry import Registry, RunRow
from rotelab.reports.intervals import (
    Difference,
    Interval,
    Intervals,
    differences,
    interval_at,
    intervals_of_run,
)

LEAST, MOST = 2, 6
"""Fewest and most runs of a comparison: more columns and curves can't be told apart."""

COMPARED: tuple[Checkpoint, ...] = ("generalized", "memorized")
"""The checkpoints whose scores are compared, the most important first."""

PROBE = "test_prompts_heldout"
"""The probe by which facts are compared."""

OWN_SETTINGS = "own settings"

ONE_SEED = (
    "Differences are taken on the facts that both runs were asked. They tell these two models "
    "apart; what another seed would change is not in their intervals."
)
"""What a reader of differences must know."""


@dataclass(frozen=True)
class Side:
    """One of the runs.

    Args:
        run: its row.
        label: its name, or “Run 7”; no two runs of a comparison have the same.
        config: its settings; None if they can't be read.
        scores: by checkpoint and probe.
        sums: its answers fact by fact, by checkpoint, probe and measure.
    """

    run: RunRow
    label: str
    config: RunConfig | None
    scores: Mapping[str, Mapping[str, Score]]
    sums: Mapping[str, Mapping[str, Mapping[str, Answers]]] = field(default_factory=dict)

    def value(self, checkpoint: str, probe: str, measure: str) -> float | None:
        """One of its numbers; None if it was not measured or is NaN."""
        score = self.scores.get(checkpoint, {}).get(probe)
        value = None if score is None else getattr(score, measure)
        return value if value is not None and math.isfinite(value) else None

    def interval(self, checkpoint: str, probe: str, measure: str) -> Interval | None:
        """The interval of one of its numbers; None without single answers."""
        return interval_at(self._intervals, checkpoint, probe, measure)

    @cached_property
    def _intervals(self) -> Intervals:
        return intervals_of_run({c: self.sums[c] for c in COMPARED if c in self.sums})


class Option(NamedTuple):
    """An option in which the runs differ.

    Args:
        path: such as `memorize.epochs`, or `recipe`.
        label: what the page calls it.
        values: of each run; None where its settings can't be read.
    """

    path: str
    label: str
    values: tuple[Any, ...]


class Share(NamedTuple):
    """How many of the questions about a fact a run answers right."""

    right: int
    asked: int

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.right / self.asked


class FactRow(NamedTuple):
    """A fact, and the share of its questions that each run answers right.

    Args:
        fact: the fact.
        shares: one for each run; None if it was not tested on the fact.
    """

    fact: Fact
    shares: tuple[Share | None, ...]

    @property
    def spread(self) -> float:
        """The largest share minus the smallest."""
        values = [share.value for share in self.shares if share is not None]
        return max(values) - min(values)


@dataclass(frozen=True)
class Comparison:
    """A comparison of runs; tuples with a value for each run are in the runs' order.

    Args:
        sides: the runs.
        options: the options in which they differ, the recipe first.
        notes: sentences about recipe and facts, and about runs whose row is damaged.
        facts: the facts whose held-out test answers differ, those that differ most first.
        facts_in_common: how many facts at least two of the runs were tested on.
        fact_notes: sentences about runs that can't be compared fact by fact.
    """

    sides: tuple[Side, ...]
    options: tuple[Option, ...]
    notes: tuple[str, ...]
    facts: tuple[FactRow, ...]
    facts_in_common: int
    fact_notes: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The runs' names."""
        return tuple(side.label for side in self.sides)

    @property
    def probes(self) -> tuple[str, ...]:
        """Every probe for which a run has a score."""
        scores = (of for side in self.sides for of in side.scores.values())
        return tuple(dict.fromkeys(probe for of in scores for probe in of))

    @cached_property
    def differences(self) -> Mapping[tuple[str, str, str, int], Difference | None]:
        """By how much each run but the first is higher than the first.

        By checkpoint, probe, measure and the run's place; None where the two share fewer than two
        facts. What one of them was not asked is missing.
        """
        first, *others = (side.sums for side in self.sides)
        places = [
            (checkpoint, probe, measure, place)
            for checkpoint in COMPARED
            for probe, figures in first.get(checkpoint, {}).items()
            for measure in figures
            for place, sums in enumerate(others, 1)
            if measure in sums.get(checkpoint, {}).get(probe, {})
        ]
        pairs = [
            (self.sides[place].sums[checkpoint][probe][measure], first[checkpoint][probe][measure])
            for checkpoint, probe, measure, place in places
        ]
        return dict(zip(places, differences(pairs), strict=True))

    def best(self, checkpoint: str, probe: str, measure: str) -> frozenset[int]:
        """The places of the runs with the best value; none if all that have one are equal.

        The best value is the largest, but for `unrelated` questions, where an object is a leak, the
        smallest.
        """
        values = {
            place: round(value, 9)
            for place, side in enumerate(self.sides)
            if (value := side.value(checkpoint, probe, measure)) is not None
        }
        if len(set(values.values())) < 2:
            return frozenset()
        wanted = (min if probe == "unrelated" else max)(values.values())
        return frozenset(place for place, value in values.items() if value == wanted)


def compare(registry: Registry, run_ids: Sequence[str]) -> Comparison:
    """Compares runs. A run with damaged settings is named in the notes; its results are compared.

    Args:
        registry: the registry.
        run_ids: two to six whole ids, in the order in which they are shown.

    Raises:
        UnknownRun: there is no run with one of the ids.
        LabError: there are too few runs, too many, or one twice; or the registry can't be read.
    """
    check(run_ids)
    runs = [registry.run(run_id) for run_id in run_ids]
    sides, damaged = [], []
    for run, label in zip(runs, _labels(runs), strict=True):
        try:
            config = run.config
        except LabError as error:
            config = None
            damaged.append(f"{label}: {error} Its options are left out; its results are compared.")
        answers = registry.fact_sums(run.id)
        sides.append(Side(run, label, config, registry.scores(run.id), answers))
    taught, unread = _taught(sides)
    rows, in_common, fact_notes = _by_fact(registry, sides, taught)
    return Comparison(
        tuple(sides),
        _options(sides),
        (*damaged, *unread, *_recipe_words(sides), _facts_words(sides, taught)),
        rows,
        in_common,
        fact_notes,
    )


def check(run_ids: Sequence[str]) -> None:
    """Checks that these runs can be compared.

    Raises:
        LabError: there are too few runs, too many, or one twice.
    """
    if len(set(run_ids)) < len(run_ids):
        raise LabError("A run can't be compared with itself. Name each run once.")
    if len(run_ids) < LEAST:
        raise LabError(f"Comparing takes at least {LEAST} runs. Name another.")
    if len(run_ids) > MOST:
        raise LabError(
            f"{len(run_ids)} runs are too many to compare; at most {MOST} are allowed. "
            "Leave some out."
        )


def joined(labels: Sequence[str]) -> str:
    """Names in a sentence: “A, B and C”."""
    return " and ".join(filter(None, [", ".join(labels[:-1]), *labels[-1:]]))


def _labels(runs: Sequence[RunRow]) -> list[str]:
    names = [run.name or f"Run {run.number}" for run in runs]
    often = Counter(names)
    return [
        name if often[name] == 1 else f"{name} (Run {run.number})"
        for name, run in zip(names, runs, strict=True)
    ]


def _options(sides: Sequence[Side]) -> tuple[Option, ...]:
    """The options in which the runs whose settings can be read differ."""
    every = [None if side.config is None else _settings(side.config) for side in sides]
    read = [settings for settings in every if settings is not None]
    return tuple(
        Option(
            path,
            "Recipe" if path == "recipe" else label_of(path),
            tuple(None if settings is None else settings.get(path) for settings in every),
        )
        for path in dict.fromkeys(p for settings in read for p in settings)
        if len({settings.get(path) for settings in read}) > 1
    )


def _settings(config: RunConfig) -> dict[str, Any]:
    return {"recipe": recipe_of(config) or OWN_SETTINGS, **flat(config)}


def _recipe_words(sides: Sequence[Side]) -> list[str]:
    """Names the recipe if it is the same in all runs, and so is not in the table of options."""
    recipes = {recipe_of(side.config) for side in sides if side.config is not None}
    if len(recipes) != 1:
        return []
    recipe = recipes.pop()
    every = _every(sides)
    return [f"{every} follow the recipe {recipe}." if recipe else f"{every} have own settings."]


def _every(sides: Sequence[Side]) -> str:
    return "Both" if len(sides) == 2 else "All"


# Facts -------------------------------------------------------------------------------------------


def _taught(sides: Sequence[Side]) -> tuple[list[frozenset[Fact] | None], list[str]]:
    """The facts that each run learns, None if they can't be read, and sentences about the latter.

    If all runs have the same content, it is not read, and the sets are empty.
    """
    if len({side.run.content_hash for side in sides}) == 1:
        return [frozenset()] * len(sides), []
    found: dict[str, frozenset[Fact] | None] = {}
    notes = []
    for side in sides:
        content = side.run.content_hash
        if content not in found:
            try:
                found[content] = frozenset(
                    replace(fact, aliases=(), old="") for fact in side.run.pack.facts
                )
            except LabError as error:
                found[content] = None
                notes.append(f"{side.label}: {error}")
    return [found[side.run.content_hash] for side in sides], notes


def _facts_words(sides: Sequence[Side], taught: Sequence[frozenset[Fact] | None]) -> str:
    """A sentence about which facts the runs have in common."""
    every = _every(sides)
    if len({side.run.content_hash for side in sides}) == 1:
        return f"{every} learn the same facts, with the same wordings."
    read = [facts for facts in taught if facts is not None]
    if len(read) < LEAST:
        return "The runs learn different facts."
    common = frozenset.intersection(*read)
    if all(facts == common for facts in read):
        other = len({side.run.prompts_csv for side in sides}) > 1
        return f"{every} learn the same {len(common):,} facts, but " + (
            "their wordings differ." if other else "in another order."
        )
    counts = joined(
        [f"{side.label} {len(f):,}" for side, f in zip(sides, taught, strict=True) if f is not None]
    )
    shared = f"{len(common):,} of them are" if len(common) > 1 else "one of them is"
    same = f"{shared} the same" if common else "none of them is the same"
    return f"The runs learn different facts ({counts}); {same} in {every.lower()}."


def _by_fact(
    registry: Registry, sides: Sequence[Side], taught: Sequence[frozenset[Fact] | None]
) -> tuple[tuple[FactRow, ...], int, tuple[str, ...]]:
    shares = [
        {
            Fact(*fact): Share(*counts)
            for fact, counts in registry.fact_shares(side.run.id, COMPARED[0], PROBE).items()
        }
        for side in sides
    ]
    often = Counter(fact for of in shares for fact in of)
    common = [fact for fact, times in often.items() if times > 1]
    rows = [FactRow(fact, tuple(of.get(fact) for of in shares)) for fact in common]
    rows = [row for row in rows if row.spread > 0]
    # Sorting is stable: facts that differ equally stay in the order in which they were asked.
    rows.sort(key=lambda row: -row.spread)
    return tuple(rows), len(common), tuple(_fact_notes(sides, shares, often, taught))


def _fact_notes(
    sides: Sequence[Side],
    shares: Sequence[Mapping[Fact, Share]],
    often: Mapping[Fact, int],
    taught: Sequence[frozenset[Fact] | None],
) -> list[str]:
    """Explains for each run without a row in the table why it has none."""
    unasked = [side.label for side, of in zip(sides, shares, strict=True) if not of]
    asked = [place for place, of in enumerate(shares) if of]
    alone = [place for place in asked if all(often[fact] == 1 for fact in shares[place])]
    notes = []
    if unasked:
        notes.append(f"{joined(unasked)}: not yet asked about held-out facts after phase 2.")
    if len(asked) < LEAST or not alone:
        return notes
    if all(_strangers(place, asked, sides, taught) for place in alone):
        why = "no fact in common"
        rest = "so there is nothing to compare fact by fact."
    else:
        why = "no held-out fact in common"
        rest = "because other facts were taught in words (k or seed differ)."
    names = [sides[place].label for place in alone]
    if len(alone) == len(asked):
        notes.append(f"{joined(names)} have {why}, {rest}")
    else:
        verb = "has" if len(names) == 1 else "have"
        notes.append(f"{joined(names)} {verb} {why} with the others.")
    return notes


def _strangers(
    place: int,
    asked: Sequence[int],
    sides: Sequence[Side],
    taught: Sequence[frozenset[Fact] | None],
) -> bool:
    """Whether the run at `place` has no fact in common with the other runs that were asked."""
    mine, content = taught[place] or frozenset(), sides[place].run.content_hash
    return all(
        sides[other].run.content_hash != content and not mine & (taught[other] or frozenset())
        for other in asked
        if other != place
    )
