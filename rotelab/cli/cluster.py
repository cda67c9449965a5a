"""Runs made elsewhere: the options of `--on`, and the commands `cluster ...`."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rotelab.errors import LabError

if TYPE_CHECKING:
    from rotelab.registry import ClusterJob
    from rotelab.runs.cluster.options import ClusterOptions
    from rotelab.runs.lab import Lab

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

On = Annotated[
    str,
    typer.Option(
        help="Make each run as a job of its own: slurm, or local (the same way, on this machine)."
    ),
]
Jobs = Annotated[
    int, typer.Option(help="How many runs at once, at most; 0 decides by itself.", min=0)
]
Partition = Annotated[str, typer.Option(help="With --on slurm: the partition.")]
Account = Annotated[str, typer.Option(help="With --on slurm: the account.")]
Time = Annotated[
    str,
    typer.Option(
        help="With --on: the longest time of a job, as 90 (minutes) or 1:30:00. A run that "
        "is not done by then is submitted again, and goes on."
    ),
]
Gpus = Annotated[int, typer.Option(help="With --on: cards for each run.", min=0)]
Cpus = Annotated[int, typer.Option(help="With --on slurm: cores for each run.", min=0)]
Memory = Annotated[
    float, typer.Option(help="With --on slurm: main memory for each run, in GB.", min=0)
]
Setup = Annotated[
    list[str] | None,
    typer.Option(
        help="With --on: a shell command before each job, as “module load cuda”; may be repeated."
    ),
]
Sbatch = Annotated[
    list[str] | None,
    typer.Option(help="With --on slurm: any other option, as qos=long; may be repeated."),
]
Folder = Annotated[
    str,
    typer.Option(
        help="With --on: a folder that this machine and the cluster's share, for the jobs' "
        "files; by default “cluster” in the lab's home."
    ),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait",
        help="With --on: wait for the runs, or only submit them; `cluster status` then takes "
        "in what is done.",
    ),
]

cluster_app = typer.Typer(
    no_args_is_help=True, help="Look at the runs that a cluster makes, or take them back."
)


def add_cluster_commands(app: typer.Typer) -> None:
    """Adds this file's commands to the command line."""
    app.add_typer(cluster_app, name="cluster")


@dataclass(frozen=True)
class Where:
    """Where a command's runs are made.

    Args:
        options: what is asked of the cluster; None where they are made on this machine.
        folder: what the cluster's jobs share; empty for a folder in the lab's home.
        wait: whether the command waits for them.
        jobs: how many run at once; 0 where nothing is said.
    """

    options: ClusterOptions | None
    folder: str
    wait: bool
    jobs: int


def _where(
    on: On = "",
    jobs: Jobs = 0,
    partition: Partition = "",
    account: Account = "",
    time: Time = "",
    gpus_per_run: Gpus = 0,
    cpus_per_run: Cpus = 0,
    memory: Memory = 0.0,
    setup: Setup = None,
    sbatch: Sbatch = None,
    folder: Folder = "",
    wait: Wait = True,
) -> Where:
    """Reads the options of `--on`."""
    from rotelab.runs.cluster.options import ClusterOptions, minutes

    others = (partition, account, time, gpus_per_run, cpus_per_run, memory, setup, sbatch, folder)
    if not on:
        if any(others) or not wait:
            raise LabError("--partition, --time and the like need --on slurm, or --on local.")
        return Where(None, "", True, jobs)
    options = ClusterOptions(
        on,
        partition,
        account,
        minutes(time) if time else 0,
        gpus_per_run,
        cpus_per_run,
        memory,
        jobs,
        tuple(setup or ()),
        tuple(sbatch or ()),
    )
    return Where(options, folder, wait, jobs)


def takes_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `--on`; it is called with `where`, a `Where`."""
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["where"]
    taken = dict(inspect.signature(_where, eval_str=True).parameters)

    @functools.wraps(command)
    def with_options(*args: Any, **given: Any) -> Any:
        where = _where(**{name: given.pop(name) for name in taken})
        return command(*args, where=where, **given)

    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own.values(), *taken.values())
    ]
    with_options.__signature__ = inspect.Signature(parameters)
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


@cluster_app.command("status")
def status(
    sweep: Annotated[
        str, typer.Argument(metavar="[SWEEP]", help="A sweep; without one, all of them.")
    ] = "",
    json_output: AsJson = False,
) -> None:
    """Take in the runs that a cluster has made, and show how far the others are."""
    from rotelab.runs.cluster.board import look

    lab, sweep_id = _open(sweep)
    before = {job.run_id for job in lab.registry.cluster_jobs(sweep_id)}
    jobs = look(lab, sweep_id)
    returned = sorted(before - {job.run_id for job in jobs})
    if json_output:
        said = {"jobs": [job._asdict() for job in jobs], "returned": returned}
        print(json.dumps(said))
        return
    for run_id in returned:
        print(f"{run_id:40} {_ending(lab, run_id)}")
    for job in jobs:
        print(f"{job.run_id:40} {job.state:8} {job.share:4.0%}  {job.message or job.engine}")
    if not jobs:
        print("No run is on a cluster.")


@cluster_app.command("log")
def log(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning.")],
    lines: Annotated[int, typer.Option(help="How many of the last lines at most.", min=1)] = 200,
) -> None:
    """Print the end of what a run's job printed."""
    from rotelab.runs.cluster.board import log_of
    from rotelab.runs.lab import Lab
    from rotelab.runs.processes import tail

    lab = Lab.open()
    run_id = lab.registry.resolve(run)
    file = log_of(lab, run_id) or lab.storage.log_file(run_id)
    if not file.is_file():
        raise LabError(f"Run {run_id} has no log yet: its job has not begun.")
    print("\n".join(tail(file, 20_000).splitlines()[-lines:]))


@cluster_app.command("cancel")
def cancel(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's id, or “latest”.")],
) -> None:
    """End a sweep's jobs. Its runs stop; `sweep --resume SWEEP --on slurm` goes on with them."""
    from rotelab.runs.cluster import board

    lab, sweep_id = _open(sweep)
    count = board.cancel(lab, sweep_id)
    print(f"{count} jobs of {sweep_id} cancelled.")


def make_on_cluster(lab: Lab, sweep_id: str, watch: Callable[..., None], where: Where) -> bool:
    """Submits a sweep's runs and, unless `--no-wait` is given, waits for them.

    Returns:
        Whether no run is on the cluster any more.

    Raises:
        LabError: the jobs can't be submitted, or a registry can't be read or written.
    """
    from rotelab.runs.cluster.board import run_on_cluster, submit, words

    assert where.options is not None
    submit(lab, sweep_id, where.options, where.folder)
    if where.wait and run_on_cluster(lab, sweep_id, watch):
        return True
    jobs = lab.registry.cluster_jobs(sweep_id)
    if jobs:
        print(
            f"{sweep_id}: {words(jobs)}. `python -m rotelab cluster status` takes in what is done.",
            file=sys.stderr,
        )
    return not jobs


def refuse_where_given_away(jobs: list[ClusterJob], sweep_id: str) -> None:
    """Refuses to make runs here that a cluster makes.

    Raises:
        LabError: there are such.
    """
    if jobs:
        raise LabError(
            f"{len(jobs)} runs of {sweep_id} are on {jobs[0].engine}. `sweep --resume {sweep_id} "
            f"--on {jobs[0].engine}` waits for them; `cluster cancel {sweep_id}` takes them back."
        )


def _open(sweep: str) -> tuple[Lab, str]:
    from rotelab.runs.lab import Lab

    lab = Lab.open()
    return lab, lab.registry.resolve_sweep(sweep) if sweep else ""


def _ending(lab: Lab, run_id: str) -> str:
    run = lab.registry.run(run_id)
    return f"{run.status} {run.error}".strip()
