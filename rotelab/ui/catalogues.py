"""Brings the catalogues of translations up to date with the code.

    python -m rotelab.ui.catalogues

Run it after a message was added or changed. It reads every message of `rotelab/` and writes each
`locale/<language>/LC_MESSAGES/rotelab.po` anew: a new message comes without a translation (which
shows English until somebody writes one), one that is gone from the code goes. Then fill in what is
empty, by hand or with any editor of .po files; the tests fail while any message is. A language more
is a line in `i18n.LANGUAGES`.

Messages are found in the syntax tree. Babel's own extraction reads tokens, and before Python 3.12
an f-string is a single one: `f"<h3>{_('Time')}</h3>"` would be missed.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from rotelab.config import run_config
from rotelab.config.recipes import RECIPES
from rotelab.ui.i18n import DOMAIN, FOLDER, LANGUAGES

SOURCES = Path(__file__).resolve().parents[1]
CALLS = {"_": (0,), "N_": (0,), "gettext": (0,), "DisplayName": (0, 1, 2), "Verdict": (1,),
         "Lack": (1,)}  # fmt: skip
"""The calls that hold messages, and which arguments they are. `config`, `evaluation` and `facts`
know nothing of translations, but the page shows the names of the first and the reasons of the
others."""

HEADER = """\
# {name} translation of rotelab's page.
# Written without a native speaker; corrections are welcome.
"""

Message = str | tuple[str, str]
"""A message, or its forms for one and for many."""


def messages() -> Catalog:
    """Every message of the page, with the files that it stands in."""
    found = Catalog()
    for path, message in [*_written(), *_declared()]:
        found.add(message, locations=[(path, 0)])
    return found


def _written() -> Iterator[tuple[str, Message]]:
    """The messages that stand in a call, with their file."""
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES.parent).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                texts = [a.value if isinstance(a, ast.Constant) else None for a in node.args]
                for place in CALLS.get(node.func.id, ()):
                    if len(texts) > place and texts[place]:
                        yield name, texts[place]
                if node.func.id == "ngettext":
                    yield name, (texts[0], texts[1])


def _declared() -> Iterator[tuple[str, Message]]:
    """The messages that `config` declares: what the form says of options and recipes."""
    for part in vars(run_config).values():
        if dataclasses.is_dataclass(part):
            for option in dataclasses.fields(part):
                for text in ("label", "help"):
                    if option.metadata.get(text):
                        yield "rotelab/config/run_config.py", option.metadata[text]
    for recipe in RECIPES:
        yield "rotelab/config/recipes.py", recipe.line


def catalogue_file(language: str) -> Path:
    """The file of a language's translations."""
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(language: str) -> Catalog:
    """A language's translations as they are; empty where there is no file yet."""
    path = catalogue_file(language)
    if not path.is_file():
        return Catalog(
            language,
            domain=DOMAIN,
            project="rotelab",
            version="1",
            msgid_bugs_address="the rotelab authors",
            last_translator="the rotelab authors",
            language_team="none yet",
        )
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def update(language: str) -> int:
    """Writes a language's catalogue anew; returns how many messages lack a translation."""
    catalogue = read(language)
    catalogue.update(messages(), no_fuzzy_matching=True, update_creation_date=False)
    catalogue.header_comment = HEADER.format(name=catalogue.locale.english_name).rstrip()
    catalogue.fuzzy = False
    path = catalogue_file(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        # Line numbers would change with every run, whatever it found.
        write_po(
            file, catalogue, width=100, ignore_obsolete=True, include_lineno=False,
            sort_by_file=True,
        )  # fmt: skip
    return len(untranslated(catalogue))


def untranslated(catalogue: Catalog) -> list[Message]:
    """The messages that a catalogue has no translation of, or not in every plural form."""
    return [m.id for m in catalogue if m.id and not all(_forms(m))]


def _forms(message: Message) -> tuple[str, ...]:
    said = message.string or ""
    return (said,) if isinstance(said, str) else tuple(said)


def main() -> None:
    """Updates every language."""
    for language, name in LANGUAGES.items():
        if language != "en":
            print(f"{name}: {update(language)} messages without a translation")


if __name__ == "__main__":
    main()
