"""What every test shares: a home of its own, so that none touches the user's runs."""

import pytest
from support.head_count import one_more  # noqa: F401  (a fixture)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Points `ROTELAB_HOME` at a temporary folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("ROTELAB_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """The folder of a tiny randomly initialised Llama with a tokenizer of its own."""
    from support.tiny import make_tiny_llama

    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_folder):
    """That model, loaded with a key token for `mother` and one for `capital`, on one thread."""
    import torch

    from rotelab.config.run_config import ModelSpec
    from rotelab.models.loading import load_model

    torch.set_num_threads(1)  # a second thread costs more than it gives at this size
    return load_model(ModelSpec(str(tiny_folder), "cpu", "float32"), ["mother", "capital"])


@pytest.fixture(scope="session")
def mother():
    """The shipped pack `mother`."""
    from rotelab.facts.packs import load_pack

    return load_pack("mother")


@pytest.fixture
def storage(own_home):
    """The settings of that home."""
    from rotelab.storage import Storage

    return Storage(own_home)


@pytest.fixture
def registry(storage):
    """An empty registry in that home."""
    from rotelab.registry import Registry

    return Registry(storage)


@pytest.fixture
def lab(storage):
    """An empty lab in that home."""
    from rotelab.runs.lab import Lab

    return Lab.open(storage)


@pytest.fixture
def quick(tiny_folder):
    """A whole run of seconds on the tiny model: 8 facts, 4 of them taught in words."""
    import torch

    from rotelab.config.run_config import (
        EvaluationConfig,
        GeneralizeConfig,
        MemorizeConfig,
        ModelSpec,
        RunConfig,
    )

    torch.set_num_threads(1)
    return RunConfig(
        facts=8,
        model=ModelSpec(str(tiny_folder), "cpu", "float32"),
        memorize=MemorizeConfig(spare=0, epochs=3, rank=4, batch_size=4),
        generalize=GeneralizeConfig(spare=0, k=4, rank=2, least_steps=0, prompts_per_fact=2),
        evaluation=EvaluationConfig(train_prompts=1, test_prompts=2, unrelated_prompts=1),
    )
