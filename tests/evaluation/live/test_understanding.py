"""Facts asked in words while a model trains: which, how, and one question layer by layer."""

import pytest
import torch

from rotelab.config.run_config import EvaluationConfig
from rotelab.evaluation.live.layers import layer_chances
from rotelab.evaluation.live.understanding import (
    HELD_OUT,
    TAUGHT,
    ask_in_words,
    share_held_out,
    word_questions,
)
from rotelab.evaluation.loglikelihood import score
from rotelab.evaluation.results import Understood
from rotelab.facts.facts import FactSet


def test_some_facts_of_each_kind_are_asked_in_words_never_trained_on(tiny, mother):
    split = mother.facts.split(50, 0)
    asked = word_questions(tiny, mother.facts, split, mother.prompts, 0)
    held_out = [q for q in asked if q.fact in split.held_out]
    assert (len(held_out), len(asked)) == (HELD_OUT, HELD_OUT + TAUGHT)
    assert held_out[0].fact == split.held_out[0], "the one that the spot checks ask"
    for question in asked:
        known = mother.prompts.of("mother", "test")
        assert question.text in [t.render(question.fact.subject) for t in known]
        assert mother.facts[question.fact_index] == question.fact
    assert asked == word_questions(tiny, mother.facts, split, mother.prompts, 0)
    assert len({q.text.replace(q.fact.subject, "") for q in asked}) > 1, "wordings are drawn"


def test_an_answer_is_right_where_scoring_says_so(tiny, mother):
    few = FactSet(mother.facts[:6])
    split = few.split(3, 0)
    asked = word_questions(tiny, few, split, mother.prompts, 0)
    found = ask_in_words(tiny, asked, EvaluationConfig(), "generalize", 7)
    assert [row.fact_index for row in found] == list(range(6))
    assert {row.fact_index for row in found if row.held_out} == {
        few.index(fact) for fact in split.held_out
    }
    assert {(row.phase, row.step) for row in found} == {("generalize", 7)}
    (scored,) = [s for batch in score(tiny, [asked[0].example], 512) for _, s in batch]
    row = next(row for row in found if row.fact_index == asked[0].fact_index)
    assert row.probability == pytest.approx(
        torch.tensor(scored.log_probabilities).sum().exp().item(), rel=1e-3
    )


def test_the_share_counts_held_out_facts_alone():
    def row(held_out, correct):
        return Understood("generalize", 1, 0, held_out, 0.5, correct)

    assert share_held_out([row(True, True), row(True, False), row(False, False)]) == 0.5
    assert share_held_out([row(False, True)]) is None


def test_the_last_layer_is_the_model_s_own_answer(tiny, mother):
    fact = mother.facts[0]
    prompt = tiny.builder.word_prompt(f"The mother of {fact.subject} is")
    found = layer_chances(tiny, prompt, fact.object, "memorize", 3)
    assert [row.layer for row in found] == list(range(tiny.layers + 1))
    example = tiny.builder.answered(prompt, fact.object, "test", 0)
    (scored,) = [s for batch in score(tiny, [example], 512) for _, s in batch]
    own = torch.tensor(scored.log_probabilities[0]).exp().item()
    assert found[-1].probability == pytest.approx(own, rel=1e-3)
    assert all(row.rank >= 1 and 0 <= row.probability <= 1 for row in found)
    assert (found[-1].rank == 1) == (scored.greedy[0] == example.object[0])
