"""Bytes become text: marks, UTF-16 without one, encodings that are guessed, and mixtures."""

import pytest

from rotelab.errors import InputError
from rotelab.facts.formats.encoding import decode

LINES = {
    "German": "relation;subject;object\r\nriver;Ostheim an der Lüne;Große Sarn\r\nriver;Nörb;Ühle",
    "French": "relation;sujet;objet\r\nfleuve;Besançon;Doubs\r\nfleuve;Évreux-sur-l’Île;Hôpital",
    "Polish": "relation;subject;object\r\nrzeka;Łódź;Wisła\r\nrzeka;Świętochłowice;Odra",
    "Russian": "relation;subject;object\r\nrek;Новгород;Волхов\r\nrek;Тверь;Волга",
    "Greek": "relation;subject;object\r\nr;Αθήνα;Κηφισός\r\nr;Λάρισα;Πηνειός",
    "Turkish": "relation;subject;object\r\nr;İzmir;Küçük Menderes\r\nr;Eskişehir;Porsuk Çayı",
    "Japanese": "relation,subject,object\r\nr,青木町,白川\r\nr,東京都,隅田川",
    "Chinese": "relation,subject,object\r\nr,上海市,黄浦江\r\nr,广州市,珠江",
    "Korean": "relation,subject,object\r\nr,서림읍,청하강\r\nr,서울특별시,한강",
}


@pytest.mark.parametrize(
    "language, encoding",
    [
        ("German", "cp1252"), ("German", "mac_roman"), ("German", "cp850"), ("French", "cp1252"),
        ("Polish", "cp1250"), ("Polish", "iso8859-2"), ("Russian", "cp1251"),
        ("Russian", "koi8-r"), ("Greek", "cp1253"), ("Turkish", "cp1254"),
        ("Japanese", "shift_jis"), ("Japanese", "euc_jp"), ("Chinese", "gb18030"),
        ("Korean", "cp949"),
    ],
)  # fmt: skip
def test_a_likely_encoding_is_guessed_and_said_to_be_a_guess(language, encoding):
    got = decode(LINES[language].encode(encoding), "x")
    assert (got.text, got.guessed) == (LINES[language], True)


@pytest.mark.parametrize("language", LINES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_not_guessed(language, encoding):
    got = decode(LINES[language].encode(encoding), "x")
    assert (got.text, got.guessed) == (LINES[language], False)


@pytest.mark.parametrize("language", LINES)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_known_by_its_zeros(language, encoding):
    got = decode(LINES[language].encode(encoding), "x")
    assert got == (LINES[language], encoding, True)


def test_an_encoding_that_is_named_is_not_questioned():
    assert decode("Plzeň".encode("cp1250"), "x", "windows-1250") == ("Plzeň", "cp1250", False)
    with pytest.raises(InputError, match="'klingon' is not an encoding"):
        decode(b"x", "x", "klingon")
    with pytest.raises(InputError, match="is not ASCII text throughout: the byte 0xC3"):
        decode("ö".encode(), "x", "ascii")


@pytest.mark.parametrize(
    "data, row",
    [
        ("a,b\nNörbach,Ühle\nx,y\n".encode() + b"N\xf6rb,x\n", 3),
        (b"\xef\xbb\xbfa,b\n1,2\n\xff,4\n", 2),
        (b"\xef\xbb\xbfa,b\r1,2\r\r\xff,4\r", 2),
    ],
)
def test_a_mixture_of_encodings_is_refused_with_its_row(data, row):
    with pytest.raises(InputError, match="is not UTF-8 text throughout") as caught:
        decode(data, "x")
    assert caught.value.row == row


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InputError, match="is not text"):
        decode(bytes(range(256)), "x")


def test_a_zero_in_a_cell_is_left_to_the_cell():
    assert decode(b"a,b\nx\0y,z and many more letters\n", "x").encoding == "utf-8"


def test_marks_at_the_start_are_dropped_be_they_doubled():
    assert decode(b"\xef\xbb\xbf\xef\xbb\xbfa", "x").text == "a"
    assert decode("\ufeff\ufeffa".encode("utf-16-be"), "x").text == "a"
