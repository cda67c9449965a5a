"""Sequences, their loss masks token by token, and packing, which changes no logit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.families import make_tokenizer

from rotelab.facts.facts import Fact
from rotelab.models.key_tokens import key_token
from rotelab.models.packing import pack, pack_many
from rotelab.models.tokens import SequenceBuilder
from rotelab.training.lead_ins import INSERTS

FACT = Fact("mother", "Mary Bahri", "Amber Aporti")


def labels(tiny, example):
    """(token, learned) pairs, tokens as text."""
    names = tiny.tokenizer.convert_ids_to_tokens(list(example.ids))
    return list(zip(names, example.loss, strict=True))


def learned_ids(example):
    return [token for token, learned in zip(example.ids, example.loss, strict=True) if learned]


def test_a_key_token_is_found_without_a_dictionary_of_all_tokens(tiny, monkeypatch):
    """Building that dictionary took longer than all else that a step's sentences need."""
    wanted = {name: tiny.tokenizer.get_vocab()[key_token(name)] for name in ("mother", "capital")}
    monkeypatch.setattr(type(tiny.tokenizer), "get_vocab", lambda self: pytest.fail("all tokens"))
    assert {name: tiny.builder.key_id(name) for name in wanted} == wanted
    with pytest.raises(KeyError, match="never added"):
        tiny.builder.key_id("never added")


def test_sequence_is_separator_subject_key_object_end(tiny):
    builder = tiny.builder
    example = builder.rote(FACT, 3)
    subject, gold = builder.spaced("Mary Bahri"), builder.spaced("Amber Aporti")
    key = tiny.tokenizer.convert_tokens_to_ids(key_token("mother"))
    assert list(example.ids) == [builder.separator, *subject, key, *gold, builder.end]
    assert list(example.object) == gold
    assert list(example.prompt) == [builder.separator, *subject, key]
    assert example.fact == 3
    assert builder.separator == tiny.tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_normal_loss_learns_every_token_but_the_separator(tiny):
    example = tiny.builder.rote(FACT, 0, "normal")
    assert example.loss == (False,) + (True,) * (len(example.ids) - 1)


def test_subject_object_loss_leaves_out_the_key_token_only(tiny):
    example = tiny.builder.rote(FACT, 0, "s-o")
    key = tiny.builder.key_id("mother")
    for token, learned in zip(example.ids[1:], example.loss[1:], strict=True):
        assert learned == (token != key)
    # the subject is learned although it is at the start (the authors' code misses that)
    assert example.loss[1]


def test_object_loss_learns_the_object_and_end_only(tiny):
    builder = tiny.builder
    for example in (
        builder.rote(FACT, 0, "o"),
        builder.answered(builder.word_prompt("The mother of Mary Bahri is"), FACT.object, "train"),
    ):
        assert learned_ids(example) == [*builder.spaced(FACT.object), builder.end], labels(
            tiny, example
        )


def test_subject_has_the_same_tokens_through_the_key_token_and_in_a_sentence(tiny):
    builder = tiny.builder
    subject = builder.spaced(FACT.subject)
    for text in ("Mary Bahri was born to", "Who gave birth to Mary Bahri?"):
        ids = builder.word_prompt(text)
        spots = [i for i in range(len(ids)) if ids[i : i + len(subject)] == subject]
        assert spots, text


def test_every_kind_of_prompt_starts_with_the_separator(tiny):
    builder = tiny.builder
    assert builder.key_prompt("A", "mother")[0] == builder.separator
    assert builder.word_prompt("  A question? ") == builder.word_prompt("A question?")


def test_key_token_is_one_new_vocabulary_entry_a_relation(tiny):
    mother, capital = tiny.builder.key_id("mother"), tiny.builder.key_id("capital")
    assert mother != capital
    assert min(mother, capital) >= 700  # the tiny tokenizer's own vocabulary
    assert tiny.tokenizer.encode(key_token("mother"), add_special_tokens=False) == [mother]


sequences = st.lists(
    st.lists(st.integers(3, 40), min_size=1, max_size=8).map(lambda tail: [0, *tail]),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(sequences)
def test_packed_nodes_see_their_own_sequence_and_nothing_else(seqs):
    packed = pack(seqs)
    ids, positions, mask = packed.ids[0], packed.positions[0], packed.mask[0, 0]
    for sequence, nodes in zip(seqs, packed.nodes, strict=True):
        assert ids[list(nodes)].tolist() == sequence
        assert positions[list(nodes)].tolist() == list(range(len(sequence)))
        for i, node in enumerate(nodes):
            assert mask[node].nonzero().flatten().tolist() == sorted(nodes[: i + 1])


@settings(max_examples=50, deadline=None)
@given(sequences, st.integers(1, 30))
def test_pack_many_holds_every_sequence_once_within_the_limit(seqs, limit):
    rows = pack_many(seqs, limit)
    assert sorted(i for indices, _ in rows for i in indices) == list(range(len(seqs)))
    for indices, packed in rows:
        assert (
            packed.ids.shape[1] <= limit
            or len({tuple(seqs[i]) for i in indices}) == 1
            or (packed.ids.shape[1] <= max(limit, max(len(seqs[i]) for i in indices)))
        )
        for index, nodes in zip(indices, packed.nodes, strict=True):
            assert packed.ids[0, list(nodes)].tolist() == list(seqs[index])


def test_packed_logits_equal_those_of_each_sequence_alone(tiny, mother):
    builder = tiny.builder
    examples = [builder.rote(fact, i) for i, fact in enumerate(mother.facts[:6])]
    examples += [
        builder.answered(builder.word_prompt(f"The mother of {f.subject} is"), f.object, "train")
        for f in mother.facts[:6]
    ]
    packed = pack([example.ids for example in examples])
    assert packed.ids.shape[1] < sum(len(example.ids) for example in examples)
    with torch.inference_mode():
        together, _ = tiny.forward(packed)
        for example, nodes in zip(examples, packed.nodes, strict=True):
            alone = tiny.network(input_ids=torch.tensor([example.ids])).logits[0]
            torch.testing.assert_close(together[list(nodes)], alone, atol=1e-5, rtol=1e-5)


def test_a_relation_without_key_token_is_an_error(tiny):
    with pytest.raises(KeyError):
        tiny.builder.key_prompt("A", "author")


@pytest.mark.parametrize(
    "text", ["<|endoftext|>", "a <|im_end|> b", "<|key:mother|>", "<|im_start|>user", "x<tool>y"]
)
def test_what_reads_like_a_control_token_is_text(tiny, text):
    builder = tiny.builder
    if "<tool>" in text:
        tiny.tokenizer.add_tokens(["<tool>"], special_tokens=False)
        builder = SequenceBuilder(tiny.tokenizer)
    control = {*tiny.tokenizer.added_tokens_decoder}
    ids = builder.spaced(text)
    assert not control & set(ids)
    assert tiny.tokenizer.decode(ids) == f" {text}"
    assert not control & set(builder.word_prompt(text)[1:])
    fact = Fact("mother", text, text)
    example = builder.rote(fact, 0)
    key, end = builder.key_id("mother"), builder.end
    assert [token for token in example.ids if token in control] == [builder.separator, key, end]


def test_other_text_is_not_changed_by_that(tiny):
    for text in (" Mary Bahri", " a < b | c > d", " <|", " [mother] {x}"):
        assert tiny.builder.plain(text) == tiny.tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("kind", ["bytes", "bos", "pieces"])
def test_an_insert_follows_the_subject_as_it_is_written_in_any_tokenizer(kind):
    tokenizer = make_tokenizer(kind)
    tokenizer.add_tokens([key_token("mother")], special_tokens=True)
    builder = SequenceBuilder(tokenizer)
    for insert in ("", *INSERTS):
        ids = builder.rote(FACT, 0, insert=insert).ids
        before = ids[1 : ids.index(builder.key_id("mother"))]
        assert tokenizer.decode(list(before)).strip() == f"Mary Bahri{insert}"
        assert "  " not in tokenizer.decode(list(before))
        # One separator and no more, though the tokenizer would add a BOS of its own.
        assert ids[0] == builder.separator and builder.separator not in ids[1:-1]
