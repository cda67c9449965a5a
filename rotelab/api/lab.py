"""`rotelab.Lab`: one home folder with its runs, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rotelab.api import facts as given_facts
from rotelab.api.making import finished, make_run
from rotelab.api.progress import watching
from rotelab.api.results import Comparison, Sweep
from rotelab.api.run import Run
from rotelab.config.keywords import config_of, path_of
from rotelab.config.option_paths import text_of
from rotelab.config.recipes import DEFAULT
from rotelab.config.sweep_grid import read_axes
from rotelab.facts.reading.notes import Options
from rotelab.registry.reading_sql import read_sql
from rotelab.reports import comparison
from rotelab.reports.formats import Table, as_html
from rotelab.runs.lab import Lab as Core
from rotelab.runs.sweeps import plan
from rotelab.storage import Storage

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20
"""How many runs a notebook shows of a lab."""


class Lab:
    """A lab: one home folder with its runs, the same that the page and the command line use.

    Args:
        home: the folder; the usual one if not given (`ROTELAB_HOME`, else the project's folder,
            else the user's data folder).
        progress: whether work shows a progress bar.

    Raises:
        LabError: the folder or its database can't be used.

    `lab.core` has the parts behind it: registry, jobs, chat, storage. Their names may change.
    """

    def __init__(self, home: str | Path | None = None, progress: bool = True):
        storage = None if home is None else Storage(Path(home).expanduser().absolute())
        self.core = Core.open(storage)
        self.progress = progress

    @property
    def home(self) -> Path:
        """The home folder."""
        return self.core.storage.home

    @property
    def packs(self) -> list[str]:
        """The names of the fact packs that come with rotelab, and of saved fact sets."""
        return self.core.pack_names()

    # Runs -----------------------------------------------------------------------------------------

    def run(
        self,
        pack: str = "mother",
        *,
        recipe: str = DEFAULT,
        name: str = "",
        background: bool = False,
        options: Mapping[str, Any] | None = None,
        **short: Any,
    ) -> Run:
        """Makes a run: both phases and all evaluation, in this process, as `rotelab run` does.

        Args:
            pack: a fact pack, a saved fact set, or a folder with `facts.csv` and `prompts.csv`.
            recipe: how it is trained; the documentation's page *Options* lists the recipes.
            name: what to call it.
            background: only put it in the queue, for a process of its own; `Run.wait` waits for it.
            options: any options by their path, such as `{"memorize.lora_plus": 4}`.
            short: options by the names of the command line's flags: `k`, `facts`, `seed`, `model`,
                `device`, `phase1_epochs` and so on.

        Raises:
            LabError: facts and options do not fit, another run holds the device, or the run failed
                or was stopped; `lab.get("latest").resume()` then goes on with it.
        """
        config = config_of(recipe, {"pack": pack, **short, **(options or {})})
        if background:
            run_id = self.core.jobs.enqueue(config, self.core.facts_for(config), name=name)
            return Run(self, run_id)
        with watching(self.progress) as watch:
            run_id = make_run(self.core, config, watch, name)
        finished(self.core, run_id)
        return Run(self, run_id)

    def get(self, run: str = "latest") -> Run:
        """A run that there is.

        Args:
            run: its id, a beginning of it that no other has, or `latest`.

        Raises:
            LabError: no run, or more than one, is meant.
        """
        return Run(self, self.core.registry.resolve(run))

    def runs(
        self, search: str = "", status: str | None = None, archived: bool = False, limit: int = 100
    ) -> list[Run]:
        """The runs, newest first.

        Args:
            search: a text that id, name, pack, model, note, tags or sweep must contain.
            status: only those with this status, such as `finished`.
            archived: only archived ones, which are left out otherwise.
            limit: how many at most.
        """
        rows = self.core.registry.runs(limit, search=search, status=status, archived=archived)
        return [Run(self, row.id) for row in rows]

    # Many runs ------------------------------------------------------------------------------------

    def sweep(
        self,
        pack: str | Sequence[str] = "mother",
        *,
        recipe: str = DEFAULT,
        name: str = "",
        options: Mapping[str, Any] | None = None,
        **short: Any,
    ) -> Sweep:
        """Makes a run for every combination of the options that are given as lists.

        `lab.sweep("mother", k=[1, 10, 50], seed=[0, 1])` makes six; means are taken over the seed.
        Runs that differ only in phase 2 share phase 1. A failed run does not stop the others.

        Args:
            pack: the facts, as for `run`; a list varies them.
            recipe: how all are trained.
            name: what to call the sweep.
            options: options by their path; a list is an axis.
            short: options by their short names; a list is an axis.

        Raises:
            LabError: options or facts do not fit, or the work was interrupted; `Sweep.resume` goes
                on with it.
        """
        given = {path_of(key): value for key, value in {"pack": pack, **short}.items()}
        given |= {path_of(key): value for key, value in (options or {}).items()}
        axes = {path: v for path, v in given.items() if isinstance(v, list | tuple | range)}
        base = config_of(recipe, {path: v for path, v in given.items() if path not in axes})
        typed = read_axes([(path, list(map(text_of, v))) for path, v in axes.items()], base)
        made = Sweep(self, plan(self.core, typed, base, name))
        made.resume()
        return made

    def get_sweep(self, sweep: str = "latest") -> Sweep:
        """A sweep that there is, by its id, a beginning of it, or `latest`.

        Raises:
            LabError: no sweep, or more than one, is meant.
        """
        return Sweep(self, self.core.registry.resolve_sweep(sweep))

    def compare(self, *runs: Run | str) -> Comparison:
        """Compares two to six runs: settings that differ, scores, facts answered differently.

        Args:
            runs: runs, or their ids; the others are compared with the first.

        Raises:
            LabError: they are too few or too many, or there is no such run.
        """
        ids = [run.id if isinstance(run, Run) else run for run in runs]
        comparison.check(ids)
        registry = self.core.registry
        return Comparison(comparison.compare(registry, [registry.resolve(i) for i in ids]))

    # Facts and data -------------------------------------------------------------------------------

    def save_facts(self, facts: Any, name: str, relation: str = "") -> str:
        """Saves facts as a fact set, which `run` then takes by its name.

        Wordings that a relation lacks are added: rotelab's own where it knows the relation, else
        a starter set made from the words of the relation.

        Args:
            facts: a file of any kind that `rotelab facts check` reads, a data frame, or rows such
                as `(subject, object)` or `(relation, subject, object)`.
            name: what to call the set; one of that name gets a new version.
            relation: the relation of facts that name none.

        Returns:
            The name.

        Raises:
            LabError: the facts can't be used; says which and why.
        """
        if isinstance(facts, str | Path) or hasattr(facts, "to_csv"):
            pack, _ = given_facts.read(facts, Options(usual_relation=relation)).pack(name)
        else:
            pack = given_facts.pack_of(facts, name, relation)
        self.core.save_pack(pack)
        return pack.name

    def sql(self, query: str) -> pd.DataFrame:
        """Reads the lab's database with one SELECT; nothing can be changed that way.

        Raises:
            LabError: it does more than read, or is not valid.
        """
        import pandas as pd

        found = read_sql(self.core.storage.database, query)
        return pd.DataFrame(found.rows, columns=list(found.columns))

    def __repr__(self) -> str:
        return f"<rotelab.Lab {self.home}>"

    def _repr_html_(self) -> str:
        rows = tuple(
            (row.id, row.name, row.pack_name, row.model, row.status, row.test_accuracy)
            for row in self.core.registry.runs(SHOWN)
        )
        columns = ("run", "name", "facts", "model", "status", "test wordings, right")
        return as_html([Table(f"rotelab: {self.home}", columns, rows)])
