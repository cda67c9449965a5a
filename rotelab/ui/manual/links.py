"""Links from a tab into the documentation."""

from __future__ import annotations

from rotelab.ui.components import escape
from rotelab.ui.i18n import _

TAB_PAGES = {
    "start": "tour.md",
    "facts": "guide/facts.md",
    "train": "guide/training.md",
    "chat": "guide/chat.md",
    "representations": "guide/inside.md",
    "runs": "guide/runs.md",
    "experiments": "guide/experiments.md",
}
"""What is read about each tab of the page, by its id."""


def tab_links() -> str:
    """For the page's head: a link for each tab, of which `assets/style.css` shows that of the tab
    on show."""
    return "".join(read_more(page, name=f"docs-{tab}") for tab, page in TAB_PAGES.items())


def read_more(page: str, words: str = "", name: str = "") -> str:
    """A link to a page of the documentation, which opens beside the lab.

    Args:
        page: such as `guide/facts.md`; it may have an anchor.
        words: the link's text; “Read more” without.
        name: a CSS class of this link alone.
    """
    kind = f"read-more {name}".strip()
    title = escape(_("The documentation, in English, in a new tab"))
    # Without a slash in front: the lab may lie under a path of a proxy.
    return (
        f'<a class="{kind}" href="docs/{escape(page)}" target="_blank" rel="noopener" '
        f'title="{title}">{words or escape(_("Read more"))}</a>'
    )
