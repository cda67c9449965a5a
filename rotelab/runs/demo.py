"""The demo of the tab “Start here”, a recorded run that ships with the lab; and a short run on a
person's own names, for the Train tab.

The recording (made by `docs/record_walk.py`) is an ordinary bundle with real adapters: its training
is shown as it was recorded, and its model answers live.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from rotelab.config.names import CHECKPOINTS
from rotelab.config.run_config import EvaluationConfig, GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.errors import InputError, LabError, UnknownRun
from rotelab.evaluation.answer_match import contains
from rotelab.facts import synthetic
from rotelab.facts.csv_text import read_bytes
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.facts_importer import parse_fact_rows, parse_facts
from rotelab.facts.packs import Pack, load_pack
from rotelab.facts.prompts import SLOT
from rotelab.registry import RunRow
from rotelab.runs.export.bundle import import_bundle
from rotelab.runs.lab import Lab
from rotelab.storage import ASSETS

FOLDER = ASSETS / "walk"
BUNDLE = FOLDER / "run.rotelab.zip"
QUESTIONS = FOLDER / "questions.json"
RUN_NAME = "The recorded tour"
RUN_NOTE = "Comes with rotelab: the run that the tab “Start here” plays."

OFFERED = "example.txt"
"""The file in the home's folder `runs` that names the recording that was put among its runs."""

RELATION = "mother"
ANSWER_TOKENS = 12
"""Most tokens of an answer: names are shorter, and each token takes time on a small machine."""

FIRST_NAMES = 4
"""How many names the recorded run is taught by rote, unless the person types others."""

OWN_SET = "my own names"
"""The name of the fact set that holds a person's own names."""
OWN_FACTS, OWN_LEAST, OWN_K = 20, 14, 10
OWN_TABLE = "Your names"
OWN_SEED = 1
SEEDS_TRIED = 2000
KEPT_BACK = 4
"""How many of a person's own facts, the first ones, phase 2 must not teach."""

_importing = threading.Lock()


@dataclass(frozen=True)
class Recording:
    """The shipped recording, read without importing its run.

    Args:
        run_id: the recorded run's id.
        questions: questions in words, each about a different fact that phase 2 never taught.
        facts: the facts it learned.
    """

    run_id: str
    questions: tuple[str, ...]
    facts: FactSet

    def fact_of(self, question: str) -> Fact:
        """The fact that a question is about."""
        return next(fact for fact in self.facts if fact.subject in question)


def recording() -> Recording:
    """The recorded run's facts and questions.

    Raises:
        LabError: the shipped files are missing or damaged.
    """
    try:
        said = json.loads(read_bytes(QUESTIONS))
        with zipfile.ZipFile(io.BytesIO(BUNDLE.read_bytes())) as bundle:
            facts = parse_facts(bundle.read("facts.csv"), "facts.csv")
        return Recording(said["run"], tuple(said["questions"]), facts)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise LabError(
            f"The recorded demo can't be read from {FOLDER.name} ({error}). Install rotelab again; "
            "the other tabs work without it."
        ) from error


def offer_run(lab: Lab) -> str | None:
    """Puts the recorded run behind the lab's own runs, so that no tab is empty on a first visit.

    It does so once for each recording: whoever archives it or deletes it has it out of the way. The
    recording that an older version of the lab put there is archived; its lessons stay.

    Returns:
        Its id where it was put there just now.

    Raises:
        LabError: as `open_run`.
    """
    note = lab.storage.home / "runs" / OFFERED
    wanted, before = recording().run_id, ""
    with contextlib.suppress(OSError, UnicodeDecodeError):  # never offered here
        before = note.read_text(encoding="utf-8").strip()
    if before == wanted:
        return None
    run_id, _ = open_run(lab)
    lab.registry.update_run(run_id, archived=False)
    if before:
        with contextlib.suppress(UnknownRun):  # deleted since
            lab.registry.update_run(before, archived=True)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(wanted + "\n", encoding="utf-8")
    except OSError as error:
        raise LabError(f"{note} can't be written ({error.strerror or error}).") from error
    return run_id


def open_run(lab: Lab) -> tuple[str, bool]:
    """The recorded run in this lab; imported where it is missing, and archived then.

    Returns:
        Its id here, and whether it was imported just now.

    Raises:
        LabError: the bundle is damaged, or the home folder can't be written.
    """
    with _importing:  # two people at once must not import it twice
        wanted = recording().run_id
        here = any(run.id == wanted for run in lab.registry.runs(search=wanted, archived=None))
        if here and set(lab.chat.checkpoints(wanted)) == set(CHECKPOINTS):
            return wanted, False
        imported = import_bundle(lab.registry, lab.storage, BUNDLE)
        lab.registry.update_run(imported.run_id, archived=True)
        if imported.new:  # the recording has an earlier name of the tour
            lab.registry.update_run(imported.run_id, name=RUN_NAME)
        lab.registry.put_last(imported.run_id)
        return imported.run_id, imported.new


def is_good_question(lab: Lab, run_id: str, question: str) -> bool:
    """Whether the demo can use a question: it is about a fact that phase 2 never taught, the
    generalised model answers it right, and the two models before it answer something else.

    Raises:
        LabError: as `Chat.stream`.
    """
    split = split_of(lab.registry.run(run_id))
    fact = next((fact for fact in split.held_out if fact.subject in question), None)
    if fact is None:
        return False
    said, known = {}, {}
    for reply in lab.chat.stream(run_id, question, max_new_tokens=ANSWER_TOKENS):
        if reply.done:
            said[reply.checkpoint], known[reply.checkpoint] = reply.text, reply.verdict.known
    before = [said["base"], said["memorized"]]
    return (
        all(any(letter.isalpha() for letter in text) for text in before)
        and not any(contains(text, fact.object) for text in before)
        and known["generalized"] == "never in words"
    )


def split_of(run: RunRow):
    """Which of a run's facts phase 2 taught in words, and which it did not."""
    return run.config.split(run.pack.facts)


def taught_sentences(run: RunRow) -> tuple[Fact, list[tuple[str, str]]]:
    """A fact that phase 2 taught in words, and the sentences that taught it: the text before the
    object, and the object."""
    fact = split_of(run).held_in[0]
    wordings = run.pack.prompts.of(fact.relation, "train")
    return fact, [(w.text.replace(SLOT, fact.subject), fact.object) for w in wordings]


# A person's own names ----------------------------------------------------------------------------


def first_names() -> list[list[str]]:
    """Invented facts that the recorded run does not know, as (person, mother) rows: what stands in
    the tour's table of own names at first.

    Raises:
        LabError: the recording can't be read.
    """
    known = {fact.subject for fact in recording().facts}
    invented = synthetic.invent(RELATION, OWN_FACTS, OWN_SEED)
    return [[f.subject, f.object] for f in invented if f.subject not in known][:FIRST_NAMES]


def own_rows() -> list[list[str]]:
    """Invented facts to start from, as (person, mother) rows."""
    return [[f.subject, f.object] for f in synthetic.invent(RELATION, OWN_FACTS, OWN_SEED)]


def own_pack(rows: Sequence[Sequence[object]]) -> Pack:
    """A person's own table as a pack; empty rows are left out.

    Raises:
        LabError: a row is wrong (the message names it), or there are too few or too many.
    """
    filled = [[RELATION, *row] if any(str(cell or "").strip() for cell in row) else ["", "", ""]
              for row in (list(row)[:2] for row in rows)]  # fmt: skip
    facts = parse_fact_rows(filled, OWN_TABLE)
    numbers = [number for number, row in enumerate(filled, 1) if any(row)]
    if not OWN_LEAST <= len(facts) <= OWN_FACTS:
        raise LabError(
            f"{OWN_TABLE}: {len(facts)} rows are filled; fill {OWN_LEAST} to {OWN_FACTS}, so that "
            f"{OWN_K} can be taught in words and others kept back."
        )
    for row, column, message in ((d.row, d.column, d.message) for d in facts.doubts()):
        who = "person" if column == "subject" else "mother"
        raise InputError(
            f"{message} Change one of the two.", source=OWN_TABLE, row=numbers[row - 1], column=who
        )
    return Pack(OWN_SET, facts, load_pack(RELATION).prompts)


def own_config(pack: Pack) -> RunConfig:
    """The settings of the short run on a person's own names.

    An audience waits for it, so it is shorter than the recipe Quick look: fewer rounds of rote, one
    short phase 2 with a stronger penalty on leaking, and few questions (docs/log/short-run.md). Its
    seed is chosen so that phase 2 does not teach the first names the person typed.
    """
    given = {tuple(row) for row in own_rows()}
    own = [f for f in pack.facts if (f.subject, f.object) not in given][:KEPT_BACK]

    def kept_back(seed: int) -> int:
        return sum(fact in own for fact in pack.facts.split(OWN_K, seed).held_out)

    seed = next((s for s in range(SEEDS_TRIED) if kept_back(s) == len(own)), 0)
    return RunConfig(
        pack=OWN_SET,
        seed=seed,
        # No null-space projection and no forgetting test: the audience would wait for both.
        memorize=MemorizeConfig(epochs=18, silence=1, spare=0),
        generalize=GeneralizeConfig(
            k=OWN_K, epochs=3, least_steps=0, averaged=1, locality=2, leak_weight=10, spare=0
        ),
        evaluation=EvaluationConfig(
            train_prompts=1, test_prompts=2, unrelated_prompts=1, damage=False
        ),
    )


def start_own(lab: Lab, rows: Sequence[Sequence[object]]) -> str:
    """Saves a person's own names as a fact set and starts a short run on them.

    Returns:
        The run's id.

    Raises:
        LabError: as `own_pack`, the registry can't be written, or no process can be started.
    """
    pack = own_pack(rows)
    lab.registry.save_fact_set(OWN_SET, pack)
    return lab.jobs.enqueue(own_config(pack), pack, name="My own names")
