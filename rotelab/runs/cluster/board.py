"""A sweep on a cluster: submitted, looked at, taken in, submitted again if need be, cancelled.

All that is known stands in the registry and in the jobs' files, so any process may look at any
time, and the one that submitted may end. Only one at a time looks at a sweep (a lock).
"""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import filelock

from rotelab.errors import LabError, UnknownRun
from rotelab.registry import ClusterJob
from rotelab.runs.cluster.arm import ArmFiles, ArmJob
from rotelab.runs.cluster.engines import Engine, engine_of
from rotelab.runs.cluster.options import ATTEMPTS, ClusterOptions
from rotelab.runs.cluster.returning import receive
from rotelab.runs.lab import Lab
from rotelab.runs.sweeps import Watch, unfinished_runs
from rotelab.storage import file_stem

LOOK_EVERY_S = 2.0
"""How often a process that waits for a sweep looks at it, in seconds."""

ENDED = ("finished", "failed", "stopped", "interrupted")

LOST = (
    "Its job ended {count} times without saying why; the last one's log is {log}. It may have run "
    "out of memory: ask for more with --memory."
)


def submit(lab: Lab, sweep_id: str, options: ClusterOptions, folder: str = "") -> int:
    """Gives a sweep's unfinished runs to a cluster; returns how many were given away now.

    Args:
        lab: the lab.
        sweep_id: the sweep.
        options: what each run's job asks for.
        folder: what its jobs share; a folder of the lab's home by default. The cluster's machines
            must reach it under the same path.

    Raises:
        LabError: the engine is not there, or the jobs can't be submitted; the runs then wait.
    """
    base = Path(folder).expanduser().absolute() if folder else lab.storage.home / "cluster"
    place = str(base / file_stem(sweep_id, "sweep"))
    engine_of(options.engine, place)  # refuses before anything is written
    left = [run.id for run in unfinished_runs(lab, sweep_id)]
    given = lab.registry.give_to_cluster(left, options.engine, place, options.to_dict())
    try:
        look(lab, sweep_id)
    except LabError:
        for job in lab.registry.cluster_jobs(sweep_id):
            if job.state == "planned":
                lab.registry.take_back(job.run_id)
        raise
    return len(given)


def look(lab: Lab, sweep_id: str = "") -> list[ClusterJob]:
    """Looks at the jobs: takes in what has ended, submits what must be, notes how far the rest is.

    Args:
        lab: the lab.
        sweep_id: one sweep; all by default.

    Returns:
        The jobs that are left.

    Raises:
        LabError: a registry can't be read or written, or a job can't be submitted.
    """
    jobs = lab.registry.cluster_jobs(sweep_id)
    for folder, group in groupby(jobs, key=lambda job: job.folder):
        with _alone(folder) as mine:
            if mine:
                own = [job.run_id for job in group]
                _look_at(lab, [j for j in lab.registry.cluster_jobs() if j.run_id in own])
    return lab.registry.cluster_jobs(sweep_id)


def run_on_cluster(lab: Lab, sweep_id: str, watch: Watch) -> bool:
    """Waits until no run of a sweep is on the cluster any more, taking each in when it ends.

    Returns:
        Whether that was reached; False where Ctrl-C ended the waiting, not the jobs.

    Raises:
        LabError: as `look`.
    """
    try:
        while jobs := look(lab, sweep_id):
            count = lab.registry.sweep(sweep_id).runs
            done = count - len(jobs)
            watch(done + 1, count, sum(job.share for job in jobs), words(jobs))
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        return False
    return True


def words(jobs: Sequence[ClusterJob]) -> str:
    """How many jobs are in which state, such as `2 running, 5 waiting`."""
    counts = {state: 0 for state in ("running", "waiting", "planned", "gone")}
    for job in jobs:
        counts[job.state] += 1
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n)


def cancel(lab: Lab, sweep_id: str) -> int:
    """Ends a sweep's jobs; its runs stop, and can be continued on the cluster. Returns how many.

    Raises:
        LabError: the cluster does not answer, or the registry can't be written.
    """
    jobs = lab.registry.cluster_jobs(sweep_id)
    for (folder, engine), group in groupby(jobs, key=lambda job: (job.folder, job.engine)):
        several = list(group)
        if ids := [job.job_id for job in several if job.job_id]:
            engine_of(engine, folder).cancel(ids)
        for job in several:
            lab.registry.take_back(job.run_id, "stopped")
    return len(jobs)


def log_of(lab: Lab, run_id: str) -> Path | None:
    """The file with what a run's job prints; None where no cluster makes the run."""
    for job in lab.registry.cluster_jobs():
        if job.run_id == run_id and job.job_id:
            return engine_of(job.engine, job.folder).log(job.job_id)
    return None


# Parts -------------------------------------------------------------------------------------------


def _look_at(lab: Lab, jobs: Sequence[ClusterJob]) -> None:
    """Looks at the jobs of one folder."""
    if not jobs:
        return
    engine = engine_of(jobs[0].engine, jobs[0].folder)
    states = engine.states([job.job_id for job in jobs if job.job_id])
    left = [job for job in jobs if not _returned(lab, engine, job)]
    if states is not None:  # else the cluster does not answer: what it makes, it goes on making
        again = [job for job in left if _must_be_submitted(lab, engine, job, states)]
        _submit(lab, engine, again, busy=len(left) - len(again))
    remaining = lab.registry.cluster_jobs(jobs[0].sweep_id)
    if not any(job.folder == jobs[0].folder for job in remaining):
        shutil.rmtree(Path(jobs[0].folder) / "arms", ignore_errors=True)


def _returned(lab: Lab, engine: Engine, job: ClusterJob) -> bool:
    """Whether the run is no longer the cluster's: taken in, failed, stopped or deleted."""
    files = ArmFiles(job.folder, job.run_id)
    try:
        here = lab.registry.run(job.run_id).status
    except UnknownRun:  # deleted meanwhile, and with it its job's row
        here = "stopped"
    if here != "queued":  # a person stopped it
        if job.job_id:
            engine.cancel([job.job_id])
        lab.registry.take_back(job.run_id)
        return True
    said = files.said() or {}
    if said.get("status") not in ENDED:
        return False
    if said["status"] == "finished":
        receive(lab, files, engine.log(job.job_id))
    elif said["status"] == "failed":
        _keep_log(lab, engine, job)
        lab.registry.take_back(job.run_id, "failed", said.get("error", ""))
    else:  # stopped by a signal to the job: it goes on, as after a time limit
        return False
    return True


def _must_be_submitted(lab: Lab, engine: Engine, job: ClusterJob, states: dict[str, str]) -> bool:
    """Whether a run's job must be submitted: for the first time, or because it has gone."""
    if not job.job_id:
        return True
    said = ArmFiles(job.folder, job.run_id).said() or {}
    if state := states.get(job.job_id):
        share = said.get("share", job.share)
        doing = said.get("message", "") if state == "running" else ""
        message = f"{job.engine} {job.job_id}: {doing or state}"
        if (state, share, message) != (job.state, job.share, job.message):
            lab.registry.job_seen(job.run_id, state, share, message)
        return False
    if job.state != "gone":  # its last words may still be on their way through the file system
        lab.registry.job_seen(job.run_id, "gone", job.share, f"{job.engine} {job.job_id}: ended")
        return False
    if job.attempts >= ATTEMPTS:
        _keep_log(lab, engine, job)
        error = LOST.format(count=job.attempts, log=engine.log(job.job_id))
        lab.registry.take_back(job.run_id, "failed", error)
        return False
    return True


def _submit(lab: Lab, engine: Engine, jobs: Sequence[ClusterJob], busy: int) -> None:
    """Submits jobs, as many as may be at work at once."""
    if not jobs:
        return
    options = ClusterOptions.from_dict(json.loads(jobs[0].options))
    if options.at_once is not None:
        jobs = jobs[: max(0, options.at_once - busy)]
    if not jobs:
        return
    arms = []
    for job in jobs:
        run = lab.registry.run(job.run_id)
        ArmFiles(job.folder, job.run_id).forget()
        arms.append(ArmJob(run.id, run.config, run.pack, run.name, job.folder, _variables()))
    with _importable():
        ids = engine.submit(arms, options, f"rotelab-{jobs[0].sweep_id}")
    for job, job_id in zip(jobs, ids, strict=True):
        lab.registry.job_submitted(job.run_id, job_id)


def _keep_log(lab: Lab, engine: Engine, job: ClusterJob) -> None:
    """Copies what a job printed to where the run's log is looked for."""
    source, target = engine.log(job.job_id), lab.storage.log_file(job.run_id)
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _variables() -> dict[str, str]:
    """What a job needs of this process's environment, where a cluster does not pass it on."""
    known = ("ROTELAB_CACHE", "HF_HOME", "HF_HUB_OFFLINE")
    fixed = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    return fixed | {name: os.environ[name] for name in known if name in os.environ}


@contextmanager
def _importable() -> Iterator[None]:
    """Lets jobs import rotelab where it runs from its project's folder and is not installed."""
    root, before = str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH")
    if root != sysconfig.get_paths()["purelib"]:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, before]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH", None)
        if before is not None:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _alone(folder: str) -> Iterator[bool]:
    """Whether this process alone looks at a folder's jobs now; another one does what is to do."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(Path(folder) / "look.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
