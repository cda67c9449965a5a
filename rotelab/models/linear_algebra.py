"""Linear algebra in places where every machine can do it.

A Mac's GPU (MPS) has no float64 and no decompositions, so both are computed on the CPU. This is the
only file that may use `torch.linalg` or float64; tests/runs/test_macs.py checks the others.
"""

from __future__ import annotations

import torch


def eigh(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues and eigenvectors of a symmetric matrix, on the matrix's device.

    They are computed on the CPU, except for a matrix on a CUDA device, which is quicker there.

    Args:
        matrix: `[n, n]`.

    Returns:
        The eigenvalues in ascending order, `[n]`, and the eigenvectors as columns, `[n, n]`.
    """
    place = matrix if matrix.is_cuda else matrix.cpu()
    values, vectors = torch.linalg.eigh(place)
    return values.to(matrix.device), vectors.to(matrix.device)


def norm_of_product(b: torch.Tensor, a: torch.Tensor) -> float:
    """The Frobenius norm of `B A`, on the CPU and in float64, because large terms may cancel.

    `|BA|² = tr(BᵀB AAᵀ)` takes two small matrices instead of one of a layer's size.

    Args:
        b: `[out, rank]`.
        a: `[rank, in]`.
    """
    # First to the CPU, then to float64: the other way round fails on a Mac.
    b, a = b.detach().cpu().double(), a.detach().cpu().double()
    return float(((b.T @ b) * (a @ a.T)).sum().clamp(min=0).sqrt())
