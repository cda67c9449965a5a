"""Reading facts that are stored or edited: the lab's own CSV, and rows of the page's table.

Files of any other kind are read in `facts.reading`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rotelab.errors import InputError
from rotelab.facts.csv_text import Row, parse_edited, parse_table, read_bytes
from rotelab.facts.facts import COLUMNS, Fact, FactSet
from rotelab.facts.formats.lists import from_cell

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


def read_facts_file(file: Path, relation: str = "") -> FactSet:
    """Reads facts from a file on disk; as `parse_facts`.

    Raises:
        InputError: as `parse_facts`, or the file can't be read.
    """
    return parse_facts(read_bytes(file), file.name, relation)


def parse_fact_rows(rows: Iterable[Sequence[object]], source: str = "Facts table") -> FactSet:
    """Reads facts from an edited table: rows of (relation, subject, object).

    Raises:
        InputError: as `parse_edited` and `FactSet`.
    """
    return parse_edited(
        rows, COLUMNS, source, lambda kept: FactSet((Fact(*cells) for cells in kept), source)
    )


def _fact_of(row: Row) -> Fact:
    aliases = from_cell(row.cells.get("aliases", ""))
    cells = (row.cells[column] for column in COLUMNS)
    return Fact(*cells, tuple(aliases), row.cells.get("old", ""))
