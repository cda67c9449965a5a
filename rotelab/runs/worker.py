"""The process of one run: `python -m rotelab.runs.worker RUN_ID`, started by `jobs`.

Whatever happens ends in a status and a sentence; then the queue moves on.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rotelab.config.names import Status
from rotelab.errors import LabError, RunStopped, UnknownRun, remedy
from rotelab.registry import Registry
from rotelab.runs.jobs import LAST_WORDS, Jobs
from rotelab.storage import Storage

NICE = 5
"""The worker yields to the page: training takes all cores, and a click must not wait for it."""

FROM_KEYBOARD = "Interrupted from the keyboard."

FAULT = (
    "Something went wrong inside rotelab ({kind}: {text}). The run's log has the details; what was "
    "saved before is kept."
)
LAST_WORDS_S = 60.0
"""How long a worker tries to write down how its run ended, in seconds: a disk may have room again,
and a database be free again, a moment later."""

BUSY_S = 120.0
"""How long a worker waits for a registry that another program keeps locked, in seconds. Nobody
looks at it meanwhile, so it has more patience than the page."""


def work(
    registry: Registry,
    storage: Storage,
    run_id: str,
    watch: Callable[[float, str], None] = lambda share, message: None,
) -> None:
    """Runs one experiment that is this process's own, and writes down how it ended.

    Args:
        registry: has the run's row, its status `running`.
        storage: where files go.
        run_id: the run.
        watch: told the share done and what is being done.
    """
    if not first_process():
        from rotelab.runs.pipeline import run_experiment

        run_experiment(registry, storage, run_id)
        return
    reserve = Reserve(storage.run_folder(run_id))
    status: Status = "finished"
    sentence = ""
    try:
        reserve.take()
        from rotelab.runs.pipeline import run_experiment

        run_experiment(registry, storage, run_id, watch)
    except RunStopped:
        status = "stopped"
    except LabError as error:
        status, sentence = "failed", str(error)
    except KeyboardInterrupt:
        status, sentence = "stopped", FROM_KEYBOARD
    except Exception as error:  # the run's row must say how it ended, whatever it was
        status, sentence = "failed", _sentence(error, storage)
    # Out here the error is gone, and with it the model that its traceback held in memory.
    reserve.give_back()
    _write_down(registry, run_id, status, sentence)


def _write_down(registry: Registry, run_id: str, status: Status, sentence: str) -> None:
    """Writes how a run ended, again and again for a while where that fails.

    Raises:
        LabError: it can't be written; the log then has the sentence (see `jobs.LAST_WORDS`).
    """
    deadline = time.monotonic() + LAST_WORDS_S
    said = False
    while True:
        try:
            registry.set_status(run_id, status, sentence)
            return
        except (UnknownRun, MemoryError):
            raise
        except LabError as error:
            if not said:
                said = True
                with suppress(OSError):  # a log on a full disk
                    print(f"{LAST_WORDS}{sentence or error}", file=sys.stderr, flush=True)
            if time.monotonic() > deadline:
                raise
        time.sleep(1.0)


def first_process() -> bool:
    """Whether this is the only, or the first, of the processes that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def agree_on(run_id: str, cpu: bool) -> str:
    """The run's id, told by the first process to all others that `accelerate launch` started.

    Args:
        run_id: the id; empty in the others.
        cpu: whether they train on the CPU.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return run_id
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=cpu)
    return broadcast_object_list([run_id])[0]


def yield_to_the_page() -> None:
    """Lets the page, and what a person does on it, go before this process."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    # Where Linux shares the processor among sessions first, a worker, which has a session of its
    # own, has as large a share as everybody else together: the session must be as polite.
    with suppress(OSError):  # there is no such thing elsewhere
        Path("/proc/self/autogroup").write_text(str(NICE))


def main(run_id: str) -> int:
    """Does the work of one run in this process; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    yield_to_the_page()
    storage = Storage.from_environment()
    try:
        registry = Registry(storage, BUSY_S)
    except LabError as error:
        print(f"{LAST_WORDS}{error}", file=sys.stderr, flush=True)
        return 2
    jobs = Jobs(registry, storage)
    try:
        jobs.attach(run_id)
        print(f"run {run_id} started", flush=True)
        work(registry, storage, run_id)
        run = registry.run(run_id)
        print(f"run {run_id} {run.status} {run.error}", flush=True)
    except LabError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    finally:
        try:
            jobs.start_next()
        except LabError as error:
            print(error, file=sys.stderr, flush=True)  # whoever looks next starts what waits
    return 0 if run.status in ("finished", "stopped") else 1


def _sentence(error: Exception, storage: Storage) -> str:
    with suppress(MemoryError, OSError):  # no memory, or no room in the log, for the details
        traceback.print_exc()
    text = " ".join(str(error).split())[:300]
    return remedy(error, storage.home) or FAULT.format(kind=type(error).__name__, text=text)


RESERVE = 512 * 1024
"""Bytes. Enough for a few transactions of the registry and the end of a log."""


class Reserve:
    """A file in the run's folder that takes room away from nobody but the run itself.

    Args:
        folder: the run's folder; it is made when it is missing.
    """

    def __init__(self, folder: Path):
        self._path = folder / "reserve.tmp"

    def take(self) -> None:
        """Sets the room aside.

        Raises:
            OSError: there is none, or the folder can't be written: better known now than later.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Random, so that no file system that compresses makes nothing of it.
        self._path.write_bytes(os.urandom(RESERVE))

    def give_back(self) -> None:
        """Makes the room free again."""
        # What can't be removed (a folder gone read-only) does no harm.
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
