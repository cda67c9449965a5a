"""From the tables of files to facts and wordings: checked, complete, with all that is doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rotelab.errors import InputError
from rotelab.facts.facts import FactSet
from rotelab.facts.formats.tables import Table
from rotelab.facts.packs import NEEDED, Pack, load_pack, shipped_packs
from rotelab.facts.prompts import PromptSet, PromptTemplate
from rotelab.facts.reading.columns import Columns, find, find_or_refuse, recognise
from rotelab.facts.reading.files import open_tables
from rotelab.facts.reading.notes import FileDoubt, Options
from rotelab.facts.reading.reader import Reader
from rotelab.facts.starter_wordings import starter_wordings


@dataclass(frozen=True)
class TableRead:
    """How one table was read: the table, and what its columns hold."""

    table: Table
    columns: Columns


@dataclass(frozen=True)
class Imported:
    """What files hold.

    Args:
        tables: how each of their tables was read.
        facts: the facts; None if there are only wordings.
        prompts: the wordings, of the relations that have facts.
        doubts: what is doubtful, in the order of the files.
    """

    tables: tuple[TableRead, ...]
    facts: FactSet | None
    prompts: PromptSet
    doubts: tuple[FileDoubt, ...]

    def pack(self, name: str) -> tuple[Pack, dict[str, str]]:
        """The facts as a pack; wordings that a relation lacks are those of the shipped pack of its
        name, or a starter set made from its words.

        Returns:
            The pack, and where added wordings came from, by relation: `shipped` or `starter`.

        Raises:
            InputError: there are no facts.
        """
        if self.facts is None:
            raise InputError(
                "holds wordings but no facts. Give the file with the facts beside it.",
                source=self.tables[0].table.source,
            )
        prompts, added = completed(self.facts, self.prompts)
        return Pack(name, self.facts, prompts), added


def completed(facts: FactSet, prompts: PromptSet) -> tuple[PromptSet, dict[str, str]]:
    """Wordings with those added that a relation needs to be taught and tested.

    Returns:
        All wordings, and where the added ones came from, by relation: `shipped` or `starter`.
    """
    more: list[PromptTemplate] = []
    added: dict[str, str] = {}
    named = {prompt.relation for prompt in prompts}
    for relation in facts.relations:
        if all(prompts.of(relation.name, role) for role in NEEDED):
            continue
        if relation.name in shipped_packs() and relation.name not in named:
            more += load_pack(relation.name).prompts
            added[relation.name] = "shipped"
            continue
        more += starter_wordings(relation.name, relation.words, prompts)
        added[relation.name] = "starter"
    return PromptSet([*prompts, *more]), added


def read_files(names: Sequence[str | Path], options: Options = Options()) -> Imported:  # noqa: B008
    """Reads facts and wordings from files of any known kind, as `files.open_tables` opens them.

    Raises:
        InputError: the first fault that can't be mended, with its file, row and column.
        LabError: a data set can't be fetched.
    """
    tables = [
        table for name in names for table in open_tables(name, options.encoding, options.sheet)
    ]
    return read_tables(tables, options)


def read_tables(tables: Sequence[Table], options: Options = Options()) -> Imported:  # noqa: B008
    """Reads facts and wordings from tables.

    Raises:
        InputError: as `read_files`.
    """
    said = columns_of_each(tables, options)
    reads = [
        TableRead(table, recognise(table, mine)) for table, mine in zip(tables, said, strict=True)
    ]
    reader = Reader(options)
    # Wordings first: they may bring the label of a relation.
    for read in sorted(reads, key=lambda read: read.columns.kind == "facts"):
        reader.read(read.table, read.columns)
    facts = _facts(reader, reads)
    relations = {fact.relation for fact in facts or ()}
    prompts = PromptSet(
        prompt for prompt in reader.wordings if facts is None or prompt.relation in relations
    )
    return Imported(tuple(reads), facts, prompts, tuple(_doubts(reader, facts, reads)))


def columns_of_each(tables: Sequence[Table], options: Options) -> list[dict[str, str]]:
    """The columns that the person named, for each of the tables that has them.

    Raises:
        InputError: no table has one of them.
    """
    for part, column in options.columns.items():
        if column and tables and not any(find(table, column) for table in tables):
            find_or_refuse(tables[0], part, column)
    return [
        {
            part: column
            for part, column in options.columns.items()
            if not column or find(table, column)
        }
        for table in tables
    ]


def _facts(reader: Reader, reads: Sequence[TableRead]) -> FactSet | None:
    """All facts that were read; None if no table has any to give."""
    sources = [read.table.source for read in reads if read.columns.kind == "facts"]
    if not sources:
        return None
    only = reader.options.only
    if only and not reader.kept:
        raise InputError(
            f"has no facts of {', '.join(only)}. It has: {', '.join(reader.names.all())[:300]}.",
            source=sources[0],
        )
    try:
        facts = (kept.fact() for kept in reader.kept.values())
        return FactSet(facts, sources[0], reader.names.labels())
    except InputError as error:
        if error.row is not None:
            place = list(reader.kept.values())[error.row - 1].place
            raise place._replace(column=error.column).error(error.message) from None
        if not reader.kept:
            raise
        raise InputError(
            f"{error.message} Take the first of each relation with --take, or some relations with "
            "--only.",
            source=error.source,
        ) from None


def _doubts(reader: Reader, facts: FactSet | None, reads: Sequence[TableRead]) -> list[FileDoubt]:
    """Doubts about files and cells, and about the facts themselves, in the order of the files."""
    found = list(reader.notes.doubts)
    places = [kept.place for kept in reader.kept.values()]
    for doubt in facts.doubts() if facts else ():
        place = places[doubt.row - 1]
        found.append(FileDoubt(place.source, place.row, doubt.column, doubt.message))
    order = {read.table.source: number for number, read in enumerate(reads)}
    return sorted(found, key=lambda doubt: (order[doubt.source], doubt.row or 0))
