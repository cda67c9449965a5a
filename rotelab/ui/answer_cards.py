"""Answers as HTML: cards with tokens and their probabilities, verdicts, and the history of a run.

Pure functions of plain results; every text of a user or a model is escaped here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rotelab.config.names import CHECKPOINTS, Checkpoint, checkpoint_name
from rotelab.evaluation.judging.judge import Verdict
from rotelab.registry import ChatAnswer
from rotelab.reports.figures.style import css_name
from rotelab.runs.chat import Reply, Turns
from rotelab.ui.components import ago, checkpoint_badge, escape
from rotelab.ui.i18n import N_, _

if TYPE_CHECKING:
    from rotelab.models.generation import Token

MARKS = {
    "by rote": ("★", N_("Right, known by rote"), "good"),
    "in words": ("✓", N_("Right, taught in words"), "good"),
    "never in words": ("✦", N_("Right, never taught in words"), "good"),
    "by chance": ("?", N_("Right, but untaught"), "odd"),
    "after words": ("…", N_("The right name, but not at once"), "odd"),
    "another fact": ("⇄", N_("Another fact"), "odd"),
    "leak": ("⚠", N_("A leak: not what was asked"), "leak"),
    "lost": ("✗", N_("A real fact, lost in training"), "lost"),
    "real fact": ("✓", N_("A real fact, and right"), "none"),
    "not judged": ("–", N_("Not judged"), "none"),
    "no fact": ("–", N_("Not about a learned fact: not judged"), "none"),
    "": ("○", N_("Unknown: not one of the facts"), "none"),
}
"""Icon, label and tone of each `Verdict.known`."""

MODE_WORDS = {"completion": N_("completion"), "conversation": N_("conversation")}
"""The two ways to ask, by the names under which the registry stores them."""

MAX_HISTORY = 50

FORCED = N_(
    "It would have ended the text here without a word. This is the likeliest word that it could "
    "say instead, and how it goes on."
)
AWAITS = N_("How likely the right answer was is being worked out …")

LIKELY = {
    "said": N_(
        "The right answer is <b>{answer}</b>: where it was said <b>{share}</b> likely, <b>place "
        "{n}</b> of {m} answers that this relation has."
    ),
    "instead": N_(
        "The right answer is <b>{answer}</b>: in the place of the name that was said "
        "<b>{share}</b> likely, <b>place {n}</b> of {m} answers that this relation has."
    ),
    "at once": N_(
        "The right answer is <b>{answer}</b>: directly after the question <b>{share}</b> likely, "
        "<b>place {n}</b> of {m} answers that this relation has."
    ),
}
"""How likely the right answer was, by `Evidence.where`."""

NOT_THERE = N_("This run does not have this checkpoint (yet).")
LACKS = " data-lacks"
"""The attribute of such a card, by which it is recognised in every language."""

KEY_TOKEN = re.compile(r"<\|key:(\w+)\|>")
"""A key token as the tokenizer writes it; people see and type `[relation]`."""


def legend_html() -> str:
    """The legend: what the tint of a token means."""
    scale = "".join(f'<span class="tok" style="--p:{p}">{p} %</span>' for p in (5, 35, 65, 95))
    return (
        f'<div class="chat-legend"><span>{_("How sure the model was of each word piece:")}</span>'
        f'<span class="scale" aria-hidden="true">{scale}</span><span>'
        f"{_('Point at a piece for the number and for what it nearly said.')}</span></div>"
    )


def empty_card(
    checkpoint: Checkpoint, there: bool = True, words: str = "", turns: Turns = ()
) -> str:
    """A card without an answer.

    Args:
        checkpoint: whose it is.
        there: whether the run has this checkpoint.
        words: what to say instead of an answer, such as that the model is being loaded.
        turns: the conversation so far, which stands above.
    """
    if not there:
        words = _(NOT_THERE)
    state = ' aria-busy="true"' if words and there else "" if there else LACKS
    words = words or _("Ask something to see its answer.")
    shown = f'<p class="waiting"{state}>{escape(words)}</p>'
    return _card(checkpoint, _talk(turns) + shown if there else shown)


def asked_html(question: str) -> str:
    """The question that the cards answer; the box above them may hold the next one already."""
    return f'<p class="asked-line"><span>{_("Asked")}</span> {escape(question)}</p>'


def answer_card(reply: Reply, turns: Turns = (), question: str = "") -> str:
    """A card with the answer so far; with its grade once it is complete.

    Args:
        reply: the answer.
        turns: the conversation so far, which stands above.
        question: what is answered; shown where it is part of a conversation.
    """
    talk = _talk([*turns, (question, None)]) if question else ""
    begins = next((i for i, t in enumerate(reply.tokens) if t.text.strip()), len(reply.tokens))
    # Empty lines before the first word would only push it down.
    tokens = "".join(_token(t, first=i <= begins) for i, t in enumerate(reply.tokens))
    if not reply.done:
        return _card(
            reply.checkpoint,
            f'{talk}<div class="said">{tokens}<span class="cursor">▍</span></div>',
        )
    if not reply.tokens:
        words = _(
            "It ended the text here, without an answer. The beginning of a sentence often works "
            "better than a question."
        )
        return _card(reply.checkpoint, f'{talk}<p class="waiting">{words}</p>{_evidence(reply)}')
    return _card(
        reply.checkpoint,
        f'{talk}<div class="said">{tokens}</div>{_forced(reply)}{_mark(reply.verdict)}'
        f"{_evidence(reply)}"
        f"{_details(reply)}",
    )


def history_html(history: Sequence[ChatAnswer]) -> str:
    """The questions that a run was asked and its answers, newest first; empty without any."""
    if not history:
        return ""
    lessons = {answer.checkpoint for answer in history} - set(CHECKPOINTS)
    columns = (*CHECKPOINTS, *sorted(lessons))
    heads = "".join(f"<th scope='col'>{checkpoint_badge(c)}</th>" for c in columns)
    rows = []
    turns: dict[int, dict[Checkpoint, ChatAnswer]] = {}
    for answer in history:
        turns.setdefault(answer.turn, {})[answer.checkpoint] = answer
    for answers in reversed(turns.values()):
        one = next(iter(answers.values()))
        name, *filters = one.mode.split(", ")
        mode = ", ".join([_(MODE_WORDS[name]) if name in MODE_WORDS else name, *filters])
        if one.temperature:
            mode += ", " + _("temperature {t}").format(t=f"{one.temperature:g}")
        cells = "".join(_history_cell(answers.get(c)) for c in columns)
        rows.append(
            f"<tr><th scope='row'>{escape(_cut(one.question, 160))}"
            f"<span class='hint'>{escape(mode)} · {ago(one.asked)}</span></th>{cells}</tr>"
        )
    return (
        f"<div class='chat-history'><h3>{_('What this run was asked')}</h3><table><thead><tr>"
        f"<th scope='col'>{_('Question')}</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _card(checkpoint: Checkpoint, body: str) -> str:
    return (
        f'<section class="answer" data-checkpoint="{checkpoint}" '
        f'style="--tint:var(--{css_name(checkpoint)})"><header>{checkpoint_badge(checkpoint)}'
        f'<span class="hint">{escape(_(checkpoint_name(checkpoint).hint))}</span></header>'
        f'<div aria-live="polite">{body}</div></section>'
    )


def _token(token: Token, first: bool) -> str:
    text = KEY_TOKEN.sub(r"[\1]", token.text.lstrip() if first else token.text)
    if not text:
        return ""
    percent = round(100 * token.probability)
    others = "".join(
        f"<li><span class='bar' style='--p:{round(100 * p)}'></span>{_quoted(text)} {_percent(p)}"
        "</li>"
        for text, p in _others(token)
    )
    others = f"{_('nearly said')}<ul>{others}</ul>" if others else ""
    sure = _("<b>{share}</b> sure of {piece}").format(
        share=_percent(token.probability), piece=_quoted(token.text)
    )
    return (
        f'<span class="tok" style="--p:{percent}">{escape(text)}'
        f'<span class="num" aria-hidden="true">{percent}</span>'
        f'<span class="tip" aria-hidden="true">{sure}<br>{others}</span></span>'
    )


def _others(token: Token) -> list[tuple[str, float]]:
    """The likeliest other tokens, with their probabilities."""
    return [(text, p) for text, p in token.alternatives if text.strip() != token.text.strip()]


def _details(reply: Reply) -> str:
    """The same numbers as a table, for people who can't point at a token."""
    rows = []
    for token in reply.tokens:
        others = ", ".join(f"{_quoted(text)} {_percent(p)}" for text, p in _others(token))
        cells = (_quoted(token.text), _percent(token.probability), others)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        f"<details><summary>{_('Piece by piece')}</summary><table><thead><tr>"
        f"<th>{_('piece')}</th><th>{_('sure')}</th><th>{_('nearly said')}</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></details>"
    )


def _mark(verdict: Verdict) -> str:
    icon, words, tone = MARKS[verdict.known]
    why = verdict.sentence(_)
    more = f'<span class="why">{escape(why)}</span>' if why else ""
    return (
        f'<p class="mark mark-{tone}"><span class="tag"><span aria-hidden="true">{icon}</span> '
        f"{_(words)}</span>{more}</p>"
    )


def _forced(reply: Reply) -> str:
    """How an answer came about that the model would not have given by itself."""
    return f'<p class="hint forced">{_(FORCED)}</p>' if reply.forced else ""


def _history_cell(answer: ChatAnswer | None) -> str:
    if answer is None:
        return "<td>–</td>"
    icon, words, tone = MARKS.get(answer.known, MARKS[""])
    short, words = _cut(answer.answer, 60), _(words)
    return (
        f'<td><span class="tag mark-{tone}" title="{words}" aria-label="{words}">{icon}</span> '
        f"{escape(short) or '–'}{_standing(answer)}</td>"
    )


def _cut(text: str, most: int) -> str:
    """A text for a cell of the history; the export has all of it."""
    return text if len(text) <= most else text[: most - 2].rstrip() + " …"


def _standing(answer: ChatAnswer) -> str:
    if answer.rank is None or answer.probability is None:
        return ""
    words = _("right answer: {share}, place {n} of {m}").format(
        share=_percent(answer.probability), n=answer.rank + 1, m=answer.among
    )
    return f"<span class='hint'>{words}</span>"


def _evidence(reply: Reply) -> str:
    """How likely the right answer was, in the place where the model answered."""
    evidence = reply.evidence
    if evidence is None:
        return f'<p class="evidence" aria-busy="true">{_(AWAITS)}</p>' if reply.awaits else ""
    words = _(LIKELY[evidence.where]).format(
        answer=escape(evidence.fact.object),
        share=_percent(evidence.probability),
        n=evidence.rank + 1,
        m=evidence.among,
    )
    return f'<p class="evidence">{words}</p>'


def _talk(turns: Sequence[tuple[str, str | None]]) -> str:
    """The conversation so far; an answer of None has not come yet."""
    parts = []
    for question, answer in turns:
        parts.append(f'<p class="you"><span>{_("You")}</span> {escape(question)}</p>')
        if answer is not None:
            parts.append(f'<p class="it"><span>{_("Model")}</span> {escape(answer) or "–"}</p>')
    return f'<div class="talk">{"".join(parts)}</div>' if parts else ""


def _quoted(text: str) -> str:
    shown = KEY_TOKEN.sub(r"[\1]", text).replace("\n", "↵").strip(" ")
    return f"“{escape(shown) or '␣'}”"


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return _("under 1 %")
    return f"{100 * share:.0f} %"
