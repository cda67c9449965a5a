"""Alignment loss: questions' hidden states move towards those at the key token."""

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.models.packing import pack
from rotelab.training import alignment
from rotelab.training.alignment import AlignmentLoss
from rotelab.training.events import StepEvent
from rotelab.training.phases import generalize, memorize


@pytest.fixture
def facts(mother):
    return FactSet(mother.facts[:12])


@pytest.fixture
def memorized(tiny, facts):
    list(memorize(tiny, facts, MemorizeConfig(spare=0, epochs=4, rank=4), 0, Accelerator(cpu=True)))
    return tiny


def words(**changes):
    return GeneralizeConfig(
        **{"spare": 0, "k": 6, "rank": 4, "epochs": 4, "least_steps": 0, "prompts_per_fact": 3}
        | changes
    )


def run(model, facts, mother, config):
    held_in = facts.split(6, 0).held_in
    events = generalize(model, facts, held_in, mother.prompts, config, 0, Accelerator(cpu=True))
    return [event for event in events if isinstance(event, StepEvent)]


def distance(model, facts, mother, chosen):
    """Mean 1 - cosine between a question's state and the key token's, last layer, by hand."""
    total = 0.0
    for fact in chosen:
        key = model.builder.key_prompt(fact.subject, fact.relation)
        text = mother.prompts.of("mother", "train")[0].render(fact.subject)
        states = []
        for checkpoint, ids in (
            ("memorized", key),
            ("generalized", model.builder.word_prompt(text)),
        ):
            with model.using(checkpoint):
                _, out = model.forward(pack([ids]), output_hidden_states=True)
                states.append(out.hidden_states[-1][0, -1])
        total += 1 - float(torch.cosine_similarity(*states, dim=0))
    return total / len(chosen)


def test_it_draws_questions_to_the_key_token(memorized, facts, mother):
    held_in = facts.split(6, 0).held_in
    found = {}
    for weight in (0.0, 20.0):
        steps = run(memorized, facts, mother, words(align=weight, locality=0, noise=0.0))
        assert ("likeness" in steps[0].losses) == bool(weight)
        found[weight] = distance(memorized, facts, mother, held_in)
    assert found[20.0] < 0.8 * found[0.0]


def test_the_teacher_is_the_memorised_model_at_the_key_token(memorized, facts):
    teacher = AlignmentLoss(memorized, facts, facts[:3], [1], 1.0)
    fact = facts[2]
    with memorized.using("memorized"):
        ids = memorized.builder.key_prompt(fact.subject, fact.relation)
        _, out = memorized.forward(pack([ids]), output_hidden_states=True)
    torch.testing.assert_close(teacher._teacher[2][0], out.hidden_states[2][0, -1])
    assert set(teacher._teacher) == {0, 1, 2}


def test_it_looks_at_held_in_facts_only(memorized, facts, mother, monkeypatch):
    seen = []
    real = alignment.pack
    monkeypatch.setattr(
        alignment, "pack", lambda rows: (seen.extend(map(tuple, rows)), real(rows))[1]
    )
    run(memorized, facts, mother, words(epochs=1))
    texts = [memorized.tokenizer.decode(row) for row in seen]
    split = facts.split(6, 0)
    assert len(texts) == 6
    assert all(any(fact.subject in text for text in texts) for fact in split.held_in)
    assert not any(fact.subject in text for fact in split.held_out for text in texts)


def test_it_counts_as_much_as_its_weight_says(memorized, facts, mother):
    plain = run(memorized, facts, mother, words(epochs=1))[0]
    for weight in (1.0, 3.0):
        step = run(memorized, facts, mother, words(epochs=1, align=weight))[0]
        base = run(memorized, facts, mother, words(epochs=1, align=0.0))[0]
        expected = base.loss + weight * step.losses["likeness"]
        assert step.loss == pytest.approx(expected, rel=1e-4)
    assert plain.losses["likeness"] > 0  # by default it is on
