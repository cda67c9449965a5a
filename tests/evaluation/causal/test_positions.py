"""Which place a token has in a prompt."""

from rotelab.evaluation.causal.positions import ROLES, pieces_of, roles_of


def test_the_places_are_in_the_order_of_the_prompt_and_the_subject_is_found(tiny):
    ids = tiny.builder.word_prompt("Who gave birth to Mary Bahri in truth?")
    found = roles_of(tiny.tokenizer, ids, "Mary Bahri")
    assert set(found) == set(ROLES)
    places = [found[role] for role in ROLES]
    assert places == sorted(places) and places[-1] == len(ids) - 1
    inside = tiny.tokenizer.decode(ids[found["subject, first"] : found["subject, last"] + 1])
    assert inside.strip() == "Mary Bahri"
    assert found["before the subject"] + 1 == found["subject, first"]
    assert found["after the subject"] == found["subject, last"] + 1


def test_a_prompt_lacks_the_places_that_it_has_not(tiny):
    key = tiny.builder.key_prompt("Mary Bahri", "mother")
    found = roles_of(tiny.tokenizer, key, "Mary Bahri")
    assert set(found) == {"subject, first", "subject, last", "last"}
    assert found["subject, first"] == 1 and found["subject, last"] == len(key) - 2
    ends = tiny.builder.word_prompt("The mother of Mary Bahri")
    found = roles_of(tiny.tokenizer, ends, "Mary Bahri")
    assert "after the subject" not in found and found["last"] == len(ends) - 1
    assert roles_of(tiny.tokenizer, ends, "Nobody") == {"last": len(ends) - 1}


def test_every_token_is_shown_as_text(tiny):
    ids = tiny.builder.word_prompt("Mary\nBahri")
    pieces = pieces_of(tiny.tokenizer, ids)
    assert len(pieces) == len(ids) and all(pieces) and "⏎" in "".join(pieces)
