"""Activation patching and parts switched off, against what is known by construction."""

import pytest
import torch

from rotelab.errors import LabError
from rotelab.evaluation.causal import patching
from rotelab.evaluation.causal.patching import branches, patch_grid, states_behind, unpatched
from rotelab.evaluation.causal.switching_off import heads_of, switched_off_grid
from rotelab.models.forward import bare
from rotelab.models.lab_model import AdapterShape
from rotelab.models.packing import pack


@pytest.fixture
def trained(tiny):
    """The tiny model with a memorised adapter that changes what it says."""
    tiny.attach("memorize", AdapterShape(4, 0))
    with torch.no_grad():
        for name, tensor in tiny.tensors("memorize").items():
            if "lora_B" in name:
                tensor.fill_(0.05)
    tiny.use("memorized")
    return tiny


@pytest.fixture
def prompts(trained):
    """A prompt to patch, and one that the state comes from."""
    words = trained.builder.word_prompt("Who gave birth to Mary Bahri?")
    return words, trained.builder.key_prompt("Ada Lane", "mother")


def probabilities(model, ids):
    with torch.inference_mode():
        return model.forward(pack([ids]), torch.tensor([len(ids) - 1]))[0][0].float().softmax(-1)


def test_the_last_layers_state_brings_the_other_prompts_answer_exactly(trained, prompts):
    words, key = prompts
    states = states_behind(trained, key)
    assert states.shape == (trained.layers, 64)
    said, own = probabilities(trained, key), probabilities(trained, words)
    wanted = int(said.argmax())
    last = len(words) - 1
    grid = patch_grid(trained, words, states, range(len(words)), wanted)
    assert grid.probability.shape == (trained.layers, len(words))
    assert grid.probability[-1, last] == pytest.approx(float(said[wanted]), rel=1e-4)
    assert grid.first[-1, last]
    # The last layer's states before the last position are read by nothing.
    assert grid.probability[-1, :last] == pytest.approx(float(own[wanted]), rel=1e-4)
    # Earlier ones are read by what comes after: each patch there does something.
    assert (abs(grid.probability[0] - float(own[wanted])) > 1e-7).all()
    assert unpatched(trained, words, wanted) == (
        pytest.approx(float(own[wanted]), rel=1e-4), int(own.argmax()) == wanted,
    )  # fmt: skip


def test_a_prompts_own_states_change_nothing(trained, prompts):
    words, _ = prompts
    own = probabilities(trained, words)
    wanted, last = int(own.argmax()), len(words) - 1
    grid = patch_grid(trained, words, states_behind(trained, words), [last], wanted)
    assert grid.probability[:, 0] == pytest.approx(float(own[wanted]), rel=1e-4)
    assert grid.first.all()
    again = probabilities(trained, words)
    assert torch.equal(own, again), "no hook is left behind"


def test_a_patch_is_what_a_hook_on_the_prompt_alone_gives(trained, prompts, monkeypatch):
    words, key = prompts
    states, wanted = states_behind(trained, key), 5
    for row in (512, 20):  # in few rows or in many
        monkeypatch.setattr(patching, "ROW", row)
        grid = patch_grid(trained, words, states, [2, 4], wanted)
        for layer in range(trained.layers):
            for column, position in enumerate((2, 4)):

                def put(module, args, output, layer=layer, position=position):
                    hidden = (output if isinstance(output, torch.Tensor) else output[0]).clone()
                    hidden[0, position] = states[layer]
                    return hidden if isinstance(output, torch.Tensor) else (hidden, *output[1:])

                hook = patching.layer_of(trained, layer).register_forward_hook(put)
                alone = float(probabilities(trained, words)[wanted])
                hook.remove()
                assert grid.probability[layer, column] == pytest.approx(alone, rel=1e-4)


def test_branches_share_what_comes_before_them():
    row, starts, ends = branches([7, 8, 9, 6], 2, 3)
    assert row.ids.tolist() == [[7, 8, 9, 6, 9, 6, 9, 6]]
    assert row.positions.tolist() == [[0, 1, 2, 3, 2, 3, 2, 3]]
    assert (starts, ends) == ([2, 4, 6], [3, 5, 7])
    assert row.mask[0, 0, 5].tolist() == [True, True, False, False, True, True, False, False]
    one = pack([[7, 8, 9, 6]])
    assert torch.equal(branches([7, 8, 9, 6], 0, 1)[0].mask, one.mask)


def test_a_part_switched_off_is_a_part_whose_last_weights_are_zero(trained, prompts):
    words, _ = prompts
    wanted = int(probabilities(trained, words).argmax())
    grid = switched_off_grid(trained, words, wanted)
    heads = heads_of(trained)
    assert heads == 4 and grid.probability.shape == (trained.layers, heads + 1)
    base = bare(trained.network)
    for layer in range(trained.layers):
        block = base.get_submodule(trained.layout.layer_name(layer))
        for part in range(heads + 1):
            module = block.mlp.down_proj if part == heads else block.self_attn.o_proj
            width = module.in_features // heads
            columns = slice(None) if part == heads else slice(part * width, (part + 1) * width)
            weights = [module.base_layer.weight, *(a.weight for a in module.lora_A.values())] if (
                hasattr(module, "base_layer")
            ) else [module.weight]  # fmt: skip
            kept = [weight.detach().clone() for weight in weights]
            with torch.no_grad():
                for weight in weights:
                    weight[:, columns] = 0
                alone = float(probabilities(trained, words)[wanted])
                for weight, old in zip(weights, kept, strict=True):
                    weight.copy_(old)
            assert grid.probability[layer, part] == pytest.approx(alone, rel=1e-4), (layer, part)


def test_heads_that_can_not_be_told_apart_are_refused(trained):
    bare(trained.network).config.num_attention_heads = 7
    with pytest.raises(LabError, match="can't be told apart"):
        heads_of(trained)
