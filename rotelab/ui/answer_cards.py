"""What the Chat tab shows, as HTML: answer cards, tokens with their probability, marks, history.

Pure functions of plain results; every text of a user or a model is escaped here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rotelab.config.names import CHECKPOINTS, Checkpoint, checkpoint_name
from rotelab.evaluation.grading import Verdict
from rotelab.registry import ChatAnswer
from rotelab.runs.chat import Reply, Turns
from rotelab.ui.components import ago, checkpoint_badge, escape

if TYPE_CHECKING:
    from rotelab.models.generation import Token

MARKS = {
    "by rote": ("★", "Right, known by rote", "good"),
    "in words": ("✓", "Right, taught in words", "good"),
    "never in words": ("✦", "Right, never taught in words", "good"),
    "by chance": ("?", "Right, but untaught", "odd"),
    "after words": ("…", "The right name, but not at once", "odd"),
    "another fact": ("⇄", "Another fact", "odd"),
    "no fact": ("–", "Not about a learned fact: not judged", "none"),
    "": ("○", "Unknown: not one of the facts", "none"),
}
"""Icon, words and tone of each `Verdict.known`."""

MAX_HISTORY = 50

AWAITS = "How likely the right answer was is being worked out …"

NOT_THERE = "This run does not have this checkpoint (yet)."
LACKS = " data-lacks"
"""What marks such a card, in whatever language it stands."""

KEY_TOKEN = re.compile(r"<\|key:(\w+)\|>")
"""A key token as the tokenizer writes it; people read and write it as `[relation]`."""

LEGEND = (
    '<div class="chat-legend"><span>How sure the model was of each word piece:</span>'
    '<span class="scale" aria-hidden="true">'
    + "".join(f'<span class="tok" style="--p:{p}">{p} %</span>' for p in (5, 35, 65, 95))
    + "</span><span>Point at a piece for the number and for what it nearly said.</span></div>"
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
        words = NOT_THERE
    state = ' aria-busy="true"' if words and there else "" if there else LACKS
    shown = f'<p class="waiting"{state}>{escape(words or "Ask something to see its answer.")}</p>'
    return _card(checkpoint, _talk(turns) + shown if there else shown)


def asked_html(question: str) -> str:
    """The question that the cards answer: the box above them may hold the next one already."""
    return f'<p class="asked-line"><span>Asked</span> {escape(question)}</p>'


def answer_card(reply: Reply, turns: Turns = (), question: str = "") -> str:
    """A card with an answer as far as it has come; with its mark once it is done.

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
        return _card(
            reply.checkpoint,
            f'{talk}<p class="waiting">It ended the text here, without an answer. '
            "The beginning of a sentence often works better than a question.</p>"
            f"{_evidence(reply)}",
        )
    return _card(
        reply.checkpoint,
        f'{talk}<div class="said">{tokens}</div>{_mark(reply.verdict)}{_evidence(reply)}'
        f"{_details(reply)}",
    )


def history_html(history: Sequence[ChatAnswer]) -> str:
    """What a run was asked, newest first, as a compact table; empty without any."""
    if not history:
        return ""
    heads = "".join(f"<th scope='col'>{checkpoint_badge(c)}</th>" for c in CHECKPOINTS)
    rows = []
    turns: dict[int, dict[Checkpoint, ChatAnswer]] = {}
    for answer in history:
        turns.setdefault(answer.turn, {})[answer.checkpoint] = answer
    for answers in reversed(turns.values()):
        one = next(iter(answers.values()))
        mode = one.mode + (f", temperature {one.temperature:g}" if one.temperature else "")
        cells = "".join(_history_cell(answers.get(c)) for c in CHECKPOINTS)
        rows.append(
            f"<tr><th scope='row'>{escape(one.question)}"
            f"<span class='hint'>{escape(mode)} · {ago(one.asked)}</span></th>{cells}</tr>"
        )
    return (
        "<div class='chat-history'><h3>What this run was asked</h3><table><thead><tr>"
        f"<th scope='col'>Question</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
        "</table></div>"
    )


def note(words: str, tone: str = "") -> str:
    """A remark above the answers; tone `bad` is announced at once. Without words, nothing."""
    if not words:
        return ""
    role = ' role="alert"' if tone == "bad" else ' role="status"'
    tone = f" note-{tone}" if tone else ""
    return f'<p class="note{tone}"{role}>{escape(words)}</p>'


def _card(checkpoint: Checkpoint, body: str) -> str:
    return (
        f'<section class="answer" data-checkpoint="{checkpoint}" '
        f'style="--tint:var(--{checkpoint})"><header>{checkpoint_badge(checkpoint)}'
        f'<span class="hint">{escape(checkpoint_name(checkpoint).hint)}</span></header>'
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
    others = f"nearly said<ul>{others}</ul>" if others else ""
    return (
        f'<span class="tok" style="--p:{percent}">{escape(text)}'
        f'<span class="num" aria-hidden="true">{percent}</span>'
        f'<span class="tip" aria-hidden="true"><b>{_percent(token.probability)}</b> sure of '
        f"{_quoted(token.text)}<br>{others}</span></span>"
    )


def _others(token: Token) -> list[tuple[str, float]]:
    """What the model nearly said instead."""
    return [(text, p) for text, p in token.alternatives if text.strip() != token.text.strip()]


def _details(reply: Reply) -> str:
    """The same numbers as a table, for whoever can't point at a word."""
    rows = []
    for token in reply.tokens:
        others = ", ".join(f"{_quoted(text)} {_percent(p)}" for text, p in _others(token))
        cells = (_quoted(token.text), _percent(token.probability), others)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        "<details><summary>Piece by piece</summary><table><thead><tr><th>piece</th>"
        "<th>sure</th><th>nearly said</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></details>"
    )


def _mark(verdict: Verdict) -> str:
    icon, words, tone = MARKS[verdict.known]
    more = f'<span class="why">{escape(verdict.text)}</span>' if verdict.text else ""
    return (
        f'<p class="mark mark-{tone}"><span class="tag"><span aria-hidden="true">{icon}</span> '
        f"{words}</span>{more}</p>"
    )


def _history_cell(answer: ChatAnswer | None) -> str:
    if answer is None:
        return "<td>–</td>"
    text = answer.answer
    icon, words, tone = MARKS.get(answer.known, MARKS[""])
    short = text if len(text) <= 60 else text[:58].rstrip() + " …"
    return (
        f'<td><span class="tag mark-{tone}" title="{words}" aria-label="{words}">{icon}</span> '
        f"{escape(short) or '–'}{_standing(answer)}</td>"
    )


def _standing(answer: ChatAnswer) -> str:
    if answer.rank is None or answer.probability is None:
        return ""
    return (
        f"<span class='hint'>right answer: {_percent(answer.probability)}, "
        f"place {answer.rank + 1} of {answer.among}</span>"
    )


def _evidence(reply: Reply) -> str:
    """How likely the right answer was, whatever was said."""
    evidence = reply.evidence
    if evidence is None:
        return f'<p class="evidence" aria-busy="true">{AWAITS}</p>' if reply.awaits else ""
    return (
        f'<p class="evidence">The right answer is <b>{escape(evidence.fact.object)}</b>: '
        "to this checkpoint "
        f"<b>{_percent(evidence.probability)}</b> likely: <b>place {evidence.rank + 1}</b> of "
        f"{evidence.among} answers that this relation has.</p>"
    )


def _talk(turns: Sequence[tuple[str, str | None]]) -> str:
    """What has been said so far; an answer that is None is still to come."""
    parts = []
    for question, answer in turns:
        parts.append(f'<p class="you"><span>You</span> {escape(question)}</p>')
        if answer is not None:
            parts.append(f'<p class="it"><span>Model</span> {escape(answer) or "–"}</p>')
    return f'<div class="talk">{"".join(parts)}</div>' if parts else ""


def _quoted(text: str) -> str:
    shown = KEY_TOKEN.sub(r"[\1]", text).replace("\n", "↵").strip(" ")
    return f"“{escape(shown) or '␣'}”"


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "under 1 %"
    return f"{100 * share:.0f} %"
