"""The commands about a run that there is: followed, stopped, resumed, named, archived, deleted."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rotelab.api.progress import follow as follow_run
from rotelab.api.progress import watching
from rotelab.errors import LabError

if TYPE_CHECKING:
    from rotelab.registry import RunSummary
    from rotelab.runs.lab import Lab

RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or “latest”.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object: the run afterwards.")]


def add_run_life_commands(app: typer.Typer) -> None:
    """Adds this file's commands to the command line."""
    for command in (
        follow, stop, resume, again, queue, rename, tag, note, archive, delete, log
    ):  # fmt: skip
        app.command()(command)


def follow(run: RunId, json_output: AsJson = False) -> None:
    """Show how far a run is until it has ended; Ctrl-C ends the showing, not the run."""
    lab, run_id = _open(run)
    try:
        with watching(True) as watch:
            follow_run(lab, run_id, watch)
    except KeyboardInterrupt:
        print(f"Run {run_id} goes on. `follow` shows it again.", file=sys.stderr)
        return
    ended = lab.registry.run(run_id)
    _say(lab, run_id, ended.status, json_output)
    if ended.status != "finished":
        raise LabError(f"Run {run_id} {ended.status}. {ended.error}".strip())


def stop(
    run: RunId,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="Wait until it has ended, and end its process if it takes too long; or only ask.",
        ),
    ] = True,
    json_output: AsJson = False,
) -> None:
    """Stop a run, or take it out of the queue. It saves before it ends; `resume` continues it."""
    lab, run_id = _open(run)
    status = lab.jobs.stop_and_wait(run_id) if wait else lab.jobs.stop(run_id, None)
    _say(lab, run_id, status, json_output)


def resume(
    run: RunId,
    watch: Annotated[
        bool, typer.Option("--follow", help="Show how far it is, as `follow`.")
    ] = False,
    json_output: AsJson = False,
) -> None:
    """Continue a run that was stopped, interrupted or failed, in a process of its own."""
    lab, run_id = _open(run)
    lab.jobs.resume(run_id)
    if watch:
        follow(run_id, json_output)
    else:
        _say(lab, run_id, lab.registry.run(run_id).status, json_output)


def again(run: RunId, json_output: AsJson = False) -> None:
    """Put a new run with the same settings and facts in the queue; the run stays as it is."""
    lab, run_id = _open(run)
    new = lab.run_again(run_id)
    _say(lab, new, lab.registry.run(new).status, json_output)


def queue(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="A waiting run to move; without one, list all.")
    ] = "",
    sooner: Annotated[int, typer.Option(help="Move it forwards so many places.", min=0)] = 0,
    later: Annotated[int, typer.Option(help="Move it backwards so many places.", min=0)] = 0,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print a JSON list: all runs at work or waiting.")
    ] = False,
) -> None:
    """List the runs at work and those that wait, in their order; or move one that waits."""
    from rotelab.config.names import LIVE
    from rotelab.runs.lab import Lab

    if bool(run) != bool(sooner or later):
        raise LabError("To move a run, give it and --sooner or --later; to list all, give nothing.")
    lab = Lab.open()
    if run:
        lab.registry.move_in_queue(lab.registry.resolve(run), later - sooner)
    ordered = lab.registry.runs(
        limit=-1, status=(*LIVE, "queued"), archived=None, held=False, order="queue"
    )
    if json_output:
        print(json.dumps([summary_json(one) for one in ordered]))
        return
    if not ordered:
        print("No run is at work, and none waits.")
    for one in ordered:
        print(f"{one.id:40} {one.status:12} {one.share:4.0%}  {one.name}".rstrip())


def rename(
    run: RunId,
    name: Annotated[str, typer.Argument(help="Its new name; empty takes the name away.")],
    json_output: AsJson = False,
) -> None:
    """Give a run a name."""
    lab, run_id = _open(run)
    lab.rename(run_id, name=name)
    _say(lab, run_id, "renamed", json_output)


def tag(
    run: RunId,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to add.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="A tag to take away; may be repeated.")
    ] = None,
    json_output: AsJson = False,
) -> None:
    """Add tags to a run, or take some away; without any, print those that it has."""
    lab, run_id = _open(run)
    gone = {" ".join(one.split()).casefold() for one in remove or ()}
    has = lab.registry.run(run_id).tags
    missing = gone - {one.casefold() for one in has}
    if missing:
        raise LabError(f"Run {run_id} has no tag {', '.join(sorted(missing))}.")
    if tags or gone:
        kept = [one for one in has if one.casefold() not in gone]
        lab.rename(run_id, tags=", ".join([*kept, *(tags or ())]))
    _say(lab, run_id, ", ".join(lab.registry.run(run_id).tags), json_output)


def note(
    run: RunId,
    text: Annotated[str, typer.Argument(help="The note; an empty one takes it away.")],
    json_output: AsJson = False,
) -> None:
    """Write a note about a run, in place of the one that it has."""
    lab, run_id = _open(run)
    lab.rename(run_id, note=text)
    _say(lab, run_id, "noted", json_output)


def archive(
    run: RunId,
    undo: Annotated[bool, typer.Option("--undo", help="Take it out of the archive.")] = False,
    json_output: AsJson = False,
) -> None:
    """Keep a run out of lists; `runs --archived` shows those that are."""
    lab, run_id = _open(run)
    lab.registry.update_run(run_id, archived=not undo)
    _say(lab, run_id, "taken out of the archive" if undo else "archived", json_output)


def delete(
    run: RunId,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the id, and the bytes freed.")
    ] = False,
) -> None:
    """Delete a run for good: its answers, its curves and its adapters. Its facts stay."""
    lab, run_id = _open(run)
    row = lab.registry.run(run_id)
    if row.live or row.status == "queued":
        raise LabError(f"Run {run_id} is still {row.status}. Stop it first, then delete it.")
    freed = lab.bytes_of(run_id)
    if not yes:
        _ask(
            f"Delete run {run_id}{f' “{row.name}”' if row.name else ''} for good? This removes its "
            f"{lab.registry.count_predictions(run_id):,} answers, its curves and its adapters, and "
            f"frees {freed / 1e6:.1f} MB."
        )
    lab.delete(run_id)
    if json_output:
        print(json.dumps({"run_id": run_id, "deleted": True, "bytes": freed}))
    else:
        print(f"{run_id} deleted")


def log(
    run: RunId,
    lines: Annotated[int, typer.Option(help="How many of the last lines at most.", min=1)] = 200,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the id, and the lines.")
    ] = False,
) -> None:
    """Print the end of what a run's process printed."""
    lab, run_id = _open(run)
    said = lab.log(run_id)
    if said is None:
        raise LabError(
            f"Run {run_id} has no log: it has not started, or it was made on the command line, "
            "which prints there instead."
        )
    if json_output:
        print(json.dumps({"run_id": run_id, "log": said[-lines:]}))
    else:
        print("\n".join(said[-lines:]))


def summary_json(run: RunSummary) -> dict[str, Any]:
    """What `runs --json` says of a run."""
    from rotelab.registry import RunSummary

    return {field.name: getattr(run, field.name) for field in fields(RunSummary)}


def _open(run: str) -> tuple[Lab, str]:
    from rotelab.runs.lab import Lab

    lab = Lab.open()
    return lab, lab.registry.resolve(run)


def _say(lab: Lab, run_id: str, words: str, json_output: bool) -> None:
    if json_output:
        print(json.dumps(summary_json(lab.registry.run(run_id))))
    else:
        print(f"{run_id} {words}".rstrip())


def _ask(question: str) -> None:
    """Asks on stderr, where no result goes.

    Raises:
        LabError: the answer is no, or nobody is there to answer.
    """
    try:
        sure = typer.confirm(question, err=True)
    except typer.Abort:
        raise LabError("Nobody answered. Give --yes to delete without being asked.") from None
    if not sure:
        raise LabError("Nothing was deleted.")
