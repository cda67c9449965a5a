"""What an experiment would cost on this machine before it is started: runs to train, and time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rotelab.errors import LabError
from rotelab.experiments import Experiment, experiment, runner
from rotelab.registry import ExperimentRow, RunRow
from rotelab.registry.sweeps import PlannedRun
from rotelab.runs.lab import Lab
from rotelab.runs.progress import Estimate, estimate, estimate_measuring


@dataclass(frozen=True)
class Cost:
    """What an experiment on one run would cost now.

    Args:
        trains: how many runs it would train first.
        needed: how many runs it compares; 0 for one that measures the chosen run alone.
        seconds: all of it, measuring included; None where nothing is known about the model, or
            about how long this experiment measures.
        training: the time of its runs; None where it trains none, or nothing is known.
        slower: how many times as long that is as on the idle machine.
        refused: why it can't be made on this run; empty where it can.
    """

    trains: int = 0
    needed: int = 0
    seconds: float | None = None
    training: float | None = None
    slower: float = 1.0
    refused: str = ""


def cost_of(lab: Lab, name: str, run: RunRow, made: Sequence[ExperimentRow] = ()) -> Cost:
    """What an experiment on a finished run would cost.

    Args:
        lab: the lab.
        name: the experiment.
        run: the run it would be started on.
        made: its earlier executions, whose time says how long it measures here.

    Raises:
        UnknownRun: the run has been deleted.
        LabError: the registry can't be read.
    """
    wanted = experiment(name)
    try:
        missing, needed = runner.runs_to_make(lab, name, run.id)
    except LabError as error:
        return Cost(refused=str(error))
    measures = _measuring(lab, wanted, run, made, max(1, needed))
    if not missing:
        return Cost(0, needed, measures.seconds, None, measures.slower)
    trained = _training(lab, missing)
    known = None not in (trained.seconds, measures.seconds)
    total = trained.seconds + measures.seconds if known else trained.seconds
    return Cost(len(missing), needed, total, trained.seconds, trained.slower)


def total_seconds(costs: Iterable[Cost]) -> tuple[float, int]:
    """All of their known times together in seconds, and how many are not known.

    Runs that several of them would train count for each, so it is rather too much than too little.
    """
    costs = list(costs)
    unknown = sum(cost.seconds is None for cost in costs)
    return sum(cost.seconds or 0.0 for cost in costs), unknown


def _training(lab: Lab, missing: Sequence[PlannedRun]) -> Estimate:
    """The time of several runs, one after the other. Arms with as much to read take as long."""
    found = [estimate(lab, planned.config, planned.pack) for planned in missing]
    if any(one.seconds is None for one in found):
        return found[0]
    return Estimate(sum(one.seconds for one in found), found[0].measured, found[0].slower)


def _measuring(
    lab: Lab, wanted: Experiment, run: RunRow, made: Sequence[ExperimentRow], runs: int
) -> Estimate:
    """How long it measures: as in its fastest execution here with the same model, or as its author
    measured, at this machine's speed. The shorter of the two counts, because the machine may have
    been busy when it was made here, and how busy it is now is counted by itself."""
    guesses = []
    if here := [row.seconds for row in made if _tells(row, wanted, run)]:
        guesses.append(estimate_measuring(lab, run.config, min(here)))
    if wanted.measures_s is not None:
        asked = wanted.measures_s * runs
        guesses.append(estimate_measuring(lab, run.config, asked, scaled=True))
    known = [guess for guess in guesses if guess.seconds is not None]
    return min(known, key=lambda guess: guess.seconds, default=Estimate(None, False))


def _tells(row: ExperimentRow, wanted: Experiment, run: RunRow) -> bool:
    """Whether an execution tells how long the measuring takes: it trained nothing."""
    if (row.status, row.version, row.sweep_id) != ("finished", wanted.version, None):
        return False
    if not row.seconds:
        return False
    try:
        return row.config.model == run.config.model
    except LabError:  # stored settings that can't be read any more say nothing
        return False
