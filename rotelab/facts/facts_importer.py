"""Reading facts that are stored or edited: the lab's own CSV, and rows of the page's table.

Files of any other kind are read in `facts.reading`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from rotelab.errors import InputError
from rotelab.facts.csv_text import Row, parse_edited, parse_table
from rotelab.facts.facts import COLUMNS, Fact, FactSet
from rotelab.facts.formats.lists import from_cell
from rotelab.facts.names import spelled

AUTHORS_COLUMNS = ("Head", "Fact", "Alternate Facts")


def parse_facts(data: bytes, source: str, relation: str = "") -> FactSet:
    """Reads facts from a CSV file with `COLUMNS`, or with `AUTHORS_COLUMNS` as the paper's files.

    Args:
        data: the file's bytes.
        source: what the user calls it.
        relation: the relation's name for the authors' columns, which do not have one.

    Raises:
        InputError: as `parse_table` and `FactSet`, or a column is missing.
    """
    header, rows = parse_table(data, source)
    if set(AUTHORS_COLUMNS[:2]) <= set(header):
        if not relation:
            raise InputError(
                "has the columns of the paper's own files, which name no relation. "
                "Say which relation it is.",
                source=source,
            )
        facts = [Fact(relation, row.cells["Head"], row.cells["Fact"]) for row in rows]
        return FactSet(facts, source)
    for column in COLUMNS:
        if column not in header:
            raise InputError(
                f"has no column {column!r}. Its first line must be {','.join(COLUMNS)} "
                f"(or {','.join(AUTHORS_COLUMNS)}, the paper's own).",
                source=source,
                column=column,
            )
    labels: dict[str, str] = {}
    for row in rows:
        if label := row.cells.get("label"):
            labels.setdefault(row.cells["relation"], label)
    return FactSet([_fact_of(row) for row in rows], source, labels)


def parse_fact_rows(rows: Iterable[Sequence[object]], source: str = "Facts table") -> FactSet:
    """Reads facts from an edited table: rows of (relation, subject, object, aliases), of which the
    last may be missing. Letters are composed (NFC), as in files.

    Raises:
        InputError: as `parse_edited` and `FactSet`, or two subjects of a relation differ in form
            only.
    """

    def build(kept: list[list[str]]) -> FactSet:
        seen: dict[tuple[str, str], tuple[int, str]] = {}
        for row, (relation, subject, *_) in enumerate(kept, 1):
            first, other = seen.setdefault((relation, spelled(subject)), (row, subject))
            if other != subject:
                raise same_but_for_form(source, row, "subject", subject, first, other)
        composed = ([unicodedata.normalize("NFC", cell) for cell in cells] for cells in kept)
        return FactSet((_typed(*cells) for cells in composed), source)

    return parse_edited(rows, (*COLUMNS, "aliases"), source, build)


def _typed(relation: str, subject: str, object_: str, aliases: str) -> Fact:
    others = dict.fromkeys(name for name in from_cell(aliases) if name != object_)
    return Fact(relation, subject, object_, tuple(others))


def same_but_for_form(
    source: str, row: int, column: str, subject: str, first: int, other: str
) -> InputError:
    """The error for two names that look alike and are not: `other` stands in the row `first`."""
    counts = Counter(subject)
    counts.subtract(other)
    odd = ", ".join([f"U+{ord(char):04X}" for char, n in counts.items() if n][:6])
    return InputError(
        f"{unicodedata.normalize('NFC', subject)!r} is the subject of row {first} in another form "
        f"({f'they differ in {odd}' if odd else 'in another order'}), which nobody sees. Write "
        "both alike, or delete one of the two.",
        source=source,
        row=row,
        column=column,
    )


def _fact_of(row: Row) -> Fact:
    aliases = from_cell(row.cells.get("aliases", ""))
    cells = (row.cells[column] for column in COLUMNS)
    return Fact(*cells, tuple(aliases), row.cells.get("old", ""))
