"""Retrieval beside the weights, in Chat: the states of the facts vote for an answer's first token.

RetroPrompt, arXiv 2205.14704; definitions in `evaluation.memorization.retrieval`. The experiment
*retrieval* measures it over many questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rotelab.config.names import Checkpoint

if TYPE_CHECKING:
    import numpy as np

    from rotelab.facts.facts import Fact
    from rotelab.models.first_token import FirstToken
    from rotelab.models.lab_model import LabModel


class MemorizedStates:
    """A store for each checkpoint of one model: the last hidden state of `subject KEY` of every
    fact, and its object's first token. A store is made when it is first looked into.

    Args:
        model: a run's model.
        facts: those of the run.
    """

    def __init__(self, model: LabModel, facts: Sequence[Fact]):
        self.model = model
        self._facts = list(facts)
        self._stores: dict[Checkpoint, tuple[np.ndarray, np.ndarray]] = {}

    def votes(self, prompt: Sequence[int], share: float) -> FirstToken:
        """What the nearest facts say about the first token after a prompt, by the checkpoint that
        the model is switched to. Nobody else may use the model meanwhile.

        Args:
            prompt: token ids of the question.
            share: how much the facts count against the model, lambda, 0 to 1.

        Raises:
            ModelUnavailable: the prompt is too long for this model.
        """
        import torch

        from rotelab.evaluation.memorization.prompt_ends import read_ends
        from rotelab.evaluation.memorization.retrieval import (
            TEMPERATURE,
            USUAL_NEIGHBOURS,
            cosines,
            knn_distribution,
        )
        from rotelab.models.first_token import FirstToken

        model = self.model
        if model.checkpoint not in self._stores:
            self._stores[model.checkpoint] = self._store()
        keys, labels = self._stores[model.checkpoint]
        state, chances = read_ends(model, [prompt])
        similar = cosines(state, keys)
        (votes,) = knn_distribution(
            similar, labels, chances.shape[1], USUAL_NEIGHBOURS, TEMPERATURE
        )
        return FirstToken(share, torch.from_numpy(votes))

    def _store(self) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        from rotelab.evaluation.memorization.prompt_ends import read_ends

        builder = self.model.builder
        examples = [builder.rote(fact, 0) for fact in self._facts]
        prompts = [builder.key_prompt(f.subject, f.relation) for f in self._facts]
        labels = np.array([one.ids[one.object_span[0]] for one in examples])
        return read_ends(self.model, prompts)[0], labels
