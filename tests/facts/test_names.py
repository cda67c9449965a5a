"""One rule says when two names are the same: in Chat, in grading, in files and in tables."""

import pytest

from rotelab.facts.names import isolated, latin_twin, mixes_alphabets, normalize, spelled


@pytest.mark.parametrize(
    "one, other",
    [
        ("No\u0308rbach", "Nörbach"),
        ("Ana\u00a0Bell", "Ana Bell"),
        ("Ana  Bell", "Ana Bell"),
        ("\u200fנוף\u200f", "נוף"),
        ("Zero\u200bWidth", "ZeroWidth"),
        ("ﬁeld", "field"),
    ],
)
def test_form_is_what_nobody_sees(one, other):
    assert spelled(one) == spelled(other)
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("O’Hara", "O'Hara"), ("Saint‑Denis", "Saint-Denis"), ("Saint–Denis", "saint-denis"),
        ("ANA BELL", "Ana Bell"), ("“Blue” Ford", '"Blue" Ford'), ("Straße", "STRASSE"),
    ],
)  # fmt: skip
def test_case_and_marks_are_overlooked_but_seen(one, other):
    assert spelled(one) != spelled(other)
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize(
    "one, other", [("cafe", "café"), ("Ann", "Anne"), ("Ann-Lee", "Ann Lee"), ("-5", "5")]
)
def test_other_names_are_others(one, other):
    assert normalize(one) != normalize(other)


def test_joined_emoji_are_not_those_apart():
    assert normalize("👩\u200d👩\u200d👧") != normalize("👩👩👧")


def test_a_name_from_right_to_left_turns_nothing_around():
    assert isolated("Ann") == "Ann" and isolated("青木町 3") == "青木町 3"
    for name in ("קרית שלום", "نهر السلام", "Ann \u202eb"):
        assert isolated(name) == f"\u2068{name}\u2069"
        assert normalize(isolated(name)) == normalize(name)


def test_letters_of_another_alphabet_that_look_latin():
    assert latin_twin("Аnа Веll") == "Ana Bell"
    assert latin_twin("Müller") == "Müller"
    assert mixes_alphabets("Аna Bell") and not mixes_alphabets("Анна Белл")
    assert not mixes_alphabets("Tokyo東京 Müller Ωmega-3") or latin_twin("Ω") != "Ω"
    assert not mixes_alphabets("東京 Tokyo") and not mixes_alphabets("İzmir")
