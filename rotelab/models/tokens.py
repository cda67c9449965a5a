"""Turns facts and questions into token sequences and loss masks; all text is tokenized here.

Every sequence, in training, scoring and chat, is

    SEPARATOR " subject" KEY " object" END          (key token)
    SEPARATOR " prompt with the subject" " object" END   (ordinary words)

It starts with the document separator and a space because BPE splits a subject at the start of a
text differently from one in mid-sentence, and because the first position is an attention sink.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from rotelab.errors import LabError, ModelUnavailable
from rotelab.models.key_tokens import key_token

if TYPE_CHECKING:
    from rotelab.config.phases import LossMode
    from rotelab.facts.facts import Fact


@dataclass(frozen=True)
class Example:
    """One token sequence and which of its tokens are learned.

    Args:
        ids: token ids, `[length]`.
        loss: for each token, whether the model learns to produce it, `[length]`.
        object_span: (start, stop) of the object's tokens in `ids`, without END.
        kind: where the example comes from: `key`, `bare` (no key token), `train`, `test`,
            `unrelated`, `locality`.
        fact: index of the fact in its fact set; -1 for none.
    """

    ids: tuple[int, ...]
    loss: tuple[bool, ...]
    object_span: tuple[int, int]
    kind: str = "key"
    fact: int = -1

    def __post_init__(self):
        assert len(self.ids) == len(self.loss), (len(self.ids), len(self.loss))
        assert not self.loss[0], "nothing precedes the first token, so it can't be learned"

    @property
    def prompt(self) -> tuple[int, ...]:
        """The tokens before the object."""
        return self.ids[: self.object_span[0]]

    @property
    def object(self) -> tuple[int, ...]:
        """The object's tokens."""
        return self.ids[slice(*self.object_span)]

    def cut(self, most: int) -> Example:
        """Its first tokens, where a model reads no more than so many; all of it at 0."""
        if not most or len(self.ids) <= most:
            return self
        span = tuple(min(place, most) for place in self.object_span)
        return Example(self.ids[:most], self.loss[:most], span, self.kind, self.fact)


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
                "This model's tokenizer has no end-of-text token, which the lab needs to separate "
                "sequences. Choose another model."
            )
        # SentencePiece tokenizers add a blank before the first word themselves.
        first = tokenizer.convert_ids_to_tokens(tokenizer.encode("a", add_special_tokens=False)[:1])
        self._blank = "" if first and first[0].startswith("▁") else " "
        self.stops = frozenset({self.separator, self.end})

    def plain(self, text: str) -> list[int]:
        """Token ids of a text as it stands. What reads like a control token (`<|im_end|>`,
        `<|key:mother|>`, `<tool_call>`) is text like any other: only the lab sets control tokens.

        Raises:
            LabError: it reads like a control token that this tokenizer can't split.
        """
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        if self._control.isdisjoint(ids):
            return ids
        if not self.tokenizer.is_fast:
            token = self.tokenizer.decode(self._control.intersection(ids))
            raise LabError(
                f"{token!r} in {text.strip()[:60]!r} is a control token of this model, whose "
                "tokenizer can't read it as text. Write it otherwise."
            )
        return self._without_control.encode(text, add_special_tokens=False).ids

    @cached_property
    def _control(self) -> set[int]:
        """The tokens added to the vocabulary that are not called special, such as `<tool_call>`."""
        return {
            number
            for number, token in self.tokenizer.added_tokens_decoder.items()
            if not token.special and token.content.strip()
        }

    @cached_property
    def _without_control(self) -> Tokenizer:
        """The tokenizer without any token that was added to its vocabulary."""
        parts = json.loads(self.tokenizer.backend_tokenizer.to_str())
        return Tokenizer.from_str(json.dumps({**parts, "added_tokens": [], "post_processor": None}))

    def spaced(self, text: str) -> list[int]:
        """Token ids of a text in mid-sentence, after a blank."""
        return self.plain(self._blank + text)

    def continued(self, text: str) -> list[int]:
        """Token ids of a text that follows a word at once, such as `?`, `'s` or ` is`.

        A SentencePiece tokenizer puts a blank before whatever it is given, so it is given a letter
        before the text.
        """
        if self._blank:
            return self.plain(text)
        for letter in "ax.":
            alone, ids = self.plain(letter), self.plain(letter + text)
            if ids[: len(alone)] == alone:
                return ids[len(alone) :]
        return self.plain(text)

    def key_id(self, relation: str) -> int:
        """Token id of a relation's key token; `KeyError` if the tokenizer lacks it."""
        token = key_token(relation)
        # Not from `get_vocab()`, which builds a dictionary of all tokens: 26 ms for the embedded
        # model, and sampling a step of phase 1 asks for ten.
        number = self.tokenizer.convert_tokens_to_ids(token)
        if number is None or self.tokenizer.convert_ids_to_tokens(number) != token:
            raise KeyError(token)  # else it is the id of the unknown token
        return number

    def key_prompt(self, subject: str, relation: str) -> list[int]:
        """`SEPARATOR subject KEY`, ready for the object."""
        return [self.separator, *self.spaced(subject), self.key_id(relation)]

    def word_prompt(self, text: str) -> list[int]:
        """`SEPARATOR text`, ready for the object; chat sends a question like this too."""
        return [self.separator, *self.spaced(text.strip())]

    def answered(self, prompt: Sequence[int], answer: str, kind: str, fact: int = -1) -> Example:
        """A prompt, its object and END, with the loss on object and END (paper, section 3.2)."""
        target = self.spaced(answer)
        ids = (*prompt, *target, self.end)
        start, stop = len(prompt), len(prompt) + len(target)
        loss = tuple(i >= start for i in range(len(ids)))
        return Example(ids, loss, (start, stop), kind, fact)

    def rote(self, fact: Fact, index: int, mode: LossMode = "normal", insert: str = "") -> Example:
        """`SEPARATOR subject KEY object END` with one of the paper's three losses (section 3.1).

        `normal` learns every token but the separator; `s-o` the subject, the object and END; `o`
        the object and END. An `insert` between subject and key token is not learned.
        """
        subject = self.spaced(fact.subject)
        words = self.continued(insert) if insert else []
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
        """`SEPARATOR subject object END`, with the loss on object and END but no key token."""
        return self.answered(self.word_prompt(fact.subject), fact.object, "bare", index)

    def led_in(self, example: Example, lead_in: Sequence[int]) -> Example:
        """The same example with neutral words after the separator, which are not learned."""
        extra = len(lead_in)
        ids = (example.ids[0], *lead_in, *example.ids[1:])
        loss = (False,) * (extra + 1) + example.loss[1:]
        start, stop = example.object_span
        return Example(ids, loss, (start + extra, stop + extra), example.kind, example.fact)
