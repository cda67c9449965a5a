"""Facts and sets of facts: checking, writing as CSV, content hash and the split."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rotelab.errors import ConfigError, InputError
from rotelab.facts import csv_text
from rotelab.facts.csv_text import MAX_ROWS, Doubt, Items, check_cell, write_table
from rotelab.facts.doubts import doubts_about
from rotelab.facts.formats.lists import as_cell

COLUMNS = ("relation", "subject", "object")
MAX_FACTS = MAX_ROWS
MORE_COLUMNS = ("aliases", "old", "label")
"""Columns that a set's CSV has only where some fact or relation needs them."""
MAX_CELL = 500
MAX_ALIASES = 100
MAX_ALIAS_TEXT = 10_000_000
"""Most characters of all aliases of a set together, so that its CSV can be read again."""
RELATION_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, order=True)
class Fact:
    """One (subject, relation, object) triple.

    Args:
        relation: the relation's name, such as `mother`; one key token stands for it.
        subject: what the fact is about.
        object: the answer that the model should give.
        aliases: other answers that are right as well.
        old: what the model may have held true before, if the fact contradicts it.
    """

    relation: str
    subject: str
    object: str
    aliases: tuple[str, ...] = ()
    old: str = ""

    @property
    def answers(self) -> tuple[str, ...]:
        """Every right answer, the object first."""
        return (self.object, *self.aliases)


@dataclass(frozen=True)
class Relation:
    """The facts of one relation inside a `FactSet`, in their order.

    Args:
        name: the relation's name.
        facts: its facts.
        label: the relation in words, or its name where the facts come from (`P19`); may be empty.
    """

    name: str
    facts: tuple[Fact, ...]
    label: str = ""

    @property
    def words(self) -> str:
        """What the relation is called in a sentence."""
        return self.label or in_words(self.name)


@dataclass(frozen=True)
class Split:
    """The facts that phase 2 sees in words (`held_in`, k of each relation) and all others."""

    held_in: tuple[Fact, ...]
    held_out: tuple[Fact, ...]


class FactSet(Items[Fact]):
    """An immutable, checked list of facts.

    Args:
        facts: the facts in their order.
        source: where they come from, as the user knows it; for error messages.
        labels: what relations are called in words, by name; others than these facts' are dropped.

    Raises:
        InputError: there is no fact, or more than `MAX_FACTS`; a cell is empty, too long, or not
            one trimmed line; a relation's name is not plain lower case; or two facts have the same
            relation and subject. So every set that is accepted survives `to_csv` unchanged.
    """

    def __init__(
        self,
        facts: Iterable[Fact],
        source: str = "facts",
        labels: Mapping[str, str] | None = None,
    ):
        super().__init__(facts)
        if not self._items:
            raise InputError("has no facts. Add at least one row.", source=source)
        if len(self._items) > MAX_FACTS:
            raise InputError(
                f"has {len(self._items)} facts; at most {MAX_FACTS} are allowed.", source=source
            )
        seen: dict[tuple[str, str], int] = {}
        for row, fact in enumerate(self._items, 1):
            _check_fact(fact, row, source)
            first = seen.setdefault((fact.relation, fact.subject), row)
            if first != row:
                raise InputError(
                    f"{fact.subject!r} already has a {fact.relation!r} in row {first}. "
                    "A subject has one object per relation: change or delete one of the two.",
                    source=source,
                    row=row,
                    column="subject",
                )
        if sum(len(alias) for fact in self._items for alias in fact.aliases) > MAX_ALIAS_TEXT:
            raise InputError("has too many long aliases. Leave some out.", source=source)
        names = {fact.relation for fact in self._items}
        self.labels = {
            name: label
            for name, label in (labels or {}).items()
            if name in names and label and label != in_words(name)
        }
        for name, label in self.labels.items():
            row = next(i for i, fact in enumerate(self._items, 1) if fact.relation == name)
            check_text(label, source=source, row=row, column="label")

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.labels == other.labels

    def __hash__(self) -> int:
        return super().__hash__()

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The relations in the order in which they first appear."""
        groups: dict[str, list[Fact]] = {}
        for fact in self._items:
            groups.setdefault(fact.relation, []).append(fact)
        return tuple(
            Relation(name, tuple(facts), self.labels.get(name, ""))
            for name, facts in groups.items()
        )

    def words(self, relation: str) -> str:
        """What a relation is called in a sentence."""
        return self.labels.get(relation) or in_words(relation)

    @property
    def content_hash(self) -> str:
        """`sha256:` and the hash of the CSV text: equal for equal facts in equal order."""
        return "sha256:" + hashlib.sha256(self.to_csv().encode()).hexdigest()

    def to_csv(self) -> str:
        """The set as CSV text: `COLUMNS`, and those of `MORE_COLUMNS` that are not empty."""
        rows = [
            (f.relation, f.subject, f.object, as_cell(f.aliases), f.old,
             self.labels.get(f.relation, ""))
            for f in self._items
        ]  # fmt: skip
        columns = (*COLUMNS, *MORE_COLUMNS)
        kept = [i for i in range(len(columns)) if i < len(COLUMNS) or any(row[i] for row in rows)]
        return write_table([columns[i] for i in kept], ([row[i] for i in kept] for row in rows))

    def take(self, per_relation: int, seed: int) -> FactSet:
        """`per_relation` facts of each relation, drawn by `seed`, in their first order.

        Raises:
            ConfigError: a relation has fewer facts.
        """
        chosen: set[Fact] = set()
        for relation in self.relations:
            if len(relation.facts) < per_relation:
                raise ConfigError(
                    f"{per_relation} facts were asked for, but the relation {relation.name!r} has "
                    f"only {len(relation.facts)}. Ask for fewer, or add facts."
                )
            rng = random.Random(f"facts {seed} {relation.name}")
            chosen.update(rng.sample(relation.facts, per_relation))
        return FactSet((fact for fact in self._items if fact in chosen), labels=self.labels)

    def split(self, k: int, seed: int, first: int | None = None) -> Split:
        """Draws k facts of each relation for phase 2; the others are held out (paper, section 3).

        Args:
            k: how many.
            seed: of the drawing.
            first: only the first so many facts are drawn from; all when None.

        Raises:
            ConfigError: a relation has fewer facts than k.
        """
        held_in: set[Fact] = set()
        drawn_from = self if first is None else FactSet(self._items[:first])
        for relation in drawn_from.relations:
            if len(relation.facts) < k:
                raise ConfigError(
                    f"k = {k} facts are to be taught in words, but the relation {relation.name!r} "
                    f"has only {len(relation.facts)}. Lower k, or add facts."
                )
            rng = random.Random(f"split {seed} {relation.name}")
            held_in.update(rng.sample(relation.facts, k))
        return Split(
            tuple(fact for fact in self._items if fact in held_in),
            tuple(fact for fact in self._items if fact not in held_in),
        )

    def doubts(self) -> list[Doubt]:
        """Warnings, by row and column: names that are hard to tell apart, answers that stand in
        their question or that most facts share, very long names."""
        return doubts_about(self._items, self.relations)


def in_words(relation: str) -> str:
    """A relation's name as words: `educated_at` is “educated at”."""
    return relation.replace("_", " ")


def check_text(cell: str, *, source: str, row: int, column: str) -> None:
    """Checks a name: as `check_cell`, and not longer than `MAX_CELL`.

    Raises:
        InputError: says what is wrong, and where.
    """
    check_cell(cell, source=source, row=row, column=column)
    if len(cell) > MAX_CELL:
        raise InputError(
            f"the {column} has {len(cell)} characters; at most {MAX_CELL} are allowed.",
            source=source,
            row=row,
            column=column,
        )


def _check_fact(fact: Fact, row: int, source: str) -> None:
    place = {"source": source, "row": row}
    for column in COLUMNS:
        check_text(getattr(fact, column), column=column, **place)
    for alias in fact.aliases:
        check_text(alias, column="aliases", **place)
    if len(fact.aliases) > MAX_ALIASES or len(as_cell(fact.aliases)) > csv_text.MAX_CELL:
        raise InputError(
            f"has {len(fact.aliases)} aliases of {sum(map(len, fact.aliases)):,} characters; at "
            f"most {MAX_ALIASES} are allowed, of {csv_text.MAX_CELL:,} characters together.",
            column="aliases",
            **place,
        )
    if fact.old:
        check_text(fact.old, column="old", **place)
    if not RELATION_NAME.fullmatch(fact.relation):
        raise InputError(
            f"{fact.relation[:50]!r} is not a relation's name. Use lower-case letters, digits and "
            "underscores, such as educated_at.",
            source=source,
            row=row,
            column="relation",
        )
