"""What every test shares: a home of its own, so that none touches the user's runs."""

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Points `ROTELAB_HOME` at a temporary folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("ROTELAB_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """The folder of a tiny randomly initialised Llama with a tokenizer of its own."""
    from tiny import make_tiny_llama

    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_folder):
    """That model, loaded with a key token for `mother` and one for `capital`, on one thread."""
    import torch

    from rotelab.config import ModelSpec
    from rotelab.models import load_model

    torch.set_num_threads(1)  # a second thread costs more than it gives at this size
    return load_model(ModelSpec(name=str(tiny_folder), device="cpu"), ["mother", "capital"])


@pytest.fixture(scope="session")
def mother():
    """The shipped pack `mother`."""
    from rotelab.packs import load_pack

    return load_pack("mother")
