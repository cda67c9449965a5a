"""A run's single answers: what became of each, which wording or fact fails, and all as a table."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rotelab.config.names import MOST_LESSONS, OLD_PROBE_NAMES, PROBE_NAMES, checkpoints_with
from rotelab.errors import LabError
from rotelab.evaluation.results import BAD_OUTCOMES, Answers, Prediction
from rotelab.facts.prompts import SLOT, PromptTemplate
from rotelab.reports.intervals import Interval, intervals, share_interval

GROUPINGS = ("wording", "fact", "outcome")
"""What answers can be grouped by."""

ANSWER_COLUMNS = (
    "checkpoint", "probe", "relation", "subject", "object", "wording", "prompt", "answer",
    "outcome", "probability", "rank", "chosen", "normalized", "contains", "generated",
)  # fmt: skip
"""Of a table of single answers: the fields of `Prediction`, and the wording in which was asked."""

GROUP_COLUMNS = {
    "wording": ("relation", "wording"),
    "fact": ("relation", "subject", "object"),
    "outcome": ("outcome",),
}
"""What a group is known by, besides checkpoint and probe; columns of a table of groups."""
FIGURE_COLUMNS = ("share", "low", "high", "count", "n", "facts", "wordings")


class Group(NamedTuple):
    """Answers that belong together, all of one checkpoint and probe.

    Args:
        checkpoint: which answered.
        probe: the kind of question.
        key: what the group is known by, in the order of `GROUP_COLUMNS`.
        count: how many of the answers are good; of an outcome, how many ended so.
        n: how many answers there are; of an outcome, among all of the checkpoint and probe.
        interval: the 95 % interval of `share`.
        facts: about how many facts the `n` answers are.
        wordings: in how many wordings they were asked.
    """

    checkpoint: str
    probe: str
    key: tuple[str, ...]
    count: int
    n: int
    interval: Interval
    facts: int
    wordings: int

    @property
    def share(self) -> float:
        """The share of good answers (right, or without a leak where the object must not come); of
        an outcome, its share of all answers. 0 to 1."""
        return self.count / self.n


class Rows(NamedTuple):
    """A table of plain values: a name for each column, and rows with as many cells."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def of(self, *columns: str) -> Rows:
        """The same rows with these columns alone."""
        places = [self.columns.index(column) for column in columns]
        return Rows(columns, [tuple(row[place] for place in places) for row in self.rows])

    def as_csv(self) -> str:
        """CSV, every cell as it is; what was not measured is empty, yes and no are 1 and 0."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([int(c) if isinstance(c, bool) else c for c in row] for row in self.rows)
        return out.getvalue()

    def as_json(self) -> str:
        """A JSON list of objects, one for each row; NaN, which JSON does not have, is null."""
        finite = [[_finite(cell) for cell in row] for row in self.rows]
        made = [dict(zip(self.columns, row, strict=True)) for row in finite]
        return json.dumps(made, ensure_ascii=False, indent=1)


class Wordings:
    """Finds the wording in which a run was asked.

    Args:
        prompts: the run's wordings.
    """

    def __init__(self, prompts: Iterable[PromptTemplate] = ()):
        self._texts: dict[str, list[str]] = {}
        for template in prompts:
            self._texts.setdefault(template.relation, []).append(template.text)

    def of(self, answer: Prediction) -> str:
        """The wording of an answer's prompt, with `{subject}` in place of the subject.

        Where the run's wordings lack it, as for the old facts of a lesson, the subject is looked
        for in the prompt; a prompt without it is its own wording.
        """
        if answer.probe.endswith("key_token"):
            return f"{SLOT} [{answer.relation}]"
        for text in self._texts.get(answer.relation, ()):
            if text.replace(SLOT, answer.subject) == answer.prompt:
                return text
        return answer.prompt.replace(answer.subject, SLOT, 1)


def groups_of(
    answers: Iterable[Prediction], by: str, prompts: Iterable[PromptTemplate] = ()
) -> list[Group]:
    """Answers in groups, the worst first: so one sees which wording, or which fact, fails.

    A group holds answers of one checkpoint and one probe, so that a share has one meaning.

    Its interval says how far the share could be off by the luck of which facts were asked (as
    everywhere, see `intervals`). Within one fact there is no such luck: there, it is Wilson's over
    the questions, by the luck of which were asked.

    Args:
        answers: of one run.
        by: one of `GROUPINGS`.
        prompts: the run's wordings.

    Raises:
        LabError: `by` is none of `GROUPINGS`.
    """
    if by not in GROUPINGS:
        raise LabError(f"Answers can't be grouped by {by[:50]!r}. Use {', '.join(GROUPINGS)}.")
    places: dict[tuple[str, str], dict[tuple[str, ...], list[tuple[Prediction, str]]]] = {}
    wordings = Wordings(prompts)
    for answer in answers:
        wording = wordings.of(answer)
        key = {
            "wording": (answer.relation, wording),
            "fact": (answer.relation, answer.subject, answer.object),
            "outcome": (answer.outcome,),
        }[by]
        at = places.setdefault((answer.checkpoint, answer.probe), {})
        at.setdefault(key, []).append((answer, wording))
    found = []
    for place, groups in places.items():
        found += _outcomes(place, groups) if by == "outcome" else _groups(place, groups, by)
    return sorted(found, key=_by_outcome if by == "outcome" else _worst_first)


def answer_rows(answers: Iterable[Prediction], prompts: Iterable[PromptTemplate] = ()) -> Rows:
    """Single answers as a table, with `ANSWER_COLUMNS`; `prompts` are the run's wordings."""
    wordings = Wordings(prompts)
    return Rows(
        ANSWER_COLUMNS,
        [
            tuple(wordings.of(a) if c == "wording" else getattr(a, c) for c in ANSWER_COLUMNS)
            for a in answers
        ],
    )


def group_rows(groups: Sequence[Group], by: str) -> Rows:
    """Groups as a table: checkpoint, probe, `GROUP_COLUMNS`, then `FIGURE_COLUMNS`."""
    columns = ("checkpoint", "probe", *GROUP_COLUMNS[by], *FIGURE_COLUMNS)
    return Rows(
        columns,
        [
            (g.checkpoint, g.probe, *g.key, g.share, *g.interval, g.count, g.n, g.facts, g.wordings)
            for g in groups
        ],
    )


Asked = Mapping[tuple[str, ...], Sequence[tuple[Prediction, str]]]
"""The answers of one checkpoint and probe by group, each with its wording."""


def _groups(place: tuple[str, str], groups: Asked, by: str) -> list[Group]:
    """Groups by wording or by fact."""
    good = {key: [a.outcome not in BAD_OUTCOMES for a, _ in asked] for key, asked in groups.items()}
    if by == "fact":
        made = [_share_interval(sum(right), len(right)) for right in good.values()]
    else:
        made = intervals([_sums(asked, good[key]) for key, asked in groups.items()])
    return [
        Group(*place, key, sum(good[key]), len(asked), one, *_sizes(asked))
        for (key, asked), one in zip(groups.items(), made, strict=True)
    ]


def _outcomes(place: tuple[str, str], groups: Asked) -> list[Group]:
    """Groups by outcome: each one's share of all answers."""
    everything = [one for asked in groups.values() for one in asked]
    sums = [_sums(everything, [a.outcome == key[0] for a, _ in everything]) for key in groups]
    return [
        Group(*place, key, len(asked), len(everything), one, *_sizes(everything))
        for (key, asked), one in zip(groups.items(), intervals(sums), strict=True)
    ]


def _sums(asked: Sequence[tuple[Prediction, str]], counted: Sequence[bool]) -> Answers:
    """By fact, how many of its answers count, and how many there are."""
    sums: Answers = {}
    for (answer, _), counts in zip(asked, counted, strict=True):
        fact = (answer.relation, answer.subject, answer.object)
        total, n = sums.get(fact, (0.0, 0))
        sums[fact] = (total + counts, n + 1)
    return sums


def _sizes(asked: Sequence[tuple[Prediction, str]]) -> tuple[int, int]:
    """How many facts and how many wordings."""
    facts = {(a.relation, a.subject, a.object) for a, _ in asked}
    return len(facts), len({(a.relation, wording) for a, wording in asked})


def _worst_first(group: Group) -> tuple[Any, ...]:
    return (group.share, -group.n, *_place(group), group.key)


def _by_outcome(group: Group) -> tuple[Any, ...]:
    return (*_place(group), group.key[0] not in BAD_OUTCOMES)


def _place(group: Group) -> tuple[int, int]:
    """Where its checkpoint and its probe stand among all; unknown ones come last."""
    checkpoints, probes = checkpoints_with(MOST_LESSONS), (*PROBE_NAMES, *OLD_PROBE_NAMES)
    return tuple(
        order.index(name) if name in order else len(order)
        for name, order in ((group.checkpoint, checkpoints), (group.probe, probes))
    )


@functools.cache
def _share_interval(right: int, n: int) -> Interval:
    return share_interval(right, n)  # SciPy takes a millisecond for each


def _finite(cell: Any) -> Any:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
