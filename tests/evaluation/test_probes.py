"""Scores against real decoding and against plain forward passes."""

import math

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import EvaluationConfig, MemorizeConfig, ModelSpec
from rotelab.evaluation import probes
from rotelab.evaluation.answer_match import contains
from rotelab.evaluation.loglikelihood import score
from rotelab.evaluation.metrics import summarize
from rotelab.evaluation.probes import evaluate, questions
from rotelab.evaluation.results import PROBES
from rotelab.facts.facts import Fact, FactSet
from rotelab.models.generation import answer, generate
from rotelab.models.loading import load_model
from rotelab.training.phases import memorize


@pytest.fixture(scope="module")
def learned(tiny_folder, mother):
    """A tiny model that knows twelve facts by rote."""
    torch.set_num_threads(1)
    model = load_model(ModelSpec(str(tiny_folder), "cpu", "float32"), ["mother"])
    facts = FactSet(mother.facts[:12])
    config = MemorizeConfig(
        spare=0,
        epochs=60,
        rank=16,
        batch_size=6,
        learning_rate=4e-3,
        loss="o",
        lead_ins=0.0,
        inserts=0.0,
        silence=0,
    )
    list(memorize(model, facts, config, 0, Accelerator(cpu=True)))
    return model, facts


def predictions(model, facts, mother, checkpoint="memorized", batch_tokens=128):
    asked = questions(
        model, facts, facts.split(6, 0), mother.prompts, EvaluationConfig(test_prompts=3), 0
    )
    with model.using(checkpoint):
        config = EvaluationConfig(batch_tokens=batch_tokens)
        return asked, [p for batch in evaluate(model, asked, config) for p in batch]


def measured(learned, mother, checkpoint="memorized", **config):
    model, facts = learned
    config = EvaluationConfig(test_prompts=3, batch_tokens=128, **config)
    asked = questions(model, facts, facts.split(6, 0), mother.prompts, config, 0)
    with model.using(checkpoint):
        found = [p for batch in evaluate(model, asked, config) for p in batch]
    order = {(q.probe, q.text): i for i, q in enumerate(asked)}
    return asked, sorted(found, key=lambda p: order[p.probe, p.prompt])


def test_every_fact_of_a_split_is_asked(tiny, mother):
    facts = FactSet(mother.facts[:12])
    split = facts.split(5, 0)
    asked = questions(tiny, facts, split, mother.prompts, EvaluationConfig(test_prompts=3), 0)
    by_probe = {probe: [q for q in asked if q.probe == probe] for probe in PROBES}
    index = {fact: i for i, fact in enumerate(facts)}
    held_out = {index[fact] for fact in split.held_out}
    assert {q.fact_index for q in by_probe["key_token"]} == set(range(12))
    assert {q.fact_index for q in by_probe["train_prompts_heldin"]} == set(range(12)) - held_out
    assert {q.fact_index for q in by_probe["test_prompts_heldout"]} == held_out
    assert len(by_probe["test_prompts_heldout"]) == 3 * len(held_out)
    train = {t.text for t in mother.prompts.of("mother", "train")}
    for question in by_probe["test_prompts_heldout"]:
        subject = question.fact.subject
        assert question.text.replace(subject, "{subject}") not in train


def test_correct_means_what_real_greedy_decoding_says(learned, mother):
    model, facts = learned
    asked, found = predictions(model, facts, mother)
    verdicts = {(p.probe, p.prompt): p for p in found}
    assert 0 < sum(p.correct for p in found) < len(found)  # both verdicts are met
    with model.using("memorized"):
        for question in asked:
            gold = question.example.object
            said = [t.id for t in generate(model, question.example.prompt, 12)]
            begins = tuple(said[: len(gold)]) == gold
            text = model.tokenizer.decode(said).strip()
            name = model.tokenizer.decode(gold).strip()
            whole = text == name or not text[len(name) : len(name) + 1].isalnum()
            assert verdicts[question.probe, question.text].correct == (begins and whole)


def test_probability_is_the_joint_probability_of_the_object(learned, mother):
    model, facts = learned
    asked, found = predictions(model, facts, mother)
    verdicts = {(p.probe, p.prompt): p for p in found}
    with model.using("memorized"):
        for question in asked[::7]:
            ids, (start, stop) = question.example.ids, question.example.object_span
            logits = model.network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            total = sum(float(logits[i - 1, ids[i]]) for i in range(start, stop))
            expected = pytest.approx(math.exp(total), rel=1e-3, abs=1e-9)
            assert verdicts[question.probe, question.text].probability == expected


def test_scores_do_not_depend_on_the_batch(learned, mother):
    model, facts = learned
    _, small = predictions(model, facts, mother, batch_tokens=64)
    _, large = predictions(model, facts, mother, batch_tokens=4096)
    a, b = summarize(small), summarize(large)
    for probe in PROBES:
        assert a[probe].generation_accuracy == b[probe].generation_accuracy
        assert a[probe].object_probability == pytest.approx(b[probe].object_probability, rel=1e-4)


def test_base_knows_nothing_of_what_was_learned(learned, mother):
    model, facts = learned
    _, found = predictions(model, facts, mother, "base")
    assert not any(p.correct for p in found)
    _, found = predictions(model, facts, mother, "memorized")
    assert summarize(found)["key_token"].generation_accuracy == 1.0


def test_a_wrong_answer_shows_where_it_goes_astray(learned, mother):
    model, facts = learned
    _, found = predictions(model, facts, mother)
    for prediction in found:
        gold = facts[prediction.fact_index].object
        assert (prediction.answer == gold) == prediction.correct or prediction.answer == ""


def test_summary_counts(learned, mother):
    model, facts = learned
    _, found = predictions(model, facts, mother)
    summary = summarize(found)
    assert sum(s.n for s in summary.values()) == len(found)
    assert all(0 <= s.generation_accuracy <= 1 for s in summary.values())


def test_every_question_has_the_candidates_of_its_relation(tiny, mother):
    facts = FactSet(mother.facts[:4])
    of = (tiny, facts, facts.split(2, 0), mother.prompts)
    assert not any(q.candidates for q in questions(*of, EvaluationConfig(), 0))
    for config in (EvaluationConfig(candidates=9), EvaluationConfig(candidates=9, normalized=True)):
        asked = questions(*of, config, 0)
        assert all(len(q.candidates) == 9 and q.example.object in q.candidates for q in asked)
        assert len({id(q.candidates) for q in asked}) == 1  # shared, so it is made and read once
        decoded = {tiny.tokenizer.decode(tokens).strip() for tokens in asked[0].candidates}
        assert {fact.object for fact in facts} <= decoded
    asked = questions(*of, EvaluationConfig(normalized=True), 0)
    assert {len(q.candidates) for q in asked} == {100}


def test_choice_with_and_without_the_whole_distribution(learned, mother):
    _, plain = measured(learned, mother)
    _, pruned = measured(learned, mother, candidates=20)
    asked, whole = measured(learned, mother, candidates=20, normalized=True)
    assert [p.chosen for p in pruned] == [p.chosen for p in whole]
    assert {True, False} <= {p.chosen for p in whole}
    assert all(p.chosen == (p.rank == 0) and 0 <= p.rank < 20 for p in whole)
    for a, b, c in zip(plain, pruned, whole, strict=True):
        assert (a.answer, a.correct) == (b.answer, b.correct) == (c.answer, c.correct)
        assert a.probability == pytest.approx(b.probability, rel=1e-4, abs=1e-9)
        assert a.probability == pytest.approx(c.probability, rel=1e-4, abs=1e-9)
        assert (a.chosen, b.normalized, b.rank) == (None, None, None)
        assert c.normalized >= c.probability - 1e-6  # over fewer answers than all there are
    model, _ = learned
    builder = model.builder
    for question, prediction in list(zip(asked, whole, strict=True))[::9]:
        prompt = question.example.prompt
        names = [model.tokenizer.decode(tokens).strip() for tokens in question.candidates]
        examples = [builder.answered(prompt, name, "test") for name in names]
        with model.using("memorized"):
            scores = dict(pair for batch in score(model, examples, 512) for pair in batch)
        sums = torch.tensor([sum(scores[i].log_probabilities) for i in range(20)])
        place = question.candidates.index(question.example.object)
        expected = float(sums.softmax(0)[place])
        assert prediction.normalized == pytest.approx(expected, rel=1e-3)


def test_the_contains_reading_is_that_of_the_real_answer(learned, mother, monkeypatch):
    model, facts = learned
    asked, found = measured(learned, mother, generate=12)
    with model.using("memorized"):
        said = [answer(model, question.example.prompt, 12) for question in asked]
    assert {p.correct for p in found} == {True, False}
    for text, p in zip(said, found, strict=True):
        assert p.contains == contains(text, facts[p.fact_index].object), (text, p)
        assert p.generated == (None if p.correct else text)

    def says(model, prompts, batch_tokens, max_new_tokens):
        names = {prompt: facts[fact].object for prompt, fact in prompt_of.items()}
        yield [(i, f"Well: {names[prompt].upper()}!") for i, prompt in enumerate(prompts)]

    prompt_of = {q.example.prompt: q.fact_index for q in asked}
    monkeypatch.setattr(probes, "answers", says)
    _, found = measured(learned, mother, generate=12)
    assert all(p.contains for p in found) and not all(p.correct for p in found)


def test_figures_that_were_not_asked_for_are_none(learned, mother):
    _, found = measured(learned, mother)
    for figures in summarize(found).values():
        assert figures.choice_accuracy is figures.normalized_probability is None
        assert figures.contains_accuracy is None
    _, found = measured(learned, mother, candidates=20, normalized=True, generate=3)
    for probe, figures in summarize(found).items():
        mine = [p for p in found if p.probe == probe]
        assert figures.choice_accuracy == sum(p.chosen for p in mine) / len(mine)
        assert figures.contains_accuracy == sum(p.contains for p in mine) / len(mine)
        mean = sum(p.normalized for p in mine) / len(mine)
        assert figures.normalized_probability == pytest.approx(mean)


def test_score_of_nothing_is_nothing(tiny):
    assert list(score(tiny, [], 64)) == []


# Aliases


def renamed(facts: FactSet) -> FactSet:
    """The same facts, each object replaced by a name that nobody taught, and kept as an alias."""
    return FactSet(Fact(f.relation, f.subject, "Zzyx", ("Qwv", f.object)) for f in facts)


def test_an_alias_counts_as_the_object_does(learned, mother):
    model, facts = learned
    _, plain = predictions(model, facts, mother)
    _, other = predictions(model, renamed(facts), mother)
    assert any(p.correct for p in plain)
    by_prompt = {(p.probe, p.prompt): p for p in plain}
    for p in other:
        before = by_prompt[p.probe, p.prompt]
        assert (p.correct, p.object) == (before.correct, "Zzyx")
        assert p.answer == before.answer or not before.correct
        assert p.probability >= before.probability * (1 - 1e-4)


def test_without_the_alias_the_same_answer_is_wrong(learned, mother):
    model, facts = learned
    bare = FactSet(Fact(f.relation, f.subject, "Zzyx") for f in facts)
    _, found = predictions(model, bare, mother)
    assert not any(p.correct for p in found)


def test_a_free_answer_may_contain_an_alias(learned, mother):
    model, facts = learned
    config = EvaluationConfig(test_prompts=1, batch_tokens=128, generate=6)

    def inside(of: FactSet) -> list[bool]:
        asked = questions(model, of, of.split(6, 0), mother.prompts, config, 0)
        with model.using("memorized"):
            found = [p for batch in evaluate(model, asked, config) for p in batch]
        order = {(q.probe, q.text): i for i, q in enumerate(asked)}
        return [p.contains for p in sorted(found, key=lambda p: order[p.probe, p.prompt])]

    assert any(inside(facts)) and inside(renamed(facts)) == inside(facts)


def test_facts_without_aliases_are_scored_once(learned, mother, monkeypatch):
    model, facts = learned
    calls = []
    monkeypatch.setattr(probes, "score", lambda *args: calls.append(len(args[1])) or score(*args))
    asked, _ = predictions(model, facts, mother)
    assert calls == [len(asked)]
    asked, _ = predictions(model, renamed(facts), mother)
    assert calls[1] == len(asked) and sum(calls[2:]) == 2 * len(asked)
