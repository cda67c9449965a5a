"""Training state: where a phase stands, how it is written to disk, and when.

An epoch's end is when it can be written, unless that would slow training down.
"""

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

from rotelab.storage import beside, finish_writing, put_in_place, sha256_of, written_whole

STATE_FORMAT = 1
"""The version of a state's folder, as its `state.json` says it."""

SAVE_SHARE = 0.05
"""Most of the training time that writing state may take at epochs' ends. Measured with the 135M
model and 100 facts on two busy cores: a state has 73 MB (rank 32, with AdamW's moments) and takes
0.4 to 0.7 s to copy, hash and flush; an epoch takes over a minute. So every epoch is saved there,
and a kill costs only the epoch that it interrupts. If an epoch is shorter than twenty times its
saving (a fast GPU, a tiny model), a kill costs as many epochs as fit into that time."""

SAVE_EVERY_S = 20.0
"""After this many seconds state is written whatever it costs."""

STATE_DAMAGED = (
    "The training state on disk was damaged (or from another version of rotelab), so this phase "
    "was trained again from its beginning. Check the disk if it happens again."
)


@dataclass
class TrainState:
    """Where a phase stands after an epoch: enough to continue with equal numbers.

    Args:
        phase: `memorize` or `generalize`.
        epoch: epochs done.
        step: steps done.
        tensors: the trained parameters, AdamW's moments and the finished adapters, by name.
        done: whether the phase ended with this epoch although epochs were left.
    """

    phase: str
    epoch: int = 0
    step: int = 0
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    done: bool = False


def save_state(state: TrainState, folder: Path) -> None:
    """Writes a state atomically, replacing the one before."""
    with written_whole(folder) as work:
        tensors = work / "state.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, tensors)
        about = {
            "format": STATE_FORMAT,
            "phase": state.phase,
            "epoch": state.epoch,
            "step": state.step,
            "done": state.done,
        }
        checksum = {"sha256": _checksum(about, tensors)}
        (work / "state.json").write_text(json.dumps(about | checksum), encoding="utf-8")


def load_state(folder: Path) -> TrainState | None:
    """The state that `save_state` wrote; None if there is none or it is damaged.

    It first completes a write that a kill interrupted, so only the run's own process may call it.
    """
    finish_writing(folder)
    try:
        about = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        checksum = about.pop("sha256")
        if _checksum(about, folder / "state.safetensors") != checksum:
            return None
        if about["format"] != STATE_FORMAT:
            return None
        tensors = load_file(folder / "state.safetensors")
        return TrainState(about["phase"], about["epoch"], about["step"], tensors, about["done"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
        return None


def remove_state(folder: Path) -> None:
    """Removes a state; if a kill interrupts it, `load_state` finds none."""
    finish_writing(folder)
    if folder.is_dir():
        put_in_place(folder, beside(folder, "old"))
        finish_writing(folder)


def _checksum(about: dict[str, Any], tensors: Path) -> str:
    """SHA-256 over both parts of a state, because an epoch that reads 7 for 3 is damage too."""
    whole = json.dumps([about, sha256_of(tensors)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


class SavingClock:
    """Decides at an epoch's end whether to write its state, by what writing has cost so far.

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
        """Whether to write the state now; true the first time."""
        now = self._clock()
        cheap = self._spent <= self._share * (now - self._started)
        return cheap or now - self._saved > self._every_s

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measures the time that its block takes to write."""
        began = self._clock()
        yield
        self._saved = self._clock()
        self._spent += self._saved - began
