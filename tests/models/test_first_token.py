"""Votes for an answer's first token: mixed by hand, and in both ways to generate."""

import pytest
import torch

from rotelab.models.first_token import FirstToken
from rotelab.models.generation import generate


def test_votes_are_mixed_as_the_paper_has_it():
    votes = torch.tensor([0.0, 0.75, 0.25])
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    mixed = FirstToken(0.5, votes).mixed(logits).exp()
    assert mixed.tolist() == pytest.approx([0.25, 0.525, 0.225])
    assert FirstToken(0.0, votes).mixed(logits).exp().tolist() == pytest.approx([0.5, 0.3, 0.2])
    alone = FirstToken(1.0, votes).mixed(logits)
    assert alone[0] == -torch.inf and alone.argmax() == 1


def test_only_the_first_token_is_voted_for(tiny):
    prompt = tiny.builder.word_prompt("Who is the mother of Ann?")
    before = [token.id for token in generate(tiny, prompt, 4, speaks=True)]
    other = next(i for i in range(300, 400) if i not in (before[0], *tiny.builder.stops))
    votes = torch.zeros(len(tiny.tokenizer)).index_fill(0, torch.tensor([other]), 1.0)
    votes = torch.nn.functional.pad(votes, (0, tiny.network.config.vocab_size - len(votes)))
    said = [token.id for token in generate(tiny, prompt, 4, first=FirstToken(1.0, votes))]
    assert said[0] == other
    after = [token.id for token in generate(tiny, [*prompt, other], 3)]
    assert said[1:] == after, "the rest is the model's own"
