"""What every test shares: a home of its own, so that none touches the user's runs."""

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Points `ROTELAB_HOME` at a temporary folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("ROTELAB_HOME", str(home))
    return home
