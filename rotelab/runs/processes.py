"""Worker processes, of runs and of experiments alike: started, identified, stopped.

A worker has its work's id in its environment. That name, not a PID alone, tells its processes from
others, however long ago they were started and whatever the clock said then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import psutil

from rotelab.errors import LabError, remedy
from rotelab.models import cores
from rotelab.models.cores import SAME_START_S
from rotelab.registry import ExperimentRow, RunRow

RUN_VARIABLE = "ROTELAB_RUN"
"""The environment variable that holds the id of the run or experiment a process works on."""

STOP_WAIT_S = 20.0
"""How long a worker may take to end when it is asked to, before it is terminated, in seconds."""

TERM_WAIT_S = 5.0
"""How long a process may take to end after SIGTERM, and after SIGKILL, in seconds."""

NICE = 5
"""A worker yields to the page: training takes all cores, and a click must not wait for it."""

GONE = "The process ended without saying why; see its log."

FAULT = (
    "Something went wrong inside rotelab ({kind}: {text}). The log has the details; what was saved "
    "before is kept."
)


class HasProcess(Protocol):
    """A row of the registry that names the process at work on it."""

    id: str
    pid: int | None
    pid_started: float | None


# A worker's own side -----------------------------------------------------------------------------


def worker_main(kind: str, work: Callable[[], RunRow | ExperimentRow]) -> int:
    """The frame of a worker process.

    Args:
        kind: `run` or `experiment`, for the log's last line.
        work: does the work and returns its row.

    Returns:
        The exit status: 0 where the work finished or was stopped, 1 where it ended otherwise, 2
        where it could not be done at all (a `LabError`, which is printed).
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    lower_priority()
    try:
        row = work()
    except LabError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    print(f"{kind} {row.id} {row.status} {row.error}", flush=True)
    return 0 if row.status in ("finished", "stopped") else 1


def lower_priority() -> None:
    """Lets the page, and what a person does on it, go before this process."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    else:  # Windows
        with contextlib.suppress(psutil.Error):
            psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    # Where Linux shares the processor among sessions first, a worker, which has a session of its
    # own, gets as large a share as everybody else together: the session must be as polite.
    with contextlib.suppress(OSError):  # only Linux has it
        Path("/proc/self/autogroup").write_text(str(NICE))


def fault_sentence(error: Exception, home: Path) -> str:
    """An unexpected error in a sentence for the user; its traceback goes to the log."""
    with contextlib.suppress(MemoryError, OSError):  # no memory, or no space in the log
        traceback.print_exc()
    text = " ".join(str(error).split())[:300]
    return remedy(error, home) or FAULT.format(kind=type(error).__name__, text=text)


# Starting and stopping ---------------------------------------------------------------------------


def spawn(
    command: Sequence[str], name: str, home: Path, log: Path
) -> tuple[subprocess.Popen, float]:
    """Starts a worker process out of reach of the terminal: Ctrl-C on the page spares it.

    Args:
        command: the command line, which ends with the id.
        name: the id of the run or experiment, by which the process is known afterwards.
        home: the lab's home folder, also the process's working folder.
        log: the file that takes what it prints; it is appended to.

    Returns:
        The process and its start time as psutil gives it.

    Raises:
        LabError: no process can be started.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=environment(name, home) | _waiting(),
                **start_options(sys.platform == "win32"),
            )
        return child, psutil.Process(child.pid).create_time()
    except (OSError, psutil.Error) as error:
        raise LabError(
            f"No process could be started ({getattr(error, 'strerror', None) or error}). Free some "
            "disk space and memory, check the permissions of the home folder, then try again."
        ) from error


def end_tree(
    name: str,
    process: psutil.Process | None,
    wait_s: float = TERM_WAIT_S,
    reap: Callable[[], None] = lambda: None,
) -> None:
    """Ends a worker and all its processes: asks first, then kills; checks that they are gone.

    Asking is SIGTERM. Windows has no signals: there the first attempt ends them already.

    Args:
        name: the id of its run or experiment.
        process: the worker itself, where it still exists.
        wait_s: how long to wait after each of the two attempts, in seconds.
        reap: collects children of this process that have ended.

    Raises:
        LabError: a process does not end.
    """
    known = [] if process is None else [process]

    def gone() -> bool:
        reap()
        known[:] = tree(name, known)  # an orphan is still in what was known before
        return not known

    for kill in (False, True):
        if gone():
            return
        end_all(known, kill)
        if until(gone, wait_s):
            return
    pids = ", ".join(str(p.pid) for p in known)
    raise LabError(
        f"{name} can't be ended: process {pids} does not go away. End it by hand, or restart the "
        "machine."
    )


def _waiting() -> dict[str, str]:
    runs, _ = cores.at_work(cores.folder(), cores.own_cores())
    return cores.waiting(cores.busy_share(), runs, os.environ)


def start_options(windows: bool) -> dict[str, bool | int]:
    """What `subprocess.Popen` takes so that a worker outlives its terminal and gets no Ctrl-C.

    A session of its own; Windows has none, but process groups, and a hidden console.
    """
    if not windows:
        return {"start_new_session": True}
    # By their numbers, because the names exist on Windows alone.
    new_group, no_window = 0x00000200, 0x08000000
    return {"creationflags": new_group | no_window}


def was_killed(exit_status: int | None) -> bool:
    """Whether a process ended by SIGKILL, as one does that uses too much memory; on Windows nothing
    tells."""
    return exit_status == -9


def environment(name: str, home: Path) -> dict[str, str]:
    """The environment of a worker: this process's, with the id it works on and the lab's home."""
    path = [os.environ.get("PYTHONPATH", "")]
    root = str(Path(__file__).resolve().parents[2])
    if root != sysconfig.get_paths()["purelib"]:
        # A lab that runs from its project's folder is not installed, and its workers start at home.
        path.insert(0, root)
    return {
        **os.environ,
        "ROTELAB_HOME": str(home),
        RUN_VARIABLE: name,
        "PYTHONPATH": os.pathsep.join(part for part in path if part),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",  # Windows would write the log in an encoding without “ ” and Chinese
    }


# Finding processes -------------------------------------------------------------------------------


def me() -> tuple[int, float]:
    """This process: PID and start time."""
    return os.getpid(), psutil.Process().create_time()


def process_of(row: HasProcess) -> psutil.Process | None:
    """The worker's process; None where it is gone, a zombie, or its PID belongs to another now."""
    if row.pid is None:
        return None
    try:
        process = psutil.Process(row.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # Setting the clock moves start times; the name in the environment stays.
        if abs(process.create_time() - (row.pid_started or 0.0)) <= SAME_START_S:
            return process
        return process if _named_by(process) == row.id else None
    except psutil.Error:
        return None


def _named_by(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(RUN_VARIABLE)
    except (psutil.Error, OSError):
        return None


def processes_of(name: str) -> list[psutil.Process]:
    """All processes with this id in their environment, except zombies and this process."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _named_by(process) == name and _is_there(process)
    ]


def tree(name: str, known: list[psutil.Process]) -> list[psutil.Process]:
    """The known processes that still exist, all their descendants, and all others with this id in
    their environment; never those of another id, and never this process.
    """
    found = {p.pid: p for p in processes_of(name)}
    for process in known:
        family = [process]
        with contextlib.suppress(psutil.Error):
            family += process.children(recursive=True)
        # A worker that ends starts the next run: that one is its child, but not its own.
        found |= {p.pid: p for p in family if _named_by(p) in (None, name)}
    found.pop(os.getpid(), None)
    return [p for p in found.values() if _is_there(p)]


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end_all(processes: list[psutil.Process], kill: bool) -> None:
    """Asks each process that still exists to end, or kills it."""
    for process in processes:
        # The caller checks whether all are gone.
        with contextlib.suppress(psutil.Error):
            process.kill() if kill else process.terminate()


def interrupt(process: psutil.Process, windows: bool) -> bool:
    """Sends Ctrl-C (SIGINT) to a process; returns False on Windows, where only a process of the
    same console could do that."""
    if windows:
        return False
    with contextlib.suppress(psutil.Error):  # it has ended
        process.send_signal(signal.SIGINT)
    return True


def until(done: Callable[[], bool], wait_s: float, every_s: float = 0.05) -> bool:
    """Waits until `done()`, for `wait_s` seconds at most; returns whether it is done."""
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
