"""The process of one run: `python -m rotelab.runs.worker RUN_ID`, started by `jobs`.

However the run ends, its row gets a status and a sentence; then the queue moves on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rotelab.config.names import Status
from rotelab.errors import LabError, RunStopped, UnknownRun
from rotelab.registry import Registry, RunRow
from rotelab.runs.jobs import LAST_WORDS, Jobs
from rotelab.runs.processes import fault_sentence, worker_main
from rotelab.storage import Storage

FROM_KEYBOARD = "Interrupted from the keyboard."

LAST_WORDS_S = 60.0
"""How long a worker tries to write down how its run ended, in seconds: a full disk or a locked
database may be free again a moment later."""

BUSY_S = 120.0
"""How long a worker waits for a registry that another program keeps locked, in seconds: longer than
the page, because nobody waits for the worker."""


def work(
    registry: Registry,
    storage: Storage,
    run_id: str,
    watch: Callable[[float, str], None] = lambda share, message: None,
) -> None:
    """Carries out a run that this process has claimed, and writes down how it ended.

    Args:
        registry: has the run's row, its status `running`.
        storage: where files go.
        run_id: the run.
        watch: told the share done and what is being done.
    """
    if not first_process():
        from rotelab.runs.pipeline import run_pipeline

        run_pipeline(registry, storage, run_id)
        return
    reserve = Reserve(storage.run_folder(run_id))
    status: Status = "finished"
    sentence = ""
    try:
        reserve.take()
        from rotelab.runs.pipeline import run_pipeline

        run_pipeline(registry, storage, run_id, watch)
    except RunStopped:
        status = "stopped"
    except LabError as error:
        status, sentence = "failed", str(error)
    except KeyboardInterrupt:
        status, sentence = "stopped", FROM_KEYBOARD
    except Exception as error:  # whatever it was, the run's row must say how it ended
        status, sentence = "failed", fault_sentence(error, storage.home)
    # Out here the error is gone, and with it the model that its traceback kept in memory.
    reserve.give_back()
    _write_down(registry, run_id, status, sentence)


def _write_down(registry: Registry, run_id: str, status: Status, sentence: str) -> None:
    """Writes how a run ended; where that fails, tries again for `LAST_WORDS_S` seconds.

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
    """Sends the run's id from the first process to all others that `accelerate launch` started.

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


def main(run_id: str) -> int:
    """Does the work of one run in this process; returns the exit status."""
    return worker_main("run", lambda: _carry_out(run_id))


def _carry_out(run_id: str) -> RunRow:
    storage = Storage.from_environment()
    try:
        registry = Registry(storage, BUSY_S)
    except LabError as error:
        raise LabError(f"{LAST_WORDS}{error}") from error
    jobs = Jobs(registry, storage)
    try:
        jobs.attach(run_id)
        print(f"run {run_id} started", flush=True)
        work(registry, storage, run_id)
        return registry.run(run_id)
    finally:
        try:
            jobs.start_next()
        except LabError as error:
            print(error, file=sys.stderr, flush=True)  # the page starts what waits


RESERVE = 512 * 1024
"""Bytes: enough for a few transactions of the registry and the end of a log."""


class Reserve:
    """Disk space set aside in the run's folder, so that a full disk still leaves room for its end.

    Args:
        folder: the run's folder; made when it is missing.
    """

    def __init__(self, folder: Path):
        self._path = folder / "reserve.tmp"

    def take(self) -> None:
        """Sets the space aside.

        Raises:
            OSError: there is none, or the folder can't be written: better known now than later.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Random, so that a file system that compresses can't shrink it.
        self._path.write_bytes(os.urandom(RESERVE))

    def give_back(self) -> None:
        """Frees the space."""
        # A file that can't be removed (a folder gone read-only) does no harm.
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
