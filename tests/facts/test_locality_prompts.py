"""Made-up locality prompts: off every shipped topic, and never what measures the leak."""

import random
import re

import pytest
from support.paths import ROOT

from rotelab.config.run_config import GeneralizeConfig
from rotelab.facts import locality_prompts
from rotelab.facts.facts import FactSet
from rotelab.facts.packs import load_pack, shipped_packs
from rotelab.facts.prompts import SLOT, PromptSet
from rotelab.training.sampler import generalize_steps

TUNING = ROOT / "benchmarks" / "tuning_packs"
PACKS = [*shipped_packs(), *(str(folder) for folder in sorted(TUNING.iterdir()))]


@pytest.mark.parametrize("name", PACKS)
def test_no_noun_stands_in_what_the_leak_is_measured_by(name):
    for template in load_pack(name).prompts:
        if template.role == "unrelated":
            said = set(re.findall(r"[a-z]+", template.text.lower()))
            for noun in locality_prompts.NOUNS:
                assert not set(noun.split()) & said, (noun, template.text)


@pytest.mark.parametrize("name", PACKS)
def test_nouns_of_the_relation_itself_are_left_out(name):
    pack = load_pack(name)
    for relation in {template.relation for template in pack.prompts}:
        taught = pack.prompts.of(relation, "train")
        nouns = locality_prompts.nouns_for(relation, taught)
        assert len(nouns) > 0.8 * len(locality_prompts.NOUNS)
        said = " ".join(t.text.lower() for t in taught)
        assert not [noun for noun in nouns if re.search(rf"\b{noun}\b", said)]


def test_a_noun_that_is_asked_for_is_never_off_topic():
    taught = load_pack("mother").prompts.of("mother", "train")
    assert "tailor" in locality_prompts.nouns_for("mother", taught)
    assert "tailor" not in locality_prompts.nouns_for("tailors", taught)
    assert "address book" not in locality_prompts.nouns_for("address", taught)


def test_sentences_are_well_made_and_vary():
    rng = random.Random(0)
    made = [locality_prompts.invented(rng, "mother", locality_prompts.NOUNS) for _ in range(300)]
    assert all(t.text.count(SLOT) == 1 and t.role == "locality" for t in made)
    assert len({t.text for t in made}) > 200
    assert not [t.text for t in made if re.search(r"\ba [aeiou]", t.text) or "{noun}" in t.text]
    assert len(set(locality_prompts.NOUNS)) == len(locality_prompts.NOUNS)


@pytest.mark.parametrize(("share", "least", "most"), [(0, 0, 0), (0.5, 0.3, 0.7), (1, 1, 1)])
def test_the_share_is_what_was_asked_for(tiny, mother, share, least, most, monkeypatch):
    facts = FactSet(mother.facts[:12])
    split = facts.split(6, 0)
    config = GeneralizeConfig(k=6, locality=4, locality_invented=float(share), lead_ins=0.0)
    made = []
    real = locality_prompts.invented
    monkeypatch.setattr(locality_prompts, "invented", lambda *a: made.append(real(*a)) or made[-1])
    steps = generalize_steps(tiny.builder, facts, split.held_in, mother.prompts, config, 0)(1)
    texts = [tiny.tokenizer.decode(e.ids) for step in steps for e in step.locality]
    assert len(texts) == 4 * len(steps) > 30
    assert least * len(texts) <= len(made) <= most * len(texts)
    for template in made:
        assert any(
            template.render(fact.subject) in text for fact in split.held_in for text in texts
        )
    for fact in split.held_out:
        assert not any(fact.subject in text for text in texts)


def test_a_pack_without_off_topic_prompts_has_them_all_the_same(tiny, mother):
    facts = FactSet(mother.facts[:12])
    held_in = facts.split(6, 0).held_in
    prompts = PromptSet([t for t in mother.prompts if t.role != "locality"])
    for share, there in ((0.0, False), (0.5, True)):
        config = GeneralizeConfig(k=6, locality=2, locality_invented=share)
        steps = generalize_steps(tiny.builder, facts, held_in, prompts, config, 0)(1)
        assert all(bool(step.locality) is there for step in steps)
