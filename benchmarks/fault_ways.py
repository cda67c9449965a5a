"""The faults of `faults.py`: how each is caused in the middle of a run, and undone."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec, RunConfig
from rotelab.errors import LabError
from rotelab.registry import Registry
from rotelab.runs.jobs import Jobs
from rotelab.runs.lab import Lab
from rotelab.runs.processes import processes_of, until
from rotelab.storage import Storage

RUN_WITHIN_S = 180.0
ENDING_S = 60.0
FACTS, EPOCHS = 20, 20
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
STRANGER = "import time; time.sleep(600)"
CLONE3 = 435  # the system call's number, the same on every architecture
HOURS_2 = 7200.0


class CannotDo(Exception):
    """This fault can't be caused on this machine; the text says why."""


class Fault:
    """One home folder with one run, and ways to harm it.

    Args:
        home: the home folder; empty.
        model: the folder of the tiny model.
        lock_s: how long its registry is locked, if it comes to that, in seconds.
    """

    def __init__(self, home: Path, model: Path, lock_s: float = 30.0):
        self.lock_s = lock_s
        self.storage = Storage(home)
        self.registry = Registry(self.storage)
        self.jobs = Jobs(self.registry, self.storage)
        self.config = RunConfig(
            facts=FACTS,
            model=ModelSpec(name=str(model), device="cpu"),
            memorize=MemorizeConfig(spare=0, epochs=EPOCHS, rank=8, batch_size=4),
            # All sentences in one step: phase 2 needs much more memory than phase 1 has taken.
            generalize=GeneralizeConfig(
                spare=0, least_steps=0, k=10, rank=8, epochs=3, batch_size=80
            ),
        )
        self.pack = Lab.open(self.storage).facts_for(self.config)
        self.run_id = ""

    # What every fault needs ----------------------------------------------------------------------

    def start(self) -> psutil.Process:
        """Starts the run and returns its worker, paused a few epochs into phase 1."""
        self.run_id = self.jobs.enqueue(self.config, self.pack)

        def learning() -> bool:
            run = self.registry.run(self.run_id)
            return run.phase == "memorize" and (run.epoch or 0) > 1

        if not until(learning, RUN_WITHIN_S, 0.02):
            raise SystemExit(f"faults: the run does not start: {self.registry.run(self.run_id)}")
        worker = psutil.Process(self.registry.run(self.run_id).pid)
        worker.suspend()
        return worker

    def ended(self, wait_s: float = RUN_WITHIN_S) -> str:
        """Waits for the run's end as a page does, and returns its status."""

        def over() -> bool:
            with suppress(LabError):  # a page shows it and asks again
                self.jobs.reconcile()
                return not self.registry.run(self.run_id).live
            return False

        until(over, wait_s, 0.1)
        return self.registry.run(self.run_id).status

    def to_its_end(self) -> str:
        """Resumes the run and returns how it ended."""
        until = time.monotonic() + ENDING_S
        while True:
            try:
                self.jobs.resume(self.run_id)
                return self.ended()
            except LabError as error:
                # Its process may take a moment to end; the sentence says to try again then.
                if "still ending" not in str(error) or time.monotonic() > until:
                    return str(error)
                time.sleep(0.5)

    def results(self) -> Any:
        """All losses and answers of the run, for comparison."""
        losses = {
            (m.phase, m.step): m.value
            for m in self.registry.metrics(self.run_id)
            if m.name == "loss"
        }
        found = self.registry.predictions(self.run_id, limit=-1)
        answers = [(p.checkpoint, p.probe, p.prompt, p.answer, p.probability) for p in found]
        return losses, sorted(answers)

    def edit(self, sql: str, *values: Any) -> None:
        """Changes the registry behind its back."""
        with sqlite3.connect(self.storage.database, timeout=30) as db:
            db.execute(sql, values)
        db.close()

    def end(self) -> None:
        """Ends what is left of the run."""
        for process in processes_of(self.run_id) if self.run_id else []:
            with suppress(psutil.Error):
                process.kill()
        self.jobs.reap()
        self.registry.close()


# The faults: each brings it about, waits for what the run makes of it, and mends it ---------------


def disk(fault: Fault) -> tuple[str, list[str]]:
    """A full disk."""
    worker = fault.start()
    home = fault.storage.home
    if not os.path.ismount(home):
        # State and adapters are larger than this, the log and the registry's first pages are not.
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
        worker.resume()
        return fault.ended(), []
    filler = home / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 65536) == 65536:
            pass
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while file.write(b"x"):
            pass
    worker.resume()
    status = fault.ended()
    filler.unlink()
    return status, []


def folder(fault: Fault) -> tuple[str, list[str]]:
    """The run's folder becomes read-only."""
    worker = fault.start()
    place = fault.storage.run_folder(fault.run_id)
    _read_only(place)
    worker.resume()
    status = fault.ended()
    _writable(place)
    return status, []


def home(fault: Fault) -> tuple[str, list[str]]:
    """Everything becomes read-only, the registry too: nothing can be written down until it ends."""
    if not ROOT:
        raise CannotDo("a read-only mount over the home folder needs root")
    worker = fault.start()
    _read_only(fault.storage.home)
    worker.resume()
    wrong = []
    # The worker has tried for a while and given up; a page that looks meanwhile says why.
    time.sleep(5)
    try:
        fault.registry.set_status(fault.run_id, "stopping")
        wrong.append("the registry could be written")
    except LabError as error:
        if "read-only" not in str(error):
            wrong.append(f"the page says: {error}")
    _writable(fault.storage.home)
    return fault.ended(), wrong


def lock(fault: Fault) -> tuple[str, list[str]]:
    """Another process keeps the registry locked."""
    worker = fault.start()
    other = (
        "import sqlite3, sys, time\n"
        "db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n"
        "db.execute('BEGIN EXCLUSIVE'); print('locked', flush=True)\n"
        "time.sleep(float(sys.argv[2]))"
    )
    words = [sys.executable, "-S", "-c", other, str(fault.storage.database), str(fault.lock_s)]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
    worker.resume()
    wrong = []
    if fault.registry.run(fault.run_id).status != "running":  # reading goes on meanwhile
        wrong.append("the run did not go on")
    holder.wait()
    status = fault.ended()
    return ("went on" if status == "finished" else status), wrong


def clock(fault: Fault) -> tuple[str, list[str]]:
    """The clock is set back while a worker lives; then the worker dies."""
    worker = fault.start()
    fault.edit(
        "UPDATE runs SET pid_started = pid_started + ?, started = '2999-01-01T00:00:00+00:00', "
        "claimed = '2999-01-01T00:00:00+00:00', heartbeat = '2999-01-01T00:00:00+00:00'",
        HOURS_2,
    )
    worker.resume()
    wrong = []
    for _ in range(5):
        if fault.jobs.reconcile():
            wrong.append("a run that goes on was ended")
            break
        time.sleep(0.05)
    worker.kill()
    return fault.ended(10), wrong


def pid(fault: Fault) -> tuple[str, list[str]]:
    """The worker dies and its PID goes to a stranger."""
    worker = fault.start()
    number = worker.pid
    worker.kill()
    if not until(lambda: fault.jobs.reap() or not psutil.pid_exists(number), 10):
        raise SystemExit("faults: the killed worker does not go away")
    stranger = _process_with_pid(number)
    if stranger is None:
        other = subprocess.Popen([sys.executable, "-S", "-c", STRANGER])
        fault.edit("UPDATE runs SET pid = ?", other.pid)
        stranger = other.pid
    status = fault.ended(10)
    wrong = [] if psutil.pid_exists(stranger) else ["the stranger was ended"]
    with suppress(OSError):
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)
    return status, wrong


def memory(fault: Fault) -> tuple[str, list[str]]:
    """No more memory for the worker."""
    worker = fault.start()
    size = worker.memory_info().vms
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (size, size))
    worker.resume()
    return fault.ended(), []


WORDS = {
    "disk": ("full", "Free some space"),
    "folder": ("read-only", "permissions"),
    "home": ("read-only", "permissions"),
    "lock": ("locked", "Close the program that has it open"),
    "clock": ("ended without saying why", "Resume"),
    "pid": ("ended without saying why", "Resume"),
    "memory": ("memory", "smaller model"),
}
"""What a sentence must say: what is wrong, and the remedy."""

Way = Callable[[Fault], tuple[str, list[str]]]
"""Brings a fault about in a run, waits for its end and mends the fault: the status that it ended
with, and what else was wrong."""
WAYS: dict[str, Way] = {
    "disk": disk, "folder": folder, "home": home, "lock": lock, "clock": clock, "pid": pid,
    "memory": memory,
}  # fmt: skip


# Making it so -------------------------------------------------------------------------------------


def _read_only(place: Path) -> None:
    if not ROOT:
        place.chmod(0o555)
        return
    subprocess.run(["mount", "--bind", place, place], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)


def _writable(place: Path) -> None:
    if not ROOT:
        place.chmod(0o755)
        return
    subprocess.run(["umount", "--lazy", place], check=True)


def _process_with_pid(number: int) -> int | None:
    """A sleeping process with exactly this PID; None if there is no way to get one."""
    if not (ROOT and sys.platform == "linux"):
        return None
    wanted = ctypes.c_int32(number)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    # set_tid, set_tid_size.
    words = (ctypes.c_uint64 * 10)()
    words[4], words[8], words[9] = signal.SIGCHLD, ctypes.addressof(wanted), 1
    got = ctypes.CDLL(None, use_errno=True).syscall(CLONE3, words, ctypes.sizeof(words))
    if got == 0:  # the child: nothing of Python's own may run here but this
        os.execv(sys.executable, [sys.executable, "-S", "-c", STRANGER])
    return got if got == number else None
