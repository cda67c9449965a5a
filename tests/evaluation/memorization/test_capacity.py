"""The capacity curve, on curves with known constants."""

import numpy as np
import pytest

from rotelab.evaluation.memorization.capacity import Saturation, fit, fit_facts

ROUNDS = np.arange(1, 31)


@pytest.mark.parametrize("known", [(80, 90, 0.2), (200, 150, 0.1), (395, 400, 0.35)])
def test_known_constants_are_found(known):
    curve = Saturation(*known)
    found = fit(ROUNDS, curve.at(ROUNDS), 400)
    assert found == pytest.approx(known, rel=1e-3)


def test_a_plateau_before_it_is_left_out():
    curve = Saturation(80, 90, 0.2)
    known = np.concatenate([np.zeros(8), curve.at(np.arange(9, 31) - 8)])
    found = fit(ROUNDS, known, 100)
    assert found.limit == pytest.approx(80, rel=1e-3) and found.rate == pytest.approx(0.2, rel=1e-3)
    assert found.gap == pytest.approx(90 * np.exp(0.2 * 8), rel=1e-2), "shifted by eight rounds"


def test_what_never_begins_has_no_curve_and_no_limit_is_above_all_facts():
    assert fit(ROUNDS, np.full(30, 4.0), 100) is None
    assert fit(ROUNDS[:3], np.array([10.0, 20, 30]), 100) is None
    assert fit(ROUNDS, 3.0 * ROUNDS, 100).limit <= 100


def test_the_interval_is_over_facts():
    """Each of 100 facts becomes known with probability 0.6, at a round of its own."""
    rng = np.random.default_rng(1)
    learned = np.where(rng.random(100) < 0.6, rng.exponential(4, 100), np.inf)
    recalled = learned[None, :] < ROUNDS[:, None]
    found = fit_facts(ROUNDS, recalled)
    assert found.low < found.curve.limit < found.high
    assert found.low < 60 < found.high and 10 < found.high - found.low < 30
    assert fit_facts(ROUNDS, np.zeros((30, 5), bool)) is None
