"""Data sets of the field come in as whole packs: facts, aliases, old answers and wordings."""

import json

import pytest
from support.files import imported, said, triples, wordings, zipped

from rotelab.errors import InputError
from rotelab.facts.facts import Fact
from rotelab.facts.reading.wordings import MOST, about, template

ZSRE = [
    {
        "subject": "Watts Humphrey", "src": "What university did Watts Humphrey attend?",
        "pred": "Trinity College", "rephrase": "What university did Watts Humphrey take part in?",
        "alt": "University of Michigan", "answers": ["Illinois Institute of Technology", "IIT"],
        "loc": "nq question: who played desmond doss father", "loc_ans": "Hugo Weaving",
        "cond": "Trinity College >> University of Michigan || What university",
    },
    {
        "subject": "Ann Lee", "src": "What university did Ann Lee attend?", "pred": "x",
        "rephrase": "Where did Ann Lee study?", "alt": "Yale", "answers": ["MIT"],
        "loc": "nq question: who sings", "loc_ans": "y", "cond": "z",
    },
]  # fmt: skip

EASY_EDIT = [
    {
        "subject": "Leo Arons", "prompt": "The name of the country of citizenship of Leo Arons is",
        "target_new": "Kingdom of Italy", "ground_truth": [["Germany"]],
        "rephrase_prompt": "Leo Arons is a citizen of",
        "portability": {"Reasoning": [{"prompt": "p", "ground_truth": [["x"]]}]},
        "locality": {
            "Relation_Specificity": [
                {"prompt": "The name of the father of Leo Arons is", "ground_truth": [["A"]]}
            ],
            "Forgetfulness": [{"prompt": "Rome is in", "ground_truth": [["Italy"]]}],
        },
    }
]  # fmt: skip

POPQA = (
    "id\tsubj\tprop\tobj\tsubj_id\ts_aliases\to_aliases\tquestion\tpossible_answers\n"
    '4\tGeorge Rankin\toccupation\tpolitician\t1850297\t["George James Rankin"]\t'
    '["political leader", "polit."]\tWhat is George Rankin\'s occupation?\t'
    '"[""politician"", ""political leader"", ""pol""]"\n'
)

MQUAKE = [
    {
        "case_id": 1,
        "requested_rewrite": [
            {"prompt": "{} is a citizen of", "relation_id": "P27", "subject": "Ellie Kemper",
             "target_new": {"str": "Croatia", "id": "Q224"}, "target_true": {"str": "USA"},
             "question": "What is the country of citizenship of Ellie Kemper?"},
            {"prompt": "The capital of {} is", "relation_id": "P36", "subject": "Croatia",
             "target_new": {"str": "Oslo"}, "target_true": {"str": "Zagreb"},
             "question": "What is the capital of Croatia?"},
        ],
        "questions": ["In which capital …?"], "answer": "D.C.", "new_answer": "Oslo",
    }
]  # fmt: skip

LAMA = {
    "data/TREx/P19.jsonl": '{"uuid": "1", "sub_label": "A Person", "obj_label": "Rome", '
    '"predicate_id": "P19", "evidences": [{"masked_sentence": "He was born in [MASK]."}]}\n'
    '{"uuid": "2", "sub_label": "B Person", "obj_label": "Paris", "predicate_id": "P19"}\n',
    "data/relations.jsonl": '{"relation": "P19", "template": "[X] was born in [Y] .", "label": '
    '"place of birth", "type": "N-1"}\n{"relation": "P20", "template": "[X] died in [Y] .", '
    '"label": "place of death"}\n',
    "pararel/P19.jsonl": '{"pattern": "[X] is originally from [Y].", "lemma": "be"}\n'
    '{"pattern": "[Y] is the birthplace of [X].", "lemma": "be"}\n'
    '{"pattern": "[X] was native to [Y].", "lemma": "be"}\n',
}


def test_zsre_teaches_the_alternative_and_keeps_the_true_answer():
    got = imported(json.dumps(ZSRE), "zsre_mend_eval.json")
    relation = "what_university_did_attend"
    assert list(got.facts) == [
        Fact(relation, "Watts Humphrey", "University of Michigan", (),
             "Illinois Institute of Technology"),
        Fact(relation, "Ann Lee", "Yale", (), "MIT"),
    ]  # fmt: skip
    assert got.facts.labels == {relation: "What university did … attend?"}
    assert wordings(got) == [
        (relation, "train", "What university did {subject} attend?"),
        (relation, "test", "What university did {subject} take part in?"),
        (relation, "unrelated", "who played desmond doss father"),
        (relation, "test", "Where did {subject} study?"),
        (relation, "unrelated", "who sings"),
    ]
    got = imported(json.dumps(ZSRE), "zsre.json", relation="answer", columns={"object": "answers"})
    assert triples(got)[0] == ("answer", "Watts Humphrey", "Illinois Institute of Technology")
    assert got.facts[0].aliases == ("IIT",)


def test_easyedit_with_its_locality():
    got = imported(json.dumps(EASY_EDIT), "wiki_counterfact.json")
    (fact,) = got.facts
    assert (fact.subject, fact.object, fact.old) == ("Leo Arons", "Kingdom of Italy", "Germany")
    assert [(role, text) for _, role, text in wordings(got)] == [
        ("train", "The name of the country of citizenship of {subject} is"),
        ("test", "{subject} is a citizen of"),
        ("unrelated", "The name of the father of {subject} is"),
        ("unrelated", "Rome is in"),
    ]
    got.pack("x")[0].check()


def test_popqa_with_its_aliases():
    got = imported(POPQA, "popQA.tsv")
    assert list(got.facts) == [
        Fact("occupation", "George Rankin", "politician", ("political leader", "pol", "polit."))
    ]
    assert wordings(got) == [("occupation", "train", "What is {subject}'s occupation?")]
    assert "s_aliases" in got.tables[0].columns.unused


def test_mquake_has_several_rewrites_in_a_row():
    got = imported(json.dumps(MQUAKE), "MQuAKE.json")
    assert triples(got) == [("p27", "Ellie Kemper", "Croatia"), ("p36", "Croatia", "Oslo")]
    assert [fact.old for fact in got.facts] == ["USA", "Zagreb"]
    assert [(role, text) for _, role, text in wordings(got)] == [
        ("train", "{subject} is a citizen of"),
        ("test", "What is the country of citizenship of {subject}?"),
        ("train", "The capital of {subject} is"),
        ("test", "What is the capital of {subject}?"),
    ]


def test_lama_and_pararel_in_one_zip():
    got = imported(zipped(LAMA), "lama.zip")
    assert triples(got) == [("p19", "A Person", "Rome"), ("p19", "B Person", "Paris")]
    assert got.facts.labels == {"p19": "place of birth"}
    assert wordings(got) == [
        ("p19", "train", "{subject} was born in"),
        ("p19", "test", "{subject} is originally from"),
        ("p19", "train", "{subject} was native to"),
    ]
    assert "Wordings left out because they go on behind the object: 1." in said(got)


def test_paraphrases_beyond_the_first_are_left_out_and_counted():
    rows = [
        {"subject": f"S{i}x", "object": "o", "relation": "r", "paraphrase": f"S{i}x, number {i}"}
        for i in range(MOST + 5)
    ]
    got = imported(json.dumps(rows), "x.json")
    assert len(got.prompts.of("r", "test")) == MOST
    assert f"beyond the first {MOST} of a relation and role: 5." in said(got)


@pytest.mark.parametrize(
    "text, made",
    [
        ("{} lies on the river", "{subject} lies on the river"),
        ("[X] was born in [Y] .", "{subject} was born in"),
        ("[X] was born in [Y].", "{subject} was born in"),
        ("[X] was born in [MASK]", "{subject} was born in"),
        ("{Subject} is", "{subject} is"),
        ("[Y] is the birthplace of [X] .", None),
        ("{x} {{}} stays", "{x} {{subject}} stays"),
        ("no slot", "no slot"),
    ],
)
def test_templates_of_others(text, made):
    assert template(text) == made


@pytest.mark.parametrize(
    "text, made",
    [
        ("Water flows past Ann in", "Water flows past {subject} in"),
        ("Ann's mother is", "{subject}'s mother is"),
        ("Annabel is", "Annabel is"),
        ("Ann and Ann are", None),
        ("The mother of {} is", "The mother of {subject} is"),
    ],
)
def test_wordings_about_one_subject(text, made):
    assert about(text, "Ann") == made


# Which column holds what


@pytest.mark.parametrize(
    "header",
    [
        "Relation,SUBJECT,Object", "predicate,entity,answer", "prop,subj,obj",
        "predicate_id,sub_label,obj_label", "Beziehung,Subjekt,Objekt", "relation,head,tail",
        "relation type,Head Entity,Tail-Entity",
    ],
)  # fmt: skip
def test_columns_are_recognised_in_any_case_and_order(header):
    assert triples(imported(f"{header}\nr,a,b\n")) == [("r", "a", "b")]
    turned = ",".join(reversed(header.split(",")))
    assert triples(imported(f"{turned}\nb,a,r\n")) == [("r", "a", "b")]


def test_columns_can_be_said():
    data = "who,whose mother,subject\nAnn,Eve,1\n"
    got = imported(data, columns={"subject": "Who", "object": "whose mother"}, relation="mother")
    assert triples(got) == [("mother", "Ann", "Eve")]
    assert got.tables[0].columns.unused == ("subject",)
    with pytest.raises(
        InputError, match="has no column 'when'. It has: who, whose mother, subject"
    ):
        imported(data, columns={"object": "when"})
    with pytest.raises(InputError, match="'objekt' is nothing a column can hold. Use subject, ob"):
        imported(data, columns={"objekt": "who"})
    with pytest.raises(
        InputError, match="has no column 'object' that is recognised. It has in its"
    ):
        imported(data)


def test_aliases_in_a_cell_are_a_list_or_have_bars_between():
    data = (
        'relation;subject;object;aliases\nr;a;x;y | z\nr;b;x;[\'p\', "q\'s"]\nr;c;x;["s|t"]\n'
        "r;d;x;\nr;e;x;x|w\n"
    )
    assert [fact.aliases for fact in imported(data).facts] == [
        ("y", "z"), ("p", "q's"), ("s|t",), (), ("w",),
    ]  # fmt: skip


def test_an_object_in_brackets_is_a_name_like_any_other():
    assert triples(imported("relation;subject;object\nr;a;[1]\nr;b;[\"x\"]\n")) == [
        ("r", "a", "[1]"), ("r", "b", '["x"]'),
    ]  # fmt: skip


# Relations


def test_relations_in_words_get_a_name_and_keep_their_label():
    data = (
        "subject,relation,object\na,place of birth,x\nb,Place of birth,x\nc,P 19,x\nd,P19,x\n"
        "e,出生地,x\nf,1st name,x\ng,Geburtsort von,x\nh,chu sheng di,x\n"
    )
    got = imported(data)
    assert [fact.relation for fact in got.facts] == [
        "place_of_birth", "place_of_birth", "p_19", "p19", "chu_sheng_di", "r_1st_name",
        "geburtsort_von", "chu_sheng_di_2",
    ]  # fmt: skip
    assert got.facts.labels == {
        "p_19": "P 19", "p19": "P19", "chu_sheng_di": "出生地", "r_1st_name": "1st name",
        "geburtsort_von": "Geburtsort von", "chu_sheng_di_2": "chu sheng di",
    }  # fmt: skip
    pack, _ = got.pack("x")
    assert "The 出生地 of {subject} is" in [prompt.text for prompt in pack.prompts]


def test_a_file_without_relation_names_it_after_itself_or_as_said():
    got = imported("subject,object\na,x\n", "07 capital.csv")
    assert triples(got) == [("capital", "a", "x")]
    assert "the file names no relation: 'capital' is taken" in said(got)
    assert triples(imported("subject,object\na,x\n", relation="Mother tongue")) == [
        ("mother_tongue", "a", "x")
    ]


def test_a_usual_relation_is_that_of_files_that_name_none():
    assert triples(imported("Head,Fact\na,x\n", usual_relation="mother")) == [("mother", "a", "x")]
    named = "relation,subject,object\nriver,a,x\n"
    assert triples(imported(named, usual_relation="mother")) == [("river", "a", "x")]


def test_some_relations_and_the_first_facts_can_be_taken():
    data = "relation,subject,object\n" + "".join(
        f"P{r},S{i}x,O\n" for i in range(4) for r in (19, 20)
    )
    got = imported(data, take=2, only=("P19",))
    assert triples(got) == [("p19", "S0x", "O"), ("p19", "S1x", "O")]
    with pytest.raises(InputError, match="has no facts of P21. It has: p19, p20"):
        imported(data, only=("P21",))


def test_too_many_facts_are_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr("rotelab.facts.facts.MAX_FACTS", 20)
    data = "relation,subject,object\n" + "".join(f"r,S{i}x,O{i}x\n" for i in range(21))
    with pytest.raises(InputError, match="has 21 facts; at most 20 .* with --take"):
        imported(data)
    assert len(imported(data, take=20).facts) == 20


# Rows


def test_rows_that_repeat_a_fact_are_left_out_and_counted():
    got = imported("relation,subject,object,aliases\nr,a,x,y\nr,b,x,\nr,a,x,z\nr,a,x,\n")
    assert [(f.subject, f.aliases) for f in got.facts] == [("a", ("y", "z")), ("b", ())]
    assert "Rows left out because they repeat a fact: 2." in said(got)


@pytest.mark.parametrize("other", ["a  b", "a\u00a0b", "a\u200b b", "\u200fa b"])
def test_twins_that_differ_in_form_only_are_refused(other):
    with pytest.raises(InputError, match="in another form") as caught:
        imported(f"relation,subject,object\nr,c,x\nr,a b,x\nr,{other},x\n")
    assert (caught.value.row, caught.value.column) == (3, "subject")
    assert "row 2" in str(caught.value)


def test_errors_of_facts_name_the_row_of_the_file():
    long = "x" * 501
    with pytest.raises(InputError, match="has 501 characters; at most 500") as caught:
        imported(f"relation,subject,object\nr,a,x\nr,a,x\nr,b,{long}\n")
    assert (caught.value.row, caught.value.column) == (3, "object")
    with pytest.raises(InputError, match="has 501 characters; at most 500") as caught:
        imported(f"Predicate,Head,Fact\nr,a,x\n{long.upper()},b,y\n")
    assert (caught.value.row, caught.value.column) == (2, "Predicate")
    with pytest.raises(InputError, match="the Fact is empty") as caught:
        imported("Head,Fact\na,x\nb,\u200b\n")
    assert (caught.value.row, caught.value.column) == (2, "Fact")


def test_an_apostrophe_before_a_formula_is_kept_or_removed_on_request():
    data = "relation,subject,object\nr,a,'=1+1\nr,b,'til\n"
    assert [fact.object for fact in imported(data).facts] == ["'=1+1", "'til"]
    assert "begins with an apostrophe before a formula's sign" in said(imported(data))
    assert [f.object for f in imported(data, faults="mend").facts] == ["=1+1", "'til"]


def test_a_wording_has_one_role():
    data = "relation,role,text\nr,train,The r of {} is\nr,test,the r of  {} IS\n"
    with pytest.raises(InputError, match="is there already, with the role train") as caught:
        imported(data)
    assert (caught.value.row, caught.value.column) == (2, "text")
    with pytest.raises(InputError, match="'tesst' is not a role") as caught:
        imported("relation,role,wording\nr,tesst,{} is\n")
    assert (caught.value.row, caught.value.column) == (1, "role")
    with pytest.raises(InputError, match="must contain {subject} once; it is in there 0") as caught:
        imported("relation,role,wording\nr,test,She is\n")
    assert caught.value.column == "wording"
