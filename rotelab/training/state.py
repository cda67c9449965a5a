"""When training state is written: at every epoch's end, unless that would slow training down."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rotelab.models.adapter_files import FORMAT
from rotelab.storage import beside, finish_writing, sha256_of, written_whole

SAVE_SHARE = 0.05
"""Training state is written at the end of every epoch as long as that has taken no more than this
part of the training time. Measured with the 135M model and 100 facts on two busy cores: a state is
73 MB (rank 32, AdamW's moments included) and takes 0.4 to 0.7 s to copy, hash and flush; an epoch
takes over a minute. So every epoch is saved there, and a kill costs the epoch that it fell into.
Where an epoch is shorter than twenty times its saving (a fast GPU, a tiny model), a kill costs as
many epochs as fit into that time."""

SAVE_EVERY_S = 20.0
"""It is written after this many seconds in any case, whatever it costs."""

STATE_DAMAGED = (
    "The training state on disk was damaged (or from another version of rotelab), so this phase "
    "was learned anew from its beginning. Check the disk if it happens again."
)


class SavingClock:
    """Says at an epoch's end whether its state is to be written, from what writing cost so far.

    Args:
        share: part of the time since the start that writing may take.
        every_s: after this many seconds without a state it is written whatever that costs.
        clock: seconds that only ever grow.
    """

    def __init__(self, share: float, every_s: float, clock: Callable[[], float] = time.monotonic):
        self._share, self._every_s, self._clock = share, every_s, clock
        self._started = self._saved = clock()
        self._spent = 0.0

    def due(self) -> bool:
        """Whether the state of this moment is to be written. The first one always is."""
        now = self._clock()
        cheap = self._spent <= self._share * (now - self._started)
        return cheap or now - self._saved > self._every_s

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measures the writing that is done in its block."""
        began = self._clock()
        yield
        self._saved = self._clock()
        self._spent += self._saved - began


@dataclass
class TrainState:
    """Where training stands after an epoch: enough to go on with equal numbers.

    Args:
        phase: `memorize` or `generalize`.
        epoch: epochs done.
        step: steps done.
        tensors: the trained parameters and AdamW's moments, by name.
        done: whether the phase ended with this epoch, before its number of epochs was reached.
    """

    phase: str
    epoch: int = 0
    step: int = 0
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    done: bool = False


def save_state(state: TrainState, folder: Path) -> None:
    """Writes where training stands, replacing the state before."""
    with written_whole(folder) as work:
        tensors = work / "state.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, tensors)
        place = {
            "format": FORMAT,
            "phase": state.phase,
            "epoch": state.epoch,
            "step": state.step,
            "done": state.done,
        }
        seal = {"sha256": _seal(place, tensors)}
        (work / "state.json").write_text(json.dumps(place | seal), encoding="utf-8")


def load_state(folder: Path) -> TrainState | None:
    """The state that `save_state` wrote; None where there is none or where it is not whole.

    What a kill had left half done is finished first: only the run's own process may call this.
    """
    finish_writing(folder)
    try:
        place = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        sealed = place.pop("sha256")
        if _seal(place, folder / "state.safetensors") != sealed:
            return None
        tensors = load_file(folder / "state.safetensors")
        return TrainState(place["phase"], place["epoch"], place["step"], tensors, place["done"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
        return None


def remove_state(folder: Path) -> None:
    """Removes a state that is not needed any more; one half removed is none."""
    finish_writing(folder)
    if folder.is_dir():
        folder.rename(beside(folder, "old"))
        finish_writing(folder)


def _seal(place: dict[str, Any], tensors: Path) -> str:
    """SHA-256 over both parts of a state: an epoch that reads 7 for 3 is damage too."""
    whole = json.dumps([place, sha256_of(tensors)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()
