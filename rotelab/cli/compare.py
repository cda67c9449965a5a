"""The command that compares runs: `compare`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rotelab.cli.options import one_format


def add_compare_command(app: typer.Typer) -> None:
    """Adds this file's command to the command line."""
    app.command()(compare)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Two to six: ids, their beginnings, “latest”."),
    ],
    facts: Annotated[int, typer.Option(help="How many facts to list at most.", min=0)] = 20,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare runs: settings that differ, scores, and facts that they answer differently.

    How far each run is from the first, and whether that could be chance, is told by the facts that
    both were asked.
    """
    from rotelab.reports.comparison import ONE_SEED, check
    from rotelab.reports.comparison import compare as compared
    from rotelab.reports.formats import as_json, as_markdown, as_text, no_markup
    from rotelab.reports.tables import comparison_tables, differences_json
    from rotelab.runs.lab import Lab

    one_format(markdown, json_output)
    check(runs)
    registry = Lab.open().registry
    comparison = compared(registry, [registry.resolve(run) for run in runs])
    tables = comparison_tables(comparison, facts)
    notes = [*comparison.notes, *comparison.fact_notes]
    if comparison.differences:
        notes.append(ONE_SEED)
    if json_output:
        ids = [side.run.id for side in comparison.sides]
        said = {"runs": ids, "notes": notes, "tables": as_json(tables)}
        print(json.dumps({**said, "differences": differences_json(comparison)}))
        return
    print(as_markdown(tables) if markdown else as_text(tables), end="\n\n")
    for note in notes:
        print(f"- {no_markup(note)}" if markdown else note)
