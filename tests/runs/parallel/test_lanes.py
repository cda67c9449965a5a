"""A sweep's runs side by side: each once, equal to those made one after the other, all stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from support.page import until
from support.paths import ROOT
from support.runs_of_sweeps import everything

from rotelab.config.run_config import RunConfig
from rotelab.errors import DeviceTaken
from rotelab.runs import sweeps
from rotelab.runs.parallel import lanes


@pytest.fixture
def base(quick):
    return replace(quick, facts=6, generalize=replace(quick.generalize, k=3))


def quiet(*how_far):
    """Watches nothing."""


def test_two_lanes_make_each_run_once_and_as_one_would(lab, base):
    axes = {"generalize.k": [3, 2], "seed": [0, 1]}
    several, one = sweeps.plan(lab, axes, base), sweeps.plan(lab, axes, base)
    assert lanes.run_side_by_side(lab, several, quiet, jobs=2)
    assert sweeps.run_sweep(lab, one, quiet)
    pairs = list(zip(*(lab.registry.sweep_runs(i) for i in (several, one)), strict=True))
    assert len(pairs) == 4
    for mine, other in pairs:
        assert (mine.status, other.status) == ("finished", "finished")
        assert everything(lab, mine.id) == everything(lab, other.id)
    made_by = {mine.pid for mine, _ in pairs}
    assert os.getpid() in made_by and len(made_by) <= 2
    logs = list((lab.storage.home / "sweeps").glob("*.txt"))
    assert len(logs) == 1 and "Traceback" not in logs[0].read_text(encoding="utf-8")


def test_runs_of_one_sweep_may_share_a_device_and_no_others(lab, base):
    sweep_id = sweeps.plan(lab, {"seed": [0, 1]}, base)
    other_id = sweeps.plan(lab, {"seed": [0]}, base)
    first, second = lab.registry.sweep_runs(sweep_id)
    (other,) = lab.registry.sweep_runs(other_id)
    lab.jobs.claim_foreground(first.id, together=True)
    with pytest.raises(DeviceTaken):
        lab.jobs.claim_foreground(second.id)
    with pytest.raises(DeviceTaken):
        lab.jobs.claim_foreground(other.id, together=True)
    lab.jobs.claim_foreground(second.id, together=True)


def test_a_run_waits_for_the_phase_1_that_it_can_take_over(lab, base):
    sweep_id = sweeps.plan(lab, {"generalize.k": [3, 2], "seed": [0, 1]}, base)
    first, same, *_others = lab.registry.sweep_runs(sweep_id)
    lab.jobs.claim_foreground(first.id, together=True)
    turns = sweeps._turns(lab, sweep_id, quiet, together=True)
    taken = next(turns)[2]
    assert lab.registry.run(taken).seed == 1 and taken != same.id
    lab.registry.set_status(first.id, "failed")
    assert next(turns)[2] == same.id, "nobody learns it any more"


def test_ctrl_c_stops_the_helpers_too_and_the_sweep_goes_on(lab, base):
    # Some 20,000 steps: no machine ends it before it is stopped.
    long = replace(base, facts=40, memorize=replace(base.memorize, epochs=500, batch_size=1))
    sweep_id = sweeps.plan(lab, {"seed": [0, 1]}, long)
    code = (
        "import sys\n"
        "from rotelab.runs.lab import Lab\n"
        "from rotelab.runs.parallel import lanes\n"
        "ended = lanes.run_side_by_side(Lab.open(), sys.argv[1], lambda *a: None, 2)\n"
        "sys.exit(0 if ended else 7)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, sweep_id], cwd=ROOT)
    runs = lambda: lab.registry.sweep_runs(sweep_id)  # noqa: E731
    # Not while libraries are still being imported: some catch whatever is raised meanwhile.
    train = lambda run: (lab.registry.run(run.id).step or 0) > 20  # noqa: E731
    until(lambda: all(map(train, runs())), 240, "both train")
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 7
    assert [run.status for run in runs()] == ["stopped", "stopped"]
    assert not [p for run in runs() for p in lab.jobs.live_processes(run.id)]


# How many ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cores, cards, fitting, runs, jobs, wanted",
    [
        (2, 0, 9, 12, 0, 2),
        (8, 0, 3, 99, 0, 3),  # memory
        (8, 0, 9, 5, 0, 1),  # too few for a helper to pay
        (8, 4, 9, 12, 0, 4),  # one a card
        (8, 4, 9, 2, 0, 2),
        (1, 0, 1, 12, 3, 3),  # the user knows better
        (8, 0, 9, 0, 3, 1),
    ],
)
def test_as_many_lanes_as_pay(monkeypatch, cores, cards, fitting, runs, jobs, wanted):
    monkeypatch.setattr(lanes, "own_cores", lambda: tuple(range(cores)))
    monkeypatch.setattr(lanes, "_cards", lambda: cards)
    monkeypatch.setattr(lanes, "_has_mps", lambda: False)
    monkeypatch.setattr(lanes, "_fitting", lambda configs: fitting)
    assert lanes.lanes_for([RunConfig()] * runs, jobs) == wanted


def test_processes_of_accelerate_make_one_run_at_a_time(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert lanes.lanes_for([RunConfig()] * 12, 4) == 1
