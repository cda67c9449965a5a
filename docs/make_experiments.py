"""Writes `docs/experiments.md` and its figures from experiments that were made: the newest finished
one of each kind on each pack, its tables as `python -m rotelab report` prints them, the commands
that make it again, and its figure.

    python docs/make_experiments.py [HOME ...]

HOME is a lab's home folder (`ROTELAB_HOME`); by default the project's. Where two homes have the
same experiment on the same pack, the newer one counts.
Needs what `requirements-dev.txt` installs and a Chromium (`python tests/browser.py`).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from rotelab.commands import command_of  # noqa: E402
from rotelab.experimenting import result_of  # noqa: E402
from rotelab.experiments import experiments  # noqa: E402
from rotelab.lab import Lab  # noqa: E402
from rotelab.registry_experiments import ExperimentRow  # noqa: E402
from rotelab.settings import Settings  # noqa: E402

DOCS = ROOT / "docs"
WIDTH = 860
ABOUT = """# Experiments

Written by `python docs/make_experiments.py` from the registry; nothing here is typed by hand. The
model is the embedded one (SmolLM2-135M-Instruct), a hundredth of the size of those in the paper,
so its figures stand beside the paper's to be compared in kind, not in height. How each figure is
to be read, and what it can't say, stands under it."""


def write(homes: list[Path], folder: Path = DOCS) -> None:
    """Writes `experiments.md` and its figures into a folder."""
    found = newest(homes)
    missing = [name for name in experiments() if not any(key[0] == name for key in found)]
    parts = [ABOUT]
    figures = folder / "experiments"
    figures.mkdir(exist_ok=True)
    for old in figures.glob("*.svg"):
        old.unlink()
    with drawing() as draw:
        for name in experiments():
            for (kind, pack), (home, row) in found.items():
                if kind == name:
                    file = f"{name}-{pack}.svg".replace(" ", "-").replace(",", "")
                    (figures / file).write_text(draw(home, row), encoding="utf-8")
                    parts += [
                        *text(home, row),
                        f"![{experiments()[name].title}](experiments/{file})",
                    ]
    if missing:
        parts.append(f"Not made yet: {', '.join(missing)}.")
    (folder / "experiments.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def newest(homes: list[Path]) -> dict[tuple[str, str], tuple[Path, ExperimentRow]]:
    """The newest finished experiment of each kind and pack, and the home that has it."""
    rows = []
    for home in homes:
        registry = Lab.open(Settings(home)).registry
        rows += [(home, row) for row in registry.experiment_rows(limit=1000)]
    rows.sort(key=lambda found: found[1].created)
    return {
        (row.experiment, row.pack_name): (home, row)
        for home, row in rows
        if row.status == "finished"
    }


def text(home: Path, row: ExperimentRow) -> list[str]:
    """One experiment: how it is made, and what `report` prints of it."""
    command = [sys.executable, "-m", "rotelab", "report", row.id, "--markdown"]
    env = {**os.environ, "ROTELAB_HOME": str(home), "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    heading, rest = said.strip().split("\n", 1)
    made = command_of(row.config)
    if experiments()[row.experiment].family:
        commands = made.replace("rotelab run", f"rotelab experiment {row.experiment}")
    else:
        commands = f"{made}\npython -m rotelab experiment {row.experiment} --run latest"
    minutes = f"{(row.seconds or 0) / 60:.0f} minutes" if row.seconds else "not timed"
    return [
        f"{heading.removeprefix('#')}, `{row.pack_name}`",
        f"```sh\n{commands}\n```",
        f"Made on {row.created[:10]} ({minutes}, runs that were there already not counted).",
        rest.strip(),
    ]


@contextlib.contextmanager
def drawing() -> Iterator[Callable[[Path, ExperimentRow], str]]:
    """A Chromium that makes SVG text of an experiment's figure."""
    from browser import launch_options
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        page = browser.new_page()
        page.set_content("<body></body>")
        page.add_script_tag(content=get_plotlyjs())

        def draw(home: Path, row: ExperimentRow) -> str:
            figure = result_of(Lab.open(Settings(home)).registry.experiment_row(row.id)).figure()
            # The page around it may be light or dark: it brings its own ground.
            figure.update_layout(template="plotly_white")
            figure.update_layout(paper_bgcolor="white", plot_bgcolor="white")
            size = {"format": "svg", "width": WIDTH, "height": figure.layout.height or 400}
            made = page.evaluate(
                "([figure, size]) => Plotly.toImage(JSON.parse(figure), size)",
                [figure.to_json(), size],
            )
            return unquote(made.split(",", 1)[1])

        yield draw
        browser.close()


if __name__ == "__main__":
    write([Path(home).resolve() for home in sys.argv[1:]] or [ROOT])
