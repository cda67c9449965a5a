"""The file behind the registry: connections, migrations, and SQLite's errors in plain words."""

from __future__ import annotations

import shutil
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlite_utils import Database

from rotelab.errors import LabError
from rotelab.registry.migrations import migrations

BUSY_S = 30.0
"""How long a call waits for another process's write, in seconds."""


class RegistryFile:
    """One connection per call to `runs.db`, in WAL mode; safe from many threads and processes.

    Args:
        path: the database file. It is made, with its folder, when it is missing.
        busy_s: how long a call waits for another process's write, in seconds.

    Raises:
        LabError: the file can't be made, opened or brought up to date; says how to mend it.
    """

    def __init__(self, path: Path, busy_s: float = BUSY_S):
        self.path, self._busy_s = Path(path), busy_s
        self.longest_wait_s = 0.0  # that a write of this object waited for another's, so far
        with self._plain_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Closing the last connection writes the whole log back and waits for the disk (15 ms).
            # One idle connection held open makes every other call 60 times quicker.
            anchor = self._connect(create=True)
            self.close = weakref.finalize(self, anchor.close)
            self._use_wal(anchor)
            self._migrate(anchor)

    @contextmanager
    def read(self) -> Iterator[Database]:
        """A connection for reading.

        Raises:
            LabError: the file can't be read; says how to mend it.
        """
        with self._plain_errors():
            connection = self._connect()
            try:
                yield Database(connection, execute_plugins=False)
            finally:
                connection.close()

    @contextmanager
    def write(self) -> Iterator[Database]:
        """A connection inside one write transaction: all of it happens, or nothing.

        Raises:
            LabError: the file can't be written; says how to mend it.
        """
        with self.read() as db:
            # IMMEDIATE: what is read inside can't be changed by another process before the write.
            asked = time.monotonic()
            db.execute("BEGIN IMMEDIATE")
            self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - asked)
            try:
                yield db
                db.commit()
            except BaseException:
                db.rollback()
                raise

    def _connect(self, create: bool = False) -> sqlite3.Connection:
        mode = "rwc" if create else "rw"  # a file that has gone away is an error, not an empty one
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=self._busy_s,
            isolation_level=None,
            check_same_thread=False,
        )
        # A damaged text must not hide the rows beside it.
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # Switching the journal does not wait for the busy timeout: two starters must take turns.
        deadline = time.monotonic() + self._busy_s
        while True:
            try:
                Database(connection, execute_plugins=False).enable_wal()
                return
            except sqlite3.OperationalError as error:
                if not _is(error, "BUSY", "LOCKED") or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        db = Database(connection, execute_plugins=False)
        known = {migration.name for migration in migrations.pending(Database(memory=True))}
        applied = {migration.name for migration in migrations.applied(db)}
        if applied - known:
            raise LabError(
                f"{self.path} was written by a newer rotelab. Update rotelab, or point "
                "ROTELAB_HOME at another folder."
            )
        if applied == known:
            return
        # Two may start at once: what is pending is asked again inside the transaction.
        db.execute("BEGIN IMMEDIATE")
        try:
            migrations.apply(db)
            db.commit()
        except BaseException:
            db.rollback()
            raise

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            sentence = explain(error, self.path)
            if not sentence:
                raise
            raise LabError(sentence) from error
        except OSError as error:
            raise LabError(
                f"{self.path} can't be opened ({error.strerror}). Check the folder and its "
                "permissions, or point ROTELAB_HOME at another folder."
            ) from error


def explain(error: sqlite3.Error, path: Path) -> str:
    """What is wrong with the file at `path` and how to mend it; empty where the fault is ours."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return ""
    if _is(error, "FULL") or (_is(error, "IOERR", "CANTOPEN") and _disk_full(path)):
        return f"The disk that holds {path} is full. Free some space and try again."
    if _is(error, "BUSY", "LOCKED", "PROTOCOL"):
        return (
            f"{path} is locked by another program. Close whatever holds it open (a database "
            "browser, a backup), then try again."
        )
    if _is(error, "READONLY", "PERM", "AUTH"):
        return (
            f"{path} can't be written: file or folder is read-only. Change its permissions, or "
            "point ROTELAB_HOME at a folder of your own."
        )
    if _is(error, "CANTOPEN"):
        return (
            f"{path} can't be opened. Check that folder and file exist and may be written, or "
            "point ROTELAB_HOME at another folder."
        )
    if _is(error, "NOTADB"):
        return f"{path} is not a rotelab database. Move that file away; a new one is then made."
    if _is(error, "CORRUPT"):
        return (
            f"{path} is damaged. Put a backup in its place, or rescue what is left with "
            f"`sqlite3 {path.name} .recover`."
        )
    if _is(error, "IOERR"):
        # A used-up quota is no "full" to SQLite, which looks for one number of the system's only.
        return (
            f"{path} can't be read or written ({error}). Free some space if the disk that it is on "
            "is full or your share of it is used up; else check the disk."
        )
    if "no such table" in str(error) or "no such column" in str(error):
        return (
            f"{path} has not the tables of this rotelab ({error}). Put a backup in its place, or "
            "move that file away; a new one is then made."
        )
    return ""


def _is(error: sqlite3.Error, *names: str) -> bool:
    # sqlite_errorname is like SQLITE_IOERR_WRITE; Python makes some errors without one.
    parts = getattr(error, "sqlite_errorname", "").split("_")
    return len(parts) > 1 and parts[1] in names


def _disk_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 1_000_000
    except OSError:
        return False
