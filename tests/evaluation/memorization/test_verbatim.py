"""The memorised length of hand-made texts."""

from rotelab.evaluation.memorization.verbatim import memorised_length

TEXT = (1, 2, 3, 4, 5, 6, 7, 8)


def test_it_counts_up_to_the_first_other_token():
    right = TEXT[1:]
    assert memorised_length(TEXT, right, 0, 3) == 5
    assert memorised_length(TEXT, right, 0, 7) == 1
    wrong_at_6 = (2, 3, 4, 5, 99, 7, 8)
    assert memorised_length(TEXT, wrong_at_6, 0, 3) == 2
    assert memorised_length(TEXT, wrong_at_6, 0, 5) == 0
    assert memorised_length(TEXT, wrong_at_6, 0, 6) == 2, "the mistake stands in the prompt"


def test_the_prompt_may_begin_anywhere():
    assert memorised_length(TEXT, TEXT[3:], 2, 2) == 4
    assert memorised_length(TEXT, (4, 0, 6, 7, 8), 2, 1) == 1


def test_a_long_match_that_stands_in_the_prompt_is_copying():
    again = (1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6)
    assert memorised_length(again, again[1:], 0, 6) == 0
    short = (1, 2, 3, 4, 5, 1, 2, 3, 4, 5)
    assert memorised_length(short, short[1:], 0, 5) == 5, "five tokens may be chance"
