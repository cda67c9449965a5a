"""Stored hidden states, projected to two dimensions (PCA).

A run writes one safetensors file for each checkpoint (`storage.states_file`). They are read one
layer at a time and projected in one basis for all checkpoints, so that a point can be followed from
one checkpoint to the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from rotelab.config.names import CHECKPOINTS
from rotelab.errors import LabError
from rotelab.storage import Storage, states_file

DAMAGED = "The hidden states in {path} are damaged. Make the run again."


class View(NamedTuple):
    """One prompt whose hidden state was stored: `representations.Viewpoint` without tokens."""

    relation: str
    role: str
    fact: int
    text: str


@dataclass(frozen=True)
class Projection:
    """Hidden states of one layer in two dimensions.

    Args:
        layer: 0 is the embedding, then one a transformer layer.
        views: the prompt of each point.
        points: for each checkpoint `[views, 2]`, all in the same basis.
        explained: the share of the variance that each of the two axes holds.
    """

    layer: int
    views: tuple[View, ...]
    points: dict[str, np.ndarray]
    explained: tuple[float, float]


def kept_layers(storage: Storage, run_id: str) -> int:
    """How many layers of hidden states a run stored, the embedding included; 0 where it has none.

    Raises:
        LabError: a file is damaged.
    """
    for checkpoint in CHECKPOINTS:
        path = states_file(storage, run_id, checkpoint)
        if path.is_file():
            return _read(path, None)[0]
    return 0


def project(storage: Storage, run_id: str, layer: int) -> Projection | None:
    """Principal components of one layer's hidden states, fitted on all checkpoints together.

    Args:
        storage: says where the run's folder is.
        run_id: the run.
        layer: the layer; a number beyond the last means the last.

    Returns:
        The projection, or None where the run stored no hidden states.

    Raises:
        LabError: a file is damaged, or its checkpoints were measured on different prompts.
    """
    states: dict[str, np.ndarray] = {}
    views: tuple[View, ...] = ()
    for checkpoint in CHECKPOINTS:
        path = states_file(storage, run_id, checkpoint)
        if not path.is_file():
            continue
        layers, seen, states[checkpoint] = _read(path, layer)
        if views and seen != views:
            raise LabError(
                "The checkpoints of this run were looked at with different prompts, so they can't "
                "be compared. Make the run again."
            )
        views, layer = seen, min(max(layer, 0), layers - 1)
    if not states:
        return None
    points, explained = _principal(np.concatenate(list(states.values())))
    parts = np.split(points, len(states))
    return Projection(layer, views, dict(zip(states, parts, strict=True)), explained)


def kept_states(
    storage: Storage, run_id: str, checkpoint: str
) -> tuple[tuple[View, ...], np.ndarray] | None:
    """All stored hidden states of one checkpoint, or None where there are none.

    Returns:
        Their prompts, and the states, `[views, layers + 1, hidden]`, float32.

    Raises:
        LabError: the file is damaged.
    """
    path = states_file(storage, run_id, checkpoint)
    return _read(path, slice(None))[1:] if path.is_file() else None


def _principal(states: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """`[n, hidden]` to `[n, 2]` and the two shares of variance."""
    points, shares = np.zeros((len(states), 2)), [0.0, 0.0]
    centred = states.astype(np.float64) - states.mean(0, dtype=np.float64)
    # The smaller Gram matrix's eigenvectors give those of the larger, scaled by singular values.
    wide = len(centred) <= centred.shape[1]
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    total = values.clip(min=0).sum()
    for axis in range(min(2, len(values)) if total > 0 else 0):
        value, along = max(values[-1 - axis], 0.0), vectors[:, -1 - axis]
        along = along * np.sqrt(value) if wide else centred @ along
        # The sign is arbitrary: the point furthest out gets a positive coordinate.
        points[:, axis] = along * np.sign(along[np.abs(along).argmax()])
        shares[axis] = float(value / total)
    return points, (shares[0], shares[1])


def _read(path, layer: int | slice | None) -> tuple[int, tuple[View, ...], np.ndarray]:
    """Number of layers, views, and the states `[views, hidden]` of one layer, or `[views, layers,
    hidden]` of a slice of them, float32; empty where none was asked for."""
    try:
        with safe_open(path, framework="numpy") as file:
            tensor = file.get_slice("states")
            count, layers, _ = tensor.get_shape()
            views = tuple(View(*view) for view in json.loads(file.metadata()["views"]))
            states = np.zeros((count, 0), np.float32)
            if isinstance(layer, int):
                layer = min(max(layer, 0), layers - 1)
            if layer is not None:
                states = tensor[:, layer].astype(np.float32)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise LabError(DAMAGED.format(path=path)) from error
    if len(views) != count or np.isnan(states).any():
        raise LabError(DAMAGED.format(path=path))
    # Some models have a few activations too large for float16; its largest number replaces them.
    return layers, views, np.nan_to_num(states, posinf=65504.0, neginf=-65504.0)
