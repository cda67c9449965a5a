"""Measures an open page for what a width does to it: `from support.widths import faults_at`.

A page may be too wide, a column of text too narrow to read, a label of a chart may lie on another
or beyond its picture, and a text may be cut off.
"""

from __future__ import annotations

import contextlib
from typing import Any

from support.page import until

MEASURE = """() => {
    const charts = [...document.querySelectorAll(".js-plotly-plot, .lc")];
    const style = e => getComputedStyle(e);
    const seen = e => e.checkVisibility({opacityProperty: true, visibilityProperty: true});
    const said = e => (e.textContent || "").trim().replace(/\\s+/g, " ").slice(0, 40);
    const name = e => [e.closest("[id]")?.id || "?", e.tagName.toLowerCase(),
        e.getAttribute("class") || "", `“${said(e)}”`].join(" ");
    const up = (e, test) => { for (let p = e; p && p !== document.body; p = p.parentElement)
        if (test(p)) return p; return null; };
    const scrolls = e => ["auto", "scroll"].includes(style(e).overflowX);
    const offstage = e => up(e, p => ["inset(50%)"].includes(style(p).clipPath)
        || (p.offsetWidth <= 1 && p.offsetHeight <= 1));
    const found = [], put = (what, e) => found.push(`${what}: ${name(e)}`);

    // Too wide. What scrolls by itself may be.
    if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
    const everything = [...document.querySelectorAll("body *")].filter(seen);
    for (const e of everything) {
        const box = e.getBoundingClientRect();
        if (box.width && (box.right > innerWidth + 1 || box.left < -1)
            && !up(e, scrolls) && !offstage(e) && !e.closest("svg")) put("off the screen", e);
    }

    // Texts: every text node with its lines.
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const texts = [];
    for (let node; (node = walker.nextNode());) {
        const e = node.parentElement, text = node.data.trim();
        if (text && seen(e) && !["SCRIPT", "STYLE", "OPTION"].includes(e.tagName)) {
            const range = document.createRange();
            range.selectNodeContents(node);
            const boxes = [...range.getClientRects()].filter(b => b.width > 0.5);
            if (boxes.length) texts.push({node, e, text, boxes, range});
        }
    }
    for (const {node, e, text, boxes} of texts) {
        if (e.closest("svg, .cm-editor, pre, code") || offstage(e)) continue;
        const box = up(e, p => !style(p).display.startsWith("inline")) || e;
        const em = parseFloat(style(e).fontSize), width = box.clientWidth || box.offsetWidth;
        if (text.length > 24 && boxes.length > 3 && width < 8 * em) put("narrow column", e);
        // A word of ordinary length must not be broken in two.
        if (boxes.length > 1) {
            const range = document.createRange();
            for (const word of node.data.matchAll(/[\\p{L}\\p{N}]{2,14}(?![\\p{L}\\p{N}])/gu)) {
                if (/\\p{Script=Han}/u.test(word[0])) continue;
                if (/[\\p{L}\\p{N}]/u.test(node.data[word.index - 1] || "")) continue;
                range.setStart(node, word.index);
                range.setEnd(node, word.index + word[0].length);
                const lines = new Set([...range.getClientRects()].map(b => Math.round(b.top)));
                if (lines.size > 1) { put(`broken word ${word[0]}`, e); break; }
            }
        }
    }

    // Cut off: hidden, and neither an ellipsis nor a title says that there is more.
    const ends = e => style(e).textOverflow === "ellipsis" || style(e).webkitLineClamp !== "none"
        || up(e, p => p.title || p.getAttribute("aria-label"));
    for (const {e, boxes} of texts) {
        if (e.closest("svg") || offstage(e)) continue;
        const cut = up(e, p => ["hidden", "clip"].includes(style(p).overflowX));
        const free = up(e, p => ["auto", "scroll"].includes(style(p).overflowX)
            || ["auto", "scroll"].includes(style(p).overflowY));
        // An ellipsis helps where enough stands before it.
        const dots = up(e, p => style(p).textOverflow === "ellipsis"
            && p.scrollWidth > p.clientWidth);
        if (dots && dots.clientWidth < 3.5 * parseFloat(style(dots).fontSize))
            put("cut to bits", e);
        if (!cut || (free && cut.contains(free)) || ends(e) || ends(cut)) continue;
        const box = cut.getBoundingClientRect();
        if (boxes.some(b => b.right > box.right + 2 || b.left < box.left - 2)) put("cut off", e);
    }

    // Labels of charts: none on another, none beyond its picture.
    for (const chart of charts.filter(seen)) {
        const mine = texts.filter(({e}) => chart.contains(e) && !e.closest(".modebar"));
        const labels = mine.map(({e, text, boxes}) => {
            const owner = e.closest("text") || e, b = e.closest("text")
                ? owner.getBoundingClientRect() : boxes[0];
            return {owner, text, b};
        }).filter((l, i, all) => all.findIndex(o => o.owner === l.owner && (o.b === l.b
            || l.owner.tagName === "text")) === i);
        labels.forEach(({owner, b}, i) => labels.slice(i + 1).forEach(other => {
            const across = Math.min(b.right, other.b.right) - Math.max(b.left, other.b.left);
            const down = Math.min(b.bottom, other.b.bottom) - Math.max(b.top, other.b.top);
            if (owner !== other.owner && across > 2 && down > 4)
                put(`“${said(owner)}” lies on`, other.owner);
        }));
        for (const {owner, b} of labels) // turned by a quarter, they are as wide as high
            if (Math.min(b.height, said(owner).length > 2 ? b.width : b.height) < 8)
                put("tiny", owner);
        const frame = chart.getBoundingClientRect();
        for (const {owner, b} of labels) if (b.right > frame.right + 2 || b.left < frame.left - 2)
            put("beyond its chart", owner);
    }
    return [...new Set(found)];
}"""

SETTLED = """async () => {
    // Two frames: whoever watches a size has been told by then.
    for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
    return [...document.querySelectorAll(".js-plotly-plot")].filter(e => e.checkVisibility())
        .every(e => Math.abs((e.querySelector(".main-svg")?.getBoundingClientRect().width ?? 0)
            - e.getBoundingClientRect().width) < 2);
}"""
"""Whether every figure has followed the window's size."""
PATIENCE_S = 3
"""How long a fault may stay while the page moves to its new width."""


def faults_at(page: Any, width: int, height: int) -> list[str]:
    """What is wrong on the open page in a window of this size (CSS pixels), one line each."""
    page.set_viewport_size({"width": width, "height": height})
    found: list[str] = []

    def flawless() -> bool:
        found[:] = page.evaluate(MEASURE) if page.evaluate(SETTLED) else ["a figure is too wide"]
        return not found

    with contextlib.suppress(AssertionError):
        until(flawless, PATIENCE_S)
    return found
