"""The filter that forbids n-grams: on hand-made texts, and in all three ways to generate."""

import pytest
import torch

from rotelab.config.names import CHECKPOINTS
from rotelab.models.generation import answer, answer_ids, answers, generate
from rotelab.models.memfree import MemFree

TEXT = [1, 2, 3, 4, 2, 3, 5]


def test_what_completes_an_ngram_is_blocked_and_nothing_else():
    memfree = MemFree.of([TEXT, [9, 2]], 3)
    assert memfree.blocked([], [2, 3]) == {4, 5}, "both continuations of the same two tokens"
    assert memfree.blocked([], [7, 7, 1, 2]) == {3}
    assert memfree.blocked([], [3, 2]) == frozenset()
    assert memfree.blocked([], [9]) == frozenset(), "a text shorter than n has no n-gram"
    assert MemFree.of([TEXT], len(TEXT)).forbidden == {tuple(TEXT[:-1]): {5}}
    assert not MemFree.of([TEXT], len(TEXT) + 1).forbidden
    with pytest.raises(ValueError, match="1 tokens"):
        MemFree.of([TEXT], 1)


def test_an_ngram_may_begin_in_the_prompt_only_where_asked_to():
    alone, both = (MemFree.of([TEXT], 4, spans_prompt=spans) for spans in (False, True))
    assert alone.blocked([1, 2, 3], []) == frozenset()
    assert both.blocked([0, 1, 2, 3], []) == both.blocked([1], [2, 3]) == {4}
    assert both.blocked([3], []) == both.blocked([2, 3], []) == frozenset(), "too short"
    assert alone.blocked([1], [2, 3]) == frozenset() and alone.blocked([], [1, 2, 3]) == {4}
    # More of the answer than n - 1 tokens: the prompt is out of reach.
    assert both.blocked([1, 2], [8, 8, 3]) == frozenset()


def test_blocked_logits_are_minus_infinity_and_the_model_s_own_stay():
    memfree, logits = MemFree.of([TEXT], 3), torch.arange(6.0)
    filtered = memfree.filtered(logits, [], [2, 3])
    assert filtered.tolist() == [0, 1, 2, 3, -torch.inf, -torch.inf]
    assert logits.tolist() == [0, 1, 2, 3, 4, 5]
    assert memfree.filtered(logits, [], [4]) is logits


def test_completions_are_counted_token_by_token():
    memfree = MemFree.of([TEXT], 3)
    assert memfree.completions([], [1, 2, 3, 9, 2, 3, 5]) == 2
    assert memfree.completions([], [3, 2, 1]) == memfree.completions([], []) == 0
    assert MemFree.of([TEXT], 3, spans_prompt=True).completions([1, 2], [3, 4]) == 2


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("spans_prompt", [False, True])
def test_all_ways_to_generate_forbid_the_same(tiny, n, spans_prompt):
    prompts = [tiny.builder.word_prompt(text) for text in ("Who is it?", "The mother of Mary", "a")]
    free = dict(_said(tiny, prompts, None))
    memfree = MemFree.of([[*prompt, *free[i]] for i, prompt in enumerate(prompts)], n, spans_prompt)
    assert all(memfree.completions(p, free[i]) for i, p in enumerate(prompts)), "or nothing is seen"
    said = dict(_said(tiny, prompts, memfree))
    assert said != free
    assert not any(memfree.completions(p, said[i]) for i, p in enumerate(prompts))
    for i, prompt in enumerate(prompts):
        alone = list(generate(tiny, prompt, 9, memfree=memfree))
        assert [token.id for token in alone] == said[i]
        # What the model would have said is still among the alternatives, with its probability.
        first = next((p for p, token in enumerate(alone) if token.id != free[i][p]), None)
        if first is not None:
            wanted, taken = alone[first].alternatives[0], alone[first]
            assert wanted[0] != taken.text and wanted[1] > taken.probability
    texts = dict(pair for batch in answers(tiny, prompts, 512, 9, memfree) for pair in batch)
    assert texts[0] != answer(tiny, prompts[0], 9)


def _said(model, prompts, memfree):
    for indices, ids in answer_ids(model, prompts, 512, 9, memfree):
        yield from zip(indices, ids, strict=True)


def test_side_by_side_each_checkpoint_has_the_filter(tiny):
    from rotelab.models.lab_model import AdapterShape
    from rotelab.models.multi_adapter import MultiAdapterModel

    for adapter in ("memorize", "generalize"):
        tiny.attach(adapter, AdapterShape(rank=2))
    prompt = tiny.builder.word_prompt("The mother of Mary")
    asked = dict.fromkeys(CHECKPOINTS, prompt)

    def said(memfree):
        found = {c: [] for c in CHECKPOINTS}
        for step in MultiAdapterModel(tiny).generate(asked, 6, memfree=memfree):
            for checkpoint, token in step.items():
                found[checkpoint] += [] if token is None else [token.id]
        return found

    free = said(None)
    memfree = MemFree.of([[*prompt, *free["base"]]], 3, spans_prompt=True)
    kept = said(memfree)
    for checkpoint in CHECKPOINTS:
        with tiny.using(checkpoint):
            alone = [token.id for token in generate(tiny, prompt, 6, memfree=memfree)]
        assert kept[checkpoint] == alone
        assert not memfree.completions(prompt, kept[checkpoint])
    assert kept["base"] != free["base"]
