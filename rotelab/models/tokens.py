"""Text becomes tokens here and nowhere else: sequences, loss masks, and packing into one pass.

Every sequence, in training, scoring and chat alike, is

    SEPARATOR " subject" KEY " object" END          (key token)
    SEPARATOR " prompt with the subject" " object" END   (ordinary words)

It starts with the document separator and a space because a subject at the very start of a sequence
has other BPE tokens than the same subject in mid-sentence, and because the first position is an
attention sink (measured: EXPERIMENTS.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from rotelab.errors import ModelUnavailable

if TYPE_CHECKING:
    from rotelab.config.run_config import LossMode
    from rotelab.facts.facts import Fact


def key_token(relation: str) -> str:
    """The vocabulary entry that stands for a relation and means nothing: `<|key:mother|>`."""
    return f"<|key:{relation}|>"


@dataclass(frozen=True)
class Example:
    """One token sequence and which of its tokens are learned.

    Args:
        ids: token ids, `[length]`.
        loss: per token, whether the model is to learn to produce it, `[length]`.
        object_span: (start, stop) of the object's tokens inside `ids`, END not included.
        kind: where the example comes from: `key`, `bare` (no key token), `train`, `test`,
            `unrelated`, `locality`.
        fact: index of the fact in its fact set; -1 where there is none.
    """

    ids: tuple[int, ...]
    loss: tuple[bool, ...]
    object_span: tuple[int, int]
    kind: str = "key"
    fact: int = -1

    def __post_init__(self):
        assert len(self.ids) == len(self.loss), (len(self.ids), len(self.loss))
        assert not self.loss[0], "nothing comes before the first token, so it can't be learned"

    @property
    def prompt(self) -> tuple[int, ...]:
        """The tokens before the object."""
        return self.ids[: self.object_span[0]]

    @property
    def object(self) -> tuple[int, ...]:
        """The object's tokens."""
        return self.ids[slice(*self.object_span)]


class SequenceBuilder:
    """Builds every sequence for one tokenizer.

    Args:
        tokenizer: a Hugging Face tokenizer that already has the key tokens.

    Raises:
        ModelUnavailable: the tokenizer has neither a document separator nor an end token.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        document = tokenizer.get_vocab().get("<|endoftext|>")
        self.separator = document if document is not None else tokenizer.bos_token_id
        self.end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else self.separator
        if self.separator is None:
            self.separator = self.end
        if self.separator is None:
            raise ModelUnavailable(
                "This model's tokenizer has no end-of-text token to mark off sequences with. "
                "Choose another model."
            )
        # SentencePiece tokenizers put a blank before the first word by themselves.
        first = tokenizer.convert_ids_to_tokens(tokenizer.encode("a", add_special_tokens=False)[:1])
        self._blank = "" if first and first[0].startswith("▁") else " "
        self.stops = frozenset({self.separator, self.end})

    def spaced(self, text: str) -> list[int]:
        """Token ids of text as it stands in mid-sentence, after a blank."""
        return self.tokenizer.encode(self._blank + text, add_special_tokens=False)

    def key_id(self, relation: str) -> int:
        """Token id of a relation's key token; `KeyError` where the tokenizer lacks it."""
        return self.tokenizer.get_vocab()[key_token(relation)]

    def key_prompt(self, subject: str, relation: str) -> list[int]:
        """`SEPARATOR subject KEY`, ready for the object."""
        return [self.separator, *self.spaced(subject), self.key_id(relation)]

    def word_prompt(self, text: str) -> list[int]:
        """`SEPARATOR text`, ready for the object; also what chat sends for a question."""
        return [self.separator, *self.spaced(text.strip())]

    def answered(self, prompt: Sequence[int], answer: str, kind: str, fact: int = -1) -> Example:
        """A prompt, its object and END, the loss on object and END only (paper, section 3.2)."""
        target = self.spaced(answer)
        ids = (*prompt, *target, self.end)
        start, stop = len(prompt), len(prompt) + len(target)
        loss = tuple(i >= start for i in range(len(ids)))
        return Example(ids, loss, (start, stop), kind, fact)

    def rote(self, fact: Fact, index: int, mode: LossMode = "normal", insert: str = "") -> Example:
        """`SEPARATOR subject KEY object END` with one of the paper's three losses (section 3.1).

        `normal` learns every token but the separator; `s-o` the subject, the object and END; `o`
        the object and END. An `insert` stands between subject and key token and is not learned.
        """
        subject = self.spaced(fact.subject)
        words = self.tokenizer.encode(insert, add_special_tokens=False) if insert else []
        prompt = [self.separator, *subject, *words, self.key_id(fact.relation)]
        example = self.answered(prompt, fact.object, "key", index)
        if mode == "o":
            return example
        unlearned = {0, *range(len(subject) + 1, len(subject) + 1 + len(words))}
        if mode == "s-o":
            unlearned.add(len(prompt) - 1)
        loss = tuple(i not in unlearned for i in range(len(example.ids)))
        return Example(example.ids, loss, example.object_span, "key", index)

    def bare(self, fact: Fact, index: int) -> Example:
        """`SEPARATOR subject object END`, without the key token, the loss on object and END."""
        return self.answered(self.word_prompt(fact.subject), fact.object, "bare", index)

    def led_in(self, example: Example, lead_in: Sequence[int]) -> Example:
        """The same example with neutral words after the separator, which are not learned."""
        extra = len(lead_in)
        ids = (example.ids[0], *lead_in, *example.ids[1:])
        loss = (False,) * (extra + 1) + example.loss[1:]
        start, stop = example.object_span
        return Example(ids, loss, (start + extra, stop + extra), example.kind, example.fact)


@dataclass(frozen=True)
class Packed:
    """Several sequences as one row, shared beginnings computed once, each blind to the others.

    A node is one token in one context; sequences that begin alike share nodes. The mask lets a
    node see itself and what comes before it in its own sequences, so every logit equals the one
    of the sequence run alone (up to rounding; a test holds this).

    Args:
        ids: `[1, nodes]` token ids.
        positions: `[1, nodes]` position of each node in its sequence.
        mask: `[1, 1, nodes, nodes]` True where row may see column.
        nodes: for each sequence its node indices, each `[length]`.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    nodes: tuple[tuple[int, ...], ...]

    def to(self, device: torch.device | str) -> Packed:
        """The same on another device."""
        return Packed(
            self.ids.to(device), self.positions.to(device), self.mask.to(device), self.nodes
        )


def pack(sequences: Sequence[Sequence[int]]) -> Packed:
    """Packs token sequences into one row; see `Packed`.

    Args:
        sequences: at least one sequence of at least one token id each.
    """
    children: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    parents: list[int] = []
    positions: list[int] = []
    nodes = []
    for sequence in sequences:
        node, path = -1, []
        for position, token in enumerate(sequence):
            found = children.get((node, token))
            if found is None:
                found = children[(node, token)] = len(ids)
                ids.append(token)
                parents.append(node)
                positions.append(position)
            node = found
            path.append(node)
        nodes.append(tuple(path))
    mask = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            mask[node] = mask[parent]
        mask[node, node] = True
    return Packed(torch.tensor([ids]), torch.tensor([positions]), mask[None, None], tuple(nodes))


def pack_many(
    sequences: Sequence[Sequence[int]], max_tokens: int
) -> list[tuple[list[int], Packed]]:
    """Packs any number of sequences into rows of at most `max_tokens` nodes (or one sequence).

    Sorted first, so that sequences with the same beginning land in the same row.

    Returns:
        Pairs of the sequences' indices and their row.
    """
    order = sorted(range(len(sequences)), key=lambda i: tuple(sequences[i]))
    rows: list[tuple[list[int], Packed]] = []
    group: list[int] = []
    used, previous = 0, ()
    for index in order:
        sequence = tuple(sequences[index])
        fresh = len(sequence) - _shared(previous, sequence)
        if group and used + fresh > max_tokens:
            rows.append((group, pack([sequences[i] for i in group])))
            group, used, fresh = [], 0, len(sequence)
        group.append(index)
        used += fresh
        previous = sequence
    if group:
        rows.append((group, pack([sequences[i] for i in group])))
    return rows


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count
