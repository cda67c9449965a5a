"""What makes a sweep's runs elsewhere: SLURM, or processes of this machine, both through submitit.

`Engine` is all that the rest of the package knows; another one needs a class and a line in
`engine_of`.
"""

from __future__ import annotations

import getpass
import logging
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

from rotelab.errors import LabError
from rotelab.runs.cluster.arm import ArmJob
from rotelab.runs.cluster.options import UNLIMITED_MIN, ClusterOptions

log = logging.getLogger(__name__)

MOST_TIMEOUTS = 1000
"""How often a job may reach its time limit: each time it goes on, so that it ends at last."""

ASK_S = 60.0
"""How long SLURM may take to answer, in seconds."""


class Engine(Protocol):
    """Submits jobs and knows of them."""

    def submit(self, arms: Sequence[ArmJob], options: ClusterOptions, name: str) -> list[str]:
        """Submits a job for each arm.

        Returns:
            Their ids, in order.

        Raises:
            LabError: they can't be submitted.
        """
        ...

    def states(self, job_ids: Sequence[str]) -> dict[str, str] | None:
        """`waiting` or `running` for each job that has not ended; None where nothing answers."""
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Ends jobs; those that have ended stay as they are.

        Raises:
            LabError: they can't be ended.
        """
        ...

    def log(self, job_id: str) -> Path:
        """The file that takes what a job prints."""
        ...


def engine_of(name: str, folder: str) -> Engine:
    """An engine by its name.

    Args:
        name: one of `options.ENGINES`.
        folder: what the sweep's jobs share.

    Raises:
        LabError: what it needs is not installed.
    """
    return {"slurm": SlurmEngine, "local": LocalEngine}[name](Path(folder) / "jobs")


class _Submitit:
    """What both engines have in common.

    Args:
        folder: takes submitit's own files, and the logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def log(self, job_id: str) -> Path:
        return self.folder / f"{job_id}_0_log.out"

    def _submitted(self, executor: Any, arms: Sequence[ArmJob]) -> list[str]:
        try:
            if len(arms) == 1:  # outside `batch`, which makes an array of one
                return [executor.submit(arms[0]).job_id]
            with executor.batch():
                jobs = [executor.submit(arm) for arm in arms]
        except Exception as error:  # submitit's own, of subprocess, of the file system
            text = " ".join(str(error).split())[-400:]
            raise LabError(f"The jobs can't be submitted: {text}") from error
        return [job.job_id for job in jobs]


class SlurmEngine(_Submitit):
    """SLURM, by `sbatch`, `squeue` and `scancel`: job arrays, one task a run.

    submitit itself asks `sacct`, which answers only where accounting is set up; `squeue` always
    does, and what it no longer lists has ended.
    """

    def __init__(self, folder: Path):
        super().__init__(folder)
        missing = [tool for tool in ("sbatch", "srun", "squeue") if shutil.which(tool) is None]
        if missing:
            raise LabError(
                f"There is no SLURM here: {', '.join(missing)} not found. Run this on a login node "
                "of the cluster, or use --on local."
            )

    def submit(self, arms: Sequence[ArmJob], options: ClusterOptions, name: str) -> list[str]:
        import submitit

        executor = submitit.SlurmExecutor(str(self.folder), max_num_timeout=MOST_TIMEOUTS)
        executor.update_parameters(**slurm_parameters(options, name))
        return self._submitted(executor, arms)

    def states(self, job_ids: Sequence[str]) -> dict[str, str] | None:
        command = ["squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%i|%T"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("squeue does not answer: %s", error)
            return None
        if said.returncode:  # the controller restarts, say
            log.warning("squeue: %s", said.stderr.strip())
            return None
        rows = dict(line.strip().split("|") for line in said.stdout.splitlines() if "|" in line)
        running = ("RUNNING", "COMPLETING", "STOPPED", "SUSPENDED")
        return {i: "running" if rows[i] in running else "waiting" for i in job_ids if i in rows}

    def cancel(self, job_ids: Sequence[str]) -> None:
        try:
            said = subprocess.run(
                ["scancel", "-Q", *job_ids], capture_output=True, text=True, timeout=ASK_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"scancel does not answer ({error}). Try again.") from error
        if said.returncode and "Invalid job id" not in said.stderr:
            raise LabError(f"The jobs can't be cancelled: {said.stderr.strip()}")


class LocalEngine(_Submitit):
    """Processes of this machine, started as if it were a cluster."""

    def submit(self, arms: Sequence[ArmJob], options: ClusterOptions, name: str) -> list[str]:
        import submitit

        executor = submitit.LocalExecutor(str(self.folder), max_num_timeout=MOST_TIMEOUTS)
        executor.update_parameters(
            timeout_min=options.time_min or UNLIMITED_MIN,
            gpus_per_node=options.gpus,
            signal_delay_s=options.signal_s,
            stderr_to_stdout=True,
            **({"setup": list(options.setup)} if options.setup else {}),
        )
        return self._submitted(executor, arms)

    def states(self, job_ids: Sequence[str]) -> dict[str, str] | None:
        return {i: "running" for i in job_ids if _controller(i, self.folder)}

    def cancel(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            if process := _controller(job_id, self.folder):
                process.send_signal(signal.SIGINT)  # the controller then ends its task


def _controller(job_id: str, folder: Path) -> psutil.Process | None:
    """submitit's process that looks after a local job; None where it has ended."""
    try:
        process = psutil.Process(int(job_id))
        known = str(folder) in process.cmdline()  # PIDs are used again
        return process if known and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, ValueError):
        return None


def slurm_parameters(options: ClusterOptions, name: str) -> dict[str, Any]:
    """What submitit's SLURM executor is given.

    Args:
        options: what each run asks for.
        name: what the jobs are called.
    """
    asked: Mapping[str, Any] = {
        "partition": options.partition,
        "account": options.account,
        "time": options.time_min,
        "gpus_per_node": options.gpus,
        "cpus_per_task": options.cpus,
        "mem": options.memory_gb and f"{round(options.memory_gb * 1024)}MB",
        "array_parallelism": options.jobs,
        "setup": list(options.setup),
        # Since SLURM 22.05 a step does not inherit the cores that its job asked for.
        "srun_args": options.cpus and [f"--cpus-per-task={options.cpus}"],
        "additional_parameters": dict(pair.split("=", 1) for pair in options.extra),
    }
    given = {key: value for key, value in asked.items() if value}
    if not options.time_min:  # submitit would ask for five minutes
        given["time"] = UNLIMITED_MIN
    always = {"job_name": name, "signal_delay_s": options.signal_s, "stderr_to_stdout": True}
    return {**given, **always}
