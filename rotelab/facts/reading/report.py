"""What `facts check` says about files: as lines for a person, or as one object for a program."""

from __future__ import annotations

from typing import Any

from rotelab.errors import InputError, LabError
from rotelab.facts.formats.delimited import DELIMITERS
from rotelab.facts.reading.importer import Imported, TableRead

SHOWN = 30
"""How many doubts the lines name; the object has them all."""


def as_lines(imported: Imported) -> list[str]:
    """What was read, table by table, then all that is doubtful."""
    lines = []
    for read in imported.tables:
        lines.append(f"{read.table.source}: {', '.join(_how(read))}")
        parts = [f"{part} ← {', '.join(of)}" for part, of in read.columns.of.items()]
        lines.append(f"  {read.columns.kind}: {'; '.join(parts)}")
        if read.columns.unused:
            lines.append(f"  left out: {', '.join(_name(c) for c in read.columns.unused)}")
    if imported.facts is not None:
        named = [
            f"{relation.name} {len(relation.facts):,}"
            + (f" “{relation.label}”" if relation.label else "")
            for relation in imported.facts.relations
        ]
        more = f" and {len(named) - 12} more" if len(named) > 12 else ""
        lines.append(f"{_counted(len(imported.facts), 'fact')}: {', '.join(named[:12])}{more}")
    if len(imported.prompts):
        lines.append(f"{_counted(len(imported.prompts), 'wording')}: {_roles(imported)}")
    lines += [f"doubt: {doubt}" for doubt in imported.doubts[:SHOWN]]
    if len(imported.doubts) > SHOWN:
        lines.append(f"and {len(imported.doubts) - SHOWN} more doubts; --json lists them all")
    return lines


def as_object(imported: Imported) -> dict[str, Any]:
    """The same for a program."""
    facts = imported.facts
    tables = [_table(read) for read in imported.tables]
    return {
        "refused": None,
        **tables[0],  # there is one, mostly
        "tables": tables,
        "facts": 0 if facts is None else len(facts),
        "relations": {
            relation.name: {"facts": len(relation.facts), "label": relation.label}
            for relation in (() if facts is None else facts.relations)
        },
        "wordings": len(imported.prompts),
        "doubts": [
            {"source": d.source, "row": d.row, "column": d.column, "message": d.message}
            for d in imported.doubts
        ],
    }


def refusal(error: LabError) -> dict[str, Any]:
    """Why files are refused, for a program."""
    said = {"refused": str(error), "source": "", "row": None, "column": ""}
    if isinstance(error, InputError):
        said |= {"source": error.source, "row": error.row, "column": error.column}
    return said


def _table(read: TableRead) -> dict[str, Any]:
    return {
        "source": read.table.source,
        "format": read.table.format,
        "encoding": read.table.encoding,
        "encoding_guessed": read.table.guessed,
        "delimiter": read.table.delimiter,
        "holds": read.columns.kind,
        "columns": {part: list(of) for part, of in read.columns.of.items()},
        "left_out": [_name(column) for column in read.columns.unused],
        "rows": len(read.table.records),
    }


def _how(read: TableRead) -> list[str]:
    table = read.table
    said = [table.format]
    if table.encoding:
        said.append(table.encoding + (" (guessed)" if table.guessed else ""))
    if table.delimiter:
        said.append(f"{DELIMITERS.get(table.delimiter, table.delimiter)} between cells")
    return [*said, _counted(len(table.records), "row")]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _name(column: str) -> str:
    return "(no name)" if column == "#" else column


def _roles(imported: Imported) -> str:
    counts: dict[str, int] = {}
    for prompt in imported.prompts:
        counts[prompt.role] = counts.get(prompt.role, 0) + 1
    return ", ".join(f"{role} {count:,}" for role, count in counts.items())
