"""The commands about many runs: `sweep`, `sweeps` and `report`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rotelab.api.progress import Watch, watching
from rotelab.cli.cluster import (
    Where,
    make_on_cluster,
    refuse_where_given_away,
    takes_cluster,
)
from rotelab.cli.options import one_format, takes_config
from rotelab.cli.plans import carry_out_plan
from rotelab.config.names import MEASURES
from rotelab.config.option_paths import help_of
from rotelab.config.run_config import RunConfig
from rotelab.config.sweep_grid import SEED, Axes, parse_axis, read_axes, split_values
from rotelab.errors import LabError


def add_sweep_commands(app: typer.Typer) -> None:
    """Adds this file's commands to the command line."""
    app.command()(takes_config(takes_cluster(sweep)))
    app.command()(sweeps)
    app.command()(report)


def sweep(
    config: RunConfig,
    where: Where,
    phase1_epochs: Annotated[
        str, typer.Option(help=f"Axis, as 3,6,10,20. {help_of('memorize.epochs')}")
    ] = "",
    k: Annotated[str, typer.Option(help=f"Axis, as 1,5,10,50. {help_of('generalize.k')}")] = "",
    seeds: Annotated[str, typer.Option(help="Axis, as 0,1,2; means are taken over it.")] = "",
    axis: Annotated[
        list[str] | None,
        typer.Option(help="Any other axis, as generalize.epochs=1,2,4; may be repeated."),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(
            help="Continue a sweep: its id, its beginning, or “latest”. For runs that it has not "
            "begun, finished ones with the same settings are used, such as imported ones."
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="What to call the sweep.")] = "",
    plan_name: Annotated[
        str,
        typer.Option(
            "--plan",
            help="In place of axes: “paper”, the paper's models, rounds, k, wordings and seeds.",
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --plan: print runs, hours and memory; make nothing."),
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout.")
    ] = False,
) -> None:
    """Make many runs, one for every combination of the axes' values, here or on a cluster.

    Here, runs that differ only in phase 2 share phase 1. A failed run does not stop the others.
    After Ctrl-C or a power cut, --resume continues the sweep.
    """
    named = {"memorize.epochs": phase1_epochs, "generalize.k": k, SEED: seeds}
    axes = [(path, split_values(path, text)) for path, text in named.items() if text]
    axes += [parse_axis(text) for text in axis or ()]
    if ((resume or plan_name) and axes) or (resume and config != RunConfig()):
        given = "--resume" if resume else "--plan"
        raise LabError(f"{given} uses the settings of the sweep: give no others with it.")
    if dry_run and not plan_name:
        raise LabError("--dry-run shows a plan: give --plan paper with it.")
    if plan_name:
        carry_out_plan(plan_name, config, where, dry_run)
        return
    _make(None if resume else read_axes(axes, config), config, where, resume, name, json_output)


def _make(
    axes: Axes | None, config: RunConfig, where: Where, resume: str, name: str, json_output: bool
) -> None:
    """Plans a sweep, or finds the one to resume, and makes its runs."""
    from rotelab.runs.cluster.board import look
    from rotelab.runs.lab import Lab
    from rotelab.runs.parallel.lanes import run_side_by_side
    from rotelab.runs.reuse import adopt_finished_runs
    from rotelab.runs.sweeps import plan, unfinished_runs
    from rotelab.runs.worker import agree_on, first_process

    lab, sweep_id = Lab.open(), ""
    if first_process():
        sweep_id = plan(lab, axes, config, name) if axes else lab.registry.resolve_sweep(resume)
        if resume and (taken := adopt_finished_runs(lab, sweep_id)):
            print(f"Finished before and used: {_runs(len(taken))}.", file=sys.stderr)
    sweep_id = agree_on(sweep_id, cpu=config.model.device == "cpu")
    with watching(True) as show:
        if where.options:
            if not make_on_cluster(lab, sweep_id, _telling(show), where):
                return
            ended = True
        else:
            refuse_where_given_away(look(lab, sweep_id), sweep_id)
            ended = run_side_by_side(lab, sweep_id, _telling(show), where.jobs)
    if not first_process():
        return
    left = unfinished_runs(lab, sweep_id)
    again = f"`python -m rotelab sweep --resume {sweep_id}`"
    if not ended:
        raise LabError(f"Interrupted with {_runs(len(left))} left. {again} continues.")
    _print_sweep(lab, sweep_id, json_output)
    if left:
        ids = ", ".join(run.id for run in left[:5]) + (", …" if len(left) > 5 else "")
        raise LabError(f"{_runs(len(left))} did not finish: {ids}. {again} tries again.")


def sweeps(
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
) -> None:
    """List the sweeps, newest first."""
    from rotelab.runs.lab import Lab

    listed = Lab.open().registry.sweeps(limit)
    if json_output:
        about = ("id", "name", "created", "axes", "runs", "statuses")
        print(json.dumps([{name: getattr(row, name) for name in about} for row in listed]))
        return
    if not listed:
        print("There are no sweeps yet. Make one: python -m rotelab sweep --k 1,10,50 --seeds 0,1")
    for row in listed:
        axes = " ".join(f"{path}={','.join(map(str, v))}" for path, v in row.axes.items())
        done = f"{row.statuses.get('finished', 0)}/{row.runs}"
        print(f"{row.id:28} {done:>7} finished   {axes}   {row.name}".rstrip())


def report(
    which: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_SWEEP_OR_EXPERIMENT",
            help="The id of a run, a sweep or an experiment, its beginning, “latest”, "
            "“sweep-latest” or “exp-latest”. Several experiments of one kind that differ in their "
            "seed give means.",
        ),
    ],
    measure: Annotated[
        str, typer.Option(help="Of a sweep: generation_accuracy or object_probability.")
    ] = "generation_accuracy",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Of an experiment: also write one HTML file to send."),
    ] = None,
) -> None:
    """Print the tables of a run, of a sweep or of an experiment."""
    from rotelab.cli.experiments import report_experiment
    from rotelab.experiments.results.recorded import PREFIX as RECORDED_PREFIX
    from rotelab.registry.experiments import PREFIX as EXPERIMENT_PREFIX
    from rotelab.reports.forgotten import real_fact_tables, real_facts, real_facts_json
    from rotelab.reports.formats import as_json, as_markdown, as_text
    from rotelab.reports.intervals import intervals_of_run
    from rotelab.reports.sweep_results import read_sweep
    from rotelab.reports.tables import run_tables, scores_json, sweep_tables
    from rotelab.runs.lab import Lab

    if measure not in MEASURES:
        raise LabError(f"{measure!r} is not a measure. Use {' or '.join(MEASURES)}.")
    one_format(markdown, json_output)
    lab = Lab.open()
    registry = lab.registry
    text, *others = (one.strip() for one in which)
    if text.startswith((EXPERIMENT_PREFIX, RECORDED_PREFIX)):
        report_experiment(lab, [text, *others], markdown, json_output, html)
        return
    if html is not None:
        raise LabError("Only an experiment's result can be written as HTML.")
    if others:
        raise LabError("Only experiments can be averaged. Name one run, or one sweep.")
    if text.startswith("sweep"):
        found = registry.resolve_sweep("latest" if text == "sweep-latest" else text)
        tables, more = sweep_tables(read_sweep(registry, found), measure), {}
    else:
        found = registry.resolve(text)
        scores, intervals = registry.scores(found), intervals_of_run(registry.fact_sums(found))
        tables = run_tables(registry.run(found), scores, registry.damage(found), intervals)
        facts = real_facts(registry.quiz_answers(found))
        tables += real_fact_tables(found, facts)
        more = {"scores": scores_json(scores, intervals), "real_facts": real_facts_json(facts)}
    if json_output:
        print(json.dumps({"id": found, "tables": as_json(tables), **more}))
    else:
        print(as_markdown(tables) if markdown else as_text(tables))


def _telling(show: Watch) -> Callable[[int, int, float, str], None]:
    """Tells a bar what a sweep tells."""
    return lambda place, count, share, message: show(
        (place - 1 + share) / count, f"{place}/{count} {message}"
    )


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _print_sweep(lab: Any, sweep_id: str, json_output: bool) -> None:
    from rotelab.reports.formats import as_json, as_text
    from rotelab.reports.sweep_results import read_sweep
    from rotelab.reports.tables import sweep_tables

    results = read_sweep(lab.registry, sweep_id)
    tables = sweep_tables(results)
    if not json_output:
        print(as_text(tables))
        print(f"\nThe same again: python -m rotelab report {sweep_id}", file=sys.stderr)
        return
    runs = [
        {
            "run_id": outcome.run_id,
            "status": outcome.status,
            "error": outcome.error,
            "values": outcome.values,
            "shared_phase1_from": outcome.shared_phase1_from,
            "seconds": {part: round(s, 2) for part, s in outcome.seconds.items()},
        }
        for outcome in results.outcomes
    ]
    about = {"sweep_id": sweep_id, "name": results.sweep.name, "axes": results.axes}
    print(json.dumps({**about, "runs": runs, "tables": as_json(tables)}))
