"""Several experiments queued with one press: their order, and that none keeps the next from its
turn."""

import pytest
from support.fabricated import finished, queued

from rotelab.errors import LabError
from rotelab.experiments import runner
from rotelab.experiments.planning import queue
from rotelab.experiments.runner import carry_out


@pytest.fixture
def launched(monkeypatch):
    """The ids whose process would have been started; none is."""
    found = []
    monkeypatch.setattr(runner, "launch", lambda lab, experiment_id: found.append(experiment_id))
    return found


def statuses(lab, ids):
    return [lab.registry.experiment_row(i).status for i in ids]


def test_one_runs_and_the_others_wait_until_it_ends(lab, one_more, launched):
    run_id = finished(lab)
    first, second = queue.enqueue(lab, ["damage", "head-count"], run_id)
    assert launched == [first] and statuses(lab, [first, second]) == ["running", "queued"]
    assert lab.registry.experiment_row(first).arms == (("", run_id),)
    assert queue.enqueue(lab, ["head-count"], run_id) == [], "it waits already"
    assert queue.move_on(lab) is None, "one at a time"
    lab.registry.end_experiment(first, "failed", "It fell over.")
    assert queue.move_on(lab) == second and launched == [first, second]
    carry_out(lab, second)
    assert statuses(lab, [second]) == ["finished"] and queue.move_on(lab) is None


def test_one_that_can_not_begin_ends_with_its_reason_and_the_next_has_its_turn(
    lab, one_more, launched, monkeypatch
):
    run_id = finished(lab)
    settle = runner.settle

    def refuse_damage(lab, row):
        if row.experiment == "damage":
            raise LabError("This run has nothing to lose.")
        settle(lab, row)

    monkeypatch.setattr(runner, "settle", refuse_damage)
    first, second = queue.enqueue(lab, ["damage", "head-count"], run_id)
    assert statuses(lab, [first, second]) == ["failed", "running"] and launched == [second]
    assert lab.registry.experiment_row(first).error == "This run has nothing to lose."


def test_a_waiting_one_is_stopped_or_all_are_taken_out(lab, one_more, launched):
    run_id = finished(lab)
    first, second, third = queue.enqueue(lab, ["damage", "head-count", "memfree"], run_id)
    runner.stop(lab, second)
    assert statuses(lab, [second]) == ["stopped"]
    assert [row.id for row in queue.waiting(lab)] == [third]
    assert queue.clear(lab) == 1 and statuses(lab, [first, third]) == ["running", "stopped"]
    assert not lab.registry.claim_experiment(third, 1, 1.0), "what was stopped can't be begun"


def test_a_family_plans_its_runs_only_when_its_turn_has_come(lab, one_more, launched):
    run_id = finished(lab, "ten")
    lab.registry.save_fact_set("mother", lab.registry.run(run_id).pack)
    first, second = queue.enqueue(lab, ["head-count", "depth"], run_id)
    waits = lab.registry.experiment_row(second)
    assert waits.arms == () and waits.sweep_id is None and lab.registry.count_runs() == 1
    carry_out(lab, first)
    assert queue.move_on(lab) == second
    begun = lab.registry.experiment_row(second)
    assert len(begun.arms) > 2 and begun.sweep_id and run_id in dict(begun.arms).values()


def test_a_run_that_has_not_finished_is_refused(lab, one_more, launched):
    with pytest.raises(LabError, match="no experiment"):
        queue.enqueue(lab, ["head-count", "nothing"], finished(lab))
    with pytest.raises(LabError, match="needs a finished one"):
        queue.enqueue(lab, ["head-count"], queued(lab))
    assert lab.registry.experiment_rows() == [] and launched == []


def test_the_worker_of_one_starts_the_next(lab, one_more, launched, monkeypatch):
    first, second = queue.enqueue(lab, ["head-count", "damage"], finished(lab))
    monkeypatch.setattr(runner.Lab, "open", staticmethod(lambda: lab))
    monkeypatch.setattr(runner, "worker_main", lambda kind, work: work().status)
    assert runner.main(first) == "finished"
    assert launched == [first, second]
