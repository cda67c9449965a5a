"""Fills the parts of the documentation that the code itself knows: commands, options, recipes,
experiments, modules and the index of the log. MkDocs calls it for every page (`hooks` in
mkdocs.yml), so these parts are never out of date.

A page names such a part in a line of its own: `<!-- generated: commands -->`; some parts take a
name, as `<!-- generated: experiment depth -->`.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent

SPREAD = re.compile(r"(?<=\d) ([±/]) (?=\d)")
MARK = re.compile(r"^<!-- generated: (\w+)(?: ([\w-]+))? -->$", re.MULTILINE)
PROGRAM = "python -m rotelab"


def on_config(config: Any) -> None:
    """MkDocs' event: before anything is read. Makes the package importable, which is not installed.

    Not done when this file is imported: MkDocs puts `sys.path` back after that.
    """
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """MkDocs' event: a page's HTML. Keeps `0.80 ± 0.12` on one line; marks a log page's answer."""
    if page.file.src_uri.startswith("log/") and not page.file.src_uri.endswith("index.md"):
        html = html.replace("<p>", '<p class="answer">', 1)
    return SPREAD.sub("\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", html)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs' event: a page's text, before it is rendered.

    Raises:
        KeyError: a page asks for a part that there is not.
    """
    return MARK.sub(lambda found: PARTS[found[1]](*filter(None, [found[2]])), markdown)


def commands() -> str:
    """Every command with its arguments and options, from typer."""
    from typer.main import get_command

    from rotelab.cli.main import app

    return "\n\n".join(_command(name, command) for name, command in each(get_command(app)))


def each(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every command of a group with its whole name, those of groups inside it too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from each(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def options() -> str:
    """Every option of a run, grouped as in `RunConfig`, by the dotted name that `--set` takes."""
    from rotelab.config.run_config import RunConfig

    parts = []
    for group, rows in _groups(RunConfig(), ""):
        parts += [f"## `{group}`" if group else "## The run", _table(OPTION_HEAD, rows)]
    return "\n\n".join(parts)


def recipes() -> str:
    """Every recipe, what it does, and the options in which it differs from the defaults."""
    from rotelab.config.recipes import RECIPES

    rows = []
    for recipe in RECIPES:
        changes = ", ".join(f"`{name}={value}`" for name, value in recipe.changes.items())
        rows.append((f"`{recipe.name}`", recipe.line, changes or "–"))
    return _table(("recipe", "what it does", "options that differ"), rows)


def experiments() -> str:
    """Every experiment: its name, what it asks and what it needs."""
    from rotelab.experiments import experiments as known

    rows = [(f"`{e.name}`", e.title, e.question, e.origin, e.needs) for e in known().values()]
    return _table(("name", "title", "question", "asked by", "needs"), rows)


def experiment(name: str) -> str:
    """What one experiment asks and expects, how it is read, and what the paper has to say on it."""
    from rotelab.experiments import experiment as known

    about = known(name)
    lines = [about.question, f"**Expected.** {about.hypothesis}", f"**Reading.** {about.reading}"]
    return "\n\n".join([*lines, *([f"**The paper.** {about.paper}"] if about.paper else [])])


def modules() -> str:
    """Every module of the package, by the first sentence of its docstring; nothing is imported."""
    rows = []
    for path in sorted((ROOT / "rotelab").rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if said:
            name = path.relative_to(ROOT / "rotelab").as_posix()
            first = said.split("\n\n")[0]
            rows.append((f"`{name}`", first))
    return _table(("module", "what it does"), sorted(rows, key=lambda row: _depth(row[0])))


def columns() -> str:
    """The rows of a table: what a column of facts can hold, and the names it is recognised by."""
    from rotelab.facts.reading.columns import FACT_PARTS

    rows = [(part, ", ".join(f"`{name}`" for name in names)) for part, names in FACT_PARTS.items()]
    return "\n".join(f"| {part} | {names} |" for part, names in rows)


def tables() -> str:
    """Every table of `runs.db` as its migrations make it, with a sentence for each column."""
    from rotelab.registry.table_descriptions import described_tables

    parts = []
    for table in described_tables():
        rows = [(f"`{c.name}`", c.type, c.sentence) for c in table.columns]
        head = ("column", "type", "what it holds")
        parts += [f"## `{table.name}`", table.sentence, _table(head, rows)]
    return "\n\n".join(parts)


def tutorial() -> str:
    """The cells of the tutorial notebook as a page."""
    cells = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts)


def log() -> str:
    """The pages of the log by group, as mkdocs.yml lists them: date, question and answer."""
    site = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    sections = next(part["Log"] for part in site["nav"] if "Log" in part)
    parts = []
    for section in sections[1:]:
        ((title, pages),) = section.items()
        rows = [_log_row(Path(file)) for page in pages for file in page.values()]
        parts += [f"## {title}", _table(("question", "answer", "date"), rows)]
    return "\n\n".join(parts)


PARTS = {
    "log": log,
    "tables": tables,
    "tutorial": tutorial,
    "modules": modules,
    "commands": commands,
    "options": options,
    "columns": columns,
    "recipes": recipes,
    "experiments": experiments,
    "experiment": experiment,
}
OPTION_HEAD = ("option", "default", "on the page", "what it does")


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    flags = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([PROGRAM, name, *("[OPTIONS]" if flags else "",), *map(_argument, arguments)])
    parts = [f"## `{name}`", command.help or "", f"```sh\n{' '.join(usage.split())}\n```"]
    if any(p.help for p in arguments):
        parts.append(_table(("argument", "meaning"), [(_argument(p), p.help) for p in arguments]))
    if flags:
        rows = [(_flag(p), _default(p), p.help or "") for p in flags]
        parts.append(_table(("option", "default", "meaning"), rows))
    return "\n\n".join(part for part in parts if part)


def _argument(param: Any) -> str:
    shown = (param.metavar or param.name).upper() + ("..." if param.nargs == -1 else "")
    return shown if param.required else f"[{shown}]"


def _flag(param: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in [*param.opts, *param.secondary_opts])


def _default(param: Any) -> str:
    if isinstance(param.show_default, str):
        return param.show_default
    if param.default is None or param.default == "" or param.is_bool_flag:
        return ""
    return "" if callable(param.default) else f"`{param.default}`"


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


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in lines)


def _log_row(file: Path) -> tuple[str, str, str]:
    title, answer, *rest = (ROOT / "docs" / file).read_text(encoding="utf-8").split("\n\n")
    days = [found[1] for part in rest if (found := re.match(r"## (\d{4}-\d\d-\d\d): ", part))]
    return (
        f"[{title.removeprefix('# ')}]({file.name})",
        answer,
        "".join(f'<span class="date">{day}</span> ' for day in sorted({*days})),
    )


def _depth(name: str) -> tuple[bool, str]:
    return ("/" in name, name)  # the package's own files come first


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
