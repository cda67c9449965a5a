"""Hidden states of prompts' last tokens, and their similarity.

Measured at every checkpoint on the same prompts: each sampled fact through its key token and in one
train, one test and one unrelated wording.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rotelab.config.names import Checkpoint
from rotelab.evaluation.results import Similarity
from rotelab.facts.facts import FactSet, Split
from rotelab.facts.prompts import PromptSet
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack_many

ROLES = ("key", "train", "test", "unrelated")
FACTS_PER_RELATION = 24
"""Facts sampled from each relation: enough for a steady mean, few enough to take seconds."""


@dataclass(frozen=True)
class Viewpoint:
    """One prompt whose last token's hidden state is taken.

    Args:
        relation: the fact's relation.
        role: `key`, `train`, `test` or `unrelated`.
        fact: the fact's index.
        text: the prompt as a person reads it.
        ids: its tokens.
    """

    relation: str
    role: str
    fact: int
    text: str
    ids: tuple[int, ...]


def viewpoints(
    model: LabModel, facts: FactSet, split: Split, prompts: PromptSet, seed: int
) -> list[Viewpoint]:
    """The prompts: about held-out facts where there are any, else about held-in ones.

    `seed` draws the facts, and one wording for each role and fact.
    """
    index = {fact: i for i, fact in enumerate(facts)}
    held_out = set(split.held_out)
    chosen = []
    for relation in facts.relations:
        group = [f for f in relation.facts if f in held_out] or list(relation.facts)
        rng = random.Random(f"view {seed} {relation.name}")
        for fact in sorted(rng.sample(group, min(FACTS_PER_RELATION, len(group))), key=index.get):
            text = f"{fact.subject} [{fact.relation}]"
            ids = tuple(model.builder.key_prompt(fact.subject, fact.relation))
            chosen.append(Viewpoint(relation.name, "key", index[fact], text, ids))
            for role in ROLES[1:]:
                wordings = prompts.of(relation.name, role)
                if wordings:
                    text = rng.choice(wordings).render(fact.subject)
                    ids = tuple(model.builder.word_prompt(text))
                    chosen.append(Viewpoint(relation.name, role, index[fact], text, ids))
    return chosen


def hidden_states(
    model: LabModel, views: Sequence[Viewpoint], batch_tokens: int = 512
) -> np.ndarray:
    """Last-token hidden states in the current checkpoint, `[views, layers + 1, hidden]`."""
    result: np.ndarray | None = None
    for indices, packed in pack_many([view.ids for view in views], batch_tokens):
        last = torch.tensor([nodes[-1] for nodes in packed.nodes])
        with torch.inference_mode():
            _, out = model.forward(packed, last[:1], output_hidden_states=True)
            states = torch.stack([layer[0, last] for layer in out.hidden_states], 1)
        if result is None:
            result = np.empty((len(views), *states.shape[1:]), np.float32)
        result[indices] = states.float().cpu().numpy()
    assert result is not None, "no prompt to look at"
    return result


def similarities(
    checkpoint: Checkpoint, states: np.ndarray, views: Sequence[Viewpoint]
) -> list[Similarity]:
    """Similarity figures of every layer.

    ΔCosSim (paper, section 5) is the mean cosine similarity between different facts' prompts of
    the same relation (`within`: key, train and test prompts) minus the mean between prompts that
    differ in relation (`across`). Where there is only one relation, its unrelated prompts take the
    place of the other relations.

    Args:
        checkpoint: the checkpoint that the states come from.
        states: `[views, layers + 1, hidden]`.
        views: the prompts they belong to.
    """
    unit = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
    fact = np.array([view.fact for view in views])
    role = np.array([view.role for view in views])
    relation = np.array([view.relation for view in views])
    about = role != "unrelated"
    pairs = fact[:, None] != fact[None]
    within = pairs & about[:, None] & about[None] & (relation[:, None] == relation[None])
    if len(set(relation)) > 1:
        across = about[:, None] & about[None] & (relation[:, None] != relation[None])
    else:
        across = pairs & about[:, None] & ~about[None]
    found = []
    for layer in range(states.shape[1]):
        cosine = unit[:, layer] @ unit[:, layer].T
        for other in ROLES[1:]:
            same = (fact[:, None] == fact[None]) & (role == "key")[:, None] & (role == other)[None]
            if same.any():
                found.append(
                    Similarity(checkpoint, layer, f"key-{other}", float(cosine[same].mean()))
                )
        if within.any() and across.any():
            near, far = float(cosine[within].mean()), float(cosine[across].mean())
            found += [
                Similarity(checkpoint, layer, "within", near),
                Similarity(checkpoint, layer, "across", far),
                Similarity(checkpoint, layer, "delta", near - far),
            ]
    return found
