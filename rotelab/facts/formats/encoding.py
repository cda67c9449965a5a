"""From bytes to text: marks at the start, UTF-16 without one, encodings that must be guessed."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from rotelab.errors import InputError

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins alike
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

LIKELY = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "mac_roman", "cp850", "cp932",
    "euc_jp", "gb18030", "big5", "cp949", "koi8_r", "cp1255", "cp1256", "iso8859_2",
)  # fmt: skip
"""What spreadsheets and editors save, the likelier first. A few short names tell too little for a
guess among all encodings."""

ENCODINGS = (
    "utf-8", "utf-16", "windows-1252", "windows-1250", "windows-1251", "windows-1253",
    "windows-1254", "windows-1255", "windows-1256", "windows-1257", "iso-8859-2", "mac-roman",
    "cp850", "gb18030", "big5", "shift_jis", "euc-jp", "cp949", "koi8-r",
)  # fmt: skip
"""Those that a person can choose, by names that Python knows."""

NAMES = {"cp125": "Windows-125", "mac_roman": "Mac Roman", "cp932": "Shift JIS"}
"""What people call some of them."""

CLOSE = 0.01
"""Encodings whose text is as tidy as the tidiest, up to this much (of charset-normalizer's measure
of disorder, 0 to 1), are told apart by `LIKELY`'s order."""

SAMPLE = 200_000
"""How many bytes are looked at to guess."""

# A wrong reading shows three accented Latin letters in a row, accented capitals inside words, words
# of two alphabets, signs that are no letters, half wide katakana: hardly any name has those.
_NO_WORD = re.compile(
    "[\u00c0-\u017f]{3}|[a-z][\u00c0-\u00de]|[A-Za-z][\u0370-\u06ff]|[\u0370-\u06ff][A-Za-z]"
    "|[A-Za-z][\u4e00-\u9fff][a-z]"
)
_ODD = re.compile("[\uff61-\uff9f]|[^\\w\\s\u0300-\u036f‘’“”„‚‹›«»–—…°§¿¡、。「」’]")


class Decoded(NamedTuple):
    """A text, the name of its encoding, and whether that was guessed."""

    text: str
    encoding: str
    guessed: bool = False


def decode(data: bytes, source: str, encoding: str = "") -> Decoded:
    """Reads bytes as text; marks at the start are dropped, be they doubled.

    Args:
        data: the bytes of a file.
        source: what the user calls it.
        encoding: its encoding as the user says; empty to find it.

    Raises:
        InputError: the encoding is unknown or does not fit, or the bytes are no text.
    """
    if encoding:
        return _as_said(data, source, encoding)
    for mark, name in BOMS:
        if data.startswith(mark):
            while data.startswith(mark):
                data = data[len(mark) :]
            try:
                return Decoded(data.decode(name).lstrip("\ufeff"), name)
            except UnicodeDecodeError as error:
                raise _broken(error, name, source) from None
    try:
        text = data.decode("utf-8")
        if text.count("\0") < len(text) / 8 or not text:
            return Decoded(text, "utf-8")
    except UnicodeDecodeError as error:
        if _is_mostly_utf8(data):
            raise _broken(error, "utf-8", source) from None
    wide = _without_mark(data)
    if wide:
        return wide
    if b"\0" in data:
        raise InputError(
            "is not text: it has bytes that no text file has. Give a table (CSV, TSV, JSON, Excel, "
            "Parquet) or a zip of tables.",
            source=source,
        )
    return _guess(data, source)


def _as_said(data: bytes, source: str, encoding: str) -> Decoded:
    try:
        name = codecs.lookup(encoding).name
        return Decoded(data.decode(name).lstrip("\ufeff"), name)
    except LookupError:
        raise InputError(
            f"{encoding[:40]!r} is not an encoding. Say, for instance, utf-8, windows-1252, "
            "utf-16 or gb18030.",
            source=source,
        ) from None
    except UnicodeDecodeError as error:
        raise _broken(error, encoding, source) from None


def _broken(error: UnicodeDecodeError, encoding: str, source: str) -> InputError:
    row = _row_of(error.object[: error.start])
    return InputError(
        f"is not {encoding.upper()} text throughout: the byte 0x{error.object[error.start]:02X} "
        "does not fit. Save it again in one encoding, such as UTF-8, or name it with --encoding.",
        source=source,
        row=row or None,
    )


def _row_of(sound: bytes) -> int:
    """The row in which sound bytes end, as `Record.number` counts; 0 for the header."""
    lines = [line for line in sound.splitlines(keepends=True) if line.endswith((b"\r", b"\n"))]
    return sum(1 for line in lines if line.strip(b" ,;|\t\r\n\0"))


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether bytes that are not UTF-8 hold more letters of UTF-8 than faults: then the file is a
    mixture. In another encoding, letters of UTF-8 come about by accident only."""
    text = data[:SAMPLE].decode("utf-8", "replace")
    faults = text.count("\ufffd")
    letters = sum(not char.isascii() for char in text) - faults
    return letters > faults


def _without_mark(data: bytes) -> Decoded | None:
    """UTF-16 without its mark: the bytes that are 0 stand in the even or in the odd places only."""
    even, odd = data[0::2].count(0), data[1::2].count(0)
    if len(data) % 2 or max(even, odd) < 2 or min(even, odd) > max(even, odd) / 20:
        return None
    name = "utf-16-be" if even > odd else "utf-16-le"
    try:
        return Decoded(data.decode(name), name, guessed=True)
    except UnicodeDecodeError:
        return None


def _guess(data: bytes, source: str) -> Decoded:
    from charset_normalizer import from_bytes

    sample = data if len(data) < SAMPLE else data[:SAMPLE].rpartition(b"\n")[0] or data[:SAMPLE]
    found = from_bytes(sample, cp_isolation=list(LIKELY))
    disorder = {
        name: match.chaos + _oddity(sample.decode(name, "replace"))
        for match in found
        for name in (match.encoding, *(other.encoding for other in match.submatch))
    }
    fit = sorted(name for name in disorder if disorder[name] <= min(disorder.values()) + CLOSE)
    for name in sorted(fit, key=lambda name: LIKELY.index(name) if name in LIKELY else 99):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        return Decoded(text, said_name(name), guessed=True)
    raise InputError(
        "is neither UTF-8 nor text in any encoding that is tried. Save it again as UTF-8, or name "
        "its encoding with --encoding.",
        source=source,
    )


def _oddity(text: str) -> float:
    """How odd the letters beyond ASCII look, 0 to 2: the share of signs that no name has, and
    whether there is something that is no word."""
    beyond = [char for char in text if not char.isascii()]
    return len(_ODD.findall("".join(beyond))) / max(1, len(beyond)) + bool(_NO_WORD.search(text))


def said_name(encoding: str) -> str:
    """What people call an encoding."""
    for begin, name in NAMES.items():
        if encoding.startswith(begin):
            return name + encoding[len(begin) :]
    return encoding
