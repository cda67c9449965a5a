"""Chat's look-up among memorised states: how it is chosen, and what is said of it."""

from __future__ import annotations

import gradio as gr

from rotelab.ui.components import escape
from rotelab.ui.i18n import N_, _

SHARES = (0.2, 0.5, 0.8, 1.0)
"""How much the nearest facts may count, lambda; the authors' code has 0.2."""

ON = N_(
    "the first word piece is chosen with the 16 facts whose key token's state lies nearest to the "
    "question's; they count {share}. The rest is the model's own. It looks up the subject, "
    "whatever is asked: try an unrelated question too."
)


def build_look_up() -> gr.Dropdown:
    """The choice of how much a look-up counts, or of none."""
    words = [(_("{share} the nearest facts").format(share=f"{s:.0%}"), s) for s in SHARES]
    return gr.Dropdown(
        [(_("look nothing up"), 0.0), *words], value=0.0,
        label=_("Look up among memorised states (RetroPrompt)"),
        info=_(
            "The facts nearest to the question vote for the first word piece. Does the untouched "
            "model answer now?"
        ),
        elem_id="chat-look-up",
    )  # fmt: skip


def look_up_line(share: float) -> str:
    """What stands above the answers while facts are looked up; empty if none are."""
    if not share:
        return ""
    words = escape(_(ON).format(share=f"{share:.0%}"))
    return f'<p class="asked-line" id="chat-looked-up"><span>RetroPrompt</span> {words}</p>'
