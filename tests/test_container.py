"""The container's file, by reading: no builder is needed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from support.paths import ROOT
from typer.testing import CliRunner

from rotelab.cli.main import app
from rotelab.errors import LabError
from rotelab.storage import Storage
from rotelab.ui.access import PASSWORD_VARIABLE, access

FILE, IGNORED = ROOT / "Dockerfile", ROOT / ".dockerignore"
KNOWN = (
    "ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK",
    "ENTRYPOINT", "CMD",
)  # fmt: skip


def steps(text: str) -> list[tuple[str, str]]:
    """The instructions of a container's file, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in found]


@pytest.fixture(scope="module")
def read() -> list[tuple[str, str]]:
    return steps(FILE.read_text(encoding="utf-8"))


def all_of(read, word) -> list[str]:
    return [rest for name, rest in read if name == word]


def variables(read) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in all_of(read, "ENV") for pair in shlex.split(rest))


def test_every_instruction_is_known_and_the_base_is_pinned(read):
    assert {word for word, _ in read} == set(KNOWN)
    arguments = dict(rest.split("=", 1) for rest in all_of(read, "ARG"))
    assert all_of(read, "FROM") == ["${BASE}"] and read[0][0] == "ARG"
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-[a-z-]+", arguments["BASE"])
    used = set(re.findall(r"\$\{(\w+)", " ".join(rest for _, rest in read)))
    assert used == set(arguments)


def test_what_is_copied_exists_and_is_all_that_the_page_needs(read):
    sources = [word for rest in all_of(read, "COPY") for word in rest.split()[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    assert {"requirements.txt", "app.py", "assets", "rotelab"} <= set(sources)
    # What is not named here does not even go to the builder.
    lines = IGNORED.read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*" and {line[1:] for line in lines if line[:1] == "!"} == set(sources)
    tops = {path.name for path in ROOT.iterdir()} - set(sources)
    assert not any(fnmatch(top, line[1:]) for top in tops for line in lines if line[:1] == "!")


def test_no_secret_and_no_root(read):
    text = FILE.read_text(encoding="utf-8")
    assert not re.search(rf"(?i)({PASSWORD_VARIABLE}|token|secret|_key)\s*=", text)
    order = [word for word, _ in read]
    assert all_of(read, "USER") == ["rotelab"]
    assert order.index("USER") > max(i for i, word in enumerate(order) if word in ("RUN", "COPY"))
    assert "useradd" in " ".join(all_of(read, "RUN"))


def test_everything_that_is_kept_is_in_the_volume(read, monkeypatch):
    (volume,) = all_of(read, "VOLUME")
    given = variables(read)
    for name in ("ROTELAB_HOME", "ROTELAB_CACHE", "HF_HOME"):
        assert Path(given[name]).is_relative_to(volume)
    assert f"chown rotelab:rotelab {volume}" in " ".join(all_of(read, "RUN"))
    monkeypatch.setenv("ROTELAB_HOME", given["ROTELAB_HOME"])
    assert str(Storage.from_environment().home) == volume


def test_its_command_exists_and_refuses_without_a_password(read, monkeypatch):
    (entry,), (command,) = all_of(read, "ENTRYPOINT"), all_of(read, "CMD")
    words = [*_list(entry), *_list(command)]
    assert words[:3] == ["python", "-m", "rotelab"]
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    ended = CliRunner().invoke(app, words[3:])
    assert isinstance(ended.exception, LabError) and PASSWORD_VARIABLE in str(ended.exception)
    monkeypatch.setenv(PASSWORD_VARIABLE, "correct horse battery")
    assert "127.0.0.1" in access(words[words.index("--host") + 1]).names


def test_the_page_starts_from_what_is_copied_alone(read, tmp_path):
    """The copied files in an empty folder, and the container's own command."""
    for rest in all_of(read, "COPY"):
        for source in rest.split()[:-1]:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, tmp_path / source)
    code = "import rotelab.ui.app, rotelab.storage as s; print(s.ASSETS.is_dir())"
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert said.stdout.strip() == "True", said.stderr


def test_the_pinned_torch_is_found(read):
    (install,) = (rest for rest in all_of(read, "RUN") if "pip" in rest)
    pattern = re.search(r"grep '([^']+)' requirements\.txt", install).group(1)
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if re.match(pattern, line)]) == 1


def test_the_check_of_its_health_asks_the_page(read):
    (check,) = all_of(read, "HEALTHCHECK")
    (port,) = all_of(read, "EXPOSE")
    program = _list(check[check.index("[") :])
    assert program[:2] == ["python", "-c"] and f"127.0.0.1:{port}/" in program[2]
    compile(program[2], "health", "exec")


def test_the_guide_has_the_commands(read):
    guide = (ROOT / "docs" / "guide" / "container.md").read_text(encoding="utf-8")
    (port,), (volume,) = all_of(read, "EXPOSE"), all_of(read, "VOLUME")
    assert f"-p 127.0.0.1:{port}:{port}" in guide and f"-v rotelab:{volume}" in guide
    for argument in re.findall(r"--build-arg (\w+)=", guide):
        assert any(rest.startswith(f"{argument}=") for rest in all_of(read, "ARG"))


def _list(text: str) -> list[str]:
    import json

    return json.loads(text[text.index("[") :].removeprefix("CMD").strip())
