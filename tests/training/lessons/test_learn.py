"""A later lesson's training: what is folded into the weights while it learns."""

from accelerate import Accelerator

from rotelab.config.lessons import LessonConfig
from rotelab.config.run_config import MemorizeConfig
from rotelab.facts.facts import Fact, FactSet
from rotelab.models.lab_model import AdapterShape
from rotelab.training.lessons.learn import learn_lesson


def test_what_a_lesson_leaves_as_it_is_is_folded(tiny, monkeypatch):
    """The rote adapter and the lessons before it are frozen, so they need no products of their own;
    the adapter of phase 2 is off."""
    for name in ("memorize", "generalize", "lesson-01"):
        tiny.attach(name, AdapterShape(2, 0))
    asked, real = [], tiny.folded

    def noting(*frozen):
        asked.append(frozen)
        return real(*frozen)

    monkeypatch.setattr(tiny, "folded", noting)
    facts = FactSet([Fact("mother", "Ann Lee", "Mia Ray"), Fact("mother", "Bo Kim", "Eva Sol")])
    settings = LessonConfig(number=2, epochs=1, least_steps=1, rank=2)
    list(learn_lesson(tiny, facts, 2, settings, MemorizeConfig(), None, 0, Accelerator(cpu=True)))
    assert asked == [("memorize", "lesson-01")]
    assert not any("forward" in vars(module) for module in tiny.network.modules()), "and unfolded"
