"""The set-up: a newcomer's commands, pinned versions, what no file may contain, the layers."""

from __future__ import annotations

import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import browser

import rotelab

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "start": "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt "
    "&& .venv/bin/python app.py",
    "test": "python3 -m venv .venv && .venv/bin/pip install -r requirements-dev.txt "
    "&& .venv/bin/python tests/support/browser.py && .venv/bin/python -m pytest",
}
# Folders that are made, never tracked; used if git can't say what is tracked.
MADE = {"__pycache__", "build", "exports", "runs", "site"}
# Put together here, so that this file passes its own test.
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "download.py" + "torch.org",
    "ana" + "conda.org",
    "npm" + "js.org",
]
MACHINES_PATH = re.compile(r"(?<![\w.~/-])/(?:work|root|home|Users)/")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Runs the code in a fresh interpreter, in the project's folder."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def tracked_files() -> list[Path]:
    """The project's own files: those that git tracks, or without git all that were not made."""
    try:
        # Not yet added but not ignored counts too: it will be tracked soon.
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            timeout=60,
        ).stdout
    except FileNotFoundError:
        listed = b""
    if listed:
        paths = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
        return [path for path in paths if path.is_file()]
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not is_made(path.relative_to(ROOT)) and "runs.db" not in path.name
    ]


def is_made(path: Path) -> bool:
    hidden = any(part.startswith(".") and part != ".ci" for part in path.parts[:-1])
    return hidden or path.parts[0] in MADE or "__pycache__" in path.parts


def text_of(path: Path) -> str | None:
    """The file's text, or None if it is binary."""
    content = path.read_bytes()
    return None if b"\0" in content else content.decode("utf-8", errors="replace")


# README and requirements


@pytest.mark.parametrize("name", COMMANDS)
def test_readme_has_the_command(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^<!-- {name}-command -->\n```\w*\n(.*?)\n```$", readme, re.M | re.S)
    assert blocks == [COMMANDS[name]]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_exactly(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    if name == "requirements-dev.txt":
        assert wanted.pop(0) == "-r requirements.txt"
    assert wanted
    for line in wanted:
        # No local version (`+cpu`) either: it exists in some registries only.
        # A marker may say on which systems there is such a package.
        assert re.fullmatch(r"[A-Za-z0-9-]+==\d+(\.\d+)+(; sys_platform == .+)?", line), line


# What a clone must not contain


def test_no_file_names_a_path_of_this_machine_or_a_registry() -> None:
    files = tracked_files()
    assert ROOT / "README.md" in files
    found = []
    for path in files:
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1):
            if MACHINES_PATH.search(line) or any(host in line for host in REGISTRIES):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_machines_path_is_told_from_links_and_relative_paths() -> None:
    folder = "/" + "work/"
    assert MACHINES_PATH.search(f"open('{folder}main')")
    assert MACHINES_PATH.search(f"cd {folder}main")
    assert not MACHINES_PATH.search(f"https://example.org{folder}main")
    assert not MACHINES_PATH.search(f".{folder}main")


# Who imports whom


def test_contracts_between_the_packages_are_kept() -> None:
    lint = shutil.which("lint-imports", path=Path(sys.executable).parent)
    assert lint is not None, "import-linter is missing: install requirements-dev.txt"
    ended = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_layer_contract_can_break(tmp_path: Path) -> None:
    """In a copy, the lowest module imports a higher one."""
    shutil.copytree(ROOT / "rotelab", tmp_path / "rotelab")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "rotelab" / "errors.py").open("a", encoding="utf-8") as errors:
        errors.write("\nfrom rotelab.registry import Registry\n")
    lint = shutil.which("lint-imports", path=Path(sys.executable).parent)
    ended = subprocess.run(
        [lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert "rotelab.errors is not allowed to import rotelab.registry" in ended.stdout


def test_importing_the_core_does_not_import_gradio() -> None:
    page = {"ui", "__main__"}
    found = pkgutil.walk_packages(rotelab.__path__, "rotelab.")
    modules = [m.name for m in found if m.name.split(".")[1] not in page]
    assert "rotelab.registry.runs" in modules
    imports = "\n".join(f"import {module}" for module in modules)
    ended = run_python(f"{imports}\nimport sys\nprint('gradio' in sys.modules)")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["False"]


@pytest.mark.parametrize(
    "module",
    ["storage", "registry", "reports.tables", "reports.figures.live", "runs.jobs", "runs.lab"],
)
def test_importing_the_module_does_not_import_torch(module: str) -> None:
    ended = run_python(f"import rotelab.{module}, sys\nprint('torch' in sys.modules)")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["False"]


# The tests' browser


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that looks like a browser from outside."""
    path = tmp_path / ("my browser.exe" if sys.platform == "win32" else "my browser")
    path.write_text("#!/bin/sh\necho Chromium 1.0\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_browser_is_the_one_that_was_named(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTELAB_BROWSER", str(program))
    assert browser.find_browser() == program
    assert browser.ensure_browser() == program
    options = browser.launch_options()
    assert options["executable_path"] == str(program)
    assert options["headless"] is True
    assert "--no-sandbox" in options["args"]


def test_browser_script_prints_the_one_that_was_named(program: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "tests/support/browser.py"],
        cwd=ROOT,
        env={**os.environ, "ROTELAB_BROWSER": str(program)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, str(program))


def test_named_browser_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROTELAB_BROWSER", str(tmp_path / "missing"))
    with pytest.raises(browser.NoBrowser, match="ROTELAB_BROWSER names"):
        browser.find_browser()
    assert browser.main() == 1
    assert "unset it" in capsys.readouterr().err


def test_stub_that_does_not_start_is_passed_over(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":
        pytest.skip("there, a browser is not asked for its version")
    stub = tmp_path / "chromium"
    stub.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    stub.chmod(0o755)
    program.rename(tmp_path / "google-chrome")
    monkeypatch.delenv("ROTELAB_BROWSER", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(browser, "ON_PATH", ("chromium", "google-chrome"))
    assert browser.find_browser() == tmp_path / "google-chrome"


def test_without_any_way_to_a_browser_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[list[str]] = []

    def fail(command: list[str], env: dict[str, str] | None = None) -> bool:
        tried.append(command)
        return False

    monkeypatch.setattr(browser, "find_browser", lambda: None)
    monkeypatch.setattr(browser, "_can_apt", lambda: True)
    monkeypatch.setattr(browser, "_done", fail)
    assert browser.main() == 1
    assert [command[:2] for command in tried] == [
        ["apt-get", "update"],
        [sys.executable, "-m"],
    ]
    assert "Install one, or set ROTELAB_BROWSER" in capsys.readouterr().err


def test_the_tour_shows_every_tab_and_is_up_to_date():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from make_screenshots import TABS, tour
    finally:
        sys.path.pop(0)
    page = (ROOT / "rotelab" / "ui" / "app.py").read_text(encoding="utf-8")
    labels = re.findall(r'gr\.Tab\(\s*_\("(?:\d )?([^"]+)"', page)
    assert [tab.label for tab in TABS] == labels
    written = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    assert written == tour(), "python docs/make_screenshots.py --tour"
    pictures = re.findall(r"\]\((images/[^)#]+)", written)
    assert len(pictures) == 2 * sum(1 + len(tab.more) for tab in TABS)
    for picture in pictures:
        assert (ROOT / "docs" / picture).is_file(), picture
