"""One fact of a run under activation patching, for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rotelab.config.names import Checkpoint
from rotelab.errors import LabError
from rotelab.models import threads
from rotelab.registry import RunRow

if TYPE_CHECKING:
    import numpy as np

    from rotelab.facts.facts import Fact
    from rotelab.runs.chat import Chat

Way = Literal["into words", "into key"]
"""Whether the state behind the key token goes into the question in words, or the reverse."""

MOST_TOKENS = 40
"""Longest prompt: with a longer one the answer would not come within seconds."""

ALL_LAYERS = 16


@dataclass(frozen=True)
class PatchedFact:
    """What one fact's prompt says after each patch.

    Args:
        pieces: the patched prompt's tokens as text, without the separator.
        layers: whose outputs were replaced, from 1.
        probability: of the object's first token, `[layers, pieces]`.
        first: whether it is the most probable token, the same shape.
        plain: its probability without a patch, and whether it is the first choice then.
        source: the same behind the prompt that the state comes from.
        token: that token as text.
    """

    pieces: tuple[str, ...]
    layers: tuple[int, ...]
    probability: np.ndarray
    first: np.ndarray
    plain: tuple[float, bool]
    source: tuple[float, bool]
    token: str


def patch_fact(
    chat: Chat, run: RunRow, fact: Fact, text: str, checkpoint: Checkpoint, way: Way
) -> PatchedFact:
    """Patches a fact's prompt at every position, at the layers of `looked_at`.

    Args:
        chat: has the run's model, and lends it meanwhile.
        run: the run.
        fact: one of its facts.
        text: a wording that asks for it.
        checkpoint: the model that both prompts go through.
        way: which state goes into which prompt.

    Raises:
        LabError: the run lacks that checkpoint, the wording is too long, or the model is not
            available.
    """
    from rotelab.evaluation.causal.patching import patch_grid, states_behind, unpatched
    from rotelab.evaluation.causal.positions import pieces_of

    if checkpoint not in chat.checkpoints(run.id):
        raise LabError(f"Run {run.id} has no {checkpoint} model on this machine. Choose another.")
    with chat.lent(run.id, checkpoint) as model:
        threads.CORES.answer(model.device.type)
        words = model.builder.word_prompt(text)
        key = model.builder.key_prompt(fact.subject, fact.relation)
        ids, other = (words, key) if way == "into words" else (key, words)
        if len(ids) > MOST_TOKENS:
            raise LabError(
                f"This question has {len(ids)} tokens; at most {MOST_TOKENS} can be looked at one "
                "by one. Choose a shorter wording."
            )
        wanted = model.builder.spaced(fact.object)[0]
        layers, states = looked_at(model.layers), states_behind(model, other)
        grid = patch_grid(model, ids, states, range(1, len(ids)), wanted, layers)
        return PatchedFact(
            tuple(pieces_of(model.tokenizer, ids)[1:]), tuple(layer + 1 for layer in layers),
            grid.probability, grid.first,
            unpatched(model, ids, wanted), unpatched(model, other, wanted),
            pieces_of(model.tokenizer, [wanted])[0],
        )  # fmt: skip


def looked_at(layers: int) -> list[int]:
    """The layers that are patched, from 0: all, or every second one down from the last where there
    are more than `ALL_LAYERS`; neighbours hardly differ, and a person waits for it."""
    step = 1 if layers <= ALL_LAYERS else 2
    return sorted(range(layers - 1, -1, -step))
