"""What all tabs share: labels of runs and checkpoints, times in words, errors as sentences."""

from __future__ import annotations

import functools
import html
import inspect
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from rotelab.config.names import Status, checkpoint_name, lesson_number
from rotelab.errors import LabError
from rotelab.registry import RunSummary
from rotelab.reports.figures.style import checkpoint_colour
from rotelab.reports.intervals import Interval
from rotelab.runs.demo import RUN_NAME
from rotelab.runs.lab import Lab
from rotelab.ui.i18n import N_, _, language, ngettext, one_decimal, speaking

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
"""An event that nobody sees: no spinner over what it fills, no entry in the page's API."""
ONCE = QUIET | {"trigger_mode": "once"}
"""The same, and dropped while the one before it is still at work."""

STATUS_WORDS: dict[Status, str] = {
    "queued": N_("waiting"),
    "running": N_("running"),
    "stopping": N_("stopping"),
    "stopped": N_("stopped"),
    "finished": N_("finished"),
    "failed": N_("failed"),
    "interrupted": N_("interrupted"),
}

ERROR_SECONDS = 20
"""How long an error stays on the page, in seconds: long enough to be read aloud."""

MAX_RUN_CHOICES = 200

RECORDED_NAME = N_("The recorded tour")
"""`RUN_NAME`, where the catalogues find it."""

LESSON_NAME = re.compile(r"Lesson (\d+): (\d+) new facts?")
"""What `lesson_name` makes."""

log = logging.getLogger("rotelab.page")


def escape(text: object) -> str:
    """Escapes a text that somebody wrote, for HTML or for Markdown that allows HTML."""
    return html.escape(str(text), quote=True)


def interval_html(
    interval: Interval | None, digits: int = 0, signed: bool = False, meaning: str = ""
) -> str:
    """An interval in percent, with what it is as a tooltip; nothing without one.

    Args:
        interval: of a share, 0 to 1, or of a difference between two.
        digits: how many decimals.
        signed: whether every end has its sign.
        meaning: the tooltip; that of a single run's figure, if empty.
    """
    if interval is None:
        return ""
    ends = ", ".join(percent_points(end, digits, signed) for end in interval)
    meaning = meaning or _(
        "95 % interval: how far the figure could be off by the luck of which facts were asked"
    )
    return f"<span class='interval' title='{escape(meaning)}'>[{ends}]</span>"


def percent_points(value: float, digits: int, signed: bool = False) -> str:
    """A share, or a difference between two, times a hundred, with a real minus."""
    number = round(100 * value, digits) + 0.0  # never -0
    return f"{number:{'+' if signed and number else ''}.{digits}f}".replace("-", "−")


def shown(handler: Callable) -> Callable:
    """Makes a handler show its errors: a `LabError` appears on the page as its own sentence.

    Any other exception goes to the log with its traceback, and the page says where the log is.
    Works for functions and for generators; the signature does not change.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def generator(*args, **kwargs):
            try:
                yield from handler(*args, **kwargs)
            except Exception as error:
                raise _for_the_page(error, handler) from None

        return generator

    @functools.wraps(handler)
    def function(*args, **kwargs):
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise _for_the_page(error, handler) from None

    return function


def bound(handler: Callable, *first: Any) -> Callable:
    """A `shown` handler with its first arguments bound, which speaks the reader's language.

    It is a real function and no `functools.partial`, because Gradio does not find `gr.Request` or
    `gr.SelectData` in the annotations of a partial.
    """
    guarded = shown(handler)
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def given(*args):
            reader, steps = language(), guarded(*first, *args)
            while True:
                # Around each step, because Gradio runs each in another thread and context.
                with speaking(reader):
                    try:
                        result = next(steps)
                    except StopIteration:
                        return
                yield result

    else:

        @functools.wraps(handler)
        def given(*args):
            with speaking(language()):
                return guarded(*first, *args)

    signature = inspect.signature(handler)
    given.__signature__ = signature.replace(
        parameters=list(signature.parameters.values())[len(first) :]
    )
    return given


def run_label(run: RunSummary) -> str:
    """One line about a run for a list of runs: its name or number, facts, status and age."""
    parts = [run_name(run), run.pack_name, status_word(run.status)]
    if run.test_accuracy is not None:
        right = f"{100 * run.test_accuracy:.0f} %"
        parts.append(_("{share} of test questions right").format(share=right))
    parts.append(ago(run.created))
    return " · ".join(parts)


def run_name(run: RunSummary) -> str:
    """A run's name if somebody gave it one, else its number; marked where it came with the lab."""
    name = given_name(run.name) or _("Run {number}").format(number=run.number)
    return _("Example: {run}").format(run=name) if run.is_example else name


def given_name(name: str) -> str:
    """A run's name; in the reader's language where the lab gave it."""
    if name == RUN_NAME:
        return _(RECORDED_NAME)
    found = LESSON_NAME.fullmatch(name)
    if not found:
        return name
    number, count = found.groups()
    words = ngettext("Lesson {n}: {count} new fact", "Lesson {n}: {count} new facts", int(count))
    return words.format(n=number, count=count)


def status_word(status: str) -> str:
    """A run's status in the reader's language."""
    return _(STATUS_WORDS.get(status, status))


def run_choices(lab: Lab) -> list[tuple[str, str]]:
    """(label, id) of the runs, newest first, for a dropdown.

    Raises:
        LabError: the registry can't be read.
    """
    return [(run_label(run), run.id) for run in lab.registry.runs(limit=MAX_RUN_CHOICES)]


def status_badge(status: str) -> str:
    """A run's status as HTML: a word in a coloured frame, so that colour never speaks alone."""
    return f'<span class="badge badge-{escape(status)}">{escape(status_word(status))}</span>'


def checkpoint_badge(checkpoint: str) -> str:
    """A checkpoint's name with its colour in front, as HTML."""
    colour, name = checkpoint_colour(checkpoint), checkpoint_words(checkpoint)
    return (
        f'<span class="checkpoint"><span class="swatch" style="background:{colour}"></span>'
        f"{name}</span>"
    )


def checkpoint_words(checkpoint: str) -> str:
    """A checkpoint's name in the reader's language."""
    if number := lesson_number(checkpoint):
        return _("Lesson {n}").format(n=number)
    return _(checkpoint_name(checkpoint).long)


def runs_ahead(lab: Lab, run: RunSummary) -> int:
    """How many runs start before one that waits in the queue; 0 for any other.

    Raises:
        LabError: the registry can't be read.
    """
    if run.status != "queued" or run.held:
        return 0
    return lab.registry.runs_before(run.id) + len(lab.registry.live_runs())


def say_taken_out(count: int) -> None:
    """Says that waiting runs of a sweep were taken out of the queue."""
    words = ngettext(
        "{n} run was taken out of the queue. One that is running goes on.",
        "{n} runs were taken out of the queue. One that is running goes on.",
        count,
    )
    gr.Info(words.format(n=count))


def note(text: str, tone: str = "") -> str:
    """A sentence in a frame, as HTML; nothing where there is no text.

    Args:
        text: plain text; it is escaped.
        tone: `good`, `warn` or `bad`, which a screen reader announces at once; or none.
    """
    if not text:
        return ""
    kind = f" note-{tone}" if tone else ""
    role = "alert" if tone == "bad" else "status"
    return f'<p class="note{kind}" role="{role}">{escape(text)}</p>'


def progress_bar(share: float, label: str) -> str:
    """A progress bar, as HTML.

    Args:
        share: how much is done, 0 to 1.
        label: its name for screen readers.
    """
    percent = f"{100 * share:.0f}"
    return (
        f"<div class='progress-bar' role='progressbar' aria-label='{escape(label)}' "
        f"aria-valuemin='0' aria-valuemax='100' aria-valuenow='{percent}'>"
        f"<div style='width:{100 * share:.1f}%'></div></div>"
    )


def sheet(headers: Sequence[str], rows: list[list[str]]) -> dict[str, list[Any]]:
    """The value of a `gr.Dataframe`, its headers in the reader's language.

    Given rows alone, Gradio sends the headers of the English page along with them.

    Args:
        headers: English messages.
        rows: as many cells each.
    """
    return {"headers": list(map(_, headers)), "data": rows}


def page_within(page: int | None, total: int, size: int) -> int:
    """The number of a page that exists: the one asked for, or the last one if that is lower.

    Args:
        page: 0-based; negative or None for the first.
        total: how many rows there are.
        size: rows on one page.
    """
    return min(max(0, int(page or 0)), max(0, (total - 1) // size))


def ago(moment: str | None, now: datetime | None = None) -> str:
    """How long ago an ISO 8601 time was: “just now”, “5 min ago”, “3 days ago”.

    Args:
        moment: the time; empty text for none.
        now: the present, for tests.
    """
    if not moment:
        return ""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return ""
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if seconds < 60:
        return _("just now")
    if seconds < 3600:
        return _("{n} min ago").format(n=int(seconds // 60))
    if seconds < 86400:
        return _("{n} h ago").format(n=int(seconds // 3600))
    days = int(seconds // 86400)
    return ngettext("{n} day ago", "{n} days ago", days).format(n=days)


def duration(seconds: float | None) -> str:
    """A length of time for a person: “8 s”, “2 min 05 s”, “1 h 03 min”; “–” where unknown."""
    if seconds is None or seconds != seconds or seconds < 0 or seconds == float("inf"):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size_words(count: int) -> str:
    """A number of bytes for a person."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{one_decimal(count / size)} {unit}"
    return f"{count} bytes"


def roughly(seconds: float | None) -> str:
    """An estimated time, rounded to what can be known: “50 s”, “4 min”, “1 h 10 min”.

    To the second it would change at every look and promise too much.
    """
    if seconds is None or not 0 <= seconds < float("inf"):
        return "–"
    if seconds < 90:
        return f"{max(10, 10 * round(seconds / 10))} s"
    minutes = round(seconds / 60) if seconds < 3300 else 10 * round(seconds / 600)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _for_the_page(error: Exception, handler: Callable) -> gr.Error:
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, LabError):
        return gr.Error(
            escape(error), duration=ERROR_SECONDS, title=_("Please check"), print_exception=False
        )
    log.error("%s failed", getattr(handler, "__qualname__", handler), exc_info=error)
    return gr.Error(
        _(
            "Something went wrong in the page itself, not in your data. The details are in {place}."
        ).format(place=escape(_log_place())),
        duration=ERROR_SECONDS,
        title=_("A fault of ours"),
        print_exception=False,
    )


def _log_place() -> str:
    files = [h.baseFilename for h in log.handlers if isinstance(h, logging.FileHandler)]
    return files[0] if files else _("the terminal in which rotelab was started")
