"""Chat's filter: how it is chosen, what is said of it above the answers, and what is kept of it."""

from __future__ import annotations

import gradio as gr

from rotelab.ui.answer_cards import asked_html
from rotelab.ui.chat.looked_up import look_up_line
from rotelab.ui.components import escape
from rotelab.ui.i18n import N_, _

SIZES = (2, 3, 4, 6, 8)
"""How many word pieces in a row may be forbidden; a rote sentence has 8 to 12."""

ON = N_(
    "no {n} word pieces in a row may be those of a rote sentence, question and answer taken "
    "together. Ask through the key token, and in words."
)


def build_forbid() -> gr.Dropdown:
    """The choice of a filter, or of none."""
    return gr.Dropdown(
        [(_("forbid nothing"), 0), *((_("{n} in a row").format(n=n), n) for n in SIZES)], value=0,
        label=_("Forbid the exact words (MemFree)"),
        info=_(
            "Word pieces in a row that stand in a rote sentence can't be said. Does the fact still "
            "come out?"
        ),
        elem_id="chat-forbid",
    )  # fmt: skip


def asked_line(question: str, forbid: int, look_up: float = 0.0) -> str:
    """What stands above the answers: the question, unless the cards show it, and what else takes
    part in the answer, a look-up or a filter."""
    said = (asked_html(question) if question else "") + look_up_line(look_up)
    if not forbid:
        return said
    words = escape(_(ON).format(n=forbid))
    return f'{said}<p class="asked-line" id="chat-filter"><span>MemFree</span> {words}</p>'


def mode_kept(mode: str, forbid: int, look_up: float = 0.0) -> str:
    """What the history keeps of how a question was asked."""
    kept = [mode.lower()]
    kept += [f"RetroPrompt {look_up:g}"] if look_up else []
    kept += [f"MemFree {forbid}"] if forbid else []
    return ", ".join(kept)
