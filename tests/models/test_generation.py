"""Many answers side by side against one at a time."""

import pytest
import torch

from rotelab.models.generation import HALF, answer, answers, generate
from rotelab.models.kv_cache import PackedCache
from rotelab.models.packing import pack

PROMPTS = ["Who is it?", "Who is it", "The mother of Mary Bahri is", "Who is it?", "a"]


@pytest.mark.parametrize("batch_tokens", [1, 30, 512])
def test_answers_side_by_side_are_those_given_one_at_a_time(tiny, batch_tokens):
    prompts = [tiny.builder.word_prompt(text) for text in PROMPTS]
    expected = {i: answer(tiny, prompt, 9) for i, prompt in enumerate(prompts)}
    found = [pair for batch in answers(tiny, prompts, batch_tokens, 9) for pair in batch]
    assert sorted(found) == sorted(expected.items()) and len(set(expected.values())) > 1


def test_an_answer_ends_where_the_model_ends_it(tiny):
    """Among prompts that end at different steps, each ends for itself."""
    prompts = [tiny.builder.word_prompt(text) for text in PROMPTS]
    whole = {i: answer(tiny, prompt, 9) for i, prompt in enumerate(prompts)}
    third = tiny.tokenizer.encode(whole[2], add_special_tokens=False)[3]
    tiny.builder.stops = tiny.builder.stops | {third}
    expected = {i: answer(tiny, prompt, 9) for i, prompt in enumerate(prompts)}
    assert len({len(text) for text in expected.values()}) > 1 and expected != whole
    found = dict(pair for batch in answers(tiny, prompts, 512, 9) for pair in batch)
    assert found == expected


def test_half_a_character_at_an_answers_end_is_left_out(tiny):
    """Wherever an answer is cut, both ways say the same, and none ends within a character."""
    prompts = [tiny.builder.word_prompt(text) for text in ("☃", "a €", "Who is ☎")]
    raw = []
    for prompt in prompts:  # a tiny model with tied embeddings says its last byte again
        tokens = [token.id for token in generate(tiny, prompt, 2)]
        raw.append(tiny.tokenizer.decode(tokens))
    assert any(text.endswith(HALF) for text in raw), raw
    expected = [answer(tiny, prompt, 2) for prompt in prompts]
    found = dict(pair for batch in answers(tiny, prompts, 512, 2) for pair in batch)
    assert [found[i] for i in range(len(prompts))] == expected
    assert not any(text.endswith(HALF) for text in expected)


def test_a_cache_that_grows_computes_what_the_whole_row_does(tiny):
    sequences = [[0, 5, 6, 7, 8], [0, 5, 9, 10], [0, 5, 6, 11]]
    whole = pack(sequences)
    logits, _ = tiny.forward(whole)
    cache = PackedCache(tiny, pack([[0, 5, 6], [0, 5, 9]]))
    first = cache.start([0, 1, 2, 3])
    for _ in range(2):  # what was cut off leaves nothing behind
        later = cache.grow([7, 8, 10, 11], [2, 4, 3, 2])
        assert len(cache) == 8
        cache.cut(4)
    grown = torch.cat([first, later])
    paths = [[0, 1, 2, 4, 5], [0, 1, 3, 6], [0, 1, 2, 7]]
    for path, nodes in zip(paths, whole.nodes, strict=True):
        assert torch.allclose(grown[path], logits[list(nodes)], atol=1e-4)
    one = cache.grow([7, 8], [2, 4], keep=[1])
    assert torch.allclose(one, logits[[whole.nodes[0][4]]], atol=1e-4)
