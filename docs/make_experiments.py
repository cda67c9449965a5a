"""Writes `docs/results/experiments.md` and its figures from experiments that were made: the newest
finished one of each kind on each pack and with each seed, its tables as `python -m rotelab report`
prints them (means where there are several seeds), the commands that make it again, and its figure.
Its question and its reading are filled in from the code when the site is built (`docs/hooks.py`).

    python docs/make_experiments.py [HOME ...]

HOME is a lab's home folder (`ROTELAB_HOME`); by default the project's. Where two homes have the
same experiment on the same pack and seed, the newer one counts. Seeds are averaged if one home has
them all.

Needs what `requirements-dev.txt` installs and a Chromium (`python tests/support/browser.py`).
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

from rotelab.config.reproduce import command_of  # noqa: E402
from rotelab.experiments import experiments  # noqa: E402
from rotelab.experiments.runner import result_of  # noqa: E402
from rotelab.registry.experiments import ExperimentRow  # noqa: E402
from rotelab.runs.lab import Lab  # noqa: E402
from rotelab.storage import Storage  # noqa: E402

RESULTS = ROOT / "docs" / "results"
WIDTH = 860
ABOUT = """# The experiments

Written by `python docs/make_experiments.py` from the registry; nothing here is typed by hand. The
model is the embedded one (SmolLM2-135M-Instruct), which is far smaller than those in the paper, so
compare its figures with the paper's in kind, not in height. Each experiment begins with its
question, what was expected, how to read its tables, and what they can't say."""


def write(homes: list[Path], folder: Path = RESULTS) -> None:
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
            for (kind, pack), made in found.items():
                if kind == name:
                    home, row = made[0]
                    file = f"{name}-{pack}.svg".replace(" ", "-").replace(",", "")
                    (figures / file).write_text(draw(home, row), encoding="utf-8")
                    parts += [
                        *text(made),
                        f"![{experiments()[name].title}](experiments/{file})",
                    ]
    if missing:
        parts.append(f"Not made yet: {', '.join(missing)}.")
    (folder / "experiments.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def newest(homes: list[Path]) -> dict[tuple[str, str], list[tuple[Path, ExperimentRow]]]:
    """The newest finished experiments of each kind and pack, one a seed, and the home of each.

    The lowest seed comes first. Experiments on runs with reworded facts, which no command names,
    are left out, and so are those that an older version measured.
    """
    rows = []
    for home in homes:
        registry = Lab.open(Storage(home)).registry
        rows += [(home, row) for row in registry.experiment_rows(limit=1000)]
    rows.sort(key=lambda found: found[1].created)
    by_seed = {
        (row.experiment, row.pack_name, row.config.seed): (home, row)
        for home, row in rows
        if row.status == "finished"
        and row.pack_name == row.config.pack
        and row.version == experiments()[row.experiment].version
    }
    found: dict[tuple[str, str], list[tuple[Path, ExperimentRow]]] = {}
    for name, pack, seed in sorted(by_seed):
        found.setdefault((name, pack), []).append(by_seed[name, pack, seed])
    return found


def text(made_of: list[tuple[Path, ExperimentRow]]) -> list[str]:
    """One experiment: how it is made, and what `report` prints of it."""
    home, row = made_of[0]
    rows = [other for at, other in made_of if at == home and other.version == row.version]
    ids = [other.id for other in rows]
    command = [sys.executable, "-m", "rotelab", "report", *ids, "--markdown"]
    env = {**os.environ, "ROTELAB_HOME": str(home), "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    heading, rest = said.strip().split("\n", 1)
    # `report` ends with a list: the experiment's words, and the runs that it was made of.
    tables, *_, runs = rest.strip().split("\n- ")
    made = command_of(row.config)
    if experiments()[row.experiment].family:
        commands = made.replace("rotelab run", f"rotelab experiment {row.experiment}")
    else:
        commands = f"{made}\npython -m rotelab experiment {row.experiment} --run latest"
    took = sum(other.seconds or 0 for other in rows)
    minutes = f"{took / 60:.0f} minutes" if took else "not timed"
    if len(rows) > 1:
        seeds = ", ".join(str(other.config.seed) for other in rows)
        commands += f"\n# and again with each of the seeds {seeds}; the figure shows the first"
    return [
        f"{heading.removeprefix('#')}, `{row.pack_name}`",
        f"```sh\n{commands}\n```",
        f"Made on {row.created[:10]} ({minutes}, runs that were there already not counted).",
        f"<!-- generated: experiment {row.experiment} -->",
        tables.strip(),
        runs,
    ]


@contextlib.contextmanager
def drawing() -> Iterator[Callable[[Path, ExperimentRow], str]]:
    """A Chromium that makes SVG text of an experiment's figure."""
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs
    from support.browser import launch_options

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        page = browser.new_page()
        page.set_content("<body></body>")
        page.add_script_tag(content=get_plotlyjs())

        def draw(home: Path, row: ExperimentRow) -> str:
            figure = result_of(Lab.open(Storage(home)).registry.experiment_row(row.id)).figure()
            # The page around it may be light or dark, so the figure brings its own background.
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
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    write([Path(home).resolve() for home in sys.argv[1:]] or [ROOT])
