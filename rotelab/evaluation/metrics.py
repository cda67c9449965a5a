"""Metrics: a probe's figures over its predictions.

| figure | over a probe's predictions |
| --- | --- |
| generation accuracy | strict: share that greedy decoding answers with the object at once |
| contains accuracy | share where it comes anywhere in a free greedy answer (`generate` tokens) |
| object probability | mean joint probability of the object's tokens, raw |
| choice accuracy | share where the object is ranked first among its candidates, ties wrong |
| normalised probability | mean probability of the object, its candidates' summing to 1 |

(Paper, section 3.3.) When one answer is right: see `answer_match`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rotelab.evaluation.results import OLD_PROBES, PROBES, Answers, Prediction, Score


def right_by_fact(predictions: Iterable[Prediction]) -> Answers:
    """For each fact, how many questions about it are answered right, and how many there are."""
    found: Answers = {}
    for p in predictions:
        right, asked = found.get(fact := (p.relation, p.subject, p.object), (0.0, 0))
        found[fact] = right + p.correct, asked + 1
    return found


def summarize(predictions: Sequence[Prediction]) -> dict[str, Score]:
    """The figures of every probe that has predictions."""
    result = {}
    for probe in (*PROBES, *OLD_PROBES):
        mine = [p for p in predictions if p.probe == probe]
        if mine:
            result[probe] = Score(
                len(mine),
                sum(p.correct for p in mine) / len(mine),
                sum(p.probability for p in mine) / len(mine),
                _mean(p.chosen for p in mine),
                _mean(p.normalized for p in mine),
                _mean(p.contains for p in mine),
            )
    return result


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
