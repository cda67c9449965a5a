"""The registry's queue: one run a device, in order, with heartbeats and processes."""

import pytest
from support.registry_tools import in_threads
from support.rows import pack_of

from rotelab.config.run_config import ModelSpec, RunConfig
from rotelab.errors import LabError, UnknownRun


def test_heartbeat(registry, run):
    assert registry.heartbeat(run), "a run that is not live is no longer this process's"
    registry.claim(run, 1, 0.0)
    assert not registry.heartbeat(run, phase="memorize", epoch=2, epochs=20, eta_s=3.5)
    assert not registry.heartbeat(run, step=5, steps=10, share=0.25, message="so far")
    row = registry.run(run)
    assert (row.phase, row.epoch, row.epochs, row.eta_s) == ("memorize", 2, 20, 3.5)
    assert (row.step, row.steps, row.share, row.message) == (5, 10, 0.25, "so far")
    assert row.heartbeat and not registry.stop_requested(run)
    assert registry.request_stop(run) == "stopping"
    assert registry.heartbeat(run) and registry.stop_requested(run)
    assert registry.request_stop(run) == "stopping"
    registry.set_status(run, "stopped")
    assert registry.heartbeat(run) and registry.request_stop(run) == "stopped"
    with pytest.raises(TypeError):
        registry.heartbeat(run, status="finished")


def test_one_run_at_a_time_and_in_turn(registry):
    runs = [registry.create_run(RunConfig(), pack_of()) for _ in range(3)]
    for run in runs:
        claimed = in_threads(8, lambda _: registry.claim_next())
        assert sorted(claimed, key=str) == sorted([run] + [None] * 7, key=str)
        registry.set_status(run, "finished")
    assert registry.claim_next() is None


def test_devices(registry):
    def add(device):
        return registry.create_run(RunConfig(model=ModelSpec(device=device)), pack_of())

    zero, one, auto, one_too = add("cuda"), add("cuda:1"), add("auto"), add("cuda:1")
    assert [registry.claim_next() for _ in range(3)] == [zero, one, None]
    registry.set_status(one, "finished")
    # auto waits for all devices; the later run does not overtake it
    assert registry.claim_next() is None
    registry.set_status(zero, "finished")
    assert registry.claim_next() == auto and registry.claim_next() is None
    registry.update_run(auto, device_used="cuda:0")  # now it is known which one auto took
    assert registry.claim_next() == one_too
    with pytest.raises(LabError, match=auto):
        registry.claim(add("cuda:0"), 1, 0.0)


def test_a_process_is_set_once(registry, run):
    assert not registry.set_process(run, 11, 1.0)
    registry.claim_next()
    assert registry.set_process(run, 11, 1.0) and registry.set_process(run, 11, 1.0)
    assert not registry.set_process(run, 12, 2.0)
    (live,) = registry.live_runs()
    assert (live.id, live.pid, live.pid_started, live.stop_requested) == (run, 11, 1.0, False)
    assert not registry.end_dead(run, 12, "interrupted", "x")
    assert registry.end_dead(run, 11, "interrupted", "x") and registry.live_runs() == []
    assert not registry.end_dead(run, 11, "interrupted", "x")


def test_the_queue_is_reordered(registry):
    ids = [registry.create_run(RunConfig(), pack_of("Ada")) for _ in range(4)]

    def order():
        waiting = registry.runs(limit=-1, status="queued")
        return [ids.index(r.id) for r in sorted(waiting, key=lambda r: r.queue_position)]

    assert registry.move_in_queue(ids[3], -1) == 2 and order() == [0, 1, 3, 2]
    assert registry.move_in_queue(ids[3], -99) == 0 and order() == [3, 0, 1, 2]
    assert registry.move_in_queue(ids[0], 1) == 2 and order() == [3, 1, 0, 2]
    assert registry.move_in_queue(ids[3], 99) == 3 and order() == [1, 0, 2, 3]
    assert [r.id for r in registry.runs(order="queue")] == [ids[i] for i in (1, 0, 2, 3)]
    assert [registry.runs_before(ids[i]) for i in (1, 0, 2, 3)] == [0, 1, 2, 3]
    assert registry.claim_next() == ids[1]
    with pytest.raises(LabError, match="does not wait"):
        registry.move_in_queue(ids[1], -1)
    assert registry.runs_before(ids[1]) == 0 and registry.runs_before(ids[3]) == 2
    assert registry.runs(limit=1, order="queue")[0].id == ids[1], "what is at work comes first"
    # Who comes later is last, wherever the others were put.
    ids.append(registry.create_run(RunConfig(), pack_of("Ada")))
    assert order() == [0, 2, 3, 4]
    with pytest.raises(UnknownRun):
        registry.move_in_queue("20260101-000000-gone-0000", 1)
