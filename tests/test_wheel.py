"""The built wheel, installed by itself: the command `rotelab`, its files, its home, the page.

The environment sees the dependencies that are installed for the tests, and nothing of the checkout.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import venv
from pathlib import Path

import pytest
from support.page import served
from support.paths import ROOT

from rotelab.runs.demo import recording


def asked(program: Path, *words: str, cwd: Path, **environment: str) -> str:
    """What an installed program prints, started in another folder without `PYTHONPATH`."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [program, *words],
        cwd=cwd, env=env | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment in which only the wheel was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    asked(
        Path(sys.executable), "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT
    )
    (wheel,) = folder.glob("rotelab-*.whl")
    made = folder / "environment"
    venv.create(made)
    programs = made / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    packages = asked(
        python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=made
    )
    shared = Path(packages.strip()) / "shared.pth"
    shared.write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    pip = (
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--no-compile",
    )
    asked(Path(sys.executable), *pip, "--quiet", str(wheel), cwd=folder)
    return programs


LOOK = """
import json, sys
import rotelab
from pathlib import Path
from rotelab.runs.lab import Lab
from rotelab.runs.processes import environment
from rotelab.storage import Storage
home = Storage.from_environment().home
modules = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "rotelab"]
worker = environment("id", home)["PYTHONPATH"]
said = {"file": rotelab.__file__, "modules": modules, "home": str(home), "worker": worker}
print(json.dumps(said))
"""


def test_nothing_of_the_checkout_is_used(programs: Path, tmp_path: Path) -> None:
    """Not by the command line, and not by a worker, which starts in the home folder."""
    places = {name: str(tmp_path / "user") for name in ("HOME", "XDG_DATA_HOME", "LOCALAPPDATA")}
    said = json.loads(
        asked(programs / "python", "-c", LOOK, cwd=tmp_path, ROTELAB_HOME="", **places)
    )
    environment = programs.parent
    assert Path(said["file"]).is_relative_to(environment)
    assert len(said["modules"]) > 20
    assert all(Path(file).is_relative_to(environment) for file in said["modules"])
    assert Path(said["home"]).is_relative_to(tmp_path / "user") or os.name == "nt"
    assert said["worker"] == ""


def test_the_command_finds_the_packs_and_makes_its_home(programs: Path, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    said = asked(programs / "rotelab", "packs", cwd=tmp_path, ROTELAB_HOME=str(home))
    assert re.search(r"^mother +100 facts", said, re.M)
    assert (home / "runs.db").is_file()


def test_the_command_without_arguments_serves_the_page(programs: Path, tmp_path: Path) -> None:
    command = [str(programs / "rotelab")]
    with (
        served(tmp_path / "home", command, tmp_path, example=True, PYTHONPATH="") as server,
        urllib.request.urlopen(f"{server.url}/config", timeout=60) as answer,
    ):
        page = json.load(answer)
        for path, holds in (
            ("docs/guide/facts.md", b"<h1"),
            ("docs/images/chat-light.png", b"PNG"),
            ("docs/changelog.md", b"Unreleased"),
            ("examples/rivers.xlsx", b"PK"),
        ):
            with urllib.request.urlopen(f"{server.url}/{path}", timeout=60) as given:
                assert holds in given.read(), path
    style = (ROOT / "assets" / "style.css").read_text(encoding="utf-8")
    assert style in page["css"]
    assert recording().questions[0] in json.dumps(page["components"], ensure_ascii=False)


def test_the_wheel_asks_for_what_is_pinned() -> None:
    """The same packages, each from the version of requirements.txt on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    bounds = dict(re.split(r">=|,", line)[:2] for line in project["dependencies"])
    assert bounds == {name: ".".join(pin.split(".")[:2]) for name, pin in pinned.items()}
