"""Jobs: real processes of a tiny fake worker are started, watched, stopped and found dead."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from rotelab.config.run_config import ModelSpec, RunConfig
from rotelab.errors import LabError, UnknownRun
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack
from rotelab.facts.prompts import PromptSet, PromptTemplate
from rotelab.registry import Registry
from rotelab.runs.jobs import LOST, PERHAPS_MEMORY, Jobs
from rotelab.runs.processes import RUN_VARIABLE, age_s, processes_of
from rotelab.storage import Storage

PACK = Pack(
    "mother",
    FactSet([Fact("mother", "Ada Quill", "Bo Reed"), Fact("mother", "Cy Stone", "Di Thorn")]),
    PromptSet([PromptTemplate("mother", "train", "en", "The mother of {subject} is")]),
)

WORKER = """
    import os, signal, subprocess, sys, time
    sys.modules["pandas"] = sys.modules["numpy"] = None  # sqlite-utils imports them if it can
    from rotelab.runs.jobs import Jobs
    from rotelab.registry import Registry
    from rotelab.storage import Storage

    mode, run_id = sys.argv[1:]
    settings = Storage.from_environment()
    registry = Registry(settings)
    jobs = Jobs(registry, settings, [sys.executable, __file__, mode])
    jobs.attach(run_id)
    print("hello from", run_id, flush=True)
    if mode == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "memory":
        sys.exit("RuntimeError: CUDA out of memory. Tried to allocate 2 GiB")
    if mode in ("stubborn", "orphans", "parent"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\\n"
        deaf += "time.sleep(300)"
        # In a session of its own. Without the run's name only the tree leads to it; with it, only
        # the name does once its parent is dead.
        env = {"stubborn": {}, "orphans": None, "parent": {"ROTELAB_RUN": "the-next"}}[mode]
        child = subprocess.Popen([sys.executable, "-S", "-c", deaf], env=env,
                                 stdout=subprocess.PIPE, start_new_session=True)
        child.stdout.readline()
        registry.heartbeat(run_id, message=str(child.pid))
        time.sleep(300)
    step = 0
    while mode == "works" and not (settings.home / "finish").exists():
        step += 1
        if registry.heartbeat(run_id, phase="memorize", step=step):
            registry.set_status(run_id, "stopped")
            break
        time.sleep(0.02)
    else:
        registry.set_status(run_id, "finished")
    jobs.start_next()
"""


@pytest.fixture
def lab(tmp_path):
    """Makes `Jobs` whose workers behave in a named way; kills what a test leaves running."""
    storage = Storage(tmp_path / "home")
    registry = Registry(storage)
    script = tmp_path / "fake_worker.py"
    script.write_text(textwrap.dedent(WORKER))

    def jobs(mode: str) -> Jobs:
        return Jobs(registry, storage, [sys.executable, str(script), mode], term_wait_s=0.5)

    jobs.registry, jobs.storage = registry, storage
    yield jobs
    left = [p for run in registry.runs(-1, archived=None) for p in processes_of(run.id)]
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=5)


def wait(condition, seconds=15.0):
    """Waits until the condition is true; fails loudly when it never becomes so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def status(lab, run_id):
    return lab.registry.run(run_id).status


def beating(lab, run_id):
    """Waits until the run's worker has done a step."""
    wait(lambda: lab.registry.run(run_id).step)


def over(process):
    """Whether a process has ended, collected by its parent or not."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def gone(jobs, run_id):
    wait(lambda: not jobs.live_processes(run_id))


def zombies() -> set[int]:
    children = psutil.Process().children()
    return {child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE}


def test_the_queue_moves_on_without_the_page(lab):
    page = lab("works")
    first, second, third = (page.enqueue(RunConfig(), PACK) for _ in range(3))
    beating(lab, first)
    assert [status(lab, run) for run in (first, second, third)] == ["running", "queued", "queued"]
    assert page.start_next() is None

    (lab.storage.home / "finish").touch()  # from here on only the workers themselves act
    wait(lambda: status(lab, third) == "finished")
    assert [status(lab, run) for run in (first, second)] == ["finished", "finished"]
    for run in (first, second, third):
        assert f"hello from {run}" in lab.storage.log_file(run).read_text()
        gone(page, run)
    page.reap()
    workers = {lab.registry.run(run).pid for run in (first, second, third)}
    assert (
        None not in workers and not zombies() & workers
    )  # other tests of this process may have left some


def test_a_worker_has_its_own_session_and_knows_its_home(lab):
    page = lab("works")
    run = page.enqueue(RunConfig(), PACK)
    beating(lab, run)
    row = lab.registry.run(run)
    assert os.getsid(row.pid) == row.pid != os.getsid(0)
    assert psutil.Process(row.pid).environ()[RUN_VARIABLE] == run
    assert abs(psutil.Process(row.pid).create_time() - row.pid_started) < 0.1
    assert page.is_alive(row) and page.reconcile() == []
    assert page.stop(run) == "stopping"
    wait(lambda: status(lab, run) == "stopped")


def test_stop_lets_the_step_finish(lab):
    page = lab("works")
    run, waiting = page.enqueue(RunConfig(), PACK), page.enqueue(RunConfig(), PACK)
    beating(lab, run)
    assert page.stop(waiting) == "stopped"
    assert page.stop(run, wait_s=None) == "stopping"
    wait(lambda: status(lab, run) == "stopped")
    gone(page, run)
    assert page.stop(run) == "stopped"
    with pytest.raises(UnknownRun):
        page.stop("20200101-000000-none-0000")


@pytest.mark.parametrize("mode", ["works", "stubborn"])
def test_stop_and_wait_comes_back_when_the_run_has_ended(lab, mode):
    page = lab(mode)
    run = page.enqueue(RunConfig(), PACK)
    wait(lambda: lab.registry.run(run).step or lab.registry.run(run).message)
    worker = psutil.Process(lab.registry.run(run).pid)
    assert page.stop_and_wait(run, wait_s=5.0 if mode == "works" else 0.2) == "stopped"
    if mode == "stubborn":
        assert over(worker)
    assert page.stop_and_wait(run) == "stopped"
    assert page.stop_and_wait(page.registry.create_run(RunConfig(), PACK)) == "stopped"


@pytest.mark.parametrize("mode", ["stubborn", "orphans"])
def test_stop_kills_the_whole_tree_of_a_run_that_does_not_listen(lab, mode):
    page = lab(mode)
    run = page.enqueue(RunConfig(), PACK)
    wait(lambda: lab.registry.run(run).message)
    row = lab.registry.run(run)
    worker, grandchild = psutil.Process(row.pid), psutil.Process(int(row.message))
    assert page.stop(run, wait_s=0.2) == "stopping"
    assert status(lab, run) == "stopping"  # it returned at once
    wait(lambda: status(lab, run) == "stopped")
    for process in (worker, grandchild):
        assert over(process)


def test_escalate_leaves_ended_runs_alone(lab):
    page = lab("works")
    run = page.enqueue(RunConfig(), PACK)
    beating(lab, run)
    page.stop(run)
    wait(lambda: status(lab, run) == "stopped")
    page.escalate(run)
    assert lab.registry.run(run).status == "stopped"


def test_escalate_spares_the_next_run(lab):
    # The worker of a run that ends is the parent of the next one's.
    page = lab("parent")
    run = page.enqueue(RunConfig(), PACK)
    wait(lambda: lab.registry.run(run).message)
    row = lab.registry.run(run)
    worker, other = psutil.Process(row.pid), psutil.Process(int(row.message))
    try:
        page.escalate(run)
        assert status(lab, run) == "stopped" and over(worker) and not over(other)
    finally:
        other.kill()


def test_a_dead_worker_is_noticed_and_its_orphans_end(lab):
    page = lab("orphans")
    run = page.enqueue(RunConfig(), PACK)
    wait(lambda: lab.registry.run(run).message)
    row = lab.registry.run(run)
    orphan = psutil.Process(int(row.message))
    assert page.reconcile() == []
    os.kill(row.pid, signal.SIGKILL)
    wait(lambda: page.reconcile() == [run])
    wait(lambda: over(orphan))
    row = lab.registry.run(run)
    assert row.status == "interrupted" and row.error.startswith(LOST) and row.finished
    assert page.reconcile() == []


@pytest.mark.parametrize("mode", ["dies", "memory"])
def test_a_death_for_lack_of_memory_says_so(lab, mode):
    page = lab(mode)
    run = page.enqueue(RunConfig(), PACK)
    wait(lambda: page.reconcile() or status(lab, run) == "interrupted")
    assert lab.registry.run(run).error == PERHAPS_MEMORY


def test_a_dead_run_does_not_hold_up_the_queue(lab):
    page = lab("dies")
    first = page.enqueue(RunConfig(), PACK)
    second = page.enqueue(RunConfig(), PACK)

    def both_dead():
        page.poll()
        return {status(lab, first), status(lab, second)} == {"interrupted"}

    wait(both_dead)


def test_stop_of_a_dead_run_ends_as_stopped(lab):
    page = lab("works")
    run = page.enqueue(RunConfig(), PACK)
    beating(lab, run)
    pid = lab.registry.run(run).pid
    os.kill(pid, signal.SIGSTOP)  # it can't answer any more
    page.stop(run, wait_s=None)
    os.kill(pid, signal.SIGKILL)
    wait(lambda: page.reconcile() == [run])
    row = lab.registry.run(run)
    assert (row.status, row.error) == ("stopped", "")


def test_resume_keeps_the_id(lab):
    page = lab("works")
    run = page.enqueue(RunConfig(), PACK)
    beating(lab, run)
    with pytest.raises(LabError, match="running"):
        page.resume(run)
    page.stop(run)
    wait(lambda: status(lab, run) == "stopped")
    first = lab.registry.run(run)
    page.resume(run)
    wait(lambda: lab.registry.run(run).pid not in (None, first.pid))
    second = lab.registry.run(run)
    assert second.started == first.started and second.error == "" and not second.stop_requested
    (lab.storage.home / "finish").touch()
    wait(lambda: status(lab, run) == "finished")
    with pytest.raises(LabError, match="finished"):
        page.resume(run)


def test_a_run_in_the_foreground_holds_the_device(lab):
    page = lab("works")
    mine = page.start_foreground(RunConfig(), PACK)
    row = lab.registry.run(mine)
    assert (row.status, row.pid) == ("running", os.getpid()) and page.is_alive(row)
    with pytest.raises(LabError, match=mine):
        page.start_foreground(RunConfig(), PACK)
    assert lab.registry.count_runs() == 1, "a refused run must leave no row"
    waiting = page.enqueue(RunConfig(), PACK)
    assert status(lab, waiting) == "queued" and page.reconcile() == []
    with pytest.raises(LabError, match=mine):
        page.claim_foreground(waiting)
    with pytest.raises(LabError, match="this very process"):
        page.escalate(mine)
    lab.registry.set_status(mine, "stopped")
    page.claim_foreground(mine)  # this very process may go on with what it stopped
    lab.registry.set_status(mine, "stopped")
    page.claim_foreground(waiting)
    assert lab.registry.run(waiting).pid == os.getpid()


def test_a_run_whose_process_is_still_ending_waits(lab):
    page = lab("works")
    run = lab.registry.create_run(RunConfig(), PACK)
    sleeper = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
    try:
        lab.registry.claim(run, sleeper.pid, psutil.Process(sleeper.pid).create_time())
        lab.registry.set_status(run, "stopped")
        for go_on in (page.resume, page.claim_foreground):
            with pytest.raises(LabError, match="still ending"):
                go_on(run)
        assert status(lab, run) == "stopped"
    finally:
        sleeper.kill()
        sleeper.wait()
    page.claim_foreground(run)


def test_a_pid_alone_is_not_a_life(lab):
    page = lab("works")
    run = page.start_foreground(RunConfig(), PACK)
    with sqlite3.connect(lab.storage.database) as db:  # as if the PID had been given out anew
        db.execute("UPDATE runs SET pid_started = pid_started - 100")
    assert page.reconcile() == [run]
    assert status(lab, run) == "interrupted"


def test_a_clock_that_was_set_does_not_kill_a_worker(lab):
    page = lab("works")
    run = page.enqueue(RunConfig(), PACK)
    beating(lab, run)
    with sqlite3.connect(lab.storage.database) as db:
        db.execute("UPDATE runs SET pid_started = pid_started + 7200, heartbeat = '2001-01-01'")
    assert page.reconcile() == [] and status(lab, run) == "running"


def test_a_claim_that_nobody_followed_up(lab):
    page = lab("works")
    run = lab.registry.create_run(RunConfig(), PACK)
    assert lab.registry.claim_next() == run  # and then its starter is killed
    assert page.reconcile() == []
    for claimed in ("2001-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"):
        with sqlite3.connect(lab.storage.database) as db:
            db.execute("UPDATE runs SET claimed = ?, status = 'running'", [claimed])
        assert age_s(claimed) > 60 and page.reconcile() == [run]
    with pytest.raises(LabError, match="not waiting"):
        page.attach(run)


def test_no_process_can_be_started(lab):
    page = Jobs(lab.registry, lab.storage, ["/nowhere/python"])
    with pytest.raises(LabError, match="No process could be started"):
        page.enqueue(RunConfig(), PACK)
    (run,) = lab.registry.runs()
    assert run.status == "failed" and "No such file" in run.error
    (lab.storage.home / "finish").touch()
    assert lab("works").enqueue(RunConfig(), PACK)  # and the next one starts


def test_many_starters_start_one_worker(lab):
    starters = [lab("works") for _ in range(6)]
    run = lab.registry.create_run(RunConfig(), PACK)
    lab.registry.create_run(RunConfig(), PACK)
    started, together = [], threading.Barrier(len(starters))

    def start(jobs):
        together.wait()
        started.append(jobs.start_next())

    threads = [threading.Thread(target=start, args=(jobs,)) for jobs in starters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started, key=str) == sorted([run, *[None] * 5], key=str)
    beating(lab, run)
    assert len(starters[0].live_processes(run)) == 1


def test_devices_do_not_wait_for_each_other(lab):
    page = lab("works")
    zero, one, zero_too = (
        page.enqueue(RunConfig(model=ModelSpec(device=device)), PACK)
        for device in ("cuda", "cuda:1", "cuda:0")
    )
    assert [status(lab, run) for run in (zero, one, zero_too)] == ["running", "running", "queued"]
    (lab.storage.home / "finish").touch()
    wait(lambda: status(lab, zero_too) == "finished")
