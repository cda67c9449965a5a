"""The registry's file: damaged, locked, full, older or newer, and written by many at once."""

import sqlite3
import subprocess
import sys
import threading

import pytest
from sqlite_utils import Database
from support.paths import ROOT
from support.registry_tools import child, in_threads, meddle
from support.rows import pack_of

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.registry import Metric, Registry
from rotelab.registry.migrations import migrations


def test_no_heavy_imports():
    code = (
        "import sys, rotelab.runs.jobs, rotelab.registry, rotelab.storage\n"
        "print([m for m in ('torch', 'gradio', 'transformers', 'peft') if m in sys.modules])"
    )
    root = ROOT
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr


def test_what_is_not_a_database_is_left_alone(storage):
    storage.home.mkdir()
    storage.database.write_bytes(b"my diary, not a database " * 100)
    with pytest.raises(LabError, match="not a rotelab database. Move it away"):
        Registry(storage)
    assert storage.database.read_bytes().startswith(b"my diary")


def test_a_home_that_is_a_file(storage):
    storage.home.write_text("")
    with pytest.raises(LabError, match="can't be opened.*ROTELAB_HOME"):
        Registry(storage)


def test_a_home_that_can_not_be_written(storage, registry, run, monkeypatch):
    # Not by permissions: the tests may be run by root, whom they don't stop.
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda name, **how: connect(name.replace("mode=rw", "mode=ro"), **how)
    )
    assert registry.run(run).id == run
    with pytest.raises(LabError, match="read-only"):
        registry.update_run(run, name="x")


def test_a_damaged_file(storage, registry):
    for i in range(40):
        registry.create_run(RunConfig(), pack_of(f"Person {i}"))
    registry.close()
    size = storage.database.stat().st_size
    with storage.database.open("r+b") as file:
        for page in range(4096, size, 4096):
            file.seek(page)
            file.write(b"\xff" * 2048)
    with pytest.raises(LabError, match="damaged. Replace it by a backup"):
        Registry(storage).runs()


def test_a_full_disk(storage, registry, monkeypatch):
    real = Registry._connect

    def small(self, create=False):
        connection = real(self, create)
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes what is there already
        return connection

    monkeypatch.setattr(Registry, "_connect", small)
    with pytest.raises(LabError, match="is full. Free some space"):
        for i in range(200):
            registry.create_run(RunConfig(), pack_of(f"Person {i}"))
    monkeypatch.undo()
    assert registry.create_run(RunConfig(), pack_of())


def test_a_locked_file(storage, registry, run):
    holder = sqlite3.connect(storage.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    hasty = Registry(storage, busy_s=0.1)
    assert hasty.run(run).id == run, "who only reads does not wait"
    with pytest.raises(LabError, match="locked by another program"):
        hasty.update_run(run, name="x")
    patient = threading.Thread(target=registry.update_run, args=(run,), kwargs={"name": "x"})
    patient.start()
    holder.execute("COMMIT")
    patient.join()
    assert registry.run(run).name == "x"
    holder.close()


def test_a_file_that_has_gone_is_not_made_anew(storage, registry, run):
    for path in storage.home.iterdir():
        path.unlink()
    with pytest.raises(LabError, match="can't be opened"):
        registry.runs()
    assert not storage.database.exists()


def test_a_file_without_its_tables(storage, registry):
    meddle(storage, "DROP TABLE scores")
    with pytest.raises(LabError, match="no such table: scores"):
        registry.runs()


def test_a_file_of_a_newer_rotelab(storage, registry):
    db = Database(storage.database)
    columns = {"migration_set": "rotelab", "name": "m999_the_future", "applied_at": ""}
    db.table("_sqlite_migrations").insert(columns)
    db.close()
    with pytest.raises(LabError, match="newer rotelab"):
        Registry(storage)


def test_an_older_file_is_brought_up_to_date(storage):
    storage.home.mkdir()
    db = Database(storage.database)
    migrations.apply(db, stop_before="m003_fact_sets")
    db.close()
    assert Registry(storage).save_fact_set("mine", pack_of()) == 1
    assert Registry(storage).fact_set("mine").facts == pack_of().facts


def test_the_file_is_as_it_should_be(storage, registry, run):
    with registry.read() as db:
        ask = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in (
            "journal_mode", "foreign_keys", "synchronous", "busy_timeout",
        )}  # fmt: skip
    assert ask == {
        "journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 30000,
    }  # fmt: skip
    with pytest.raises(RuntimeError), registry.write() as db:
        db.execute("DELETE FROM runs")
        raise RuntimeError
    assert registry.count_runs() == 1


def test_all_open_a_new_file_at_once(storage):
    code = "print('ready', flush=True); input(); print(Registry(storage).count_runs())"
    children = [child(code, storage) for _ in range(3)]
    for process in children:
        assert process.stdout.readline() == "ready\n"
    for process in children:
        process.stdin.write("\n")
        process.stdin.flush()
    opened = in_threads(6, lambda _: Registry(storage).count_runs())
    assert opened == [0] * 6
    assert [process.communicate(timeout=20)[0].strip() for process in children] == ["0"] * 3


def test_the_switch_to_wal_waits_its_turn(storage):
    storage.home.mkdir()
    holder = sqlite3.connect(storage.database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")  # SQLite gives up at once, whatever the timeout
    with pytest.raises(LabError, match="locked"):
        Registry(storage, busy_s=0.1)
    threading.Timer(0.3, holder.execute, ["COMMIT"]).start()
    assert Registry(storage).count_runs() == 0
    holder.close()


def test_many_write_and_nothing_is_lost(storage, registry, run):
    registry.claim(run, 1, 0.0)
    code = """
        registry, run, me = Registry(storage), sys.argv[2], sys.argv[3]
        print("ready", flush=True)
        input()
        for step in range(40):
            registry.add_metrics(run, [Metric("memorize", step, f"{me}-{i}", i) for i in range(3)])
            registry.heartbeat(run, step=step)
    """
    children = [child(code, storage, run, f"process {i}") for i in range(3)]
    for process in children:
        assert process.stdout.readline() == "ready\n"
    for process in children:
        process.stdin.write("\n")
        process.stdin.flush()

    def work(i):
        seen, count = 0, 0
        for step in range(40):
            registry.add_metrics(run, [Metric("generalize", step, f"thread {i}", 1.0)])
            registry.runs()
            new = registry.metrics(run, after=seen)
            seen, count = max(m.seq for m in new), count + len(new)
        return count

    counts = in_threads(8, work)
    assert [process.communicate(timeout=30)[0] for process in children] == [""] * 3
    assert all(isinstance(count, int) and count >= 40 for count in counts), counts
    rows = registry.metrics(run)
    assert len(rows) == 8 * 40 + 3 * 40 * 3
    assert len({m.seq for m in rows}) == len(rows)
    with registry.read() as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
