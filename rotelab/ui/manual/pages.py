"""The documentation as the lab shows it: a page of `docs/` as HTML, without a network.

The pages are written for MkDocs (mkdocs.yml). What they use of it beside Markdown is done here:
quoted parts of other files, parts that the code fills in, a picture for light and one for dark.
What only MkDocs can make (the reference of commands and of Python) is said to be elsewhere.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from pathlib import Path

from markdown_it import MarkdownIt

from rotelab.storage import ASSETS, DOCS
from rotelab.ui.manual import parts

STYLE_SHEET = ASSETS / "manual.css"

PARTS = {
    "tables": parts.tables, "tutorial": parts.tutorial, "modules": parts.modules,
    "options": parts.options, "columns": parts.columns, "recipes": parts.recipes,
    "experiments": parts.experiments, "experiment": parts.experiment,
}  # fmt: skip
COMMANDS = (
    "`python -m rotelab --help` lists all commands, `python -m rotelab COMMAND --help` what one "
    "takes."
)
IN_PYTHON = "`help({name})`, in Python after `import rotelab`, says what it offers."

NAVIGATION = {
    "Guide": (
        "guide/index.md", "tour.md", "guide/facts.md", "guide/training.md", "guide/chat.md",
        "guide/inside.md", "guide/runs.md", "guide/experiments.md", "guide/sweeps.md",
        "guide/models.md", "guide/sharing.md", "guide/proxy.md", "guide/container.md",
        "guide/cluster.md", "guide/machines.md", "tutorial.md",
    ),
    "Background": ("method.md", "results/index.md", "log/index.md", "architecture.md"),
    "Reference": ("command-line.md", "options.md", "python.md", "database.md", "changelog.md"),
}  # fmt: skip

_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_QUOTE = re.compile(r'^--8<-- "([\w./-]+?)(?::(\w+))?"$', re.MULTILINE)
_SECTION_MARK = re.compile(r"^<!-- --8<-- \[(?:start|end):\w+\] -->\n?", re.MULTILINE)
_GENERATED = re.compile(r"^<!-- generated: (\w+)(?: ([\w-]+))? -->$", re.MULTILINE)
_REFERENCE = re.compile(r"^::: ([\w.]+)\n(?:    .*\n)*", re.MULTILINE)
_NOTE = re.compile(r'^!!! \w+ "(.+)"\n((?:\n|    .*\n)+)', re.MULTILINE)
_DIV = re.compile(r"^<div([^>]*?) markdown>$", re.MULTILINE)
_DIV_END = re.compile(r"^</div>$", re.MULTILINE)
_SPREAD = re.compile(r"(?<=\d) ([±/]) (?=\d)")


@functools.lru_cache(maxsize=128)
def page(path: str) -> str:
    """A page as a whole HTML document; its links are relative, so it may lie under any address.

    Args:
        path: such as `guide/facts.md`, one of `paths()`.

    Raises:
        FileNotFoundError: there is no such page, or it quotes a file that is not there.
    """
    body = _SPREAD.sub("\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", _rendered(markdown(path)))
    up = "../" * path.count("/")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title(path))} · rotelab</title>"
        f"<style>{STYLE_SHEET.read_text(encoding='utf-8')}</style></head><body>"
        f'<header><a class="lab" href="{up}../">rotelab</a> '
        f'<a href="{up}index.md">Documentation</a></header>'
        f'<div class="sides"><nav aria-label="Documentation">{_navigation(path, up)}</nav>'
        f"<main>{body}</main></div></body></html>"
    )


@functools.cache
def paths() -> frozenset[str]:
    """Every page, as a path below the documentation's folder; none where it is not installed."""
    return frozenset(file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md"))


@functools.cache
def title(path: str) -> str:
    """A page's first heading; of one that is all quoted, its file's name."""
    found = re.search(r"^# (.+)$", markdown(path), re.MULTILINE)
    return re.sub(r"[`*]", "", found[1]) if found else Path(path).stem.replace("-", " ").title()


@functools.lru_cache(maxsize=128)
def markdown(path: str) -> str:
    """A page's text with everything in it that it quotes or that the code fills in.

    Raises:
        FileNotFoundError: there is no such page, or it quotes a file that is not there.
        KeyError: it asks for a part that there is not.
    """
    if path not in paths():
        raise FileNotFoundError(path)
    text = _FRONT.sub("", (DOCS / path).read_text(encoding="utf-8"))
    text = _QUOTE.sub(lambda found: _quoted(found[1], found[2]), text)
    text = _GENERATED.sub(lambda found: _generated(found[1], found[2]), text)
    text = _REFERENCE.sub(lambda f: f"**`{f[1]}`** – {IN_PYTHON.format(name=f[1])}\n", text)
    text = _NOTE.sub(lambda found: _note(found[1], found[2]), text)
    return _DIV_END.sub("\n</div>\n", _DIV.sub(r"<div\1>\n", text))


def _quoted(file: str, section: str | None) -> str:
    """A file beside the documentation's folder, or the part of it between two marks."""
    text = (DOCS.parent / file).read_text(encoding="utf-8")
    if section:
        text = text.split(f"[start:{section}] -->\n", 1)[1]
        text = text.split(f"<!-- --8<-- [end:{section}]", 1)[0]
    return _SECTION_MARK.sub("", text).strip()


def _note(heading: str, text: str) -> str:
    """A note in a frame, as a quotation."""
    lines = (f"> {line[4:]}".rstrip() for line in text.strip("\n").split("\n"))
    return "\n".join([f"> **{heading}**", ">", *lines]) + "\n\n"


def _generated(part: str, name: str | None) -> str:
    if part == "commands":
        return COMMANDS
    if part == "log":
        return _log()
    return PARTS[part](name) if name else PARTS[part]()


def _log() -> str:
    """The pages of the log: what was asked, and the answer, which each begins with."""
    rows = []
    for path in sorted(path for path in paths() if path.startswith("log/")):
        if path != "log/index.md":
            heading, answer, *_rest = (DOCS / path).read_text(encoding="utf-8").split("\n\n")
            name = path.removeprefix("log/")
            rows.append((f"[{heading.removeprefix('# ')}]({name})", answer))
    return parts.table(("question", "answer"), rows)


def _rendered(text: str) -> str:
    """Markdown as HTML, every heading with an id as MkDocs gives it, tables able to scroll."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = reader.parse(text)
    met: dict[str, int] = {}
    for here, inside in zip(tokens, tokens[1:], strict=False):
        if here.type == "heading_open":
            words = "".join(c.content for c in inside.children or () if c.type != "html_inline")
            name = _slug(words)
            met[name] = met.get(name, -1) + 1
            here.attrSet("id", f"{name}_{met[name]}" if met[name] else name)
    made = reader.renderer.render(tokens, reader.options, {})
    made = made.replace("<table>", '<div class="table" tabindex="0"><table>')
    return made.replace("</table>", "</table></div>")


def _slug(words: str) -> str:
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def _navigation(path: str, up: str) -> str:
    """Links to the main pages; the one that is open is marked."""
    lists = []
    for heading, listed in NAVIGATION.items():
        items = "".join(
            f'<li><a href="{up}{to}"{" aria-current=page" if to == path else ""}>'
            f"{html.escape(title(to))}</a></li>"
            for to in listed
        )
        lists.append(f"<b>{heading}</b><ul>{items}</ul>")
    return "".join(lists)
