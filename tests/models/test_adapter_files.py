"""Adapters on disk: loaded to equal logits, readable by PEFT, damage noticed."""

import json

import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from transformers import AutoModelForCausalLM

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec
from rotelab.errors import LabError
from rotelab.facts.facts import FactSet
from rotelab.models.adapter_files import load_adapter, save_adapter
from rotelab.models.key_tokens import add_key_tokens
from rotelab.models.loading import load_model
from rotelab.models.packing import pack
from rotelab.training.phases import generalize, memorize


@pytest.fixture
def trained(tiny, mother):
    facts = FactSet(mother.facts[:8])
    accelerator = Accelerator(cpu=True)
    # Not on all layers, nor on all projections: loading must find the same ones again.
    config = MemorizeConfig(spare=0, epochs=2, rank=4, layers="1-1")
    list(memorize(tiny, facts, config, 0, accelerator))
    held_in = facts.split(4, 0).held_in
    config = GeneralizeConfig(
        spare=0, k=4, rank=2, least_steps=0, prompts_per_fact=2, projections="qk", strength=1.7
    )
    list(generalize(tiny, facts, held_in, mother.prompts, config, 0, accelerator))
    return tiny


@pytest.fixture
def spec(tiny_folder):
    return ModelSpec(str(tiny_folder), "cpu", "float32")


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
def test_a_folder_without_a_complete_adapter_is_refused(tmp_path, spec, text):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(LabError, match="no complete adapter"):
        load_adapter(load_model(spec, ["mother", "capital"]), "memorize", tmp_path)


def test_an_adapter_of_a_newer_lab_is_refused(trained, spec, tmp_path):
    save_adapter(trained, "memorize", tmp_path / "m", spec, {})
    meta = json.loads((tmp_path / "m" / "meta.json").read_text())
    (tmp_path / "m" / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(LabError, match="newer rotelab"):
        load_adapter(load_model(spec, ["mother", "capital"]), "memorize", tmp_path / "m")
