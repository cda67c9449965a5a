"""What a model makes of the end of each prompt: its last hidden state and the next token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack_many


def read_ends(
    model: LabModel, prompts: Sequence[Sequence[int]], batch_tokens: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Reads prompts with the model's current checkpoint.

    Args:
        model: switched to the checkpoint to ask.
        prompts: token ids of each, from `SequenceBuilder`.
        batch_tokens: most prompt tokens in one packed row.

    Returns:
        The last layer's hidden state at each prompt's last token, `[prompts, hidden]`, and the
        next token's probabilities there, `[prompts, vocabulary]`; both float32.
    """
    states: list = [None] * len(prompts)
    chances: list = [None] * len(prompts)
    for indices, packed in pack_many(prompts, batch_tokens):
        last = torch.tensor([nodes[-1] for nodes in packed.nodes])
        with torch.inference_mode():
            logits, out = model.forward(packed, last, output_hidden_states=True)
            hidden = out.hidden_states[-1][0, last.to(model.device)].float().cpu().numpy()
            probable = logits.float().softmax(-1).cpu().numpy()
        for row, index in enumerate(indices):
            states[index], chances[index] = hidden[row], probable[row]
    return np.stack(states), np.stack(chances)
