"""The “Look inside” tab's findings as HTML: the figures' links, and each figure in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.config.option_paths import label_of
from rotelab.errors import LabError
from rotelab.evaluation.results import LensReading, Similarity, WeightChange
from rotelab.registry import RunRow
from rotelab.reports.figures.logit_lens import first_layer, most_changed
from rotelab.reports.figures.representations import series_of
from rotelab.ui.components import checkpoint_badge, escape, note, status_word
from rotelab.ui.i18n import _
from rotelab.ui.inside import moment_panel, texts


def contents_html() -> str:
    """The questions that the figures answer, as links to them."""
    parts = {
        "similarity": texts.SIMILARITY,
        "delta": texts.DELTA,
        "lens": texts.LENS,
        "moment": moment_panel.TITLE,
        "changes": texts.CHANGES,
        "patching": texts.PATCHING,
        "pca": texts.PCA,
    }
    links = "".join(
        f'<li class="to-{name}"><a href="#look-{name}">{_heading(_(text))}</a></li>'
        for name, text in parts.items()
    )
    label = escape(_("Figures on this page"))
    return f'<nav class="contents" aria-label="{label}"><ol>{links}</ol></nav>'


def similarity_summary(rows: Sequence[Similarity]) -> str:
    """How similar the key token is to each kind of wording: the mean over the upper layers."""
    series = series_of(rows)
    top = max((row.layer for row in rows), default=0)
    upper = range(top - top // 4, top + 1)
    there = [c for c in CHECKPOINTS if any(row.checkpoint == c for row in rows)]
    lines = []
    for name, label in texts.READOUT.items():
        by_layer = [series.get(name, {}).get(c, {}) for c in there]
        if any(by_layer):
            lines.append((label, [_mean(values, upper) for values in by_layer]))
    if not lines:
        return ""
    hint = _("(cosine similarity, mean of layers {first} to {last})").format(
        first=upper[0], last=top
    )
    return _summary(_("In short: how alike are the key-token prompt and …"), hint, there, lines)


def lens_summary(rows: Sequence[LensReading]) -> str:
    """From which layer on half of the answers can be read off."""
    there = [c for c in ("memorized", "generalized") if any(r.checkpoint == c for r in rows)]
    if not there:
        return ""
    lines = [
        (name, [_from_layer(first_layer(rows, checkpoint, role)) for checkpoint in there])
        for role, name in texts.ASKED.items()
    ]
    hint = _("(layers 0 to {last})").format(last=max(row.layer for row in rows))
    return _summary(_("In short: half of the answers or more come first …"), hint, there, lines)


def changes_summary(rows: Sequence[WeightChange]) -> str:
    """Which layers each phase changed most."""
    parts = []
    for checkpoint, name in texts.PHASES.items():
        layers = ", ".join(str(layer) for layer in most_changed(rows, checkpoint))
        if layers:
            phase = f"<strong>{_(name)}</strong>"
            parts.append(_("{phase}: layers {layers}").format(phase=phase, layers=layers))
    if not parts:
        return ""
    return f'<p class="note">{_("Changed most: {phases}.").format(phases="; ".join(parts))}</p>'


def alignment_note(run: RunRow) -> str:
    """A warning where an alignment loss pulled the compared states together in training."""
    try:
        weight = run.config.generalize.align if run.config.stages == "two" else 0.0
    except LabError:  # the stored settings are damaged
        return ""
    if not weight:
        return ""
    return note(
        _(
            "Phase 2 of this run was asked to make taught facts' wordings like the key token "
            "(“{option}” is {weight}), so that they are alike is no finding by itself. The finding "
            "is that this reaches facts and wordings that phase 2 never saw. With 0 the two grow "
            "alike by themselves, though less."
        ).format(option=_(label_of("generalize.align")), weight=f"{weight:g}")
    )


def empty_reason(run: RunRow) -> str:
    """Why there is nothing to show for a run, or not yet."""
    if run.is_lesson:
        return _(
            "A later lesson is not looked into: it only adds an adapter. Choose the run that it "
            "continues."
        )
    if run.live or run.status == "queued":
        return _(
            "Nothing has been measured in this run yet. The first figures come with its first "
            "evaluation; open this tab again then."
        )
    return _(
        "This run ({status}) ended before its inside was measured. Choose another run, or resume "
        "it on the Runs tab."
    ).format(status=status_word(run.status))


def _heading(text: str) -> str:
    return escape(text.splitlines()[0].lstrip("# "))


def _summary(
    title: str, hint: str, checkpoints: Sequence[Checkpoint], lines: Iterable[tuple[str, list[str]]]
) -> str:
    """A small table: a column for each checkpoint."""
    heads = "".join(f"<th scope='col'>{checkpoint_badge(c)}</th>" for c in checkpoints)
    body = "".join(
        f"<tr><th scope='row'>{_(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for name, cells in lines
    )
    return (
        f"<div class='readout'><table><caption>{title} <span class='hint'>{hint}</span></caption>"
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _mean(values: dict[int, float], layers: Sequence[int]) -> str:
    there = [values[layer] for layer in layers if layer in values]
    return f"{sum(there) / len(there):.2f}" if there else "–"


def _from_layer(layer: int | None) -> str:
    if layer is None:
        return _("at no layer")
    return _("from layer {layer} on").format(layer=layer)
