"""New facts as people type them into a small table, or paste them as lines of text."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from rotelab.errors import InputError
from rotelab.facts.facts import COLUMNS
from rotelab.facts.facts_importer import parse_fact_rows
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.teach import NEW_FACTS, start_lesson
from rotelab.ui.i18n import _

ROWS = 8
"""Rows that the table has at least."""
PASTED = "Pasted lines"
"""What pasted text is called in errors."""

Cells = Sequence[Sequence[object]]
"""Rows of the table: subject and object, behind the relation where a run has several."""


def relations_of(lab: Lab, run_id: str) -> list[str]:
    """The relations of which a run can be taught new facts.

    Raises:
        LabError: there is no such run, or its row is damaged.
    """
    return [relation.name for relation in lab.registry.run(run_id).pack.facts.relations]


def headers(relations: Sequence[str]) -> list[str]:
    """The heads of the table's columns for a run with these relations."""
    if len(relations) == 1:
        return [_("Subject"), _("Object ({relation})").format(relation=relations[0])]
    return [_("Relation"), _("Subject"), _("Object")]


def teach_rows(lab: Lab, run_id: str, rows: Cells) -> str:
    """Puts a lesson of what was typed in the queue; returns its id.

    Raises:
        InputError: a fact can't be taught; names the row as the table shows it.
        LabError: as `start_lesson`.
    """
    relations = relations_of(lab, run_id)
    whole = [_cells(row, relations) for row in rows]
    facts = parse_fact_rows(whole, NEW_FACTS)
    numbers = [number for number, row in enumerate(whole, 1) if any(row)]
    try:
        return start_lesson(lab, run_id, facts)
    except InputError as error:
        if error.row is None:
            raise
        row = numbers[error.row - 1]
        raise InputError(error.message, source=error.source, row=row, column=error.column) from None


def facts_of_lines(text: str, relations: Sequence[str]) -> list[list[str]]:
    """Rows of the table from lines such as `subject, object`, or with tabs or semicolons between.

    Args:
        text: the lines; empty ones are left out, and so is a first line that names the columns.
        relations: of the run. Where there are several, each line begins with one of them.

    Raises:
        InputError: a line does not have so many cells.
    """
    wanted = 2 if len(relations) == 1 else 3
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        separator = next((s for s in "\t;" if s in line), ",")
        cells = next(csv.reader([line.strip(" ")], delimiter=separator, skipinitialspace=True))
        cells = [cell.strip() for cell in cells]
        if [cell.lower() for cell in cells] in (list(COLUMNS), list(COLUMNS[1:])):
            continue
        if len(cells) == 3 and wanted == 2 and cells[0] == relations[0]:
            cells = cells[1:]
        if len(cells) != wanted:
            example = "relation, subject, object" if wanted == 3 else "subject, object"
            raise InputError(
                f"write it as “{example}”, with commas or tabs between.",
                source=PASTED,
                row=number,
            )
        rows.append(cells)
    return rows


def with_lines(rows: Cells, more: Sequence[Sequence[str]]) -> list[list[str]]:
    """The table's rows that are not empty, then others; filled up to `ROWS`."""
    kept = [["" if cell is None else str(cell) for cell in row] for row in rows if _typed(row)]
    return filled_up([*kept, *map(list, more)])


def filled_up(rows: Sequence[Sequence[str]], width: int = 2) -> list[list[str]]:
    """The rows and empty ones after them, `ROWS` at least.

    Args:
        rows: of the table.
        width: how many columns it has, where there is no row to tell.
    """
    width = len(rows[0]) if rows else width
    return [*map(list, rows), *([""] * width for _ in range(ROWS - len(rows)))]


def typed_count(rows: Cells) -> int:
    """How many rows have anything in them."""
    return sum(map(_typed, rows))


def reshaped(rows: Cells, relations: Sequence[str]) -> list[list[str]]:
    """What was typed, in the columns of a run with these relations."""
    kept = [_cells(row, relations) for row in rows if _typed(row)]
    wide = len(relations) != 1
    return filled_up([row if wide else row[1:] for row in kept], 3 if wide else 2)


def _cells(row: Sequence[object], relations: Sequence[str]) -> list[str]:
    """Relation, subject and object of a row; three empty texts where nothing is typed."""
    cells = ["" if cell is None else str(cell) for cell in row][:3]
    if not _typed(row):
        return ["", "", ""]
    if len(cells) < 3:
        cells = ["", *cells, ""][:3]
    return [relations[0], *cells[1:]] if len(relations) == 1 else cells


def _typed(row: Sequence[object]) -> bool:
    return any(str(cell or "").strip() for cell in row)
