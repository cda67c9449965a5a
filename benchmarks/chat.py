"""How fast Chat answers from three checkpoints, compared with plain code that asks one at a time.

    python benchmarks/chat.py [--run RUN] [--home FOLDER] [--questions N] [--tokens N] [--json]

Three programs take turns, after a warm-up, to ask the three checkpoints of a finished run the same
questions in wordings that were never trained on:

| program | what it does |
| --- | --- |
| transformers | `generate` on the PEFT model, switching adapters in between |
| one by one | `rotelab.models.generation.generate`, which also gives probabilities, likewise |
| ours | `rotelab.runs.chat`: all three side by side, as the page asks |

It reports medians over the questions: seconds to the first token, to the last token of all three
answers, and to the probability of the right answer, which the page shows last. `--json` ends with
one object. The exit status is 1 if an answer differs in any token, except in bfloat16: there each
program rounds differently, and a near-tie can go either way.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.scoring import finished_run
from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.judging.questions import Query
from rotelab.models.generation import generate
from rotelab.runs import chat
from rotelab.runs.asking.examples import example_questions
from rotelab.runs.asking.prompts import prompt_ids
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.chat.layout import SHORT

Answers = dict[Checkpoint, list[int]]
"""The token ids that each checkpoint said."""


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what `--json` prints."""
    options = _options(words)
    lab = Lab.open(Storage(Path(options.home)) if options.home else Storage.from_environment())
    run = finished_run(lab.registry, options.run)
    # The last example asks through the key token, the others in words.
    found = example_questions(lab.registry, run, max(1, options.questions - 1))
    questions = [*found.right, *found.untried, found.key][: options.questions]
    chat.SPEAKING = ()  # the other programs may end an answer without a word
    for _ in lab.chat.stream(run.id, questions[0], max_new_tokens=1):
        pass  # loads the model
    model = lab.chat.model(run.id)
    programs: dict[str, Callable[[str], tuple[Answers, float]]] = {
        "transformers": lambda question: _stock(model, question, options.tokens),
        "one by one": lambda question: _one_by_one(model, question, options.tokens),
        "ours": lambda question: _ours(lab, run.id, question, options.tokens),
    }
    for program in programs.values():
        program(questions[0])  # warm
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    same = True
    for question in questions:
        found = []
        for name, program in programs.items():
            started = time.perf_counter()
            answers, first = program(question)
            took[name].append((first - started, time.perf_counter() - started))
            found.append(answers)
        same = same and all(answers == found[0] for answers in found)
    report: dict[str, Any] = {
        "run_id": run.id,
        "questions": len(questions),
        "tokens": options.tokens,
        "threads": torch.get_num_threads(),
        "precision": str(model.dtype).removeprefix("torch."),
        "same_tokens": same,
        "seconds": {
            name: {
                "first": round(statistics.median(first for first, _ in times), 3),
                "all": round(statistics.median(whole for _, whole in times), 3),
                "slowest": round(max(whole for _, whole in times), 3),
            }
            for name, times in took.items()
        },
        "evidence_s": round(_evidence(lab, run.id, questions, options.tokens), 3),
    }
    seconds = report["seconds"]
    report["speedup"] = round(seconds["transformers"]["all"] / seconds["ours"]["all"], 2)
    _print(report)
    if options.json:
        print(json.dumps(report))
    return report


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", default="latest", help="a finished run's id; the newest if none")
    parser.add_argument("--home", default="", help="the lab's home folder; ROTELAB_HOME if none")
    parser.add_argument("--questions", type=int, default=6, help="how many are asked")
    parser.add_argument("--tokens", type=int, default=SHORT, help="longest answer, in tokens")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    if options.questions < 1 or options.tokens < 1:
        raise LabError("There must be at least one question, and one token to answer it.")
    return options


def _stock(model, question: str, tokens: int) -> tuple[Answers, float]:
    prompt = torch.tensor(
        [prompt_ids(model, Query.parse(question, model.relations))], device=model.device
    )
    answers: Answers = {}
    first = 0.0
    for checkpoint in CHECKPOINTS:
        with model.using(checkpoint), model.switched(checkpoint):
            said = model.network.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=tokens,
                eos_token_id=sorted(model.builder.stops),
                pad_token_id=model.builder.separator,
            )[0, prompt.shape[1] :].tolist()
        first = first or time.perf_counter()  # it shows nothing before a whole answer is there
        answers[checkpoint] = [token for token in said if token not in model.builder.stops]
    return answers, first


def _one_by_one(model, question: str, tokens: int) -> tuple[Answers, float]:
    prompt = prompt_ids(model, Query.parse(question, model.relations))
    answers: Answers = {}
    first = 0.0
    for checkpoint in CHECKPOINTS:
        model.use(checkpoint)
        answers[checkpoint] = []
        for token in generate(model, prompt, tokens):
            first = first or time.perf_counter()
            answers[checkpoint].append(token.id)
    return answers, first or time.perf_counter()


def _ours(lab: Lab, run_id: str, question: str, tokens: int) -> tuple[Answers, float]:
    answers: Answers = {}
    first = 0.0
    for replies in lab.chat.steps(run_id, question, max_new_tokens=tokens):
        first = first or time.perf_counter()
        answers.update({reply.checkpoint: [t.id for t in reply.tokens] for reply in replies})
    return answers, first


def _evidence(lab: Lab, run_id: str, questions: Sequence[str], tokens: int) -> float:
    """Median seconds until everything that the page shows is there."""
    took = []
    for question in questions:
        started = time.perf_counter()
        for _ in lab.chat.steps(run_id, question, max_new_tokens=tokens, evidence=True):
            pass
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def _print(report: dict[str, Any]) -> None:
    print(
        f"{report['questions']} questions, {report['tokens']} tokens at most, "
        f"{report['threads']} threads"
    )
    print(f"{'seconds':14} {'first piece':>12} {'all three':>10} {'slowest':>8}")
    for name, times in report["seconds"].items():
        print(f"{name:14} {times['first']:12.2f} {times['all']:10.2f} {times['slowest']:8.2f}")
    print(f"with how likely the right answer was: {report['evidence_s']:.2f} s")
    print(f"{report['speedup']:.1f} times as fast as transformers, tokens ", end="")
    print("the same" if report["same_tokens"] else f"DIFFER ({report['precision']})")


if __name__ == "__main__":
    try:
        measured = main()
    except LabError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    exact = measured["precision"] == "float32"
    raise SystemExit(1 if exact and not measured["same_tokens"] else 0)
