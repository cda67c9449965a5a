"""Names that are said, said otherwise, and missed by a letter or two."""

import pytest

from rotelab.evaluation.memorization.near_misses import edit_distance, near_miss, says


@pytest.mark.parametrize(
    ("answer", "said", "distance", "near"),
    [
        ("Amber Aporti.", True, 0, False),
        ("It is AMBER APORTI, I think", True, 0, False),
        ("A m b e r  A p o r t i", True, 11, False),
        ("Amber Aportti", False, 1, True),
        ("It is Ambr Aportti", False, 2, True),
        ("Amber Borges", False, 5, False),
        ("", False, 12, False),
        ("Amber", False, 7, False),
    ],
)
def test_a_name_in_an_answer(answer, said, distance, near):
    name = "Amber Aporti"
    assert says(answer, name) == said
    assert near_miss(answer, name) == near
    if not said or distance == 0:
        assert edit_distance(answer, name) == distance
