"""What a pack lacks: said before a run is made with it, with the place and how to mend it.

Too few wordings, wordings that are too alike, and off-topic sentences that are missing or are not
off topic. Only English wordings are looked at, as in training. Nothing here is an error: such a
pack can be trained on, and its figures will be poorer or mean less than they could.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import combinations, product

from rotelab.facts.packs import Pack
from rotelab.facts.prompts import SLOT, PromptSet

TRAIN, TEST, LOCALITY, UNRELATED = 10, 5, 10, 3
"""How many wordings of each role a relation should have at least."""
SAME_WORDS = 0.7
"""Two wordings that have this share of their telling words in common say nearly the same."""
HALF, ALIKE = 0.5, 0.74
"""So do two that have this share in common and look this alike (0 to 1; `alike`)."""
NEAR = 0.6
"""An off-topic sentence of this similarity to a train wording is near the relation."""
TOO_OFTEN = 0.7
"""A telling word should be in fewer of the train wordings than this share."""
COMPARED = 100
"""Most wordings of a role that are compared: each is held against each other one."""
BROKEN_OFF = re.compile(r"\b(is|are|was|were|by|called|named|of|to|at|in|the|a)[.!…]+$")
"""The end of a sentence that the object should follow, with a full stop in its way."""

SMALL_WORDS = frozenset((
    "a", "about", "after", "all", "am", "an", "and", "any", "are", "as", "at", "be", "been",
    "before", "by", "called", "can", "could", "did", "do", "does", "for", "from", "had", "has",
    "have", "he", "her", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "known",
    "may", "me", "might", "must", "my", "name", "named", "no", "not", "of", "on", "once", "one",
    "or", "our", "out", "over", "s", "she", "should", "so", "some", "tell", "than", "that", "the",
    "their", "them", "then", "there", "these", "they", "this", "to", "under", "up", "upon", "was",
    "we", "were", "what", "when", "where", "which", "who", "whom", "whose", "will", "with", "would",
    "you", "your",
))  # fmt: skip
"""Words that say nothing about what is asked; all others are telling words."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Lack:
    """One thing that a pack lacks.

    Args:
        relation: the relation whose wordings lack it.
        reason: what it is and how to mend it. Its `{}` fields stand for what `about` names, so that
            the page can translate it.
        about: what fills those fields.
    """

    relation: str
    reason: str
    about: Mapping[str, str] = field(default_factory=dict)

    def sentence(self, translate: Callable[[str], str] = str) -> str:
        """The relation and the reason, filled in, in the language that `translate` puts it into."""
        return f"{self.relation}: {translate(self.reason).format(**self.about)}"


def diagnose(pack: Pack) -> list[Lack]:
    """What a pack lacks, relation by relation, the most important first; nothing if all is well."""
    return diagnose_prompts(pack.prompts, [relation.name for relation in pack.facts.relations])


def diagnose_prompts(prompts: PromptSet, relations: Sequence[str]) -> list[Lack]:
    """The same of wordings alone, of these relations."""
    found: list[Lack] = []
    for relation in relations:
        roles = ("train", "test", "unrelated", "locality")
        texts = {role: [t.text for t in prompts.of(relation, role)] for role in roles}
        found += _too_few(relation, texts)
        texts = {role: of[:COMPARED] for role, of in texts.items()}
        found += _too_alike(relation, texts)
        found += [*_off_topic(relation, texts), *_no_place_for_the_object(relation, texts)]
    return found


def alike(one: str, other: str, least: float) -> bool:
    """Whether two wordings are at least so alike, 0 to 1, whatever the order of their words."""
    match = SequenceMatcher(None, _sorted(one), _sorted(other), autojunk=False)
    # The first two are upper bounds, and quick.
    ratios = (match.real_quick_ratio, match.quick_ratio, match.ratio)
    return all(ratio() >= least for ratio in ratios)


@functools.lru_cache(maxsize=10_000)
def telling(text: str) -> frozenset[str]:
    """The words of a wording that say what it asks."""
    return frozenset(_words(text)) - SMALL_WORDS


# Kinds of lack -----------------------------------------------------------------------------------


def _too_few(relation: str, texts: Mapping[str, Sequence[str]]) -> Iterable[Lack]:
    n = {role: len(of) for role, of in texts.items()}
    if n["train"] < TRAIN:
        yield Lack(
            relation,
            "Train wordings: {n}. Write at least {more} more, in other words and forms. From a few "
            "the model learns these wordings, and new ones stay unanswered.",
            _counts(n["train"], TRAIN),
        )
    if n["test"] < TEST:
        yield Lack(
            relation,
            "Test wordings: {n}. Write at least {more} more, with words that no train wording has. "
            "The figure that counts would rest on very few.",
            _counts(n["test"], TEST),
        )
    if n["locality"] < LOCALITY:
        yield Lack(
            relation,
            "Locality sentences: {n}. Write at least {more} more, about the same subjects but "
            "something else. They keep the facts from popping up everywhere.",
            _counts(n["locality"], LOCALITY),
        )
    if n["unrelated"] < UNRELATED:
        yield Lack(
            relation,
            "Unrelated sentences: {n}. Write at least {more} more, about the same subjects but "
            "something else. They measure whether the facts pop up everywhere.",
            _counts(n["unrelated"], UNRELATED),
        )


def _too_alike(relation: str, texts: Mapping[str, Sequence[str]]) -> Iterable[Lack]:
    if pairs := _nearly_the_same(combinations(texts["train"], 2)):
        yield Lack(
            relation,
            "Train wordings that say nearly the same: {pairs}. Put one of each two into other "
            "words.",
            _shown(pairs),
        )
    if pairs := _nearly_the_same(product(texts["test"], texts["train"])):
        yield Lack(
            relation,
            "Test wordings that nearly stand among the train wordings: {pairs}. They would test "
            "what was taught; put them into other words.",
            _shown(pairs),
        )
    often = Counter(word for text in texts["train"] for word in telling(text))
    word, count = next(iter(often.most_common(1)), ("", 0))
    if len(texts["train"]) >= TEST and count >= TOO_OFTEN * len(texts["train"]):
        yield Lack(
            relation,
            "“{word}” is in {n} of {all} train wordings. Write some without it, or the model "
            "learns to wait for that word.",
            {"word": word, "n": str(count), "all": str(len(texts["train"]))},
        )


def _off_topic(relation: str, texts: Mapping[str, Sequence[str]]) -> Iterable[Lack]:
    asking, others = [*texts["train"], *texts["test"]], [*texts["locality"], *texts["unrelated"]]
    if pairs := [pair for pair in product(others, asking) if _asks_the_same(*pair)]:
        yield Lack(
            relation,
            "Unrelated or locality sentences that ask for the fact itself: {pairs}. Make them ask "
            "for something else, or give them the role train or test.",
            _shown(_one_each(pairs)),
        )
    if pairs := _nearly_the_same(product(texts["unrelated"], texts["locality"])):
        yield Lack(
            relation,
            "Unrelated sentences that nearly stand among the locality ones: {pairs}. They would "
            "measure what was trained; make them ask for something else.",
            _shown(pairs),
        )
    if texts["train"] and others and not any(_near(*p) for p in product(texts["train"], others)):
        yield Lack(
            relation,
            "No unrelated or locality sentence is near this relation. Add some that look like “"
            "{one}” and ask for something else, as “The father of {subject} is” does for mothers: "
            "there a fact pops up first.",
            {"one": min(texts["train"], key=len), "subject": SLOT},
        )


def _no_place_for_the_object(relation: str, texts: Mapping[str, Sequence[str]]) -> Iterable[Lack]:
    ended = [t for role in ("train", "test") for t in texts[role] if BROKEN_OFF.search(t)]
    if ended:
        yield Lack(
            relation,
            "Sentences with a full stop before the object: {texts}. It is said right after the "
            "wording, so leave the full stop off.",
            {"texts": _listed([f"“{text}”" for text in ended])},
        )


# Comparing ---------------------------------------------------------------------------------------


def _nearly_the_same(pairs: Iterable[Pair]) -> list[Pair]:
    """One pair for each first wording that is nearly another."""
    return _one_each(
        (one, other)
        for one, other in pairs
        if _mostly_the_same_words(one, other)
        or (_in_common(one, other) >= HALF and alike(one, other, ALIKE))
    )


def _one_each(pairs: Iterable[Pair]) -> list[Pair]:
    found: dict[str, str] = {}
    for one, other in pairs:
        found.setdefault(one, other)
    return list(found.items())


def _in_common(one: str, other: str) -> float:
    """The share of two wordings' telling words that both have; 1 where there are none."""
    a, b = telling(one), telling(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def _mostly_the_same_words(one: str, other: str) -> bool:
    """A single telling word does not count: most often it is the relation's own."""
    return len(telling(one) | telling(other)) > 1 and _in_common(one, other) >= SAME_WORDS


def _asks_the_same(one: str, other: str) -> bool:
    """Whether an off-topic sentence asks what a wording asks. “The father of …” and “The mother of
    …” look alike, so only telling words count."""
    a, b = telling(one), telling(other)
    return bool(a) and (a == b or _mostly_the_same_words(one, other))


def _near(one: str, other: str) -> bool:
    return bool(telling(one) & telling(other)) or alike(one, other, NEAR)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.replace(SLOT, " ").casefold())


def _sorted(text: str) -> str:
    return " ".join(sorted(_words(text)))


# Words -------------------------------------------------------------------------------------------


def _counts(there: int, wanted: int) -> dict[str, str]:
    return {"n": str(there), "more": str(wanted - there)}


def _shown(pairs: Sequence[Pair]) -> dict[str, str]:
    return {"pairs": _listed([f"“{one}” – “{other}”" for one, other in pairs])}


def _listed(texts: Sequence[str], most: int = 2) -> str:
    """The first few, and how many more there are."""
    more = f" (+{len(texts) - most})" if len(texts) > most else ""
    return "; ".join(texts[:most]) + more
