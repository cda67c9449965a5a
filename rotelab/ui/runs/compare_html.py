"""A comparison of runs as HTML: settings, scores, differences from the first run, and facts."""

from __future__ import annotations

from collections.abc import Collection

from rotelab.config.names import MORE_MEASURES, PROBE_NAMES, checkpoint_name, probe_name
from rotelab.evaluation.results import Score
from rotelab.reports.comparison import COMPARED, Comparison, FactRow, Option, Share
from rotelab.reports.figures.comparison import run_colour
from rotelab.reports.intervals import READINGS, Difference
from rotelab.ui.components import escape, interval_html, percent_points
from rotelab.ui.i18n import N_, _, ngettext
from rotelab.ui.runs.detail_html import CSS
from rotelab.ui.wording import percent, setting_word

FACT_PAGE = 20
"""Facts on one page."""
SCORED = {
    "generation_accuracy": N_("right"),
    "object_probability": N_("likely"),
    **{field: name.short for field, name in MORE_MEASURES.items()},
}
NOTHING_SHARED = N_("no two facts in common")
SAID = (N_("no fact differs"), N_("could be chance"), N_("more than chance"))
"""`READINGS`, for the catalogues of translations."""
STYLE = f"""{CSS}
table {{table-layout: fixed}}
th:first-child {{width: 22%}}
.wide th:first-child {{width: 18%}}
.wide th:nth-child(2) {{width: 12%}}
td .sub {{color: var(--body-text-color-subdued)}}
td .line {{margin: 0 0 .3rem}}
a {{padding: 0}}
"""
"""All columns of runs are of one width, however long a name is."""


def words_html(comparison: Comparison) -> str:
    """Notes, a link to the comparison, and the settings in which the runs differ."""
    first, *others = [side.run.id for side in comparison.sides]
    html = "".join(f"<p>{escape(words)}</p>" for words in comparison.notes)
    link = f"?run={escape(first)}&amp;compare={escape(','.join(others))}"
    html += f"<p class='sub'><a href='{link}'>{_('Link to this comparison')}</a></p>"
    if not comparison.options:
        read = sum(side.config is not None for side in comparison.sides)
        return html + (f"<p>{_('They have the same settings.')}</p>" if read > 1 else "")
    rows = "".join(
        f"<tr><td>{escape(_(option.label))}</td>{_values(option)}</tr>"
        for option in comparison.options
    )
    return html + (
        f"<h2>{_('Settings in which they differ')}</h2><table><thead><tr>"
        f"<th scope='col'>{_('Setting')}</th>{_heads(comparison)}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def scores_html(comparison: Comparison) -> str:
    """The scores of each probe and checkpoint, a column for each run, the best marked by a star."""
    # Checkpoints go without their colours here: blue and orange are runs.
    rows = "".join(_score_rows(comparison, probe) for probe in _in_order(comparison.probes))
    title = f"<h2>{_('Scores')}</h2>"
    if not rows:
        return title + quiet(_("None of these runs has been asked anything yet."))
    meaning = _(
        "{star} marks the best of its row, unless all are equal: the highest figure, but the "
        "lowest for unrelated questions. “Right” (“of 20” where runs were asked different numbers "
        "of questions): the share whose answer is the fact's object; “likely”: how likely the "
        "model finds the object, on average."
    ).format(star=_star())
    return (
        f"{title}<table class='wide'><thead><tr><th scope='col'>{_('What was asked')}</th>"
        f"<th scope='col'>{_('Model')}</th>{_heads(comparison)}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{quiet(meaning)}"
    )


def differences_html(comparison: Comparison) -> str:
    """By how much each run differs from the first, and whether that could be chance; nothing
    without single answers."""
    if not comparison.differences:
        return ""
    first, *others = comparison.labels
    probes = dict.fromkeys(of[1] for of in comparison.differences)
    rows = "".join(_difference_rows(comparison, probe) for probe in _in_order(probes))
    heads = "".join(_head(place, label) for place, label in enumerate(others, 1))
    meaning = _(
        "In percentage points, on the facts that both runs were asked, with the 95 % interval. "
        "“Could be chance”: 0 is in it, or fewer than six facts differ. “More than chance” tells "
        "these two models apart; what another seed would change is not in the interval."
    )
    title = _("Differences from {run}").format(run=escape(first))
    return (
        f"<h2>{title}</h2><table class='wide'><thead><tr><th scope='col'>{_('What was asked')}</th>"
        f"<th scope='col'>{_('Model')}</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        f"{quiet(meaning)}"
    )


def facts_html(comparison: Comparison, page: int) -> str:
    """A page of the facts that the runs answer differently, and what could not be compared."""
    html = f"<h2>{_('Facts that they answer differently')}</h2>"
    html += "".join(f"<p>{escape(words)}</p>" for words in comparison.fact_notes)
    total, common = len(comparison.facts), comparison.facts_in_common
    if not common:
        return html
    if not total:
        words = ngettext(
            "None: {n} fact in common, with as many right answers in all.",
            "None: {n} facts in common, with as many right answers in all.",
            common,
        )
        return f"{html}<p>{words.format(n=f'{common:,}')}</p>"
    start = page * FACT_PAGE
    rows = comparison.facts[start : start + FACT_PAGE]
    several = len({row.fact.relation for row in comparison.facts}) > 1
    body = "".join(_fact(row, several) for row in rows)
    words = ngettext(
        "{first}–{last} of {total} that differ, the largest differences first; {n} fact is held "
        "out in at least two of the runs.",
        "{first}–{last} of {total} that differ, the largest differences first; {n} facts are held "
        "out in at least two of the runs.",
        common,
    ).format(first=start + 1, last=start + len(rows), total=f"{total:,}", n=f"{common:,}")
    meaning = _(
        "Share of its questions in new wordings answered right after phase 2; “–”: not held out "
        "in that run."
    )
    return (
        f"{html}<p>{words}</p><table><thead><tr><th scope='col'>{_('Subject')}</th>"
        f"<th scope='col'>{_('Right answer')}</th>{_heads(comparison)}</tr></thead>"
        f"<tbody>{body}</tbody></table>{quiet(meaning)}"
    )


def _heads(comparison: Comparison) -> str:
    """The runs' names with their colours in the figure."""
    return "".join(_head(place, label) for place, label in enumerate(comparison.labels))


def _head(place: int, label: str) -> str:
    swatch = f"<span class='swatch' style='background:{run_colour(place)}'></span>"
    return f"<th scope='col'>{swatch} {escape(label)}</th>"


def _in_order(probes: Collection[str]) -> list[str]:
    """Kinds of question, those of every run first."""
    known = [probe for probe in PROBE_NAMES if probe in probes]
    return [*known, *(probe for probe in probes if probe not in PROBE_NAMES)]


def _values(option: Option) -> str:
    words = (_("can't be read") if v is None else setting_word(v) for v in option.values)
    return "".join(f"<td>{escape(word)}</td>" for word in words)


def _asked(comparison: Comparison, probe: str) -> int:
    """How many questions each run was asked; 0 where the runs differ in that."""
    scores = (side.scores.get(c, {}).get(probe) for side in comparison.sides for c in COMPARED)
    counts = {score.n for score in scores if score is not None}
    return counts.pop() if len(counts) == 1 else 0


def _score_rows(comparison: Comparison, probe: str) -> str:
    """A probe's rows, one for each checkpoint."""
    asked = _asked(comparison, probe)
    _short, name, hint = map(_, probe_name(probe))
    words = ngettext("{n} question", "{n} questions", asked).format(n=f"{asked:,}")
    said = f"<br><span class='sub'>{words}</span>" if asked else ""
    first = f"<td rowspan='{len(COMPARED)}'><b title='{escape(hint)}'>{escape(name)}</b>{said}</td>"
    rows = ""
    for checkpoint in COMPARED:
        cells = "".join(
            f"<td>{_score(comparison, place, checkpoint, probe, not asked)}</td>"
            for place in range(len(comparison.sides))
        )
        rows += f"<tr>{first}<td class='key'>{_(checkpoint_name(checkpoint).long)}</td>{cells}</tr>"
        first = ""
    return rows


def _score(comparison: Comparison, place: int, checkpoint: str, probe: str, counted: bool) -> str:
    """A run's figures for one kind of question, each on a line.

    Args:
        comparison: the runs.
        place: which of them.
        checkpoint: its checkpoint.
        probe: the kind of question.
        counted: whether to say how many questions it was.
    """
    score: Score | None = comparison.sides[place].scores.get(checkpoint, {}).get(probe)
    if score is None:
        return "–"
    lines = []
    for measure, words in SCORED.items():
        value = comparison.sides[place].value(checkpoint, probe, measure)
        if value is None:
            continue
        figure = f"{100 * value:.1f} %"
        if place in comparison.best(checkpoint, probe, measure):
            figure = f"<b>{figure}</b> {_star()}"
        said = _(words)
        if counted and measure == "generation_accuracy":
            said = _("of {n}").format(n=f"{score.n:,}")
        known = interval_html(comparison.sides[place].interval(checkpoint, probe, measure), 1)
        lines.append(f"{figure} <span class='sub'>{said}</span> {known}".rstrip())
    return "<br>".join(lines) or "–"


def _difference_rows(comparison: Comparison, probe: str) -> str:
    """A probe's rows, one for each checkpoint at which runs can be told apart."""
    asked = [c for c in COMPARED if any(of[:2] == (c, probe) for of in comparison.differences)]
    first = f"<td rowspan='{len(asked)}'><b>{escape(_(probe_name(probe).long))}</b></td>"
    rows = ""
    for checkpoint in asked:
        cells = ""
        for place in range(1, len(comparison.sides)):
            found = {
                words: comparison.differences[at]
                for measure, words in SCORED.items()
                if (at := (checkpoint, probe, measure, place)) in comparison.differences
            }
            cells += f"<td>{_difference_lines(found)}</td>"
        rows += f"<tr>{first}<td class='key'>{_(checkpoint_name(checkpoint).long)}</td>{cells}</tr>"
        first = ""
    return rows


def _difference_lines(found: dict[str, Difference | None]) -> str:
    """A run's differences by measure, each on a line."""
    if not found:
        return "–"
    if not any(found.values()):
        return f"<span class='sub'>{_(NOTHING_SHARED)}</span>"
    return "".join(_difference(_(words), one) for words, one in found.items() if one is not None)


def _difference(measure: str, found: Difference) -> str:
    reading = escape(_(found.reading))
    if not found.differ:
        return f"<div class='line'><span class='sub'>{measure}:</span> {reading}</div>"
    meaning = ngettext(
        "95 % interval of the difference, on {n} fact that both runs were asked",
        "95 % interval of the difference, on {n} facts that both runs were asked",
        found.facts,
    ).format(n=f"{found.facts:,}")
    digits = max(1, found.decimals - 2)
    value = percent_points(found.value, digits, signed=True)
    if found.reading == READINGS[-1]:
        value, reading = f"<b>{value}</b>", f"<b>{reading}</b>"
    known = interval_html(found.interval, digits, True, meaning)
    return f"<div class='line'>{value} <span class='sub'>{measure}</span> {known} {reading}</div>"


def _star() -> str:
    return f"<b title='{escape(_('the best of its row'))}'>★</b>"


def quiet(words: str) -> str:
    """A paragraph in the second colour; the words may hold markup."""
    return f"<p class='sub'>{words}</p>"


def _fact(row: FactRow, several: bool) -> str:
    """A row of the table of facts, with the relation where there are several."""
    relation = f" <span class='sub'>({escape(row.fact.relation)})</span>" if several else ""
    return (
        f"<tr><td>{escape(row.fact.subject)}{relation}</td><td>{escape(row.fact.object)}</td>"
        f"{''.join(map(_share, row.shares))}</tr>"
    )


def _share(share: Share | None) -> str:
    if share is None:
        return "<td>–</td>"
    return (
        f"<td>{percent(share.value)} <span class='sub'>"
        f"{_('{n} of {m}').format(n=share.right, m=share.asked)}</span></td>"
    )
