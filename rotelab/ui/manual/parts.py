"""Parts of the documentation that the code itself knows: options, recipes, experiments, modules.

`docs/hooks.py` puts them into the site, `pages.py` into the pages that the lab shows.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from rotelab.storage import DOCS, PACKAGE

OPTION_HEAD = ("option", "default", "on the page", "what it does")


def options() -> str:
    """Every option of a run, grouped as in `RunConfig`, by the dotted name that `--set` takes."""
    from rotelab.config.run_config import RunConfig

    parts = []
    for group, rows in _groups(RunConfig(), ""):
        parts += [f"## `{group}`" if group else "## The run", table(OPTION_HEAD, rows)]
    return "\n\n".join(parts)


def recipes() -> str:
    """Every recipe, what it does, and the options in which it differs from the defaults."""
    from rotelab.config.recipes import RECIPES

    rows = []
    for recipe in RECIPES:
        changes = ", ".join(f"`{name}={value}`" for name, value in recipe.changes.items())
        rows.append((f"`{recipe.name}`", recipe.line, changes or "–"))
    return table(("recipe", "what it does", "options that differ"), rows)


def experiments() -> str:
    """Every experiment: its name, what it asks and what it needs."""
    from rotelab.experiments import experiments as known

    rows = [(f"`{e.name}`", e.title, e.question, e.origin, e.needs) for e in known().values()]
    return table(("name", "title", "question", "asked by", "needs"), rows)


def experiment(name: str) -> str:
    """What one experiment asks and expects, how it is read, and what the paper has to say on it."""
    from rotelab.experiments import experiment as known

    about = known(name)
    lines = [about.question, f"**Expected.** {about.hypothesis}", f"**Reading.** {about.reading}"]
    return "\n\n".join([*lines, *([f"**The paper.** {about.paper}"] if about.paper else [])])


def modules() -> str:
    """Every module of the package, by the first sentence of its docstring; nothing is imported."""
    rows = []
    for path in sorted(PACKAGE.rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if said:
            name = path.relative_to(PACKAGE).as_posix()
            first = said.split("\n\n")[0]
            rows.append((f"`{name}`", first))
    return table(("module", "what it does"), sorted(rows, key=lambda row: _depth(row[0])))


def columns() -> str:
    """The rows of a table: what a column of facts can hold, and the names it is recognised by."""
    from rotelab.facts.reading.columns import FACT_PARTS

    rows = [(part, ", ".join(f"`{name}`" for name in names)) for part, names in FACT_PARTS.items()]
    return "\n".join(f"| {part} | {names} |" for part, names in rows)


def tables() -> str:
    """Every table of `runs.db` as its migrations make it, with a sentence for each column."""
    from rotelab.registry.table_descriptions import described_tables

    parts = []
    for about in described_tables():
        rows = [(f"`{c.name}`", c.type, c.sentence) for c in about.columns]
        head = ("column", "type", "what it holds")
        parts += [f"## `{about.name}`", about.sentence, table(head, rows)]
    return "\n\n".join(parts)


def tutorial() -> str:
    """The cells of the tutorial notebook as a page."""
    cells = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts)


def _groups(config: Any, prefix: str) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    nested = [f for f in fields(config) if is_dataclass(getattr(config, f.name))]
    rows = [
        (
            f"`{prefix}{field.name}`",
            f"`{getattr(config, field.name)}`" if getattr(config, field.name) != "" else "",
            field.metadata.get("label", ""),
            field.metadata.get("help", ""),
        )
        for field in fields(config)
        if field not in nested
    ]
    yield prefix.rstrip("."), rows
    for field in nested:
        yield from _groups(getattr(config, field.name), f"{field.name}.")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in lines)


def _depth(name: str) -> tuple[bool, str]:
    return ("/" in name, name)  # the package's own files come first


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
