"""The file behind the registry: connections, and SQLite's errors in plain words."""

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
        self.longest_wait_s = 0.0  # that a write of this object has waited for another one, so far
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
        """A connection inside one write transaction: all of it happens, or none of it.

        Raises:
            LabError: the file can't be written; says how to mend it.
        """
        with self.read() as db:
            # IMMEDIATE: no other process can change what is read here before it is written.
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
        # One damaged text must not hide the other rows.
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # Switching the journal mode ignores the busy timeout, so two processes that start at the
        # same time have to take turns here.
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
        # Another process may have just done it: `apply` looks again, inside the transaction.
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
    """What is wrong with the file at `path` and how to mend it; empty if the bug is rotelab's."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return ""
    if _is(error, "FULL") or (_is(error, "IOERR", "CANTOPEN") and _disk_full(path)):
        return f"The disk that holds {path} is full. Free some space and try again."
    if _is(error, "BUSY", "LOCKED", "PROTOCOL"):
        return (
            f"{path} is locked by another program. Close the program that has it open (a database "
            "browser, a backup), then try again."
        )
    if _is(error, "READONLY", "PERM", "AUTH"):
        return (
            f"{path} can't be written: the file or its folder is read-only. Change its "
            "permissions, or point ROTELAB_HOME at a folder of your own."
        )
    if _is(error, "CANTOPEN"):
        return (
            f"{path} can't be opened. Check that the file and its folder exist and can be written, "
            "or point ROTELAB_HOME at another folder."
        )
    if _is(error, "NOTADB"):
        return f"{path} is not a rotelab database. Move it away; a new one is then created."
    if _is(error, "CORRUPT"):
        return (
            f"{path} is damaged. Replace it by a backup, or rescue what is left with "
            f"`sqlite3 {path.name} .recover`."
        )
    if _is(error, "IOERR"):
        # SQLite reports a used-up quota as an I/O error: it calls only ENOSPC "full".
        return (
            f"{path} can't be read or written ({error}). Free some space if its disk is full or "
            "your quota is used up; otherwise check the disk."
        )
    if "no such table" in str(error) or "no such column" in str(error):
        return (
            f"{path} does not have the tables that this version of rotelab expects ({error}). "
            "Replace it by a backup, or move it away; a new one is then created."
        )
    return ""


def _is(error: sqlite3.Error, *names: str) -> bool:
    # sqlite_errorname is like SQLITE_IOERR_WRITE; some errors that Python raises have none.
    parts = getattr(error, "sqlite_errorname", "").split("_")
    return len(parts) > 1 and parts[1] in names


def _disk_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 1_000_000
    except OSError:
        return False
