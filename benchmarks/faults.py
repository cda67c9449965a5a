"""Does to short runs what machines do to long ones, and looks what each run ends with.

    python benchmarks/faults.py [--only disk,memory] [--lock-s 30] [--json]

Real workers on a tiny random Llama; each fault is brought about in the middle of training.

| fault | how it is done |
| --- | --- |
| disk | the home is a tmpfs of 24 MB (root), filled to its last byte; else a file-size limit |
| folder | the run's folder becomes read-only: a read-only mount (root), else its permissions |
| home | the whole home folder becomes read-only, registry and all (root only) |
| lock | another process holds `runs.db` with `BEGIN EXCLUSIVE` for 30 s |
| clock | as if it had been set back: the times in the worker's row are moved far ahead |
| pid | the worker is killed and a stranger gets its PID (root, Linux); else the row is edited |
| memory | the worker's address space is limited to what it has already (`RLIMIT_AS`) |

A fault has passed when the run ended with a status and a sentence that names the remedy, or went on
and said so, and then, the fault gone, was resumed to the losses and answers of an unbroken run.
`--json` ends with one object, with `n` and `passed` among its keys; a fault that can't be done here
is listed under `skipped`. The exit status is 1 where one failed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

import psutil

from rotelab.config import GeneralizeConfig, MemorizeConfig, ModelSpec, RunConfig
from rotelab.errors import LabError
from rotelab.jobs import Jobs
from rotelab.jobs_processes import processes_of, until
from rotelab.lab import Lab
from rotelab.registry import Registry
from rotelab.settings import Settings

RUN_WITHIN_S = 180.0
FACTS, EPOCHS = 20, 20
HOME_MB = 24
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
STRANGER = "import time; time.sleep(600)"
CLONE3 = 435  # the system call's number, the same on every architecture
HOURS_2 = 7200.0


class CannotDo(Exception):
    """This fault can't be brought about on this machine; says why."""


@dataclass
class Outcome:
    """What became of one run.

    Args:
        fault: its name.
        status: what the run ended with, or `went on`.
        sentence: what its row says of it.
        resumed: `finished`, or what it came to instead; `not needed` where it went on.
        wrong: what was not as it should be; empty when it passed.
    """

    fault: str
    status: str
    sentence: str
    resumed: str
    wrong: list[str]


class Fault:
    """One home folder with one run, and ways to do it harm.

    Args:
        home: the home folder; empty.
        model: the folder of the tiny model.
    """

    def __init__(self, home: Path, model: Path):
        self.settings = Settings(home)
        self.registry = Registry(self.settings)
        self.jobs = Jobs(self.registry, self.settings)
        self.config = RunConfig(
            facts=FACTS,
            model=ModelSpec(name=str(model), device="cpu"),
            memorize=MemorizeConfig(epochs=EPOCHS, rank=8, batch_size=4),
            generalize=GeneralizeConfig(k=10, rank=8, epochs=2),
        )
        self.pack = Lab.open(self.settings).facts_for(self.config)
        self.run_id = ""

    # What every fault needs ----------------------------------------------------------------------

    def start(self) -> psutil.Process:
        """Starts the run; gives its worker, held still, once it is some rounds into phase 1."""
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
        """Waits for the run's end as a page does; its status then."""

        def over() -> bool:
            with suppress(LabError):  # a page shows it and asks again
                self.jobs.reconcile()
                return not self.registry.run(self.run_id).live
            return False

        until(over, wait_s, 0.1)
        return self.registry.run(self.run_id).status

    def to_its_end(self) -> str:
        """Resumes the run; what it came to."""
        try:
            self.jobs.resume(self.run_id)
        except LabError as error:
            return str(error)
        return self.ended()

    def results(self) -> Any:
        """All losses and all answers of the run, to be compared."""
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
        with sqlite3.connect(self.settings.database, timeout=30) as db:
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
    home = fault.settings.home
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
    place = fault.settings.run_folder(fault.run_id)
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
    _read_only(fault.settings.home)
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
    _writable(fault.settings.home)
    return fault.ended(), wrong


def lock(fault: Fault, seconds: float) -> tuple[str, list[str]]:
    """Another process keeps the registry locked."""
    worker = fault.start()
    other = (
        "import sqlite3, sys, time\n"
        "db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n"
        "db.execute('BEGIN EXCLUSIVE'); print('locked', flush=True)\n"
        "time.sleep(float(sys.argv[2]))"
    )
    words = [sys.executable, "-S", "-c", other, str(fault.settings.database), str(seconds)]
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
    # What C's allocator has kept back would carry so small a model through: it is to keep nothing.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "16384"
    try:
        worker = fault.start()
    finally:
        del os.environ["MALLOC_MMAP_THRESHOLD_"]
    size = worker.memory_info().vms
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (size, size))
    worker.resume()
    return fault.ended(), []


WORDS = {
    "disk": ("full", "Free some space"),
    "folder": ("read-only", "permissions"),
    "home": ("read-only", "permissions"),
    "lock": ("locked", "Close what holds it open"),
    "clock": ("ended without saying why", "Resume"),
    "pid": ("ended without saying why", "Resume"),
    "memory": ("memory", "smaller model"),
}
"""What a sentence must say: what is wrong, and the remedy."""


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
    """A sleeping process that has this very PID; None where that can't be had."""
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


def examine(
    name: str, fault: Fault, do: Callable[[Fault], tuple[str, list[str]]], unbroken: Any
) -> Outcome:
    """One fault from its beginning to the resumed run's end."""
    status, wrong = do(fault)
    run = fault.registry.run(fault.run_id)
    sentence = run.error or " ".join(run.warnings)
    if status not in ("failed", "interrupted", "went on"):
        wrong.append(f"it ended as {status}")
    if not all(words in sentence for words in WORDS[name]):
        wrong.append("the sentence does not name the remedy")
    resumed = "not needed" if status == "went on" else fault.to_its_end()
    if resumed not in ("finished", "not needed"):
        wrong.append(f"resumed, it is {resumed}: {fault.registry.run(fault.run_id).error}")
    elif fault.results() != unbroken:
        wrong.append("its numbers are not those of an unbroken run")
    return Outcome(name, status, sentence, resumed, wrong)


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Does it all, prints, and returns what `--json` prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default=",".join(WORDS), help="faults, with commas in between")
    parser.add_argument(
        "--lock-s", type=float, default=30.0, help="how long the registry is locked"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    from tiny import make_tiny_llama

    ways: dict[str, Callable[[Fault], tuple[str, list[str]]]] = {
        "disk": disk, "folder": folder, "home": home, "clock": clock, "pid": pid,
        "lock": lambda fault: lock(fault, options.lock_s), "memory": memory,
    }  # fmt: skip
    names = [name.strip() for name in options.only.split(",")]
    if set(names) - set(WORDS):
        parser.error(f"--only: choose from {', '.join(WORDS)}")
    started = time.monotonic()
    found: list[Outcome] = []
    skipped: dict[str, str] = {}
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers have it from here: equal numbers
    with tempfile.TemporaryDirectory() as place:
        model = make_tiny_llama(Path(place) / "model")
        calm = Fault(Path(place) / "calm", model)
        calm.run_id = calm.jobs.enqueue(calm.config, calm.pack)
        if calm.ended() != "finished":
            raise SystemExit(f"faults: a run that nothing happens to {calm.registry.runs()}")
        unbroken = calm.results()
        calm.end()
        for name in names:
            own = Path(place) / name
            own.mkdir()
            mounted = name == "disk" and ROOT
            if mounted:
                size = f"size={HOME_MB}m"
                subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", own], check=True)
            fault = Fault(own, model)
            try:
                found.append(examine(name, fault, ways[name], unbroken))
                print(f"{name}: {found[-1]}", file=sys.stderr)
            except CannotDo as error:
                skipped[name] = str(error)
            finally:
                fault.end()
                if mounted:
                    subprocess.run(["umount", "--lazy", own], check=True)
    passed = sum(not outcome.wrong for outcome in found)
    report = {
        "n": len(found),
        "passed": passed,
        "faults": [asdict(outcome) | {"passed": not outcome.wrong} for outcome in found],
        "skipped": skipped,
        "seconds": round(time.monotonic() - started, 1),
    }
    _print_table(found, skipped)
    if options.json:
        print(json.dumps(report))
    return report


def _print_table(found: list[Outcome], skipped: dict[str, str]) -> None:
    print("| fault | status | sentence | resumed | passed |\n| --- | --- | --- | --- | --- |")
    for o in found:
        verdict = "; ".join(o.wrong) or "yes"
        print(f"| {o.fault} | {o.status} | {o.sentence} | {o.resumed} | {verdict} |")
    for name, why in skipped.items():
        print(f"| {name} | | {why} | | skipped |")


if __name__ == "__main__":
    report = main()
    raise SystemExit(0 if report["passed"] == report["n"] else 1)
