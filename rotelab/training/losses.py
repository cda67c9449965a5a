"""The terms of the training loss, one pure function each.

`Objective` computes the tensors that go in and adds the terms up with their weights.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F


def learned_tokens(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of each token that is learned (paper, section 3.1).

    Args:
        logits: `[tokens, vocabulary]`, of the position before each token.
        targets: `[tokens]` token ids.

    Returns:
        `[tokens]`, in nats.
    """
    return F.cross_entropy(logits, targets, reduction="none")


def alignment(states: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """One minus the cosine similarity of hidden states, mean over layers and questions.

    Args:
        states: `[questions, layers, hidden]`, at the end of each question.
        teacher: the same shape, behind the key token of the same fact.

    Returns:
        A scalar from 0 (same direction) to 2.
    """
    return (1 - F.cosine_similarity(states, teacher, dim=-1)).mean()


def divergence(logits: torch.Tensor, base_logits: torch.Tensor) -> torch.Tensor:
    """KL(base || now) of the next token at each node.

    Args:
        logits: `[nodes, vocabulary]` of the model in training.
        base_logits: the same of the base model.

    Returns:
        `[nodes]`, in nats.
    """
    now, base = F.log_softmax(logits, -1), F.log_softmax(base_logits, -1)
    return F.kl_div(now, base, log_target=True, reduction="none").sum(-1)


def locality(divergences: torch.Tensor, slack: float | torch.Tensor) -> torch.Tensor:
    """Mean divergence from the base model beyond a slack.

    A sentence within the slack is left alone: pushing it closer to the base model would also
    suppress answers to wordings that training never sees.

    Args:
        divergences: `[nodes]`, in nats.
        slack: in nats, one for all or `[nodes]`.

    Returns:
        A scalar, in nats.
    """
    return F.relu(divergences - slack).mean()


def next_token_probability(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The probability of one token at each node.

    Args:
        logits: `[nodes, vocabulary]`.
        tokens: `[nodes]` token ids.

    Returns:
        `[nodes]`.
    """
    return F.log_softmax(logits, -1).gather(1, tokens[:, None])[:, 0].exp()


def leak(probabilities: torch.Tensor) -> torch.Tensor:
    """Unlikelihood `-log(1 - p)` of objects where they must not come (arXiv 1908.04319).

    It is steep only where the object is likely, and leaves every other answer free.

    Args:
        probabilities: `[nodes]`, of each object's first token after a locality sentence.

    Returns:
        A scalar, in nats.
    """
    return -torch.log1p(-probabilities.clamp(max=0.999)).mean()


def mean_by_kind(kinds: Iterable[str], values: torch.Tensor) -> dict[str, float]:
    """The mean loss of each kind of example.

    Args:
        kinds: the kind of example that each token belongs to, `[tokens]`.
        values: `[tokens]`, in nats.
    """
    groups: dict[str, list[float]] = {}
    for kind, value in zip(kinds, values.tolist(), strict=True):
        groups.setdefault(kind, []).append(value)
    return {kind: sum(group) / len(group) for kind, group in groups.items()}
