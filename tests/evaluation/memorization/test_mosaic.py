"""Mosaic memory on hand-made curves, and on the authors' own AUCs.

`tests/data/mosaic_aucs.csv` has the published AUCs of the ratio attack on GPT-Neo 1.3B, five seeds
(computationalprivacy/mosaic_memory, ebb6daa, Apache License 2.0).
"""

import csv
import math
from statistics import fmean

import pytest
from support.paths import ROOT

from rotelab.evaluation.memorization.mosaic import (
    auc,
    equivalent_copies,
    exact_duplicate_equivalent,
    filled_in,
    smoothed,
)

STRAIGHT = [0.5 + 0.05 * n for n in range(10)]
PUBLISHED = {1: 0.8977, 5: 0.7811, 10: 0.6462, 15: 0.5202, 20: 0.4519, 25: 0.4014, 50: 0.1864,
             75: 0.0810}  # fmt: skip
"""Mean rho over five seeds by replaced tokens, as the authors' notebook prints it."""


def test_auc_is_the_chance_that_a_member_scores_higher():
    assert auc([3, 4], [1, 2]) == 1 and auc([1, 2], [3, 4]) == 0
    assert auc([1, 3], [2, 2]) == 0.5 and auc([1], [1]) == 0.5
    assert auc([1, 2, 3], [0, 2]) == pytest.approx(4.5 / 6)


def test_rho_is_1_for_exact_copies_and_0_for_none():
    assert exact_duplicate_equivalent(STRAIGHT[-1], STRAIGHT) == pytest.approx(1)
    assert exact_duplicate_equivalent(STRAIGHT[0], STRAIGHT) == 0
    assert exact_duplicate_equivalent(0.1, STRAIGHT) == 0, "never below none"
    assert exact_duplicate_equivalent(0.725, STRAIGHT) == pytest.approx(0.5)


def test_between_two_copies_it_lies_on_the_line_and_beyond_them_on_the_last_slopes():
    assert equivalent_copies(0.525, STRAIGHT) == pytest.approx(1.5)
    assert equivalent_copies(1.0, STRAIGHT) == pytest.approx(11)
    assert math.isnan(equivalent_copies(1.0, [0.5, 0.9, 1.0, 1.0, 1.0, 1.0]))


def test_a_curve_is_smoothed_by_three_and_keeps_its_ends():
    assert smoothed([0.3, 0.6, 0.9, 0.6]) == pytest.approx([0.3, 0.6, 0.7, 0.6])
    assert smoothed([0.3, 0.6]) == [0.3, 0.6]


def test_numbers_of_copies_that_were_not_measured_lie_between():
    assert filled_in({1: 0.5, 4: 0.8, 5: 0.9}) == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])


def test_the_authors_own_aucs_give_their_curve():
    with (ROOT / "tests" / "data" / "mosaic_aucs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {number: [] for number in PUBLISHED}
    for seed in {row["seed"] for row in rows}:
        mine = {(row["copies"], int(row["number"])): float(row["auc"])
                for row in rows if row["seed"] == seed}  # fmt: skip
        exact = smoothed([mine["exact", n] for n in range(1, 11)])
        for number in PUBLISHED:
            found[number].append(exact_duplicate_equivalent(mine["fuzzy", number], exact))
    means = {number: fmean(values) for number, values in found.items()}
    assert means == pytest.approx(PUBLISHED, abs=2e-4)
