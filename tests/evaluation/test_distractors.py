"""Candidate sets: complete, without names inside names, filled up, the same every time."""

from itertools import islice, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotelab.errors import ConfigError
from rotelab.evaluation import distractors
from rotelab.evaluation.distractors import candidate_sets
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.names import normalize
from rotelab.facts.packs import load_pack, shipped_packs
from rotelab.facts.synthetic import RELATIONS, invent, invent_objects


def facts_of(*objects, relation="boss"):
    return FactSet(Fact(relation, f"Subject {i}", name) for i, name in enumerate(objects))


def apart(names):
    plain = [normalize(name) for name in names]
    return not any(a in b for a, b in permutations(plain, 2))


@pytest.mark.parametrize("name", shipped_packs())
def test_a_pack_has_its_own_objects_and_invented_ones(name):
    facts = load_pack(name).facts
    sets = candidate_sets(facts, 100, 0)
    assert len(sets) == len(facts)
    for fact, names in zip(facts, sets, strict=True):
        assert len(names) == 100 and fact.object in names
    for relation in facts.relations:
        objects = {fact.object for fact in relation.facts}
        (names,) = {names for fact, names in zip(facts, sets, strict=True)
                    if fact.relation == relation.name}  # fmt: skip
        assert objects <= set(names)  # one set for all, so it is tokenised and packed once
        assert apart(names)
        assert not {fact.subject for fact in relation.facts} & set(names)


def test_a_large_relation_is_drawn_from_for_each_fact():
    facts = invent("mother", 60, 0)
    sets = candidate_sets(facts, 20, 0)
    objects = {fact.object for fact in facts}
    assert all(fact.object in names and set(names) <= objects and len(set(names)) == 20
               for fact, names in zip(facts, sets, strict=True))  # fmt: skip
    assert len({frozenset(names) for names in sets}) == 60
    assert sets == candidate_sets(facts, 20, 0) != candidate_sets(facts, 20, 1)


def test_an_alias_is_never_among_the_wrong_answers():
    facts = FactSet([
        Fact("boss", "a", "USA", ("United States", "America")), Fact("boss", "b", "united states"),
        Fact("boss", "c", "Latin America"), Fact("boss", "d", "Bo"),
    ])  # fmt: skip
    first, *others = candidate_sets(facts, 8, 0)
    assert "USA" in first and "Bo" in first and len(first) == 8 and apart(first)
    assert not {"united states", "Latin America", "United States", "America"} & set(first)
    assert all({"USA", "united states", "Latin America", "Bo"} <= set(names) for names in others)
    bare = FactSet(Fact(f.relation, f.subject, f.object) for f in facts)
    assert others == candidate_sets(bare, 8, 0)[1:]


def test_what_was_true_before_is_a_candidate():
    facts = FactSet([
        *(Fact("boss", f"s{i}", f"Person {chr(65 + i)}x") for i in range(9)),
        Fact("boss", "t", "Bo", (), "Rhine"),
    ])  # fmt: skip
    *others, last = candidate_sets(facts, 5, 0)
    assert "Rhine" in last and "Bo" in last and len(last) == 5
    assert not any("Rhine" in names for names in others)


def test_of_two_objects_that_clash_the_gold_one_stays():
    facts = facts_of("Ann", "Joanna", "ANN", "Ａｎｎ", "Bo")
    sets = candidate_sets(facts, 10, 0)
    for fact, names in zip(facts, sets, strict=True):
        assert fact.object in names and "Bo" in names and apart(names) and len(names) == 10
        assert len({"Ann", "Joanna", "ANN", "Ａｎｎ"} & set(names)) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("abAB ́Å", min_size=1, max_size=4).map(str.strip).filter(bool), min_size=1,
             max_size=8),
    st.integers(2, 12), st.integers(0, 3),
)  # fmt: skip
def test_whatever_the_objects_the_sets_are_whole(objects, n, seed):
    facts = facts_of(*objects)
    try:
        sets = candidate_sets(facts, n, seed)
    except ConfigError as error:  # an object such as "a" is a part of nearly every name
        assert f"{n} were asked for" in str(error)
        return
    for fact, names in zip(facts, sets, strict=True):
        assert len(names) == n and fact.object in names and apart(names)


def test_a_shortage_is_a_sentence(monkeypatch):
    # Otherwise nearly a hundred are found.
    monkeypatch.setattr(distractors, "DRAWS_PER_CANDIDATE", 1)
    with pytest.raises(ConfigError, match=r"candidates can be found for the boss 'a'.* 100 were"):
        candidate_sets(facts_of("a"), 100, 0)


@pytest.mark.parametrize("relation", [*RELATIONS, "boss"])
def test_invented_objects_are_seeded_and_do_not_end(relation):
    like = ["Ann Lee", "Bo Ray"]
    first, again, other = (list(islice(invent_objects(relation, like, s), 300)) for s in (1, 1, 2))
    assert first == again != other
    assert len({normalize(name) for name in first}) > 150
    assert all(name == name.strip() and name for name in first)


def test_a_relation_of_ones_own_gets_its_own_words_mixed_anew():
    drawn = set(islice(invent_objects("boss", ["Ann Lee", "Bo Ray"], 0), 60))
    assert {"Ann Ray", "Bo Lee"} <= drawn


def test_a_part_of_a_set_of_facts_is_filled_up(mother):
    few = FactSet(mother.facts[:6])
    (names,) = set(candidate_sets(few, 100, 0))
    assert names[:6] == tuple(fact.object for fact in few)
    assert len(names) == 100
