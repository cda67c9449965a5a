"""Chat on a tiny model with real adapters: checkpoints, streaming and grading."""

import dataclasses
import math
import subprocess
import sys
import threading

import pytest
import torch
from support.taught import new_run, taught_run

from rotelab.config.run_config import GeneralizeConfig, ModelSpec, RunConfig
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation.judging.judge import Verdict, grade
from rotelab.evaluation.judging.questions import Query, asked_fact
from rotelab.evaluation.loglikelihood import score
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack
from rotelab.facts.prompts import PromptSet, PromptTemplate
from rotelab.models.generation import generate
from rotelab.models.loading import load_model
from rotelab.runs import chat as chat_module
from rotelab.runs.asking.prompts import prompt_ids, talk_ids
from rotelab.runs.lab import Lab
from rotelab.storage import Storage, adapter_folder

CHECKPOINTS = ("base", "memorized", "generalized")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab.open(Storage(tmp_path_factory.mktemp("lab")))


@pytest.fixture(scope="module")
def run_id(lab, tiny_folder):
    return taught_run(lab, tiny_folder, "taught")


def ids_of(lab, run_id, text, checkpoints=CHECKPOINTS, **options):
    """The token ids of each checkpoint's whole answer."""
    found = {}
    for reply in lab.chat.stream(run_id, text, checkpoints, **options):
        found[reply.checkpoint] = [token.id for token in reply.tokens]
    return found


def query(text):
    return Query.parse(text, ["mother", "capital"])


def graded(run, text, answer, checkpoint="generalized", anywhere=False):
    asked = Query.parse(text, [relation.name for relation in run.pack.facts.relations])
    return grade(run.pack, run.config, asked, answer, checkpoint, anywhere)


# Checkpoints -------------------------------------------------------------------------------------


def test_base_answers_with_the_adapters_off(lab, run_id, tiny_folder):
    question = f"{lab.registry.run(run_id).pack.facts[0].subject} [mother]"
    said = {}
    for reply in lab.chat.stream(run_id, question, max_new_tokens=8):
        said[reply.checkpoint] = [(token.id, token.probability) for token in reply.tokens]
    spec = ModelSpec(str(tiny_folder), "cpu", "float32")
    bare = load_model(spec, ["mother"], 0)  # never had an adapter
    prompt = prompt_ids(bare, query(question))
    alone = [(token.id, token.probability) for token in generate(bare, prompt, 8)]
    assert [i for i, _ in said["base"]] == [i for i, _ in alone]
    assert [p for _, p in said["base"]] == pytest.approx([p for _, p in alone], rel=1e-4)
    for one, other in (("base", "memorized"), ("memorized", "generalized")):
        assert said[one][0][1] != pytest.approx(said[other][0][1], rel=1e-4), (one, other)


def test_greedy_answers_are_those_of_transformers_own_generate(lab, run_id, monkeypatch):
    monkeypatch.setattr(chat_module, "SPEAKING", ())  # none has to say a word
    question = "Who is the mother of Mary?"
    ours = ids_of(lab, run_id, question, max_new_tokens=12)
    model = lab.chat._loaded[2]
    prompt = torch.tensor([model.builder.word_prompt(question)])
    for checkpoint in CHECKPOINTS:
        with model.using(checkpoint), model.switched(checkpoint):
            theirs = model.network.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=12,
                eos_token_id=sorted(model.builder.stops),
                pad_token_id=model.builder.separator,
            )[0, prompt.shape[1] :].tolist()
        kept = [token for token in theirs if token not in model.builder.stops]
        assert ours[checkpoint] == kept, checkpoint


def test_answers_side_by_side_are_those_given_one_after_the_other(lab, run_id, monkeypatch):
    """With prompts of different lengths, key tokens in some, and rows that end before others."""
    ids_of(lab, run_id, "Hello", max_new_tokens=1)
    model, side = lab.chat._loaded[2], lab.chat._side_by_side
    assert side.reordered or not torch.backends.mkldnn.is_available()
    fact = lab.registry.run(run_id).pack.facts[0]
    lengths = []
    key = prompt_ids(model, query(f"{fact.subject} [mother]"))
    words = prompt_ids(
        model, query("The mother of Mary Bahri, as everybody in that town knows, is")
    )
    with model.using("base"):  # ends first, so that the rows after it move up
        stop = list(generate(model, words, 2))[1].id
    monkeypatch.setattr(model.builder, "stops", model.builder.stops | {stop})
    for prompts in (dict.fromkeys(CHECKPOINTS, key), dict.fromkeys(CHECKPOINTS, words),
                    {"base": key, "memorized": words, "generalized": key},
                    {"generalized": key}):  # fmt: skip
        alone = {}
        for checkpoint, prompt in prompts.items():
            with model.using(checkpoint):
                alone[checkpoint] = list(generate(model, prompt, 9))
        model.use("base")
        together = {c: [] for c in prompts}
        for step in side.generate(prompts, 9):
            for checkpoint, token in step.items():
                together[checkpoint].append(token)
        for checkpoint, tokens in together.items():
            assert tokens.pop() is None, "its end is told"
            assert [t.id for t in tokens] == [t.id for t in alone[checkpoint]], checkpoint
            told = [t.probability for t in alone[checkpoint]]
            assert [t.probability for t in tokens] == pytest.approx(told, rel=1e-3)
        lengths.append(sorted({len(tokens) for tokens in alone.values()}))
    assert any(len(found) > 1 for found in lengths), "one went on when others had ended"
    assert model.checkpoint == "base"


def test_every_reply_says_who_answers(lab, run_id):
    replies = list(lab.chat.stream(run_id, "Hello", max_new_tokens=3))
    assert sorted(r.checkpoint for r in replies if r.done) == sorted(CHECKPOINTS)
    only = list(lab.chat.stream(run_id, "Hello", ["memorized"], max_new_tokens=3))
    assert {r.checkpoint for r in only} == {"memorized"}


def test_two_answers_at_a_time_do_not_mix_their_checkpoints(lab, run_id):
    alone = ids_of(lab, run_id, "Hello", max_new_tokens=6)
    streams = {c: lab.chat.stream(run_id, "Hello", [c], max_new_tokens=6) for c in CHECKPOINTS}
    last = {}
    while streams:  # one token of each in turn
        for checkpoint in list(streams):
            reply = next(streams[checkpoint], None)
            if reply is None:
                del streams[checkpoint]
            else:
                last[checkpoint] = [token.id for token in reply.tokens]
    assert last == alone


# Streaming ---------------------------------------------------------------------------------------


def test_an_answer_comes_token_by_token_with_probabilities(lab, run_id):
    replies = list(lab.chat.stream(run_id, "Hello", ["generalized"], max_new_tokens=5))
    *parts, last = replies
    assert [len(r.tokens) for r in parts] == list(range(1, len(parts) + 1))
    assert not any(r.done for r in parts) and last.done
    assert last.tokens == parts[-1].tokens
    assert last.text == "".join(token.text for token in last.tokens).strip()
    for token in last.tokens:
        assert 0 < token.probability <= 1
        assert token.alternatives[0][1] == pytest.approx(token.probability)  # greedy: the likeliest
        assert [p for _, p in token.alternatives] == sorted(
            (p for _, p in token.alternatives), reverse=True
        )


def test_temperature_draws_and_the_seed_decides(lab, run_id):
    hot = [ids_of(lab, run_id, "Hi", ["base"], max_new_tokens=8, temperature=1.5, seed=s)["base"]
           for s in (1, 1, 2)]  # fmt: skip
    assert hot[0] == hot[1] != hot[2]


def test_an_answer_may_be_left_in_the_middle_and_taken_up_in_another_thread(lab, run_id):
    left = lab.chat.stream(run_id, "Hello", max_new_tokens=5)
    next(left)  # somebody closed the page here
    done = []
    steps = lab.chat.stream(run_id, "Hello", ["base"], max_new_tokens=3)
    # Gradio runs each step of a generator in whichever thread is free.
    for _ in range(4):
        thread = threading.Thread(target=lambda: done.append(next(steps)), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), "the answer waits for ever"
    assert done[-1].done
    lab.chat.release()


def test_the_model_is_kept_between_questions_and_given_back(lab, run_id, monkeypatch):
    ids_of(lab, run_id, "Hello", ["base"], max_new_tokens=1)
    assert lab.chat.ready(run_id)
    monkeypatch.setattr("rotelab.models.loading.load_model", lambda *a: pytest.fail("loaded again"))
    ids_of(lab, run_id, "Hello", ["base"], max_new_tokens=1)
    lab.chat.release()
    assert not lab.chat.ready(run_id)


def test_adapters_that_were_saved_anew_are_loaded_anew(lab, run_id):
    import os

    ids_of(lab, run_id, "Hello", ["base"], max_new_tokens=1)
    os.utime(adapter_folder(lab.storage, run_id, "memorized") / "meta.json", ns=(1, 1))
    assert not lab.chat.ready(run_id)
    ids_of(lab, run_id, "Hello", ["base"], max_new_tokens=1)
    assert lab.chat.ready(run_id)


# Questions ---------------------------------------------------------------------------------------


def test_a_subject_and_its_relation_in_brackets_ask_through_the_key_token(tiny):
    key = tiny.builder.key_prompt("Mary Bahri", "mother")
    assert prompt_ids(tiny, query(" Mary Bahri [mother] ")) == key
    assert prompt_ids(tiny, query("Mary Bahri [Mother]")) == key
    for text in ("Mary Bahri [father]", "[mother]", "Mary [mother] Bahri", "Who is Mary?"):
        assert prompt_ids(tiny, query(text)) == tiny.builder.word_prompt(text)


def test_rote_learning_is_recalled_through_the_key_token(lab, run_id):
    fact = lab.registry.run(run_id).pack.facts[0]
    ask = f"{fact.subject} [mother]"
    done = {r.checkpoint: r for r in lab.chat.stream(run_id, ask) if r.done}
    assert done["memorized"].text.startswith(fact.object)
    assert done["memorized"].verdict.known == "by rote"
    assert done["base"].verdict == Verdict()


# Grading -----------------------------------------------------------------------------------------


@pytest.fixture
def people(lab):
    """A run about four people, two of them taught in words, and the two kinds of facts."""
    names = ("Ann Lee", "Ann Lee Ford", "Bo Ray", "Cy Dow")
    facts = [Fact("mother", name, f"Mother {name.split()[-1]}") for name in names]
    prompts = PromptSet(
        PromptTemplate("mother", role, "en", text)
        for role, text in (
            ("train", "The mother of {subject} is"),
            ("test", "Who bore {subject}?"),
            ("unrelated", "{subject} lives in"),
        )
    )
    config = RunConfig(generalize=GeneralizeConfig(k=2))
    run = lab.registry.run(lab.registry.create_run(config, Pack("p", FactSet(facts), prompts)))
    split = run.pack.facts.split(2, 0)
    return run, split.held_in[0], split.held_out[0]


def test_a_right_answer_says_how_the_fact_was_learned(people):
    run, taught, rote = people
    for answer in ("{}", " {}.", "{}, of course", "{}".upper()):
        for fact, known in ((taught, "in words"), (rote, "never in words")):
            said = graded(run, f"Who bore {fact.subject}?", answer.format(fact.object))
            assert said.known == known and said.text and said.right


def test_what_was_taught_depends_on_the_checkpoint(people):
    run, taught, _ = people
    ask = f"Who bore {taught.subject}?"
    assert graded(run, ask, taught.object, "memorized").known == "by rote"
    assert graded(run, ask, taught.object, "base").known == "by chance"
    key = graded(run, f"{taught.subject} [mother]", taught.object)
    assert key.known == "by rote" and "key token" in key.text


def test_an_alias_is_right_too_and_a_relation_is_named_in_words(people):
    run, taught, rote = people
    facts = (
        dataclasses.replace(fact, aliases=("Mummy",)) if fact == taught else fact
        for fact in run.pack.facts
    )
    labelled = FactSet(facts, labels={"mother": "mum dear"}).to_csv()
    other = dataclasses.replace(run, facts_csv=labelled)
    ask = f"Who bore {taught.subject}?"
    assert graded(other, ask, "Mummy.").known == "in words"
    assert graded(other, ask, f"{taught.object}!").right
    assert not graded(run, ask, "Mummy.").right
    assert graded(other, ask, "She is called Mummy.").known == "after words"
    said = graded(other, f"Who bore {rote.subject}?", "Mummy")
    assert said.known == "another fact" and f"the mum dear of {taught.subject}" in said.text


def test_another_fact_and_no_fact(people):
    run, taught, rote = people
    wrong = graded(run, f"Who bore {rote.subject}?", taught.object)
    assert wrong.known == "another fact" and taught.subject in wrong.text and not wrong.right
    assert graded(run, f"Who bore {rote.subject}?", "the sea") == Verdict()
    assert graded(run, "What is the capital of France?", "Paris").known == "no fact"
    assert graded(run, f"Who bore {rote.subject}?", taught.object + "ton") == Verdict()
    assert graded(run, f"Who bore {rote.subject}?", " \n") == Verdict()


def test_a_fact_under_an_unrelated_question_is_not_right(people):
    run, taught, _ = people
    said = graded(run, f"{taught.subject} lives in", taught.object)
    assert said.known == "leak" and "leaked" in said.text and not said.right


def test_a_name_inside_another_is_not_asked_for(people):
    run, *_ = people
    assert graded(run, "Who bore Ann Leeson?", "Mother Lee").known == "not judged"
    assert graded(run, "Who bore Ann Lee Ford?", "Mother Ford").known.endswith("in words")


def test_the_fact_that_is_asked_for(people, lab):
    run, taught, rote = people
    for fact in (taught, rote):
        for text in (f"Who bore {fact.subject}?", f"{fact.subject} [mother]"):
            assert asked_fact(run.pack, query(text)) == fact
    for text in (f"{taught.subject} lives in", "Who?", "Bo Ray or Cy Dow?", taught.subject):
        assert asked_fact(run.pack, query(text)) is None, text
    two = [Fact("mother", "Ann Lee", "Mia"), Fact("home_town", "Ann Lee", "Ulm")]
    prompts = PromptSet([PromptTemplate("home_town", "test", "en", "Where lives {subject}?")])
    config = RunConfig(generalize=GeneralizeConfig(k=1))
    run = lab.registry.run(lab.registry.create_run(config, Pack("p", FactSet(two), prompts)))
    for text, fact in (
        ("Ann Lee [mother]", two[0]), ("where lives ann lee?", two[1]),
        ("The mother of Ann Lee is", two[0]), ("Ann Lee's home town?", two[1]), ("Ann Lee", None),
    ):  # fmt: skip
        assert asked_fact(run.pack, Query.parse(text, ["mother", "home_town"])) == fact, text


def test_an_answer_in_a_conversation_may_begin_with_other_words(people):
    run, taught, _ = people
    ask, said = f"Who bore {taught.subject}?", f"It was {taught.object}, I think."
    late = graded(run, ask, said)
    assert late.known == "after words" and "other words" in late.text and not late.right
    assert graded(run, ask, said, anywhere=True).known == "in words"


def test_how_likely_the_right_answer_was_is_said_after_all_answers(lab, run_id):
    facts = lab.registry.run(run_id).pack.facts
    question = f"{facts[0].subject} [mother]"
    replies = list(lab.chat.stream(run_id, question, max_new_tokens=3, evidence=True))
    *_, base, memorized, _ = replies
    assert not any(reply.evidence for reply in replies[:-3])
    assert [r.awaits for r in replies if r.done] == [True] * 3 + [False] * 3
    assert [r.checkpoint for r in replies[-3:]] == list(CHECKPOINTS)
    assert memorized.evidence.fact == facts[0] and memorized.evidence.among == len(facts)
    assert base.evidence.probability < memorized.evidence.probability < 1
    model = lab.chat._loaded[2]
    prompt = prompt_ids(model, query(question))
    with model.using("memorized"):
        sums = [sum(s.log_probabilities) for (_, s), in (
            next(score(model, [model.builder.answered(prompt, f.object, "chat")], 512))
            for f in facts
        )]  # fmt: skip
    assert memorized.evidence.rank == sum(total > sums[0] for total in sums)
    assert math.log(memorized.evidence.probability) == pytest.approx(sums[0], rel=1e-3)
    unknown = list(lab.chat.stream(run_id, "Hello", max_new_tokens=2, evidence=True))
    assert not any(reply.evidence for reply in unknown)


def test_a_conversation_goes_through_the_models_own_template(tiny):
    with pytest.raises(LabError, match="no chat template"):
        talk_ids(tiny, query("Hello"))
    tiny.tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
    )
    said = tiny.tokenizer.decode(talk_ids(tiny, query("Ann Lee [mother]"), [("Hello", "Hi.")]))
    assert said == (
        "<|im_start|>user Hello<|im_end|><|im_start|>assistant Hi.<|im_end|>"
        "<|im_start|>user Ann Lee<|key:mother|><|im_end|><|im_start|>assistant "
    )
    long = talk_ids(tiny, query("Now?"), [("word " * 30, "x")] * 3)
    assert len(long) <= 128 and tiny.tokenizer.decode(long).count("user") == 2, "oldest left out"


# Errors ------------------------------------------------------------------------------------------


def test_an_empty_question_and_an_unknown_run(lab, run_id):
    with pytest.raises(LabError, match="Type a question"):
        next(lab.chat.stream(run_id, "  "))
    with pytest.raises(UnknownRun):
        next(lab.chat.stream("20260101-000000-none-0000", "Hello"))


def test_a_run_without_adapters_answers_from_its_base_model(lab, tiny_folder):
    fresh = new_run(lab, tiny_folder)
    assert lab.chat.checkpoints(fresh) == ["base"]
    assert set(ids_of(lab, fresh, "Hello", max_new_tokens=2)) == {"base"}


def test_a_gpu_that_is_training_does_not_answer(lab, run_id, tiny_folder, monkeypatch):
    ids_of(lab, run_id, "Hello", ["base"], max_new_tokens=1)
    busy = new_run(lab, tiny_folder)
    lab.registry.set_status(busy, "running")
    ids_of(lab, run_id, "Hello", ["base"], max_new_tokens=1)  # on a CPU both go on
    monkeypatch.setattr("rotelab.models.loading.pick_device", lambda wanted: torch.device("cuda"))
    with pytest.raises(LabError, match=f"{busy} is training"):
        next(lab.chat.stream(run_id, "Hello"))
    assert not lab.chat.ready(run_id), "its memory is training's now"
    lab.registry.set_status(busy, "failed")


def test_the_module_is_there_before_torch():
    code = f"import sys, {chat_module.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
