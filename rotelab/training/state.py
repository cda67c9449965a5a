"""When training state is written: at every epoch's end, unless that would slow training down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
