"""What a pack lacks is said before a run: the shipped packs lack nothing, a poor one much."""

import pytest
from support.paths import ROOT

from rotelab.facts.diagnosis import COMPARED, diagnose, diagnose_prompts
from rotelab.facts.packs import Pack, load_pack, shipped_packs
from rotelab.facts.prompts import PromptSet, PromptTemplate

TUNING = sorted(path.name for path in (ROOT / "benchmarks" / "tuning_packs").iterdir())


def said(prompts, relation="mother"):
    return [lack.sentence() for lack in diagnose_prompts(PromptSet(prompts), [relation])]


def prompts(role, *texts, relation="mother"):
    return [PromptTemplate(relation, role, "en", text) for text in texts]


def changed(role, *texts):
    """The pack `mother` with other wordings of one role."""
    kept = [p for p in load_pack("mother").prompts if p.role != role]
    return [*kept, *prompts(role, *texts)]


@pytest.mark.parametrize("name", shipped_packs())
def test_the_shipped_packs_lack_nothing(name):
    assert diagnose(load_pack(name)) == []


@pytest.mark.parametrize("name", TUNING)
def test_nor_do_the_packs_for_tuning(name):
    assert diagnose(load_pack(ROOT / "benchmarks" / "tuning_packs" / name)) == []


def test_three_train_wordings_are_few():
    pack = load_pack(ROOT / "benchmarks" / "tuning_packs" / "painter")
    (lack,) = diagnose(Pack("cut", pack.facts, pack.prompts.first("train", 3)))
    assert lack.relation == "painter"
    assert lack.sentence().startswith("painter: Train wordings: 3. Write at least 7 more, in other")
    assert diagnose(Pack("cut", pack.facts, pack.prompts.first("train", 10))) == []


@pytest.mark.parametrize(
    ("role", "least", "words"),
    [("test", 5, "Test wordings"), ("locality", 10, "Locality sentences"),
     ("unrelated", 3, "Unrelated sentences")],
)  # fmt: skip
def test_every_role_has_its_least(role, least, words):
    texts = [p.text for p in load_pack("mother").prompts if p.role == role]
    (sentence,) = said(changed(role, *texts[: least - 1]))
    assert sentence.startswith(f"mother: {words}: {least - 1}. Write at least 1 more")
    assert said(changed(role, *texts[:least])) == []


def test_each_relation_is_looked_at_by_itself():
    five = load_pack("five")
    poor = PromptSet(p for p in five.prompts if (p.relation, p.role) != ("genre", "unrelated"))
    (lack,) = diagnose(Pack("five", five.facts, poor))
    assert lack.relation == "genre" and "Unrelated sentences: 0" in lack.sentence()


def test_other_languages_are_not_counted():
    pack = load_pack("mother")
    german = [PromptTemplate("mother", "train", "de", f"Wort {i} {{subject}}") for i in range(20)]
    kept = [p for p in pack.prompts if p.role != "train"]
    assert "Train wordings: 0" in said([*kept, *german])[0]


def test_train_wordings_that_are_alike_are_named_with_the_other_one():
    texts = [p.text for p in load_pack("mother").prompts.of("mother", "train")]
    (sentence,) = said(changed("train", *texts, "The mother of {subject} was"))
    assert "“The mother of {subject} is” – “The mother of {subject} was”" in sentence
    assert "Put one of each two into other words" in sentence
    twice = said(changed("train", *texts, "Who was it that gave birth to {subject}?"))
    assert "“Who gave birth to {subject}?” – “Who was it that gave birth" in twice[0]
    many = [f"{text} dear" for text in texts[:5]]
    assert "(+3)" in said(changed("train", *texts, *many))[0], "two are named, the rest counted"


def test_a_test_wording_that_is_nearly_taught_is_named():
    texts = [p.text for p in load_pack("mother").prompts.of("mother", "test")]
    (sentence,) = said(changed("test", *texts, "And who gave birth to {subject}?"))
    assert "Test wordings that nearly stand among the train wordings: “And who gave" in sentence
    assert "– “Who gave birth to {subject}?”" in sentence


def test_one_word_in_all_train_wordings():
    texts = [f"{start} the mother of {{subject}} is" for start in (
        "Everybody agrees:", "At the village school", "In old letters", "According to neighbours",
        "Without doubt", "Since yesterday", "On this photograph", "By birth", "As doctors confirm",
        "Inside that family",
    )]  # fmt: skip
    found = said(changed("train", *texts))
    assert any(s.startswith("mother: “mother” is in 10 of 10 train wordings.") for s in found)


def test_an_off_topic_sentence_that_asks_for_the_fact():
    unrelated = [p.text for p in load_pack("mother").prompts.of("mother", "unrelated")]
    (sentence,) = said(changed("unrelated", *unrelated, "Who is the mom of {subject}?"))
    assert "ask for the fact itself: “Who is the mom of {subject}?” – “Tell me" in sentence
    near = said(changed("unrelated", *unrelated, "The grandmother of {subject} is"))
    assert near == [], "it looks alike, and asks for something else"


def test_what_measures_the_leak_was_not_trained():
    unrelated = [p.text for p in load_pack("mother").prompts.of("mother", "unrelated")]
    (sentence,) = said(changed("unrelated", *unrelated, "Which instrument does {subject} play?"))
    assert "“Which instrument does {subject} play?” – “Which musical instrument can" in sentence


def test_off_topic_sentences_that_are_all_far_away():
    kept = [p for p in load_pack("mother").prompts if p.role in ("train", "test")]
    far = [f"Yesterday train number {i} ran late, {{subject}} grumbled about" for i in range(12)]
    too = [f"Tomorrow {c} clouds gather, so {{subject}} packs" for c in ("red", "grey", "dim")]
    (sentence,) = said([*kept, *prompts("locality", *far), *prompts("unrelated", *too)])
    assert "No unrelated or locality sentence is near this relation" in sentence
    assert "“The mother of {subject} is”" in sentence and "{one}" not in sentence


def test_a_full_stop_in_the_way_of_the_object():
    texts = [p.text for p in load_pack("mother").prompts.of("mother", "train")]
    (sentence,) = said(changed("train", *texts, "We all know {subject} was raised and loved by."))
    assert "“We all know {subject} was raised and loved by.”" in sentence
    assert said(changed("train", *texts, "Now say who rocked {subject} as an infant.")) == []


def test_a_sentence_can_be_translated_and_keeps_braces():
    pack = load_pack("mother")
    (lack,) = diagnose(Pack("cut", pack.facts, pack.prompts.first("train", 3)))
    assert lack.sentence(lambda text: "Nur {n}.") == "mother: Nur 3."


def test_thousands_of_wordings_are_no_wait():
    many = [f"Sentence number {i} about {{subject}} of {i % 97} and {i % 89}" for i in range(3000)]
    found = said(prompts("train", *many))
    assert found and len(many) > COMPARED
