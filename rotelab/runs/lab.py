"""The lab as the page and the command line see it: registry, jobs and chat over one home folder."""

from __future__ import annotations

from dataclasses import dataclass

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.facts.packs import Pack, load_pack, shipped_packs
from rotelab.registry import Registry
from rotelab.runs.chat import Chat
from rotelab.runs.jobs import Jobs
from rotelab.storage import Storage


@dataclass(frozen=True)
class Lab:
    """What tabs and commands are given.

    Args:
        settings: where things lie.
        registry: what happened.
        jobs: what is happening.
        chat: whom to ask.
    """

    settings: Storage
    registry: Registry
    jobs: Jobs
    chat: Chat

    @classmethod
    def open(cls, settings: Storage | None = None) -> Lab:
        """Opens the lab of a home folder and marks runs whose process died meanwhile.

        Raises:
            LabError: the home folder or its registry can't be used.
        """
        settings = settings or Storage.from_environment()
        registry = Registry(settings)
        jobs = Jobs(registry, settings)
        jobs.reconcile()
        return cls(settings, registry, jobs, Chat(registry, settings))

    def pack_names(self) -> list[str]:
        """Names that `find_pack` knows: the shipped packs, then the saved fact sets."""
        saved = [row.name for row in self.registry.fact_sets()]
        return [*shipped_packs(), *(name for name in saved if name not in shipped_packs())]

    def find_pack(self, name: str) -> Pack:
        """A saved fact set (newest version), a shipped pack, or a folder, in this order.

        Raises:
            LabError: there is none by that name, or it is not as it should be.
        """
        if any(row.name == name for row in self.registry.fact_sets()):
            return self.registry.fact_set(name)
        return load_pack(name)

    def facts_for(self, config: RunConfig) -> Pack:
        """The facts and prompts that a run with this configuration learns, drawn and checked.

        Raises:
            LabError: no such pack, a relation without prompts, or fewer facts than asked for.
        """
        pack = self.find_pack(config.pack)
        pack.check()
        if config.facts:
            pack = Pack(pack.name, pack.facts.take(config.facts, config.seed), pack.prompts)
        if config.generalize.wordings:
            prompts = pack.prompts.first("train", config.generalize.wordings)
            pack = Pack(pack.name, pack.facts, prompts)
        smallest = min(len(relation.facts) for relation in pack.facts.relations)
        if config.generalize.k >= smallest:
            remedy = f"Choose k below {smallest}, or add facts." if smallest > 1 else "Add facts."
            raise LabError(
                f"k = {config.generalize.k} facts are to be taught in words, but the smallest "
                f"relation has {smallest}, so none would be left to test. {remedy}"
            )
        return pack
