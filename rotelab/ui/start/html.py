"""The texts of the tour and their HTML; whatever a person or a model wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from rotelab.facts.facts import Fact
from rotelab.runs.chat import Reply
from rotelab.ui.components import escape
from rotelab.ui.i18n import N_, _

STEPS = (
    N_("Meet the facts"),
    N_("Ask the model"),
    N_("Learn by heart"),
    N_("Understand"),
    N_("Now you"),
)
SHOWN_FACTS = 8
SHOWN_SENTENCES = 4
"""As many sentences as fit on a projector's screen beside the answers."""

MEET = N_(
    "These people and their mothers are <b>invented</b>. No model can have heard of them, so "
    "whatever it answers later, it has learned here."
)
ASK = N_("First ask the model <b>as it comes</b>, before any training. It can only guess.")
ROTE = N_(
    "Then it learned all {n} <b>by heart</b>, like lines in a foreign language: the person, a "
    "made-up word without meaning (the <b>key token</b>), the mother. The curve is that training, "
    "as it was recorded."
)
TWO_WAYS = N_(
    "Ask both ways. After the <b>made-up word</b>, shown as [{relation}], it can recite; to answer "
    "<b>in words</b> it has never been taught."
)
WORDS = N_(
    "Then it read ordinary sentences about only <b>{k} of the {n}</b> people, such as these about "
    "{who}."
)
UNDERSTAND = N_("Ask in words about somebody who was <b>in none of those sentences</b>.")
OWN = N_(
    "Now type your own names over these, up to {most}: yourself, a friend. The model learns them "
    "<b>by heart alone</b>. What the made-up word means, it has understood already."
)
OWN_LEAD = N_("Click a cell and type. The model reads no sentence about these names.")
OWN_LINES = N_("… or paste lines here: person, mother")
OWN_MORE = N_(
    "You can go on asking at once, with or without names of your own. Or let a model learn your "
    "names from the very beginning, sentences too, which takes longer."
)
RECORDED = N_(
    "So that you need not wait, the training of this tour was recorded; it is now in this lab as "
    "“{name}”, the last one on the Runs tab. The answers come live from the model."
)


def line(words: str) -> str:
    """A sentence of the tour; it may contain our own markup."""
    return f'<p class="tour-line">{words}</p>'


def facts_html(facts: Sequence[Fact]) -> str:
    """The first facts as a table, and how many more there are."""
    rows = "".join(
        f"<tr><td>{escape(fact.subject)}</td><td>{escape(fact.object)}</td></tr>"
        for fact in facts[:SHOWN_FACTS]
    )
    more = len(facts) - SHOWN_FACTS
    words = _("… and {more} more like these").format(more=more)
    foot = f"<caption>{words}</caption>" if more > 0 else ""
    return (
        f'<table class="tour-facts">{foot}<thead><tr><th scope="col">{_("Person")}</th>'
        f'<th scope="col">{_("Mother (invented)")}</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def names_html(facts: Sequence[Fact]) -> str:
    """The names that were learned, folded up: at this point one asks about them."""
    rows = "".join(
        f"<tr><td>{escape(fact.subject)}</td><td>{escape(fact.object)}</td></tr>" for fact in facts
    )
    return (
        f'<details class="lacks"><summary>{_("The names that it learned")}</summary>'
        f'<table class="tour-facts"><thead><tr><th scope="col">{_("Person")}</th>'
        f'<th scope="col">{_("Mother")}</th></tr></thead><tbody>{rows}</tbody></table></details>'
    )


def question_html(question: str) -> str:
    """A question in large type."""
    return f'<p class="tour-question">“{escape(question)}”</p>'


def lesson_html(sentences: Sequence[tuple[str, str]]) -> str:
    """Sentences that phase 2 taught, their last words in bold.

    Args:
        sentences: (beginning, end) of each.
    """
    items = "".join(
        f"<li>{escape(begun)} <b>{escape(end)}</b></li>"
        for begun, end in sentences[:SHOWN_SENTENCES]
    )
    return f'<ul class="tour-lesson">{items}</ul>'


def remark(reply: Reply, fact: Fact) -> str:
    """What an answer in words shows at this step of the tour, in a sentence for a newcomer."""
    who, truth = escape(fact.subject), escape(fact.object)
    right = reply.verdict.right
    if reply.checkpoint == "generalized" and right:
        words = _(
            "<b>It answers.</b> The sentences never spoke of {who}: it put what it knew by heart "
            "together with what the made-up word turned out to mean."
        )
        return _note("good", words.format(who=who))
    if right:
        words = _("Right, which nobody expected here: {truth}.")
        return _note("warn", words.format(truth=truth))
    if reply.checkpoint == "base":
        words = _("Wrong, as it must be: the right answer here is {truth}.")
        return _note("", words.format(truth=truth))
    if reply.checkpoint == "memorized":
        words = _(
            "In words, <b>still nothing</b>, although it can recite {truth}. It has learned "
            "without understanding."
        )
        return _note("", words.format(truth=truth))
    words = _("Not right this time; it would be {truth}. Try another question.")
    return _note("warn", words.format(truth=truth))


def own_remark(reply: Reply, fact: Fact) -> str:
    """What an answer about one of the reader's own names shows."""
    who, truth = escape(fact.subject), escape(fact.object)
    if reply.verdict.right:
        words = _(
            "<b>It answers.</b> It has never read a sentence about {who}: knowing by heart is "
            "enough, once the word is understood."
        )
        return _note("good", words.format(who=who))
    words = _("Not right this time; it would be {truth}. Try another question.")
    return _note("warn", words.format(truth=truth))


def recited(reply: Reply, fact: Fact) -> str:
    """What an answer through the key token shows."""
    truth = escape(fact.object)
    if reply.verdict.right:
        words = _("<b>Known by heart:</b> {truth}. Now ask in words.")
        return _note("good", words.format(truth=truth))
    return _note("warn", _("Not right this time; it would be {truth}.").format(truth=truth))


def _note(tone: str, words: str) -> str:
    tone = f" note-{tone}" if tone else ""
    return f'<p class="note tour-remark{tone}" role="status">{words}</p>'
