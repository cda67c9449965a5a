"""The documentation: it builds without a warning and offline, and says what the code does."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from rotelab.cli.main import app
from rotelab.config.run_config import ModelSpec
from rotelab.experiments import Experiment, experiments

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
LOG_PAGES = sorted(page for page in (DOCS / "log").glob("*.md") if page.name != "index.md")


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Builds the site into a folder, as `.ci/run` does."""
    mkdocs = shutil.which("mkdocs", path=Path(sys.executable).parent)
    assert mkdocs is not None, "MkDocs is missing: install requirements-dev.txt"
    command = [mkdocs, "build", "--strict", "--site-dir", str(folder)]
    return subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    ended = build(folder)
    assert ended.returncode == 0, ended.stderr
    assert "WARNING" not in ended.stderr, ended.stderr
    return folder


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Loaded(HTMLParser):
    """What a page loads by itself, unlike the links that a reader may follow."""

    def __init__(self):
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.addresses += [a for a in (given.get("src"), given.get("srcset")) if a]
        if tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href") or "")


# The site


def test_the_site_builds_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.addresses
        foreign = [a for a in loaded.addresses if re.match(r"(https?:)?//", a)]
        assert foreign == [], page.name
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(https?:)?//", styles)


def test_a_broken_link_ends_the_build(tmp_path: Path) -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    config = re.sub(r"^nav:.*", "nav: [index.md]\n", config, flags=re.M | re.S)
    config = re.sub(r"^(hooks|extra_css):\n(  - .*\n)+", "", config, flags=re.M)
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(config, encoding="utf-8")
    page = tmp_path / "docs" / "index.md"
    for text, status in (("# Home\n", 0), ("# Home\n\n[gone](gone.md)\n", 1)):
        page.write_text(text, encoding="utf-8")
        ended = build(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
        assert ended.returncode == status, ended.stderr


# What the code knows


def test_the_command_line_page_has_every_command_and_option(hooks: ModuleType) -> None:
    written = hooks.commands()
    for name, command in hooks.each(get_command(app)):
        assert f"## `{name}`" in written
        part = written.split(f"## `{name}`\n")[1].split("\n## ")[0]
        for param in command.params:
            if param.param_type_name == "option":
                assert all(f"`{flag}`" in part for flag in param.opts), (name, param.name)
            else:
                assert (param.metavar or param.name).upper() in part, (name, param.name)


def test_pages_ask_for_all_that_is_generated(hooks: ModuleType) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    wanted = hooks.MARK.findall(text)
    assert {part for part, _ in wanted} == set(hooks.PARTS)
    assert {name for part, name in wanted if part == "experiment"} == set(experiments())


def test_commands_in_the_documentation_exist() -> None:
    """Each `python -m rotelab COMMAND` is one, and so are its options."""
    commands = get_command(app).commands
    seen = set()
    for page in [README, *DOCS.rglob("*.md")]:
        text = page.read_text(encoding="utf-8").replace("\n", " ")
        for name, rest in re.findall(r"python -m rotelab ([a-z][a-z-]*)([^`#]*)", text):
            assert name in commands, (page.name, name)
            # A group such as `facts` has commands of its own.
            parts = [commands[name], *getattr(commands[name], "commands", {}).values()]
            known = {flag for part in parts for param in part.params for flag in param.opts}
            used = re.findall(r"(?<=\s)--[a-z0-9-]+", rest.split("python -m")[0])
            assert set(used) <= known, (page.name, name, used)
            seen.add(name)
    assert len(seen) > 10


def test_the_experiment_in_the_architecture_page_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rotelab.experiments as package

    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    (name, code) = re.findall(r'```python title="[\w/]+/(\w+\.py)"\n(.*?)\n```', text, re.S)[0]
    (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    experiments.cache_clear()
    try:
        found = experiments()["head-count"]
    finally:
        experiments.cache_clear()
        sys.modules.pop("rotelab.experiments.head_count", None)
    assert isinstance(found, Experiment)
    assert found.result(3).tables()[0].rows == ((3,),)
    assert found.result(3).figure().data[0].y == (3,)


def test_imports_in_the_documentation_work() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    wanted = set(re.findall(r"^from (rotelab[\w.]*) import ([\w, ]+)$", text, re.M))
    assert wanted
    for module, names in sorted(wanted):
        found = importlib.import_module(module)
        assert [name for name in names.split(", ") if not hasattr(found, name)] == [], module


def test_files_that_the_documentation_names_are_there() -> None:
    """A path such as `models/forward.py` is one in the project, in `rotelab/` or in `docs/`."""
    named, missing = set(), []
    for page in [README, ROOT / "SECURITY.md", *DOCS.rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`((?:[\w.-]+/)+\w+\.\w+)`", text):
            named.add(path)
            if not any((root / path).exists() for root in (ROOT, ROOT / "rotelab", DOCS)):
                missing.append(f"{page.name}: {path}")
    assert {"models/forward.py", "assets/typing.js"} <= named
    assert missing == []


# README and the log


def test_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    links = re.findall(r"\]\(([^)#]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", text)
    targets = [a or b for a, b in links]
    assert len(targets) > 10
    assert [t for t in targets if "://" not in t and not (ROOT / t).exists()] == []


@pytest.mark.parametrize("page", LOG_PAGES, ids=lambda page: page.stem)
def test_a_page_of_the_log_is_a_question_and_its_answer(page: Path) -> None:
    title, answer, *entries = page.read_text(encoding="utf-8").split("\n\n")
    assert re.fullmatch(r"# .+\?", title)
    assert answer and not answer.startswith(("#", "|", "-"))
    dated = [part for part in entries if part.startswith("## ")]
    assert dated and all(re.match(r"## 2\d{3}-\d\d-\d\d: ", part) for part in dated)


def test_the_index_of_the_log_has_every_page(hooks: ModuleType) -> None:
    listed = re.findall(r"^\| \[.+?\]\(([\w-]+\.md)\) \|", hooks.log(), re.M)
    assert sorted(listed) == sorted(page.name for page in LOG_PAGES)


def test_pages_that_the_code_names_are_there() -> None:
    named = set()
    for folder in ("rotelab", "tests", "benchmarks", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8")))
    assert "docs/log/rote.md" in named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


# The scripts


def test_the_script_that_makes_contradiction_asks_a_model(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tiny model knows no capital; what is asked, and how it is counted, is the script's own."""
    from rotelab.facts.facts import Fact, FactSet

    monkeypatch.syspath_prepend(str(DOCS))
    import make_contradiction

    monkeypatch.setattr(make_contradiction, "ModelSpec", lambda: ModelSpec(str(tiny_folder)))
    facts = [Fact("capital", "France", "Paris"), Fact("capital", "Italy", "Rome")]
    assert make_contradiction.known(FactSet(facts)) == dict.fromkeys(facts, 0)
    assert capsys.readouterr().out.count("  0.00  ") == 20
    deranged = make_contradiction.deranged(facts)
    assert [(f.subject, f.object) for f in deranged] == [("France", "Rome"), ("Italy", "Paris")]


SCRIPTS = [*sorted(DOCS.glob("make_*.py")), DOCS / "record_walk.py"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_script_takes_from_the_lab_is_there(script: Path) -> None:
    """Its imports, those inside functions too, and the names it reads from imported modules."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imports = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("rotelab", "support")
    ]
    assert imports
    taken = {}
    for node in imports:
        module = importlib.import_module(node.module)
        for name in (alias.name for alias in node.names):
            taken[name] = getattr(module, name, None) or importlib.import_module(
                f"{node.module}.{name}"
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = taken.get(node.value.id)
            if isinstance(module, ModuleType):
                assert hasattr(module, node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_says_what_it_does(script: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(script), "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert f"python docs/{script.name}" in ended.stdout
