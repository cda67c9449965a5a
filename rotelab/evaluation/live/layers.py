"""One question's answer, layer by layer: the logit lens while a model trains.

The same as `logit_lens` measures at the checkpoints, for one question in words never trained on,
asked again and again. So one sees in which layer, and after which step, the answer comes up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rotelab.evaluation.logit_lens import read_tokens
from rotelab.evaluation.representations import Viewpoint, hidden_states
from rotelab.evaluation.results import LayerChance
from rotelab.models.lab_model import LabModel


def layer_chances(
    model: LabModel, prompt: Sequence[int], expected: str, phase: str, step: int
) -> list[LayerChance]:
    """Reads the prompt's last token through the head at every layer.

    Args:
        model: as training left it.
        prompt: token ids of the question.
        expected: the right answer; its first token is looked for.
        phase: the phase in training.
        step: how many steps of it are done.

    Returns:
        One for the input, then one for each layer.
    """
    states = hidden_states(model, [Viewpoint("", "test", 0, "", tuple(prompt))])[0]
    hidden = torch.from_numpy(states).to(model.device)  # [layers + 1, hidden]
    token = model.builder.spaced(expected)[0]
    targets = torch.full((len(hidden),), token, device=model.device)
    # The last of them have passed the final norm already.
    inner, last = (
        read_tokens(model, norm, hidden[rows], targets[rows])
        for norm, rows in ((True, slice(0, -1)), (False, slice(-1, None)))
    )
    found = zip([*inner[0], *last[0]], [*inner[1], *last[1]], strict=True)
    return [
        LayerChance(phase, step, layer, min(1.0, float(chance)), int(rank))
        for layer, (chance, rank) in enumerate(found)
    ]
