"""Checks an open page's accessibility with axe-core. Use: `from support.axe import serious`.

axe-core itself comes inside the package `axe-playwright-python` (`requirements-dev.txt`).
"""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

IMPACTS = ("serious", "critical")

GRADIOS = {
    # The lock beside the head of a column that can't be edited: a label on a bare <div> that
    # Gradio writes. Screen readers miss the words “Static column”, nothing else.
    ("aria-prohibited-attr", '.wrapper[aria-label="Static column"]'),
    # The placeholder of a figure, likewise.
    ("aria-prohibited-attr", '.empty[aria-label="Empty value"]'),
}
"""Findings in Gradio's own elements, which can't be mended here: rule and element."""

RUN = """async ([rules, known]) => {
    const options = {resultTypes: ["violations"]};
    if (rules.length) options.runOnly = {type: "rule", values: rules};
    const found = await axe.run(document, options);
    // By its text: the element itself may be gone by now.
    const made = html => {
        const holder = document.createElement("template");
        holder.innerHTML = html;
        return holder.content.firstElementChild;
    };
    return found.violations.flatMap(rule => rule.nodes
        .filter(node => !known.some(([id, selector]) =>
            id === rule.id && made(node.html)?.matches(selector)))
        .map(node => [rule.impact, rule.id, node.target.join(" "), node.failureSummary]));
}"""


def serious(page: Any, *rules: str) -> list[str]:
    """Serious and critical findings of axe-core on the page as it is now, one line each.

    Args:
        page: Playwright's, with the page open.
        rules: the only rules to look for; by default all of them.
    """
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate(RUN, [list(rules), list(GRADIOS)])
    return [
        f"{rule} ({impact}) at {where}: {' '.join(why.split())}"
        for impact, rule, where, why in found
        if impact in IMPACTS
    ]
