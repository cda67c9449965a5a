"""What is known from elsewhere about an answer's first token, mixed with what the model says."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class FirstToken:
    """Votes for the first token of an answer.

    Args:
        share: how much they count against the model, lambda, 0 to 1.
        probabilities: theirs, `[vocabulary]`; they add up to 1.
    """

    share: float
    probabilities: torch.Tensor

    def mixed(self, logits: torch.Tensor) -> torch.Tensor:
        """log(lambda · votes + (1 - lambda) · p), `[vocabulary]`; -inf where both are 0.

        Args:
            logits: the model's for the first token, `[vocabulary]`, float32.
        """
        votes = self.probabilities.to(logits.device, logits.dtype)
        return (self.share * votes + (1 - self.share) * logits.softmax(-1)).log()
