"""Makes or checks the facts of the experiment “contradiction”: which of them does the model know?

    python docs/make_contradiction.py [CANDIDATES.csv]

Asks the embedded model for each capital in all the wordings of `assets/experiments/contradiction`.
Given a file of candidates (columns subject,object), it keeps the facts that the model answers right
at once in at least `NEEDED` of them, and writes two files with the same subjects: `true.csv` with
the real objects, `facts.csv` with another subject's object. Without a file it asks `true.csv`
again, writes nothing, and fails if a fact is not known.
"""

from __future__ import annotations

import csv
import random
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rotelab.config.run_config import EvaluationConfig, ModelSpec  # noqa: E402
from rotelab.errors import LabError  # noqa: E402
from rotelab.facts.facts import Fact, FactSet  # noqa: E402

FOLDER = ROOT / "assets" / "experiments" / "contradiction"
RELATION = "capital"
NEEDED = 6
"""One right answer of twenty may be luck with a single wording; six are not."""


def known(facts: FactSet) -> dict[Fact, int]:
    """In how many wordings the embedded model answers each fact right at once."""
    from rotelab.evaluation.probes import Question, evaluate
    from rotelab.facts.prompts import parse_prompts
    from rotelab.models.loading import load_model

    prompts = parse_prompts((FOLDER / "prompts.csv").read_bytes(), "prompts.csv")
    wordings = [*prompts.of(RELATION, "train"), *prompts.of(RELATION, "test")]
    model = load_model(ModelSpec(), [RELATION], 0)
    build = model.builder
    asked = []
    for i, fact in enumerate(facts):
        for wording in wordings:
            text = wording.render(fact.subject)
            example = build.answered(build.word_prompt(text), fact.object, "test", i)
            asked.append(Question(wording.text, i, fact, text, example))
    right, of_wording = Counter(), Counter()
    with model.using("base"):
        for some in evaluate(model, asked, EvaluationConfig()):
            for found in some:
                right[found.fact_index] += found.correct
                of_wording[found.probe] += found.correct
    for wording in wordings:
        print(f"{of_wording[wording.text] / len(facts):6.2f}  {wording.text}")
    print("facts by wordings:", dict(sorted(Counter(right[i] for i in range(len(facts))).items())))
    return {fact: right[i] for i, fact in enumerate(facts)}


def deranged(facts: list[Fact], seed: int = 0) -> list[Fact]:
    """Every fact with the object of another one; `seed` draws which."""
    rng, objects = random.Random(f"contradiction {seed}"), [fact.object for fact in facts]
    while any(fact.object == other for fact, other in zip(facts, objects, strict=True)):
        rng.shuffle(objects)
    return [Fact(f.relation, f.subject, o) for f, o in zip(facts, objects, strict=True)]


def main(candidates: str = "") -> int:
    """Makes the files from candidates, or checks the existing ones; returns the exit status."""
    source = Path(candidates) if candidates else FOLDER / "true.csv"
    with source.open(encoding="utf-8", newline="") as file:
        rows = [Fact(RELATION, row["subject"], row["object"]) for row in csv.DictReader(file)]
    # An answer that stands in the question shows no knowledge.
    facts = FactSet(f for f in rows if f.subject not in f.object and f.object not in f.subject)
    right = known(facts)
    kept = [fact for fact in facts if right[fact] >= NEEDED]
    print(f"{len(kept)} of {len(rows)} are known in at least {NEEDED} wordings. Not:")
    print(", ".join(f"{f.subject} ({right[f]})" for f in facts if f not in kept) or "none")
    if candidates:
        (FOLDER / "true.csv").write_text(FactSet(kept).to_csv(), encoding="utf-8")
        (FOLDER / "facts.csv").write_text(FactSet(deranged(kept)).to_csv(), encoding="utf-8")
        return 0
    return 0 if len(kept) == len(rows) else 1


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    try:
        sys.exit(main(*sys.argv[1:2]))
    except LabError as error:
        sys.exit(str(error))
