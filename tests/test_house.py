"""The house rules: short files, short functions, small packages, or a reason in the first lines."""

from __future__ import annotations

import ast
from pathlib import Path

from support.paths import ROOT

import rotelab

LINES_OF_A_FILE, LINES_OF_A_FUNCTION, FILES_OF_A_PACKAGE = 400, 60, 12
FILE_REASON, FUNCTION_REASON = "Over 400 lines because", "Over 60 lines because"

MORE_FILES = {
    "ui": "a file for each thing that all tabs share",
    "experiments": "a list, one file an experiment; it may grow",
    "registry": "a file for each family of tables, and what all of them share",
    "models": "two kinds of model, and `lab_model.py` and `key_tokens.py` that both build on",
}
"""Packages that may have more files, and why."""


def broken_rules(package: Path) -> list[str]:
    """What in a folder of modules is too long or too full without a reason."""
    found = []
    for path in sorted(package.rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(package).as_posix()
        tree = ast.parse(text)
        lines = len(text.splitlines())
        if lines > LINES_OF_A_FILE and FILE_REASON not in docstring_of(tree):
            found.append(f"{name}: {lines} lines and no sentence “{FILE_REASON} …”")
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = node.end_lineno - node.lineno + 1
            if lines > LINES_OF_A_FUNCTION and FUNCTION_REASON not in docstring_of(node):
                where = f"{name}: {node.name}"
                found.append(f"{where} has {lines} lines and no sentence “{FUNCTION_REASON} …”")
    for folder in sorted({path.parent for path in package.rglob("*.py")}):
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        name = folder.relative_to(package).as_posix()
        if len(files) > FILES_OF_A_PACKAGE and name not in MORE_FILES:
            found.append(f"{name}: {len(files)} files in one package")
    return found


def docstring_of(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The docstring on one line."""
    return " ".join((ast.get_docstring(node) or "").split())


def test_the_modules_keep_the_house_rules() -> None:
    package = Path(rotelab.__file__).parent
    assert package == ROOT / "rotelab"
    assert broken_rules(package) == []


def test_a_long_file_needs_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    file.write_text('"""What it does."""\n' + "x = 1\n" * 399, encoding="utf-8")
    assert broken_rules(tmp_path) == []
    file.write_text('"""What it does."""\n' + "x = 1\n" * 400, encoding="utf-8")
    assert broken_rules(tmp_path) == [f"long.py: 401 lines and no sentence “{FILE_REASON} …”"]
    file.write_text(f'"""{FILE_REASON} of x."""\n' + "x = 1\n" * 400, encoding="utf-8")
    assert broken_rules(tmp_path) == []


def test_a_long_function_needs_a_reason(tmp_path: Path) -> None:
    def function(docstring: str, lines: int) -> str:
        return f'def f():\n    """{docstring}"""\n' + "    x = 1\n" * (lines - 2)

    file = tmp_path / "long.py"
    file.write_text(function("What it does.", 60), encoding="utf-8")
    assert broken_rules(tmp_path) == []
    file.write_text("async " + function("What it does.", 61), encoding="utf-8")
    (said,) = broken_rules(tmp_path)
    assert said == f"long.py: f has 61 lines and no sentence “{FUNCTION_REASON} …”"
    file.write_text(function(f"{FUNCTION_REASON} of x.", 61), encoding="utf-8")
    assert broken_rules(tmp_path) == []


def test_a_package_holds_a_dozen_files(tmp_path: Path) -> None:
    folder = tmp_path / "models_too"
    folder.mkdir()
    for name in ["__init__", *map(chr, range(ord("a"), ord("m")))]:
        (folder / f"{name}.py").write_text("", encoding="utf-8")
    assert broken_rules(tmp_path) == []
    (folder / "m.py").write_text("", encoding="utf-8")
    assert broken_rules(tmp_path) == ["models_too: 13 files in one package"]


def test_no_test_asserts_a_time() -> None:
    """On a busy machine it would fail for no fault; `support.counting` counts the work instead."""
    clocks = ("process_time", "perf_counter", "default_timer")
    for path in sorted((ROOT / "tests").rglob("*.py")):
        used = {
            n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)
        }
        assert not used & set(clocks), path.name
