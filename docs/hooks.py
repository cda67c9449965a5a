"""Fills the parts of the documentation that the code itself knows: commands, options, recipes,
experiments, modules and the index of the log. MkDocs calls it for every page (`hooks` in
mkdocs.yml), so these parts are never out of date.

A page names such a part in a line of its own: `<!-- generated: commands -->`; some parts take a
name, as `<!-- generated: experiment depth -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
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


def log() -> str:
    """The pages of the log by group, as mkdocs.yml lists them: date, question and answer."""
    site = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    sections = next(part["Log"] for part in site["nav"] if "Log" in part)
    from rotelab.ui.manual.parts import table

    parts = []
    for section in sections[1:]:
        ((title, pages),) = section.items()
        rows = [_log_row(Path(file)) for page in pages for file in page.values()]
        parts += [f"## {title}", table(("question", "answer", "date"), rows)]
    return "\n\n".join(parts)


IN_THE_LAB = (
    "tables", "tutorial", "modules", "options", "columns", "recipes", "experiments", "experiment",
)  # fmt: skip
"""Parts that the lab itself fills too, where it shows these pages."""


def _of_the_lab(name: str) -> Callable[..., str]:
    """A part of `rotelab.ui.manual.parts`, which can be imported only after `on_config`."""

    def part(*names: str) -> str:
        from rotelab.ui.manual import parts

        return getattr(parts, name)(*names)

    return part


PARTS: dict[str, Callable[..., str]] = {
    "log": log,
    "commands": commands,
    **{name: _of_the_lab(name) for name in IN_THE_LAB},
}


def _command(name: str, command: Any) -> str:
    from rotelab.ui.manual.parts import table

    arguments = [p for p in command.params if p.param_type_name == "argument"]
    flags = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([PROGRAM, name, *("[OPTIONS]" if flags else "",), *map(_argument, arguments)])
    parts = [f"## `{name}`", command.help or "", f"```sh\n{' '.join(usage.split())}\n```"]
    if any(p.help for p in arguments):
        parts.append(table(("argument", "meaning"), [(_argument(p), p.help) for p in arguments]))
    if flags:
        rows = [(_flag(p), _default(p), p.help or "") for p in flags]
        parts.append(table(("option", "default", "meaning"), rows))
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


def _log_row(file: Path) -> tuple[str, str, str]:
    title, answer, *rest = (ROOT / "docs" / file).read_text(encoding="utf-8").split("\n\n")
    days = [found[1] for part in rest if (found := re.match(r"## (\d{4}-\d\d-\d\d): ", part))]
    return (
        f"[{title.removeprefix('# ')}]({file.name})",
        answer,
        "".join(f'<span class="date">{day}</span> ' for day in sorted({*days})),
    )
