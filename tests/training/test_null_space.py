"""Null-space projection: the directions of ordinary text, their cache, and adapters kept out."""

import logging
import threading
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from filelock import FileLock

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.facts.facts import FactSet
from rotelab.facts.locality_prompts import known_sentences
from rotelab.models.packing import pack
from rotelab.runs import pipeline
from rotelab.runs.worker import work
from rotelab.training import null_space
from rotelab.training.lessons.old_facts import protected_directions
from rotelab.training.null_space import own_texts
from rotelab.training.phases import generalize, memorize

ROTE = MemorizeConfig(
    epochs=6,
    rank=4,
    batch_size=4,
    silence=0,
    learning_rate=3e-3,
    spare=0.5,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache for this test alone, and few texts."""
    monkeypatch.setattr(null_space, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(null_space, "TEXTS", 24)
    return tmp_path / "cache" / "directions"


@pytest.fixture
def facts(mother):
    return FactSet(mother.facts[:8])


def learn(model, facts, config):
    list(memorize(model, facts, config, 0, Accelerator(cpu=True)))


def inputs_of(model, texts, projection):
    """The inputs of a projection of the base model in texts, without first tokens, `[n, width]`."""
    module = dict(model.network.named_modules())[projection]
    seen = []
    hook = module.register_forward_pre_hook(lambda module, args: seen.append(args[0][0]))
    packed = pack(texts)
    with torch.no_grad():
        model.forward(packed)
    hook.remove()
    return torch.nn.functional.normalize(seen[0][packed.positions[0] > 0], dim=-1)


def divergence(model, texts):
    """Mean KL(base || memorised) over texts, in nats."""
    packed = pack(texts)
    with model.using("memorized"):
        now = model.forward(packed)[0].log_softmax(-1)
        base = model.forward(packed, checkpoint="base")[0].log_softmax(-1)
    return float((base.exp() * (base - now)).sum(-1).mean())


@pytest.mark.parametrize(
    ("read", "projection"),
    [
        ("model.layers.0.mlp.in", "model.layers.0.mlp.up_proj"),
        ("model.layers.1.mlp.middle", "model.layers.1.mlp.down_proj"),
        ("model.layers.0.self_attn.in", "model.layers.0.self_attn.v_proj"),
        ("model.layers.1.self_attn.middle", "model.layers.1.self_attn.o_proj"),
    ],
)
def test_the_directions_hold_the_share_and_none_is_superfluous(tiny, read, projection):
    basis = null_space.directions(tiny, 0.7)[read]
    assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1]), atol=5e-3)
    read = inputs_of(
        tiny, own_texts(tiny, null_space.SEED, null_space.TEXTS, null_space.LENGTH), projection
    )
    held = (read @ basis).square().sum(0) / len(read)
    assert held.sum() + 1e-3 >= 0.7
    assert held[:-1].sum() < 0.7 + 1e-3


def test_the_adapters_stay_out_of_them(tiny, facts, mother):
    learn(tiny, facts, ROTE)
    found = null_space.directions(tiny, 0.5)
    before = {n: t.clone() for n, t in tiny.tensors("memorize").items()}
    pairs = null_space.NullSpaceProjector(tiny, "memorize", found).pairs
    assert len(pairs) == 2 * 3
    assert all((a @ basis).abs().max() < 1e-5 for a, basis in pairs)
    for name, tensor in tiny.tensors("memorize").items():
        assert torch.allclose(tensor, before[name], atol=1e-5), "it was already out of them"
    config = GeneralizeConfig(
        k=4, rank=2, least_steps=0, prompts_per_fact=1, spare=0.6, layers="all"
    )
    split = facts.split(4, 0)
    list(generalize(tiny, facts, split.held_in, mother.prompts, config, 0, Accelerator(cpu=True)))
    pairs = null_space.NullSpaceProjector(
        tiny, "generalize", null_space.directions(tiny, 0.6)
    ).pairs
    assert len(pairs) == 2 * 4
    assert all(a.abs().max() > 0 and (a @ basis).abs().max() < 1e-5 for a, basis in pairs)


def test_ordinary_text_changes_less(tiny, facts):
    texts = own_texts(tiny, 99, 8, 16)
    learn(tiny, facts, replace(ROTE, spare=0))
    freely = divergence(tiny, texts)
    learn(tiny, facts, replace(ROTE, spare=0.9))
    assert divergence(tiny, texts) < freely / 4


def test_phase_1_keeps_out_of_what_sentences_about_real_things_use(tiny, facts):
    config = replace(ROTE, epochs=1, spare=0.3, spare_known=0.8)
    learn(tiny, facts, config)
    sentences = [tiny.builder.word_prompt(text) for text in known_sentences()]
    ordinary = null_space.directions(tiny, 0.3)
    about = (tiny, [], ordinary, 0.8, ["base"], "mlp", sentences)
    protected = protected_directions(*about).bases
    assert any(basis.shape[1] > ordinary[name].shape[1] for name, basis in protected.items())
    weights = [
        (module.lora_A["memorize"].weight, protected[read])
        for read, module in tiny.projections("mlp")
    ]
    assert weights
    for a, basis in weights:
        assert a.abs().max() > 0 and (a @ basis).abs().max() < 1e-4


def test_they_are_computed_once_for_each_base_model(tiny, facts, cache, monkeypatch):
    first = null_space.directions(tiny, 0.5)
    learn(tiny, facts, replace(ROTE, epochs=1, spare=0))
    tiny.use("memorized")
    told = []
    monkeypatch.setattr(null_space, "own_texts", lambda *args: pytest.fail("computed again"))
    again = null_space.directions(tiny, 0.5, lambda share, words: told.append(share))
    assert first.keys() == again.keys() and not told
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert [place.suffix for place in cache.iterdir()] == [".safetensors"]
    smaller = null_space.directions(tiny, 0.3)
    for name, basis in smaller.items():
        assert torch.equal(first[name][:, : basis.shape[1]], basis)
    assert any(basis.shape[1] < first[name].shape[1] for name, basis in smaller.items())
    with pytest.raises(pytest.fail.Exception):
        null_space.directions(tiny, 0.99)
    with torch.no_grad():
        tiny.network.get_base_model().model.layers[0].mlp.up_proj.get_base_layer().weight.add_(1)
    with pytest.raises(pytest.fail.Exception):
        null_space.directions(tiny, 0.5)


def test_who_needs_the_same_directions_waits_for_them(tiny, cache, monkeypatch):
    monkeypatch.setattr(null_space, "WAIT_S", 0.01)
    waited, found = threading.Event(), []
    lock = FileLock(cache.parent / "locks" / f"{null_space.cached_at(tiny).stem}.lock")
    real = null_space._find

    def told(share, words):
        if words.startswith("Another process"):
            waited.set()

    def find():
        with torch.no_grad():
            found.append(null_space.directions(tiny, 0.5, told))

    cache.parent.mkdir(parents=True, exist_ok=True)
    (cache.parent / "locks").mkdir()
    with lock:  # as another process would
        other = threading.Thread(target=find)
        other.start()
        assert waited.wait(60) and not found
        null_space.write_tensors(
            dict(real(tiny, 0.9, lambda share, words: None)), null_space.cached_at(tiny)
        )
        monkeypatch.setattr(null_space, "_find", lambda *args: pytest.fail("found twice"))
    other.join(60)
    assert len(found) == 1 and found[0]


def test_a_damaged_cache_is_computed_again_and_an_unwritable_one_is_logged(tiny, cache, caplog):
    first = null_space.directions(tiny, 0.5)
    (place,) = cache.iterdir()
    place.write_bytes(b"torn")
    told = []
    with caplog.at_level(logging.WARNING):
        again = null_space.directions(tiny, 0.5, lambda share, words: told.append(share))
        assert "computed again" in caplog.text
        # The same directions; which vectors stand for them can depend on where memory lies.
        for name, basis in first.items():
            other = again[name]
            assert torch.allclose(basis @ basis.T, other @ other.T, atol=1e-2)
        assert told[0] == 0 and told[-1] == 1 and told == sorted(told)
        place.unlink()
        cache.rmdir()
        cache.write_text("a file where the folder should be")
        assert null_space.directions(tiny, 0.5).keys() == first.keys()
        assert "can't be written" in caplog.text


def test_inputs_that_are_too_wide_are_skipped(tiny, monkeypatch):
    monkeypatch.setattr(null_space, "WIDEST", 64)
    found = null_space.directions(tiny, 0.5)
    assert "model.layers.0.mlp.in" in found and "model.layers.0.mlp.middle" not in found
    assert null_space.too_wide(tiny) == tiny.network.config.intermediate_size


def test_a_run_says_which_inputs_are_not_projected(lab, quick, monkeypatch, caplog):
    for module in (null_space, pipeline):
        monkeypatch.setattr(module, "WIDEST", 64)
    sparing = replace(quick, memorize=replace(quick.memorize, spare=0.5))
    run_id = lab.jobs.start_foreground(sparing, lab.facts_for(sparing))
    work(lab.registry, lab.storage, run_id)
    (said,) = [w for w in lab.registry.run(run_id).warnings if "not protected" in w]
    assert "Above 64, " in said and said in caplog.text


def test_there_are_no_directions_at_0(tiny, monkeypatch):
    monkeypatch.setattr(null_space, "own_texts", lambda *args: pytest.fail("computed"))
    assert null_space.directions(tiny, 0.0) == {}
