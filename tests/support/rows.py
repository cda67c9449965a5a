"""Made-up rows for a registry."""

from rotelab.evaluation.results import Prediction
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack
from rotelab.facts.prompts import PromptSet, PromptTemplate

PROMPTS = PromptSet([PromptTemplate("mother", "train", "en", "The mother of {subject} is")])


def pack_of(*objects: str, name: str = "mother") -> Pack:
    facts = [Fact("mother", f"Person {i}", o) for i, o in enumerate(objects or ("Ada", "Bo"))]
    return Pack(name, FactSet(facts), PROMPTS)


def prediction(i: int = 0, correct: bool = True, answer: str = "Ada", **other) -> Prediction:
    probe = other.pop("probe", "key_token")
    return Prediction(
        probe, i, "mother", f"Person {i}", "Ada", "Who?", answer, correct, 0.5, **other
    )
