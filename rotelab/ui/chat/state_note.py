"""What a person should know before asking a run: what it lacks, and what makes answers slow."""

from __future__ import annotations

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.errors import LabError
from rotelab.registry import RunRow
from rotelab.runs.chat import compared_checkpoints
from rotelab.runs.lab import Lab
from rotelab.ui.components import checkpoint_words, note
from rotelab.ui.i18n import _


def state_note(lab: Lab, run: RunRow) -> str:
    """What a person should know before asking this run: what is missing, what is slow."""
    there = lab.chat.checkpoints(run.id)
    missing = [checkpoint_words(c) for c in compared(lab, run.id) if c not in there]
    words = []
    if missing:
        have = ", ".join(map(checkpoint_words, there))
        said = _("This run has: {have}. It lacks: {lack}.")
        words.append(said.format(have=have, lack=", ".join(missing)))
        words.append(
            _("The rest comes while it trains.")
            if run.live or run.status == "queued"
            else _("It ended before the rest was learned.")
        )
    live = lab.registry.live_runs()
    if live:
        device = lab.registry.run(live[0].id).device_used
        if device and device != "cpu":
            words.append(
                _(
                    "A run is training on the GPU just now; there may be no room to answer until "
                    "it has ended."
                )
            )
        else:
            words.append(_("A run is training just now, so answers come more slowly."))
    return note(" ".join(words))


def compared(lab: Lab, run_id: str) -> tuple[Checkpoint, ...]:
    """The checkpoints that a run's cards are for."""
    try:
        return compared_checkpoints(lab.registry.run(run_id))
    except LabError:  # it is gone or damaged, which is said when it is asked
        return CHECKPOINTS
