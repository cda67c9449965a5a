"""MemFree decoding: a filter that never lets an answer complete an n-gram of the training text.

Ippolito et al., Preventing Verbatim Memorization in Language Models Gives a False Sense of Privacy
(arXiv 2210.17546). They keep the n-grams of a whole corpus in a Bloom filter, which sometimes
forbids too much; a run's training text is small, so here they are kept in a set, which is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from rotelab.facts.facts import Fact
from rotelab.models.tokens import SequenceBuilder

NGram = tuple[int, ...]


@dataclass(frozen=True)
class MemFree:
    """The n-grams that an answer must not complete.

    Args:
        n: their length in tokens, at least 2.
        forbidden: for the first n - 1 tokens of each, the tokens that complete one.
        spans_prompt: whether an n-gram may begin in the prompt. If not, the answer's own tokens
            alone count, so its first n - 1 tokens are always free.
    """

    n: int
    forbidden: Mapping[NGram, frozenset[int]]
    spans_prompt: bool = False

    @classmethod
    def of(cls, texts: Iterable[Sequence[int]], n: int, spans_prompt: bool = False) -> MemFree:
        """The filter that forbids every n-gram of some texts.

        Args:
            texts: the token ids of each. Leave tokens out that end a text: an answer that may not
                end would go on for ever.
            n: length of the n-grams.
            spans_prompt: as of the class.

        Raises:
            ValueError: n is below 2, where every token of the texts would be forbidden.
        """
        if n < 2:
            raise ValueError(f"n-grams of {n} tokens forbid every token of the text")
        found: dict[NGram, set[int]] = defaultdict(set)
        for text in texts:
            for start in range(len(text) - n + 1):
                *before, last = text[start : start + n]
                found[tuple(before)].add(last)
        return cls(n, {before: frozenset(last) for before, last in found.items()}, spans_prompt)

    def blocked(self, prompt: Sequence[int], said: Sequence[int]) -> frozenset[int]:
        """The tokens that must not come next.

        Args:
            prompt: token ids of the prompt.
            said: token ids of the answer so far.
        """
        needed = self.n - 1
        before = tuple(said[-needed:])
        if self.spans_prompt and len(before) < needed:
            before = (*prompt[max(0, len(prompt) - needed + len(before)) :], *before)
        return self.forbidden.get(before, frozenset())

    def filtered(
        self, logits: torch.Tensor, prompt: Sequence[int], said: Sequence[int]
    ) -> torch.Tensor:
        """Logits of the next token, `[vocabulary]`, with -inf at what is blocked; a copy if any is.

        Args:
            logits: of the next token, `[vocabulary]`.
            prompt: token ids of the prompt.
            said: token ids of the answer so far.
        """
        blocked = self.blocked(prompt, said)
        if not blocked:
            return logits
        places = torch.tensor(sorted(blocked), device=logits.device)
        return logits.index_fill(-1, places, -torch.inf)

    def completions(self, prompt: Sequence[int], said: Sequence[int]) -> int:
        """How many tokens of an answer complete a forbidden n-gram: 0 if this filter was on."""
        return sum(token in self.blocked(prompt, said[:i]) for i, token in enumerate(said))


def rote_sentence(builder: SequenceBuilder, fact: Fact) -> list[int]:
    """The tokens of `subject KEY object`, which phase 1 learned: without the separator before them
    and the end after them, so that every answer may still end."""
    example = builder.rote(fact, 0)
    return list(example.ids[1 : example.object_span[1]])
