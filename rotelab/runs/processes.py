"""A run's processes as the operating system sees them: found, told apart from others, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sysconfig
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil

from rotelab.registry import LiveRun, RunSummary

RUN_VARIABLE = "ROTELAB_RUN"
"""The environment variable by which a run's processes are known, whatever PID or clock say."""

SAME_START_S = 1.5
"""How far apart two readings of one process's start time may be, in seconds."""


def environment(run_id: str, home: Path) -> dict[str, str]:
    """The environment of a run's worker: this one's, with the run's name and the lab's home."""
    path = [os.environ.get("PYTHONPATH", "")]
    root = str(Path(__file__).resolve().parents[2])
    if root != sysconfig.get_paths()["purelib"]:
        # A lab that runs from its project's folder is not installed, and its workers start at home.
        path.insert(0, root)
    return {
        **os.environ,
        "ROTELAB_HOME": str(home),
        RUN_VARIABLE: run_id,
        "PYTHONPATH": os.pathsep.join(part for part in path if part),
        "PYTHONUNBUFFERED": "1",
    }


def me() -> tuple[int, float]:
    """This process: PID and start time."""
    return os.getpid(), psutil.Process().create_time()


def process_of(run: RunSummary | LiveRun) -> psutil.Process | None:
    """The run's process; None where it is gone, a zombie, or its PID belongs to another by now."""
    if run.pid is None:
        return None
    try:
        process = psutil.Process(run.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # Setting the clock moves start times; the name a process was born with stays.
        if abs(process.create_time() - (run.pid_started or 0.0)) <= SAME_START_S:
            return process
        return process if _run_named_by(process) == run.id else None
    except psutil.Error:
        return None


def _run_named_by(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(RUN_VARIABLE)
    except (psutil.Error, OSError):
        return None


def processes_of(run_id: str) -> list[psutil.Process]:
    """All processes born with the run's name in their environment but this one and zombies."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _run_named_by(process) == run_id and _is_there(process)
    ]


def tree(run_id: str, known: list[psutil.Process]) -> list[psutil.Process]:
    """Those of the known processes that still exist, their children however deep, and all others
    that bear the run's name; never another run's, and never this process.
    """
    found = {p.pid: p for p in processes_of(run_id)}
    for process in known:
        family = [process]
        with contextlib.suppress(psutil.Error):
            family += process.children(recursive=True)
        # A worker that ends starts the next run: that one is its child, but not its own.
        found |= {p.pid: p for p in family if _run_named_by(p) in (None, run_id)}
    found.pop(os.getpid(), None)
    return [p for p in found.values() if _is_there(p)]


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def send_all(processes: list[psutil.Process], signum: signal.Signals) -> None:
    """Sends a signal to each process that still exists."""
    for process in processes:
        # Gone already is well; whether all are gone is checked by the caller.
        with contextlib.suppress(psutil.Error):
            process.send_signal(signum)


def until(done: Callable[[], bool], wait_s: float, every_s: float = 0.05) -> bool:
    """Waits until `done()`; says whether it came to that in `wait_s` seconds."""
    deadline = time.monotonic() + wait_s
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True


def age_s(then: str | None) -> float:
    """Seconds from then to now, either way: a clock set back must not keep a dead run alive."""
    if then is None:
        return float("inf")
    return abs((datetime.now(UTC) - datetime.fromisoformat(then)).total_seconds())


def tail(path: Path, size: int = 2000) -> str:
    """The last `size` bytes of a text file; empty if it can't be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
