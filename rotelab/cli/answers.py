"""The command `answers`: a run's single answers, and which wording or fact fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rotelab.cli.options import one_format
from rotelab.config.names import OLD_PROBE_NAMES, PROBE_NAMES
from rotelab.errors import LabError

if TYPE_CHECKING:
    from rotelab.reports.answers import Group
    from rotelab.reports.formats import Table

ALL = "all"


def add_answers_command(app: typer.Typer) -> None:
    """Adds this file's command to the command line."""
    app.command()(answers)


def answers(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or “latest”.")
    ],
    checkpoint: Annotated[
        str, typer.Option(help="base, memorized, generalized, a lesson, or all; usually the last.")
    ] = "",
    probe: Annotated[
        str, typer.Option(help=f"{', '.join(PROBE_NAMES)}, or all.")
    ] = "test_prompts_heldout",
    outcome: Annotated[
        str, typer.Option(help="right, wrong, leak (the object came unasked), or no-leak.")
    ] = "",
    search: Annotated[
        str, typer.Option(help="Only with this in subject, object, question or answer.")
    ] = "",
    group: Annotated[
        str,
        typer.Option(help="wording, fact or outcome: shares with 95 % intervals, worst first."),
    ] = "",
    csv_output: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of objects, one for each row.")
    ] = False,
) -> None:
    """Print a run's single answers, or how many are right by wording, by fact, by outcome."""
    from rotelab.reports.answers import answer_rows, group_rows, groups_of
    from rotelab.reports.formats import Table, as_text
    from rotelab.runs.lab import Lab

    one_format(csv_output, json_output, "--csv")
    registry = Lab.open().registry
    run = registry.run(registry.resolve(run_id))
    there = list(registry.scores(run.id))
    if outcome and group:
        raise LabError("--group counts every outcome: give --outcome without it.")
    chosen = {
        "checkpoint": _one_of("checkpoint", checkpoint or (there or [ALL])[-1], there),
        "probe": _one_of("probe", probe, (*PROBE_NAMES, *OLD_PROBE_NAMES)),
        "outcome": _one_of("outcome", outcome or ALL, ("right", "wrong", "leak", "no-leak")),
        "search": search,
    }
    found, prompts = registry.predictions(run.id, **chosen, limit=-1), run.pack.prompts
    groups = groups_of(found, group, prompts) if group else []
    rows = group_rows(groups, group) if group else answer_rows(found, prompts)
    if csv_output or json_output:
        print((rows.as_csv() if csv_output else rows.as_json()).rstrip("\n"))
    elif group:
        print(as_text([_group_table(groups, group, len(found))]))
    else:
        shown = rows.of("checkpoint", "probe", "prompt", "object", "answer", "outcome")
        print(as_text([Table(_answers(len(found)), shown.columns, tuple(shown.rows))]))


def _group_table(groups: list[Group], by: str, answers: int) -> Table:
    from rotelab.reports.answers import GROUP_COLUMNS
    from rotelab.reports.formats import Table, estimate

    what = "share" if by == "outcome" else "good"
    columns = ("checkpoint", "probe", *GROUP_COLUMNS[by], f"{what} [95 % interval]", "n", "facts")
    rows = tuple(
        (g.checkpoint, g.probe, *g.key, estimate(g.share, g.interval), g.n, g.facts) for g in groups
    )
    order = "" if by == "outcome" else ", the worst first"
    return Table(f"{_answers(answers)} by {by}{order}", columns, rows)


def _one_of(what: str, given: str, known: tuple[str, ...] | list[str]) -> str | None:
    """A value to filter by; None for all of them.

    Raises:
        LabError: there is none of that name.
    """
    if given == ALL:
        return None
    if given not in known:
        raise LabError(f"There is no {what} {given[:50]!r} here. Use {', '.join(known)} or all.")
    return given


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count} answers"
