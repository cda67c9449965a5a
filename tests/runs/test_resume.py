"""Runs whose process is killed at a chosen call resume to the numbers of an unbroken run."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from accelerate import Accelerator
from support.quick_runs import losses, outcome, start

from rotelab.config.run_config import MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.runs import pipeline, progress, worker
from rotelab.storage import state_folder
from rotelab.training.events import EpochEvent
from rotelab.training.phases import memorize
from rotelab.training.state import STATE_DAMAGED, SavingClock, load_state, save_state

KILLED = """
import os, signal, sys
from rotelab.runs import pipeline, progress, worker

pipeline.SAVE_SHARE = float("inf")  # every epoch, whatever that costs on so small a model
progress.RECORD_EVERY_S = 0.0
point, n, run_id = sys.argv[1], int(sys.argv[2]), sys.argv[3]
place, name = {
    "rename": (os, "rename"),
    "fsync": (os, "fsync"),
    "step": (pipeline.RunPipeline, "_record_step"),
}[point]
real, home, calls = getattr(place, name), os.environ["ROTELAB_HOME"], 0


def deadly(*args, **options):
    global calls
    calls += 1
    if calls == n:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)


setattr(place, name, deadly)
sys.exit(worker.main(run_id))
"""


@pytest.fixture
def quick(quick):
    """Three rounds of phase 2 too."""
    return replace(quick, generalize=replace(quick.generalize, epochs=3, batch_size=4))


@pytest.fixture
def finished(lab, quick):
    run_id = start(lab, quick)
    worker.work(lab.registry, lab.storage, run_id)
    return run_id


def kill(lab, run_id, point, n):
    """Runs it in a process that kills itself at the n-th call of that point."""
    lab.registry.claim_next()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", KILLED, point, str(n), run_id]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert lab.jobs.reconcile() == [run_id]
    assert lab.registry.run(run_id).status == "interrupted"


# Rounds 1 and 2 of phase 1 are saved with 2 and 3 renames, its adapter with 2 and the state's end
# with 1; a step is half a round.
@pytest.mark.parametrize(
    ("point", "n", "found"),
    [
        (
            "rename",
            3,
            [("memorize", 1), None],
        ),  # the second state is written, but not said to be whole
        (
            "rename",
            5,
            [("memorize", 2), None],
        ),  # the first state is away, the second not there
        ("fsync", 6, [("memorize", 1), None]),  # in the middle of writing the second
        ("rename", 7, [("memorize", 2)]),  # the adapter is whole, but not in its place
        ("step", 6, [("memorize", 2), None]),  # in the middle of a round
        ("step", 10, [("generalize", 1)]),
    ],
)
def test_a_kill_costs_no_completed_round_and_changes_no_number(
    lab, finished, quick, monkeypatch, point, n, found
):
    run_id = lab.registry.create_run(quick, lab.facts_for(quick))
    kill(lab, run_id, point, n)
    places = []

    def note(folder):
        state = load_state(folder)
        places.append(state and (state.phase, state.epoch))
        return state

    monkeypatch.setattr(pipeline, "load_state", note)
    lab.jobs.claim_foreground(run_id)
    worker.work(lab.registry, lab.storage, run_id)
    run = lab.registry.run(run_id)
    assert (run.status, run.error) == ("finished", "")
    assert STATE_DAMAGED not in run.warnings
    assert places == found  # what each phase that was not done yet went on from
    assert losses(lab, run_id) == losses(lab, finished)
    assert outcome(lab, run_id) == outcome(lab, finished)
    assert not state_folder(lab.storage, run_id).exists(), "of no use to a finished run"


def test_a_damaged_state_is_said_and_not_loaded(lab, finished, quick, monkeypatch):
    monkeypatch.setattr(pipeline, "SAVE_SHARE", float("inf"))
    monkeypatch.setattr(progress, "RECORD_EVERY_S", 0.0)
    run_id = start(lab, quick)

    def stop_in_the_third_round(share, message):
        if "rote: round 3" in message:
            lab.registry.request_stop(run_id)

    worker.work(lab.registry, lab.storage, run_id, stop_in_the_third_round)
    path = state_folder(lab.storage, run_id) / "state.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)
    lab.jobs.claim_foreground(run_id)
    worker.work(lab.registry, lab.storage, run_id)
    run = lab.registry.run(run_id)
    assert (run.status, run.warnings) == ("finished", (STATE_DAMAGED,))
    assert outcome(lab, run_id) == outcome(lab, finished)


def test_a_phase_that_ended_early_does_not_go_on_after_a_kill(tiny, mother, tmp_path):
    facts = FactSet(mother.facts[:4])
    config = MemorizeConfig(
        spare=0, epochs=200, rank=32, batch_size=4, learning_rate=3e-3, stop_at_full_recall=True
    )
    cpu = Accelerator(cpu=True)
    for event in memorize(tiny, facts, config, 0, cpu):
        if isinstance(event, EpochEvent) and event.last:
            save_state(event.state(), tmp_path / "state")
    assert event.last and event.epoch < config.epochs
    learned = {name: tensor.clone() for name, tensor in tiny.tensors("memorize").items()}
    state = load_state(tmp_path / "state")
    assert (state.done, state.epoch) == (True, event.epoch)
    assert list(memorize(tiny, facts, config, 0, cpu, state)) == []
    for name, tensor in tiny.tensors("memorize").items():
        assert tensor.equal(learned[name])


@pytest.mark.parametrize(
    ("epoch_s", "save_s", "saved"),
    [(60.0, 0.7, 10), (10.0, 0.6, 9), (1.0, 2.0, 1), (9.0, 50.0, 4)],
)
def test_saving_takes_a_small_part_of_the_time(epoch_s, save_s, saved):
    seconds = [0.0]
    clock = SavingClock(share=0.05, every_s=20.0, clock=lambda: seconds[0])
    count = 0
    for _ in range(10):
        seconds[0] += epoch_s
        if clock.due():
            with clock.saving():
                seconds[0] += save_s
            count += 1
    assert count == saved
