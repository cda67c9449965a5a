"""An uploaded file before it is taken in: its first rows, and choosers for its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.facts.formats.encoding import ENCODINGS
from rotelab.facts.reading.columns import guess
from rotelab.facts.reading.relations import relation_of
from rotelab.ui.facts.html import PART_WORDS, note, preview_head, preview_outcome, shown_name
from rotelab.ui.facts.incoming import CHOSEN, Incoming, chosen, opened
from rotelab.ui.i18n import N_, _

FURTHER = {
    "aliases": N_("are right answers too"),
    "first": N_("are left out"),
}


@dataclass(frozen=True)
class Preview:
    """The components; `box` is everything that is shown of a file."""

    incoming: gr.State
    box: gr.Column
    head: gr.HTML
    columns: tuple[gr.Dropdown, ...]
    relation: gr.Textbox
    further: gr.Radio
    take: gr.Number
    mend: gr.Checkbox
    encoding: gr.Dropdown
    outcome: gr.HTML
    accept: gr.Button
    cancel: gr.Button

    @property
    def choices(self) -> list[Any]:
        """What `look_again` reads: the file, then everything that is chosen."""
        return [
            self.incoming, *self.columns, self.relation, self.further, self.take, self.mend,
            self.encoding,
        ]  # fmt: skip

    @property
    def shown(self) -> list[Any]:
        """What `render_preview` fills, in its order."""
        return [
            self.incoming, self.box, self.head, *self.columns, self.relation, self.further,
            self.take, self.mend, self.encoding, self.outcome, self.accept,
        ]  # fmt: skip


def build_preview() -> Preview:
    """Lays it out, hidden until a file is chosen."""
    with gr.Column(visible=False, elem_id="facts-preview") as box:
        head = gr.HTML(padding=False)
        with gr.Row():
            columns = tuple(
                gr.Dropdown([], label=_(PART_WORDS[part]), min_width=130, elem_id=f"preview-{part}")
                for part in CHOSEN
            )
        with gr.Row():
            relation = gr.Textbox(
                label=_("Relation of all these facts"), max_lines=1, min_width=180,
                elem_id="preview-name",
            )  # fmt: skip
            encoding = gr.Dropdown(
                list(ENCODINGS), label=_("Encoding"), min_width=180, elem_id="preview-encoding",
                allow_custom_value=True,
            )  # fmt: skip
            further = gr.Radio(
                [(_(words), value) for value, words in FURTHER.items()], value="aliases",
                label=_("Further objects of a subject"), min_width=260, elem_id="preview-further",
            )  # fmt: skip
            take = gr.Number(
                0, label=_("Facts of each relation, at most"), precision=0, minimum=0,
                min_width=150, info=_("0: all of them"), elem_id="preview-take",
            )  # fmt: skip
            mend = gr.Checkbox(
                label=_("Mend damaged cells"), min_width=260, elem_id="preview-mend",
                info=_("Letters read in a wrong encoding, line breaks inside a cell"),
            )  # fmt: skip
        outcome = gr.HTML(padding=False, elem_id="preview-outcome")
        with gr.Row():
            accept = gr.Button(
                _("Put it into the table"), variant="primary", elem_id="preview-accept"
            )
            cancel = gr.Button(_("Cancel"), elem_id="preview-cancel")
    return Preview(
        gr.State(None), box, head, columns, relation, further, take, mend, encoding, outcome,
        accept, cancel,
    )  # fmt: skip


def render_preview(incoming: Incoming | None) -> list[Any]:
    """What fills `Preview.shown`; hidden without a file."""
    if incoming is None:
        return [None, gr.update(visible=False), *[gr.skip()] * (len(CHOSEN) + 8)]
    columns, options = incoming.columns, incoming.options
    choices = [("–", ""), *((shown_name(c), c) for c in incoming.main.columns)]
    facts = guess(incoming.main, {}).kind == "facts"
    asks = incoming.asks
    return [
        incoming,
        gr.update(visible=True),
        preview_head(incoming),
        *(gr.update(choices=choices, value=columns.first(p), visible=facts) for p in CHOSEN),
        gr.update(
            value=options.relation,
            placeholder=relation_of(incoming.main.source),
            visible=not columns.first("relation"),
        ),
        gr.update(value=options.further, visible="further" in asks),
        gr.update(value=options.take, visible="take" in asks),
        gr.update(value=options.faults == "mend", visible="mend" in asks),
        gr.update(value=options.encoding or incoming.main.encoding, visible="encoding" in asks),
        preview_outcome(incoming),
        gr.update(interactive=incoming.imported is not None),
    ]


def look(path: str) -> list[Any]:
    """Shows a file that was just uploaded; nothing is taken in yet.

    Returns:
        What fills the message, then `Preview.shown`.
    """
    try:
        return [gr.skip(), *render_preview(opened(path))]
    except LabError as error:
        return [note("bad", str(error)), *render_preview(None)]


def look_again(*choices) -> list[Any]:
    """Shows the file as it would be taken in with what is chosen now: `Preview.choices`.

    Raises:
        LabError: it can't be read in the encoding that is chosen.
    """
    shown = render_preview(as_chosen(*choices))
    # Not shown anew: leaving a box by pressing a button asks too, and the button may have put the
    # file away meanwhile.
    shown[1] = gr.skip()
    return shown


def as_chosen(
    incoming, subject, object_, relation_column, aliases, relation, further, take, mend, encoding
) -> Incoming:
    """The file as it would be taken in with these choices.

    Raises:
        LabError: it can't be read in the encoding that is chosen.
    """
    columns = (subject, object_, relation_column, aliases)
    named = encoding or ""
    if named == incoming.main.encoding:
        named = incoming.options.encoding
    return chosen(
        incoming,
        dict(zip(CHOSEN, (column or "" for column in columns), strict=True)),
        relation="" if relation_column else (relation or "").strip(),
        further=further,
        take=int(take or 0),
        faults="mend" if mend else "refuse",
        encoding=named,
    )
