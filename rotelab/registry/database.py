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

from sqlite_utils import Database, Migrations

from rotelab.errors import LabError

BUSY_S = 30.0
"""How long a call waits for another process's write, in seconds."""

migrations = Migrations("rotelab")


@migrations()
def m001_runs(db: Database) -> None:
    """Runs, and the frozen facts that they point to.

    The facts stand apart from the run's row because every heartbeat rewrites that row whole.
    """
    db.execute(
        """CREATE TABLE contents (
            content_hash TEXT PRIMARY KEY, facts_csv TEXT NOT NULL, prompts_csv TEXT NOT NULL
        ) STRICT"""
    )
    db.execute(
        """CREATE TABLE runs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL DEFAULT '',
            status TEXT NOT NULL DEFAULT 'queued',
            created TEXT NOT NULL, started TEXT, finished TEXT,
            pack_name TEXT NOT NULL, model TEXT NOT NULL, seed INTEGER NOT NULL,
            device TEXT NOT NULL, device_used TEXT NOT NULL DEFAULT '',
            parent_id TEXT REFERENCES runs(id) ON DELETE SET NULL,
            note TEXT NOT NULL DEFAULT '', tags TEXT NOT NULL DEFAULT '[]',
            archived INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
            pid INTEGER, pid_started REAL, claimed TEXT, heartbeat TEXT,
            stop_requested INTEGER NOT NULL DEFAULT 0, queue_position INTEGER,
            phase TEXT NOT NULL DEFAULT '', epoch INTEGER, epochs INTEGER,
            step INTEGER, steps INTEGER, eta_s REAL, share REAL NOT NULL DEFAULT 0,
            message TEXT NOT NULL DEFAULT '',
            seconds TEXT NOT NULL DEFAULT '{}', warnings TEXT NOT NULL DEFAULT '[]',
            versions TEXT NOT NULL DEFAULT '{}',
            content_hash TEXT NOT NULL REFERENCES contents(content_hash),
            config TEXT NOT NULL
        ) STRICT"""
    )
    db.execute("CREATE INDEX runs_status ON runs(status, queue_position)")
    db.execute("CREATE INDEX runs_parent ON runs(parent_id)")
    db.execute("CREATE INDEX runs_content ON runs(content_hash)")


@migrations()
def m002_results(db: Database) -> None:
    """What a run measured. `seq` counts a run's writes, so that a poll asks only for newer rows."""
    run = "run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE"
    for sql in (
        f"""CREATE TABLE metrics ({run}, phase TEXT NOT NULL, step INTEGER NOT NULL,
            name TEXT NOT NULL, value REAL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
            PRIMARY KEY (run_id, phase, step, name)) STRICT, WITHOUT ROWID""",
        "CREATE INDEX metrics_seq ON metrics(run_id, seq)",
        f"""CREATE TABLE fact_recall ({run}, phase TEXT NOT NULL, epoch INTEGER NOT NULL,
            fact_index INTEGER NOT NULL, probability REAL, recalled INTEGER NOT NULL,
            PRIMARY KEY (run_id, phase, epoch, fact_index)) STRICT, WITHOUT ROWID""",
        f"""CREATE TABLE scores ({run}, checkpoint TEXT NOT NULL, probe TEXT NOT NULL,
            n INTEGER NOT NULL, generation_accuracy REAL, object_probability REAL,
            PRIMARY KEY (run_id, checkpoint, probe)) STRICT, WITHOUT ROWID""",
        f"""CREATE TABLE predictions (number INTEGER PRIMARY KEY, {run},
            checkpoint TEXT NOT NULL, probe TEXT NOT NULL, fact_index INTEGER NOT NULL,
            relation TEXT NOT NULL, subject TEXT NOT NULL, object TEXT NOT NULL,
            prompt TEXT NOT NULL, answer TEXT NOT NULL, correct INTEGER NOT NULL,
            probability REAL, rank INTEGER) STRICT""",
        "CREATE INDEX predictions_run ON predictions(run_id, checkpoint, probe)",
        f"""CREATE TABLE similarities ({run}, checkpoint TEXT NOT NULL, layer INTEGER NOT NULL,
            name TEXT NOT NULL, value REAL,
            PRIMARY KEY (run_id, checkpoint, layer, name)) STRICT, WITHOUT ROWID""",
    ):
        db.execute(sql)


@migrations()
def m003_fact_sets(db: Database) -> None:
    """Saved fact sets; a version, once written, is never changed."""
    db.execute(
        """CREATE TABLE fact_sets (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL,
            created TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', facts INTEGER NOT NULL,
            content_hash TEXT NOT NULL REFERENCES contents(content_hash),
            UNIQUE (name, version)
        ) STRICT"""
    )
    db.execute("CREATE INDEX fact_sets_content ON fact_sets(content_hash)")


@migrations()
def m004_known_to_base(db: Database) -> None:
    """Finds the few answers that a base model had right, among all predictions, at once."""
    db.execute(
        """CREATE INDEX predictions_known ON predictions(relation, subject, object)
            WHERE checkpoint = 'base' AND correct AND probe != 'unrelated'"""
    )


@migrations()
def m005_choice(db: Database) -> None:
    """Multiple choice, normalised probability and the contains reading; NULL where not asked."""
    for column in ("choice_accuracy", "normalized_probability", "contains_accuracy"):
        db.execute(f"ALTER TABLE scores ADD COLUMN {column} REAL")
    for column in ("chosen INTEGER", "normalized REAL", "contains INTEGER", "generated TEXT"):
        db.execute(f"ALTER TABLE predictions ADD COLUMN {column}")


@migrations()
def m006_sweeps(db: Database) -> None:
    """Runs that were planned together, and which of them took phase 1 over from which."""
    db.execute(
        """CREATE TABLE sweeps (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE, name TEXT NOT NULL DEFAULT '', created TEXT NOT NULL,
            axes TEXT NOT NULL, config TEXT NOT NULL
        ) STRICT"""
    )
    for column in (
        "sweep_id TEXT REFERENCES sweeps(id) ON DELETE SET NULL",
        "sweep_position INTEGER",
        # Not a reference: it stays true when that run is deleted.
        "shared_phase1_from TEXT",
    ):
        db.execute(f"ALTER TABLE runs ADD COLUMN {column}")
    db.execute("CREATE INDEX runs_sweep ON runs(sweep_id, sweep_position)")


@migrations()
def m007_imported(db: Database) -> None:
    """When a run was read from a bundle; empty for one that was made here."""
    db.execute("ALTER TABLE runs ADD COLUMN imported TEXT NOT NULL DEFAULT ''")


@migrations()
def m008_experiments(db: Database) -> None:
    """Experiments that were pressed, and what they found. One goes with the run it looked at."""
    db.execute(
        """CREATE TABLE experiments (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            experiment TEXT NOT NULL, version INTEGER NOT NULL,
            created TEXT NOT NULL, finished TEXT,
            status TEXT NOT NULL DEFAULT 'running', error TEXT NOT NULL DEFAULT '',
            share REAL NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '', seconds REAL,
            run_id TEXT REFERENCES runs(id) ON DELETE CASCADE,
            pack_name TEXT NOT NULL,
            sweep_id TEXT REFERENCES sweeps(id) ON DELETE SET NULL,
            arms TEXT NOT NULL, config TEXT NOT NULL,
            pid INTEGER, pid_started REAL, result TEXT
        ) STRICT"""
    )
    db.execute("CREATE INDEX experiments_of ON experiments(experiment, number)")
    db.execute("CREATE INDEX experiments_run ON experiments(run_id)")
    db.execute("CREATE INDEX experiments_sweep ON experiments(sweep_id)")


@migrations()
def m009_live_answers(db: Database) -> None:
    """What a model says while it learns: to three fixed questions, and after each key token."""
    # Of the newest epoch only, and beside `fact_recall`: bundles of older versions stay the same.
    db.execute(
        """CREATE TABLE fact_said (
            run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            phase TEXT NOT NULL, fact_index INTEGER NOT NULL, epoch INTEGER NOT NULL,
            said TEXT NOT NULL,
            PRIMARY KEY (run_id, phase, fact_index)) STRICT, WITHOUT ROWID"""
    )
    db.execute(
        """CREATE TABLE spot_answers (
            run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            phase TEXT NOT NULL, step INTEGER NOT NULL, place INTEGER NOT NULL,
            epoch INTEGER NOT NULL, way TEXT NOT NULL, fact_index INTEGER NOT NULL,
            question TEXT NOT NULL, expected TEXT NOT NULL, answer TEXT NOT NULL,
            correct INTEGER NOT NULL,
            PRIMARY KEY (run_id, phase, step, place)) STRICT, WITHOUT ROWID"""
    )


@migrations()
def m010_chat_answers(db: Database) -> None:
    """What people asked a run's model, and what each checkpoint said."""
    db.execute(
        """CREATE TABLE chat_answers (
            run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            turn INTEGER NOT NULL, checkpoint TEXT NOT NULL, asked TEXT NOT NULL,
            mode TEXT NOT NULL, temperature REAL NOT NULL, question TEXT NOT NULL,
            answer TEXT NOT NULL, known TEXT NOT NULL, probability REAL, rank INTEGER,
            among INTEGER, PRIMARY KEY (run_id, turn, checkpoint)) STRICT, WITHOUT ROWID"""
    )


@migrations()
def m011_inside(db: Database) -> None:
    """What the logit lens saw at each layer, and how much training changed each weight matrix."""
    run = "run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE"
    db.execute(
        f"""CREATE TABLE lens ({run}, checkpoint TEXT NOT NULL, layer INTEGER NOT NULL,
            name TEXT NOT NULL, n INTEGER NOT NULL, share REAL, probability REAL, rank REAL,
            PRIMARY KEY (run_id, checkpoint, layer, name)) STRICT, WITHOUT ROWID"""
    )
    db.execute(
        f"""CREATE TABLE weight_changes ({run}, checkpoint TEXT NOT NULL, layer INTEGER NOT NULL,
            name TEXT NOT NULL, value REAL, weight REAL,
            PRIMARY KEY (run_id, checkpoint, layer, name)) STRICT, WITHOUT ROWID"""
    )


@migrations()
def m012_damage(db: Database) -> None:
    """What learning did to plain prose, real facts and everyday words, at each checkpoint."""
    db.execute(
        """CREATE TABLE damage (
            run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            checkpoint TEXT NOT NULL, perplexity REAL, tokens INTEGER NOT NULL, quiz REAL,
            questions INTEGER NOT NULL, divergence REAL, places INTEGER NOT NULL,
            PRIMARY KEY (run_id, checkpoint)) STRICT, WITHOUT ROWID"""
    )


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
