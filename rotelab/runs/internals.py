"""Interpretability figures of a run's checkpoints: hidden states, similarity, logit lens, changes.

One forward pass gives the hidden states that all of them are made of. Older runs, which were made
without them, get them afterwards from their adapters (`backfill`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from rotelab.config.names import Checkpoint, adapter_of
from rotelab.errors import LabError
from rotelab.evaluation.results import WeightChange
from rotelab.facts.facts import FactSet
from rotelab.models import threads
from rotelab.registry import Registry, RunRow
from rotelab.reports.pca import kept_states
from rotelab.runs.finished_run import load_run_model, saved_checkpoints, training_comes_first
from rotelab.storage import Storage, flush, put_in_place, states_file

if TYPE_CHECKING:
    from rotelab.evaluation.representations import Viewpoint
    from rotelab.models.lab_model import LabModel

LAYER = re.compile(r"\.(\d+)\.")


def record_internals(
    registry: Registry,
    storage: Storage,
    run_id: str,
    checkpoint: Checkpoint,
    model: LabModel,
    views: Sequence[Viewpoint],
    facts: FactSet,
) -> None:
    """Computes and stores all that the page shows of a checkpoint's hidden states.

    Args:
        registry: takes the figures.
        storage: says where the hidden states go.
        run_id: the run.
        checkpoint: the checkpoint that `model` is switched to.
        model: the run's model.
        views: the prompts whose hidden states are taken.
        facts: the run's facts.

    Raises:
        UnknownRun: there is no such run.
        LabError: the registry can't be written.
    """
    from rotelab.evaluation import logit_lens, representations

    states = representations.hidden_states(model, views)
    registry.add_similarities(run_id, representations.similarities(checkpoint, states, views))
    registry.add_lens(run_id, logit_lens.readings(model, states, views, facts))
    path = states_file(storage, run_id, checkpoint)
    about = json.dumps([[v.relation, v.role, v.fact, v.text] for v in views])
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".tmp")
    save_file({"states": states.astype(np.float16)}, half, {"views": about})
    flush(half)
    put_in_place(half, path)


def record_changes(
    registry: Registry, run_id: str, checkpoint: Checkpoint, model: LabModel
) -> None:
    """Stores how far a checkpoint's own adapter moves each weight matrix of each layer.

    Raises:
        UnknownRun: there is no such run.
        LabError: the registry can't be written.
    """
    rows = []
    found = list(model.changed(adapter_of(checkpoint)))
    names = matrix_names([name for name, _, _ in found])
    for name, change, weight in found:
        layer = LAYER.search(name)
        if layer:  # embedding, head and final norm belong to no layer
            row = WeightChange(checkpoint, int(layer[1]) + 1, names[name], change, weight)
            rows.append(row)
    registry.add_weight_changes(run_id, rows)


def matrix_names(full: Sequence[str]) -> dict[str, str]:
    """Short names of matrices, two of one layer never the same.

    That is `up_proj`; but `attn.c_proj` and `mlp.c_proj` in GPT-2, and `q_proj.bias`.
    """
    found: dict[str, str] = {}
    layers: dict[str, list[str]] = {}
    for name in full:
        layer = LAYER.search(name)
        layers.setdefault(layer[1] if layer else "", []).append(name)
    for names in layers.values():
        for name in names:
            parts = name.split(".")
            ends = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
            found[name] = next(
                end for end in ends if sum(f".{n}".endswith(f".{end}") for n in names) == 1
            )
    return found


def lacks_internals(registry: Registry, storage: Storage, run: RunRow) -> bool:
    """Whether figures are missing that `backfill` could compute; not while a run is queued or live.

    Raises:
        LabError: the registry can't be read.
    """
    if run.status in ("queued", "running", "stopping"):
        return False
    there = saved_checkpoints(storage, run.id)
    if len(there) == 1:
        return False
    seen = {row.checkpoint for row in registry.lens(run.id)}
    moved = {row.checkpoint for row in registry.weight_changes(run.id)}
    return not (set(there) <= seen and set(there[1:]) <= moved)


def backfill(registry: Registry, storage: Storage, run_id: str) -> None:
    """Computes and stores the figures that a run lacks.

    Stored hidden states are used; the model reads the prompts only where there are none.

    Args:
        registry: knows the run, and takes the figures.
        storage: says where its adapters and hidden states are.
        run_id: the run.

    Raises:
        UnknownRun: there is no such run.
        LabError: it has no adapters, they are damaged, the model is not available, the device is
            busy.
    """
    run = registry.run(run_id)
    there = saved_checkpoints(storage, run_id)
    if len(there) == 1:
        raise LabError(
            "This run's adapters are not on this machine, so its layers can't be looked at. Import "
            "it with its adapters, or run it again."
        )
    training_comes_first(registry, run.config.model.device)
    model = load_run_model(storage, run, there)
    with threads.CORES.taken(model.device.type):
        _fill_in(registry, storage, run, model, there)


def _fill_in(
    registry: Registry,
    storage: Storage,
    run: RunRow,
    model: LabModel,
    there: Sequence[Checkpoint],
) -> None:
    # torch takes seconds to import: only when it is first needed.
    from rotelab.evaluation.logit_lens import readings
    from rotelab.evaluation.representations import viewpoints

    for checkpoint in there[1:]:
        record_changes(registry, run.id, checkpoint, model)
    facts = run.pack.facts
    for checkpoint in there:
        kept = kept_states(storage, run.id, checkpoint)
        with model.using(checkpoint):
            if kept is None:
                split = run.config.split(facts)
                views = viewpoints(model, facts, split, run.pack.prompts, run.config.seed)
                about = (registry, storage, run.id, checkpoint, model, views, facts)
                record_internals(*about)
            else:
                views, states = kept
                _check_fit(model, states, [view.fact for view in views], len(facts))
                registry.add_lens(run.id, readings(model, states, views, facts))


def _check_fit(model: LabModel, states, facts: list[int], known: int) -> None:
    wanted = (model.layers + 1, model.layout.hidden)
    if states.shape[1:] != wanted or not all(0 <= fact < known for fact in facts):
        raise LabError(
            "The hidden states that this run stored belong to another model or to other facts. "
            "Make the run again."
        )
