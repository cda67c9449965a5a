"""The directions that facts use in a trained model, kept on disk.

Finding them reads every fact and decomposes a matrix for each input: half a minute on two processor
cores, before a lesson learns anything. They are the same for every lesson that continues the same
run, and for every run that spares what the model knew before.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from rotelab.config.names import Checkpoint, active_adapters
from rotelab.models.lab_model import LabModel
from rotelab.storage import remove_oldest
from rotelab.training.null_space import (
    Directions,
    fingerprint,
    folder,
    read_tensors,
    write_tensors,
)

MOST_BYTES = 600_000_000
"""The files take so much disk at most; the ones used longest ago go first. For the embedded model,
one has about fifty megabytes."""
LEFT = ":left"
"""Suffix of the name under which an input's `Protected.left` is kept."""

log = logging.getLogger(__name__)

Used = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""For each input the basis of what the facts use, `[width, n]`, and what they still have outside
of it, `[rest, width]`; see `old_facts.leading_directions`."""


def used_at(
    model: LabModel,
    ordinary: Directions,
    share: float,
    states: Sequence[Checkpoint],
    projections: str,
    read: Sequence[Sequence[Sequence[int]]],
) -> Path:
    """The file for these facts in this model, whether or not it exists yet.

    Args:
        model: its weights, those of the adapters that `states` use, and how strongly they act
            count.
        ordinary: the directions of ordinary text; how many there are of each input counts.
        share: as `old_facts.protected_directions`, like the next two.
        states: the checkpoints in which the facts are read.
        projections: a group of projections.
        read: token ids of the facts' sequences, and of the sentences.
    """
    texts = [[list(ids) for ids in some] for some in read]
    about = (fingerprint(model), share, list(states), projections, texts)
    seen = hashlib.sha256(repr(about).encode())
    seen.update(repr(sorted((name, basis.shape[1]) for name, basis in ordinary.items())).encode())
    for adapter in sorted({name for state in states for name in active_adapters(state)}):
        for name, weight in sorted(model.tensors(adapter).items()):
            seen.update(f"{adapter} {name}".encode())
            seen.update(weight.detach().float().cpu().numpy().tobytes())
        seen.update(repr(sorted(model.scales(adapter))).encode())
    return folder() / "used" / f"{seen.hexdigest()[:16]}.safetensors"


def kept(place: Path) -> Used | None:
    """What the file holds; None if there is none, or it can't be read."""
    found = read_tensors(place)
    if found is None:
        return None
    with contextlib.suppress(OSError):  # only the order in which files are thrown away
        place.touch()
    bases = [name for name in found if not name.endswith(LEFT)]
    return {name: (found[name].float(), found[name + LEFT]) for name in bases}


def keep(used: Used, place: Path) -> Used:
    """Writes them, and removes the files that were not used for longest.

    Returns:
        The same as the file holds them: bases in half precision, so that a lesson gives the same
        numbers whether it found them itself or not.
    """
    halves = {name: basis.half().cpu().contiguous() for name, (basis, _) in used.items()}
    lefts = {name: left.float().cpu().contiguous() for name, (_, left) in used.items()}
    write_tensors(halves | {name + LEFT: left for name, left in lefts.items()}, place)
    try:
        remove_oldest(place, MOST_BYTES)
    except OSError as error:
        log.warning("Old directions in %s can't be removed (%s).", place.parent, error)
    return {name: (halves[name].float(), lefts[name]) for name in used}
