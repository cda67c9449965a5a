"""Feeds bad input to everything that reads a stranger's file: tables of facts and prompts, and
bundles of runs.

    python benchmarks/fuzz_imports.py --n 10000 --seed 0 [--json]

Each example is imported whole or refused by a `LabError`. Counted as `other`, which must be 0:
any other exception, a refused file that leaves a row or a file behind, a sound table whose refusal
does not name row and column, an import that does not come back the same, a cell that is exported as
a formula, and text that reaches the page as HTML.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from fuzz_strategies import BundleCase, Table, bundles, tables  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from small_bundle import small_bundle  # noqa: E402

from rotelab.errors import InputError, LabError  # noqa: E402
from rotelab.facts.facts_importer import parse_facts  # noqa: E402
from rotelab.facts.packs import Pack, load_pack  # noqa: E402
from rotelab.facts.prompts import parse_prompts  # noqa: E402
from rotelab.facts.reading.importer import read_files  # noqa: E402
from rotelab.runs.export.bundle import export_run, import_bundle  # noqa: E402
from rotelab.runs.lab import Lab  # noqa: E402
from rotelab.storage import Storage  # noqa: E402
from rotelab.ui.facts.draft import Draft  # noqa: E402
from rotelab.ui.facts.export import export_files  # noqa: E402
from rotelab.ui.facts.html import (  # noqa: E402
    example_lines,
    note,
    preview_head,
    preview_outcome,
    saved_note,
)
from rotelab.ui.facts.incoming import Incoming, taken  # noqa: E402
from rotelab.ui.runs.detail_html import head_html, settings_html  # noqa: E402

TABLES = ("runs", "contents", "fact_sets", "metrics", "fact_recall", "scores", "predictions",
          "similarities")  # fmt: skip
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


class Fuzz:
    """Imports one example after the other into one lab and counts how they ended.

    Args:
        home: the lab's folder.
    """

    def __init__(self, home: Path):
        self.lab = Lab.open(Storage(home))
        self.members = small_bundle(home.parent)
        self.wordings = load_pack("mother").prompts
        self.file = home.parent / "given"
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.faults: list[str] = []

    def take(self, case: Table | BundleCase) -> None:
        """Imports one example; nothing is raised."""
        before = self._state()
        kind = "table" if isinstance(case, Table) else "bundle"
        try:
            (self._table if isinstance(case, Table) else self._bundle)(case)
            outcome = "imported"
        except LabError as error:
            outcome = "refused"
            try:
                self._refusal(case, error)
                assert self._state() == before, "something was left behind"
            except Exception as fault:
                outcome = self._fault(case, fault)
        except Exception as fault:
            outcome = self._fault(case, fault)
        self.counts[outcome] += 1
        self.kinds[f"{kind}s {outcome}"] += 1

    def _table(self, case: Table) -> None:
        self.file.write_bytes(case.data)
        imported = read_files([self.file])
        given = Incoming(str(self.file), tuple(r.table for r in imported.tables), imported=imported)
        plain(preview_head(given))
        plain(preview_outcome(given))
        draft = taken(Draft(), given, False).draft
        facts_csv, prompts_csv, workbook = export_files(self.lab, draft)
        if imported.facts is None:
            read = imported.prompts
            assert parse_prompts(read.to_csv().encode(), "x") == read, "changed on the way"
            assert read_files([prompts_csv]).prompts == read, "changed by export"
            pack = Pack("x", load_pack("mother").facts, read)
        else:
            read = imported.facts
            assert parse_facts(read.to_csv().encode(), "x") == read, "changed on the way"
            for file in (facts_csv, workbook):
                assert read_files([file]).facts == read, "changed by export"
            pack = Pack("x", read, self.wordings)
        for row in csv.reader(io.StringIO(read.to_csv(), newline="")):
            assert not any(cell.startswith(FORMULAS) for cell in row), "exported as a formula"
        plain(example_lines(draft))
        before = self._state()
        try:
            version = self.lab.registry.save_fact_set(case.name, pack)
        except LabError as error:  # the name can't be one; the table was sound all the same
            plain(note("bad", str(error)))
            assert self._state() == before, "something was left behind"
            return
        kept = self.lab.registry.fact_set(case.name, version)
        assert (kept.facts, kept.prompts) == (pack.facts, pack.prompts), "changed in the registry"
        plain(saved_note(Draft(name=case.name, version=version), True, 0, ()))
        with self.lab.registry.write() as db:
            db.execute("DELETE FROM fact_sets")
            db.execute("DELETE FROM contents")

    def _bundle(self, case: BundleCase) -> None:
        lab = self.lab
        self.file.write_bytes(case.data)
        came = import_bundle(lab.registry, lab.storage, self.file)
        assert came.new, "nothing was here before"
        run = lab.registry.run(came.run_id)
        assert run.status in ("finished", "stopped", "failed", "interrupted")
        plain(head_html(run, lab.registry.scores(run.id)))
        plain(settings_html(run))
        plain(note("good", came.sentence))
        assert run.pack.facts.split(run.config.generalize.k, run.config.seed)
        out = export_run(lab.registry, lab.storage, run.id, self.file.with_suffix(".out"))
        assert not import_bundle(lab.registry, lab.storage, out).new, "changed on the way"
        lab.delete(run.id)

    def _refusal(self, case: Table | BundleCase, error: LabError) -> None:
        said = str(error)
        assert said and len(said) < 1000 and "\n" not in said, "no sentence"
        plain(note("bad", said))
        if isinstance(case, Table) and case.whole:
            place = isinstance(error, InputError) and error.row and error.column in case.columns
            assert place, "names no row and column"

    def _fault(self, case: Table | BundleCase, fault: Exception) -> str:
        if len(self.faults) < 10:
            what = "".join(traceback.format_exception(fault)[-2:])
            self.faults.append(f"{case.what}: {case.data[:200]!r}…\n{what}")
        self._clear()
        return "other"

    def _state(self) -> tuple:
        with self.lab.registry.read() as db:
            rows = [db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES]
        folder = self.lab.storage.runs
        return (*rows, *(sorted(p.name for p in folder.iterdir()) if folder.is_dir() else ()))

    def _clear(self) -> None:
        with self.lab.registry.write() as db:
            for table in ("runs", "fact_sets", "contents"):
                db.execute(f"DELETE FROM {table}")


def fuzz(n: int, start: int, home: Path) -> Fuzz:
    """Takes `n` examples drawn by hypothesis from a seed."""
    work = Fuzz(home)
    case = st.one_of(tables(), bundles(work.members))
    left = n
    while left > 0:  # hypothesis may end a little early
        at = sum(work.counts.values())

        @seed(start + at)
        @settings(
            max_examples=left, phases=[Phase.generate], database=None, deadline=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case)
        def run(example) -> None:
            work.take(example)

        run()
        left = n - sum(work.counts.values())
    return work


class _Tags(HTMLParser):
    """Remembers the tags that a text would put on a page."""

    def __init__(self):
        super().__init__()
        self.live: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in ("img", "script", "svg", "iframe", "a", "marquee"):
            self.live.append(tag)
        self.live += [name for name, _ in attrs if name.startswith("on")]


def plain(html: str) -> None:
    """Checks that the HTML holds no tags but the page's own."""
    tags = _Tags()
    tags.feed(html)
    assert not tags.live, f"reaches the page as HTML: {tags.live}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given_ = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = fuzz(given_.n, given_.seed, Path(folder) / "home")
    said = {
        "n": sum(work.counts.values()),
        **{name: work.counts[name] for name in ("imported", "refused", "other")},
        "seed": given_.seed,
        "seconds": round(time.monotonic() - started, 1),
        "kinds": dict(sorted(work.kinds.items())),
    }
    print(json.dumps(said) if given_.json else "\n".join(f"{k}: {v}" for k, v in said.items()))
    for fault in work.faults:
        print(fault, file=sys.stderr)
    return 1 if work.counts["other"] else 0


if __name__ == "__main__":
    sys.exit(main())
