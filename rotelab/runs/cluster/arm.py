"""One run as a job of its own, with a home folder of its own, wherever the cluster starts it.

SQLite can't be written from several machines at once, and on the file systems of clusters not even
from two processes. So each job has its own small registry, and the lab takes the rows and files in
when the job has ended (`returning.py`). Meanwhile the job says in a file how far it is.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from rotelab.config.names import LIVE
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.facts.packs import Pack
from rotelab.registry import Registry
from rotelab.storage import Storage

SAY_EVERY_S = 2.0
"""How often a job says how far it is, in seconds."""

FORMER_JOB_S = 120.0
"""How long a job waits for a former one of the same run to end, in seconds: a cancelled job may
take half a minute."""


@dataclass(frozen=True)
class ArmFiles:
    """The files of one run's jobs.

    Args:
        folder: what all jobs of a sweep share.
        run_id: the run.
    """

    folder: str
    run_id: str

    @property
    def home(self) -> Path:
        """The job's own home folder."""
        return Path(self.folder) / "arms" / self.run_id

    @property
    def _report(self) -> Path:
        return Path(self.folder) / "arms" / f"{self.run_id}.json"

    def say(self, status: str, share: float, message: str, error: str = "") -> None:
        """Says how far the job is.

        Raises:
            OSError: the folder can't be written.
        """
        said = {"status": status, "share": share, "message": message, "error": error}
        said |= {"node": socket.gethostname(), "at": time.time()}
        self._report.parent.mkdir(parents=True, exist_ok=True)
        part = self._report.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(said), encoding="utf-8")
        part.replace(self._report)

    def said(self) -> dict[str, Any] | None:
        """What the job last said: `status`, `share`, `message`, `error`, `node`, `at`; None where
        it has said nothing yet."""
        try:
            return json.loads(self._report.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there yet, or cut off by a full disk
            return None

    def forget(self) -> None:
        """Removes what the former job said, so that it is not taken for the next one's."""
        self._report.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the job's files."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.forget()


@dataclass(frozen=True)
class ArmJob:
    """Makes one run; submitit pickles it here and calls it there.

    Called again after a time limit, or on another node, it goes on where it last saved.

    Args:
        run_id: the run's id in the lab, and in the job's own registry.
        config: its settings.
        pack: its facts and prompts.
        name: its name.
        folder: what all jobs of the sweep share.
        variables: environment variables that the job needs.
    """

    run_id: str
    config: RunConfig
    pack: Pack
    name: str
    folder: str
    variables: dict[str, str] = field(default_factory=dict)

    def __call__(self) -> str:
        """Makes the run, and returns how it ended.

        Raises:
            LabError: another job works on this run, or its registry can't be used.
        """
        files = ArmFiles(self.folder, self.run_id)
        files.home.mkdir(parents=True, exist_ok=True)
        os.environ.update(self.variables, ROTELAB_HOME=str(files.home))
        lock = filelock.FileLock(files.home / "job.lock")
        try:
            with lock.acquire(timeout=FORMER_JOB_S):
                return self._make(files)
        except filelock.Timeout:
            raise LabError(f"Another job works on run {self.run_id}; this one ends.") from None

    def checkpoint(self) -> Any:
        """What submitit submits again when the time limit is near: the same, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _make(self, files: ArmFiles) -> str:
        from rotelab.runs.jobs import Jobs
        from rotelab.runs.worker import BUSY_S, work

        storage = Storage(files.home)
        registry = Registry(storage, BUSY_S)
        registry.plant_run(self.run_id, self.config, self.pack, self.name)
        self._end_former(registry)
        if registry.run(self.run_id).status != "finished":
            files.say("running", 0.0, "starting")
            try:
                Jobs(registry, storage).claim_foreground(self.run_id)
            except LabError as error:
                files.say("failed", 0.0, "", str(error))
                raise
            work(registry, storage, self.run_id, _Saying(files))
        run = registry.run(self.run_id)
        print(f"run {run.id} {run.status} {run.error}".rstrip(), flush=True)
        files.say(run.status, run.share, run.message, run.error)  # last: the lab takes it in now
        return run.status

    def _end_former(self, registry: Registry) -> None:
        """Ends a former job's hold of the run: the lock says that it is gone. Its process may have
        been on another machine, where nobody here could look for it."""
        run = registry.run(self.run_id)
        if run.status in LIVE:
            registry.end_dead(run.id, run.pid, "interrupted", "The job ended early.")


class _Saying:
    """Tells a job's files how far its run is, every `SAY_EVERY_S` seconds."""

    def __init__(self, files: ArmFiles):
        self._files, self._said = files, 0.0

    def __call__(self, share: float, message: str) -> None:
        if time.monotonic() - self._said >= SAY_EVERY_S:
            self._files.say("running", share, message)
            self._said = time.monotonic()
