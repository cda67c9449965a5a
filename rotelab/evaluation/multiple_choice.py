"""Multiple choice: the object ranked among its candidates by summed token log-probability.

The gold object is chosen when its sum is larger than that of every other candidate; a tie is
wrong. The sum runs over the object's own tokens, END not among them, as everywhere in scoring.

The choice alone needs little of that. One pass over prompt and gold gives gold's sum and the first
token's log-probability of every candidate. Each further token can only lower a sum, so a candidate
whose first tokens already sum to less than gold's total can't win and is dropped; and one candidate
that reaches gold's sum settles the question. `choose` therefore follows the best few candidates
first. `distribution` computes all, because a normalised probability needs every sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from rotelab.evaluation.loglikelihood import Scored
from rotelab.models.kv_cache import PackedCache
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack, pack_many
from rotelab.models.tokens import Example

Tokens = tuple[int, ...]

TIE = 1e-3
"""Sums closer than this, in nats, are a tie: in float32, rounding alone moves a sum by up to 2e-4
from one batch to another (measured, 135M), so equal sums could come out either way round."""

WIDTH = 2
"""How many candidates of a question are followed at first; twice as many in each further pass."""


@dataclass(frozen=True)
class Choice:
    """The outcome of one question.

    Args:
        scored: the gold object's tokens, as `loglikelihood.score` gives them.
        first: whether gold is ranked first, ties wrong.
    """

    scored: Scored
    first: bool


@dataclass(frozen=True)
class Distribution:
    """Every candidate's sum after one prompt.

    Args:
        scored: the gold object's tokens, as `loglikelihood.score` gives them.
        totals: summed log-probability of each candidate, `[candidates]`, nats.
        gold: the place of the gold object among them.
    """

    scored: Scored
    totals: tuple[float, ...]
    gold: int

    @property
    def probability(self) -> float:
        """Gold's probability, normalised over the candidates."""
        best = max(self.totals)
        if not math.isfinite(best):
            return math.nan
        shares = [math.exp(total - best) for total in self.totals]
        return shares[self.gold] / math.fsum(shares)

    @property
    def rank(self) -> int:
        """How many other candidates reach gold's sum; 0 is the best."""
        bar = self.totals[self.gold] - TIE
        others = (total for place, total in enumerate(self.totals) if place != self.gold)
        return sum(not total < bar for total in others)

    @property
    def first(self) -> bool:
        """Whether gold is ranked first, ties wrong."""
        return self.rank == 0


def choose(
    model: LabModel,
    examples: Sequence[Example],
    candidates: Sequence[Sequence[Tokens]],
    batch_tokens: int,
    width: int = WIDTH,
) -> Iterator[list[tuple[int, Choice]]]:
    """Whether each example's object ranks first; computes no more than that needs.

    Args:
        model: switched to the checkpoint to ask.
        examples: prompts with their gold objects.
        candidates: for each example the candidates' tokens, gold among them. Examples that have
            the same list should share it.
        batch_tokens: new nodes per pass.
        width: how many candidates of a question are followed in its first pass.

    Yields:
        One list for each packed row: the examples' indices and their outcomes.
    """
    tries = _Tries()
    sequences = [example.ids[: example.object_span[1]] for example in examples]
    for indices, packed in pack_many(sequences, batch_tokens):
        row = PackedCache(model, packed)
        races, keep, places = [], {}, []
        for index, nodes in zip(indices, packed.nodes, strict=True):
            race = _Race(examples[index].object, tries.of(candidates[index]))
            start = examples[index].object_span[0] - 1
            for depth, node in enumerate(nodes[start:]):
                prefix = race.gold[:depth]
                race.nodes[prefix] = node
                places.append((keep.setdefault(node, len(keep)), race, prefix))
            races.append(race)
        logits = row.start(list(keep))
        best = logits.argmax(-1).tolist()
        _read(logits, places)
        for line, race, _ in places:
            race.greedy.append(best[line])
        _settle(row, races, batch_tokens, width)
        yield [
            (index, Choice(race.scored(), race.first))
            for index, race in zip(indices, races, strict=True)
        ]


def distribution(
    model: LabModel,
    examples: Sequence[Example],
    candidates: Sequence[Sequence[Tokens]],
    batch_tokens: int,
) -> Iterator[list[tuple[int, Distribution]]]:
    """Every candidate's sum after every prompt; prompts and shared beginnings are computed once.

    Arguments and yields as `choose`.
    """
    tries = _Tries()
    group: list[int] = []
    nodes = 0
    for index, example in enumerate(examples):
        need = len(example.prompt) + len(tries.of(candidates[index]).children)
        if group and nodes + need > batch_tokens:
            yield _distribute(model, examples, candidates, group, batch_tokens)
            group, nodes = [], 0
        group.append(index)
        nodes += need
    if group:
        yield _distribute(model, examples, candidates, group, batch_tokens)


def rank(
    model: LabModel, example: Example, candidates: Sequence[Tokens], batch_tokens: int = 10**6
) -> tuple[Scored, int]:
    """How many other candidates reach the gold object's sum, as `Distribution.rank` counts them.

    Only candidates that can still reach it are followed, so the surer the model is of gold, the
    faster it is.

    Returns:
        The gold object's tokens, and its rank, 0 the best.
    """
    packed = pack([example.ids[: example.object_span[1]]])
    row = PackedCache(model, packed)
    ranking = _Ranking(example.object, _Trie(candidates))
    nodes = packed.nodes[0][example.object_span[0] - 1 :]
    ranking.nodes = {ranking.gold[:depth]: node for depth, node in enumerate(nodes)}
    logits = row.start(nodes)
    ranking.greedy = logits.argmax(-1).tolist()
    _read(logits, [(line, ranking, ranking.gold[:line]) for line in range(len(nodes))])
    _settle(row, [ranking], batch_tokens, len(candidates))
    return ranking.scored(), ranking.rank


class _Trie:
    """The candidates of a question as a tree of tokens.

    Args:
        candidates: their tokens, at least one each.
    """

    def __init__(self, candidates: Sequence[Tokens]):
        self.candidates = [tuple(candidate) for candidate in candidates]
        assert all(self.candidates), "a candidate without tokens has no probability"
        children: dict[Tokens, dict[int, None]] = {}
        for candidate in self.candidates:
            for depth, token in enumerate(candidate):
                children.setdefault(candidate[:depth], {})[token] = None
        self.children = {prefix: tuple(tokens) for prefix, tokens in children.items()}


class _Tries:
    """One `_Trie` for each list of candidates, however many questions share the list."""

    def __init__(self):
        self._made: dict[int, tuple[Sequence[Tokens], _Trie]] = {}

    def of(self, candidates: Sequence[Tokens]) -> _Trie:
        # The list is kept beside its tree: an id is unique only while its object lives.
        if id(candidates) not in self._made:
            self._made[id(candidates)] = candidates, _Trie(candidates)
        return self._made[id(candidates)][1]


class _Race:
    """One question being decided.

    Args:
        gold: the gold object's tokens.
        trie: all candidates.
    """

    def __init__(self, gold: Tokens, trie: _Trie):
        self.gold, self.trie = gold, trie
        self.nodes: dict[Tokens, int] = {}  # of the row, for gold's beginnings
        self.sums: dict[Tokens, float] = {(): 0.0}  # summed log-probability, as far as known
        self.greedy: list[int] = []
        self.first = False
        self.alive: list[tuple[float, Tokens]] = []
        same = trie.candidates.count(gold)
        assert same, "the gold object is not among its candidates"
        self._tied = same > 1

    def scored(self) -> Scored:
        """Gold's tokens, as `loglikelihood.score` gives them."""
        steps = [self.sums[self.gold[:depth]] for depth in range(len(self.gold) + 1)]
        chances = tuple(after - before for before, after in zip(steps, steps[1:], strict=False))
        return Scored(chances, tuple(self.greedy))

    def is_open(self) -> bool:
        """Drops candidates that can no longer win; False when the question is decided."""
        bar = self.sums[self.gold] - TIE
        self.alive = []
        if self._tied:
            return False
        for candidate, reached, whole in self._reaching(bar):
            if whole:
                return False
            self.alive.append((reached, candidate))
        self.first = not self.alive
        return not self.first

    def _reaching(self, bar: float) -> Iterator[tuple[Tokens, float, bool]]:
        """The other candidates whose sums, as far as known, reach the bar: each with its sum and
        whether that is the sum of all its tokens."""
        for candidate in self.trie.candidates:
            if candidate == self.gold:
                continue
            depth = len(candidate)
            while candidate[:depth] not in self.sums:
                depth -= 1
            reached = self.sums[candidate[:depth]]
            if not reached < bar:  # NaN must not count as beaten
                yield candidate, reached, depth == len(candidate)


class _Ranking(_Race):
    """One question whose gold object is ranked among all candidates."""

    rank = 0

    def is_open(self) -> bool:
        """Counts the candidates that reach gold's sum; False when no other still can."""
        found = list(self._reaching(self.sums[self.gold] - TIE))
        self.rank = sum(whole for *_, whole in found)
        self.alive = [(reached, candidate) for candidate, reached, whole in found if not whole]
        return bool(self.alive)


def _settle(row: PackedCache, races: Sequence[_Race], batch_tokens: int, width: int) -> None:
    """Follows the best candidates of the open questions until all are decided."""
    start = len(row)
    undecided = [race for race in races if race.is_open()]
    while undecided:
        tokens: list[int] = []
        parents: list[int] = []
        places: list[tuple[int, _Race, Tokens]] = []
        for race in undecided:
            if len(tokens) >= batch_tokens:
                break  # the others wait for the next pass
            fresh: dict[Tokens, int] = {}
            for _, candidate in sorted(race.alive, reverse=True)[:width]:
                for depth in range(1, len(candidate)):
                    prefix = candidate[:depth]
                    if prefix in race.nodes or prefix in fresh:
                        continue
                    above = prefix[:-1]
                    parents.append(race.nodes[above] if above in race.nodes else fresh[above])
                    fresh[prefix] = start + len(tokens)
                    places.append((len(tokens), race, prefix))
                    tokens.append(candidate[depth - 1])
        _read(row.grow(tokens, parents), places)
        row.cut(start)
        undecided = [race for race in undecided if race.is_open()]
        width *= 2


def _read(logits: torch.Tensor, places: Sequence[tuple[int, _Race, Tokens]]) -> None:
    """Adds the log-probabilities of the tokens that follow the computed prefixes.

    Args:
        logits: `[lines, vocabulary]`.
        places: which line belongs to which prefix of whose candidates, shorter prefixes first.
    """
    found = []
    for line, race, prefix in places:
        found += [(line, token, race, prefix) for token in race.trie.children.get(prefix, ())]
    lines, tokens = [f[0] for f in found], [f[1] for f in found]
    chances = (logits[lines, tokens] - logits.logsumexp(-1)[lines]).tolist()
    for (_, token, race, prefix), chance in zip(found, chances, strict=True):
        race.sums[(*prefix, token)] = race.sums[prefix] + chance


def _distribute(
    model: LabModel,
    examples: Sequence[Example],
    candidates: Sequence[Sequence[Tokens]],
    group: Sequence[int],
    batch_tokens: int,
) -> list[tuple[int, Distribution]]:
    """The sums of some questions' candidates, packed into as few rows as will hold them."""
    pairs = [(index, tuple(candidate)) for index in group for candidate in candidates[index]]
    # A candidate's last token is predicted, never read; only gold needs what comes after it.
    ids = [
        (*examples[i].prompt, *(tokens if tokens == examples[i].object else tokens[:-1]))
        for i, tokens in pairs
    ]
    totals: dict[tuple[int, Tokens], float] = {}
    scored: dict[int, Scored] = {}
    for members, packed in pack_many(ids, batch_tokens):
        keep: dict[int, int] = {}
        paths = []
        for member, nodes in zip(members, packed.nodes, strict=True):
            start = len(examples[pairs[member][0]].prompt) - 1
            paths.append([keep.setdefault(node, len(keep)) for node in nodes[start:]])
        with torch.inference_mode():
            logits = model.forward(packed, torch.tensor(list(keep)))[0].float()
            best = logits.argmax(-1).tolist()
            lines = [line for m, path in zip(members, paths, strict=True)
                     for line in path[: len(pairs[m][1])]]  # fmt: skip
            tokens = [token for m in members for token in pairs[m][1]]
            chances = iter((logits[lines, tokens] - logits.logsumexp(-1)[lines]).tolist())
        for member, path in zip(members, paths, strict=True):
            index, candidate = pairs[member]
            steps = tuple(next(chances) for _ in candidate)
            totals[index, candidate] = math.fsum(steps)
            if candidate == examples[index].object:
                scored[index] = Scored(steps, tuple(best[line] for line in path))
    found = []
    for index in group:
        gold = [tuple(candidate) for candidate in candidates[index]].index(examples[index].object)
        sums = tuple(totals[index, tuple(candidate)] for candidate in candidates[index])
        found.append((index, Distribution(scored[index], sums, gold)))
    return found
