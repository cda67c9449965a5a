"""Files as people of the field have them: each is read as it must be, or refused with its fault."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.paths import ROOT

from rotelab.errors import InputError
from rotelab.facts.facts import Fact
from rotelab.facts.facts_importer import parse_facts
from rotelab.facts.packs import Pack
from rotelab.facts.prompts import PromptTemplate, parse_prompts
from rotelab.facts.reading.importer import Imported, read_files
from rotelab.facts.reading.notes import Options

CASES = ROOT / "tests" / "data" / "cases"

RIVERS = [
    ("Ostheim an der Lüne", "Brakel"),
    ("Quellstädt", "Große Sarn"),
    ("Vexford", "Tilder"),
    ("Nörbach", "Ühle"),
]


@dataclass
class Read:
    """What a file must give.

    Args:
        pairs: subject and object of its facts, from the top.
        relation: their relation.
        format, encoding, delimiter: how it was read.
        doubts: parts of sentences that must be said, and nothing else may be.
        label: the relation in words.
        old: what was true before, of every fact.
        aliases: of facts, by subject.
        prompts: role, language and text of the wordings.
    """

    pairs: list[tuple[str, str]] = field(default_factory=list)
    relation: str = "river"
    format: str = "CSV"
    encoding: str = "utf-8"
    delimiter: str = ","
    doubts: tuple[str, ...] = ()
    label: str = ""
    old: str = ""
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prompts: tuple[tuple[str, str, str], ...] = ()


NUMBERS = [
    ("Vexford Bridge", "1984"), ("Tilder Mill", "007"), ("Sarn Tower", "1,024"),
    ("Old Ford", "-5"), ("Brakel Gate", "12/03/1999"), ("Nörbach", "1.5e3"), ("Hill", "3:30"),
    ("Zed", "=2+2"), ("Plus", "+49"), ("At", "@seven"), ("Tick", "'til dawn"), ("TickMinus", "'-5"),
]  # fmt: skip

SCRIPTS = [
    ("קרית שלום", "ירקון"),
    ("مدينة النور", "نهر السلام"),
    ("青木町", "白川"),
    ("서림읍", "청하강"),
    ("Café ☕\ufe0f Town", "👩\u200d👩\u200d👧 Brook"),
    ("\u200fנוף\u200f", "\u2068Tilder\u2069"),
    ("Zero\u200bWidth", "Sarn"),
    ("ﬁeld", "Oﬃng"),
]

BRACES = [
    ("{subject}", "Tilder"), ("{0} Town", "Sarn"),
    ("<b>Bold</b> & Co", "<script>alert(1)</script>"), ("%s", "Brakel"), ("[mother]", "Ühle"),
    ("<|endoftext|>", "<|im_end|>"), ("<|key:river|>", "Sarn Beck"),
]  # fmt: skip

CHURCH = "the parish church that stands between the old mill and the younger of the two bridges"
NO_RELATION = "the file names no relation"
OTHER_LETTERS = "in other letters: the model may mix the two up"

READ = {
    "01_semicolon_cp1252.csv": Read(
        RIVERS, encoding="Windows-1252", delimiter=";",
        doubts=("the encoding Windows-1252 is a guess: look whether 'Ostheim an der Lüne' is",),
    ),
    "01_semicolon_utf8_bom.csv": Read(RIVERS, delimiter=";"),
    "02_utf16_comma.csv": Read(RIVERS, encoding="utf-16-le"),
    "03_tab.tsv": Read(RIVERS, format="TSV", delimiter="\t"),
    "04_counterfact_like.json": Read(
        RIVERS, relation="p206", format="JSON", delimiter="", label="P206", old="Rhine",
        prompts=(
            ("train", "en", "{subject} lies on the river"),
            ("test", "en", "Water flows past {subject} in the"),
            ("unrelated", "en", "Cologne lies on the river"),
        ),
    ),
    "04_lama_like.jsonl": Read(
        RIVERS, relation="p206", format="JSON lines", delimiter="", label="P206"
    ),
    "05_capital_header_order.csv": Read(RIVERS),
    "05_pandas_index.csv": Read(
        RIVERS, doubts=("the column without a name only numbers the rows: left out",)
    ),
    "05_wikidata_ids.csv": Read(RIVERS, relation="p206", label="P206"),
    "06_several_objects.csv": Read(
        [("Vexford", "Tilder"), ("Nörbach", "Ühle"), ("Quellstädt", "Sarn")],
        aliases={"Vexford": ("Great Tilder",)},
        doubts=("row 2, column 'object': 'Great Tilder' becomes another right answer",),
    ),
    "08_scripts.csv": Read(SCRIPTS),
    "09_numbers.csv": Read(
        NUMBERS, relation="year",
        doubts=(
            "row 4, column 'object': '-5' is \"'-5\" in other letters",
            "'At' is part of 'Brakel Gate'",
            "'Tick' is part of 'TickMinus'",
            "row 12, column 'object': \"'-5\" begins with an apostrophe before a formula's sign",
            "\"'-5\" is '-5' in other letters",
        ),
    ),
    "10_long.csv": Read(
        [(f"{CHURCH} {CHURCH} {CHURCH}", "Tilder"),
         (f"{CHURCH} {CHURCH} the parish church", "Sarn"),
         (f"{CHURCH} {CHURCH} the parish churchx", "Brakel")],
        doubts=(
            "row 1, column 'subject': has 257 characters: so long a name is hard to learn",
            "row 2, column 'subject': 'the parish church",
        ),
    ),
    "11_blanks.csv": Read(
        [("Vexford", "Tilder"), ("Nörbach", "Ühle"), ("Two  Blanks", "Sarn"),
         ("Em\u2003Space", "Brakel")]
    ),
    "12_braces.csv": Read(BRACES, doubts=("row 2, column 'object': 'Sarn' is part of",)),
    "12_prompts_counterfact.csv": Read(
        prompts=(
            ("train", "en", "{subject} lies on the river"),
            ("test", "en", "Which river passes {subject}?"),
        )
    ),
    "12_prompts_chat.csv": Read(
        prompts=(
            ("train", "en", "Q: Which river passes {subject}? A:"),
            ("test", "en", "The river of {subject}, is"),
            ("test", "de", "Welcher Fluss fließt durch {subject}?"),
            ("test", "zh", "流经{subject}的河是"),
            ("test", "pt-BR", "Qual rio passa por {subject}?"),
        )
    ),
    "13_authors.csv": Read(
        [("Ilva Marr", "tilder"), ("Orrin Vale", "o'brakel")], relation="authors",
        aliases={"Ilva Marr": ("sarn",)},
        doubts=(
            "column 'Alternate Facts': left out: the paper's files list wrong answers here",
            NO_RELATION,
            "row 2, column 'Fact': 'sarn' becomes another right answer for 'Ilva Marr'",
        ),
    ),
    "13_authors_index.csv": Read(
        [("Ilva Marr", "tilder"), ("Orrin Vale", "sarn")], relation="authors_index",
        doubts=("only numbers the rows", "'Alternate Facts': left out", NO_RELATION),
    ),
    "14_backslash_quote.csv": Read(
        [('The "Blue" Ford', "Tilder")], doubts=('Quotes written as \\" are read as quotes',)
    ),
    "14_cr_only.csv": Read(RIVERS[2:]),
    "14_curly_quotes.csv": Read(
        [("“Blue” Ford", "Tilder"), ("O’Hara’s Mill", "Sarn"), ("O'Hara's Mill", "Brakel")],
        doubts=(OTHER_LETTERS, OTHER_LETTERS),
    ),
    "14_double_bom.csv": Read(RIVERS[2:3]),
    "14_null_words.csv": Read(
        [("NA", "Tilder"), ("null", "None"), ("nan", "NaN"), ("True", "False")],
        doubts=("'NA' is part of 'nan'", "'NaN' is the subject itself"),
    ),
    "14_trailing_delimiters.csv": Read(RIVERS[2:]),
    "15_overlap.csv": Read(
        [("Port Amber", "Amber"), ("Mexora", "Mexora City"), ("Sarn", "Sarn"),
         ("Vex", "Upper Vex"), ("Lune", "Quell")],
        relation="capital",
        doubts=(
            "row 1, column 'object': 'Amber' stands in the subject 'Port Amber': copying counts",
            "row 2, column 'object': 'Mexora City' contains the subject",
            "row 3, column 'object': 'Sarn' is the subject itself: copying it counts as knowing",
            "row 4, column 'object': 'Upper Vex' contains the subject",
        ),
    ),
    "16_skew.csv": Read(
        [("Band A0", "polka"), ("Band B1", "dub")], relation="genre",
        doubts=(
            "'dub' is the object of 54 of the 60 facts of genre: whoever always says it scores "
            "0.90",
            "'Band C2' is part of 'Band C28'",
            "'Band F5' is part of 'Band F57'",
        ),
    ),
}  # fmt: skip

REFUSED = {
    "07_lookalikes.csv": (2, "subject", "'Ana Bell' is the subject of row 1 in another form "
                          "(they differ in U+0020, U+00A0)"),
    "07_nfc_nfd.csv": (2, "subject", "'Quellstädt' is the subject of row 1 in another form "
                       "(they differ in U+0061, U+0308, U+00E4)"),
    "14_mojibake.csv": (1, "subject", "'NÃ¶rbach' was once read in the wrong encoding; it should "
                        "be 'Nörbach'"),
    "14_newline_in_cell.csv": (1, "subject", "'Vex\\nford' has a line break inside (U+000A)"),
    "14_u2028.csv": (1, "subject", "'Vex\\u2028ford' has a line break inside (U+2028)"),
}  # fmt: skip

MENDED = {
    "14_mojibake.csv": [("Nörbach", "Ühle")],
    "14_newline_in_cell.csv": [("Vex ford", "Tilder"), ("Nörbach", "Ühle")],
    "14_u2028.csv": [("Vex ford", "Tilder")],
}


def read(name: str, **options) -> Imported:
    return read_files([CASES / name], Options(**options))


def pairs(imported: Imported) -> list[tuple[str, str]]:
    return [(fact.subject, fact.object) for fact in imported.facts]


def test_every_file_has_its_line():
    names = {path.name for path in CASES.iterdir()} - {"README.md"}
    assert names == {*READ, *REFUSED}


@pytest.mark.parametrize("name", READ)
def test_it_is_read(name: str):
    wanted, got = READ[name], read(name)
    table = got.tables[0].table
    assert (table.format, table.encoding, table.delimiter) == (
        wanted.format, wanted.encoding, wanted.delimiter,
    )  # fmt: skip
    if wanted.pairs:
        assert pairs(got)[: len(wanted.pairs)] == wanted.pairs
        assert name == "16_skew.csv" or len(got.facts) == len(wanted.pairs)
        assert {fact.relation for fact in got.facts} == {wanted.relation}
        assert got.facts.labels == ({wanted.relation: wanted.label} if wanted.label else {})
        assert {fact.old for fact in got.facts} == {wanted.old}
        assert {f.subject: f.aliases for f in got.facts if f.aliases} == wanted.aliases
    else:
        assert got.facts is None
    assert tuple((p.role, p.language, p.text) for p in got.prompts) == wanted.prompts
    assert len(got.doubts) == len(wanted.doubts), got.doubts
    for doubt, part in zip(got.doubts, wanted.doubts, strict=True):
        assert part in str(doubt)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_true_fault(name: str):
    row, column, message = REFUSED[name]
    with pytest.raises(InputError) as caught:
        read(name)
    error = caught.value
    assert (error.source, error.row, error.column) == (name, row, column)
    assert message in error.message


@pytest.mark.parametrize("name", MENDED)
def test_it_is_mended_on_request(name: str):
    assert pairs(read(name, faults="mend")) == MENDED[name]


def test_letters_of_a_wrong_encoding_can_be_kept(tmp_path: Path):
    path = tmp_path / "kept.csv"
    path.write_text("relation,subject,object\nriver,NÃ¶rbach,Sarn\n", encoding="utf-8")
    assert pairs(read_files([path], Options(faults="keep"))) == [("NÃ¶rbach", "Sarn")]
    with pytest.raises(InputError, match="control character U\\+009C"):
        read("14_mojibake.csv", faults="keep")


def test_of_several_objects_the_first_alone_is_taken_on_request():
    got = read("06_several_objects.csv", further="first")
    assert [fact.aliases for fact in got.facts] == [(), (), ()]
    assert "further object of a subject: 1." in str(got.doubts[0])
    got = read("13_authors.csv", further="first", relation="genre")
    assert list(got.facts) == [
        Fact("genre", "Ilva Marr", "tilder"), Fact("genre", "Orrin Vale", "o'brakel"),
    ]  # fmt: skip


def test_lookalikes_of_another_alphabet_are_doubted(tmp_path: Path):
    lines = (CASES / "07_lookalikes.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "lookalikes.csv"
    path.write_text("".join(lines[:1] + lines[2:]), encoding="utf-8")
    said = " ".join(str(doubt) for doubt in read_files([path]).doubts)
    assert "row 2, column 'subject': 'Аna Bell' looks like 'Ana Bell', but has letters of" in said
    assert "'Аna Bell' mixes Latin letters with letters of another alphabet" in said
    assert "row 3, column 'subject': 'ana bell' is 'Ana Bell' in other letters" in said


def test_names_are_composed_on_reading(tmp_path: Path):
    path = tmp_path / "nfd.csv"
    path.write_bytes("relation,subject,object\nriver,No\u0308rbach,U\u0308hle\n".encode())
    assert pairs(read_files([path])) == [("Nörbach", "Ühle")]


@pytest.mark.parametrize("name", [name for name in READ if READ[name].pairs])
def test_nothing_changes_on_save_export_and_import(name: str, lab, tmp_path: Path):
    pack, _ = read(name).pack("mine")
    lab.save_pack(pack)
    kept = lab.find_pack("mine")
    assert (kept.facts, kept.prompts) == (pack.facts, pack.prompts)
    assert parse_facts(pack.facts.to_csv().encode(), "x") == pack.facts
    assert parse_prompts(pack.prompts.to_csv().encode(), "x") == pack.prompts
    assert kept.content_hash == pack.content_hash


def test_a_pack_lacks_no_wordings():
    pack, added = read("04_counterfact_like.json").pack("cf")
    assert added == {} and isinstance(pack, Pack)
    pack.check()
    pack, added = read("03_tab.tsv").pack("rivers")
    assert added == {"river": "starter"}
    pack.check()
    assert PromptTemplate("river", "train", "en", "The river of {subject} is") in pack.prompts
    with pytest.raises(InputError, match="holds wordings but no facts"):
        read("12_prompts_chat.csv").pack("x")
    pack, added = read_files([CASES / "03_tab.tsv", CASES / "12_prompts_chat.csv"]).pack("both")
    assert added == {} and len(pack.prompts) == 5 and len(pack.facts) == 4
