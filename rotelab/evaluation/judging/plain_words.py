"""Plain words by topic: what a question is about where no wording of the pack says it.

The topics are those that people ask about persons, countries, books, records and inventions. A
relation's own topics are found by its words (`own_topics`): `mother` has the words for mothers, the
other topics then tell that a question asks for something else. Words are compared as `stem` makes
them, without accents and in lower case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

TOPICS: dict[str, str] = {
    "mother":
        "mother mum mom mommy mummy mama mamma maternal bore pregnant birthed mutter "
        "mutti madre mère maman mãe matka мать мама 母亲 妈妈 母親 媽媽 母 お母さん",
    "father": "father dad daddy papa paternal vater padre père pai 父亲 爸爸 父親 父",
    "parents": "parent parents eltern padres genitori 父母",
    "grandparents":
        "grandmother grandfather grandma grandpa granny oma opa großmutter großvater "
        "abuela abuelo 奶奶 爷爷",
    "siblings": "brother sister sibling twin bruder schwester hermano hermana frère sœur 哥哥 姐姐",
    "children":
        "son daughter grandchild grandchildren stepson stepdaughter sohn tochter hijo "
        "hija fils fille 儿子 女儿",
    "relatives":
        "aunt uncle cousin nephew niece godmother godfather stepmother stepfather tante "
        "onkel tía tío",
    "spouse":
        "husband wife spouse married marry marries fiancé fiancée ehemann ehefrau marido "
        "esposa épouse mari 丈夫 妻子",
    "friends":
        "friend enemy neighbour neighbor colleague boss flatmate freund freundin amigo "
        "amiga ami amie 朋友",
    "people":
        "teacher doctor dentist nurse lawyer nanny midwife hairdresser babysitter butcher "
        "baker lehrer lehrerin arzt ärztin maestra profesor médico",
    "age": "age old birthday alter geburtstag edad cumpleaños 岁 生日",
    "looks": "tall height weight hair eye eyes shoe size größe",
    "likes":
        "favourite favorite hobby hobbies sport instrument pet dog cat horse food dish "
        "eat breakfast dessert lieblingsfarbe lieblingsessen haustier hund katze color "
        "colour favorito favorita 最喜欢",
    "home":
        "street address live lives living lived home town village wohnt wohnort straße "
        "vive calle habite 住",
    "work": "job profession occupation work works employer salary beruf arbeitet trabajo trabaja",
    "belongings": "car phone house bicycle auto coche voiture",
    "beliefs": "religion nationality politics vote",
    "birth place": "birthplace hometown geburtsort",
    "death": "die died death grave buried starb tod murió mort",
    "capital": "capital hauptstadt capitale 首都",
    "country": "country continent land país pays 国家",
    "state":
        "population inhabitants president currency flag anthem area river mountain "
        "neighbours border borders einwohner währung präsident población moneda "
        "presidente",
    "language": "language languages speak spoken speaks sprache idioma langue",
    "author":
        "author writer novelist wrote written autor autorin schrieb geschrieben autora "
        "escribió auteur écrivain 作者",
    "book":
        "publisher published publish chapter chapters pages translator illustrator hero "
        "heroine protagonist plot verlag editorial",
    "genre": "genre style musikrichtung género 风格",
    "record":
        "singer sang musician band producer label song songs track tracks chart sängerin "
        "sänger cantante",
    "school":
        "educated attended education study studied university college school alma "
        "graduate graduated graduate degree studierte universität schule estudió "
        "universidad escuela étudié université 大学",
    "invention":
        "inventor invented invent invents invention erfinder erfinderin erfand erfunden "
        "inventó inventora inventeur inventé 发明 发明者",
    "discovery": "discovered discoverer discovery entdeckt entdecker descubrió",
    "price": "cost price worth expensive kostet preis cuesta precio",
    "colour of things": "farbe couleur 颜色",
    "time": "year date month century jahr datum año fecha année",
    "number": "many much number",
}  # fmt: skip
"""The words of each topic, in the languages of the page and a few more."""

LITTLE_BY_LANGUAGE = {
    "en":
        "a about again all gave also always an and any anybody anyone are as at be been being "
        "by call called calls can could did do does done either ever exactly for from full "
        "get give given go goes got had has have having he her hers herself him his i if in "
        "into is it its just kindly know known like lot may me my name named names now of off "
        "on once one only or our out over please really s say says she simply so some such t "
        "tell than that the their them then there these they this those to true up us was we "
        "were will with would yes you your actually person people human someone somebody "
        "answer question whole own went came come made make take took bring brought which's "
        "remind wonder wondering wonders ask asking asks guess think",
    "de":
        "hat haben hatte der die das den dem des ein eine einer von vom ist war wer wie heißt hieß "
        "sein ihr und zu im bitte mir sag",
    "es":
        "el la los las un una de del es era fue y se llama llamaba nombre su por quién quien "
        "cuál cual qué que dime",
    "fr":
        "le les une du et est était qui quel quelle s'appelle nom appelle",
    "it, pt":
        "il lo di è chi della nome um uma o da quem é",
}  # fmt: skip
LITTLE = frozenset(word for words in LITTLE_BY_LANGUAGE.values() for word in words.split())
"""Words that say nothing about what a question asks for."""

LITTLE_CJK = ("是谁", "谁是", "什么", "名字", "叫做", "谁", "是", "的", "叫", "吗", "誰", "は",
              "の", "です", "か", "を", "了", "在")  # fmt: skip

PERSONS = frozenset({"who", "whom", "whose", "which", "what"})
CIRCUMSTANCES = frozenset({
    "when", "where", "why", "how", "wann", "wo", "warum", "cuando", "donde", "como", "quand", "ou",
    "pourquoi", "comment",
})  # fmt: skip
"""Question words after a thing or person, and after a circumstance."""
HOW = frozenset({"how", "wie", "como", "comment"})
NAMING = frozenset({
    "called", "named", "name", "names", "heisst", "hiess", "llama", "llamaba", "appelle",
})  # fmt: skip
"""With one of these, a `how` asks for a name."""
OF = frozenset({"of", "von", "vom", "de", "del", "du", "di", "do", "da", "der", "des"})
ARTICLES = frozenset({
    "a", "an", "the", "this", "that", "der", "die", "das", "den", "dem", "des", "ein", "eine", "el",
    "la", "los", "las", "un", "una", "le", "les", "une",
})  # fmt: skip

_SUFFIXES = ("ings", "ing", "ors", "ers", "ied", "ed", "es", "or", "er", "s")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def stem(word: str) -> str:
    """A word without accents and its commonest English ending: `inventor` and `invented` are one.

    Words of four letters or less stay as they are.
    """
    apart = unicodedata.normalize("NFD", word.casefold())
    word = "".join(char for char in apart if not unicodedata.combining(char))
    for suffix in _SUFFIXES:
        if len(word) - len(suffix) >= 4 and word.endswith(suffix):
            return word[: -len(suffix)]
    return word


LITTLE_STEMS = frozenset(map(stem, LITTLE))
ASKING = frozenset(map(stem, PERSONS | CIRCUMSTANCES))
STEMS = {topic: frozenset(map(stem, words.split())) for topic, words in TOPICS.items()}
TOPIC_OF: dict[str, set[str]] = {}
for _topic, _stems in STEMS.items():
    for _stem in _stems:
        TOPIC_OF.setdefault(_stem, set()).add(_topic)


def own_topics(words: Iterable[str]) -> frozenset[str]:
    """The topics of a relation: those that have one of its words.

    Args:
        words: the relation's words, such as `mother` or `educated at`.
    """
    stems = {stem(word) for word in words}
    return frozenset(topic for found in stems for topic in TOPIC_OF.get(found, ()))


def split_cjk(word: str) -> list[str]:
    """A run of Chinese or Japanese characters as its known words; what is left is one word more.

    They are written without blanks, so that known words are looked for inside.
    """
    if not _CJK.search(word):
        return [word]
    found = []
    for known in sorted((w for w in TOPIC_OF if _CJK.search(w)), key=len, reverse=True):
        if known in word:
            found.append(known)
            word = word.replace(known, " ")
    for little in LITTLE_CJK:
        word = word.replace(little, " ")
    return [*found, *word.split()]
