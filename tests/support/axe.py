"""axe-core on an open page: what it finds that shuts people out. Use: `from axe import serious`.

axe-core itself comes inside the package `axe-playwright-python` (`requirements-dev.txt`).
"""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

IMPACTS = ("serious", "critical")

GRADIOS = {
    # The lock beside the head of a column that can't be edited: a label on a bare <div>, which
    # Gradio writes and gives no say in. Readers miss the word “Static column”, nothing else.
    ("aria-prohibited-attr", '.wrapper[aria-label="Static column"]'),
    # What stands for a figure until it is there, likewise.
    ("aria-prohibited-attr", '.empty[aria-label="Empty value"]'),
}
"""Findings in what Gradio itself draws, which can't be mended here: rule and the element."""

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
    """What axe-core finds on the page as it is now, of those impacts; one line a finding.

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
