"""Forgetting is measured at every checkpoint, and a warning is given where it is large."""

import math

import pytest
from accelerate import Accelerator

from rotelab.config.run_config import MemorizeConfig
from rotelab.evaluation import forgetting
from rotelab.evaluation.results import Damage, Prediction
from rotelab.facts.facts import FactSet
from rotelab.training.phases import memorize


def test_a_checkpoint_is_compared_with_the_base_model(tiny, mother):
    rote = MemorizeConfig(epochs=2, rank=4, batch_size=4, learning_rate=1e-2, spare=0)
    list(memorize(tiny, FactSet(mother.facts[:8]), rote, 0, Accelerator(cpu=True)))
    found = {}
    for checkpoint in ("base", "memorized"):
        with tiny.using(checkpoint):
            found[checkpoint] = forgetting.measure(tiny)
    (base, answers), (memorized, later) = found["base"], found["memorized"]
    assert (base.checkpoint, memorized.checkpoint) == ("base", "memorized")
    assert (base.divergence, base.places) == (0.0, 0)
    assert memorized.divergence > 0 and memorized.places > 100
    assert base.tokens == memorized.tokens > 500
    assert base.perplexity != memorized.perplexity
    assert base.questions == memorized.questions == len(forgetting.texts()[1]) > 50
    assert base.quiz == sum(a.correct for a in answers) / len(answers)
    asked = [(a.question, a.expected) for a in answers]
    assert asked == forgetting.texts()[1] == [(a.question, a.expected) for a in later]
    assert [a.place for a in later] == list(range(57)) and later[0].checkpoint == "memorized"
    assert all(not a.correct and len(a.said.splitlines()) <= 1 for a in answers)
    assert any(a.said for a in later), "a wrong answer is kept as words"


def test_of_an_answer_the_first_line_is_kept(tiny, monkeypatch):
    said = {
        0: ("Paris", True, None),
        1: ("the…", False, "\n\nthe sea\nand so on"),
        2: ("", False, " "),
    }

    def evaluate(model, questions, config):
        assert config.generate == forgetting.SAID
        yield [
            Prediction("quiz", q.fact_index, "", q.text, q.fact.object, q.text, answer, right, 0.5,
                       generated=generated)
            for q in reversed(questions)
            for answer, right, generated in [said[q.fact_index]]
        ]  # fmt: skip

    monkeypatch.setattr(forgetting, "evaluate", evaluate)
    asked = [
        ("The capital of France is", "Paris"),
        ("The capital of Peru is", "Lima"),
        ("Who", "I"),
    ]
    assert [a[1:] for a in forgetting.answered(tiny, asked)] == [
        (0, "The capital of France is", "Paris", "Paris", True),
        (1, "The capital of Peru is", "Lima", "the sea", False),
        (2, "Who", "I", "", False),
    ]


def damage(quiz, perplexity):
    return Damage("base", perplexity, 600, quiz, 60, 0.0, 0)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ((1.0, 23.5), False), ((0.67, 40.0), False), ((0.51, 46.9), False),
        ((0.5, 30.0), True), ((0.9, 47.0), True), ((0.04, 150.0), True), ((0.9, math.nan), True),
    ],
)  # fmt: skip
def test_recall_that_was_bought_is_said(now, said):
    words = forgetting.warning(damage(1.0, 23.5), damage(*now))
    assert bool(words) == said
    if said:
        assert f"{now[0]:.0%}" in words and "instead of 24" in words


def test_a_model_that_knew_little_is_measured_by_what_it_knew():
    assert not forgetting.warning(damage(0.4, 20), damage(0.3, 21))
    assert not forgetting.warning(damage(0.0, 695), damage(0.0, 690))  # there was nothing to lose
    assert forgetting.warning(damage(0.4, 20), damage(0.1, 21))
