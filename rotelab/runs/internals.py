"""Looking inside a model at a checkpoint, and writing down what was seen.

One forward pass gives the hidden states; similarity, the logit lens and the map of points are all
made of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
from safetensors.numpy import save_file

from rotelab.config.names import ADAPTER_OF, Checkpoint
from rotelab.evaluation import logit_lens, representations
from rotelab.evaluation.representations import Viewpoint
from rotelab.evaluation.results import LensReading, Similarity, WeightChange
from rotelab.facts.facts import FactSet
from rotelab.models.lora import LabModel
from rotelab.registry import Registry
from rotelab.storage import Storage, flush, states_file

LAYER = re.compile(r"\.(\d+)\.")


def look_inside(
    registry: Registry,
    settings: Storage,
    run_id: str,
    checkpoint: Checkpoint,
    model: LabModel,
    views: Sequence[Viewpoint],
    facts: FactSet,
) -> None:
    """Computes and keeps all that the page shows of a checkpoint's hidden states.

    Args:
        registry: takes the figures.
        settings: says where the hidden states go.
        run_id: the run.
        checkpoint: the one that `model` is in.
        model: the run's model.
        views: the prompts to look at.
        facts: the run's facts.

    Raises:
        UnknownRun: there is no such run.
        LabError: the registry can't be written.
    """
    states = representations.hidden_states(model, views)
    figures = representations.similarities(states, views)
    rows = [Similarity(checkpoint, s.layer, s.name, s.value) for s in figures]
    registry.add_similarities(run_id, rows)
    record_lens(registry, run_id, checkpoint, model, states, views, facts)
    path = states_file(settings, run_id, checkpoint)
    about = json.dumps([[v.relation, v.role, v.fact, v.text] for v in views])
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".tmp")
    save_file({"states": states.astype(np.float16)}, half, {"views": about})
    flush(half)
    half.replace(path)


def record_lens(
    registry: Registry,
    run_id: str,
    checkpoint: Checkpoint,
    model: LabModel,
    states: np.ndarray,
    views: Sequence[Viewpoint],
    facts: FactSet,
) -> None:
    """Reads hidden states through the logit lens and keeps what it saw; see `lens.readings`.

    Raises:
        UnknownRun: there is no such run.
        LabError: the registry can't be written.
    """
    seen = logit_lens.readings(model, states, views, facts)
    registry.add_lens(run_id, [LensReading(checkpoint, *astuple(reading)) for reading in seen])


def record_changes(
    registry: Registry, run_id: str, checkpoint: Checkpoint, model: LabModel
) -> None:
    """Keeps how far a checkpoint's own adapter moves each weight matrix of each layer.

    Raises:
        UnknownRun: there is no such run.
        LabError: the registry can't be written.
    """
    rows = []
    for name, change, weight in model.changed(ADAPTER_OF[checkpoint]):
        layer = LAYER.search(name)
        if layer:  # embedding, head and final norm belong to no layer
            matrix = name.rsplit(".", 1)[-1]
            rows.append(WeightChange(checkpoint, int(layer[1]) + 1, matrix, change, weight))
    registry.add_weight_changes(run_id, rows)
