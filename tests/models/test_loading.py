"""Loading a model, and its two LoRA adapters: which is active, which trains, the base unchanged."""

import pytest
import torch

from rotelab.config.phases import PROJECTION_CHOICES
from rotelab.config.run_config import ModelSpec
from rotelab.errors import LabError
from rotelab.models.catalogue import CATALOGUE
from rotelab.models.forward import ForwardPass
from rotelab.models.lab_model import AdapterShape
from rotelab.models.loading import load_model, pick_device, pick_dtype
from rotelab.models.packing import pack


@pytest.fixture
def both(tiny):
    tiny.attach("memorize", AdapterShape(4, seed=0))
    tiny.attach("generalize", AdapterShape(2, seed=1))
    with torch.no_grad():  # LoRA starts as nothing: make both count
        for name, parameter in tiny.network.named_parameters():
            if "lora_B" in name or "trainable_tokens" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return tiny


def logits(model, checkpoint):
    row = pack(
        [model.builder.key_prompt("Mary Bahri", "mother"), model.builder.word_prompt("Who?")]
    )
    with model.using(checkpoint):
        return model.forward(row)[0].clone()


def test_the_three_checkpoints_answer_differently(both):
    base, memorized, generalized = (logits(both, c) for c in both.has)
    assert both.has == ("base", "memorized", "generalized")
    assert not torch.allclose(base, memorized)
    assert not torch.allclose(memorized, generalized)


def test_base_is_exactly_the_model_without_adapters(both, tiny_folder):
    bare = load_model(ModelSpec(str(tiny_folder), "cpu", "float32"), ["mother", "capital"])
    assert torch.equal(logits(both, "base"), logits(bare, "base"))


@pytest.mark.parametrize("checkpoint", ["base", "memorized", "generalized"])
def test_the_short_forward_pass_gives_the_logits_of_peft_s_own(both, checkpoint, monkeypatch):
    short = logits(both, checkpoint)
    monkeypatch.setattr("rotelab.models.forward.PLAIN_FAMILIES", ())
    torch.testing.assert_close(short, logits(both, checkpoint), atol=1e-5, rtol=1e-5)


def test_the_short_forward_pass_gives_the_gradients_of_peft_s_own(both, monkeypatch):
    row = pack([both.builder.key_prompt("Mary Bahri", "mother") + [5, 6]])

    def gradients():
        both.use("memorized", train=True)
        both.network.zero_grad()
        out, _ = both.forward(row)
        out.logsumexp(-1).sum().backward()
        return {n: p.grad.clone() for n, p in both.trainable().items() if p.grad is not None}

    short = gradients()
    monkeypatch.setattr("rotelab.models.forward.PLAIN_FAMILIES", ())
    full = gradients()
    assert set(short) == set(full)
    assert any("trainable_tokens_delta" in name for name in short)
    for name in short:
        torch.testing.assert_close(short[name], full[name], atol=1e-4, rtol=1e-4)


def test_only_the_newest_adapter_trains_and_each_in_its_place(both):
    both.use("memorized", train=True)
    names = set(both.trainable())
    assert names and all(".memorize" in name for name in names)
    assert all("mlp" in name or "embed_tokens" in name for name in names)
    both.use("generalized", train=True)
    names = set(both.trainable())
    assert names and all(".generalize" in name and "self_attn" in name for name in names)
    both.use("generalized")
    assert not both.trainable()


def test_a_pass_with_the_base_model_leaves_gradients_as_they_are(both):
    """PEFT's own switch would turn them on for the frozen adapter too."""
    both.use("generalized", train=True)
    before = set(both.trainable())
    with torch.no_grad():
        both.forward(pack([[0, 5]]), checkpoint="base")
    assert set(both.trainable()) == before


def test_attaching_is_seeded(tiny, tiny_folder):
    def weights(seed):
        tiny.attach("memorize", AdapterShape(4, seed))
        return {n: p.detach().clone() for n, p in tiny.network.named_parameters() if "lora_A" in n}

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not all(torch.equal(first[n], other[n]) for n in first)


def test_using_a_checkpoint_that_the_model_lacks_is_an_error(tiny):
    with pytest.raises(LabError, match="no 'generalized' checkpoint"):
        tiny.use("generalized")


def test_devices_and_precision():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16
    assert pick_dtype("float32", torch.device("cpu")) == torch.float32
    with pytest.raises(LabError, match="not a device"):
        pick_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(LabError, match="no device 'cuda:7'"):
            pick_device("cuda:7")


@pytest.mark.parametrize(
    ("able", "wanted"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16),
     ({"avx512_f": True}, torch.float32), ({}, torch.float32)],
)  # fmt: skip
def test_a_cpu_computes_in_bfloat16_where_it_multiplies_it_itself(monkeypatch, able, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert pick_dtype("auto", torch.device("cpu")) == wanted


def test_bfloat16_autocast_computes_in_bfloat16(tiny_folder):
    spec = ModelSpec(name=str(tiny_folder), device="cpu", dtype="bfloat16")
    model = load_model(spec, ["mother"])
    with torch.inference_mode():
        out, _ = model.forward(pack([[0, 5, 6]]))
    assert out.dtype == torch.bfloat16


def test_frozen_weights_are_in_bfloat16_and_trained_ones_in_float32(tiny_folder):
    spec = ModelSpec(name=str(tiny_folder), device="cpu", dtype="bfloat16")
    model = load_model(spec, ["mother"])
    model.attach("memorize", AdapterShape(4, seed=0))
    model.use("memorized", train=True)
    held = {name: p.dtype for name, p in model.network.named_parameters()}
    trained = set(model.trainable())
    assert {held[name] for name in trained} == {torch.float32}
    assert {kind for name, kind in held.items() if name not in trained} == {torch.bfloat16}
    whole = load_model(spec, ["mother"], method="full")
    assert {p.dtype for p in whole.network.parameters()} == {torch.float32}


def test_a_model_that_can_t_be_loaded_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LabError, match="does not say which kind of model"):
        load_model(ModelSpec(name=str(tmp_path), device="cpu"), ["mother"])


def test_catalogue_has_the_embedded_model_and_the_papers_eight():
    assert CATALOGUE[0].name == "embedded"
    assert len(CATALOGUE) == 9


def test_the_forward_pass_works_without_adapters(tiny):
    out, _ = ForwardPass(tiny.network)(
        torch.tensor([[0, 5]]), torch.tensor([[0, 1]]), None, torch.tensor([1])
    )
    assert out.shape == (1, len(tiny.tokenizer))


def test_noise_is_drawn_by_seed_and_as_strong_as_wanted(tiny):
    packed = pack([[1, 2, 3, 4], [1, 2, 5]])
    noise = tiny.noise(packed, 2.0, 7)
    assert noise.shape == (1, 5, tiny.network.config.hidden_size)
    table = tiny.network.get_input_embeddings().weight
    size = 2.0 * float(table[:4096].square().mean().sqrt())
    assert float(noise.abs().max()) <= size and float(noise.std()) > 0.5 * size
    assert torch.equal(noise, tiny.noise(packed, 2.0, 7))
    assert not torch.equal(noise, tiny.noise(packed, 2.0, 8))


def test_noise_reaches_the_logits_in_both_forward_passes(tiny, monkeypatch):
    tiny.attach("memorize", AdapterShape(4, seed=0))
    packed = pack([[1, 2, 3, 4]])
    noise = tiny.noise(packed, 1.0, 0)
    plain, noisy = tiny.forward(packed)[0], tiny.forward(packed, noise=noise)[0]
    assert not torch.allclose(plain, noisy)
    monkeypatch.setattr("rotelab.models.forward.PLAIN_FAMILIES", ())
    assert torch.allclose(noisy, tiny.forward(packed, noise=noise)[0], atol=1e-5)


def test_lessons_can_be_taken_away_again_and_what_is_below_them_stays(both):
    before = {checkpoint: logits(both, checkpoint) for checkpoint in both.has}
    for number in (1, 2):
        both.attach(f"lesson-0{number}", AdapterShape(4, seed=number))
    with torch.no_grad():
        for name, parameter in both.network.named_parameters():
            if "lora_B.lesson" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    first, second = (logits(both, f"lesson-0{number}") for number in (1, 2))
    assert not torch.allclose(first, second)
    both.use("lesson-02")
    both.detach("lesson-02")
    assert both.checkpoint == "base" and both.has == (*before, "lesson-01")
    assert torch.equal(logits(both, "lesson-01"), first)
    both.detach("lesson-01")
    assert both.has == tuple(before)
    for checkpoint, wanted in before.items():
        assert torch.equal(logits(both, checkpoint), wanted)
    both.detach("generalize")
    both.detach("memorize")
    assert both.has == ("base",) and torch.equal(logits(both, "base"), before["base"])


def test_the_maps_of_a_llama_and_their_order_stay_as_they_are(tiny):
    """Seeds, cached directions and every figure of the embedded model hang on them."""
    reads = {
        "q_proj": "in", "k_proj": "in", "v_proj": "in", "o_proj": "middle",
        "gate_proj": "in", "up_proj": "in", "down_proj": "middle",
    }  # fmt: skip
    wanted = []
    for name, _ in tiny.network.named_modules():
        block, _, projection = name.rpartition(".")
        if projection in reads:
            wanted.append((name, f"{block}.{reads[projection]}"))
    assert len(wanted) == 2 * 7
    assert [(one.name, one.reads) for one in tiny.layout.maps] == wanted
    groups = {group: set(tiny.layout.targets(group)) for group in PROJECTION_CHOICES}
    assert groups == {
        "mlp": {"gate_proj", "up_proj", "down_proj"},
        "gates": {"gate_proj", "up_proj"},
        "down": {"down_proj"},
        "qkvo": {"q_proj", "k_proj", "v_proj", "o_proj"},
        "vo": {"v_proj", "o_proj"},
        "qk": {"q_proj", "k_proj"},
        "all": set(reads),
    }
