"""The page in the reader's language, by gettext.

English stands in the code and is the message id: `_("Run {id} has finished.").format(id=...)`.
What can't be translated where it stands, such as a constant, is marked there with `N_` and given
to `_` where it is used. The translations are `locale/<language>/LC_MESSAGES/rotelab.po`; one that
is missing shows English. `python -m rotelab.ui.catalogues` brings them up to date with the code.

The catalogues are compiled when a language is first asked for, in memory (70 ms). No binary file
is committed that could differ from its source, and a fresh clone needs no build step.

The language belongs to a request, not to the process: people read one page in several languages
at once. Errors, figures and tables of results stay English, and so does whatever people or models
wrote.
"""

from __future__ import annotations

import contextlib
import functools
import gettext
import io
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

from gradio.context import LocalContext

DOMAIN = "rotelab"
FOLDER = Path(__file__).with_name("locale")
LANGUAGES = {"en": "English", "de": "Deutsch", "es": "Español", "zh": "中文"}
"""The languages of the page, each under its own name; the first is that of the code."""
COOKIE = "rotelab_language"
"""Where a browser keeps what was chosen on the page (`assets/language.js`)."""

COMMA = ("de", "es")
"""Languages that write 3,2 and not 3.2."""

_language: ContextVar[str | None] = ContextVar("language", default=None)


def language() -> str:
    """The language to speak now: as `speaking` says, else as the browser asks that a handler is
    at work for, else English."""
    chosen = _language.get()
    if chosen is not None:
        return chosen
    request = LocalContext.request.get(None)
    return asked_for(request.headers, request.cookies) if request else "en"


def one_decimal(number: float) -> str:
    """A number with one decimal, as it is written in the language that is spoken now."""
    written = f"{number:.1f}"
    return written.replace(".", ",") if language() in COMMA else written


def asked_for(headers: Mapping[str, str], cookies: Mapping[str, str]) -> str:
    """The language that a request asks for: chosen on the page, else the browser's own.

    Args:
        headers: of the request; `accept-language` is read.
        cookies: of the request; `COOKIE` is read, and wins.
    """
    if cookies.get(COOKIE) in LANGUAGES:
        return cookies[COOKIE]
    for tag in headers.get("accept-language", "").split(","):
        name = tag.split(";")[0].split("-")[0].strip().lower()
        if name in LANGUAGES:
            return name
    return "en"


@contextlib.contextmanager
def speaking(name: str) -> Iterator[None]:
    """Has `_` and `ngettext` speak one of `LANGUAGES` inside the block."""
    before = _language.set(name)
    try:
        yield
    finally:
        _language.reset(before)


def _(message: str) -> str:
    """A message in the reader's language."""
    return catalogue(language()).gettext(message) if message else ""  # "" is gettext's header


def ngettext(one: str, many: str, count: int) -> str:
    """The form of a message that fits a number; its own `{n}`, if any, is still to be put in."""
    return catalogue(language()).ngettext(one, many, count)


def N_(message: str) -> str:
    """Marks a message that `_` translates later, where it is used."""
    return message


@functools.cache
def catalogue(name: str) -> gettext.NullTranslations:
    """The translations into one of `LANGUAGES`; for English, the messages themselves."""
    if name == "en":
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = io.BytesIO()
    with (FOLDER / name / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=name))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
