"""The command `sql`: a person's own questions to the lab's database."""

from __future__ import annotations

import csv
import json
import math
import sys
from typing import Annotated

import typer

from rotelab.errors import LabError


def add_sql_command(app: typer.Typer) -> None:
    """Adds this file's command to the command line."""
    app.command()(sql)


def sql(
    query: Annotated[
        str, typer.Argument(metavar="[SELECT]", help="One SELECT; it can only read.")
    ] = "",
    tables: Annotated[
        bool, typer.Option("--tables", help="Print what each table and column holds instead.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of objects, one for each row.")
    ] = False,
    csv_output: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Read the lab's database with SQL; nothing can be changed that way."""
    from rotelab.registry.reading_sql import Rows, read_sql
    from rotelab.registry.table_descriptions import described_tables
    from rotelab.reports.formats import Table, as_text
    from rotelab.runs.lab import Lab

    if json_output and csv_output:
        raise LabError("--json and --csv exclude each other: give one of them.")
    if tables == bool(query.strip()):
        raise LabError('Give one SELECT, such as "SELECT id, status FROM runs", or --tables.')
    if tables:
        rows = [
            (table.name, column.name, column.type, column.sentence)
            for table in described_tables()
            for column in table.columns
        ]
        found = Rows(("table", "column", "type", "what it holds"), rows)
    else:
        found = read_sql(Lab.open().storage.database, query)
    if json_output:
        finite = [[_finite(value) for value in row] for row in found.rows]
        print(json.dumps([dict(zip(found.columns, row, strict=True)) for row in finite]))
    elif csv_output:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(found.columns)
        writer.writerows(found.rows)
    else:
        shown = tuple(tuple(map(_shown, row)) for row in found.rows)
        print(as_text([Table("", found.columns, shown)]).strip("\n"))


def _finite(value: object) -> object:
    """None for infinity, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: object) -> str | int | None:
    """A cell with all digits of its number: a table of results would round it."""
    return repr(value) if isinstance(value, float) else value
