"""Overlap of hand-made texts."""

import pytest

from rotelab.evaluation.memorization.overlap import bleu, chrf, copied_share

TEXT = "The old ferry leaves the island at noon every second day."


@pytest.mark.parametrize("measure", [bleu, chrf])
def test_the_same_is_1_and_another_text_is_near_0(measure):
    assert measure(TEXT, TEXT) == pytest.approx(1)
    assert measure("quiz fjord", TEXT) < 0.1
    assert measure("", TEXT) == measure(TEXT, "") == 0
    half = "The old ferry leaves the island whenever somebody asks for it."
    assert 0.1 < measure(half, TEXT) < 0.8


def test_chrf_sees_words_that_bleu_does_not():
    assert bleu("ferries islands", "ferry island") < chrf("ferries islands", "ferry island")


def test_copied_tokens_are_those_of_common_n_grams():
    texts = [[1, 2, 3, 4, 5], [6, 7, 8]]
    assert copied_share([1, 2, 3, 9, 9], texts, 3) == pytest.approx(3 / 5)
    assert copied_share([2, 3, 4, 5], texts, 3) == 1, "n-grams overlap"
    assert copied_share([4, 5, 6], texts, 3) == 0, "not across two texts"
    assert copied_share([1, 2], texts, 3) == copied_share([], texts, 3) == 0
