"""Matching answers: which texts count as the same, and names as whole words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotelab.evaluation.answer_match import begins, contains
from rotelab.facts.names import normalize


@pytest.mark.parametrize(
    "a, b",
    [
        ("Amber Aporti", " amber  APORTI. "),
        ("Amber Aporti", "Ａｍｂｅｒ Aporti!”"),
        ("café", "CAFE\N{COMBINING ACUTE ACCENT}"),
        ("Straße", "STRASSE"),
        ("ﬁsh", "fish"),
        ("one\ntwo", "one two…"),
    ],
)
def test_the_same_text(a, b):
    assert normalize(a) == normalize(b)
    assert begins(a, b) and contains(f"So: {a} and more", b)


@pytest.mark.parametrize("a, b", [("cafe", "café"), ("Ann-Lee", "Ann Lee"), ("Ann", "Anne")])
def test_not_the_same_text(a, b):
    assert normalize(a) != normalize(b)
    assert not begins(a, b) and not contains(a, b)


@given(st.text(max_size=12))
def test_normalising_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


@pytest.mark.parametrize(
    "said, first, anywhere",
    [
        ("Ann", True, True),
        ("Ann, of course", True, True),
        ("It is Ann.", False, True),
        ("Joann", False, False),
        ("Anna and Joann", False, False),
        ("Annabel? No: Ann", False, True),
        ("母はAnnです", False, True),
        ("", False, False),
    ],
)
def test_whole_words_only(said, first, anywhere):
    assert begins(said, "Ann") == first
    assert contains(said, "Ann") == anywhere
