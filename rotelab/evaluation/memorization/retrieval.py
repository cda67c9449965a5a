"""Retrieval beside weights: neighbours of a hidden state vote for the next token.

RetroPrompt (arXiv 2205.14704), as its code has it (zjunlp/PromptKG, commit 3035e7f). Arrays are
NumPy's; nothing here knows a model.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Rule = Literal["paper", "code"]
USUAL_NEIGHBOURS = 16
"""How many neighbours vote in the authors' code."""
TEMPERATURE = 0.05
"""Of the softmax over cosines; the authors' inner products need none."""


def cosines(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Cosine similarity of states after the keys' mean is taken off, `[queries, keys]`.

    The authors take inner products (FAISS `IndexFlatIP`) of states of a masked model. The last
    states of a causal model share most of their length and direction, so that hardly a neighbour
    would stand out.

    Args:
        queries: `[queries, hidden]`.
        keys: `[keys, hidden]`.
    """
    centre = keys.mean(0)
    return _unit(queries - centre) @ _unit(keys - centre).T


def knn_distribution(
    similar: np.ndarray, labels: np.ndarray, size: int, k: int, temperature: float = 1.0
) -> np.ndarray:
    """p_knn = softmax over the k most similar keys, summed by label; `[queries, size]`.

    Args:
        similar: `[queries, keys]`.
        labels: the token of each key, `[keys]`.
        size: of the vocabulary.
        k: how many neighbours vote; all where there are fewer.
        temperature: of the softmax. The authors' inner products need none; cosines lie so close
            together that without one all neighbours would count alike.
    """
    k = min(k, similar.shape[1])
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(similar, nearest, 1) / temperature
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    found = np.zeros((len(similar), size))
    np.add.at(found, (np.arange(len(similar))[:, None], labels[nearest]), weights)
    return found


def interpolated(
    p: np.ndarray, p_knn: np.ndarray, share: float, rule: Rule = "paper"
) -> np.ndarray:
    """Scores of the next token with retrieval; the largest is chosen.

    Args:
        p: the model's probabilities, `[..., vocabulary]`.
        p_knn: the neighbours', `[..., vocabulary]`.
        share: lambda, how much the neighbours count, 0 to 1.
        rule: `paper`: lambda · p_knn + (1 - lambda) · p. `code`: what the authors' code computes,
            log((1 - lambda) · e^p + lambda · e^p_knn), their log-sum-exp being applied to
            probabilities in place of logarithms of such. As a logarithm it is much flatter.
    """
    if rule == "paper":
        return share * p_knn + (1 - share) * p
    return np.log((1 - share) * np.exp(p) + share * np.exp(p_knn))


def _unit(states: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    return states / np.maximum(lengths, 1e-12)
