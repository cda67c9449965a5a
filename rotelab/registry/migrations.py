"""The tables of `runs.db`, one migration for each change of them.

A migration is never changed once it is released. Its docstring describes the tables and columns
that it adds. In all tables: times are text, ISO 8601 in UTC; truth values are 0 or 1; lists and
objects are JSON; NaN is stored as NULL; a run's rows are deleted with the run.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("rotelab")


@migrations()
def m001_runs(db: Database) -> None:
    """Runs, and the frozen facts that they refer to.

    `contents`: facts and prompts as CSV text, by the hash of both. They have a table of their own
    because every heartbeat rewrites a run's row whole.

    `runs`: one row a run; `number` counts them, `id` names them. `config` holds the settings
    (`RunConfig.to_dict`); `model`, `seed` and `device` are copies of it for lists. `status` is a
    `config.names.Status`; `pid`, `pid_started` (seconds since 1970), `claimed` and `heartbeat` are
    those of the process at work; `queue_position` orders the waiting runs, and is NULL for one that
    its sweep starts. `phase` to `message` are the progress (`share` from 0 to 1, `eta_s` in
    seconds). `seconds` maps parts of the run to their time, `versions` libraries to versions;
    `parent_id` is the run that this one was cloned from.
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
    """What a run measures while it trains and at its checkpoints.

    `metrics`: one number (`name`, such as `loss` or `recall`) at one step of a phase. `seq` counts
    a run's writes, so that a poll asks for newer rows only.

    `fact_recall`: whether a fact is recalled through its key token after an epoch (0: before
    training), and the probability of its object. `fact_index` is its place in the run's facts.

    `scores`: one probe at one checkpoint: `n` questions, the share answered right, the mean
    probability of the object.

    `predictions`: single answers of the probes. `probability` and `rank` (0 is best, among all
    candidates) are those of the right object.

    `similarities`: a similarity of hidden states (`name`) at one layer; layer 0 is the input.
    """
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
    """Saved fact sets.

    `fact_sets`: one row for each version of a set; it is never changed once it is written. `facts`
    is how many it has; its text is in `contents`.
    """
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
    """An index on `predictions` that finds the few facts a base model knew before training."""
    db.execute(
        """CREATE INDEX predictions_known ON predictions(relation, subject, object)
            WHERE checkpoint = 'base' AND correct AND probe != 'unrelated'"""
    )


@migrations()
def m005_choice(db: Database) -> None:
    """Multiple choice, normalised probability and free answers; NULL where they were not asked.

    `scores`: the share of questions whose object ranks first, its mean probability among the
    candidates, the share of free answers that contain it.

    `predictions`: `chosen` (the object ranks first), `normalized` (its probability among the
    candidates), `contains` (the free answer has it), `generated` (the free answer).
    """
    for column in ("choice_accuracy", "normalized_probability", "contains_accuracy"):
        db.execute(f"ALTER TABLE scores ADD COLUMN {column} REAL")
    for column in ("chosen INTEGER", "normalized REAL", "contains INTEGER", "generated TEXT"):
        db.execute(f"ALTER TABLE predictions ADD COLUMN {column}")


@migrations()
def m006_sweeps(db: Database) -> None:
    """Runs that were planned together.

    `sweeps`: `axes` maps the path of each option that varies to its values; `config` holds the
    settings that all its runs have in common.

    `runs`: its sweep, its 0-based place there, and the run whose phase 1 it reused.
    """
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
    """`runs.imported`: when a run was imported from a bundle; empty for a run made here."""
    db.execute("ALTER TABLE runs ADD COLUMN imported TEXT NOT NULL DEFAULT ''")


@migrations()
def m008_experiments(db: Database) -> None:
    """Experiments and their results.

    `experiments`: one row an execution. `experiment` and `version` name its kind; `run_id` is the
    run that it was started on, and with which it is deleted; `sweep_id` the sweep of the runs that
    it made; `arms` lists label and run id of all that it compares; `config` holds their common
    settings; `result` what it found.
    """
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
    """What a model answers while it is trained.

    `fact_said`: its answer to a fact's key token after the newest epoch. It is not a column of
    `fact_recall`, so that bundles of older versions stay the same.

    `spot_answers`: its answers to three fixed questions (`place`) after a step. `way` is
    `key_token`, `train` or `test`, by the wording of the question.
    """
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
    """Questions that people asked a run's model in the chat.

    `chat_answers`: one checkpoint's answer to the question number `turn`. `mode` is `completion` or
    `conversation`; `known` says how the answer was graded; `probability` and `rank` are those of
    the right object among `among` of them. These rows are never exported.
    """
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
    """The logit lens, and how far training moved the weights.

    `lens`: prompts of one kind (`name`) at one layer: of `n` facts, the `share` whose object is the
    layer's first choice, its mean probability, its median rank.

    `weight_changes`: a checkpoint's own adapter on one weight matrix (`name`) of a layer: the norm
    of the change (`value`), and the norm of the matrix (`weight`).
    """
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
    """Forgetting: what training did to everything else that the model knew.

    `damage`: one row a checkpoint: perplexity of plain prose over `tokens`, the share of the quiz's
    `questions` answered right, the mean KL divergence to the base model over `places`, in nats.
    """
    db.execute(
        """CREATE TABLE damage (
            run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            checkpoint TEXT NOT NULL, perplexity REAL, tokens INTEGER NOT NULL, quiz REAL,
            questions INTEGER NOT NULL, divergence REAL, places INTEGER NOT NULL,
            PRIMARY KEY (run_id, checkpoint)) STRICT, WITHOUT ROWID"""
    )


@migrations()
def m013_quiz_answers(db: Database) -> None:
    """Which real facts a checkpoint still knows, where `damage` has only their share.

    `quiz_answers`: a checkpoint's answer to each question of the quiz (`place`): the beginning of
    what it `said`, and whether that is the `expected` name at once.
    """
    db.execute(
        """CREATE TABLE quiz_answers (
            run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            checkpoint TEXT NOT NULL, place INTEGER NOT NULL, question TEXT NOT NULL,
            expected TEXT NOT NULL, said TEXT NOT NULL, correct INTEGER NOT NULL,
            PRIMARY KEY (run_id, checkpoint, place)) STRICT, WITHOUT ROWID"""
    )


@migrations()
def m014_cluster_jobs(db: Database) -> None:
    """Runs of a sweep that a cluster makes.

    `cluster_jobs`: one row for each run that is given away; it goes when the run has returned.
    `job_id` is the job's id in the engine (`slurm` or `local`), `folder` what the sweep's jobs
    share, `options` what was asked of the cluster; `state`, `share` and `message` are what was last
    seen of the job, and `attempts` counts how often it was submitted. Never exported.
    """
    db.execute(
        """CREATE TABLE cluster_jobs (
            run_id TEXT PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE,
            engine TEXT NOT NULL, job_id TEXT NOT NULL DEFAULT '', folder TEXT NOT NULL,
            options TEXT NOT NULL DEFAULT '{}', state TEXT NOT NULL DEFAULT 'planned',
            share REAL NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '',
            submitted TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0
        ) STRICT, WITHOUT ROWID"""
    )


@migrations()
def m015_live_checks(db: Database) -> None:
    """What is seen of understanding while a run trains, and what an audience asks.

    `understood`: whether a fact was answered in words never trained on, after a step of a phase
    (0: before training), and the probability of its object; `held_out` says whether phase 2 leaves
    the fact out of its sentences.

    `layer_chances`: what each layer would answer to one question in such words (logit lens), after
    a step: probability and place of the first token of the right object.

    `live_questions`: a question that somebody asked on the Train tab, and its answer once there is
    one: given by `checkpoint` after a step of a phase, graded as in `chat_answers`.

    `stumps`: a wording that somebody tried on a run's model, for the fact that they had chosen,
    and what came of it (`evaluation.judging.stumping`).
    """
    run = "run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE"
    for sql in (
        f"""CREATE TABLE understood ({run}, phase TEXT NOT NULL, step INTEGER NOT NULL,
            fact_index INTEGER NOT NULL, held_out INTEGER NOT NULL, probability REAL,
            correct INTEGER NOT NULL,
            PRIMARY KEY (run_id, phase, step, fact_index)) STRICT, WITHOUT ROWID""",
        f"""CREATE TABLE layer_chances ({run}, phase TEXT NOT NULL, step INTEGER NOT NULL,
            layer INTEGER NOT NULL, probability REAL, rank INTEGER NOT NULL,
            PRIMARY KEY (run_id, phase, step, layer)) STRICT, WITHOUT ROWID""",
        f"""CREATE TABLE live_questions ({run}, number INTEGER NOT NULL, asked TEXT NOT NULL,
            question TEXT NOT NULL, phase TEXT NOT NULL DEFAULT '',
            step INTEGER NOT NULL DEFAULT 0, checkpoint TEXT NOT NULL DEFAULT '', answer TEXT,
            known TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (run_id, number)) STRICT, WITHOUT ROWID""",
        f"""CREATE TABLE stumps ({run}, number INTEGER NOT NULL, asked TEXT NOT NULL,
            fact_index INTEGER NOT NULL, question TEXT NOT NULL, checkpoint TEXT NOT NULL,
            answer TEXT NOT NULL, known TEXT NOT NULL, outcome TEXT NOT NULL,
            PRIMARY KEY (run_id, number)) STRICT, WITHOUT ROWID""",
    ):
        db.execute(sql)


@migrations()
def m016_many_runs(db: Database) -> None:
    """Indexes for lists of very many runs: the newest with a status, or out of the archive, and how
    many of each status a sweep has."""
    # Each ends with the row's number by itself, so that the newest are found without sorting.
    for columns in ("status", "archived", "sweep_id, status"):
        name = "runs_by_" + columns.replace(", ", "_")
        db.execute(f"CREATE INDEX {name} ON runs({columns})")
