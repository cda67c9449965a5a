"""The page in the reader's language: English stands in the code, the others in data/page-*.json.

Gradio translates in the browser, after its locale, and one marker a text. So what the page is made
of is looked through once, when it is served; what a handler says later stays English.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import gradio as gr

LANGUAGES = ("de", "es", "zh")
FOLDER = Path(__file__).resolve().parents[1] / "data"
SLOT = re.compile(r"\{(\w+)\}")
TEXTS = ("label", "info", "placeholder")
"""What of a component is read by people, besides the value of those that only show one."""


@functools.cache
def words_of(language: str) -> dict[str, str]:
    """The translations into a language by their English; `{name}` stands for what varies."""
    return json.loads((FOLDER / f"page-{language}.json").read_text(encoding="utf-8"))


def translate(demo: gr.Blocks) -> gr.I18n:
    """Marks every text of the page that there are translations for.

    Args:
        demo: the page, complete; its components are changed.

    Returns:
        The dictionaries that the browser needs, for Gradio's `i18n`.
    """
    spoken = gr.I18n(en={}, **{language: {} for language in LANGUAGES})
    written = {out for fn in demo.fns.values() for out in fn.outputs}
    for block in demo.blocks.values():
        for name in TEXTS:
            text = getattr(block, name, None)
            if isinstance(text, str):
                marked = _marked(spoken, text, _sentence)
                if marked is not None:
                    setattr(block, name, marked)
        if isinstance(block, gr.Radio):
            block.choices = [
                (str(_marked(spoken, name, _sentence) or name), value)
                for name, value in block.choices
            ]
        # What handlers write over would change its language under the reader's eyes.
        kind = _markup if isinstance(block, gr.HTML) else _sentence
        shows = isinstance(block, gr.Button) or (
            isinstance(block, gr.HTML | gr.Markdown) and block not in written
        )
        if shows and isinstance(block.value, str):
            marked = _marked(spoken, block.value, kind)
            if marked is not None:
                block.value = str(marked)
    return spoken


def _marked(spoken: gr.I18n, text: str, kind: Callable[[str, str], str]) -> gr.I18nData | None:
    """The marker that the browser replaces by the text in its language; None without one."""
    found = {language: kind(language, text) for language in LANGUAGES}
    if all(words == text for words in found.values()):
        return None
    # Never the English itself: Gradio would look up what people typed and chose, too, and hand
    # its translation to the server.
    key = "text-" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    spoken.translations["en"][key] = text
    for language, words in found.items():
        spoken.translations[language][key] = words
    return spoken(key)


def _sentence(language: str, text: str) -> str:
    """A text that is one sentence or several of those known, whole."""
    words = words_of(language)
    if text in words:
        return words[text]
    for english, pattern in _patterns():
        found = pattern.fullmatch(text)
        if found:
            return words[english].format_map(found.groupdict())
    return text


def _markup(language: str, text: str) -> str:
    """HTML, in which what stands between two tags of ours is known."""
    for english, pattern in _patterns(every=True):

        def said(found: re.Match, english: str = english) -> str:
            groups = found.groupdict()
            before, after = groups.pop("before"), groups.pop("after")
            return before + words_of(language)[english].format_map(groups) + after

        text = re.sub(f"(?P<before>>\\s*){pattern.pattern}(?P<after>\\s*<)", said, text)
    return text


@functools.cache
def _patterns(every: bool = False) -> list[tuple[str, re.Pattern]]:
    """The English texts as patterns, the longest first; unless `every`, those with slots alone."""
    known = sorted(words_of(LANGUAGES[0]), key=len, reverse=True)
    made = []
    for english in known:
        parts = SLOT.split(english)
        if len(parts) > 1 or every:
            parts[::2] = map(re.escape, parts[::2])
            parts[1::2] = (f"(?P<{name}>[^<>]*?)" for name in parts[1::2])
            made.append((english, re.compile("".join(parts))))
    return made
