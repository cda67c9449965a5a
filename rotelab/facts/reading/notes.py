"""What a person may say about files, and what the reading of them has to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rotelab.errors import InputError
from rotelab.facts.formats.tables import Table
from rotelab.facts.reading.cells import Faults

Further = Literal["aliases", "first"]


@dataclass(frozen=True)
class Options:
    """What a person may say about files.

    Args:
        columns: the column of a part, such as `{"subject": "Head"}`.
        relation: the relation of all facts; empty to take it from the file.
        usual_relation: the relation of facts whose file names none; empty to make one of a wording
            beside them or of the file's name.
        encoding: of text files; empty to find it.
        sheet: of a workbook; empty for all.
        further: whether further objects of a subject become aliases of its first, or are left out.
        faults: what happens to damaged cells, as in `cells.name_in`.
        take: how many facts of each relation are taken, from the top; 0 for all.
        only: the relations that are taken, by name or label; empty for all.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    relation: str = ""
    usual_relation: str = ""
    encoding: str = ""
    sheet: str = ""
    further: Further = "aliases"
    faults: Faults = "refuse"
    take: int = 0
    only: tuple[str, ...] = ()


class FileDoubt(NamedTuple):
    """Something to look at; `row` is None where it is about the whole file."""

    source: str
    row: int | None
    column: str
    message: str

    def __str__(self) -> str:
        return str(InputError(self.message, source=self.source, row=self.row, column=self.column))


class Notes:
    """Collects doubts while tables are read; equal ones about many rows are counted instead."""

    def __init__(self) -> None:
        self.doubts: list[FileDoubt] = []
        self._left: dict[str, int] = {}

    def doubt(self, source: str, row: int | None, column: str, message: str) -> None:
        """Notes a doubt, once."""
        doubt = FileDoubt(source, row, column, message)
        if row is not None or doubt not in self.doubts:
            self.doubts.append(doubt)

    def leave(self, what: str) -> None:
        """Counts something that is left out; `{n}` in the sentence is its number."""
        self._left[what] = self._left.get(what, 0) + 1

    def end_table(self, table: Table) -> None:
        """Says what was left out of a table."""
        for what, count in self._left.items():
            self.doubt(table.source, None, "", what.format(n=f"{count:,}"))
        self._left = {}
