"""A result as one HTML file to send: figure, tables, and how it was made, without any other file.

The figure is drawn by Plotly's script, which is inside the file (4.8 MB of it), so that it opens
without a network. What people wrote, such as names of facts, is escaped.
"""

from __future__ import annotations

import html
import os
from pathlib import Path

from rotelab.errors import LabError
from rotelab.experiments.results.view import ResultView
from rotelab.reports.figures.export import interactive_html
from rotelab.reports.formats import Table, cell_text, worded
from rotelab.storage import beside

STYLE = """
:root { color-scheme: light dark; --text: #1b2230; --soft: #56617a; --line: #d5dae3;
  --back: #ffffff; --panel: #f4f6fa; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9f0; --soft: #a7b0c2; --line: #3a4254;
  --back: #12161f; --panel: #1b2130; } }
body { margin: 0 auto; padding: 24px 20px 48px; max-width: 1040px; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
h1 { margin: 0 0 4px; font-size: 26px; line-height: 1.25; }
h2 { margin: 32px 0 8px; font-size: 19px; }
.asked { margin: 0 0 16px; font-size: 18px; }
.recorded { margin: 0 0 16px; padding: 8px 12px; border-left: 4px solid #c98a00;
  background: var(--panel); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
pre { margin: 0; padding: 10px 12px; background: var(--panel); overflow-x: auto; font-size: 14px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0 0 20px; font-size: 15px; }
caption { padding: 0 0 6px; text-align: left; font-weight: 600; }
th, td { padding: 4px 16px 4px 0; border-bottom: 1px solid var(--line); text-align: right;
  font-variant-numeric: tabular-nums; vertical-align: top; }
th { color: var(--soft); } .words { text-align: left; }
.js-plotly-plot text { fill: var(--text) !important; }
footer { margin-top: 32px; color: var(--soft); font-size: 14px; }
@media (max-width: 600px) { dl { grid-template-columns: 1fr; } dt { margin-top: 6px; } }
"""


def html_page(view: ResultView) -> str:
    """The whole file's text."""
    about, tables = view.about, view.found.tables()
    mark = ""
    if view.recorded:
        mark = "<p class='recorded'>Recorded: this result comes with rotelab.</p>"
    terms = [("Expected", about.hypothesis), ("How to read it", about.reading)]
    terms += [("The paper", about.paper)] if about.paper else []
    figure = interactive_html(view.found.figure())
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_text(about.title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{_text(about.title)}</h1><p class='asked'>{_text(about.question)}</p>{mark}"
        f"<h2>What came out</h2>{figure}{''.join(map(_table, tables))}"
        "<p>Numbers in square brackets are 95 % intervals, where one could be computed.</p>"
        f"<h2>How to read it</h2>{_terms(terms)}"
        f"<h2>How it was made</h2>{_terms(view.lines())}"
        f"<h2>The same again</h2><pre>{html.escape(view.command)}</pre>"
        f"<footer>rotelab {_text(view.version)}, experiment {_text(about.name)} (version "
        f"{about.version}), result {_text(view.id)}</footer></body></html>\n"
    )


def write_html(view: ResultView, path: Path) -> Path:
    """Writes the file, in place of an older one.

    Returns:
        Its path.

    Raises:
        LabError: it can't be written.
    """
    part = beside(path, f"{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(html_page(view), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise LabError(
            f"{path} can't be written ({error.strerror or error}). Name a file in a folder that "
            "you may write to."
        ) from error
    return path


def file_name(view: ResultView) -> str:
    """What the file is called where nobody names it."""
    return f"{view.about.name}-{view.id}.html"


def _table(table: Table) -> str:
    kinds = [" class='words'" if words else "" for words in worded(table)]
    heads = "".join(
        f"<th scope='col'{kind}>{_text(name)}</th>"
        for kind, name in zip(kinds, table.columns, strict=True)
    )
    rows = "".join(
        "<tr>" + "".join(
            f"<td{kind}>{_text(cell_text(cell))}</td>"
            for kind, cell in zip(kinds, row, strict=True)
        ) + "</tr>"
        for row in table.rows
    )  # fmt: skip
    return (
        f"<div class='wide'><table><caption>{_text(table.title)}</caption><thead><tr>{heads}</tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _terms(parts: list[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in parts)
    return f"<dl>{rows}</dl>"


def _text(text: object) -> str:
    return html.escape(" ".join(str(text).split()))
