"""The commands about experiments: `experiment` and `experiments`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rotelab.api.progress import Bar
from rotelab.cli.cluster import Where, make_on_cluster, takes_cluster
from rotelab.cli.options import one_format, takes_config
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError


def add_experiment_commands(app: typer.Typer) -> None:
    """Adds this file's commands to the command line."""
    app.command()(takes_config(takes_cluster(experiment)))
    app.command()(experiments)


def experiment(
    config: RunConfig,
    where: Where,
    name: Annotated[str, typer.Argument(help="Which one; `experiments` lists them.")],
    run: Annotated[
        str,
        typer.Option(
            help="A finished run: its id, its beginning, or “latest”. Without it, a run with the "
            "options below is used; if there is none, it is made."
        ),
    ] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write the result as one HTML file to send.")
    ] = None,
) -> None:
    """Run an experiment: measure a finished run, or make several runs and compare them.

    Runs that exist already are not made again, so the same command continues after Ctrl-C.
    """
    from rotelab.experiments.runner import begin, carry_out
    from rotelab.runs.lab import Lab
    from rotelab.runs.parallel.lanes import run_side_by_side

    if run and config != RunConfig():
        raise LabError("--run uses the run's own settings: give no others with it.")
    one_format(markdown, json_output)
    lab, bar = Lab.open(), Bar()
    if run:
        experiment_id = begin(lab, name, run_id=lab.registry.resolve(run))
    else:
        experiment_id = begin(lab, name, config=config)
    make = partial(run_side_by_side, jobs=where.jobs)
    if where.options:
        make = partial(make_on_cluster, where=where)
    try:
        carry_out(lab, experiment_id, bar.show, make)
    finally:
        bar.close()
    done = lab.registry.experiment_row(experiment_id)
    if done.status != "finished":
        raise LabError(f"Experiment {experiment_id} {done.status}. {done.error}".strip())
    print_experiment(lab, experiment_id, markdown, json_output)
    if html is not None:
        save_html(lab, experiment_id, html)
    print(f"\nThe same again: python -m rotelab report {experiment_id}", file=sys.stderr)


def experiments(
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    limit: Annotated[int, typer.Option(help="How many results at most.", min=1)] = 20,
) -> None:
    """List the experiments, and the results that there are, newest first."""
    from rotelab.experiments import experiments as known
    from rotelab.experiments.results.recorded import PREFIX, all_recorded
    from rotelab.experiments.runner import running
    from rotelab.runs.lab import Lab

    lab = Lab.open()
    running(lab)  # marks those whose process is gone
    rows = lab.registry.experiment_rows(limit=limit)
    recordings = [(PREFIX + name, one) for name, one in all_recorded().items()]
    if json_output:
        about = ("id", "experiment", "version", "run_id", "pack_name", "status", "created")
        kinds = ("name", "title", "origin", "question", "hypothesis", "needs", "reading")
        said = {
            "experiments": [{k: getattr(e, k) for k in kinds} for e in known().values()],
            "made": [{k: getattr(row, k) for k in about} for row in rows],
            "recorded": [
                {"id": i, "experiment": one.experiment, "recorded": one.recorded}
                for i, one in recordings
            ],
        }
        print(json.dumps(said))
        return
    for one in known().values():
        print(f"{one.name:16} {one.question}\n{'':16} From {one.origin}. Needs {one.needs}")
    if rows:
        print()
    for row in rows:
        print(f"{row.id:26} {row.status:12} {row.experiment:16} {row.run_id or row.pack_name}")
    if recordings:
        print("\nRecorded results, which come with rotelab; `report` prints them:")
    for recorded_id, one in recordings:
        print(f"{recorded_id:26} {one.recorded[:10]}   {one.sizes}")


def report_experiment(
    lab: Any, which: Sequence[str], markdown: bool, json_output: bool, html: Path | None
) -> None:
    """Prints results that are named as on the command line; several give means.

    Raises:
        LabError: as `print_experiment` and `save_html`, or there is no such experiment.
    """
    from rotelab.experiments.results.recorded import PREFIX

    found, *others = (
        one if one.startswith(PREFIX) else lab.registry.resolve_experiment(one) for one in which
    )
    print_experiment(lab, found, markdown, json_output, others)
    if html is not None:
        save_html(lab, found, html)


def save_html(lab: Any, experiment_id: str, path: Path) -> None:
    """Writes a result as one HTML file, and says where it is.

    Raises:
        LabError: there is no result, or the file can't be written.
    """
    from rotelab.experiments.results.html_page import write_html
    from rotelab.experiments.results.view import view_of

    print(f"Written: {write_html(view_of(lab, experiment_id), path)}", file=sys.stderr)


def print_experiment(
    lab: Any, experiment_id: str, markdown: bool, json_output: bool, others: Sequence[str] = ()
) -> None:
    """Prints an experiment's result, its question and how to read it.

    Args:
        lab: the lab.
        experiment_id: which one.
        markdown: print Markdown.
        json_output: print one JSON object.
        others: the same experiment with other seeds; the tables are then means over all of them.

    Raises:
        LabError: it has no result, or one that can't be read, or the others are of another kind.
    """
    from rotelab.experiments.results.recorded import PREFIX
    from rotelab.experiments.results.view import view_of
    from rotelab.reports.formats import as_json, as_markdown, as_text, no_markup

    view = view_of(lab, experiment_id)
    about, tables = view.about, view.found.tables()
    runs = [{"label": label, "run_id": run_id} for label, run_id in view.runs]
    if others:
        if experiment_id.startswith(PREFIX):
            raise LabError("A recorded result stands alone. Average results of your own.")
        rows = list(map(lab.registry.experiment_row, (experiment_id, *others)))
        tables = _means(rows)
        runs += [{"label": label, "run_id": i} for other in rows[1:] for label, i in other.arms]
    if json_output:
        from rotelab.experiments.results.stored import as_plain

        said = {"id": view.id, "experiment": about.name, "version": about.version, "runs": runs}
        said |= {"seconds": view.seconds, "result": as_plain(asdict(view.found))}
        if view.recorded:
            said |= {"recorded": view.made, "machine": view.machine, "command": view.command}
        print(json.dumps({**said, "tables": as_json(tables)}))
        return
    words = [about.question, f"Expected: {about.hypothesis}", f"How to read it: {about.reading}"]
    if about.paper:
        words.append(f"The paper: {about.paper}")
    if view.recorded:
        words += ["Recorded; comes with rotelab.", *(f"{k}: {v}." for k, v in view.lines()[:3])]
    words.append(f"Runs: {', '.join(run['run_id'] for run in runs)}.")
    if markdown:
        print(f"### {no_markup(about.title)}\n\n{as_markdown(tables)}\n")
        print("\n".join(f"- {no_markup(line)}" for line in words))
        return
    print(f"{about.title}\n\n{as_text(tables)}\n\n" + "\n".join(words))


def _means(rows: Sequence[Any]) -> list[Any]:
    from rotelab.experiments.runner import result_of
    from rotelab.reports.tables import mean_tables

    kinds = {(row.experiment, row.version, row.pack_name) for row in rows}
    seeds = [row.config.seed for row in rows]
    if len(kinds) > 1 or len(set(seeds)) < len(seeds):
        these = ", ".join(f"{r.experiment} on {r.pack_name}, seed {r.config.seed}" for r in rows)
        raise LabError(
            "Means are taken over the same experiment on the same facts with different seeds; "
            f"these are {these}."
        )
    several = []
    for row in sorted(rows, key=lambda row: row.config.seed):
        found = result_of(row)
        if found is None:
            raise LabError(f"Experiment {row.id} has no result: {row.status}. {row.error}".strip())
        several.append(found.tables())
    return mean_tables(several, f"seeds {', '.join(map(str, sorted(seeds)))}")
