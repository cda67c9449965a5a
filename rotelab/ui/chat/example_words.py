"""What the Chat tab says of its example questions."""

from __future__ import annotations

from rotelab.registry import RunRow
from rotelab.runs.asking.examples import Examples
from rotelab.ui.i18n import N_, _

LESSON = N_(
    "This run answered these when it was tested: wordings that were never trained, about what this "
    "lesson taught **by rote alone: no sentence in words was read**."
)
HELD_OUT = N_(
    "This run answered these when it was tested: wordings that were never trained, on facts that "
    "phase 2 never saw in words."
)
UNTRIED = N_(
    "Wordings that were never trained. This run was not asked them so far, so nobody knows yet "
    "whether it can answer."
)
NONE_RIGHT = N_(
    "When it was tested, this run answered no question in a wording that was never trained."
)
KEY = N_("`{key}` asks through the **key token**, the meaningless word of phase 1.")


def examples_hint(run: RunRow, found: Examples) -> str:
    """The line under a run's example questions, as Markdown.

    Args:
        run: the run.
        found: its example questions.

    Raises:
        LabError: the run's row is damaged.
    """
    if found.untried:
        words = [_(UNTRIED)]
    elif found.right:
        words = [_(LESSON if run.config.lesson else HELD_OUT)]
    else:
        words = [_(NONE_RIGHT)]
    if found.key:
        words.append(_(KEY).format(key=found.key))
    return " ".join(words)
