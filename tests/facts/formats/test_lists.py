"""Lists of names in one cell: written so that they come back, read as others write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotelab.facts.formats.lists import as_cell, as_typed, from_cell

names = st.text(min_size=1, max_size=8).map(str.strip).filter(bool)


@given(
    st.lists(names | st.sampled_from(["a|b", "[x]", '"', "'", "[1]", '["a"]', "\\"]), max_size=4)
)
def test_they_come_back(listed):
    assert from_cell(as_cell(listed)) == listed
    assert from_cell(as_typed(listed)) == listed


@pytest.mark.parametrize(
    "cell, listed",
    [
        ("", []), (" ", []), ("a", ["a"]), ("a | b|c", ["a", "b", "c"]), ("a||b", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]), ("['a', \"b's\"]", ["a", "b's"]), ("['a' 'b']", ["a", "b"]),
        ("[1, 2.50]", ["1", "2.50"]), ("[]", []), ("[x]", ["[x]"]), ("[a, b]", ["[a, b]"]),
        ('["a", ["b"]]', ['["a", ["b"]]']), ("['a', 3]", ["['a', 3]"]),
    ],
)  # fmt: skip
def test_others_are_read(cell, listed):
    assert from_cell(cell) == listed


def test_plain_lists_are_typed_with_bars():
    assert as_typed(["a", "b"]) == "a | b"
    assert as_typed(["a|b"]) == '["a|b"]'
    assert as_cell([]) == as_typed([]) == ""
