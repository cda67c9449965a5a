"""Prediction invariance and the digits of identifiers, on hand-made answers."""

import pytest

from rotelab.evaluation.memorization.prediction_invariance import (
    digits_right,
    first_word,
    prediction_invariance,
)


def test_invariance_is_one_for_one_answer_and_zero_for_all_different():
    assert prediction_invariance(["a"] * 10) == 1
    assert prediction_invariance([str(i) for i in range(10)]) == 0
    assert prediction_invariance(["a", "a", "b"]) == 0.5
    assert prediction_invariance(["a", "b", "a", "c", "a"]) == 0.5, "how often does not count"
    with pytest.raises(ValueError, match="1 answers"):
        prediction_invariance(["a"])


def test_a_full_stop_is_no_other_answer():
    said = ["XO:0041723", " xo:0041723.", "XO:0041723, which", "“XO:0041723”"]
    assert prediction_invariance([first_word(one) for one in said]) == 1
    assert prediction_invariance([one.strip() for one in said]) == 0, "raw lines, as in their code"
    assert first_word("  ") == ""


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("xo:0041723", 1),
        ("xo:0041999", 4 / 7),
        ("xo:1041723", 0),
        ("xo:00417239", 1),
        ("xo:004", 3 / 7),
        ("xo:", 0),
        ("go:0041723", 0),
        ("", 0),
    ],
)
def test_digits_count_from_the_left_behind_the_right_prefix(answer, right):
    assert digits_right(answer, "XO:0041723") == pytest.approx(right)
