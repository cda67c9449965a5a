"""Spread of hand-made attention."""

import math

import numpy as np
import pytest

from rotelab.evaluation.memorization.attention import spread, spread_at


def test_even_attention_is_1_and_one_key_is_0():
    assert spread(np.full(7, 1 / 7)) == pytest.approx(1)
    assert spread(np.array([0.0, 1.0, 0.0])) == 0
    two_of_four = spread(np.array([3.0, 3.0, 0.0, 0.0]))
    assert two_of_four == pytest.approx(math.log(2) / math.log(4)), "rows are scaled"


def test_where_nothing_can_be_said_there_is_no_figure():
    assert np.isnan(spread(np.array([1.0]))) and np.isnan(spread(np.zeros(3)))


def test_the_first_key_is_left_out_of_the_second_figure():
    weights = np.zeros((1, 1, 4, 4))
    weights[0, 0, 3] = [1.0, 0.0, 0.0, 0.0]
    weights[0, 0, 2, :3] = [0.8, 0.1, 0.1]
    every, rest = spread_at(weights, [2])
    assert every < 0.7 and rest == pytest.approx(1)
    weights[0, 0, 3] = [0.7, 0.3, 0.0, 0.0]
    assert spread_at(weights, [3])[1] == 0
