"""Neighbours that vote for the next token, on hand-made states."""

import numpy as np
import pytest

from rotelab.evaluation.memorization.retrieval import cosines, interpolated, knn_distribution


def test_a_key_is_its_own_nearest_and_its_opposite_the_farthest():
    keys = np.array([[3.0, 1], [1, 3], [1, 1], [3, 3]])
    found = cosines(keys * 1.0, keys)
    assert np.allclose(np.diag(found), 1) and found[2, 3] == pytest.approx(-1)
    # A state and its multiple from the centre point the same way, whatever their length.
    assert np.allclose(cosines(keys.mean(0) + 5 * (keys - keys.mean(0)), keys), found)


def test_neighbours_of_one_label_vote_together_and_the_others_not_at_all():
    similar = np.array([[3.0, 2.0, 2.0, -9.0]])
    labels = np.array([7, 4, 4, 1])
    weights = np.exp([3.0, 2.0, 2.0]) / np.exp([3.0, 2.0, 2.0]).sum()
    found = knn_distribution(similar, labels, 8, 3)
    assert found[0, 7] == pytest.approx(weights[0])
    assert found[0, 4] == pytest.approx(weights[1] + weights[2])
    assert found.sum() == pytest.approx(1) and found[0, 1] == 0
    assert knn_distribution(similar, labels, 8, 1)[0].tolist() == [0] * 7 + [1]
    assert knn_distribution(similar, labels, 8, 99).shape == (1, 8), "all there are"
    assert knn_distribution(similar, labels, 8, 3, 0.01)[0, 7] == pytest.approx(1)


def test_the_papers_rule_and_the_codes():
    p, p_knn = np.array([0.6, 0.4, 0.0]), np.array([0.0, 0.0, 1.0])
    assert interpolated(p, p_knn, 0.2).tolist() == pytest.approx([0.48, 0.32, 0.2])
    assert interpolated(p, p_knn, 0).tolist() == p.tolist()
    assert interpolated(p, p_knn, 1).tolist() == p_knn.tolist()
    code = interpolated(p, p_knn, 0.2, "code")
    assert code.tolist() == pytest.approx(
        [np.log(0.8 * np.exp(0.6) + 0.2), np.log(0.8 * np.exp(0.4) + 0.2),
         np.log(0.8 + 0.2 * np.e)]
    )  # fmt: skip
    # The same order here, but as the logarithms that they stand for, the code's are flatter.
    close, votes = np.array([0.5, 0.3, 0.2]), np.array([0.0, 0.6, 0.4])
    share = 0.1
    paper, code = (interpolated(close, votes, share, rule) for rule in ("paper", "code"))
    assert paper.argsort().tolist() == code.argsort().tolist() == [2, 1, 0]
    assert 2 * np.ptp(code) < np.ptp(np.log(paper)), "it stands for a logarithm"
