"""Which column holds what: recognised by the names that the field's data sets use, or said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rotelab.errors import InputError
from rotelab.facts.formats.tables import Table

FACT_PARTS = {
    "subject": (
        "subject", "sub_label", "subj", "subject_label", "subj_label", "head", "head_label",
        "head_entity", "entity", "entity_name", "sub", "s", "e1", "subjekt", "sujet", "sujeto",
    ),
    "object": (
        "object", "target_new", "obj_label", "obj", "object_label", "alt", "answer", "fact",
        "tail", "tail_label", "tail_entity", "answers", "possible_answers", "target", "value", "o",
        "e2", "objekt", "objet", "objeto",
    ),
    "relation": (
        "relation", "predicate", "prop", "relation_id", "predicate_id", "property", "relation_name",
        "relation_type", "rel", "r", "p", "beziehung", "relación",
    ),
    "label": ("relation_label", "predicate_label", "prop_label", "label"),
    "aliases": (
        "aliases", "possible_answers", "object_aliases", "obj_aliases", "o_aliases", "answers",
        "answer_aliases", "answer_alias", "accepted",
    ),
    "old": ("old", "target_true", "ground_truth", "old_object", "true_object"),
    "train": ("prompt", "src", "question"),
    "test": (
        "paraphrase_prompts", "paraphrases", "paraphrase", "rephrase_prompt", "rephrase",
        "rephrases", "rephrased",
    ),
    "unrelated": (
        "neighborhood_prompts", "neighbourhood_prompts", "locality_prompt", "loc", "locality",
    ),
}  # fmt: skip
"""What a column of facts may hold, and the names by which it is recognised, the surest first."""

WORDING_PARTS = {
    "text": ("text", "template", "pattern", "wording", "prompt"),
    "role": ("role",),
    "language": ("language", "lang"),
    "relation": FACT_PARTS["relation"],
    "label": FACT_PARTS["label"],
}
"""The same for a table of wordings."""

LISTS = ("answers", "possible_answers")
"""Columns of texts that each hold a list, such as PopQA's; the first is the object."""

MANY = ("aliases", "train", "test", "unrelated")
"""Parts that several columns may hold together."""

PARTS = tuple(dict.fromkeys([*FACT_PARTS, *WORDING_PARTS]))
"""Everything that a column can be said to hold."""

DISTRACTORS = ("alternate_facts",)
"""Wrong answers that the paper's files list for its multiple choice; the lab draws its own."""

INDEX = ("#", "unnamed: 0", "index", "level_0")
"""Names of columns that only number the rows."""

_PLAIN = re.compile(r"[\s\-]+")


@dataclass(frozen=True)
class Columns:
    """What a table's columns hold.

    Args:
        kind: `facts` or `wordings`.
        of: the columns of each part, the surest first.
        unused: the columns that are left out.
        index: the one of them that only numbers the rows; empty for none.
    """

    kind: str
    of: Mapping[str, tuple[str, ...]]
    unused: tuple[str, ...]
    index: str = ""

    def first(self, part: str) -> str:
        """The column of a part; empty for none."""
        return next(iter(self.of.get(part, ())), "")


def known(columns: Iterable[str]) -> int:
    """How many of these columns are recognised."""
    names = {name for parts in (FACT_PARTS, WORDING_PARTS) for of in parts.values() for name in of}
    return sum(plain(column) in names for column in columns)


def plain(column: str) -> str:
    """A column's name as it is compared: lower case, `_` for blanks, without the nesting of
    CounterFact and EasyEdit (`requested_rewrite.target_new.str` is `target_new`)."""
    name = _PLAIN.sub("_", column.casefold().strip())
    name = name.removeprefix("requested_rewrite.").removesuffix(".str")
    return "locality" if name.startswith("locality.") else name


def recognise(table: Table, said: Mapping[str, str] | None = None) -> Columns:
    """Which column of a table holds what, as `guess`; all that is needed is there.

    Raises:
        InputError: as `guess`, or subject or object is missing.
    """
    columns = guess(table, said)
    for part in ("subject", "object") if columns.kind == "facts" else ("text",):
        if part not in columns.of:
            first = " in its first line" if table.delimiter else ""
            raise InputError(
                f"has no column {part!r} that is recognised. It has{first}: "
                f"{_listed(table.columns)}. Say which one it is, such as --map {part}=COLUMN.",
                source=table.source,
                column=part,
            )
    return columns


def guess(table: Table, said: Mapping[str, str] | None = None) -> Columns:
    """Which column of a table seems to hold what.

    Args:
        table: the table.
        said: columns that the user names for parts, before any other; empty where none holds it.

    Raises:
        InputError: there is no such part or column.
    """
    said = {
        part: column and find_or_refuse(table, part, column)
        for part, column in (said or {}).items()
    }
    kind = _kind(table, said)
    parts = FACT_PARTS if kind == "facts" else WORDING_PARTS
    of: dict[str, tuple[str, ...]] = {}
    taken = set(said.values())
    for part, names in parts.items():
        if part in said:
            if said[part]:
                of[part] = (said[part],)
            continue
        found = [c for name in names for c in table.columns if plain(c) == name and c not in taken]
        if found and part not in MANY:
            found = found[:1]
        if found:
            of[part] = tuple(found)
            # A list of all right answers gives the object and its aliases.
            taken |= {c for c in found if part != "object" or not _holds_lists(table, c)}
    _zsre(table, of)
    used = set(_flat(of))
    unused = tuple(column for column in table.columns if column not in used)
    index = next((c for c in unused if plain(c) in INDEX and _counts(table, c)), "")
    return Columns(kind, of, unused, index)


def _kind(table: Table, said: Mapping[str, str]) -> str:
    have = {plain(column) for column in table.columns}
    if said.get("subject") or said.get("object"):
        return "facts"
    if said.get("text") or said.get("role"):
        return "wordings"
    if have & set(FACT_PARTS["subject"]):
        return "facts"
    if "role" in have or have & {"text", "template", "pattern"}:
        return "wordings"
    return "facts"


def find(table: Table, column: str) -> str:
    """A table's column by its name or by one that reads like it; empty for none."""
    if column in table.columns:
        return column
    return next((name for name in table.columns if plain(name) == plain(column)), "")


def find_or_refuse(table: Table, part: str, column: str) -> str:
    """The column that the person named for a part.

    Raises:
        InputError: there is no such column or part.
    """
    if part not in PARTS:
        raise InputError(f"{part[:40]!r} is nothing a column can hold. Use {', '.join(PARTS)}.")
    found = find(table, column)
    if not found:
        raise InputError(
            f"has no column {column[:60]!r}. It has: {_listed(table.columns)}.",
            source=table.source,
            column=column[:60],
        )
    return found


def _zsre(table: Table, of: dict[str, tuple[str, ...]]) -> None:
    """In zsRE, `alt` is what is taught; `answers` are what was true before."""
    if plain(of.get("object", ("",))[0]) == "alt":
        true = [column for column in of.pop("aliases", ()) if plain(column) == "answers"]
        if true:
            of.setdefault("old", tuple(true[:1]))


def _holds_lists(table: Table, column: str) -> bool:
    cells = (record.cells.get(column, "") for record in table.records)
    return plain(column) in LISTS or any(isinstance(cell, list) for cell in cells)


def _counts(table: Table, column: str) -> bool:
    cells = [record.cells.get(column, "") for record in table.records]
    start = 1 if cells and cells[0] == "1" else 0
    return cells == [str(number) for number in range(start, start + len(cells))]


def _flat(of: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [column for columns in of.values() for column in columns]


def _listed(columns: Iterable[str]) -> str:
    names = list(columns)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
