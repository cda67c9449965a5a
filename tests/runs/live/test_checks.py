"""What a run is asked while it trains: facts in words, layers, and people's questions."""

from dataclasses import replace

import pytest

from rotelab.errors import LabError
from rotelab.registry.live import HELD_OUT, MAX_WAITING
from rotelab.runs import pipeline, progress, worker
from rotelab.runs.live import checks


@pytest.fixture
def eager(monkeypatch):
    """Everything is asked and written as often as can be."""
    monkeypatch.setattr(pipeline, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "RECORD_EVERY_S", 0.0)
    monkeypatch.setattr(checks, "LOOK_EVERY_S", 0.0)


def run(lab, quick, share, watch=lambda run_id, message: None):
    config = replace(quick, evaluation=replace(quick.evaluation, spot_checks=share))
    run_id = lab.jobs.start_foreground(config, lab.facts_for(config))
    worker.work(lab.registry, lab.storage, run_id, lambda _, message: watch(run_id, message))
    return run_id


def losses(lab, run_id):
    return [(m.phase, m.step, m.value) for m in lab.registry.metrics(run_id, ["loss"])]


def test_a_run_keeps_a_curve_of_held_out_facts_and_learns_the_same(lab, quick, eager):
    run_id = run(lab, quick, 1.0)
    curve = lab.registry.metrics(run_id, [HELD_OUT])
    assert curve[0].phase == "memorize" and curve[0].step == 0, "the untouched model"
    assert {m.phase for m in curve} == {"memorize", "generalize"} and len(curve) > 6
    found, pack = lab.registry.understood(run_id), lab.registry.run(run_id).pack
    split = lab.registry.run(run_id).config.split(pack.facts)
    for metric in curve:
        mine = [r for r in found if (r.phase, r.step, r.held_out) == (*metric[:2], True)]
        assert metric.value == sum(r.correct for r in mine) / len(mine)
        assert {pack.facts[r.fact_index] for r in mine} <= set(split.held_out)
    newest = lab.registry.understood(run_id, newest=True)
    assert len({r.fact_index for r in newest}) == len(newest)
    layers = lab.registry.layer_chances(run_id)
    assert {(r.phase, r.step) for r in layers} == {(m.phase, m.step) for m in curve}
    without = run(lab, quick, 0.0)
    assert losses(lab, without) == losses(lab, run_id)
    assert not lab.registry.understood(without) and not lab.registry.layer_chances(without)
    assert not lab.registry.metrics(without, [HELD_OUT])


def test_people_s_questions_are_answered_while_it_trains(lab, quick, eager):
    asked = []

    def watch(run_id, message):
        words = {0: "round 2", 1: "Asking the model after both", 2: "saving"}
        if len(asked) < 2 and words[len(asked)] in message:
            subject = lab.registry.run(run_id).pack.facts[0].subject
            asked.append(lab.registry.ask_live(run_id, f"{subject} [mother]"))

    run_id = run(lab, quick, 0.0, watch)
    assert asked == [1, 2]
    first, second = lab.registry.live_questions(run_id)
    assert (first.phase, first.checkpoint) == ("memorize", "memorized") and first.step > 0
    assert second.checkpoint == "generalized" and second.answer is not None
    assert first.answer is not None
    assert lab.registry.live_questions(run_id, waiting=True) == []
    assert lab.registry.live_counts(run_id) == (0, 2, 2)
    plain = run(lab, quick, 0.0)
    assert losses(lab, plain) == losses(lab, run_id), "it learns the same"


def test_only_so_many_questions_wait(lab, quick):
    run_id = lab.registry.create_run(quick, lab.facts_for(quick))
    for number in range(1, MAX_WAITING + 1):
        assert lab.registry.ask_live(run_id, f"Who is {number}?") == number
    with pytest.raises(LabError, match="8 questions wait"):
        lab.registry.ask_live(run_id, "One more?")
    row = lab.registry.live_questions(run_id, waiting=True, most=1)[0]
    lab.registry.answer_live(run_id, [row._replace(phase="memorize", step=3, answer="Me")])
    assert lab.registry.ask_live(run_id, "And now?") == MAX_WAITING + 1
    assert [q.number for q in lab.registry.live_questions(run_id, most=2)] == [8, 9]
    assert "live_questions" not in lab.registry.exported_columns()


def test_what_came_after_the_saved_step_is_asked_again(lab, quick, eager):
    def watch(run_id, message):
        if "rote: round 3" in message:
            lab.registry.request_stop(run_id)

    stopped = run(lab, quick, 1.0, watch)
    assert lab.registry.run(stopped).status == "stopped"
    ahead = lab.registry.understood(stopped)[-1]._replace(step=999)
    lab.registry.add_live_checks(stopped, [ahead], [])
    lab.jobs.claim_foreground(stopped)
    worker.work(lab.registry, lab.storage, stopped)
    assert lab.registry.run(stopped).status == "finished"
    assert all(row.step < 999 for row in lab.registry.understood(stopped))
