"""How fast the multiple choice is, compared with plain code that gives the same verdicts.

    python benchmarks/scoring.py [--run RUN] [--home FOLDER] [--facts N] [--candidates N] [--json]

Three programs are given the same tokens. They ask every fact of a finished run once, in a wording
that was never trained on, and rank its object among its candidates:

| program | what it does |
| --- | --- |
| naive | one forward pass of prompt + candidate for each candidate, batch of one |
| padded | one forward pass for each fact, all its candidates in one padded batch |
| ours | `evaluation.multiple_choice`: `choose` for the choice alone, `distribution` for every sum |

The two plain programs get help that plain code often lacks: adapters are merged into the weights,
and logits are computed only where the candidate's tokens are predicted. Pruning helps least on the
base model, which finds no fact likelier than the others. `--json` ends with one JSON object;
its `speedup` compares naive with `choose` on the generalised model. The exit status is 1 if a
verdict differs, or a sum by more than 1e-3 nats.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer

from rotelab.config.names import ADAPTER_OF, CHECKPOINTS, MEMORIZE, Checkpoint, active_adapters
from rotelab.errors import LabError
from rotelab.evaluation.distractors import candidate_sets
from rotelab.evaluation.multiple_choice import TIE, Tokens, choose, distribution
from rotelab.models.adapter_files import load_adapter
from rotelab.models.lab_model import LabModel
from rotelab.models.loading import load_model
from rotelab.models.tokens import Example
from rotelab.registry import Registry, RunRow
from rotelab.storage import Storage, adapter_folder

BATCH_TOKENS = 512
TOLERANCE = 1e-3
"""Largest difference of two programs' sums, in nats, that rounding explains in float32."""


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what `--json` prints."""
    options = _options(words)
    storage = Storage(Path(options.home)) if options.home else Storage.from_environment()
    run = finished_run(Registry(storage), options.run)
    facts = len(run.pack.facts)
    if facts < options.facts:
        print(f"Run {run.id} has {facts} facts; {options.facts} were asked for.", file=sys.stderr)
    report: dict[str, Any] = {
        "run_id": run.id,
        "facts": min(facts, options.facts),
        "candidates": options.candidates,
        "threads": torch.get_num_threads(),
    }
    for checkpoint in options.checkpoints:
        say = _say(checkpoint)
        model = _load(storage, run, checkpoint)
        examples, candidates = _questions(run, model, options.facts, options.candidates)
        report["facts"] = len(examples)
        found = _ours(model, checkpoint, examples, candidates, say)
        del model
        plain = _plain_network(storage, run, checkpoint)
        report[checkpoint] = _against_plain(plain, examples, candidates, found, say)
        del plain
    last = report[options.checkpoints[-1]]
    report["speedup"] = last["speedup"]
    report["identical_verdicts"] = all(report[c]["identical_verdicts"] for c in options.checkpoints)
    differences = [report[c]["largest_difference"] for c in options.checkpoints]
    report["sums_agree"] = max(differences) <= TOLERANCE
    if options.json:
        print(json.dumps(report))
    return report


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", default="latest", help="a finished run's id; the newest if none")
    parser.add_argument("--home", default="", help="the lab's home folder; ROTELAB_HOME if none")
    parser.add_argument("--facts", type=int, default=100, help="how many facts are asked")
    parser.add_argument("--candidates", type=int, default=100, help="how many each object has")
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        choices=list(CHECKPOINTS),
        default=["base", "generalized"],
        help="whom to ask; the last one gives the headline",
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    if options.facts < 1 or options.candidates < 2:
        raise LabError("There must be at least one fact and two candidates.")
    return options


def finished_run(registry: Registry, wanted: str) -> RunRow:
    """The run with this id; it must be finished.

    Raises:
        LabError: it is not, or there is none.
    """
    if wanted != "latest":
        run = registry.run(registry.resolve(wanted))
        if run.status != "finished":
            raise LabError(f"Run {run.id} is {run.status}. Name one that is finished.")
        return run
    finished = registry.runs(limit=1, status="finished")
    if not finished:
        raise LabError(
            "There is no finished run here to take a generalised model from. Make one first "
            "(python -m rotelab run --pack mother), or name another home folder with --home."
        )
    return registry.run(finished[0].id)


def _load(storage: Storage, run: RunRow, checkpoint: Checkpoint) -> LabModel:
    """The run's model with the adapters of one checkpoint."""
    relations = [relation.name for relation in run.pack.facts.relations]
    exact = replace(run.config.model, dtype="float32")  # in which sums can be held together
    model = load_model(exact, relations, run.config.seed, method=run.config.method)
    if checkpoint != "base":
        for stage, adapter in ADAPTER_OF.items():
            if adapter in active_adapters(checkpoint):
                load_adapter(model, adapter, adapter_folder(storage, run.id, stage))
    return model


def _plain_network(storage: Storage, run: RunRow, checkpoint: Checkpoint) -> torch.nn.Module:
    """The same model as plain transformers, with the adapters merged into the weights."""
    model = _load(storage, run, checkpoint)
    if not active_adapters(checkpoint):
        return model.network.eval()
    model.use(checkpoint)
    for module in list(model.network.modules()):
        # PEFT 0.21 would merge all adapters into the key tokens' rows, which only one has.
        if isinstance(module, TrainableTokensLayer):
            module.merge(adapter_names=[MEMORIZE])
        elif isinstance(module, BaseTunerLayer):
            module.merge(adapter_names=active_adapters(checkpoint))
    return model.network.get_base_model().eval()


def _questions(
    run: RunRow, model: LabModel, facts: int, candidates: int
) -> tuple[list[Example], list[Sequence[Tokens]]]:
    """Each fact in one test wording, and its candidates' tokens."""
    builder, pack = model.builder, run.pack
    sets = candidate_sets(pack.facts, candidates, run.config.seed)
    tokens = {names: tuple(tuple(builder.spaced(name)) for name in names) for names in set(sets)}
    examples = []
    for i, fact in enumerate(pack.facts[:facts]):
        wordings = pack.prompts.of(fact.relation, "test")
        text = random.Random(f"benchmark {i}").choice(wordings).render(fact.subject)
        examples.append(builder.answered(builder.word_prompt(text), fact.object, "test", i))
    return examples, [tokens[sets[i]] for i in range(len(examples))]


def _ours(model, checkpoint: Checkpoint, examples, candidates, say) -> dict[str, Any]:
    asked = examples, candidates, BATCH_TOKENS

    def gather(ask: Callable) -> list[Any]:
        found = dict(pair for batch in ask(model, *asked) for pair in batch)
        return [found[i] for i in range(len(examples))]

    with model.using(checkpoint):
        next(choose(model, examples[:1], candidates[:1], BATCH_TOKENS))  # warm
        chosen, choose_s = _timed(lambda: gather(choose))
        ranked, distribution_s = _timed(lambda: gather(distribution))
    say(f"ours: {choose_s:.2f} s for the verdicts, {distribution_s:.2f} s for every sum")
    return {"chosen": chosen, "ranked": ranked, "seconds": (choose_s, distribution_s)}


def _against_plain(network, examples, candidates, ours, say) -> dict[str, Any]:
    """Runs the plain programs and compares ours with them."""
    with torch.inference_mode():
        _one_by_one(network, examples[0], candidates[0][:2])  # warm
        padded, padded_s = _timed(lambda: _each(_padded, network, examples, candidates))
        say(f"padded: {padded_s:.2f} s")
        naive, naive_s = _timed(lambda: _each(_one_by_one, network, examples, candidates))
        say(f"naive: {naive_s:.2f} s")
    places = [list(names).index(e.object) for e, names in zip(examples, candidates, strict=True)]
    gaps = [_gap(sums, place) for sums, place in zip(naive, places, strict=True)]
    verdicts = [gap > TIE for gap in gaps]
    others = [
        [choice.first for choice in ours["chosen"]],
        [ranking.first for ranking in ours["ranked"]],
        [_gap(sums, place) > TIE for sums, place in zip(padded, places, strict=True)],
    ]
    golds = [sum(choice.scored.log_probabilities) for choice in ours["chosen"]]
    differences = [
        abs(a - b)
        for sums, ranking in zip(naive, ours["ranked"], strict=True)
        for a, b in zip(sums, ranking.totals, strict=True)
    ]
    differences += [abs(sums[p] - g) for sums, p, g in zip(naive, places, golds, strict=True)]
    choose_s, distribution_s = ours["seconds"]
    probabilities = [ranking.probability for ranking in ours["ranked"]]
    result = {
        "naive_seconds": round(naive_s, 3),
        "padded_seconds": round(padded_s, 3),
        "choose_seconds": round(choose_s, 3),
        "distribution_seconds": round(distribution_s, 3),
        "speedup": round(naive_s / choose_s, 2),
        "speedup_over_padded": round(padded_s / choose_s, 2),
        "distribution_speedup": round(naive_s / distribution_s, 2),
        "distribution_speedup_over_padded": round(padded_s / distribution_s, 2),
        "identical_verdicts": all(other == verdicts for other in others),
        "largest_difference": float(f"{max(differences):.3g}"),
        "closest_call": float(f"{min(map(abs, gaps)):.3g}"),
        "choice_accuracy": round(sum(verdicts) / len(verdicts), 4),
        "normalized_probability": round(sum(probabilities) / len(probabilities), 6),
    }
    say(
        f"verdict {result['speedup']} times as fast as naive, {result['speedup_over_padded']} as "
        f"padded; every sum {result['distribution_speedup']} and "
        f"{result['distribution_speedup_over_padded']}"
    )
    say(
        f"verdicts {'identical' if result['identical_verdicts'] else 'DIFFER'}; sums differ by "
        f"{result['largest_difference']:g} at most; the closest call was {result['closest_call']:g}"
    )
    say(
        f"choice accuracy {result['choice_accuracy']}, "
        f"normalised probability {result['normalized_probability']}"
    )
    return result


def _one_by_one(network, example: Example, candidates: Sequence[Tokens]) -> list[float]:
    """Each candidate's sum, one forward pass each."""
    sums = []
    for tokens in candidates:
        ids = torch.tensor([[*example.prompt, *tokens]], device=network.device)
        logits = network(input_ids=ids, logits_to_keep=len(tokens) + 1, use_cache=False).logits
        chances = logits[0, :-1].float().log_softmax(-1)
        sums.append(float(chances[range(len(tokens)), list(tokens)].double().sum()))
    return sums


def _padded(network, example: Example, candidates: Sequence[Tokens]) -> list[float]:
    """Each candidate's sum, from one pass over all of them, padded on the right."""
    longest = max(map(len, candidates))
    rows = [[*example.prompt, *tokens, *[0] * (longest - len(tokens))] for tokens in candidates]
    ids = torch.tensor(rows, device=network.device)
    seen = [[1] * (len(example.prompt) + len(t)) + [0] * (longest - len(t)) for t in candidates]
    mask = torch.tensor(seen, device=network.device)
    logits = network(
        input_ids=ids, attention_mask=mask, logits_to_keep=longest + 1, use_cache=False
    ).logits
    chances = logits[:, :-1].float().log_softmax(-1)
    told = chances.gather(-1, ids[:, len(example.prompt) :, None])[..., 0].double()
    return [float(told[row, : len(tokens)].sum()) for row, tokens in enumerate(candidates)]


def _each(program: Callable, network, examples, candidates) -> list[list[float]]:
    return [
        program(network, example, names)
        for example, names in zip(examples, candidates, strict=True)
    ]


def _gap(sums: Sequence[float], gold: int) -> float:
    """How far the right object's sum is above the best of the others."""
    return sums[gold] - max(total for place, total in enumerate(sums) if place != gold)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def _say(checkpoint: str) -> Callable[[str], None]:
    return lambda words: print(f"{checkpoint:12} {words}", flush=True)


if __name__ == "__main__":
    try:
        measured = main()
    except LabError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(0 if measured["identical_verdicts"] and measured["sums_agree"] else 1)
