"""Synthetic facts: seeded, unique, never one name inside another, none that exists already."""

import os
import subprocess
import sys

import pytest
from support.paths import ROOT

from rotelab.errors import ConfigError
from rotelab.facts import synthetic
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.synthetic import MAX_INVENTED, RELATIONS, invent, more_facts, recombine

ONE_OBJECT_EACH = ("author", "capital", "mother")
POOLED = ("educated_at", "genre")


def names_of(facts):
    """Every name once, folded, subjects and objects alike."""
    return {name.casefold() for fact in facts for name in (fact.subject, fact.object)}


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_seed_gives_the_same_facts_and_another_seed_others(relation):
    first = invent(relation, 12, 3)
    assert first == invent(relation, 12, 3)
    assert not names_of(first).issubset(names_of(invent(relation, 12, 4)))
    assert {fact.relation for fact in first} == {relation}


@pytest.mark.parametrize("relation", RELATIONS)
def test_fewer_facts_are_the_first_of_more(relation):
    assert list(invent(relation, 30, 5)[:7]) == list(invent(relation, 7, 5))


def test_another_process_with_another_hash_seed_invents_the_same():
    code = (
        "from rotelab.facts.synthetic import RELATIONS, invent\n"
        "for relation in RELATIONS: print(invent(relation, 9, 8).content_hash)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [invent(name, 9, 8).content_hash for name in RELATIONS]


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_thousand_facts_are_unlike_each_other(relation):
    facts = invent(relation, 1000, 1)
    assert len({fact.subject for fact in facts}) == 1000
    if relation in ONE_OBJECT_EACH:
        assert len({fact.object for fact in facts}) == 1000
    names = names_of(facts)
    text = "\n".join(names)
    assert [name for name in names if text.count(name) > 1] == []


@pytest.mark.parametrize("relation", POOLED)
def test_pooled_objects_come_equally_often(relation):
    facts = invent(relation, 100, 2)
    counts = [sum(f.object == name for f in facts) for name in {f.object for f in facts}]
    assert counts == [4] * 25


def test_names_are_short_plain_and_of_their_kind():
    for relation in RELATIONS:
        for fact in invent(relation, 200, 6):
            assert (fact.subject + fact.object).isascii()
            assert len(fact.object.split()) <= 4


def test_mother_and_child_bear_different_family_names(monkeypatch):
    # Few enough family names that the two would often draw the same one.
    monkeypatch.setitem(synthetic._words(), "first_name_locales", ["en_GB", "it_IT"])
    monkeypatch.setitem(synthetic._words(), "family_name_locales", ["tr_TR"])
    for fact in invent("mother", 200, 6):
        child, mother = fact.subject.split(), fact.object.split()
        assert len(child) == len(mother) == 2
        assert child[1] != mother[1]


def test_a_real_place_is_drawn_again(monkeypatch):
    drawn = invent("capital", 1, 9)[0]
    monkeypatch.setitem(synthetic._words(), "real_words", [drawn.subject, drawn.object])
    assert not names_of(invent("capital", 5, 9)) & names_of([drawn])


def test_countries_and_capitals_are_of_many_beginnings():
    facts = invent("capital", 100, 9)
    assert len({fact.object[:4] for fact in facts}) > 90
    assert len({fact.subject[:4] for fact in facts}) > 90


def test_titles_are_in_good_english():
    titles = [fact.subject for fact in invent("author", 600, 1)]
    assert any(" an " in f" {title.lower()} " for title in titles)
    for title in titles:
        words = title.casefold().split()
        pairs = zip(words, words[1:], strict=False)
        assert not any(a == "a" and b[0] in "aeiou" for a, b in pairs), title
        content = [word for word in words if word != "the"]
        assert len(set(content)) == len(content), title


@pytest.mark.parametrize("relation", RELATIONS)
def test_what_is_there_is_avoided(relation):
    there = invent(relation, 60, 1)
    more = invent(relation, 60, 1, (fact for fact in there))
    old = {fact.subject for fact in there}
    if relation in ONE_OBJECT_EACH:
        old |= {fact.object for fact in there}
        new = names_of(more)
    else:
        new = {fact.subject.casefold() for fact in more}
    for name in map(str.casefold, old):
        assert not any(name in other or other in name for other in new)


def test_a_part_of_a_name_is_avoided_whatever_its_relation_and_case():
    fragments = [Fact("friend", "NIA", "mo")]
    assert any("nia" in name or "mo" in name for name in names_of(invent("capital", 80, 1)))
    for name in names_of(invent("capital", 80, 1, fragments)):
        assert "nia" not in name and "mo" not in name


def test_a_pool_leaves_out_what_would_be_mistaken_but_may_repeat():
    def genres(avoid):
        return {fact.object for fact in invent("genre", 50, 1, avoid)}

    assert "doom metal" in genres([])
    assert "doom metal" in genres([Fact("genre", "Some Album", "doom metal")])
    assert "doom metal" not in genres([Fact("genre", "Some Album", "metal")])
    assert "doom metal" in genres([Fact("material", "Some Album", "metal")])


def test_errors_say_how_to_mend_them():
    with pytest.raises(ConfigError, match="author, capital, educated_at, genre, mother, not for"):
        invent("father", 3, 1)
    for n in (0, -1, MAX_INVENTED + 1):
        with pytest.raises(ConfigError, match=f"Ask for 1 to {MAX_INVENTED}"):
            invent("capital", n, 1)
    vowels = [Fact("letter", vowel, vowel) for vowel in "aeiou"]
    for relation in RELATIONS:
        with pytest.raises(ConfigError, match=f"no more {relation} facts .*: 5 exist already"):
            invent(relation, 3, 1, vowels)
    everything = " ".join(fact.object for fact in invent("genre", 25, 1))
    with pytest.raises(ConfigError, match="too similar to one that exists"):
        invent("genre", 1, 1, [Fact("genre", "Some Album", everything)])


# New facts of a user's own relation --------------------------------------------------------------


def own(*pairs):
    return [Fact("boss", subject, object_) for subject, object_ in pairs]


def test_own_names_are_mixed_and_none_is_known():
    known = own(*((f"Ann{c} Lee{c}", f"Bo{c} Maria Ray{c}") for c in "abcdef"))
    made = recombine(known, 20, seed=1)
    assert made == recombine(known, 20, seed=1) != recombine(known, 20, seed=2)
    assert len(FactSet([*known, *made])) == 26, "no subject comes twice"
    assert {len({getattr(f, c) for f in made}) for c in ("subject", "object")} == {20}
    for fact in made:
        first, last = fact.subject.split()
        assert first[3:] != last[3:] and fact.subject not in {f.subject for f in known}
        assert fact.object.split()[0][2:] != fact.object.split()[-1][3:]
    assert len(recombine(known, 99, 1)) == 30, "so many pairs of six names"
    avoided = recombine(known, 20, 1, avoid=made)
    assert not {f.subject for f in avoided} & {f.subject for f in made}


def test_names_of_one_word_are_joined_from_halves_and_repeated_objects_repeat():
    known = own(("Arbon", "red"), ("Bexil", "blue"), ("Cumor", "red"), ("Dalis", "blue"))
    made = recombine(known, 6, 0)
    assert len(made) == 6 and all(" " not in f.subject for f in made)
    assert {f.object for f in made} == {"rue", "bled"}, "two, as the relation has"
    assert recombine(known[:1], 3, 0) == []


def test_more_facts_are_invented_where_the_lab_knows_how(mother):
    known = list(mother.facts[:5])
    assert more_facts("mother", 3, 4, known) == list(invent("mother", 3, 4, known))
    assert more_facts("boss", 1, 4, own(("A B", "C D"), ("E F", "G H"))) == recombine(
        own(("A B", "C D"), ("E F", "G H")), 1, 4
    )
