"""What each table and column of `runs.db` holds: for the documentation and `rotelab sql --tables`.

The tables themselves, their order, columns and types come from the migrations.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlite_utils import Database

from rotelab.registry.migrations import migrations

OWN = ("sqlite_", "_sqlite_")
"""What the names of tables begin with that SQLite and sqlite-utils keep for themselves."""


class ColumnDescription(NamedTuple):
    """One column: its name, its SQLite type, and a sentence."""

    name: str
    type: str
    sentence: str


class TableDescription(NamedTuple):
    """One table: its name, a sentence, and its columns in order."""

    name: str
    sentence: str
    columns: tuple[ColumnDescription, ...]


def described_tables() -> list[TableDescription]:
    """Every table of this version's database, in the order in which migrations add them.

    Raises:
        KeyError: a table or a column has no sentence here; a bug, and a test finds it.
    """
    db = Database(memory=True)
    migrations.apply(db)
    found = []
    for name in db.table_names():
        if name.startswith(OWN):
            continue
        sentence, own = TABLES[name]
        columns = tuple(
            ColumnDescription(c.name, c.type, own[c.name] if c.name in own else SHARED[c.name])
            for c in db.table(name).columns
        )
        found.append(TableDescription(name, sentence, columns))
    return found


SHARED = {
    "run_id": "The run, by its `id`; the row goes when the run is deleted.",
    "checkpoint": "The state of the model: `base`, `memorized`, `generalized`, or a later lesson "
    "such as `lesson-01`.",
    "phase": "`memorize` (phase 1), `generalize` (phase 2) or `lesson`.",
    "epoch": "The epoch, counted from 1; 0 is before training.",
    "step": "The optimizer step of the phase, counted from 1.",
    "fact_index": "The fact's place in the run's facts, from 0; an experiment's own number else.",
    "layer": "The layer: 0 is the embedding, then one for each transformer layer.",
    "question": "What was asked, as a person reads it.",
    "expected": "The right answer.",
    "correct": "Whether it was right: 1 or 0.",
    "created": "When it was made.",
    "content_hash": "The hash of its facts and prompts, by which `contents` has them.",
    "number": "Counts the rows in the order in which they were made.",
    "config": "The settings, as JSON; `json_extract(config, '$.generalize.k')` takes one out.",
    "pid": "The process at work on it.",
    "pid_started": "When that process started, in seconds since 1970.",
    "share": "How much is done, from 0 to 1.",
    "message": "What is being done, in a few words.",
    "error": "Why it failed, in a sentence; empty when all is well.",
    "name": "The name that a person gave it, or empty.",
    "note": "A note that a person wrote.",
    "pack_name": "The name of its facts.",
}
"""Columns that mean the same in several tables; a table's own sentence goes first."""

TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "contents": (
        "Facts and prompts as text, each pair once, however many runs learned it.",
        {
            "content_hash": "The hash of both texts.",
            "facts_csv": "The facts as CSV.",
            "prompts_csv": "The wordings as CSV.",
        },
    ),
    "runs": (
        "One row for each run: settings, state, progress and times.",
        {
            "id": "Its id, which the command line, the page and its folder use.",
            "status": "`queued`, `running`, `stopping`, `stopped`, `finished`, `failed` or "
            "`interrupted`.",
            "started": "When it first started to work; NULL before.",
            "finished": "When it ended; NULL before.",
            "model": "The model's name or folder, as in its settings.",
            "seed": "The seed of all that is drawn, as in its settings.",
            "device": "The device that was asked for.",
            "device_used": "The device that it ran on.",
            "parent_id": "The run that this one repeats, or that this lesson continues.",
            "tags": "Its tags, a JSON list of texts.",
            "archived": "Whether it is kept out of lists: 1 or 0.",
            "claimed": "When a process claimed it.",
            "heartbeat": "When its process last said that it is alive.",
            "stop_requested": "Whether it was asked to stop: 1 or 0.",
            "queue_position": "Its place in the queue; NULL where it does not wait, or where its "
            "sweep starts it.",
            "phase": "What it is doing: `setup`, a phase, evaluation, or `finished`.",
            "epochs": "How many epochs the current phase has.",
            "steps": "How many steps the current phase has.",
            "eta_s": "Seconds that are left, if known.",
            "seconds": "How long each part took, a JSON object of seconds; `total` is all of it.",
            "warnings": "Sentences for the user, a JSON list.",
            "versions": "rotelab, Python and the libraries when it was made, a JSON object.",
            "sweep_id": "The sweep that it belongs to, if any.",
            "sweep_position": "Its place in the sweep, from 0.",
            "shared_phase1_from": "The run whose phase 1 it reused, if any.",
            "imported": "When it was read from a file; empty for a run that was made here.",
        },
    ),
    "metrics": (
        "The curves of training: one number at one step.",
        {
            "name": "What is measured, such as `loss` or `recall`.",
            "value": "The number; NULL where it was not a number.",
            "seq": "Counts the writes of a run, so that a reader can ask for newer rows only.",
        },
    ),
    "fact_recall": (
        "Whether a fact is recalled through its key token after an epoch.",
        {
            "probability": "The joint probability of the object's tokens.",
            "recalled": "Whether the object came out: 1 or 0.",
        },
    ),
    "scores": (
        "One probe at one checkpoint, over all its questions.",
        {
            "probe": "Which questions: `key_token`, `train_prompts_heldin`, "
            "`train_prompts_heldout`, `test_prompts_heldout` or `unrelated`; of a lesson also the "
            "old facts' (`old_...`).",
            "n": "How many questions were asked.",
            "generation_accuracy": "The share whose answer is right.",
            "object_probability": "The mean probability of the right object.",
            "choice_accuracy": "The share whose object ranks first among the candidates; NULL if "
            "not asked.",
            "normalized_probability": "The object's mean probability among the candidates; NULL if "
            "not asked.",
            "contains_accuracy": "The share of free answers that contain the object; NULL if not "
            "asked.",
        },
    ),
    "predictions": (
        "Every single answer behind the scores.",
        {
            "probe": "Which questions it belongs to, as in `scores`.",
            "relation": "The fact's relation.",
            "subject": "What the fact is about.",
            "object": "The right answer.",
            "prompt": "The prompt, as a person reads it.",
            "answer": "The greedy answer: the object, or as far as it went the same way, and `…`.",
            "probability": "The joint probability of the object's tokens.",
            "rank": "How many other candidates are as likely or likelier; 0 is the best.",
            "chosen": "Whether the object ranks first among the candidates: 1, 0, or NULL.",
            "normalized": "The object's probability among the candidates; NULL if not asked.",
            "contains": "Whether the free answer contains the object: 1, 0, or NULL.",
            "generated": "The free answer; NULL where none was needed.",
        },
    ),
    "similarities": (
        "How alike two groups of prompts are inside the model.",
        {
            "name": "Which: `key-train`, `key-test`, `key-unrelated`, `within`, `across`, `delta`.",
            "value": "A cosine similarity, from -1 to 1; `delta` is a difference of two.",
        },
    ),
    "fact_sets": (
        "Saved fact sets, one row for each version; a version never changes.",
        {
            "id": "The version's number among all.",
            "name": "The set's name.",
            "version": "Counts the versions of that name from 1.",
            "facts": "How many facts it has.",
        },
    ),
    "sweeps": (
        "Runs that were planned together.",
        {
            "id": "Its id.",
            "axes": "Which options vary, a JSON object of lists of values.",
            "config": "The settings that all its runs have in common, as JSON.",
        },
    ),
    "experiments": (
        "Experiments and their results, one row for each time one was carried out.",
        {
            "id": "Its id.",
            "experiment": "Which experiment.",
            "version": "The version of that experiment; results of two versions do not compare.",
            "finished": "When it ended; NULL before.",
            "status": "`queued`, `running`, `finished`, `failed`, `stopped` or `interrupted`.",
            "seconds": "How long it took.",
            "run_id": "The finished run that it was carried out on, with which it is deleted.",
            "sweep_id": "The sweep of the runs that it made, if it made some.",
            "arms": "What it compares, a JSON list of labels and run ids.",
            "config": "The settings that its runs have in common, as JSON.",
            "result": "What it found, as JSON.",
        },
    ),
    "cluster_jobs": (
        "Runs of a sweep that a cluster makes, until they have returned.",
        {
            "engine": "What makes it: `slurm` or `local`.",
            "job_id": "The job's id there; empty before it is submitted.",
            "folder": "The folder that the sweep's jobs share.",
            "options": "What was asked of the cluster, a JSON object.",
            "state": "`planned`, `waiting`, `running`, or `gone` where the cluster no longer knows "
            "the job.",
            "submitted": "When it was last submitted; empty before.",
            "attempts": "How often it was submitted.",
        },
    ),
    "fact_said": (
        "What the model said at a fact's key token after the newest epoch of a phase.",
        {"said": "The answer."},
    ),
    "spot_answers": (
        "Answers to three fixed questions while the model is trained.",
        {
            "place": "Which of the three questions, from 0.",
            "way": "How it is worded: `key_token`, `train` or `test`.",
            "answer": "The first line of the answer.",
        },
    ),
    "chat_answers": (
        "What people asked in Chat, one row for each checkpoint's answer. Never exported.",
        {
            "turn": "Counts the questions put to the run.",
            "asked": "When it was asked.",
            "mode": "`completion` or `conversation`.",
            "temperature": "The temperature of sampling; 0 is greedy.",
            "answer": "What the model answered.",
            "known": "How the answer was graded.",
            "probability": "The probability of the right object, if the question is about a fact.",
            "rank": "Its place among the candidates; 0 is the best.",
            "among": "How many candidates there were.",
        },
    ),
    "lens": (
        "The logit lens: what each layer would answer.",
        {
            "name": "The kind of prompts: `key`, `train` or `test`.",
            "n": "How many prompts there were.",
            "share": "The share whose object's first token is the layer's first choice.",
            "probability": "The mean probability of that token.",
            "rank": "The median place of that token among all tokens; 1 is the first.",
        },
    ),
    "weight_changes": (
        "How far a checkpoint's own adapter moved each weight matrix.",
        {
            "layer": "The transformer layer, counted from 1.",
            "name": "The weight matrix.",
            "value": "The Frobenius norm of the change.",
            "weight": "The Frobenius norm of the matrix itself.",
        },
    ),
    "damage": (
        "Forgetting: what training did to everything else that the model knew.",
        {
            "perplexity": "The perplexity of plain prose.",
            "tokens": "How many tokens that prose has.",
            "quiz": "The share of the questions about real facts that are answered right.",
            "questions": "How many such questions there are.",
            "divergence": "The mean KL divergence to the base model at neutral places, in nats.",
            "places": "How many such places there are; 0 for the base model itself.",
        },
    ),
    "quiz_answers": (
        "A checkpoint's answer to each question about a real fact.",
        {
            "place": "The question's number, from 0.",
            "said": "The beginning of what the model answered.",
            "correct": "Whether the right answer came at once: 1 or 0.",
        },
    ),
    "understood": (
        "Facts answered in words never trained on, while the run trains.",
        {
            "step": "The step of the phase; 0 is before training.",
            "held_out": "Whether phase 2 leaves the fact out of its sentences: 1 or 0.",
            "probability": "The probability of the fact's object.",
            "correct": "Whether the object came at once: 1 or 0.",
        },
    ),
    "layer_chances": (
        "What each layer would answer to one question in words never trained on (logit lens).",
        {
            "step": "The step of the phase; 0 is before training.",
            "probability": "The probability of the right object's first token at that layer.",
            "rank": "The place of that token among all tokens; 1 is the first.",
        },
    ),
    "live_questions": (
        "Questions asked on the Train tab, before audiences for instance. Never exported.",
        {
            "number": "Counts the questions put to the run.",
            "asked": "When it was asked.",
            "phase": "What the run was doing when it answered.",
            "step": "After which step of the phase.",
            "checkpoint": "Which state of the model answered; empty before.",
            "answer": "What the model answered; NULL before.",
            "known": "How the answer was graded.",
        },
    ),
    "stumps": (
        "Wordings that people tried on a run's model to stump it. Never exported.",
        {
            "number": "Counts the wordings tried on the run.",
            "asked": "When it was tried.",
            "answer": "What the model answered.",
            "known": "How the answer was graded.",
            "outcome": "`answered`, `missed`, `leaked` or `forgotten`.",
        },
    ),
}
