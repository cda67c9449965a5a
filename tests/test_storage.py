"""Where the lab keeps its files."""

import pytest
from support.paths import ROOT

from rotelab.errors import LabError
from rotelab.storage import Storage


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ROTELAB_HOME", str(tmp_path))
    assert Storage.from_environment().database == tmp_path / "runs.db"
    monkeypatch.delenv("ROTELAB_HOME")
    assert Storage.from_environment().home == ROOT


@pytest.mark.parametrize("text", ["..", "a/b", "../x", "", "A", "a\n", "x" * 90, "a\\b"])
def test_a_run_folder_is_no_path(text, storage):
    with pytest.raises(LabError):
        storage.run_folder(text)
