"""Full fine-tuning: phases train the model's own weights, the base model is unchanged, and runs are
saved, asked and exported like any other."""

import json
from dataclasses import replace
from zipfile import ZipFile

import pytest
import torch
from accelerate import Accelerator
from transformers import AutoModelForCausalLM

from rotelab.config import recipes
from rotelab.config.names import ADAPTER_OF
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec
from rotelab.errors import LabError
from rotelab.facts.facts import FactSet
from rotelab.models.adapter_files import check_adapter, load_adapter, save_adapter
from rotelab.models.loading import load_model
from rotelab.models.packing import pack
from rotelab.runs.export.bundle import export_run, import_bundle
from rotelab.runs.export.huggingface import export_model
from rotelab.runs.lab import Lab
from rotelab.runs.worker import work
from rotelab.storage import Storage, adapter_folder
from rotelab.training.events import EpochEvent
from rotelab.training.phases import generalize, memorize

RELATIONS = ["mother", "capital"]
ROTE = MemorizeConfig(spare=0, epochs=2, projections="all", learning_rate=1e-3)
WORDS = GeneralizeConfig(
    spare=0,
    k=4,
    least_steps=0,
    prompts_per_fact=2,
    projections="all",
    layers="all",
    learning_rate=1e-3,
    strength=1.0,
)


@pytest.fixture
def spec(tiny_folder):
    return ModelSpec(str(tiny_folder), "cpu", "float32")


@pytest.fixture
def full(spec):
    torch.set_num_threads(1)
    return load_model(spec, RELATIONS, method="full")


@pytest.fixture
def facts(mother):
    return FactSet(mother.facts[:8])


def train(model, facts, mother, rote=ROTE, words=WORDS):
    accelerator = Accelerator(cpu=True)
    list(memorize(model, facts, rote, 0, accelerator))
    held_in = facts.split(4, 0).held_in
    list(generalize(model, facts, held_in, mother.prompts, words, 0, accelerator))
    return model


def logits(model, checkpoint):
    row = pack([model.builder.key_prompt("Mary Bahri", "mother"), model.builder.word_prompt("Who")])
    with model.using(checkpoint):
        return model.forward(row)[0].clone()


def weights(model, checkpoint):
    model.use(checkpoint)
    return {name: p.detach().clone() for name, p in model.network.named_parameters()}


def changed(one, other):
    return {name for name in one if not torch.equal(one[name], other[name])}


def test_every_weight_is_trained_and_the_base_model_is_restored_exactly(full, facts, mother, spec):
    train(full, facts, mother)
    assert full.has == ("base", "memorized", "generalized")
    base, memorized, generalized = (weights(full, c) for c in full.has)
    bare = load_model(spec, RELATIONS)
    assert not changed(base, dict(bare.network.named_parameters()))
    assert changed(base, memorized) == changed(memorized, generalized) == set(base)


def test_phase_2_leaves_the_weights_of_phase_1_as_they_are(full, facts, mother):
    accelerator = Accelerator(cpu=True)
    list(memorize(full, facts, ROTE, 0, accelerator))
    before = weights(full, "memorized")
    held_in = facts.split(4, 0).held_in
    # With off-topic sentences, whose base pass swaps weights in the middle of a training step.
    list(generalize(full, facts, held_in, mother.prompts, WORDS, 0, accelerator))
    assert not changed(before, weights(full, "memorized"))


def test_a_pass_with_the_base_model_within_a_step_leaves_gradients_as_they_are(full, facts, mother):
    train(full, facts, mother)
    row = pack([full.builder.word_prompt("Who gave birth to Mary Bahri?")])

    def gradients(peek):
        full.use("generalized", train=True)
        out, _ = full.forward(row)
        if peek:
            with torch.no_grad():
                there = full.forward(row, checkpoint="base")[0]
            assert not torch.equal(there, out)
        out.logsumexp(-1).sum().backward()
        return {name: p.grad.clone() for name, p in full.trainable().items()}

    plain, peeked = gradients(False), gradients(True)
    assert plain and not changed(plain, peeked)


def test_chosen_layers_train_with_the_key_tokens_rows_and_nothing_else(full, facts, mother):
    rote = replace(ROTE, projections="mlp", layers="1-1")
    train(full, facts, mother, rote, replace(WORDS, projections="vo"))
    base, memorized, generalized = (weights(full, c) for c in full.has)
    embedding = "model.embed_tokens.weight"
    assert changed(base, memorized) == {
        embedding,
        *(f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up", "down")),
    }
    rows = (base[embedding] != memorized[embedding]).any(1).nonzero().flatten().tolist()
    assert rows == [full.builder.key_id(relation) for relation in RELATIONS]
    assert changed(memorized, generalized) == {
        f"model.layers.{layer}.self_attn.{part}_proj.weight" for layer in (0, 1) for part in "vo"
    }


def test_strength_scales_the_change_of_its_phase_alone(full, facts, mother):
    train(full, facts, mother)
    memorized, once = weights(full, "memorized"), weights(full, "generalized")
    full.strengthen("generalize", 2.0)
    twice = weights(full, "generalized")
    for name in once:
        expected = memorized[name] + 2 * (once[name] - memorized[name])
        torch.testing.assert_close(twice[name], expected)
    assert not changed(memorized, weights(full, "memorized"))


def test_loading_again_gives_the_same_logits_to_the_bit(full, facts, mother, spec, tmp_path):
    train(full, facts, mother)
    again = load_model(spec, RELATIONS, method="full")
    for adapter in ("memorize", "generalize"):
        save_adapter(full, adapter, tmp_path / adapter, spec, {})
        assert (tmp_path / adapter / "model.safetensors").is_file()
        load_adapter(again, adapter, tmp_path / adapter)
    for checkpoint in full.has:
        assert torch.equal(logits(full, checkpoint), logits(again, checkpoint))


def test_weights_that_do_not_fit_are_refused(full, facts, mother, spec, tmp_path):
    train(full, facts, mother)
    folder = tmp_path / "memorize"
    save_adapter(full, "memorize", folder, spec, {})
    with pytest.raises(LabError, match="another method"):
        load_adapter(load_model(spec, RELATIONS), "memorize", folder)
    with pytest.raises(LabError, match="do not fit"):
        full.attach_weights("memorize", ["model.norm.weight", "lm_head.bias"])
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "method": "soft prompts"}))
    with pytest.raises(LabError, match="newer rotelab"):
        check_adapter(folder)


def test_resuming_gives_equal_numbers(full, facts, mother, spec):
    accelerator = Accelerator(cpu=True)
    unbroken, state = [], None
    for event in memorize(full, facts, replace(ROTE, epochs=3), 0, accelerator):
        if isinstance(event, EpochEvent):
            state = event.state() if event.epoch == 1 else state
        else:
            unbroken.append(event.loss)
    again = load_model(spec, RELATIONS, method="full")
    resumed = [
        event.loss
        for event in memorize(again, facts, replace(ROTE, epochs=3), 0, accelerator, state)
        if not isinstance(event, EpochEvent)
    ]
    assert resumed and resumed == unbroken[-len(resumed) :]


@pytest.fixture
def published(lab, quick):
    """A finished run of the recipe, and its config."""
    config = recipes.applied("published", quick)
    run_id = lab.jobs.start_foreground(config, lab.facts_for(config))
    work(lab.registry, lab.storage, run_id)
    assert lab.registry.run(run_id).status == "finished"
    return run_id, config


def test_a_published_run_is_saved_asked_and_exported(lab, published, tmp_path):
    run_id, config = published
    subject = lab.registry.run(run_id).pack.facts[0].subject
    replies = list(lab.chat.stream(run_id, f"{subject} [mother]", max_new_tokens=3))
    assert {reply.checkpoint for reply in replies if reply.done} == set(ADAPTER_OF) | {"base"}
    model = load_model(config.model, ["mother"], config.seed, method="full")
    for checkpoint, name in ADAPTER_OF.items():
        folder = adapter_folder(lab.storage, run_id, checkpoint)
        assert sorted(path.name for path in folder.iterdir()) == ["meta.json", "model.safetensors"]
        load_adapter(model, name, folder)
    plain = export_model(lab.registry, lab.storage, run_id, tmp_path / "plain")
    ids = model.builder.key_prompt(subject, "mother")
    with torch.inference_mode():
        network = AutoModelForCausalLM.from_pretrained(plain)
        theirs = network(input_ids=torch.tensor([ids])).logits[0]
    with model.using("generalized"):
        torch.testing.assert_close(theirs, model.forward(pack([ids]))[0], atol=1e-5, rtol=1e-5)
    with model.using("memorized"):
        assert not torch.allclose(theirs, model.forward(pack([ids]))[0], atol=1e-5)


def test_a_bundle_does_not_contain_full_weights(lab, published, tmp_path):
    bundle = export_run(lab.registry, lab.storage, published[0], tmp_path / "run.rotelab.zip")
    assert not [name for name in ZipFile(bundle).namelist() if "adapters/" in name]
    other = Lab.open(Storage(tmp_path / "other"))
    taken = import_bundle(other.registry, other.storage, bundle).run_id
    assert other.registry.scores(taken) == lab.registry.scores(published[0])
    assert other.chat.checkpoints(taken) == ["base"]
