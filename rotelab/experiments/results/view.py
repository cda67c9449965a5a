"""A result with all that a reader needs beside it: how it was made, on what, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass

import rotelab
from rotelab.config.reproduce import command_of
from rotelab.config.run_config import EMBEDDED
from rotelab.errors import LabError
from rotelab.experiments import Experiment, Result, experiment, runner
from rotelab.experiments.results import recorded
from rotelab.registry import ExperimentRow, RunRow
from rotelab.runs.lab import Lab
from rotelab.runs.timing.machine import describe

EMBEDDED_NAME = "SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class ResultView:
    """One result, of this lab or recorded.

    Args:
        id: of the experiment's row, or of the recording.
        about: the experiment.
        found: its result.
        made: when, ISO 8601 in UTC.
        seconds: how long it took; None where that is unknown.
        machine: what it ran on.
        command: makes it again.
        sizes: how many facts, which model, and what else was chosen.
        runs: label and id of each run that it compares.
        version: of rotelab.
        recorded: whether it came with the lab.
    """

    id: str
    about: Experiment
    found: Result
    made: str
    seconds: float | None
    machine: str
    command: str
    sizes: str
    runs: tuple[tuple[str, str], ...]
    version: str
    recorded: bool = False

    def lines(self) -> list[tuple[str, str]]:
        """What stands beside the result in (name, text) pairs, for a page or a terminal."""
        minutes = "" if self.seconds is None else f", {self.seconds / 60:.1f} minutes"
        runs = ", ".join(f"{label}: {run}" if label else run for label, run in self.runs)
        said = [
            ("Made", f"{self.made[:10]}{minutes}, rotelab {self.version}"),
            ("Machine", self.machine),
            ("Sizes", self.sizes),
            ("Runs", runs),
        ]
        return [(name, text) for name, text in said if text]


def view_of(lab: Lab, experiment_id: str) -> ResultView:
    """A result of this lab by its whole id, or a recorded one.

    Raises:
        UnknownRun: there is none by that id.
        LabError: it has no result, or one that can't be read.
    """
    if experiment_id.startswith(recorded.PREFIX):
        return _view_of_recorded(recorded.recorded(experiment_id.removeprefix(recorded.PREFIX)))
    row = lab.registry.experiment_row(experiment_id)
    found = runner.result_of(row)
    if found is None:
        raise LabError(f"Experiment {row.id} has no result: {row.status}. {row.error}".strip())
    first = lab.registry.run(row.run_id or row.arms[0][1])
    return ResultView(
        row.id, experiment(row.experiment), found, row.created, row.seconds,
        describe(first.device_used), command_for(row, first), sizes_of(row, first), row.arms,
        rotelab.__version__,
    )  # fmt: skip


def command_for(row: ExperimentRow, run: RunRow) -> str:
    """The shell commands that make an experiment again, its run included where that has a command
    of its own.

    Args:
        row: the experiment.
        run: the run that it was started on, or its first.
    """
    if experiment(row.experiment).family:
        made = command_of(row.config)
        return made.replace("rotelab run", f"rotelab experiment {row.experiment}", 1)
    again = f"python -m rotelab experiment {row.experiment} --run"
    if run.imported or run.is_lesson:
        return f"{again} {run.id}"
    return f"{command_of(run.config)}\n{again} latest"


def sizes_of(row: ExperimentRow, run: RunRow) -> str:
    """How large an experiment was: facts, those taught in words, seed and model."""
    config, facts = row.config, len(run.pack.facts)
    taught = f", k = {config.generalize.k}" if config.stages == "two" else ", phase 1 alone"
    model = EMBEDDED_NAME if config.model.name == EMBEDDED else config.model.name
    return f"{facts} facts of “{row.pack_name}”{taught}, seed {config.seed}, {model}"


def _view_of_recorded(kept: recorded.Recorded) -> ResultView:
    return ResultView(
        recorded.PREFIX + kept.experiment, experiment(kept.experiment), recorded.result_in(kept),
        kept.recorded, kept.seconds, kept.machine, kept.command, kept.sizes, kept.runs,
        kept.rotelab, recorded=True,
    )  # fmt: skip
