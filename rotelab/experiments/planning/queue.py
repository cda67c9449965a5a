"""Several experiments one after the other, say overnight: they wait as rows of the registry, and
each that ends starts the next.

One is carried out at a time, by the same process as a single one (`rotelab.experiments.runner`). An
experiment that fails or is stopped does not keep the others from their turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from rotelab.errors import LabError
from rotelab.experiments import experiment, runner
from rotelab.registry import ExperimentRow
from rotelab.runs.lab import Lab
from rotelab.runs.processes import me


def enqueue(lab: Lab, names: Sequence[str], run_id: str) -> list[str]:
    """Puts experiments on a finished run in the queue, and starts the first if nothing is running.

    Those that wait for this run already are not put there twice.

    Returns:
        Their ids, in the order of `names`.

    Raises:
        LabError: no such experiment or run, the run is not finished, or no process can be started.
    """
    run = lab.registry.run(run_id)
    if run.status != "finished":
        raise LabError(f"Run {run.id} is {run.status}. An experiment needs a finished one.")
    wait = {row.experiment for row in waiting(lab) if row.run_id == run_id}
    wanted = [experiment(name) for name in names if name not in wait]
    ids = [
        lab.registry.create_experiment(
            one.name, one.version, run.config, run.pack_name, [], run_id, status="queued"
        )
        for one in wanted
    ]
    move_on(lab)
    return ids


def waiting(lab: Lab) -> list[ExperimentRow]:
    """The experiments that wait, the next one first.

    Raises:
        LabError: the registry can't be read.
    """
    rows = lab.registry.experiment_rows(limit=-1)
    return [row for row in reversed(rows) if row.status == "queued"]


def clear(lab: Lab) -> int:
    """Takes all waiting experiments out of the queue; the running one goes on.

    Returns:
        How many there were.

    Raises:
        LabError: the registry can't be written.
    """
    return sum(lab.registry.end_experiment(row.id, "stopped") for row in waiting(lab))


def move_on(lab: Lab) -> str | None:
    """Starts the next experiment of the queue, unless one is running.

    One that can't begin, say because its run lacks what it needs, ends with the reason, and the
    next has its turn.

    Returns:
        The id of the one that was started.

    Raises:
        LabError: the registry can't be read or written.
    """
    while (rows := waiting(lab)) and not runner.running(lab):
        row = rows[0]
        pid, started = me()
        if not lab.registry.claim_experiment(row.id, pid, started):
            continue  # another process was faster
        try:
            runner.settle(lab, row)
            runner.launch(lab, row.id)
        except LabError as error:
            lab.registry.end_experiment(row.id, "failed", str(error))
            continue
        return row.id
    return None
