"""The tables of `runs.db` and how each version of them came about; a migration is never changed once released."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

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
