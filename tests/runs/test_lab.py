"""The lab: which facts a name stands for, and what a run with a configuration learns."""

import pytest

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.errors import InputError, LabError
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, load_pack, shipped_packs
from rotelab.facts.prompts import PromptSet
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


def small(n, relation="mother"):
    facts = FactSet(Fact(relation, f"Subject {i}x", f"Object {i}x") for i in range(n))
    return Pack("small", facts, load_pack(relation).prompts)


def config(pack, k=2, facts=0, seed=0):
    return RunConfig(pack=pack, facts=facts, seed=seed, generalize=GeneralizeConfig(k=k))


def test_a_lab_is_opened_where_the_environment_says(own_home):
    assert Lab.open().storage.home == own_home
    assert (own_home / "runs.db").is_file()


def test_a_home_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(LabError, match="ROTELAB_HOME"):
        Lab.open(Storage(tmp_path / "home"))


def test_opening_ends_the_runs_whose_process_is_gone(lab):
    gone = (2**22 + 1, 1.0)  # no process has this number
    run_id = lab.registry.create_run(config("small"), small(5), process=gone)
    assert Lab.open(lab.storage).registry.run(run_id).status == "interrupted"


def test_names_are_the_shipped_packs_then_the_saved_sets(lab):
    assert lab.pack_names() == shipped_packs()
    lab.registry.save_fact_set("zoo", small(3))
    lab.registry.save_fact_set("mother", small(3))
    assert lab.pack_names() == [*shipped_packs(), "zoo"]


def test_a_saved_set_goes_before_a_shipped_pack_and_its_newest_version_first(lab, tmp_path):
    assert lab.find_pack("mother") == load_pack("mother")
    lab.registry.save_fact_set("mother", small(3))
    lab.registry.save_fact_set("mother", small(4))
    assert lab.find_pack("mother").facts == small(4).facts
    assert len(lab.find_pack("capital").facts) == 100


def test_a_folder_is_found_by_its_path(lab, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "facts.csv").write_text(small(4).facts.to_csv())
    (folder / "prompts.csv").write_text(small(4).prompts.to_csv())
    assert lab.find_pack(str(folder)).name == "mine"
    monkeypatch.chdir(folder)
    assert lab.find_pack(".").name == "mine"
    (folder / "in").mkdir()
    monkeypatch.chdir(folder / "in")
    assert lab.find_pack("..").name == "mine"


@pytest.mark.parametrize("name", ["nobody", " ", "x" * 5000, "a\0b", "\udcff", "../packs"])
def test_an_unknown_pack_is_refused(lab, name):
    with pytest.raises(InputError, match=r"there is no pack .* Known packs: author"):
        lab.find_pack(name)


def test_the_authors_columns_in_a_folder_take_the_relation_of_its_prompts(tmp_path):
    (tmp_path / "facts.csv").write_text("Head,Fact,Alternate Facts\nMary,Amber,[]\n")
    (tmp_path / "prompts.csv").write_text(load_pack("mother").prompts.to_csv())
    assert list(load_pack(tmp_path).facts) == [Fact("mother", "Mary", "Amber")]
    (tmp_path / "prompts.csv").write_text(load_pack("five").prompts.to_csv())
    with pytest.raises(InputError, match="Say which relation it is"):
        load_pack(tmp_path)


def test_a_missing_file_of_a_pack_is_named_by_pack_and_file(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(InputError, match=r"^mine/facts\.csv: there is no such file"):
        load_pack(folder)


def test_facts_for_takes_all_facts_or_so_many_of_each_relation(lab):
    assert len(lab.facts_for(config("five")).facts) == 500
    fewer = lab.facts_for(config("five", facts=10, seed=3))
    assert [len(relation.facts) for relation in fewer.facts.relations] == [10] * 5
    assert fewer.facts == load_pack("five").facts.take(10, 3)
    assert fewer.prompts == load_pack("five").prompts


def test_facts_for_refuses_more_facts_than_there_are(lab):
    with pytest.raises(LabError, match=r"101 facts were asked for.* has only 100"):
        lab.facts_for(config("mother", facts=101))


@pytest.mark.parametrize("k, facts", [(5, 5), (6, 5), (100, 0)])
def test_facts_for_leaves_some_to_test(lab, k, facts):
    smallest = facts or 100
    with pytest.raises(LabError, match=f"k = {k} .* Choose k below {smallest}, or add facts"):
        lab.facts_for(config("mother", k, facts))
    assert lab.facts_for(config("mother", smallest - 1, facts))


def test_facts_for_does_not_advise_k_below_one(lab):
    with pytest.raises(LabError, match=r"so none would be left to test\. Add facts\.$"):
        lab.facts_for(config("mother", 1, 1))


def test_facts_for_refuses_a_relation_that_cannot_be_taught_or_tested(lab):
    for role in ("train", "test"):
        left = [prompt for prompt in load_pack("mother").prompts if prompt.role != role]
        lab.registry.save_fact_set(f"no {role}", Pack("x", small(5).facts, PromptSet(left)))
        with pytest.raises(
            InputError, match=rf"no {role} prompt.*“The mother of \{{subject\}} is”"
        ):
            lab.facts_for(config(f"no {role}"))


def test_nothing_is_written_by_what_is_refused(lab):
    before = lab.registry.count_runs()
    for bad in (config("nobody"), config("mother", 100), config("mother", facts=101)):
        with pytest.raises(LabError):
            lab.facts_for(bad)
    assert lab.registry.count_runs() == before == 0
    assert not lab.storage.runs.exists() or not list(lab.storage.runs.iterdir())
