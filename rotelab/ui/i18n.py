"""The page in the reader's language: English stands in the code, the others in data/*.json.

Gradio translates in the browser, after its locale, and one marker a text. So what the page is made
of is looked through once, when it is served (`page-*.json`). What a handler says later it can't
translate: markup that a handler made is looked through here, sentence by sentence, when the browser
that asked says that it reads another language (`spoken-*.json`). Errors, tables and figures stay
English, and so does whatever people or models wrote.
"""

from __future__ import annotations

import functools
import hashlib
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import LocalContext

LANGUAGES = ("de", "es", "zh")
FOLDER = Path(__file__).resolve().parents[1] / "data"
SLOT = re.compile(r"\{(\w+)\}")
COUNTS, NUMBER = "nmkp", r"[\d.,]+(?: ?%)?"
"""Slots of these names are numbers."""
LONG = 40
"""Texts that are longer, and just what a handler says, are nobody's own words."""
TEXTS = ("label", "info", "placeholder")
"""What of a component is read by people, besides the value of those that only show one."""
SEGMENT = re.compile(r"(?<=>)[^<>]*[^\W\d_][^<>]*(?=<)")
"""What stands between two tags, and has a letter."""
JOINS = re.compile(r"( · |(?<=[.!?…]) )")
"""Where several sentences stand in one segment."""


@functools.cache
def words_of(language: str, kind: str = "page") -> dict[str, str]:
    """The translations into a language by their English; `{name}` stands for what varies.

    Args:
        language: one of `LANGUAGES`.
        kind: `page`, what the page is made of, or `spoken`, what handlers say.
    """
    return json.loads((FOLDER / f"{kind}-{language}.json").read_text(encoding="utf-8"))


def reader() -> str:
    """Which of `LANGUAGES` the browser reads that a handler is at work for; empty for English, for
    any other, and outside of a handler."""
    request = LocalContext.request.get(None)
    wanted = request.headers.get("accept-language", "") if request else ""
    for tag in wanted.split(","):
        language = tag.split(";")[0].split("-")[0].strip().lower()
        if language in LANGUAGES or language == "en":
            return language if language in LANGUAGES else ""
    return ""


def said(result: Any, language: str | None = None) -> Any:
    """What a handler gives to the page, its markup and buttons in the reader's language.

    Args:
        result: a value, an update of a component, or a list of them.
        language: of the reader; by default as the browser says it.
    """
    language = reader() if language is None else language
    if not language:
        return result
    if isinstance(result, list | tuple):
        return type(result)(_said_one(value, language) for value in result)
    return _said_one(result, language)


def _said_one(value: Any, language: str) -> Any:
    if isinstance(value, str):
        whole = _all_words(language).get(value, value) if len(value) > LONG else value
        return _spoken(language, whole)
    if isinstance(value, gr.HTML | gr.Button):
        given = value.constructor_args
        text = given.get("value")
        if isinstance(text, str):
            # As it stands only: a button may hold a question that somebody wrote.
            words = _all_words(language).get(text, text)
            return type(value)(**{**given, "value": _spoken(language, words)})
    return value


def _spoken(language: str, page: str) -> str:
    """Markup, in which what is known between two tags is translated."""
    if not page.startswith("<"):
        return page
    return SEGMENT.sub(lambda found: _segment(language, found[0]), page)


@functools.lru_cache(maxsize=4096)
def _segment(language: str, text: str) -> str:
    bare = text.strip()
    plain = html.unescape(bare)
    words = _all_words(language).get(plain)
    if words is None:  # sentence by sentence, lest what varies be taken for several of them
        parts = JOINS.split(plain)
        parts[::2] = (_words(language, part) for part in parts[::2])
        words = "".join(parts)
    if words == plain:
        words = _words(language, plain)
    return text if words == plain else text.replace(bare, html.escape(words), 1)


def _words(language: str, text: str) -> str:
    # What varies may be words of ours: the name of a phase, how many.
    return _known(
        text, _all_words(language), _spoken_patterns(), lambda part: _words(language, part)
    )


@functools.cache
def _all_words(language: str) -> dict[str, str]:
    """Of the page's own words only those that nobody's fact or name is likely to be."""
    page = {text: words for text, words in words_of(language).items() if " " in text}
    return page | words_of(language, "spoken")


@functools.cache
def _spoken_patterns() -> list[tuple[str, re.Pattern]]:
    return _compiled(_all_words(LANGUAGES[0]))


def translate(demo: gr.Blocks) -> gr.I18n:
    """Marks every text of the page that there are translations for.

    Args:
        demo: the page, complete; its components are changed.

    Returns:
        The dictionaries that the browser needs, for Gradio's `i18n`.
    """
    spoken = gr.I18n(en={}, **{language: {} for language in LANGUAGES})
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
        kind = _all_markup if isinstance(block, gr.HTML) else _sentence_or_spoken
        shows = isinstance(block, gr.Button | gr.HTML | gr.Markdown)
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
    return _known(text, words_of(language), _patterns())


def _known(
    text: str,
    words: dict[str, str],
    patterns: list[tuple[str, re.Pattern]],
    say: Callable[[str], str] = str,
) -> str:
    """The translation of a text as it stands, or as one of the patterns; else the text itself.

    Args:
        text: English.
        words: translations by their English.
        patterns: of those that have slots.
        say: puts what stands in a slot.
    """
    if text in words:
        return words[text]
    for english, pattern in patterns:
        found = pattern.fullmatch(text)
        if found:
            return words[english].format_map({k: say(v) for k, v in found.groupdict().items()})
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


def _sentence_or_spoken(language: str, text: str) -> str:
    return words_of(language, "spoken").get(text) or _sentence(language, text)


def _all_markup(language: str, text: str) -> str:
    return _spoken(language, _markup(language, text))


@functools.cache
def _patterns(every: bool = False) -> list[tuple[str, re.Pattern]]:
    """The page's English texts as patterns; unless `every`, those with slots alone."""
    return _compiled(words_of(LANGUAGES[0]), every)


def _compiled(known: dict[str, str], every: bool = False) -> list[tuple[str, re.Pattern]]:
    """English texts as patterns, the longest first."""
    made = []
    for english in sorted(known, key=len, reverse=True):
        parts = SLOT.split(english)
        if len(parts) > 1 or every:
            parts[::2] = map(re.escape, parts[::2])
            parts[1::2] = (
                f"(?P<{name}>{NUMBER if name in COUNTS else '[^<>]*?'})" for name in parts[1::2]
            )
            made.append((english, re.compile("".join(parts))))
    return made
