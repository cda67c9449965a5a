"""A run in training, as plain HTML and SVG: its curves, and one cell a fact.

Plotly needs about half a second of a CPU core for each redraw, which slows training down
(`benchmarks/page_cost.py`); a browser draws these in a few milliseconds, so they can change all the
time. They can't be zoomed or saved; the Runs tab's figures of the same run can.

The browser stretches the pictures to the available width. Lines keep their width
(`vector-effect`), and words and numbers are beside the picture, not in it. `assets/live.js` shows
the numbers under the pointer; `assets/live.css` has the styles.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

from rotelab.facts.names import isolated
from rotelab.registry import FactRecall, Metric
from rotelab.reports.figures.training import (
    CURVES,
    IN_WORDS,
    PHASES,
    RECALLED,
    adapters_begin,
    held_out_points,
    thinned,
)

MAX_POINTS = 500
"""Most points of one line: the panel is hardly more pixels wide."""
MAX_TIPS = 150
"""Most points of a phase that show their loss under the pointer, besides those with a recall."""
NAME_SHARE = 0.2
"""The share of the width that an adapter's name needs."""

WIDE, HIGH = 1000, 100
"""The pictures' own units, independent of their size on the page."""
MOST_DOTS = 60
"""From more points on they would lie on each other, and hide the line."""


def live_curves(
    metrics: Sequence[Metric], epochs_each: int = 0, gettext: Callable[[str], str] = str
) -> str:
    """Recall and loss over both phases, the boundary marked, phases named; `training.curves`
    as HTML.

    Args:
        metrics: a run's metrics; those named in `training.DRAWN` are drawn. May be empty.
        epochs_each: epochs of each adapter where phase 2 averages several; 0 for one
            adapter, and nothing is marked.
        gettext: translates a message into the reader's language.
    """
    points = {
        (phase, name): sorted(
            (m.step, m.value) for m in metrics if (m.phase, m.name) == (phase, name)
        )
        for phase in PHASES
        for name in CURVES
    }
    steps = {
        p: max((points[p, n][-1][0] for n in CURVES if points[p, n]), default=0) for p in PHASES
    }
    starts = dict(zip(steps, accumulate(steps.values(), initial=0), strict=False))
    total = sum(steps.values())
    losses = [v for p in PHASES for _, v in points[p, "loss"] if math.isfinite(v)]
    top = 1.05 * max(losses, default=5.0) or 1.0
    begins = []
    if epochs_each:
        begins = [starts["generalize"] + s for s in adapters_begin(metrics, epochs_each)]
    ground = _ground(steps, begins, total)
    # The first answers may be there before the first step, which gives the pictures their width.
    in_words = held_out_points(metrics, steps) if total else []
    rows = ""
    for name, title, high, ticks, words in (
        ("recall", gettext("Facts recalled"), 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), "{:.0%}"),
        ("loss", gettext("Loss"), top, _ticks(top, 5), "{:g}"),
    ):
        drawn = "".join(
            _line(p, points[p, name], starts[p], total, high, dotted=name == "recall")
            for p in PHASES
        )
        labels = [(words.format(t), 100 * t / high) for t in ticks]
        over = ""
        if name == "recall":  # `over` lies between the two pictures, where no curve is crossed
            names = _adapter_names(begins, total, gettext)
            over = names if total else _empty(gettext)
            drawn += _line("words", in_words, 0, total, high, dotted=True)
        rows += _row(name, title, labels, ground, drawn, over)
    across = "".join(
        f"<span style='left:{100 * t / (total or 100):.2f}%'>{t:,.0f}</span>"
        for t in _ticks(total or 100, 7)
    )
    return (
        f"<div class='lc' role='img' aria-label='{_said(points, total, gettext)}' "
        f"data-places='{html.escape(json.dumps(_places(points, starts, total, in_words)))}'>"
        f"<div class='lc-names'>{_names(steps, total, gettext)}</div>"
        f"<div class='lc-legend'>{_legend(gettext) if in_words else ''}</div>{rows}"
        f"<div class='lc-xs'>{across}</div>"
        f"<div class='lc-steps'>{gettext('Learning steps')}</div></div>"
    )


def live_facts(
    recalls: Sequence[FactRecall],
    facts: Sequence[tuple[str, str, str]],
    gettext: Callable[[str], str] = str,
) -> str:
    """One cell a fact; the more probable its object after the key token, the stronger its colour.

    Args:
        recalls: how well each fact is recalled now.
        facts: (relation, subject, object) by fact index, for the words that a cell shows under the
            pointer, and says to screen readers.
        gettext: translates a message into the reader's language.
    """
    known = sum(r.recalled for r in recalls)
    cells = "".join(
        f"<i role='img' tabindex='{0 if not place else -1}' style='--p:{recall.probability:.2f}' "
        f"aria-label='{_attribute(_fact_words(recall, facts))}'></i>"
        for place, recall in enumerate(recalls)
    )
    return (
        f"<div class='fg'><h3>{gettext('Every fact: stronger colour, surer recall')}</h3>"
        "<div class='fg-cells' role='group' "
        f"aria-label='Every fact: {known} of {len(recalls)} recalled. Arrow keys go through them.' "
        f"style='grid-template-columns:repeat({columns(len(recalls))},minmax(0,1fr))'>"
        f"{cells}</div></div>"
    )


def columns(count: int) -> int:
    """How many cells a row has in the grid of `count` facts."""
    wide = next((w for w, most in ((10, 20), (20, 100), (25, 250)) if count <= most), 50)
    return max(1, min(count, wide))


# Parts of the curves -----------------------------------------------------------------------------


def _row(
    name: str, title: str, labels: Sequence[tuple[str, float]], ground: str, drawn: str, over: str
) -> str:
    """One of the two pictures with its labels: words, and their height in percent."""
    longest = max((words for words, _ in labels), key=len)
    ys = "".join(f"<span style='bottom:{at:.2f}%'>{words}</span>" for words, at in labels)
    rules = "".join(f"M0 {HIGH - at:.2f}H{WIDE}" for _, at in labels)
    return (
        f"<div class='lc-title'>{title}</div>"
        f"<div class='lc-ys'><span class='lc-room'>{longest}</span>"
        f"<div>{ys}</div></div>"
        f"<div class='lc-plot lc-{name}'><svg viewBox='0 0 {WIDE} {HIGH}' "
        f"preserveAspectRatio='none' aria-hidden='true'>{ground}"
        f"<path class='lc-rules' d='{rules}'/><path class='lc-axis' d='M0 0V{HIGH}H{WIDE}'/>"
        f"{drawn}</svg>{over}</div>"
    )


def _ground(steps: Mapping[str, int], begins: Iterable[int], total: int) -> str:
    """Tints each phase's part, and draws the boundary and the beginnings of further adapters."""
    if not total:
        return ""
    drawn, edge = "", 0.0
    for phase, length in steps.items():
        if not length:
            continue
        start, edge = edge, edge + WIDE * length / total
        drawn += (
            f"<path class='lc-tint-{phase}' d='M{start:.1f} 0H{edge:.1f}V{HIGH}H{start:.1f}Z'/>"
        )
        if start:
            drawn += f"<path class='lc-edge' d='M{start:.1f} 0V{HIGH}'/>"
    for x in begins:
        drawn += f"<path class='lc-adapter lc-generalize' d='M{WIDE * x / total:.1f} 0V{HIGH}'/>"
    return drawn


def _adapter_names(begins: Sequence[int], total: int, gettext: Callable[[str], str]) -> str:
    words = gettext("adapter {n} begins")
    named = "".join(
        f"<span style='left:{100 * x / total:.2f}%'>{words.format(n=place)}</span>"
        for place, (x, following) in enumerate(pairwise([*begins, total]), 2)
        if following - x > NAME_SHARE * total  # otherwise the names would overlap
    )
    return f"<div class='lc-adapters'>{named}</div>" if named else ""


def _names(steps: Mapping[str, int], total: int, gettext: Callable[[str], str]) -> str:
    """The phases' names above their parts; a narrow part gets the short name."""
    long = {
        "memorize": gettext("Phase 1: learning by rote"),
        "generalize": gettext("Phase 2: what the token means"),
        "lesson": gettext("Lesson: new facts by rote"),
    }
    short = {"memorize": gettext("Phase 1"), "generalize": gettext("Phase 2")}
    return "".join(
        f"<span style='flex-grow:{length}'><span class='lc-name-{phase}'>"
        f"{(short if length < 0.3 * total else long)[phase]}</span></span>"
        for phase, length in steps.items()
        if length
    )


def _legend(gettext: Callable[[str], str]) -> str:
    """What the two lines of the upper picture count."""
    return (
        f"<span class='lc-key-rote'>{gettext('by heart: key token')}</span>"
        f"<span class='lc-key-words'>{gettext('understood: held-out facts, in words')}</span>"
    )


def _line(
    phase: str,
    points: list[tuple[int, float]],
    start: int,
    total: int,
    high: float,
    dotted: bool,
) -> str:
    places, path, pen = [], "", "M"
    for step, value in thinned(points, MAX_POINTS):
        if not math.isfinite(value):  # a loss that is NaN is a gap in the line
            pen = "M"
            continue
        at = f"{WIDE * (start + step) / total:.1f} {HIGH * (1 - value / high):.2f}"
        path += pen + at
        pen = "L"
        places.append(at)
    if not places:
        return ""
    drawn = f"<path class='lc-line lc-{phase}' d='{path}'/>"
    if (dotted and len(places) <= MOST_DOTS) or len(places) < 3:
        dots = "".join(f"M{at}h0" for at in places)
        drawn += f"<path class='lc-dots lc-{phase}' d='{dots}'/>"
    return drawn


def _places(
    points: Mapping[tuple[str, str], list[tuple[int, float]]],
    starts: Mapping[str, int],
    total: int,
    in_words: Sequence[tuple[int, float]] = (),
) -> list[tuple[float, str]]:
    """(percent of the width, text) of the points that show a text, from left to right."""
    places, understood = [], dict(in_words)
    for phase, start in starts.items():
        recalls = dict(points[phase, "recall"])
        losses = dict(thinned(points[phase, "loss"], MAX_TIPS))
        known = asked = ""
        for step in sorted({*recalls, *losses}):
            if step in recalls:
                known = f"{RECALLED[phase]}: {recalls[step]:.0%}"
            if start + step in understood:
                asked = f"{IN_WORDS}: {understood[start + step]:.0%}"
            loss = f"Loss: {losses[step]:.3f}" if step in losses else ""
            words = "\n".join(filter(None, (f"Step {start + step:,}", known, asked, loss)))
            places.append((round(100 * (start + step) / total, 2), words))
    return places


def _empty(gettext: Callable[[str], str]) -> str:
    return f"<div class='lc-empty'><span>{_not_yet(gettext)}</span></div>"


def _not_yet(gettext: Callable[[str], str]) -> str:
    return gettext("The curves appear with the first learning steps.")


def _said(
    points: Mapping[tuple[str, str], list[tuple[int, float]]],
    total: int,
    gettext: Callable[[str], str],
) -> str:
    """The curves in one sentence, for people who can't see them."""
    if not total:
        return f"{gettext('Learning curves.')} {_not_yet(gettext)}"
    phase = next(p for p in reversed(PHASES) if points[p, "loss"] or points[p, "recall"])
    words = [f"Learning curves of {PHASES[phase].replace(':', ',')}, after {total:,} steps"]
    if points[phase, "recall"]:
        words.append(f"{RECALLED[phase].lower()} {points[phase, 'recall'][-1][1]:.0%}")
    if points[phase, "loss"]:
        words.append(f"loss {points[phase, 'loss'][-1][1]:.3f}")
    return "; ".join(words) + "."


def _ticks(top: float, most: int) -> list[float]:
    """Round numbers from 0 up to `top`, at most `most` besides 0."""
    rough = top / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * (1 - 1e-9))
    return [step * i for i in range(int(top / step + 1e-9) + 1)]


# Parts of the grid -------------------------------------------------------------------------------


def _attribute(words: str) -> str:
    return html.escape(words).replace("\n", "&#10;")


def _fact_words(recall: FactRecall, facts: Sequence[tuple[str, str, str]]) -> str:
    if not 0 <= recall.fact_index < len(facts):
        return f"fact {recall.fact_index + 1}: {recall.probability:.0%}"
    relation, subject, said = facts[recall.fact_index]
    known = "recalled" if recall.recalled else "not yet recalled"
    words = f"{isolated(subject)} [{relation}] → {isolated(said)}\n"
    words += f"{recall.probability:.0%} likely, {known}"
    return words + (f"\nsays now: “{isolated(recall.said)}”" if recall.said else "")
