"""Generates answers token by token, greedy or sampled, each token with its probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from rotelab.models.first_token import FirstToken
from rotelab.models.kv_cache import PackedCache
from rotelab.models.lab_model import LabModel
from rotelab.models.memfree import MemFree
from rotelab.models.packing import pack_many

# What decoding gives for an incomplete character: an answer may be cut within one.
HALF = "\N{REPLACEMENT CHARACTER}"
BLANKS, LOOKED_AT = 3, 200
"""An answer that must have a word may begin with so many tokens without one; the word is then
looked for among so many of the likeliest tokens."""


@dataclass(frozen=True)
class Token:
    """One generated token.

    Args:
        id: the token's id.
        text: what it adds to the answer.
        probability: its probability at temperature 1, as the model gives it before any filter.
        alternatives: the likeliest tokens at this place with their probabilities, best first; one
            that a filter forbids is among them.
        forced: whether the answer would have ended here, but had to go on.
    """

    id: int
    text: str
    probability: float
    alternatives: tuple[tuple[str, float], ...]
    forced: bool = False


def generate(
    model: LabModel,
    prompt: Sequence[int],
    max_new_tokens: int = 50,
    temperature: float = 0.0,
    seed: int = 0,
    alternatives: int = 3,
    memfree: MemFree | None = None,
    speaks: bool = False,
    first: FirstToken | None = None,
) -> Iterator[Token]:
    """Generates with the model's current checkpoint until END or the separator.

    Args:
        model: switched to the checkpoint to ask.
        prompt: token ids, from `SequenceBuilder`.
        max_new_tokens: most tokens to generate (the paper uses 50).
        temperature: 0 is greedy decoding; above, tokens are sampled.
        seed: of the sampling.
        alternatives: how many of the likeliest tokens to report with each.
        memfree: forbids tokens; None forbids none.
        speaks: as `Writer` takes it.
        first: votes for the first token; None where the model alone chooses it.

    Raises:
        ModelUnavailable: the prompt is too long for this model.
    """
    model.limit.check(len(prompt))
    forward_pass = model.forward_pass()
    cache = DynamicCache()
    writer = Writer(model, temperature, seed, alternatives, memfree, prompt, speaks, first)
    ids = torch.tensor([list(prompt)], device=model.device)
    for _ in range(max_new_tokens):
        start = cache.get_seq_length()
        if model.limit.most and start + ids.shape[1] > model.limit.most:
            return  # there is no position for another token
        positions = torch.arange(start, start + ids.shape[1], device=model.device)[None]
        last = torch.tensor([ids.shape[1] - 1], device=model.device)
        with (
            torch.inference_mode(),
            model.switched(model.checkpoint),
            torch.autocast(model.device.type, model.dtype, enabled=model.dtype != torch.float32),
        ):
            logits, _ = forward_pass(
                ids, positions, None, last, past_key_values=cache, use_cache=True
            )
        token = writer.write(logits[0].float())
        if token is None:
            return
        yield token
        ids = torch.tensor([[token.id]], device=model.device)


class Writer:
    """Chooses and decodes the tokens of one answer.

    Args:
        model: gives the tokenizer.
        temperature: 0 is greedy decoding; above, tokens are sampled.
        seed: of the sampling.
        alternatives: how many of the likeliest tokens to report with each.
        memfree: forbids tokens; None forbids none.
        prompt: token ids of the prompt, for a filter that looks at them.
        speaks: whether the answer must have a letter or digit: where it would end without one, the
            likeliest token that has one is said instead, and marked as forced.
        first: votes for the first token; None where the model alone chooses it.
    """

    def __init__(
        self,
        model: LabModel,
        temperature: float,
        seed: int,
        alternatives: int,
        memfree: MemFree | None = None,
        prompt: Sequence[int] = (),
        speaks: bool = False,
        first: FirstToken | None = None,
    ):
        self._model, self._temperature, self._alternatives = model, temperature, alternatives
        self._memfree, self._prompt, self._speaks = memfree, prompt, speaks
        self._first = first
        self._generator = torch.Generator(model.device).manual_seed(seed)
        self._ids: list[int] = []
        self._shown = ""

    def write(self, logits: torch.Tensor) -> Token | None:
        """The next token, or None if the answer ends here.

        Args:
            logits: of the next token, `[vocabulary]`, float32.
        """
        probabilities = logits.softmax(-1)
        if self._first is not None and not self._ids:
            logits = self._first.mixed(logits)
        if self._memfree is not None:
            logits = self._memfree.filtered(logits, self._prompt, self._ids)
        if self._temperature > 0:
            tempered = (logits / self._temperature).softmax(-1)
            token = int(torch.multinomial(tempered, 1, generator=self._generator))
        else:
            token = int(logits.argmax())
        word = self._next_word(logits) if self._must_go_on(token) else None
        forced = word is not None
        if word is not None:
            token = word
        if token in self._model.builder.stops:
            return None
        self._ids.append(token)
        decode = self._model.tokenizer.decode
        text = decode(self._ids)
        if text.endswith(HALF):  # wait for the rest of the character
            piece = ""
        else:
            piece, self._shown = text[len(self._shown) :], text
        best = probabilities.topk(min(self._alternatives, len(probabilities)))
        others = tuple(
            (decode([int(i)]), float(p)) for i, p in zip(best.indices, best.values, strict=True)
        )
        return Token(token, piece, float(probabilities[token]), others, forced)

    def _must_go_on(self, token: int) -> bool:
        """Whether the answer would end here, or go on with ever more blanks, without a word."""
        if not self._speaks or any(char.isalnum() for char in self._shown):
            return False
        text = self._model.tokenizer.decode([token])
        blank = len(self._ids) >= BLANKS and not any(char.isalnum() for char in text)
        return token in self._model.builder.stops or blank

    def _next_word(self, logits: torch.Tensor) -> int | None:
        """The likeliest token with a letter or digit; None where none is among the likeliest."""
        control = self._model.tokenizer.added_tokens_decoder
        for token in logits.topk(min(LOOKED_AT, len(logits))).indices.tolist():
            text = self._model.tokenizer.decode([token])
            ends = token in control or token in self._model.builder.stops
            if not ends and any(char.isalnum() for char in text.replace(HALF, "")):
                return token
        return None


def answer(model: LabModel, prompt: Sequence[int], max_new_tokens: int = 50) -> str:
    """The greedy answer as text, without surrounding blanks or half a character at its end."""
    return "".join(token.text for token in generate(model, prompt, max_new_tokens)).strip()


def answers(
    model: LabModel,
    prompts: Sequence[Sequence[int]],
    batch_tokens: int,
    max_new_tokens: int = 50,
    memfree: MemFree | None = None,
) -> Iterator[list[tuple[int, str]]]:
    """The greedy answers to many prompts, the same as `answer` gives, many in one pass.

    Args:
        model: switched to the checkpoint to ask.
        prompts: token ids, from `SequenceBuilder`.
        batch_tokens: most prompt tokens in one packed row.
        max_new_tokens: most tokens of an answer (the paper uses 50).
        memfree: forbids tokens; None forbids none.

    Yields:
        For each packed row, the indices of its prompts and their answers.
    """
    for indices, said in answer_ids(model, prompts, batch_tokens, max_new_tokens, memfree):
        yield [
            (index, model.tokenizer.decode(tokens).rstrip(HALF).strip())
            for index, tokens in zip(indices, said, strict=True)
        ]


def answer_ids(
    model: LabModel,
    prompts: Sequence[Sequence[int]],
    batch_tokens: int,
    max_new_tokens: int,
    memfree: MemFree | None = None,
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """The same as token ids, without the one that ends an answer; same arguments.

    Yields:
        For each packed row, the indices of its prompts and the tokens of their answers.
    """
    for indices, packed in pack_many(prompts, batch_tokens):
        row = PackedCache(model, packed)
        said: list[list[int]] = [[] for _ in indices]
        live, ends = list(range(len(indices))), [nodes[-1] for nodes in packed.nodes]
        logits = row.start(ends)
        for step in range(max_new_tokens):
            if memfree is not None:
                logits = torch.stack([
                    memfree.filtered(one, prompts[indices[place]], said[place])
                    for one, place in zip(logits, live, strict=True)
                ])  # fmt: skip
            best = logits.argmax(-1).tolist()
            going = [i for i, token in enumerate(best) if token not in model.builder.stops]
            live, ends = [live[i] for i in going], [ends[i] for i in going]
            for place, i in zip(live, going, strict=True):
                said[place].append(best[i])
            if not live or step == max_new_tokens - 1:
                break
            start = len(row)
            logits = row.grow([best[i] for i in going], ends)
            ends = list(range(start, len(row)))
        yield indices, said
