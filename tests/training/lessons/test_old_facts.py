"""Directions that the old facts use: what they hold, and that a projected adapter leaves them."""

import pytest
import torch

from rotelab.training.lessons.old_facts import leading_directions


def test_directions_hold_the_share_that_was_asked_for():
    generator = torch.Generator().manual_seed(0)
    for count, width in ((5, 40), (60, 12)):
        rows = torch.randn(count, width, generator=generator)
        for share in (0.5, 0.9, 0.999):
            basis, left = leading_directions(rows, share, rest=1000)
            assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-4)
            held = float((rows @ basis).square().sum() / rows.square().sum())
            fewer = basis[:, :-1]
            assert held >= share - 1e-4
            assert float((rows @ fewer).square().sum() / rows.square().sum()) < share
            # Together they hold all of it.
            rest = float(left.square().sum() * count / rows.square().sum())
            assert held + rest == pytest.approx(1, abs=1e-3)
            assert torch.allclose(left @ basis, torch.zeros(len(left), basis.shape[1]), atol=1e-4)


def test_rows_in_a_plane_have_two_directions():
    plane = torch.linalg.qr(torch.randn(20, 2, generator=torch.Generator().manual_seed(1)))[0]
    rows = torch.randn(9, 2, generator=torch.Generator().manual_seed(2)) @ plane.T
    basis, _ = leading_directions(rows, 0.9999)
    assert basis.shape == (20, 2)
    assert torch.allclose(basis @ (basis.T @ rows.T), rows.T, atol=1e-4)


@pytest.mark.parametrize("count", [3, 30])
def test_nothing_has_no_directions(count):
    assert leading_directions(torch.zeros(count, 8), 0.9)[0].shape == (8, 0)
