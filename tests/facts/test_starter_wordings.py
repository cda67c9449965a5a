"""Starter wordings: what a relation's words become, and that a pack made of them can be trained."""

import pytest

from rotelab.facts.diagnosis import LOCALITY, TEST, TRAIN, UNRELATED, diagnose_prompts
from rotelab.facts.facts import FactSet
from rotelab.facts.facts_importer import parse_facts
from rotelab.facts.packs import Pack, WordingMissing
from rotelab.facts.prompts import MAX_TEXT, ROLES, PromptSet, PromptTemplate
from rotelab.facts.starter_wordings import (
    FRAMES,
    LONGEST_WORDS,
    OFF_TOPIC,
    phrase_of,
    starter_wordings,
)

CODES = b"relation,subject,object\ncode,Ann,K7\ncode,Bob,K9\n"


def facts() -> FactSet:
    return parse_facts(CODES, "codes.csv")


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        ("mother", "noun", "mother"),
        ("Place of Birth", "noun", "place of birth"),
        ("birthPlace", "noun", "birth place"),
        ("the capital", "noun", "capital"),
        ("has pet", "noun", "pet"),
        ("adopted child", "noun", "adopted child"),
        ("love", "noun", "love"),
        ("IMDb ID", "noun", "IMDb ID"),
        ("母", "noun", "母"),
        ("lives_in", "clause", "{subject} lives in"),
        ("livesIn", "clause", "{subject} lives in"),
        ("live in", "clause", "{subject} lives in"),
        ("lived in", "clause", "{subject} lived in"),
        ("born in", "clause", "{subject} was born in"),
        ("educated at", "clause", "{subject} was educated at"),
        ("invented by", "clause", "{subject} was invented by"),
        ("invented", "clause", "{subject} invented"),
        ("located in", "clause", "{subject} is located in"),
        ("is located in", "clause", "{subject} is located in"),
        ("wrote", "clause", "{subject} wrote"),
        ("plays instrument", "clause", "{subject} plays the instrument"),
        ("works for", "clause", "{subject} works for"),
        ("part of", "clause", "{subject} is part of"),
        ("member of", "clause", "{subject} is a member of"),
        ("capital of", "clause", "{subject} is the capital of"),
        ("in", "clause", "{subject} is in"),
        ("… lies on", "clause", "{subject} lies on"),
        ("Where does … live?", "question", "Where does {subject} live?"),
    ],
)
def test_words_are_a_noun_or_a_verb_or_a_question(words, kind, text):
    assert phrase_of(words) == (kind, text)


def test_what_is_written():
    texts = [p.text for p in starter_wordings("code", "code")]
    assert texts[0] == "The code of {subject} is"
    assert "Form filled in by hand. Entry: {subject}. Code:" in texts
    texts = [p.text for p in starter_wordings("lives_in", "lives in")]
    assert "Everybody in the room knows that {subject} lives in" in texts


@pytest.mark.parametrize("words", ["code", "place of birth", "lives in", "was born in", "part of"])
def test_such_a_set_has_enough_of_each_role_and_wordings_that_differ(words):
    prompts = PromptSet(starter_wordings("r", words))
    counts = {role: len(prompts.of("r", role)) for role in ROLES}
    assert counts["train"] >= TRAIN and counts["test"] >= TEST
    assert counts["unrelated"] >= UNRELATED and counts["locality"] >= LOCALITY
    # All that is left to say is what a program can't mend: it knows no other word for the thing.
    lacks = diagnose_prompts(prompts, ["r"])
    assert all("Write some without it" in lack.reason for lack in lacks), lacks


@pytest.mark.parametrize(
    "words", ["{subject}", "{}", "…", "… of …", "", "x" * 500, "=1+1", "a\\b", "age", "colour"]
)
def test_whatever_a_relation_is_called_the_wordings_are_sound(words):
    prompts = PromptSet(starter_wordings("r", words))
    Pack("x", FactSet([f.__class__("r", f.subject, f.object) for f in facts()]), prompts).check()
    assert max(len(p.text) for p in prompts) <= MAX_TEXT


def test_no_frame_is_too_long_for_the_longest_words():
    frames = [text for roles in FRAMES.values() for of in roles.values() for text in of]
    assert max(map(len, frames)) + LONGEST_WORDS < MAX_TEXT


def test_off_topic_sentences_do_not_ask_for_the_relation():
    texts = [p.text for p in starter_wordings("r", "favourite colours") if p.role == "unrelated"]
    assert texts and not any("colour" in text for text in texts)
    assert "The age of {subject} is" not in {
        p.text for p in starter_wordings("age", "age") if p.role == "locality"
    }
    assert not set(OFF_TOPIC["unrelated"]) & set(OFF_TOPIC["locality"])


def test_only_roles_without_a_wording_are_filled_and_no_wording_comes_twice():
    first = PromptTemplate("code", "test", "en", "the  code of {subject} IS")
    other = PromptTemplate("river", "train", "en", "The river of {subject} is")
    german = PromptTemplate("code", "unrelated", "de", "Die Farbe von {subject} ist")
    made = starter_wordings("code", "code", [first, other, german])
    assert {p.role for p in made} == {"train", "unrelated", "locality"}
    assert "The code of {subject} is" not in [p.text for p in made]
    PromptSet([first, other, german, *made])


def test_a_pack_says_which_wording_is_missing():
    with pytest.raises(WordingMissing, match="'code' has no train prompt") as said:
        Pack("codes", facts(), PromptSet([])).check()
    assert (said.value.relation, said.value.role) == ("code", "train")
    train = [p for p in starter_wordings("code", "code") if p.role == "train"]
    with pytest.raises(WordingMissing) as said:
        Pack("codes", facts(), PromptSet(train)).check()
    assert said.value.role == "test"
