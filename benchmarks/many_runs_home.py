"""A home with very many runs, for `benchmarks/many_runs.py`: filled in bulk, through the registry's
own tables."""

from __future__ import annotations

import json
import math
import random
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.evaluation.results import PROBES
from rotelab.facts.packs import Pack, load_pack
from rotelab.registry import FactRecall, Metric, Registry
from rotelab.registry.queue import run_record
from rotelab.runs import demo
from rotelab.runs.lab import Lab
from rotelab.storage import Storage

NAMES = ("loss", "loss/key", "loss/locality", "recall")
WORDS = ("before lunch", "deep", "again", "quick look", "for the talk")
OF_A_SWEEP = 20
IN_QUEUE, HELD = 200, 300
WATCHED_STEPS, ROUNDS = 1000, 10
ANSWERS = 40
"""Stored answers of each run; a default run on `mother` has more, of which none is read in a list.
The recorded run has all of its own."""
CHECKPOINTS = ("base", "memorized", "generalized")
NOTE = "many_runs.json"


@dataclass(frozen=True)
class Home:
    """Such a home, and the runs in it that the benchmark looks at.

    Args:
        storage: where it is.
        watched: the run that trains.
        recorded: the run that came with rotelab, with all that a run stores.
        middle: a finished run of a sweep, from the middle of the list.
        other: one to compare it with.
        waiting: the last run of the queue.
        sweep: the sweep of `middle`.
    """

    storage: Storage
    watched: str
    recorded: str
    middle: str
    other: str
    waiting: str
    sweep: str


def open_home(folder: Path, runs: int, rows: int) -> Home:
    """Fills the folder, or finds that it has been filled.

    Args:
        folder: of the home.
        runs: how many runs it has, beside the recorded one.
        rows: how many metric rows they have in all, about.
    """
    storage, note = Storage(folder), folder / NOTE
    if note.is_file():
        return Home(storage, **json.loads(note.read_text()))
    lab = Lab.open(storage)
    recorded = demo.open_run(lab)[0]
    lab.registry.update_run(recorded, archived=False)
    pack = load_pack("mother")
    watched = lab.registry.create_run(RunConfig(), pack, name="the one that trains")
    ids = _runs(storage, runs - 1, pack)
    lab.registry.set_status(watched, "running")
    _measured(storage, ids["ended"], rows)
    _learns(lab.registry, watched, pack)
    middle = len(ids["ended"]) // 2 // OF_A_SWEEP * OF_A_SWEEP
    found = {
        "watched": watched,
        "recorded": recorded,
        "middle": ids["ended"][middle],
        "other": ids["ended"][middle + 1],
        "waiting": ids["queued"][-1] if ids["queued"] else ids["ended"][-1],
        "sweep": lab.registry.run(ids["ended"][middle]).sweep_id or "",
    }
    note.write_text(json.dumps(found))
    return Home(storage, **found)


def plain(storage: Storage) -> sqlite3.Connection:
    """The file, opened without the lab."""
    return sqlite3.connect(storage.database, isolation_level=None)


def _quick(storage: Storage) -> sqlite3.Connection:
    """A connection that does not wait for the disk: what is built here may be lost."""
    db = plain(storage)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=-400000")
    return db


def _runs(storage: Storage, count: int, pack: Pack) -> dict[str, list[str]]:
    """Stores that many runs; the ids of those that have ended and of those that wait."""
    rng, began = random.Random(0), datetime(2026, 1, 1, tzinfo=UTC)
    waiting = min(IN_QUEUE + HELD, count // 4)
    ids: dict[str, list[str]] = {"ended": [], "queued": [], "held": []}
    sweeps: dict[str, str] = {}
    rows = []
    for number in range(count):
        created = began + timedelta(minutes=20 * number)
        at = f"{created:%Y-%m-%dT%H:%M:%S}+00:00"
        run_id = f"{created:%Y%m%d-%H%M%S}-mother-{number:04x}"
        # As a lab does it that repeats each setting with a few seeds.
        config = RunConfig(
            seed=number % OF_A_SWEEP, generalize=GeneralizeConfig(k=1 + number // OF_A_SWEEP % 50)
        )
        record = run_record(config, pack, f"{rng.choice(WORDS)} {number}") | {
            "id": run_id, "created": at, "content_hash": pack.content_hash,
            "tags": json.dumps([rng.choice(WORDS)]), "note": rng.choice(WORDS) * 4,
        }  # fmt: skip
        place = number - (count - waiting)
        kind = "ended" if place < 0 else "queued" if place < waiting * 2 // 5 else "held"
        ids[kind].append(run_id)
        if kind != "queued":
            sweep = f"sweep-{began + timedelta(minutes=number // OF_A_SWEEP):%Y%m%d-%H%M%S}-000a"
            sweeps[sweep] = record["config"]
            record |= {"sweep_id": sweep, "sweep_position": number % OF_A_SWEEP}
        if kind == "ended":
            status = rng.choices(("finished", "stopped", "failed"), (94, 3, 3))[0]
            record |= {
                "status": status, "started": at, "finished": at, "device_used": "cpu",
                "archived": int(rng.random() < 0.05), "share": 1.0,
                "seconds": json.dumps({"setup": 5.0, "phase1": 90.0, "phase2": 120.0,
                                       "evaluation": 60.0, "total": 250 + 50 * rng.random()}),
            }  # fmt: skip
        record["queue_position"] = 10 + number if kind == "queued" else None
        rows.append(record)
    columns = sorted({name for row in rows for name in row})
    usual = {"status": "queued", "archived": 0, "share": 0.0, "seconds": "{}", "device_used": ""}
    values = [[row.get(name, usual.get(name)) for name in columns] for row in rows]
    marks = ", ".join("?" * len(columns))
    with _quick(storage) as db:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO sweeps (id, name, created, axes, config) VALUES (?, '', ?, ?, ?)",
            [(s, began.isoformat(), json.dumps({"seed": list(range(OF_A_SWEEP))}), config)
             for s, config in sorted(sweeps.items())],
        )  # fmt: skip
        db.executemany(f"INSERT INTO runs ({', '.join(columns)}) VALUES ({marks})", values)
        db.execute("COMMIT")
    db.close()
    return ids


def _measured(storage: Storage, ids: list[str], rows: int) -> None:
    """What those runs measured: copies of one run's rows, with other figures."""
    per_run = max(1, rows // max(1, len(ids)))
    phases = [("memorize", 0.6), ("generalize", 0.4)]
    steps = [
        (phase, step, name, 1 + step // 25)
        for phase, share in phases
        for step in range(1, 1 + math.ceil(per_run * share / len(NAMES)))
        for name in NAMES
    ]
    db = _quick(storage)
    db.execute("CREATE TEMP TABLE one (phase, step, name, epoch, seq)")
    ordered = [(*row, seq) for seq, row in enumerate(steps, 1)]
    db.executemany("INSERT INTO one VALUES (?, ?, ?, ?, ?)", sorted(ordered))
    chance = "(random() & 1023) / 1023.0"
    for start in range(0, len(ids), 500):
        part = [(run_id,) for run_id in ids[start : start + 500]]
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO metrics (run_id, phase, step, name, value, epoch, seq) "
            f"SELECT ?, phase, step, name, {chance}, epoch, seq FROM one",
            part,
        )
        for checkpoint in CHECKPOINTS:
            db.executemany(
                "INSERT INTO damage VALUES (?, ?, 12.5, 2000, 0.6, 60, 0.1, 500)",
                [(*run, checkpoint) for run in part],
            )
            for probe in PROBES:
                db.executemany(
                    "INSERT INTO scores (run_id, checkpoint, probe, n, generation_accuracy, "
                    f"object_probability) VALUES (?, ?, ?, 50, {chance}, {chance})",
                    [(*run, checkpoint, probe) for run in part],
                )
        answer = (
            "INSERT INTO predictions (run_id, checkpoint, probe, fact_index, relation, subject, "
            "object, prompt, answer, correct, probability, rank) "
            "VALUES (?, ?, 'test_prompts_heldout', ?, 'mother', ?, 'O', 'Who?', 'O', ?, 0.5, 0)"
        )
        for i in range(ANSWERS):
            checkpoint = CHECKPOINTS[i % len(CHECKPOINTS)]
            right = int(checkpoint != "base" or i < len(CHECKPOINTS))
            db.executemany(answer, [(*run, checkpoint, i, f"S {i}", right) for run in part])
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _learns(registry: Registry, run_id: str, pack: Pack) -> None:
    """What the run that trains has recorded so far."""
    rng = random.Random(1)
    registry.add_metrics(
        run_id,
        [
            Metric("memorize", step, name, rng.random(), 1 + step // 100)
            for step in range(1, WATCHED_STEPS + 1)
            for name in NAMES
        ],
    )
    for epoch in range(1, ROUNDS + 1):
        recalls = [FactRecall(i, rng.random(), i % 2 == 0) for i in range(len(pack.facts))]
        registry.add_fact_recall(run_id, "memorize", epoch, recalls)
