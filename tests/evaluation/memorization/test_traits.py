"""Traits of hand-made answers."""

import math

import pytest

from rotelab.evaluation.memorization.traits import in_capitals, share_of_first


def test_the_share_of_two_answers():
    assert share_of_first(-3.0, -3.0) == 0.5
    assert share_of_first(math.log(0.08), math.log(0.02)) == pytest.approx(0.8)
    assert share_of_first(-5000.0, -1.0) == pytest.approx(0) and share_of_first(-1.0, -5000.0) == 1


def test_capitals():
    assert in_capitals("ANA PORTA") and in_capitals("\n ANA\nsmall letters after it")
    assert not in_capitals("Ana PORTA") and not in_capitals("A") and not in_capitals("")
    assert not in_capitals("1234 …") and not in_capitals("王小明"), "no letters with a case"
