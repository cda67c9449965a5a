"""What an experiment would cost: its runs, and its questions at this machine's speed."""

import pytest
from support.fabricated import finished

from rotelab.experiments import experiment
from rotelab.experiments.planning.cost import Cost, cost_of, total_seconds
from rotelab.experiments.runner import begin
from rotelab.runs import progress
from rotelab.runs.progress import estimate, estimate_measuring


@pytest.fixture(autouse=True)
def an_idle_machine(monkeypatch):
    monkeypatch.setattr(progress, "slowdown_now", lambda *about: 1.0)


def test_a_probe_costs_what_its_author_measured_then_what_it_took_here(lab):
    run = lab.registry.run(finished(lab))
    wanted = experiment("damage")
    speed = progress.measured_speeds(lab.registry, run.config.model.name, "auto")[0]["evaluation"]
    cost = cost_of(lab, "damage", run)
    assert cost.seconds == pytest.approx(wanted.measures_s * progress.TYPICAL["evaluation"] / speed)
    assert (cost.trains, cost.needed) == (0, 0)
    faster = cost.seconds / 2
    for seconds in (cost.seconds, faster, 1000 * cost.seconds):
        made = begin(lab, "damage", run.id)
        lab.registry.end_experiment(made, "finished", result={}, seconds=seconds)
    assert cost_of(lab, "damage", run, lab.registry.experiment_rows("damage")).seconds == faster


def test_a_family_costs_its_missing_runs_and_the_questions(lab):
    run = lab.registry.run(finished(lab, "ten"))
    lab.registry.save_fact_set("mother", run.pack)
    cost = cost_of(lab, "depth", run)
    assert cost.trains == cost.needed - 1 > 5
    assert cost.training > (cost.trains - 3) * 0.3 * estimate(lab, run.config, run.pack).seconds
    questions = experiment("depth").measures_s * cost.needed
    measuring = estimate_measuring(lab, run.config, questions, scaled=True).seconds
    assert cost.seconds == pytest.approx(cost.training + measuring)


def test_what_is_not_known_is_said_and_not_counted_as_nothing():
    costs = [Cost(seconds=60.0), Cost(seconds=None), Cost(seconds=30.0)]
    assert total_seconds(costs) == (90.0, 1)


def test_a_busy_machine_takes_longer(lab, monkeypatch):
    run = lab.registry.run(finished(lab))
    idle = cost_of(lab, "damage", run)
    monkeypatch.setattr(progress, "slowdown_now", lambda *about: 2.5)
    busy = cost_of(lab, "damage", run)
    assert busy.seconds == pytest.approx(2.5 * idle.seconds) and busy.slower == 2.5
