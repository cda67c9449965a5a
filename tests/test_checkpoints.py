"""Adapters and training state: written whole, loaded to equal logits, damage noticed."""

import json

import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from transformers import AutoModelForCausalLM

from rotelab.batches import pack
from rotelab.checkpoints import load_adapter, load_state, save_adapter, save_state, written_whole
from rotelab.config import GeneralizeConfig, MemorizeConfig, ModelSpec
from rotelab.errors import LabError
from rotelab.facts import FactSet
from rotelab.models import add_key_tokens, load_model
from rotelab.phases import EpochEvent, TrainState, generalize, memorize


@pytest.fixture
def trained(tiny, mother):
    facts = FactSet(mother.facts[:8])
    accelerator = Accelerator(cpu=True)
    # Not on all layers, nor on all projections: loading must find the same ones again.
    config = MemorizeConfig(epochs=2, rank=4, layers="1-1")
    list(memorize(tiny, facts, config, 0, accelerator))
    held_in = facts.split(4, 0).held_in
    config = GeneralizeConfig(k=4, rank=2, prompts_per_fact=2, projections="qk", strength=1.7)
    list(generalize(tiny, facts, held_in, mother.prompts, config, 0, accelerator))
    return tiny


@pytest.fixture
def spec(tiny_folder):
    return ModelSpec(name=str(tiny_folder), device="cpu")


def logits(model, checkpoint):
    row = pack([model.builder.key_prompt("Mary Bahri", "mother"), model.builder.word_prompt("Who")])
    with model.using(checkpoint):
        return model.forward(row)[0].clone()


def test_loading_again_gives_the_same_logits_to_the_bit(trained, spec, tmp_path):
    for adapter in ("memorize", "generalize"):
        save_adapter(trained, adapter, tmp_path / adapter, spec, {"run": "r"})
    again = load_model(spec, ["mother", "capital"])
    for adapter in ("memorize", "generalize"):
        assert load_adapter(again, adapter, tmp_path / adapter)["run"] == "r"
    for checkpoint in ("base", "memorized", "generalized"):
        assert torch.equal(logits(trained, checkpoint), logits(again, checkpoint))


def test_peft_itself_reads_the_memorize_adapter(trained, spec, tmp_path):
    save_adapter(trained, "memorize", tmp_path / "memorize", spec, {})
    fresh = load_model(spec, ["mother", "capital"])
    network = AutoModelForCausalLM.from_pretrained(spec.name)
    add_key_tokens(network, fresh.tokenizer, ["mother", "capital"], 0)
    peft = PeftModel.from_pretrained(network, tmp_path / "memorize")
    ids = trained.builder.key_prompt("Mary Bahri", "mother")
    with torch.inference_mode():
        theirs = peft(input_ids=torch.tensor([ids])).logits[0]
    with trained.using("memorized"):
        ours, _ = trained.forward(pack([ids]))
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)


def test_a_damaged_adapter_is_refused(trained, spec, tmp_path):
    folder = tmp_path / "memorize"
    save_adapter(trained, "memorize", folder, spec, {})
    path = folder / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(LabError, match="damaged"):
        load_adapter(load_model(spec, ["mother", "capital"]), "memorize", folder)


def test_an_adapter_of_other_relations_is_refused(trained, spec, tmp_path):
    save_adapter(trained, "memorize", tmp_path / "m", spec, {})
    with pytest.raises(LabError, match="other relations"):
        load_adapter(load_model(spec, ["mother"]), "memorize", tmp_path / "m")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_folder_without_a_whole_adapter_is_a_sentence(tmp_path, spec, text):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(LabError, match="no whole adapter"):
        load_adapter(load_model(spec, ["mother", "capital"]), "memorize", tmp_path)


def test_an_adapter_of_a_newer_lab_is_refused(trained, spec, tmp_path):
    save_adapter(trained, "memorize", tmp_path / "m", spec, {})
    meta = json.loads((tmp_path / "m" / "meta.json").read_text())
    (tmp_path / "m" / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(LabError, match="newer rotelab"):
        load_adapter(load_model(spec, ["mother", "capital"]), "memorize", tmp_path / "m")


def test_state_round_trip_goes_on_with_equal_numbers(tiny, mother, tmp_path):
    facts, config = FactSet(mother.facts[:8]), MemorizeConfig(epochs=3, rank=4, batch_size=4)
    accelerator = Accelerator(cpu=True)
    whole = [e.loss for e in memorize(tiny, facts, config, 0, accelerator) if hasattr(e, "loss")]
    for event in memorize(tiny, facts, config, 0, accelerator):
        if isinstance(event, EpochEvent):
            save_state(event.state(), tmp_path / "state")
            break
    state = load_state(tmp_path / "state")
    rest = memorize(tiny, facts, config, 0, accelerator, state)
    assert [e.loss for e in rest if hasattr(e, "loss")] == whole[2:]


def test_a_torn_state_is_never_loaded(tmp_path):
    save_state(TrainState("memorize", 1, 2, {"a": torch.ones(1000)}), tmp_path / "state")
    path = tmp_path / "state" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert load_state(tmp_path / "state") is None
    assert load_state(tmp_path / "nothing") is None


def test_a_failed_write_leaves_what_was_there(tmp_path):
    with written_whole(tmp_path / "a") as work:
        (work / "x").write_text("old")
    with pytest.raises(RuntimeError), written_whole(tmp_path / "a") as work:
        (work / "x").write_text("new")
        raise RuntimeError("the disk is full, say")
    assert (tmp_path / "a" / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
