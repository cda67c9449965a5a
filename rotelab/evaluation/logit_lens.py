"""The logit lens: what each layer would answer if it were the last.

The model's final norm and head are applied to the hidden state of a prompt's last token at each
layer (nostalgebraist 2020, "interpreting GPT: the logit lens"). So one sees at which layer the
object becomes the first choice, through the key token and through a question.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rotelab.evaluation.representations import Viewpoint
from rotelab.evaluation.results import LensReading
from rotelab.facts.facts import FactSet
from rotelab.models.lab_model import LabModel

ROLES = ("key", "train", "test")
"""Kinds of prompts that ask for the object."""

FACTS, MAX_PROMPTS = 16, 240
"""Most facts of each relation, and most prompts in all, that are read at each layer. The head costs
as much as several layers, and 16 facts give a clear picture."""

ROWS = 128
"""Prompts that go through the head at once: 128 x 150,000 logits are 77 MB."""


def readings(
    model: LabModel, states: np.ndarray, views: Sequence[Viewpoint], facts: FactSet
) -> list[LensReading]:
    """Reads hidden states through the head of the model as it is now; no forward pass.

    Args:
        model: switched to the checkpoint that the states come from.
        states: `[views, layers + 1, hidden]`, as `representations.hidden_states` gives them: the
            last of them have passed the final norm.
        views: the prompts they belong to; only relation, role and fact are used.
        facts: the run's facts.

    Returns:
        A reading for each layer and kind of prompt.
    """
    chosen = sampled(views)
    if not chosen:
        return []
    first = {i: model.builder.spaced(facts[views[i].fact].object)[0] for i in chosen}
    targets = torch.tensor([first[i] for i in chosen], device=model.device)
    roles = np.array([views[i].role for i in chosen])
    found = []
    for layer in range(states.shape[1]):
        hidden = torch.from_numpy(np.ascontiguousarray(states[chosen, layer], np.float32))
        last = layer == states.shape[1] - 1
        chance, rank = read_tokens(model, not last, hidden.to(model.device), targets)
        for role in ROLES:
            mine = roles == role
            if mine.any():
                share, mean = float((rank[mine] == 1).mean()), float(chance[mine].mean())
                middle = float(np.median(rank[mine]))
                row = LensReading(
                    model.checkpoint, layer, role, int(mine.sum()), share, mean, middle
                )
                found.append(row)
    return found


def sampled(views: Sequence[Viewpoint]) -> list[int]:
    """Which views are read: of each relation and kind of prompt the first `FACTS`, fewer where
    there would be more than `MAX_PROMPTS` (which facts are looked at was drawn already)."""
    groups: dict[tuple[str, str], list[int]] = {}
    for i, view in enumerate(views):
        if view.role in ROLES:
            groups.setdefault((view.relation, view.role), []).append(i)
    most = max(1, min(FACTS, MAX_PROMPTS // max(1, len(groups))))
    return sorted(i for group in groups.values() for i in group[:most])


def read_tokens(
    model: LabModel, norm: bool, hidden: torch.Tensor, targets: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Probability and rank of one token at each hidden state, `[n]` each.

    Args:
        model: as it is now; its head reads.
        norm: whether the states still need the final norm, as all but the last layer's do.
        hidden: `[n, hidden]`, on the model's device.
        targets: `[n]` ids of the tokens.
    """
    chances, ranks = [], []
    mixed = model.dtype != torch.float32
    for rows, wanted in zip(hidden.split(ROWS), targets.split(ROWS), strict=True):
        with (
            torch.inference_mode(),
            model.switched(model.checkpoint),
            torch.autocast(model.device.type, model.dtype, enabled=mixed),
        ):
            logits = model.read_out(model.final_norm(rows) if norm else rows).float()
            own = logits.gather(1, wanted[:, None])
            chances.append((own[:, 0] - logits.logsumexp(1)).exp().cpu())
            ranks.append((logits >= own).sum(1).cpu())
    return torch.cat(chances).numpy(), torch.cat(ranks).numpy()
