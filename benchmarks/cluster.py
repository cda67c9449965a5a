"""A sweep of twelve tiny runs on a real SLURM that is treated badly, beside the same sweep here.

    python benchmarks/cluster.py [--engine slurm|local] [--jobs N] [--json]

It needs a SLURM whose node is this machine (`slurm-wlm` and `munge` of Debian are enough), and the
right to drain that node and to restart its controller; `--engine local` needs none and only kills.

While the runs are made:

| what | how |
| --- | --- |
| a job is killed | SIGKILL to its process in the middle of the run |
| the time limit | a job is frozen until SLURM warns it of its time limit; it is submitted again |
| the node is drained | for some seconds, while jobs wait |
| the controller | is ended, and started again some seconds later |

Printed are what happened to how many jobs, the times, and whether all runs are there once and equal
to those made here: scores, every answer, losses, weights of both adapters.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from rotelab.config.run_config import (  # noqa: E402
    EvaluationConfig,
    GeneralizeConfig,
    MemorizeConfig,
    ModelSpec,
    RunConfig,
)
from rotelab.errors import LabError  # noqa: E402
from rotelab.registry import ClusterJob  # noqa: E402
from rotelab.runs.cluster import board  # noqa: E402
from rotelab.runs.cluster.options import ClusterOptions  # noqa: E402
from rotelab.runs.lab import Lab  # noqa: E402
from rotelab.runs.sweeps import plan, run_sweep, unfinished_runs  # noqa: E402
from rotelab.storage import Storage, adapter_folder, sha256_of  # noqa: E402

AXES = {"memorize.epochs": [30, 40], "generalize.k": [3, 2], "seed": [0, 1, 2]}
AWAY_S = 8.0
"""How long the node is drained and the controller is gone, in seconds."""
MOST_S = 1500.0


def settings(model: Path) -> RunConfig:
    """Tiny runs that save after every epoch."""
    return RunConfig(
        facts=6,
        model=ModelSpec(str(model), "cpu", "float32"),
        memorize=MemorizeConfig(spare=0, rank=4, batch_size=4),
        generalize=GeneralizeConfig(spare=0, k=3, rank=2, least_steps=0, prompts_per_fact=2),
        evaluation=EvaluationConfig(train_prompts=1, test_prompts=2, unrelated_prompts=1),
    )


def made_of(lab: Lab, sweep_id: str) -> dict[str, Any]:
    """What each finished run of a sweep measured, by its name."""
    found = {}
    for run in lab.registry.sweep_runs(sweep_id):
        registry = lab.registry
        weights = [
            sha256_of(adapter_folder(lab.storage, run.id, c) / "adapter_model.safetensors")
            for c in ("memorized", "generalized")
            if run.status == "finished"
        ]
        found[run.name] = (
            run.status,
            registry.scores(run.id),
            [tuple(p.__dict__.values()) for p in registry.predictions(run.id, limit=-1)],
            [(m.phase, m.step, m.value) for m in registry.metrics(run.id, ["loss"])],
            registry.fact_recall(run.id, "memorize", "all"),
            weights,
        )
    return found


@dataclass
class Mischief:
    """What is done to the jobs, one thing after the other; each says when it is over.

    Args:
        engine: `slurm` or `local`.
    """

    engine: str
    done: list[str] = field(default_factory=list)
    _steps: Iterator[None] | None = None
    jobs: list[ClusterJob] = field(default_factory=list)

    def go_on(self, jobs: list[ClusterJob]) -> None:
        """Does the next thing, if it is time."""
        self.jobs = jobs
        self._steps = self._steps or self._all()
        next(self._steps, None)

    def _all(self) -> Iterator[None]:
        yield from self._kill()
        if self.engine == "slurm":
            yield from self._time_limit()
            yield from self._away(
                "node drained",
                lambda: scontrol("update", f"NodeName={node()}", "State=DRAIN", "Reason=test"),
                lambda: scontrol("update", f"NodeName={node()}", "State=RESUME"),
            )
            yield from self._away("controller restarted", end_controller, start_controller)

    def _kill(self) -> Iterator[None]:
        while not (tasks := [t for j in self._at_work(0.3) for t in tasks_of(j)]):
            yield
        tasks[0].kill()
        self.done.append("job killed")
        yield

    def _time_limit(self) -> Iterator[None]:
        """Freezes a job in the middle of its run until SLURM's warning waits for it."""
        while not (tasks := [t for j in self._at_work(0.2) for t in tasks_of(j)]):
            yield
        tasks[0].suspend()
        while is_warned(tasks[0].pid) is False:
            yield
        with contextlib.suppress(psutil.NoSuchProcess):  # SLURM has woken it itself
            tasks[0].resume()
        self.done.append("time limit")
        yield

    def _away(self, name: str, begin: Callable, end: Callable) -> Iterator[None]:
        begin()
        until = time.monotonic() + AWAY_S
        while time.monotonic() < until:
            yield
        end()
        self.done.append(name)
        yield

    def _at_work(self, share: float) -> list[ClusterJob]:
        return [j for j in self.jobs if j.state == "running" and share <= j.share < 0.8]


def tasks_of(job: ClusterJob) -> list[psutil.Process]:
    """The process that makes a job's run."""
    home = f"{job.folder}/arms/{job.run_id}"
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            mine = any("submitit.core._submit" in w for w in words) and "srun" not in words[0]
            if mine and any(f.path.startswith(home) for f in process.open_files()):
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return found


def is_warned(pid: int) -> bool | None:
    """Whether SIGUSR2 waits for a process; None where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if (
            line.startswith(("SigPnd", "ShdPnd"))
            and int(line.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1
        ):
            return True
    return False


def node() -> str:
    return socket.gethostname().split(".")[0]


def scontrol(*words: str) -> None:
    subprocess.run(["scontrol", *words], check=True)


def end_controller() -> None:
    scontrol("shutdown", "slurmctld")


def start_controller() -> None:
    subprocess.run(["slurmctld"], check=True)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=("slurm", "local"), default="slurm")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(words)
    work = Path(tempfile.mkdtemp(prefix="rotelab-cluster-"))
    try:
        report = compare(work, given.engine, given.jobs)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for name, value in report.items():
        print(f"{name:28} {value}")
    if given.json:
        print(json.dumps(report))
    return 0 if report["equal"] and report["finished"] == report["runs"] else 1


def compare(work: Path, engine: str, jobs: int) -> dict[str, Any]:
    """Makes the sweep here and on the engine."""
    import torch
    from support.tiny import make_tiny_llama

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    base = settings(make_tiny_llama(work / "tiny"))
    here, there = (Lab.open(Storage(work / name)) for name in ("here", "there"))
    began = time.monotonic()
    made = plan(here, AXES, base)
    assert run_sweep(here, made, lambda *how_far: None)
    here_s, began = time.monotonic() - began, time.monotonic()
    sweep_id = plan(there, AXES, base)
    options = ClusterOptions(
        engine, time_min=2 if engine == "slurm" else 0, cpus=1, memory_gb=2, jobs=jobs, signal_s=30
    )
    board.submit(there, sweep_id, options)
    mischief, most, shown = Mischief(engine), {}, ""
    while left := board.look(there, sweep_id):
        for job in left:
            most[job.run_id] = max(most.get(job.run_id, 0), job.attempts)
        mischief.go_on(left)
        if board.words(left) != shown:
            shown = board.words(left)
            print(f"{time.monotonic() - began:6.0f} s  {shown}  {mischief.done}", file=sys.stderr)
        if time.monotonic() - began > MOST_S:
            board.cancel(there, sweep_id)
            raise LabError(f"After {MOST_S:.0f} s there were still {shown}.")
        time.sleep(0.5)
    runs = there.registry.sweep_runs(sweep_id)
    logs = [f.read_text() for f in (work / "there" / "cluster").glob("*/jobs/*.out")]
    mine, theirs = made_of(here, made), made_of(there, sweep_id)
    return {
        "engine": engine,
        "what happened": ", ".join(mischief.done),
        "runs": len(runs),
        "finished": sum(run.status == "finished" for run in runs),
        "rows in the registry": there.registry.count_runs(archived=None),
        "left over": len(unfinished_runs(there, sweep_id)),
        "equal": mine == theirs,
        "warned of the time limit": sum(log.count("this job is timed-out") for log in logs),
        "submitted twice or more": sum(count > 1 for count in most.values()),
        "seconds here": round(here_s),
        "seconds there": round(time.monotonic() - began),
    }


if __name__ == "__main__":
    sys.exit(main())
