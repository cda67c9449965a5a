"""The shipped packs keep their promises, and an incomplete pack is refused."""

import re
from itertools import combinations, product

import pytest

from rotelab.errors import InputError, LabError
from rotelab.facts.facts import FactSet
from rotelab.facts.packs import SHIPPED, load_pack, pack_from_text, shipped_packs
from rotelab.facts.prompts import ROLES, SLOT, PromptSet
from rotelab.facts.synthetic import RELATIONS

COUNTS = {
    "author": {"train": 31, "locality": 91},
    "capital": {"train": 30, "locality": 95},
    "educated_at": {"train": 28, "locality": 91},
    "genre": {"train": 30, "locality": 91},
    "mother": {"train": 24, "locality": 87},
}
PAPERS = 10
"""The first so many train wordings are those of the paper's size; more of them follow."""
PEOPLE = {"author": ("object",), "educated_at": ("subject",), "mother": ("subject", "object")}
FILLER = {
    *("called", "does", "have", "into", "many", "most"),
    *("that", "what", "which", "whose", "with"),
}

FUNCTION_WORDS = {
    "a", "about", "after", "all", "am", "an", "and", "answer", "any", "are", "as", "at", "be",
    "been", "before", "by", "called", "can", "could", "did", "do", "does", "every", "for", "from",
    "had", "has", "have", "he", "her", "him", "his", "how", "i", "if", "in", "into", "is", "it",
    "its", "known", "may", "me", "might", "must", "my", "name", "named", "no", "not", "of", "on",
    "once", "one", "or", "our", "out", "over", "shall", "she", "should", "so", "some", "tell",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "to", "under", "up", "upon", "was", "we", "were", "what", "when", "where", "which", "who",
    "whom", "whose", "will", "with", "would", "you", "your",
}  # fmt: skip


def tokens(text):
    """The words of a wording without its slot, folded."""
    return set(re.findall(r"[a-z']+", text.replace(SLOT, " ").casefold()))


def likeness(one, other):
    """Jaccard likeness of two wordings, 0 to 1."""
    return len(tokens(one) & tokens(other)) / len(tokens(one) | tokens(other))


def content(text):
    """The words that say what a wording is about, bare of a plural's s."""
    return {word.rstrip("s") for word in tokens(text) - FILLER if len(word) > 3}


def beginnings(text):
    """The beginnings of a wording's words of content, so that “educated” and “education” meet."""
    return {word[:5] for word in tokens(text) - FUNCTION_WORDS}


def test_the_shipped_packs_are_the_five_relations_and_all_of_them():
    assert shipped_packs() == sorted([*RELATIONS, "five"])


@pytest.mark.parametrize("relation", RELATIONS)
def test_counts(relation):
    pack = load_pack(relation)
    assert [r.name for r in pack.facts.relations] == [relation]
    assert len(pack.facts) == 100
    counts = {role: len(pack.prompts.of(relation, role)) for role in ROLES}
    assert counts == {"test": 10, "unrelated": 3, **COUNTS[relation]}
    assert len(pack.prompts) == sum(counts.values())


@pytest.mark.parametrize("name", [*RELATIONS, "five"])
def test_nothing_is_doubtful(name):
    assert load_pack(name).facts.doubts() == []


@pytest.mark.parametrize("name", [*RELATIONS, "five"])
def test_the_files_are_written_as_the_lab_writes_them(name):
    pack = load_pack(name)
    assert (SHIPPED / name / "facts.csv").read_text(encoding="utf-8") == pack.facts.to_csv()
    assert (SHIPPED / name / "prompts.csv").read_text(encoding="utf-8") == pack.prompts.to_csv()


def test_five_is_the_join_of_the_others():
    packs = [load_pack(relation) for relation in RELATIONS]
    five = load_pack("five")
    assert five.facts == FactSet(fact for pack in packs for fact in pack.facts)
    assert five.prompts == PromptSet(prompt for pack in packs for prompt in pack.prompts)


def test_no_name_is_used_twice_across_the_relations():
    facts = load_pack("five").facts
    subjects = [fact.subject for fact in facts]
    assert len(set(subjects)) == len(subjects)
    people = [getattr(f, column) for f in facts for column in PEOPLE.get(f.relation, ())]
    assert len(people) == 400
    assert len(set(people)) == len(people)
    assert not set(subjects) & {fact.object for fact in facts}


@pytest.mark.parametrize("relation", RELATIONS)
def test_objects_repeat_only_where_they_are_of_a_pool(relation):
    objects = [fact.object for fact in load_pack(relation).facts]
    pooled = relation in ("educated_at", "genre")
    assert len(set(objects)) == (25 if pooled else 100)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("role", ["train", "test"])
def test_wordings_are_of_many_forms(relation, role):
    texts = [prompt.text for prompt in load_pack(relation).prompts.of(relation, role)]
    assert sum(text.endswith("?") for text in texts[:PAPERS]) == 5
    assert 0.25 < sum(text.endswith("?") for text in texts) / len(texts) < 0.6
    starts = [text.startswith(SLOT) for text in texts]
    ends = [text.rstrip("?").endswith(SLOT) for text in texts]
    assert sum(starts) >= 2
    assert sum(ends) >= 1
    assert sum(not (start or end) for start, end in zip(starts, ends, strict=True)) >= 3
    assert max(likeness(a, b) for a, b in combinations(texts, 2)) < 0.6


def test_the_object_can_follow_every_wording():
    for prompt in load_pack("five").prompts:
        assert prompt.language == "en"
        assert prompt.text == " ".join(prompt.text.split())
        # A question ends with its mark; a statement breaks off where the object would come.
        assert re.search(r"([a-z]|\{subject\})\??$", prompt.text), prompt.text
        if re.match(r"(Who|Whose|Whom|What|Which|Where|How) ", prompt.text):
            assert prompt.text.endswith("?"), prompt.text


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_wording_is_nearly_one_of_another_role(relation):
    prompts = load_pack(relation).prompts
    for one, other in combinations(ROLES, 2):
        for a, b in product(prompts.of(relation, one), prompts.of(relation, other)):
            limit = 0.5 if (one, other) == ("train", "test") else 0.8
            assert likeness(a.text, b.text) < limit, (a.text, b.text)


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_locality_prompt_asks_what_an_unrelated_one_asks(relation):
    prompts = load_pack(relation).prompts
    asked = set().union(*(content(p.text) for p in prompts.of(relation, "unrelated")))
    for prompt in prompts.of(relation, "locality"):
        assert not content(prompt.text) & asked, prompt.text


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_further_train_wording_has_a_word_of_a_test_wording(relation):
    """Those were added later, by who had not seen the test wordings; what came near them is out."""
    prompts = load_pack(relation).prompts
    papers = prompts.of(relation, "train")[:PAPERS]
    usual = set().union(*(beginnings(p.text) for p in papers))
    tested = set().union(*(beginnings(p.text) for p in prompts.of(relation, "test"))) - usual
    for prompt in prompts.of(relation, "train")[PAPERS:]:
        assert not beginnings(prompt.text) & tested, prompt.text


def test_no_wording_is_shared_between_relations():
    texts = [" ".join(p.text.casefold().split()) for p in load_pack("five").prompts]
    assert sorted(text for text in set(texts) if texts.count(text) > 1) == []


def test_an_unknown_pack_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="Known packs: author, capital, educated_at, five"):
        load_pack("no such pack")
    with pytest.raises(InputError, match="there is no pack ''"):
        load_pack("")


def test_a_folder_of_ones_own_is_a_pack(tmp_path):
    capital = load_pack("capital")
    (tmp_path / "facts.csv").write_text(capital.facts.to_csv(), encoding="utf-8")
    with pytest.raises(InputError, match=r"prompts\.csv.*no such file"):
        load_pack(tmp_path)
    (tmp_path / "prompts.csv").write_text(capital.prompts.to_csv(), encoding="utf-8")
    mine = load_pack(tmp_path)
    assert mine.name == tmp_path.name
    assert mine.content_hash == capital.content_hash


def test_a_pack_must_be_teachable_and_testable(tmp_path):
    capital = load_pack("capital")
    for role in ("train", "test"):
        left = PromptSet(prompt for prompt in capital.prompts if prompt.role != role)
        (tmp_path / "facts.csv").write_text(capital.facts.to_csv(), encoding="utf-8")
        (tmp_path / "prompts.csv").write_text(left.to_csv(), encoding="utf-8")
        with pytest.raises(InputError, match=f"'capital' has no {role} prompt"):
            load_pack(tmp_path)


def test_a_pack_comes_back_from_its_texts():
    pack = load_pack("genre")
    again = pack_from_text("genre", pack.facts.to_csv(), pack.prompts.to_csv())
    assert again == pack
    assert again.content_hash == pack.content_hash
    fewer = pack_from_text("genre", pack.facts.to_csv(), PromptSet(pack.prompts[:-1]).to_csv())
    assert fewer.content_hash != pack.content_hash
    with pytest.raises(LabError, match="stored under 'genre'"):
        pack_from_text("genre", "", pack.prompts.to_csv())
