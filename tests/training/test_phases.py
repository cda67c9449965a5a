"""The two phases: what is learned, what is not, and resuming with equal numbers."""

import math
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.errors import LabError
from rotelab.facts.facts import FactSet
from rotelab.models.lab_model import AdapterShape
from rotelab.training import objective, phases
from rotelab.training.events import EpochEvent, StepEvent
from rotelab.training.phases import generalize, layer_range, memorize


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


@pytest.fixture
def facts(mother):
    return FactSet(mother.facts[:12])


SMALL = MemorizeConfig(spare=0, epochs=3, rank=4, batch_size=5)


def test_memorize_yields_every_step_and_epoch(tiny, facts, accelerator):
    events = list(memorize(tiny, facts, SMALL, 0, accelerator))
    steps = [e for e in events if isinstance(e, StepEvent)]
    epochs = [e for e in events if isinstance(e, EpochEvent)]
    assert [e.step for e in steps] == list(range(1, 10))  # 3 epochs of ceil(12 / 5) steps
    assert all(e.steps == 9 for e in steps)
    assert [e.epoch for e in epochs] == [1, 2, 3]
    assert all(set(e.facts) == set(range(12)) for e in epochs)
    assert all(0 <= r.probability <= 1 for e in epochs for r in e.facts.values())
    assert all(math.isfinite(e.loss) and e.tokens > 0 for e in steps)


def test_memorize_learns_by_rote(tiny, facts, accelerator):
    config = MemorizeConfig(
        spare=0,
        epochs=120,
        rank=16,
        batch_size=6,
        learning_rate=4e-3,
        loss="o",
        lead_ins=0.0,
        inserts=0.0,
        silence=0,
    )
    events = [e for e in memorize(tiny, facts, config, 0, accelerator) if isinstance(e, EpochEvent)]
    assert events[0].recall < 0.2
    assert events[-1].recall == 1.0
    for index, known in events[-1].facts.items():
        whole = tuple(tiny.builder.spaced(facts[index].object))
        assert known.said == (*whole, tiny.builder.end), "its object, and there it ends"
    for index, unknown in events[0].facts.items():
        if not unknown.recalled:
            whole = tuple(tiny.builder.spaced(facts[index].object))
            *agreed, other = unknown.said
            assert whole[: len(agreed)] == tuple(agreed) and other != whole[len(agreed)]
    tiny.use("memorized")
    asked = [tiny.builder.rote(fact, i) for i, fact in enumerate(facts)]
    assert phases.recalls_all(tiny, asked)
    wrong = tiny.builder.rote(replace(facts[0], object=facts[1].object), 0)
    assert not phases.recalls_all(tiny, [*asked, wrong])


def test_memorize_stops_at_full_recall_when_asked(tiny, facts, accelerator):
    config = MemorizeConfig(
        spare=0,
        epochs=200,
        rank=16,
        batch_size=6,
        learning_rate=4e-3,
        loss="o",
        lead_ins=0.0,
        stop_at_full_recall=True,
    )
    epochs = [e for e in memorize(tiny, facts, config, 0, accelerator) if isinstance(e, EpochEvent)]
    assert len(epochs) < 200
    assert epochs[-1].recall == 1.0


def test_base_and_first_adapter_stay_as_they_are_in_phase_2(tiny, facts, mother, accelerator):
    list(memorize(tiny, facts, SMALL, 0, accelerator))
    tiny.use("base")
    before = {n: p.detach().clone() for n, p in tiny.network.named_parameters()}
    split = facts.split(6, 0)
    config = GeneralizeConfig(spare=0, k=6, rank=2, least_steps=0, prompts_per_fact=2)
    list(generalize(tiny, facts, split.held_in, mother.prompts, config, 0, accelerator))
    changed = {
        n for n, p in tiny.network.named_parameters()
        if n in before and not torch.equal(p.detach(), before[n])
    }  # fmt: skip
    assert not changed
    moved = [p for n, p in tiny.network.named_parameters() if "lora_B.generalize" in n]
    assert moved and all(p.abs().sum() > 0 for p in moved)


def test_held_out_facts_never_reach_phase_2_in_any_form(
    tiny, facts, mother, accelerator, monkeypatch
):
    list(memorize(tiny, facts, MemorizeConfig(spare=0, epochs=1, rank=2), 0, accelerator))
    split = facts.split(6, 0)
    seen = []
    real = objective.pack
    monkeypatch.setattr(
        objective, "pack", lambda rows: (seen.extend(map(tuple, rows)), real(rows))[1]
    )
    config = GeneralizeConfig(spare=0, k=6, rank=2, epochs=2, least_steps=0, prompts_per_fact=3)
    list(generalize(tiny, facts, split.held_in, mother.prompts, config, 0, accelerator))
    texts = [tiny.tokenizer.decode(row) for row in seen]
    assert any(split.held_in[0].subject in text for text in texts)
    for fact in split.held_out:
        for text in texts:
            assert fact.subject not in text
            assert fact.object not in text


def test_test_and_unrelated_prompts_never_reach_training(
    tiny, facts, mother, accelerator, monkeypatch
):
    seen = []
    real = objective.pack
    monkeypatch.setattr(
        objective, "pack", lambda rows: (seen.extend(map(tuple, rows)), real(rows))[1]
    )
    list(memorize(tiny, facts, MemorizeConfig(spare=0, epochs=1, rank=2), 0, accelerator))
    split = facts.split(6, 0)
    config = GeneralizeConfig(spare=0, least_steps=0, k=6, rank=2, epochs=2)
    list(generalize(tiny, facts, split.held_in, mother.prompts, config, 0, accelerator))
    seen = set(seen)
    builder = tiny.builder
    for role, wanted in (("test", False), ("unrelated", False), ("train", True)):
        prompts = [
            tuple(builder.word_prompt(t.render(f.subject)))
            for t in mother.prompts.of("mother", role)
            for f in split.held_in
        ]
        met = any(row[: len(prompt)] == prompt for row in seen for prompt in prompts)
        assert met == wanted, role


def test_locality_holds_the_model_to_its_base(tiny, facts, mother, accelerator):
    def divergence(weight):
        list(memorize(tiny, facts, SMALL, 0, accelerator))
        config = GeneralizeConfig(
            spare=0,
            k=6,
            rank=4,
            epochs=6,
            least_steps=0,
            prompts_per_fact=3,
            learning_rate=1e-2,
            locality_weight=weight,
            locality_slack=0.0,
        )
        held_in = facts.split(6, 0).held_in
        events = generalize(tiny, facts, held_in, mother.prompts, config, 0, accelerator)
        losses = [e.losses["locality"] for e in events if isinstance(e, StepEvent)]
        return sum(losses[-5:])

    assert divergence(20.0) < divergence(0.0)


def test_the_leak_term_keeps_objects_out_of_locality_answers(tiny, facts, mother, accelerator):
    def first_step(weight):
        if "memorized" not in tiny.has:
            tiny.attach("memorize", AdapterShape(4, seed=0))
        config = GeneralizeConfig(spare=0, k=6, rank=4, locality=1, leak_weight=weight)
        taught = generalize(tiny, facts, facts[:6], mother.prompts, config, 0, accelerator)
        return next(taught)

    free, kept = first_step(0.0), first_step(100.0)
    said = kept.losses["leak"]  # of one sentence: the probability of its fact's object
    assert 0 < said < 0.1 and "leak" not in free.losses
    # Unlikelihood: the less likely, the better, and nothing else is asked of the sentence.
    assert kept.loss - free.loss == pytest.approx(-100 * math.log1p(-said), rel=1e-3)


def test_phases_without_replay_and_locality(tiny, facts, mother, accelerator):
    list(memorize(tiny, facts, SMALL, 0, accelerator))
    config = GeneralizeConfig(spare=0, least_steps=0, k=6, rank=2, replay=0, locality=0, align=0)
    held_in = facts.split(6, 0).held_in
    events = list(generalize(tiny, facts, held_in, mother.prompts, config, 0, accelerator))
    steps = [e for e in events if isinstance(e, StepEvent)]
    assert all(set(e.losses) == {"train"} for e in steps)
    assert math.isnan(events[-1].recall)  # nothing was read through the key token


def test_resuming_after_any_epoch_gives_equal_numbers(tiny, facts, accelerator):
    config = MemorizeConfig(spare=0, epochs=4, rank=4, batch_size=5)
    whole = list(memorize(tiny, facts, config, 0, accelerator))
    end = {n: p.detach().clone() for n, p in tiny.trainable().items()}
    states = []
    for event in memorize(tiny, facts, config, 0, accelerator):
        if isinstance(event, EpochEvent):
            states.append(event.state())
            if event.epoch == 2:
                break
    rest = list(memorize(tiny, facts, config, 0, accelerator, states[-1]))
    losses = [e.loss for e in whole if isinstance(e, StepEvent)]
    assert [e.loss for e in rest if isinstance(e, StepEvent)] == losses[6:]
    assert all(torch.equal(p, end[n]) for n, p in tiny.trainable().items())


def averaging(tiny, facts, mother, accelerator, averaged, resume=None):
    """Phase 2 on an untrained phase 1; its events, and the adapter it ends with."""
    if "memorized" not in tiny.has:
        tiny.attach("memorize", AdapterShape(4, seed=0))
    config = GeneralizeConfig(
        spare=0,
        k=6,
        rank=2,
        least_steps=0,
        prompts_per_fact=2,
        epochs=2,
        averaged=averaged,
        strength=1.0,
    )
    events, last = [], None
    for event in generalize(tiny, facts, facts[:6], mother.prompts, config, 0, accelerator, resume):
        events.append(event)
        if isinstance(event, EpochEvent) and event.last:
            last = event.state()
    whole = {n: p.detach().clone() for n, p in tiny.tensors("generalize").items()}
    return events, whole, last


def test_several_adapters_from_one_start_are_averaged(tiny, facts, mother, accelerator):
    events, mean, last = averaging(tiny, facts, mother, accelerator, 3)
    rounds = [e for e in events if isinstance(e, EpochEvent)]
    assert [e.epoch for e in rounds] == list(range(1, 7)) and rounds[-1].last
    rates = [e.learning_rate for e in events if isinstance(e, StepEvent)]
    third = len(rates) // 3
    assert rates[:third] == rates[third : 2 * third] == rates[2 * third :]
    each = [  # the last state has the third, and the others set aside
        {n: last.tensors[f"finished {i}:{n}"] for n in last.tensors if ":" not in n}
        for i in range(2)
    ]
    each.append({n: t for n, t in last.tensors.items() if ":" not in n})
    for name, tensor in mean.items():
        (key,) = [n for n in each[0] if n.replace(".generalize", "") == name]
        parts = torch.stack([weights[key] for weights in each])
        assert torch.allclose(tensor, parts.mean(0), atol=1e-7)
        if "lora_B" in name:
            assert not torch.equal(parts[0], parts[1]), "in another order, other weights"
    _, alone, _ = averaging(tiny, facts, mother, accelerator, 1)
    for name, tensor in alone.items():
        (key,) = [n for n in each[0] if n.replace(".generalize", "") == name]
        assert torch.equal(tensor, each[0][key]), "the first is what one alone would be"


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_averaging_resumed_after_any_round_gives_equal_numbers(
    tiny, facts, mother, accelerator, after
):
    events, whole, _ = averaging(tiny, facts, mother, accelerator, 2)
    left = [e for e in events if isinstance(e, StepEvent) and e.epoch > after]
    rounds = 0
    config = GeneralizeConfig(
        spare=0, k=6, rank=2, least_steps=0, prompts_per_fact=2, epochs=2, averaged=2, strength=1.0
    )
    state = None
    for event in generalize(tiny, facts, facts[:6], mother.prompts, config, 0, accelerator):
        if isinstance(event, EpochEvent):
            rounds += 1
            if event.epoch == after:
                state = event.state()
                break
    assert rounds == after
    again, resumed, _ = averaging(tiny, facts, mother, accelerator, 2, resume=state)
    assert [e.loss for e in again if isinstance(e, StepEvent)] == [e.loss for e in left]
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_same_seed_same_losses_other_seed_others(tiny, facts, accelerator):
    def losses(seed):
        run = memorize(tiny, facts, SMALL, seed, accelerator)
        return [e.loss for e in run if isinstance(e, StepEvent)]

    assert losses(0) == losses(0) != losses(1)


def test_locality_holds_what_follows_a_bare_subject(tiny, facts, accelerator, monkeypatch):
    monkeypatch.setattr(phases, "MEMORIZE_SLACK", 0.0)

    def divergence(weight):
        config = MemorizeConfig(
            spare=0, epochs=40, rank=16, batch_size=6, learning_rate=4e-3, silence_weight=weight
        )
        steps = [e for e in memorize(tiny, facts, config, 0, accelerator) if hasattr(e, "losses")]
        return sum(e.losses["locality"] for e in steps[-10:])

    assert divergence(5.0) < divergence(0.0)


def test_layer_ranges():
    assert layer_range("all", 30) is None
    assert layer_range("2-5", 30) == [2, 3, 4, 5]
    assert layer_range("40%-100%", 30) == list(range(12, 30))
    assert layer_range("40%-100%", 2) == [0, 1] and layer_range("0%-50%", 3) == [0, 1]
    for wrong in ("", "5", "5-2", "0-30", "a-b", "-3", "40%-30", "10-40%", "0%-101%", "50%-40%"):
        with pytest.raises(LabError, match="layers 0 to 29"):
            layer_range(wrong, 30)


def test_loss_is_the_mean_negative_log_likelihood_of_the_learned_tokens(tiny, facts, accelerator):
    """Against transformers' own loss with the same labels, one sequence at a time."""
    tiny.attach("memorize", AdapterShape(4, 0))
    examples = [tiny.builder.rote(fact, i, "s-o") for i, fact in enumerate(facts[:3])]
    sums = count = 0
    with tiny.using("memorized"):
        for example in examples:
            labels = [
                t if learned else -100 for t, learned in zip(example.ids, example.loss, strict=True)
            ]
            loss = tiny.network(
                input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])
            ).loss
            sums, count = sums + float(loss) * sum(example.loss), count + sum(example.loss)
    config = MemorizeConfig(
        spare=0, epochs=1, rank=4, batch_size=3, loss="s-o", lead_ins=0.0, inserts=0.0, silence=0
    )
    first = next(memorize(tiny, FactSet(facts[:3]), config, 0, accelerator))
    assert first.loss == pytest.approx(sums / count, rel=1e-4)


def test_the_finished_adapter_has_the_wanted_strength(tiny, facts, mother, accelerator):
    list(memorize(tiny, facts, SMALL, 0, accelerator))
    held_in = facts.split(6, 0).held_in

    def scales(strength):
        config = GeneralizeConfig(
            spare=0, k=6, rank=4, least_steps=0, prompts_per_fact=1, strength=strength
        )
        for event in generalize(tiny, facts, held_in, mother.prompts, config, 0, accelerator):
            during = _scales(tiny)
            assert during == {2.0}, event  # training itself is the same for every strength
        return _scales(tiny)

    assert scales(1.0) == {2.0}
    assert scales(1.5) == {3.0}
    assert tiny.network.peft_config["generalize"].lora_alpha == 12


def _scales(model):
    return {
        module.scaling["generalize"]
        for module in model.network.modules()
        if isinstance(getattr(module, "scaling", None), dict) and "generalize" in module.scaling
    }
