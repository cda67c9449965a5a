"""Where the lab keeps its things: one home folder with the database and a folder for each run."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from rotelab.errors import LabError

RUN_ID = re.compile(r"[0-9a-z][0-9a-z-]{0,79}")


@dataclass(frozen=True)
class Storage:
    """The lab's places on disk.

    Args:
        home: the folder that holds everything; it is made when it is first needed.
    """

    home: Path

    @classmethod
    def from_environment(cls) -> Storage:
        """The home that `ROTELAB_HOME` names; without it, the project's folder."""
        named = os.environ.get("ROTELAB_HOME", "").strip()
        home = Path(named).expanduser() if named else Path(__file__).resolve().parent.parent
        return cls(home.absolute())

    @property
    def database(self) -> Path:
        """The one SQLite file in which everything that happened is written."""
        return self.home / "runs.db"

    @property
    def runs(self) -> Path:
        """The folder of the runs' own folders."""
        return self.home / "runs"

    @property
    def exports(self) -> Path:
        """The folder of files made to be given away; the page serves files from nowhere else."""
        return self.home / "exports"

    def run_folder(self, run_id: str) -> Path:
        """The folder of one run: config, log and adapters. It need not exist yet.

        Raises:
            LabError: that can't be a run's id (a path, for example).
        """
        if not RUN_ID.fullmatch(run_id):
            raise LabError(f"{run_id[:80]!r} is not a run's id.")
        return self.runs / run_id

    def log_file(self, run_id: str) -> Path:
        """The file that takes what a run's process prints.

        Raises:
            LabError: that can't be a run's id.
        """
        return self.run_folder(run_id) / "log.txt"


ADAPTER_FOLDERS = {"memorized": "memorize", "generalized": "generalize"}

ADAPTER_FORMAT = 1
"""The version of an adapter's folder, as its `meta.json` says it."""


def adapter_folder(storage: Storage, run_id: str, checkpoint: str) -> Path:
    """The folder of the adapter that a checkpoint (`memorized`, `generalized`) adds."""
    return storage.run_folder(run_id) / "adapters" / ADAPTER_FOLDERS[checkpoint]


def has_adapters(storage: Storage, run_id: str) -> bool:
    """Whether all of a run's adapters are on this machine, as far as their files are there."""
    folders = (adapter_folder(storage, run_id, checkpoint) for checkpoint in ADAPTER_FOLDERS)
    return all((folder / "meta.json").is_file() for folder in folders)


def state_folder(storage: Storage, run_id: str) -> Path:
    """The folder of the training state of the last completed epoch."""
    return storage.run_folder(run_id) / "state"


def states_file(storage: Storage, run_id: str, checkpoint: str) -> Path:
    """The hidden states that were looked at, a safetensors file: `states` `[views, layers + 1,
    hidden]` in float16; its metadata names each view (see `representations.Viewpoint`)."""
    return storage.run_folder(run_id) / "representations" / f"{checkpoint}.safetensors"


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file that is never changed a second name, or copies it where that can't be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place, flushed, when the block succeeds.

    Two folders can't be exchanged at one stroke. So the new one first gets a name that says that
    it is whole; a kill between the renames that follow leaves work for `finish_writing` and loses
    neither of the two.

    Raises:
        OSError: the disk is full or not writable; what was there before is still there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    finish_writing(folder)
    work = beside(folder, f"{os.getpid()}.tmp")
    work.mkdir()
    try:
        yield work
        for path in work.iterdir():
            flush(path)
        flush(work)
        work.rename(beside(folder, "new"))
        flush(folder.parent)
        finish_writing(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def finish_writing(folder: Path) -> None:
    """Finishes what a killed `written_whole` had begun, and clears away what it left half done.

    Only the one who writes `folder` may call this.

    Raises:
        OSError: the disk is not writable.
    """
    new, old = beside(folder, "new"), beside(folder, "old")
    if new.is_dir():
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
        flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        pid = left.name.split(".")[-2]
        # An export of another process into the same place would be written under its own PID.
        if pid == str(os.getpid()) or not (pid.isdigit() and psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


def flush(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk and not only on their way.

    Raises:
        OSError: they can't be written.
    """
    if path.is_dir() and os.name != "posix":
        return  # elsewhere a folder can't be opened, and its names need no flushing
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")


def sha256_of(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
