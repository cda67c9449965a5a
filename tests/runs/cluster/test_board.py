"""A sweep as jobs: taken in once and equal to one made here, lost jobs, stops, refusals.

The engine is a double that runs nothing by itself, so that a test decides when a job does what;
`test_local_jobs_*` starts real processes through submitit, and SLURM is used where there is one.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from support.command_line import refused, rotelab
from support.runs_of_sweeps import everything

from rotelab.errors import LabError
from rotelab.experiments import runner
from rotelab.runs import sweeps
from rotelab.runs.cluster import board
from rotelab.runs.cluster.arm import ArmFiles
from rotelab.runs.cluster.engines import SlurmEngine, slurm_parameters
from rotelab.runs.cluster.options import ATTEMPTS, ClusterOptions, minutes
from rotelab.storage import adapter_folder


@pytest.fixture
def base(quick):
    return replace(quick, facts=6, generalize=replace(quick.generalize, k=3))


@pytest.fixture
def sweep_id(lab, base):
    return sweeps.plan(lab, {"generalize.k": [3, 2]}, base)


class Cluster:
    """A cluster that makes a run when it is told to."""

    def __init__(self):
        self.jobs, self.alive, self.cancelled, self.answers = {}, [], [], True

    def submit(self, arms, options, name):
        ids = [str(len(self.jobs) + place) for place in range(len(arms))]
        self.jobs |= dict(zip(ids, arms, strict=True))
        self.alive += ids
        return ids

    def states(self, job_ids):
        return {i: "running" for i in job_ids if i in self.alive} if self.answers else None

    def cancel(self, job_ids):
        self.cancelled += job_ids
        self.alive = [i for i in self.alive if i not in job_ids]

    def log(self, job_id):
        arm = next(iter(self.jobs.values()))
        file = ArmFiles(arm.folder, "x").home.parent.parent / f"{job_id}.out"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"log of {job_id}", encoding="utf-8")
        return file

    def make(self, job_id):
        self.jobs[job_id]()
        self.lose(job_id)

    def lose(self, job_id):
        self.alive.remove(job_id)


@pytest.fixture
def cluster(monkeypatch, own_home):
    made = Cluster()
    monkeypatch.setattr(board, "engine_of", lambda name, folder: made)
    real = os_environ(monkeypatch, own_home)
    make = made.make
    made.make = lambda job_id: (make(job_id), real())
    return made


def os_environ(monkeypatch, own_home):
    """A job sets its own home in the environment of its process, which here is the test's."""
    return lambda: monkeypatch.setenv("ROTELAB_HOME", str(own_home))


LOCAL = ClusterOptions("local", jobs=9)


def statuses(lab, sweep_id):
    return [run.status for run in lab.registry.sweep_runs(sweep_id)]


def test_runs_return_once_and_are_those_that_are_made_here(lab, base, sweep_id, cluster):
    assert board.submit(lab, sweep_id, LOCAL) == 2
    assert board.submit(lab, sweep_id, LOCAL) == 0, "what is given away is not given twice"
    assert list(cluster.jobs) == ["0", "1"]
    for job_id in cluster.jobs:
        cluster.make(job_id)
    assert board.look(lab, sweep_id) == [] and board.look(lab, sweep_id) == []
    assert statuses(lab, sweep_id) == ["finished", "finished"]
    assert lab.registry.count_runs(archived=None) == 2
    here = sweeps.plan(lab, {"generalize.k": [3, 2]}, base)
    assert sweeps.run_sweep(lab, here, lambda *how_far: None)
    pairs = zip(*(lab.registry.sweep_runs(i) for i in (sweep_id, here)), strict=True)
    for theirs, own in pairs:
        assert everything(lab, theirs.id) == everything(lab, own.id)
        assert theirs.name == own.name and theirs.seconds["total"] > 0
        weights = [
            adapter_folder(lab.storage, run.id, "generalized") / "adapter_model.safetensors"
            for run in (theirs, own)
        ]
        assert weights[0].read_bytes() == weights[1].read_bytes()
        assert lab.log(theirs.id) == [f"log of {theirs.sweep_position}"]
    assert not list((lab.storage.home / "cluster").rglob("runs.db")), "the jobs' homes are gone"


def test_an_interruption_while_a_run_returns_loses_nothing(lab, sweep_id, cluster, monkeypatch):
    board.submit(lab, sweep_id, LOCAL)
    cluster.make("0")

    def power_cut(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rotelab.runs.cluster.returning.put_in_place", power_cut)
        with pytest.raises(KeyboardInterrupt):
            board.look(lab, sweep_id)
    assert statuses(lab, sweep_id) == ["queued", "queued"]
    board.look(lab, sweep_id)
    assert statuses(lab, sweep_id) == ["finished", "queued"]


def test_nothing_here_starts_a_run_that_is_given_away(lab, sweep_id, cluster):
    board.submit(lab, sweep_id, LOCAL)
    first = lab.registry.sweep_runs(sweep_id)[0].id
    with pytest.raises(LabError, match="made elsewhere"):
        lab.jobs.claim_foreground(first)
    with pytest.raises(LabError, match="made elsewhere"):
        sweeps.run_sweep(lab, sweep_id, lambda *how_far: None)
    refused(rotelab("sweep", "--resume", sweep_id), "2 runs", "cluster cancel")


def test_a_lost_job_is_submitted_again_and_goes_on_and_at_last_fails(lab, sweep_id, cluster):
    board.submit(lab, sweep_id, LOCAL)
    run = lab.registry.sweep_runs(sweep_id)[0]
    for attempt in range(1, ATTEMPTS + 1):
        job = lab.registry.cluster_jobs(sweep_id)[0]
        assert (job.run_id, job.attempts) == (run.id, attempt)
        cluster.lose(job.job_id)
        assert board.look(lab, sweep_id)[0].state == "gone", "its last words may be on their way"
        board.look(lab, sweep_id)
    run = lab.registry.run(run.id)
    assert run.status == "failed" and "ended 3 times" in run.error
    assert len(lab.registry.cluster_jobs(sweep_id)) == 1
    board.submit(lab, sweep_id, LOCAL)
    assert [job.attempts for job in lab.registry.cluster_jobs(sweep_id)] == [1, 1]


def test_a_cluster_that_does_not_answer_loses_no_job(lab, sweep_id, cluster):
    board.submit(lab, sweep_id, LOCAL)
    cluster.answers = False
    for _ in range(3):
        assert [job.state for job in board.look(lab, sweep_id)] == ["waiting", "waiting"]
    cluster.answers = True
    assert [job.state for job in board.look(lab, sweep_id)] == ["running", "running"]
    assert len(cluster.jobs) == 2


def test_a_run_that_fails_there_fails_here_with_its_sentence(lab, sweep_id, cluster, tmp_path):
    board.submit(lab, sweep_id, LOCAL)
    arm = cluster.jobs["0"]
    gone = replace(arm.config, model=replace(arm.config.model, name=str(tmp_path / "no-model")))
    cluster.jobs["0"] = replace(arm, config=gone)
    cluster.make("0")
    board.look(lab, sweep_id)
    run = lab.registry.run(arm.run_id)
    assert run.status == "failed" and "no-model" in run.error
    assert lab.log(run.id) == ["log of 0"]


def test_cancel_and_stop_end_the_jobs(lab, sweep_id, cluster):
    board.submit(lab, sweep_id, LOCAL)
    first, second = lab.registry.sweep_runs(sweep_id)
    lab.jobs.stop(first.id)  # as on the page
    assert [job.run_id for job in board.look(lab, sweep_id)] == [second.id]
    assert cluster.cancelled == ["0"]
    said = rotelab("cluster", "cancel", sweep_id)
    assert said.code == 0 and "1 jobs" in said.out
    assert statuses(lab, sweep_id) == ["stopped", "stopped"] and cluster.alive == []


def test_only_so_many_local_jobs_are_at_work_at_once(lab, sweep_id, cluster):
    board.submit(lab, sweep_id, ClusterOptions("local", jobs=1))
    assert list(cluster.jobs) == ["0"]
    assert rotelab("cluster", "status", sweep_id).out.count("planned") == 1
    cluster.make("0")
    board.look(lab, sweep_id)
    assert list(cluster.jobs) == ["0", "1"]


def test_an_experiment_s_runs_are_made_on_the_cluster_too(lab, base, cluster):
    made = []

    def make(lab, sweep_id, watch):
        board.submit(lab, sweep_id, LOCAL)
        for job_id in list(cluster.alive):
            cluster.make(job_id)
        made.append(sweep_id)
        return board.run_on_cluster(lab, sweep_id, watch)

    experiment_id = runner.begin(lab, "reversal", config=base)
    runner.carry_out(lab, experiment_id, make=make)
    row = lab.registry.experiment_row(experiment_id)
    assert (row.status, row.error) == ("finished", "") and len(made) == 1


# Options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, wanted",
    [("90", 90), ("1:30:00", 90), ("2-12:00:00", 3600), ("0:30", 1), ("90:00", 90)],
)
def test_time_limits_are_read_as_slurm_writes_them(text, wanted):
    assert minutes(text) == wanted


@pytest.mark.parametrize("text", ["", "soon", "0", "1:2:3:4"])
def test_what_is_no_time_limit_is_refused(text):
    with pytest.raises(LabError, match="no time limit"):
        minutes(text)


def test_what_slurm_is_asked_for():
    options = ClusterOptions(
        "slurm", "gpu", time_min=90, gpus=1, cpus=4, memory_gb=2.5, jobs=8, extra=("qos=long",)
    )
    asked = slurm_parameters(options, "rotelab-x")
    assert asked["partition"] == "gpu" and asked["time"] == 90 and asked["mem"] == "2560MB"
    assert asked["gpus_per_node"] == 1 and asked["srun_args"] == ["--cpus-per-task=4"]
    assert asked["array_parallelism"] == 8 and asked["additional_parameters"] == {"qos": "long"}
    assert ClusterOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_refusals_of_the_command_line(own_home):
    refused(rotelab("sweep", "--k", "1,2", "--partition", "x"), "need --on slurm")
    refused(rotelab("sweep", "--k", "1,2", "--on", "moon"), "moon", "slurm")
    refused(rotelab("sweep", "--k", "1,2", "--on", "local", "--sbatch", "x"), "qos=long")
    refused(rotelab("sweep", "--k", "1,2", "--on", "local", "--gpus-per-run", "1"), "--jobs 1")


def test_without_slurm_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="There is no SLURM here: sbatch, srun, squeue"):
        SlurmEngine(tmp_path)


# Real processes ----------------------------------------------------------------------------------


def words_of(base):
    return [
        "--facts", 6, "--model", base.model.name, "--device", "cpu", "--set", "model.dtype=float32",
        "--set", "memorize.spare=0", "--set", "memorize.epochs=3", "--set", "memorize.rank=4",
        "--set", "memorize.batch_size=4", "--set", "generalize.spare=0", "--set",
        "generalize.rank=2", "--set", "generalize.least_steps=0", "--set",
        "generalize.prompts_per_fact=2", "--set", "evaluation.train_prompts=1", "--set",
        "evaluation.test_prompts=2", "--set", "evaluation.unrelated_prompts=1",
    ]  # fmt: skip


@pytest.mark.parametrize("engine", ["local", "slurm"])
def test_jobs_of_a_real_engine(lab, base, engine, monkeypatch):
    if engine == "slurm" and (shutil.which("sinfo") is None or not slurm_answers()):
        pytest.skip("no SLURM answers here (Debian: slurm-wlm and munge)")
    monkeypatch.setattr(board, "LOOK_EVERY_S", 0.3)
    more = ["--memory", 2, "--cpus-per-run", 1] if engine == "slurm" else []
    said = rotelab("sweep", *words_of(base), "--k", "3,2", "--on", engine, "--jobs", 2, *more)
    assert said.code == 0, said.err
    sweep_id = lab.registry.resolve_sweep("latest")
    assert statuses(lab, sweep_id) == ["finished", "finished"]
    run = lab.registry.sweep_runs(sweep_id)[0]
    assert any(line.endswith(f"run {run.id} finished") for line in lab.log(run.id))
    assert "No run is on a cluster" in rotelab("cluster", "status").out


def slurm_answers():
    import subprocess

    return subprocess.run(["sinfo"], capture_output=True, timeout=60).returncode == 0
