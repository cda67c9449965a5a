"""Where the lab keeps its files."""

import platformdirs
import pytest
from support.paths import ROOT

from rotelab.errors import LabError
from rotelab.storage import Storage, assets_folder, usual_home


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ROTELAB_HOME", str(tmp_path))
    assert Storage.from_environment().database == tmp_path / "runs.db"
    monkeypatch.delenv("ROTELAB_HOME")
    assert Storage.from_environment().home == ROOT


def test_an_installed_package_has_its_files_inside_and_its_home_elsewhere(tmp_path, monkeypatch):
    assert (assets_folder(ROOT / "rotelab"), usual_home(ROOT / "rotelab")) == (
        ROOT / "assets",
        ROOT,
    )
    installed = tmp_path / "site-packages" / "rotelab"
    assert assets_folder(installed) == installed / "assets"
    assert not usual_home(installed).is_relative_to(tmp_path)
    assert usual_home(installed) == platformdirs.user_data_path("rotelab", appauthor=False)


@pytest.mark.parametrize("text", ["..", "a/b", "../x", "", "A", "a\n", "x" * 90, "a\\b"])
def test_a_run_folder_is_no_path(text, storage):
    with pytest.raises(LabError):
        storage.run_folder(text)
