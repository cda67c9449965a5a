"""Faults of the machine end a run with a status and a sentence that names the remedy."""

import errno
import json
import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from benchmarks import fault_ways, faults
from rotelab import errors
from rotelab.errors import LOCKED, OUT_OF_MEMORY, LabError, remedy
from rotelab.registry import Registry
from rotelab.runs import pipeline, progress, worker
from rotelab.runs.jobs import LAST_WORDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and mounts of Linux")


SHORT = [name for name in fault_ways.WORDS if name != "clock"]  # that one is done further down


@pytest.fixture(scope="module")
def report():
    """One run for each fault, and the registry locked for 6 s instead of 30."""
    before = os.environ.get("OMP_NUM_THREADS")
    yield faults.main(["--lock-s", "6", "--only", ",".join(SHORT)])
    if before is None:
        os.environ.pop("OMP_NUM_THREADS", None)
    else:
        os.environ["OMP_NUM_THREADS"] = before


@pytest.mark.timeout(1200)  # the first of them waits for two runs for each fault
@pytest.mark.parametrize("name", SHORT)
def test_a_fault_ends_in_a_remedy_and_the_run_resumes(report, name):
    if name in report["skipped"]:
        pytest.skip(report["skipped"][name])
    (found,) = [f for f in report["faults"] if f["fault"] == name]
    assert found["passed"], found


def test_the_benchmark_notices_a_bad_end(registry, storage, tmp_path):
    fault = fault_ways.Fault(tmp_path / "bad", tmp_path)
    fault.run_id = fault.registry.create_run(fault.config, fault.pack)

    def breaks(fault):
        fault.registry.set_status(fault.run_id, "failed", "Something went wrong.")
        return "stopped", ["a stranger was ended"]

    fault.to_its_end = lambda: "finished"
    found = faults.examine("disk", fault, breaks, unbroken=(1, 2))
    assert found.wrong == [
        "a stranger was ended",
        "it ended as stopped",
        "the sentence does not name the remedy",
        "its numbers are not those of an unbroken run",
    ]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "your quota"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "Free some space"),
        (OSError(errno.EROFS, "Read-only", "/a/b"), "/a/b can't be opened or written"),
        (PermissionError(errno.EACCES, "Denied", "/a/.b.1.tmp"), "/a can't be opened"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EIO, "Input/output error"), "Check the disk"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OUT_OF_MEMORY),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError("std::bad_alloc"), OUT_OF_MEMORY),
        (ImportError("x.so: failed to map segment from shared object"), OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OUT_OF_MEMORY),
    ],
)
def test_each_fault_has_its_remedy(tmp_path, error, words):
    assert words in remedy(error, tmp_path)


def test_a_fault_of_ours_has_none(tmp_path):
    assert remedy(ZeroDivisionError("by zero"), tmp_path) == ""
    assert remedy(FileNotFoundError(errno.ENOENT, "No such file"), tmp_path) == ""


def test_a_full_disk_is_known_before_anything_is_learned(lab, quick, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(worker.Path, "write_bytes", full)
    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    worker.work(lab.registry, lab.storage, run_id)
    run = lab.registry.run(run_id)
    assert run.status == "failed" and "Free some space" in run.error and run.phase == ""


def test_a_status_that_fails_is_written_with_what_was_set_aside(lab, quick, monkeypatch):
    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    room = lab.storage.run_folder(run_id) / "reserve.tmp"

    def runs_full(*args):
        assert room.stat().st_size == worker.RESERVE
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline, "run_pipeline", runs_full)
    real = lab.registry.set_status

    def needs_room(*args):
        if room.exists():
            raise LabError("The disk is full.")
        real(*args)

    monkeypatch.setattr(lab.registry, "set_status", needs_room)
    worker.work(lab.registry, lab.storage, run_id)
    assert lab.registry.run(run_id).status == "failed" and not room.exists()


def test_a_status_is_written_again_until_it_stands(lab, quick, monkeypatch, capsys):
    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    real, tries = lab.registry.set_status, []

    def locked_twice(*args):
        tries.append(args)
        if len(tries) < 3:
            raise LabError("It is locked.")
        real(*args)

    monkeypatch.setattr(lab.registry, "set_status", locked_twice)
    monkeypatch.setattr(worker.time, "sleep", lambda seconds: None)
    worker._write_down(lab.registry, run_id, "failed", "The lamp is out. Change it.")
    assert lab.registry.run(run_id).error == "The lamp is out. Change it."
    assert capsys.readouterr().err.count(LAST_WORDS) == 1


def test_what_a_worker_could_not_write_down_is_found_in_its_log(lab, quick):
    run_id = lab.registry.create_run(quick, lab.facts_for(quick))
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    lab.registry.claim(run_id, dead.pid, 0.0)
    log = lab.storage.log_file(run_id)
    log.parent.mkdir(parents=True)
    log.write_text(
        f"run {run_id} started\n{LAST_WORDS}of an earlier start\nrun {run_id} started\n"
        f"something\n{LAST_WORDS}The lamp is out. Change it.\nmore\n"
    )
    assert lab.jobs.reconcile() == [run_id]
    run = lab.registry.run(run_id)
    assert (run.status, run.error) == ("interrupted", "The lamp is out. Change it.")


def test_a_long_wait_for_the_registry_is_a_warning(lab, quick, storage, monkeypatch):
    monkeypatch.setattr(progress, "LONG_WAIT_S", 0.2)
    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    recorder = pipeline.Recorder(lab.registry, run_id, lambda share, message: None)
    holder = sqlite3.connect(storage.database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    free = threading.Timer(0.5, lambda: holder.execute("COMMIT"))
    free.start()
    recorder.say("on", force=True)
    free.join()
    recorder.say("on", force=True)
    (warning,) = lab.registry.run(run_id).warnings
    assert warning.split(" waited ")[0] == LOCKED.split(" waited ")[0]
    holder.close()


def test_a_registry_that_cannot_be_opened_is_last_words(storage, tmp_path):
    storage.home.mkdir(parents=True)
    storage.database.write_text("not a database, but long enough to be looked at " * 50)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-m", "rotelab.runs.worker", "20200101-000000-none-0000"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith(LAST_WORDS) and "not a rotelab database" in done.stderr


def test_the_table_and_the_object(capsys):
    report = faults.main(["--only", "clock", "--json"])
    out = capsys.readouterr().out.splitlines()
    assert json.loads(out[-1]) == report and (report["n"], report["passed"]) == (1, 1)
    assert out[0] == "| fault | status | sentence | resumed | passed |"
    assert out[2].startswith("| clock | interrupted | ")


def test_the_patience_of_a_worker_outlasts_a_lock_of_half_a_minute():
    assert worker.BUSY_S > 60 and errors.LONG_WAIT_S < 30
    assert Registry.__init__.__defaults__[0] <= 30  # a page's click is not to hang for longer
