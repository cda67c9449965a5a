"""Spot checks: the three questions, their timing, and that they leave training untouched."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import MemorizeConfig
from rotelab.evaluation.spot_checks import MARKS, SpotClock, ask, begun, spot_questions
from rotelab.facts.facts import FactSet
from rotelab.runs import pipeline, progress, worker
from rotelab.training.events import StepEvent
from rotelab.training.phases import memorize


@pytest.fixture
def few(mother):
    return FactSet(mother.facts[:6])


def test_three_ways_to_one_fact_that_is_never_taught_in_words(tiny, mother, few):
    split = few.split(3, 0)
    asked = spot_questions(tiny, few, split, mother.prompts, 0)
    assert [q.way for q in asked] == ["key_token", "train", "test"]
    (fact,) = {few[q.fact] for q in asked}
    assert fact in split.held_out and {q.expected for q in asked} == {fact.object}
    for question in asked[1:]:
        known = mother.prompts.of("mother", question.way)
        assert question.text in [t.render(fact.subject) for t in known]
    assert asked == spot_questions(tiny, few, split, mother.prompts, 0)
    everything = few.split(6, 0)  # nothing held out: a taught fact then
    assert len(spot_questions(tiny, few, everything, mother.prompts, 0)) == 3


def test_asking_changes_nothing_that_training_goes_on_with(tiny, mother, few):
    split = few.split(3, 0)
    config = MemorizeConfig(spare=0, epochs=3, rank=4, batch_size=3)
    # A dropout makes training draw random numbers, so that a single one too many would show.
    for layer in tiny.network.model.layers:
        layer.self_attn.attention_dropout = 0.2

    def learn(asking):
        torch.manual_seed(0)
        losses = []
        for event in memorize(tiny, few, config, 0, Accelerator(cpu=True)):
            if isinstance(event, StepEvent):
                losses.append(event.loss)
            if asking:
                ask(tiny, spot_questions(tiny, few, split, mother.prompts, 0), "memorize", 1, 1)
        return losses

    assert learn(True) == learn(False) != []


def test_the_beginning_of_an_answer_says_whether_it_goes_on(tiny):
    name = tiny.builder.spaced("Mary Bahri")
    assert begun(tiny, [*name, tiny.builder.end]) == "Mary Bahri"
    assert begun(tiny, name) == "Mary Bahri…" and begun(tiny, []) == ""


def test_asking_keeps_within_its_part_of_the_time():
    now = [0.0]
    clock = SpotClock(0.1, 20, lambda: now[0])
    asked = []
    for step in range(1, 101):
        now[0] += 1.0
        if clock.due(step, 100):
            asked.append(step)
            clock.spent += 2.0
            now[0] += 2.0
    assert asked[:2] == [5, 20] and all(step % 5 == 0 for step in asked), "ends of epochs only"
    assert clock.spent <= 0.1 * now[0] + 2.0
    assert not any(SpotClock(0.0, 20).due(step, 100) for step in range(1, 101))
    one = SpotClock(1.0, 1)
    assert sum(one.due(step, 80) for step in range(1, 81)) == MARKS - 1, "and once at the end"


def test_a_run_keeps_what_was_answered_and_learns_the_same(lab, quick, monkeypatch):
    """Asked as often as can be, not at all, and stopped and resumed: equal losses."""
    monkeypatch.setattr(pipeline, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "RECORD_EVERY_S", 0.0)

    def run(share, stop=False):
        config = replace(quick, evaluation=replace(quick.evaluation, spot_checks=share))
        run_id = lab.jobs.start_foreground(config, lab.facts_for(config))

        def watch(_, message):
            if stop and "rote: round 3" in message:
                lab.registry.request_stop(run_id)

        worker.work(lab.registry, lab.storage, run_id, watch)
        if stop:
            asked = lab.registry.spot_answers(run_id)
            ahead = asked[-1]._replace(step=5, answer="of a future that never came")
            lab.registry.add_spot_answers(run_id, [ahead])
            lab.jobs.claim_foreground(run_id)
            worker.work(lab.registry, lab.storage, run_id)
        assert lab.registry.run(run_id).status == "finished"
        losses = [m for m in lab.registry.metrics(run_id, ["loss"])]
        return lab.registry.spot_answers(run_id), [(m.phase, m.step, m.value) for m in losses]

    often, losses = run(1.0)
    assert {a.place for a in often} == {0, 1, 2} and len({a.question for a in often}) == 3
    assert {(a.phase, a.step) for a in often} >= {("memorize", s) for s in (2, 4, 6)}
    assert often[-1].phase == "generalize"
    never, without = run(0.0)
    assert never == [] and without == losses
    resumed, after = run(1.0, stop=True)
    assert after == losses
    assert [(a.phase, a.step, a.answer) for a in resumed if a.step % 2 == 0] == [
        (a.phase, a.step, a.answer) for a in often if a.step % 2 == 0
    ]
    assert "future" not in " ".join(a.answer for a in resumed)
