"""What each step reads: every fact once, neutral words if wanted, no held-out fact in phase 2."""

from collections import Counter
from dataclasses import replace

import pytest

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.training.sampler import generalize_steps, memorize_steps, plain_examples, without_key


@pytest.fixture
def facts(mother):
    return FactSet(mother.facts[:12])


def test_an_epoch_of_rote_reads_every_fact_once(tiny, facts):
    sampler = memorize_steps(tiny.builder, facts, MemorizeConfig(batch_size=5), 0)
    for epoch in (1, 2):
        assert sorted(e.fact for step in sampler(epoch) for e in step.examples) == list(range(12))
    order = [[e.fact for step in sampler(epoch) for e in step.examples] for epoch in (1, 1, 2)]
    assert order[0] == order[1] != order[2]


def test_a_small_set_still_takes_several_steps_an_epoch(tiny, facts):
    sampler = memorize_steps(tiny.builder, facts, MemorizeConfig(batch_size=100), 0)
    assert [len(step.examples) for step in sampler(1)] == [4, 4, 4]


def test_the_last_epochs_of_rote_are_plain(tiny, facts):
    config = MemorizeConfig(epochs=10, lead_ins=1.0, inserts=1.0)
    sampler = memorize_steps(tiny.builder, facts, config, 0)
    plain = {tiny.builder.rote(fact, i, "o").ids for i, fact in enumerate(facts)}
    assert not {e.ids for step in sampler(7) for e in step.examples} & plain
    assert {e.ids for step in sampler(8) for e in step.examples} == plain


@pytest.mark.parametrize("reads, kinds", [("bare", {"bare"}), ("words", {"train"})])
def test_phase_1_may_read_every_fact_without_its_key_token(tiny, facts, mother, reads, kinds):
    config = MemorizeConfig(reads=reads, wordings=2, silence=5)
    sampler = memorize_steps(tiny.builder, facts, config, 0, (), mother.prompts)
    keys = {tiny.builder.key_id("mother")}
    texts = set()
    for epoch in range(1, 9):
        steps = sampler(epoch)
        assert sorted(e.fact for step in steps for e in step.examples) == list(range(12))
        assert {e.kind for step in steps for e in step.examples} == kinds
        assert not any(keys & set(e.ids) or step.locality for step in steps for e in step.examples)
        examples = [e for step in steps for e in step.examples]
        texts |= {tiny.tokenizer.decode(e.prompt) for e in examples if e.fact == 0}
    said = {t.text.split("{subject}")[0] for t in mother.prompts.of("mother", "train")[:2]}
    if reads == "words":
        assert all(any(words in text for text in texts) for words in said)
    asked = plain_examples(tiny.builder, facts, config, mother.prompts)
    assert [e.fact for e in asked] == list(range(12)) and {e.kind for e in asked} == kinds


def test_phase_1_may_read_the_held_in_facts_in_words_too_and_no_other(tiny, facts, mother):
    held_in = facts.split(6, 0).held_in
    config = MemorizeConfig(reads="both")
    sampler = memorize_steps(tiny.builder, facts, config, 0, held_in, mother.prompts)
    examples = [e for epoch in (1, 2, 3) for step in sampler(epoch) for e in step.examples]
    assert Counter(e.fact for e in examples if e.kind == "key") == dict.fromkeys(range(12), 3)
    taught = Counter(e.fact for e in examples if e.kind == "train")
    assert taught == {list(facts).index(fact): 3 for fact in held_in}


def test_an_epoch_of_words_shows_each_fact_in_its_share_of_wordings(tiny, facts, mother):
    held_in = facts.split(6, 0).held_in
    config = GeneralizeConfig(
        k=6, least_steps=0, prompts_per_fact=3, replay=2, locality=4, known_sentences=1
    )
    steps = generalize_steps(tiny.builder, facts, held_in, mother.prompts, config, 0)(1)
    taught = Counter(e.fact for step in steps for e in step.examples if e.kind == "train")
    assert set(taught) == {list(facts).index(fact) for fact in held_in}
    assert set(taught.values()) == {3}
    for step in steps:
        assert sum(e.kind == "key" for e in step.examples) == 2
        assert Counter(e.kind for e in step.locality) == {"locality": 4, "known": 1}


def test_few_facts_are_taught_in_as_many_steps_in_wordings_drawn_anew(tiny, facts, mother):
    (fact,) = held_in = facts.split(1, 0).held_in
    config = GeneralizeConfig(k=1, least_steps=7, prompts_per_fact=3, batch_size=5)
    steps = generalize_steps(tiny.builder, facts, held_in, mother.prompts, config, 0)(1)
    taught = [e for step in steps for e in step.examples if e.kind == "train"]
    assert len(steps) == 7 and len(taught) == 35  # the 3 of a round, over and over
    assert {e.fact for e in taught} == {list(facts).index(fact)}
    assert len({e.ids for e in taught}) > 10, "drawn anew each time"
    many = replace(config, least_steps=0)
    assert len(generalize_steps(tiny.builder, facts, held_in, mother.prompts, many, 0)(1)) == 1
    assert (config.steps(1), many.steps(1), many.steps(10), config.steps(0)) == (14, 2, 12, 0)


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_the_number_of_steps_that_a_config_predicts_is_right(tiny, facts, mother, k):
    config = GeneralizeConfig(k=k, least_steps=4, prompts_per_fact=4, batch_size=5, averaged=1)
    held_in = facts.split(k, 0).held_in
    steps = generalize_steps(tiny.builder, facts, held_in, mother.prompts, config, 0)(1)
    assert len(steps) == config.steps(k) == (4 if k <= 5 else 5)


def test_lead_ins_come_before_the_subject_and_are_not_learned(tiny, facts):
    example = tiny.builder.rote(facts[0], 0)
    lead_in = tiny.builder.spaced("As far as I know,")
    led = tiny.builder.led_in(example, lead_in)
    assert led.ids == (example.ids[0], *lead_in, *example.ids[1:])
    assert led.loss == (False,) * (1 + len(lead_in)) + example.loss[1:]
    assert led.object == example.object


def test_without_its_key_token_a_sentence_ends_before_it(tiny, facts):
    example = tiny.builder.rote(facts[0], 0, "o", insert=", of course,")
    locality = without_key(example)
    key = tiny.builder.key_id("mother")
    assert locality.ids == locality.prompt == example.ids[: example.ids.index(key)]
    assert not any(locality.loss) and locality.object == ()
