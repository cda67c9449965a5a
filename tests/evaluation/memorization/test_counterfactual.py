"""Counterfactual memorisation and influence on models whose effects are known."""

import math

import numpy as np
import pytest

from rotelab.evaluation.memorization.counterfactual import halves, influence, memorisation


def test_every_item_is_learned_by_half_of_the_models():
    trained = halves(10, 6, 0)
    assert trained.shape == (6, 10)
    assert (trained.sum(0) == 3).all() and (trained.sum(1) == 5).all()
    assert (halves(10, 6, 0) == trained).all() and (halves(10, 6, 1) != trained).any()


def test_what_only_training_gives_has_1_and_what_all_know_has_0():
    trained = halves(4, 8, 0)
    performance = np.stack(
        [trained[:, 0], np.ones(8), trained[:, 2] * 0.5 + 0.25, np.zeros(8)], axis=1
    )
    found = [memorisation(trained, performance, item) for item in range(4)]
    assert [f.value for f in found] == pytest.approx([1, 0, 0.5, 0])
    assert [f.error for f in found] == pytest.approx([0, 0, 0, 0])


def test_influence_is_on_another_item():
    trained = halves(4, 12, 3)
    # Item 1 is known to whoever read item 0, or item 1.
    performance = np.zeros((12, 4))
    performance[:, 1] = trained[:, 0] | trained[:, 1]
    there = trained[:, 0]
    expected = 1 - trained[~there, 1].mean()
    assert influence(trained, performance, 0, 1).value == pytest.approx(expected)
    assert influence(trained, performance, 1, 0).value == 0


def test_its_error_is_welchs():
    trained = np.array([[True], [True], [False], [False]])
    performance = np.array([[0.0], [1.0], [0.5], [0.5]])
    found = memorisation(trained, performance, 0)
    assert found.value == 0 and found.error == pytest.approx(0.5)
    assert math.isinf(memorisation(trained[1:3], performance[1:3], 0).error)
