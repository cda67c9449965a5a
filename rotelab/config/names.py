"""The words that stored rows, folders, options and the page share: checkpoints, phases, statuses."""

from __future__ import annotations

from typing import Literal

Checkpoint = Literal["base", "memorized", "generalized"]
CHECKPOINTS: tuple[Checkpoint, ...] = ("base", "memorized", "generalized")
CHECKPOINT_ORDER = "CASE checkpoint WHEN 'base' THEN 0 WHEN 'memorized' THEN 1 ELSE 2 END"
"""The same order in SQL."""

MEMORIZE, GENERALIZE = "memorize", "generalize"
"""The two phases; each trains an adapter of its own name."""

ADAPTER_OF: dict[Checkpoint, str] = {"memorized": MEMORIZE, "generalized": GENERALIZE}
"""The adapter that a checkpoint adds; also the name of its folder."""

ACTIVE: dict[Checkpoint, list[str]] = {
    "base": [],
    "memorized": [MEMORIZE],
    "generalized": [MEMORIZE, GENERALIZE],
}
"""The adapters that are on at a checkpoint."""

Status = Literal["queued", "running", "stopping", "stopped", "finished", "failed", "interrupted"]
LIVE: tuple[Status, ...] = ("running", "stopping")
RESUMABLE: tuple[Status, ...] = ("stopped", "interrupted", "failed")
TRANSITIONS: dict[str, tuple[str, ...]] = {
    "queued": ("running", "stopped", "failed"),
    "running": ("stopping", "stopped", "finished", "failed", "interrupted"),
    "stopping": ("stopped", "finished", "failed", "interrupted"),
    "stopped": ("queued", "running"),
    "interrupted": ("queued", "running"),
    "failed": ("queued", "running"),
    "finished": (),
}
"""Which status may follow which. `running` after an end is a resume in the foreground."""
