"""One page in several languages: Gradio lays it out once, here it is laid out once a language.

What a browser builds the page from (Gradio calls it `config`) is made when the lab starts, for
every language, and kept. A request is answered with that of its reader. The languages differ in
their texts alone, so events and sessions know nothing of them: one set of handlers serves all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.context import Context
from starlette.requests import Request

from rotelab.ui.i18n import LANGUAGES, asked_for, language, speaking

PAGE = ("/", "/config")
"""The addresses at which Gradio serves `config`, inside the page and by itself."""


class TranslatedPage(gr.Blocks):
    """Blocks whose `config` is in the language that is spoken now, as far as it was translated."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.translated: dict[str, list[dict[str, Any]]] = {}
        """The components of `config`, by language; the page's own are English."""
        super().__init__(*args, **kwargs)

    @property
    def config(self) -> Any:
        """What a browser builds the page from."""
        components = self.translated.get(language())
        return self._config | {"components": components} if components else self._config

    @config.setter
    def config(self, value: Any) -> None:
        self._config = value


def in_every_language(build: Callable[[], TranslatedPage]) -> TranslatedPage:
    """A page that answers every reader in their language.

    All are built before anybody is served: Gradio counts the components of the whole process in
    one place, and a handler that made one meanwhile would come in between.

    Args:
        build: lays the page out in the language that is spoken.

    Raises:
        ValueError: the layout is not the same in every language.
    """
    pages = {}
    for code in LANGUAGES:
        Context.id = 0  # so that a part has the same number in every language
        with speaking(code):
            pages[code] = build()
    served = pages.pop("en")
    for code, page in pages.items():
        components = page.config["components"]
        if _parts(components) != _parts(served.config["components"]):
            raise ValueError(f"The page is laid out otherwise in {LANGUAGES[code]}.")
        served.translated[code] = components
    return served


def _parts(components: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(part["id"], part["type"]) for part in components]


class SpeaksToReader:
    """Has the page itself made in the language that its request asks for.

    Handlers look for themselves (`i18n.language`): Gradio calls them outside of any request.

    Args:
        app: the ASGI app behind it.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Passes a request on."""
        if scope["type"] != "http" or scope["path"] not in PAGE:
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        with speaking(asked_for(request.headers, request.cookies)):
            await self.app(scope, receive, send)


def language_script() -> str:
    """Tells the browser the page's language, so that screen readers pronounce it right and Gradio
    words its own few texts (such as “Drop File Here”) alike. JavaScript."""
    code = language()
    return (
        f'document.documentElement.lang = "{code}";'
        f'Object.defineProperty(navigator, "language", {{get: () => "{code}"}});'
        f'Object.defineProperty(navigator, "languages", {{get: () => ["{code}"]}});'
    )
