"""Records the run behind *Start here*: trains it for real, checks it, and packs it as a bundle.

    python docs/record_walk.py [HOME]

Trains the 100 facts of the pack `mother` and 40 with awkward names, which are the pack
`mother-accents` (`assets/experiments/`), on the embedded model (half an hour on two cores) in the
home folder HOME, by default a temporary one. If HOME has a finished run already, it takes that one.
The adapters are stored in float16. The page's questions are chosen by asking them: only questions
about facts that phase 2 never saw, and which the imported bundle answers right after both phases
and wrong before. Writes `assets/walk/run.rotelab.zip` and `assets/walk/questions.json`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rotelab.config.names import ADAPTER_OF  # noqa: E402
from rotelab.config.run_config import (  # noqa: E402
    EvaluationConfig,
    GeneralizeConfig,
    MemorizeConfig,
    RunConfig,
)
from rotelab.runs import demo  # noqa: E402
from rotelab.runs.export.bundle import export_run, import_bundle  # noqa: E402
from rotelab.runs.lab import Lab  # noqa: E402
from rotelab.storage import Storage, adapter_folder  # noqa: E402

# A smaller adapter keeps the bundle small and more of the real facts (docs/log/real-facts.md); more
# averaged adapters answer new wordings more steadily, which later lessons live on. Names with
# accents, hyphens and apostrophes are among its own facts, because people teach it such names, and
# most facts are taught in words (docs/log/lessons.md).
CONFIG = RunConfig(
    pack="mother-accents",
    memorize=MemorizeConfig(rank=12, epochs=25, silence=2),
    generalize=GeneralizeConfig(k=110, averaged=4),
    evaluation=EvaluationConfig(test_prompts=3),
)
# Plainest first. The wordings of role `test` were never trained on; the last ones were, with other
# names.
WORDINGS = (
    "{subject} is the child of a lady known as",
    "What is the name of the maternal parent of {subject}?",
    "The woman who brought {subject} into the world is",
    "Who went into labour with {subject}?",
    "Who gave birth to {subject}?",
    "The mother of {subject} is",
)
QUESTIONS = 3
MAX_BYTES = 8_000_000


def record(home: Path) -> None:
    """Trains the run if there is none yet, then checks it and writes both files."""
    lab = Lab.open(Storage(home))
    run_id = next((run.id for run in lab.registry.runs(status="finished")), None) or train(lab)
    lab.registry.update_run(run_id, name=demo.RUN_NAME, note=demo.RUN_NOTE)
    for checkpoint in ADAPTER_OF:
        halve(adapter_folder(lab.storage, run_id, checkpoint))
    # The hidden states would take more space than all the rest, and their figures are stored rows.
    shutil.rmtree(lab.storage.run_folder(run_id) / "representations", ignore_errors=True)
    bundle = export_run(lab.registry, lab.storage, run_id, home / demo.BUNDLE.name)
    size = bundle.stat().st_size
    print(f"{bundle.name}: {size:,} bytes")
    assert size < MAX_BYTES, "too large to be shipped: take smaller ranks"
    with tempfile.TemporaryDirectory() as other:
        chosen = choose(Lab.open(Storage(Path(other))), bundle)
    demo.BUNDLE.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle, demo.BUNDLE)
    text = json.dumps({"run": run_id, "questions": chosen}, indent=1, ensure_ascii=False)
    demo.QUESTIONS.write_text(text + "\n", encoding="utf-8")


def train(lab: Lab) -> str:
    """Trains the run; returns its id."""
    from rotelab.runs.worker import work

    run_id = lab.jobs.start_foreground(CONFIG, lab.facts_for(CONFIG))
    work(lab.registry, lab.storage, run_id, lambda share, words: print(f"{share:4.0%} {words}"))
    run = lab.registry.run(run_id)
    assert run.status == "finished", run.error
    return run_id


def halve(folder: Path) -> None:
    """Stores an adapter's weights in float16: half the bytes; `choose` checks the answers."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({n: t.astype(np.float16) for n, t in tensors.items()}, weights, {"format": "pt"})
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    meta["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def choose(lab: Lab, bundle: Path) -> list[str]:
    """The questions to ask on the page, each about another person and in another wording."""
    run_id = import_bundle(lab.registry, lab.storage, bundle).run_id
    run = lab.registry.run(run_id)
    for checkpoint, scores in lab.registry.scores(run_id).items():
        print(checkpoint, {probe: round(s.generation_accuracy, 2) for probe, s in scores.items()})
    split = run.config.split(run.pack.facts)
    chosen: list[str] = []
    people = list(split.held_out)
    for wording in WORDINGS:
        for fact in people:
            question = wording.format(subject=fact.subject)
            if demo.is_good_question(lab, run_id, question):
                chosen.append(question)
                people.remove(fact)
                print("chosen:", question, "->", fact.object)
                break
        if len(chosen) == QUESTIONS:
            return chosen
    raise SystemExit(f"only {len(chosen)} questions came out right; train for more rounds")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    if len(sys.argv) > 1:
        record(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as folder:
            record(Path(folder))
