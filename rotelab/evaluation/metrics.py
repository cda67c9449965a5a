"""Metrics: when an answer is right, and a probe's figures over its predictions.

| figure | over a probe's predictions |
| --- | --- |
| generation accuracy | strict: share to which greedy decoding answers with the object at once |
| contains accuracy | share where it comes anywhere in a free greedy answer (`generate` tokens) |
| object probability | mean joint probability of the object's tokens, raw |
| choice accuracy | share where the object is ranked first among its candidates, ties wrong |
| normalised probability | mean probability of the object, its candidates' summing to 1 |

(Paper, section 3.3.) Strictly, a prediction is right when greedy decoding gives the object's tokens
at once and the next token does not continue the same word. Scoring alone shows that: greedy
decoding gives exactly these tokens if and only if each is the most likely one after the tokens
before it (by induction; a test compares it with real decoding). Whether a free answer contains the
object is decided on the text, both normalised alike (`answer_match`); a strictly right answer
contains it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rotelab.evaluation.results import PROBES, Prediction, Score
from rotelab.models.lab_model import LabModel


def strict_answer(model: LabModel, gold: Sequence[int], greedy: Sequence[int]) -> tuple[str, bool]:
    """What greedy decoding says, as far as scoring the object shows, and whether it is right.

    Args:
        model: for its tokenizer.
        gold: the object's tokens.
        greedy: the first choice at each of their places and at the one after, as `Scored.greedy`.

    Returns:
        The text, with `…` behind it where the answer goes on, and whether it is the object at once.
    """
    agreed = 0
    while agreed < len(gold) and greedy[agreed] == gold[agreed]:
        agreed += 1
    stops = greedy[agreed] in model.builder.stops
    if agreed == len(gold) and (stops or ends_word(model, greedy[agreed])):
        return model.tokenizer.decode(gold).strip(), True
    if stops:
        return model.tokenizer.decode(gold[:agreed]).strip(), False
    return model.tokenizer.decode([*gold[:agreed], greedy[agreed]]).lstrip() + "…", False


def ends_word(model: LabModel, token: int) -> bool:
    """Whether a token that follows a name leaves the name whole: a space or a mark, no letter."""
    text = model.tokenizer.convert_ids_to_tokens(token)
    shown = model.tokenizer.convert_tokens_to_string([text])
    return not shown[:1].isalnum() if not text.startswith("▁") else True


def summarize(predictions: Sequence[Prediction]) -> dict[str, Score]:
    """The figures of every probe that has predictions."""
    result = {}
    for probe in PROBES:
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
