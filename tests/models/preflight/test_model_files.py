"""Models that can't work are refused at once, each with its true reason and the mend."""

import json
import shutil
import struct

import pytest
import torch
from httpx2 import Request, Response
from huggingface_hub import constants, errors
from safetensors.torch import load_file, save_file
from support.quick_runs import start

from rotelab.config.run_config import ModelSpec
from rotelab.errors import LabError
from rotelab.models.loading import load_model
from rotelab.models.preflight import model_files
from rotelab.models.preflight.load_errors import reason
from rotelab.models.preflight.model_files import check_model


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny Llama's folder, to be broken."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def edit(folder, **options):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))


def refused(folder, *words):
    """What is said without loading anything, and again by a run that is started anyway."""
    with pytest.raises(LabError) as said:
        check_model(ModelSpec(str(folder), "cpu", "float32"))
    text = str(said.value)
    assert all(word in text for word in words), text
    assert "went wrong" not in text and "network" not in text
    return text


def test_a_whole_folder_is_taken(folder):
    check_model(ModelSpec(str(folder)))
    check_model(ModelSpec("embedded"))
    check_model(ModelSpec("EleutherAI/pythia-1.4b"))
    check_model(ModelSpec("gpt2"))


def test_an_empty_folder(tmp_path):
    refused(tmp_path, "is empty", "Put a model into it")


def test_a_folder_that_is_none(tmp_path):
    refused(tmp_path / "nobody", "There is no folder", "Check the spelling")


def test_a_file_in_place_of_a_folder(folder):
    refused(folder / "model.safetensors", "is a file. Name the folder")


def test_gguf_alone(tmp_path):
    (tmp_path / "model.Q4_0.gguf").write_bytes(b"GGUF")
    refused(tmp_path, "GGUF", "Name the Hugging Face model that it was made from")
    refused(tmp_path / "model.Q4_0.gguf", "GGUF")


def test_pickled_weights_alone(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin only", "safetensors alone", "save_pretrained")


def test_no_weights_at_all(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "has no weights (model.safetensors)")


@pytest.mark.parametrize("kept", [0.5, 0.001])
def test_a_truncated_file(folder, kept):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    refused(folder, "model.safetensors is cut off", "Download or copy it again")


def test_a_damaged_file_and_a_pointer(folder):
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 4) + b"{no}")
    refused(folder, "is damaged", "again")
    path.write_bytes(b"<!DOCTYPE html><p>Not found</p>")
    refused(folder, "is damaged")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(folder, "only a pointer", "git lfs pull")


def test_a_missing_part_of_the_weights(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "lacks a part of its weights: model-00002-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text("[]")
    refused(folder, "index.json is damaged")


def test_config_and_tokenizer(folder):
    config = folder / "config.json"
    text = config.read_text()
    config.write_text(text[:20])
    refused(folder, "config.json can't be read as JSON")
    config.write_text("{}")
    refused(folder, "does not say which kind of model")
    config.unlink()
    refused(folder, "has no config.json")
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "an adapter alone", "merge the two")
    config.write_text(text)
    (folder / "tokenizer.json").unlink()
    refused(folder, "has no tokenizer")


@pytest.mark.parametrize("method", ["gptq", "awq", "fp8", "compressed-tensors", "hqq"])
def test_quantised_weights_that_can_t_be_trained(folder, method):
    edit(folder, quantization_config={"quant_method": method, "bits": 4})
    refused(folder, model_files.METHODS.get(method, method), "Name the model that it was made from")


def test_bitsandbytes_without_its_library(folder, monkeypatch):
    edit(folder, quantization_config={"load_in_4bit": True, "quant_method": "bitsandbytes"})
    monkeypatch.setattr(model_files, "find_spec", lambda name: None)
    refused(folder, "bitsandbytes, which is not installed", "pip install bitsandbytes")


# Said when it is loaded ---------------------------------------------------------------------------


def not_loaded(folder, *words):
    with pytest.raises(LabError) as said:
        load_model(ModelSpec(str(folder), "cpu", "float32"), ["mother"])
    assert all(word in str(said.value) for word in words), said.value


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_wrong_shapes(folder):
    name = "model.layers.0.mlp.up_proj.weight"
    change_weights(folder, lambda weights: weights.update({name: torch.zeros(3, 3)}))
    not_loaded(folder, "have other shapes than its config.json says")


def test_weights_that_would_be_made_up_at_random(folder):
    change_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    not_loaded(folder, "lack model.layers.1.mlp.up_proj.weight", "Download or copy")


def test_kinds_that_can_t_be_taught(folder):
    edit(folder, model_type="nosuch")
    not_loaded(folder, "of the kind 'nosuch', which the installed transformers does not know")
    edit(folder, model_type="t5")
    not_loaded(folder, "no causal language model")


def test_a_damaged_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")
    not_loaded(folder, "tokenizer", "again")


def raised(kind, status):
    """An error of the hub as transformers hands it on."""
    response = Response(status, request=Request("GET", "https://huggingface.co/x"))
    try:
        try:
            raise kind("no", response=response) if status else kind("no")
        except Exception as error:
            raise OSError("someone/thing is not a local folder") from error
    except OSError as error:
        return error


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        (errors.GatedRepoError, 403, "asks for a consent first"),
        (errors.RepositoryNotFoundError, 404, "There is no model 'Qwen/Qwen2.5-1.5b'"),
        (errors.LocalEntryNotFoundError, 0, "the Hugging Face Hub can't be reached"),
        (errors.OfflineModeIsEnabled, 0, "HF_HUB_OFFLINE forbids to fetch it"),
        (errors.HfHubHTTPError, 503, "the Hugging Face Hub can't be reached"),
    ],
)
def test_what_the_hub_says(kind, status, said):
    text = reason(raised(kind, status), "Qwen/Qwen2.5-1.5b")
    assert said in text
    close = "Did you mean 'Qwen/Qwen2.5-1.5B'?"
    assert (close in text) == ("consent" not in text and "OFFLINE" not in text)


def test_a_model_of_the_hub_without_safetensors():
    error = OSError("x/y does not appear to have a file named model.safetensors or pytorch")
    assert "safetensors alone" in reason(error, "x/y")


def test_without_a_network_it_is_said_at_once(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("rotelab.models.preflight.load_errors.getproxies", dict)
    not_loaded("nobody/nothing", "'nobody/nothing' is not on this machine", "can't be reached")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    not_loaded("nobody/nothing", "HF_HUB_OFFLINE forbids")


def test_a_run_with_such_a_model_is_not_begun(lab, quick, tmp_path):
    from dataclasses import replace

    broken = replace(quick, model=ModelSpec(str(tmp_path / "empty"), "cpu"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabError, match="is empty"):
        start(lab, broken)
    with pytest.raises(LabError, match="is empty"):
        lab.jobs.enqueue(broken, lab.facts_for(broken))
    assert lab.registry.runs() == []
