"""Facts and sets of facts: checking, writing as CSV, content hash and the split."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from rotelab.errors import ConfigError, InputError
from rotelab.facts.csv_text import MAX_ROWS, Doubt, Items, check_cell, write_table

COLUMNS = ("relation", "subject", "object")
MAX_FACTS = MAX_ROWS
MAX_CELL = 200
HEAD = 6
"""How many first letters are compared when names that look alike are searched."""
RELATION_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, order=True)
class Fact:
    """One (subject, relation, object) triple.

    Args:
        relation: the relation's name, such as `mother`; one key token stands for it.
        subject: what the fact is about.
        object: the answer that the model should give.
    """

    relation: str
    subject: str
    object: str


@dataclass(frozen=True)
class Relation:
    """The facts of one relation inside a `FactSet`, in their order.

    Args:
        name: the relation's name.
        facts: its facts.
    """

    name: str
    facts: tuple[Fact, ...]


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

    Raises:
        InputError: there is no fact, or more than `MAX_FACTS`; a cell is empty, too long, or not
            one trimmed line; a relation's name is not plain lower case; or two facts have the same
            relation and subject. So every set that is accepted survives `to_csv` unchanged.
    """

    def __init__(self, facts: Iterable[Fact], source: str = "facts"):
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

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The relations in the order in which they first appear."""
        groups: dict[str, list[Fact]] = {}
        for fact in self._items:
            groups.setdefault(fact.relation, []).append(fact)
        return tuple(Relation(name, tuple(facts)) for name, facts in groups.items())

    @property
    def content_hash(self) -> str:
        """`sha256:` and the hash of the CSV text: equal for equal facts in equal order."""
        return "sha256:" + hashlib.sha256(self.to_csv().encode()).hexdigest()

    def to_csv(self) -> str:
        """The set as CSV text with the columns `relation,subject,object`."""
        return write_table(COLUMNS, ((f.relation, f.subject, f.object) for f in self._items))

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
        return FactSet(fact for fact in self._items if fact in chosen)

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
        """Warnings: where one name is part of another, an answer is hard to grade.

        Upper and lower case count as the same, as they do for a person who reads an answer.
        """
        found: list[Doubt] = []
        rows = {fact: row for row, fact in enumerate(self._items, 1)}
        for relation in self.relations:
            for column, reason in (
                ("object", "an answer could be either"),
                ("subject", "the model may mix the two up"),
            ):
                others = _lookalikes(getattr(fact, column) for fact in relation.facts)
                for fact in relation.facts:
                    name = getattr(fact, column)
                    if name in others:
                        words = f"{name!r} {others[name]}: {reason}."
                        found.append(Doubt(rows[fact], column, words))
        return sorted(found)


def _lookalikes(names: Iterable[str]) -> dict[str, str]:
    """Names that are part of another, or that differ from another in case only; and what to say."""
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        spellings.setdefault(name.casefold(), []).append(name)
    # Where a name can begin inside another, and how long it can be, is looked up by its first
    # letters: comparing ten thousand names pair by pair takes minutes.
    lengths: dict[str, set[int]] = {}
    for folded in spellings:
        lengths.setdefault(folded[:HEAD], set()).add(len(folded))
    heads = sorted({len(head) for head in lengths})
    found: dict[str, str] = {}
    for folded, same in spellings.items():
        for name in same[1:]:
            found[name] = f"is {same[0]!r} in other letters"
            found.setdefault(same[0], f"is {name!r} in other letters")
        for head in heads:
            for start in [i for i in range(len(folded)) if folded[i : i + head] in lengths]:
                for length in lengths[folded[start : start + head]]:
                    part = folded[start : start + length]
                    if len(part) < len(folded):
                        for name in spellings.get(part, ()):
                            found.setdefault(name, f"is part of {same[0]!r}")
    return found


def _check_fact(fact: Fact, row: int, source: str) -> None:
    for column in COLUMNS:
        cell = getattr(fact, column)
        check_cell(cell, source=source, row=row, column=column)
        if len(cell) > MAX_CELL:
            raise InputError(
                f"the {column} has {len(cell)} characters; at most {MAX_CELL} are allowed.",
                source=source,
                row=row,
                column=column,
            )
    if not RELATION_NAME.fullmatch(fact.relation):
        raise InputError(
            f"{fact.relation[:50]!r} is not a relation's name. Use lower-case letters, digits and "
            "underscores, such as educated_at.",
            source=source,
            row=row,
            column="relation",
        )
