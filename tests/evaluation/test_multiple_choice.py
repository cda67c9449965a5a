"""Multiple choice against brute force: a plain pass for each candidate, unshared and unpruned."""

import math
from functools import cache
from typing import ClassVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from rotelab.evaluation import multiple_choice
from rotelab.evaluation.loglikelihood import score
from rotelab.evaluation.multiple_choice import TIE, choose, distribution, rank
from rotelab.models.lora import LoraModel
from rotelab.models.tokens import Example

VOCABULARY = 12


class Words:
    """As much of a tokenizer as a model needs that is only ever given token ids."""

    eos_token_id = bos_token_id = 0
    added_tokens_decoder: ClassVar[dict] = {}

    def get_vocab(self):
        return {}

    def encode(self, text, add_special_tokens=False, split_special_tokens=False):
        return [1]

    def convert_ids_to_tokens(self, ids):
        return ["a" for _ in ids]


@cache
def random_model(seed: int, sharpness: float = 6.0, alike: bool = False) -> LoraModel:
    """A tiny random Llama; with `alike`, tokens 2n and 2n+1 are one and the same to it."""
    torch.manual_seed(seed)
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False,
        )
    )  # fmt: skip
    with torch.no_grad():
        network.lm_head.weight.mul_(sharpness / 0.02 / 4)
        network.model.embed_tokens.weight.mul_(20)
        if alike:
            for table in (network.lm_head.weight, network.model.embed_tokens.weight):
                table[1::2] = table[::2]
    return LoraModel(network.eval(), Words(), [])


def example(prompt, gold) -> Example:
    ids = (*prompt, *gold, 0)
    start, stop = len(prompt), len(prompt) + len(gold)
    return Example(ids, tuple(i >= start for i in range(len(ids))), (start, stop))


def plainly(model, prompt, candidate) -> float:
    """The sum by one pass over this one sequence, through transformers itself."""
    with torch.inference_mode():
        ids = torch.tensor([[*prompt, *candidate]])
        logits = model.network(input_ids=ids).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(candidate))


def brute_force(sums: list[float], gold: int) -> bool | None:
    """Whether gold is first; None where a gap is so nearly `TIE` that rounding decides."""
    gaps = [sums[gold] - total for place, total in enumerate(sums) if place != gold]
    if any(abs(gap - TIE) < TIE / 2 for gap in gaps):
        return None
    return all(gap > TIE for gap in gaps)


def verdicts(model, examples, candidates, **how):
    found = [pair for batch in choose(model, examples, candidates, **how) for pair in batch]
    assert sorted(index for index, _ in found) == list(range(len(examples)))
    return {index: chosen.first for index, chosen in found}


tokens = st.integers(0, VOCABULARY - 1)
names = st.lists(tokens, min_size=1, max_size=4).map(tuple)
question = st.tuples(
    st.lists(tokens, min_size=1, max_size=5).map(tuple), st.lists(names, min_size=1, max_size=9)
)
SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("alike", [False, True])
@SLOW
@given(
    st.integers(0, 30),
    st.sampled_from([0.0, 2.0, 8.0]),
    st.lists(question, min_size=1, max_size=4),
    st.sampled_from([4, 24, 512]),
    st.sampled_from([1, 4, 100]),
    st.randoms(),
)
def test_pruning_changes_no_verdict(alike, seed, sharpness, asked, batch_tokens, width, rng):
    """Candidates may be alike, begin alike, or one go on from another; sums may tie."""
    model = random_model(seed, sharpness, alike)
    examples, candidates, expected = [], [], {}
    for i, (prompt, listed) in enumerate(asked):
        sums = [plainly(model, prompt, name) for name in listed]
        # The likeliest as gold where it is to win: else nearly every question is lost.
        gold = rng.choice([sums.index(max(sums)), rng.randrange(len(listed))])
        examples.append(example(prompt, listed[gold]))
        candidates.append(listed)
        expected[i] = brute_force(sums, gold)
    decided = {i: verdict for i, verdict in expected.items() if verdict is not None}
    found = verdicts(model, examples, candidates, batch_tokens=batch_tokens, width=width)
    assert {i: found[i] for i in decided} == decided
    for batch in distribution(model, examples, candidates, batch_tokens):
        assert all(ranked.first == decided.get(i, ranked.first) for i, ranked in batch)
    for one, listed in zip(examples, candidates, strict=True):
        apart = list(dict.fromkeys(listed))
        sums = [plainly(model, one.prompt, name) for name in apart]
        gaps = [sums[apart.index(one.object)] - total for total in sums]
        surely, maybe = sum(gap < TIE / 2 for gap in gaps), sum(gap < 2 * TIE for gap in gaps)
        scored, place = rank(model, one, apart)
        assert surely - 1 <= place <= maybe - 1, "gold itself has no gap"
        assert sum(scored.log_probabilities) == pytest.approx(
            sums[apart.index(one.object)], abs=1e-3
        )


def test_both_verdicts_are_met():
    model = random_model(0)
    listed = [(1, 2), (3, 4), (5,), (6, 7, 8)]
    examples = [example((9, 10), gold) for gold in listed]
    found = verdicts(model, examples, [listed] * 4, batch_tokens=64)
    assert sorted(found.values()) == [False, False, False, True]
    sums = [plainly(model, (9, 10), gold) for gold in listed]
    assert found[sums.index(max(sums))]


def test_a_tie_is_wrong():
    model = random_model(0, sharpness=0.0)  # every token is as likely as any other
    gold, as_long, longer = (1, 2), (3, 4), (3, 4, 5)
    assert verdicts(model, [example((9,), gold)], [[gold, longer]], batch_tokens=64) == {0: True}
    tied = [gold, longer, as_long]
    assert verdicts(model, [example((9,), gold)], [tied], batch_tokens=64) == {0: False}
    ((_, ranked),) = next(distribution(model, [example((9,), gold)], [tied], 64))
    assert ranked.rank == 1 and not ranked.first


def test_the_same_tokens_twice_are_a_tie():
    model = random_model(0)
    listed = [(1,), (2, 3), (4,)]
    gold = max(listed, key=lambda name: plainly(model, (9,), name))
    assert verdicts(model, [example((9,), gold)], [listed], batch_tokens=64) == {0: True}
    twice = [*listed, gold]
    assert verdicts(model, [example((9,), gold)], [twice], batch_tokens=64) == {0: False}


@pytest.mark.parametrize("seed", range(6))
def test_what_only_differs_in_tokens_that_are_alike_is_a_tie(seed):
    """Equal sums from different tokens: read in different passes, rounding sets them apart."""
    model = random_model(seed, alike=True)
    gold, twin = (2, 4, 6), (3, 5, 7)
    found = verdicts(model, [example((9, 8), gold)], [[gold, twin]], batch_tokens=64)
    assert found == {0: False}


def test_a_beginning_of_gold_beats_it():
    model = random_model(1)
    gold = (1, 2, 3)
    for other in ((1,), (1, 2)):
        found = verdicts(model, [example((9,), gold)], [[gold, other]], batch_tokens=64)
        assert found == {0: False}
    found = verdicts(model, [example((9,), (1,))], [[(1,), (1, 2)]], batch_tokens=64)
    assert found == {0: True}


def test_a_model_that_broke_chooses_nothing():
    model = random_model.__wrapped__(0)
    with torch.no_grad():
        model.network.lm_head.weight.fill_(math.nan)
    listed = [(1, 2), (3, 4)]
    assert verdicts(model, [example((9,), (1, 2))], [listed], batch_tokens=64) == {0: False}
    ((_, ranked),) = next(distribution(model, [example((9,), (1, 2))], [listed], 64))
    assert not ranked.first and math.isnan(ranked.probability)


def test_gold_must_be_among_the_candidates():
    with pytest.raises(AssertionError, match="not among its candidates"):
        next(choose(random_model(0), [example((9,), (1,))], [[(2,)]], 64))


def test_candidates_that_can_not_win_are_not_looked_at(monkeypatch):
    """The work itself: of gold's rivals, only those that still can win are ever read."""
    model = random_model(3)
    prompt = (9, 10)
    listed = [(a, b, 4) for a in range(8) for b in range(8)]
    gold = max(listed, key=lambda name: plainly(model, prompt, name))
    read = []
    grow = multiple_choice.PackedCache.grow
    monkeypatch.setattr(
        multiple_choice.PackedCache, "grow",
        lambda self, tokens, *rest: read.append(len(tokens)) or grow(self, tokens, *rest),
    )  # fmt: skip
    bar = plainly(model, prompt, gold)
    assert verdicts(model, [example(prompt, gold)], [listed], batch_tokens=512) == {0: True}
    to_read = set()
    for name in listed:
        known = 1 + next((d for d in range(3) if name[d] != gold[d]), 3)
        if name != gold and plainly(model, prompt, name[:known]) >= bar - TIE:
            to_read |= {name[:depth] for depth in range(known, 3)}
    assert sum(read) <= len(to_read) < 20
    read.clear()
    lost = min(listed, key=lambda name: plainly(model, prompt, name))
    assert verdicts(model, [example(prompt, lost)], [listed], batch_tokens=512) == {0: False}
    assert sum(read) <= 2 * multiple_choice.WIDTH  # the best few are enough to lose against


def test_every_pass_reads_on_behind_the_prompt(monkeypatch):
    """What one pass put behind the prompt is gone in the next: its sums are those of plain code."""
    model = random_model(2, sharpness=2.0)  # flat, so that much is still alive after one token
    prompts = [(9, 10), (9, 11, 3)]
    listed = [(a, b, 4, a) for a in range(6) for b in range(4)]
    golds = [max(listed, key=lambda name, p=p: plainly(model, p, name)) for p in prompts]
    prompt_of = dict(zip(golds, prompts, strict=True))
    assert len(prompt_of) == 2, "the two questions must be told apart by their golds"
    races, passes = [], []
    settle, grow = multiple_choice._settle, multiple_choice.PackedCache.grow

    def settled(row, of, *rest):
        races.extend(of)
        settle(row, of, *rest)

    def grown(self, *rest):
        passes.append(rest)
        return grow(self, *rest)

    monkeypatch.setattr(multiple_choice, "_settle", settled)
    monkeypatch.setattr(multiple_choice.PackedCache, "grow", grown)
    examples = [example(prompt, gold) for gold, prompt in prompt_of.items()]
    found = verdicts(model, examples, [listed] * 2, batch_tokens=64, width=1)
    assert found == {0: True, 1: True} and len(passes) >= 3
    for race in races:
        sums = {prefix: total for prefix, total in race.sums.items() if prefix}
        plain = {prefix: plainly(model, prompt_of[race.gold], prefix) for prefix in sums}
        assert sums == pytest.approx(plain, abs=1e-4)
        assert max(map(len, sums)) == 4


@SLOW
@given(st.integers(0, 30), st.lists(question, min_size=1, max_size=3), st.sampled_from([4, 512]))
def test_sums_are_those_of_plain_passes(seed, asked, batch_tokens):
    model = random_model(seed)
    examples = [example(prompt, listed[0]) for prompt, listed in asked]
    candidates = [listed for _, listed in asked]
    found = dict(p for b in distribution(model, examples, candidates, batch_tokens) for p in b)
    for index, (prompt, listed) in enumerate(asked):
        sums = [plainly(model, prompt, name) for name in listed]
        assert found[index].totals == pytest.approx(sums, abs=1e-3)
        shares = torch.tensor(sums).softmax(-1)
        assert found[index].probability == pytest.approx(float(shares[0]), abs=1e-3)
        rank = sum(s > sums[0] + 2 * TIE for s in sums[1:])
        assert rank <= found[index].rank <= sum(s > sums[0] - 2 * TIE for s in sums[1:])


@SLOW
@given(st.integers(0, 30), st.lists(question, min_size=1, max_size=3), st.sampled_from([4, 512]))
def test_both_ways_score_the_gold_object_as_scoring_does(seed, asked, batch_tokens):
    model = random_model(seed)
    examples = [example(prompt, listed[-1]) for prompt, listed in asked]
    candidates = [listed for _, listed in asked]
    expected = dict(pair for batch in score(model, examples, 512) for pair in batch)
    for ask in (choose, distribution):
        found = dict(p for b in ask(model, examples, candidates, batch_tokens) for p in b)
        for index, scored in expected.items():
            mine = found[index].scored
            assert mine.log_probabilities == pytest.approx(scored.log_probabilities, abs=1e-4)
            assert mine.greedy == scored.greedy


def test_of_nothing_comes_nothing(tiny):
    assert list(choose(tiny, [], [], 64)) == list(distribution(tiny, [], [], 64)) == []
