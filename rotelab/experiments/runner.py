"""Carries out an experiment and stores its result; `python -m rotelab.experiments.runner ID` is the
process that the page starts for it.

An experiment's arms are ordinary runs: one with the same settings and facts is used if there is
one, the missing ones are made as a sweep. So one that ended early continues when started again.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rotelab.config.option_paths import flat
from rotelab.config.run_config import RunConfig
from rotelab.config.sweep_grid import SEED
from rotelab.errors import LabError
from rotelab.experiments import Arm, Experiment, FinishedRun, Result, experiment
from rotelab.experiments.results.stored import as_plain, as_typed
from rotelab.models import threads
from rotelab.registry import ExperimentRow, RunRow
from rotelab.registry.sweeps import PlannedRun
from rotelab.runs.finished_run import training_comes_first
from rotelab.runs.lab import Lab
from rotelab.runs.processes import (
    GONE,
    STOP_WAIT_S,
    end_tree,
    fault_sentence,
    interrupt,
    me,
    process_of,
    spawn,
    until,
    worker_main,
)
from rotelab.runs.sweeps import Make, run_sweep
from rotelab.storage import has_adapters

LOST = f"{GONE} Start the experiment again; what is done is kept."
MEASURED_FROM = 0.9
"""The share of a family's progress bar that making its runs takes; a probe makes none."""

WRITE_EVERY_S = 0.5

Watch = Callable[[float, str], None]


def begin(lab: Lab, name: str, run_id: str = "", config: RunConfig | None = None) -> str:
    """Checks and stores an experiment and the runs it lacks; starts nothing.

    Args:
        lab: the lab.
        name: the experiment.
        run_id: the finished run to measure; a family takes its settings from it.
        config: the settings of the run to find or to make, where no run is given.

    Returns:
        The experiment's id, such as `exp-20261123-031500-3f2a`.

    Raises:
        LabError: no such experiment, settings or facts do not fit, or the run is not finished or a
            later lesson where the experiment makes runs of its own.
    """
    assert (not run_id) != (config is None), "a run, or settings"
    wanted = experiment(name)
    if run_id:
        run = lab.registry.run(run_id)
        if run.status != "finished":
            raise LabError(f"Run {run.id} is {run.status}. An experiment needs a finished one.")
        config, pack_name = run.config, run.config.pack if wanted.family else run.pack_name
        arms, sweep_id = _arms_on(lab, wanted, run)
    else:
        pack_name = config.pack
        arms, sweep_id = _family_arms(lab, wanted, config)
    return lab.registry.create_experiment(
        name, wanted.version, config, pack_name, arms, run_id or None, sweep_id
    )


def settle(lab: Lab, row: ExperimentRow) -> None:
    """Stores the runs that an experiment of the queue compares, now that its turn has come.

    Not earlier: those before it may make runs that it can use.

    Raises:
        LabError: as `begin`.
    """
    arms, sweep_id = _arms_on(lab, experiment(row.experiment), lab.registry.run(row.run_id))
    lab.registry.set_experiment_arms(row.id, arms, sweep_id)


def _arms_on(lab: Lab, wanted: Experiment, run: RunRow) -> tuple[list[tuple[str, str]], str | None]:
    """Label and run of each arm, and the sweep of those that are missing."""
    _check_base(wanted, run)
    return _family_arms(lab, wanted, run.config) if wanted.family else ([("", run.id)], None)


def _family_arms(
    lab: Lab, wanted: Experiment, config: RunConfig
) -> tuple[list[tuple[str, str]], str | None]:
    arms = wanted.arms_of(config)
    ids, sweep_id = _runs_of(lab, wanted, config, arms)
    return list(zip([arm.label for arm in arms], ids, strict=True)), sweep_id


def carry_out(
    lab: Lab, experiment_id: str, watch: Watch = lambda *how_far: None, make: Make | None = None
) -> None:
    """Makes the missing runs, measures, and stores the result, or the error it ended with.

    Args:
        lab: the lab.
        experiment_id: from `begin`.
        watch: told the share done and what is being done.
        make: makes the runs of a sweep; `run_sweep` by default.

    Raises:
        LabError: the registry can't be read or written.
    """
    row = lab.registry.experiment_row(experiment_id)
    pid, started = me()
    lab.registry.update_experiment(experiment_id, pid=pid, pid_started=started)
    told, said = _Progress(lab, experiment_id, watch), ""
    began = time.monotonic()
    try:
        found = _measured(lab, row, told, make or run_sweep)
        result = as_plain(asdict(found))
        lab.registry.end_experiment(
            experiment_id, "finished", result=result, seconds=time.monotonic() - began
        )
        return
    except KeyboardInterrupt:
        status = "stopped"
    except LabError as error:
        status, said = "failed", str(error)
    except Exception as error:  # whatever it was, its row must say how it ended
        status, said = "failed", fault_sentence(error, lab.storage.home)
    lab.registry.end_experiment(experiment_id, status, said, seconds=time.monotonic() - began)


def result_of(row: ExperimentRow) -> Result | None:
    """An experiment's result in its own type; None where it has not finished.

    Raises:
        LabError: it was stored by another version of the experiment, or is damaged.
    """
    if row.status != "finished":
        return None
    wanted = experiment(row.experiment)
    if row.version != wanted.version:
        raise LabError(
            f"Experiment {row.id} was measured by version {row.version} of “{wanted.title}”, which "
            f"is at version {wanted.version} now. Start it again."
        )
    try:
        return as_typed(wanted.result, row.result)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise LabError(f"The result of experiment {row.id} is damaged. Start it again.") from error


# In a process of its own -------------------------------------------------------------------------


def start(lab: Lab, name: str, run_id: str) -> str:
    """Begins an experiment on a finished run in a process of its own, and returns its id.

    Raises:
        LabError: as `begin`, another experiment is running, or no process can be started.
    """
    for row in running(lab):
        title = experiment(row.experiment).title
        raise LabError(f"“{title}” is already running. Wait until it ends, or stop it.")
    experiment_id = begin(lab, name, run_id)
    launch(lab, experiment_id)
    return experiment_id


def launch(lab: Lab, experiment_id: str) -> None:
    """Starts the process of an experiment that has begun.

    Raises:
        LabError: no process can be started; the experiment has failed then.
    """
    command = [sys.executable, "-m", "rotelab.experiments.runner", experiment_id]
    log = log_file(lab, experiment_id)
    try:
        child, started = spawn(command, experiment_id, lab.storage.home, log)
    except LabError as error:
        lab.registry.end_experiment(experiment_id, "failed", str(error))
        raise
    lab.registry.update_experiment(experiment_id, pid=child.pid, pid_started=started)


def running(lab: Lab) -> list[ExperimentRow]:
    """The running experiments; those whose process is gone are ended first.

    Raises:
        LabError: the registry can't be read or written.
    """
    live = []
    for row in lab.registry.experiment_rows(limit=-1):
        if row.status != "running":
            continue
        if row.pid is not None and process_of(row) is None:
            lab.registry.end_experiment(row.id, "interrupted", LOST)
        else:
            live.append(row)
    lab.jobs.reconcile()
    return live


def stop(lab: Lab, experiment_id: str) -> None:
    """Stops an experiment; a run that it was making saves its state and stops. One that waits
    loses its turn.

    Raises:
        LabError: the registry can't be read or written.
    """
    row = lab.registry.experiment_row(experiment_id)
    process = process_of(row)
    if process is None:
        how = ("stopped", "") if row.status == "queued" else ("interrupted", LOST)
        lab.registry.end_experiment(experiment_id, *how)
        return
    if not interrupt(process, sys.platform == "win32"):
        _stop_its_run(lab, process.pid)
        end_tree(experiment_id, process)
    elif not until(lambda: process_of(row) is None, STOP_WAIT_S):
        end_tree(experiment_id, process)
    lab.registry.end_experiment(experiment_id, "stopped")


def _stop_its_run(lab: Lab, pid: int) -> None:
    """Stops the run that a process is making, and waits until it has saved its state."""
    ids = [run.id for run in lab.registry.live_runs() if run.pid == pid]
    for run_id in ids:
        lab.registry.request_stop(run_id)
    until(lambda: not any(r.id in ids for r in lab.registry.live_runs()), STOP_WAIT_S)


def log_file(lab: Lab, experiment_id: str) -> Path:
    """The log of an experiment's process."""
    return lab.storage.home / "experiments" / f"{experiment_id}.txt"


def main(experiment_id: str) -> int:
    """Does one experiment in this process, then starts the next; returns the exit status."""
    from rotelab.experiments.planning.queue import move_on  # which imports this module

    # A shell's background jobs ignore SIGINT, and the page stops an experiment with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def work() -> ExperimentRow:
        lab = Lab.open()
        carry_out(lab, experiment_id)
        move_on(lab)
        return lab.registry.experiment_row(experiment_id)

    return worker_main("experiment", work)


# Parts -------------------------------------------------------------------------------------------


class _Progress:
    """Passes progress on to a callback and, every `WRITE_EVERY_S` seconds, to the registry."""

    def __init__(self, lab: Lab, experiment_id: str, watch: Watch):
        self._lab, self._id, self._watch = lab, experiment_id, watch
        self._written = 0.0

    def __call__(self, share: float, words: str) -> None:
        threads.CORES.adjust()
        self._watch(share, words)
        if time.monotonic() - self._written >= WRITE_EVERY_S:
            self._lab.registry.update_experiment(self._id, share=share, message=words)
            self._written = time.monotonic()

    def within(self, low: float, high: float, before: str = "") -> Watch:
        """The same for one part of the whole."""
        return lambda share, words: self(low + (high - low) * share, before + words)


def runs_to_make(lab: Lab, name: str, run_id: str) -> tuple[list[PlannedRun], int]:
    """The runs that an experiment on a finished run would have to make, and how many it needs.

    Raises:
        LabError: no such experiment or run, or settings or facts do not fit.
    """
    wanted, run = experiment(name), lab.registry.run(run_id)
    if not wanted.family:
        return [], 0
    _check_base(wanted, run)
    arms = _arms(lab, wanted, wanted.arms_of(run.config))
    # A planned run that did not finish, say because it was stopped, must still be made.
    missing = [
        planned
        for known, planned in arms
        if known is None or lab.registry.run(known).status != "finished"
    ]
    return missing, len(arms)


def _check_base(wanted: Experiment, run: RunRow) -> None:
    """Refuses a later lesson where an experiment takes a run's settings for runs of its own."""
    if wanted.family and run.config.lesson is not None:
        its_run = f", {run.parent_id}" if run.parent_id else ""
        raise LabError(
            f"Run {run.id} is a later lesson, and “{wanted.title}” makes runs of two phases. "
            f"Choose the run that it continues{its_run}."
        )


def _arms(lab: Lab, wanted: Experiment, arms: Sequence[Arm]) -> list[tuple[str | None, PlannedRun]]:
    """For each arm, the existing run, finished or not, and the run to make if there is none."""

    def usable(run_id: str) -> bool:
        return not wanted.asks or has_adapters(lab.storage, run_id)

    own = [row.sweep_id for row in lab.registry.experiment_rows(wanted.name, limit=-1)]
    sweeps, found = [s for s in own if s], []
    for arm in arms:
        pack = arm.pack_of(lab.facts_for(arm.config))
        known = lab.registry.same_run(arm.config, pack.content_hash, sweeps, usable=usable)
        planned = PlannedRun(arm.config, pack, f"{wanted.title} {arm.label}".strip())
        found.append((known, planned))
    return found


def _runs_of(
    lab: Lab, wanted: Experiment, base: RunConfig, arms: Sequence[Arm]
) -> tuple[list[str], str | None]:
    """The run of each arm, and the sweep of the newly planned ones, if any."""
    found = _arms(lab, wanted, arms)
    ids = [known for known, _ in found]
    planned = [run for known, run in found if known is None]
    if not planned:
        return [i for i in ids if i], None
    axes = _axes([run.config for run in planned])
    sweep_id = lab.registry.create_sweep(axes, base, planned, wanted.title)
    made = iter(run.id for run in lab.registry.sweep_runs(sweep_id))
    return [i or next(made) for i in ids], sweep_id


def _axes(configs: Sequence[RunConfig]) -> dict[str, list[Any]]:
    """The options in which the runs differ, with their values in order; the seed if in none."""
    tables = [flat(config) for config in configs]
    values = {path: list(dict.fromkeys(t[path] for t in tables)) for path in tables[0]}
    differ = {path: seen for path, seen in values.items() if len(seen) > 1}
    return differ or {SEED: values[SEED]}


def _measured(lab: Lab, row: ExperimentRow, told: _Progress, make: Make) -> Result:
    wanted = experiment(row.experiment)
    runs = [lab.registry.run(run_id) for _, run_id in row.arms]
    missing = [run for run in runs if run.status != "finished"]
    told(0.0, "getting ready")
    low = MEASURED_FROM if missing else 0.0
    for sweep_id in dict.fromkeys(run.sweep_id for run in missing if run.sweep_id):
        if not make(lab, sweep_id, _making(told)):
            raise KeyboardInterrupt
    runs = [lab.registry.run(run_id) for _, run_id in row.arms]
    for run in runs:
        if run.status != "finished":
            why = f": {run.error}" if run.error else "."
            raise LabError(f"Run {run.id} of this experiment {run.status}{why}")
    training_comes_first(lab.registry, runs[0].config.model.device)
    size = (1.0 - low) / len(runs)
    finished = [
        FinishedRun(
            run,
            lab.registry.scores(run.id),
            lab.storage,
            label,
            told.within(low + i * size, low + (i + 1) * size, f"{label} " if label else ""),
        )
        for i, (run, (label, _)) in enumerate(zip(runs, row.arms, strict=True))
    ]
    from rotelab.models.loading import pick_device  # loads torch

    with threads.CORES.taken(pick_device(runs[0].config.model.device).type):
        return wanted.measure(finished)


def _making(told: _Progress) -> Callable[[int, int, float, str], None]:
    def watch(place: int, count: int, share: float, words: str) -> None:
        told(MEASURED_FROM * (place - 1 + share) / count, f"run {place} of {count}: {words}")

    return watch


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1]))
