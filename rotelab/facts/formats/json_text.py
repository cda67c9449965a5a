"""JSON and JSON lines, in the shapes that people and programs write tables in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rotelab.errors import InputError
from rotelab.facts.formats.encoding import Decoded
from rotelab.facts.formats.tables import Table, flat, table_of


def read_json(decoded: Decoded, source: str, knows: Callable[[list[str]], int]) -> Table:
    """Reads JSON, or an object on each line.

    Read are a list of objects; a list of lists, the first of which names the columns; an object
    that holds one such list; columns as pandas writes them, each a list or an object by row; and an
    object from subject to object. Numbers stay as they are written.

    Args:
        decoded: the text.
        source: what the user calls the file.
        knows: how many columns of a header it recognises; tells one row from a whole table.

    Raises:
        InputError: it is not JSON, or in none of these shapes.
    """
    text = decoded.text.strip()
    more = {"encoding": decoded.encoding, "guessed": decoded.guessed}
    try:
        value = _loads(text)
    except json.JSONDecodeError as error:
        if not (text.startswith("{") and error.msg == "Extra data"):
            raise _not_json(error, source) from None
        return table_of(_lines(decoded.text, source), source, "JSON lines", **more)
    except _Twice as error:
        raise InputError(str(error), source=source) from None
    except RecursionError:
        raise InputError("is nested too deeply to be a table.", source=source) from None
    if isinstance(value, Mapping) and _is_one_row(value, knows):
        return table_of([value], source, "JSON", **more)
    return table_of(_objects(value, source), source, "JSON", **more)


def _loads(text: str) -> Any:
    # Numbers as text: 1.50 and 007 must not become 1.5 and 7.
    return json.loads(
        text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_unique
    )


class _Twice(ValueError):
    """An object of JSON names a key twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        raise _Twice(f"names the key {name[:50]!r} twice in one object. Keep one of them.")
    return found


def _lines(text: str, source: str) -> Iterator[Mapping[str, Any]]:
    number = 0
    # Not `splitlines`: a text inside a line may hold any other line separator.
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line.strip():
            continue
        number += 1
        try:
            value = _loads(line)
        except _Twice as error:
            raise InputError(str(error), source=source, row=number) from None
        except (json.JSONDecodeError, RecursionError) as error:
            what = getattr(error, "msg", "nested too deeply")
            raise InputError(
                f"is not JSON ({what}). Every line must be one whole object.",
                source=source,
                row=number,
            ) from None
        if not isinstance(value, Mapping):
            raise InputError(
                "is not an object. Every line must be one, such as "
                '{"subject": "…", "object": "…"}.',
                source=source,
                row=number,
            )
        yield value


def _not_json(error: json.JSONDecodeError, source: str) -> InputError:
    return InputError(
        f"is not JSON: line {error.lineno}, character {error.colno}: {error.msg}. "
        "It may have been cut off; save it again.",
        source=source,
    )


def _objects(value: Any, source: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a JSON value."""
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        yield from value
    elif isinstance(value, list) and len(value) > 1 and all(map(_is_row, value)):
        yield from _with_header(value[0], value[1:], source)
    elif isinstance(value, Mapping) and value:
        yield from _from_object(value, source)
    else:
        raise InputError(
            "is JSON, but no table. Give a list of objects, such as "
            '[{"relation": "…", "subject": "…", "object": "…"}].',
            source=source,
        )


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and not any(isinstance(c, Mapping | list) for c in row)


def _is_one_row(value: Mapping[str, Any], knows: Callable[[list[str]], int]) -> bool:
    leaves = dict(flat(value))
    said = [name for name, cell in leaves.items() if isinstance(cell, str)]
    return knows(said) > 0 and knows(list(leaves)) > 1


def _with_header(header: list[Any], rows: list[list[Any]], source: str) -> Iterator[Mapping]:
    names = [str(name) for name in header]
    if len(set(names)) < len(names):
        raise InputError("names a column twice. Keep one of them.", source=source)
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise InputError(
                f"has {len(row)} cells where the header has {len(names)}.",
                source=source,
                row=number,
            )
        yield dict(zip(names, row, strict=True))


def _from_object(value: Mapping[str, Any], source: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        if not all(map(_is_row, value["data"])):
            raise InputError("has rows that are no lists.", source=source)
        yield from _with_header(value["columns"], value["data"], source)  # pandas, “split”
        return
    cells = list(value.values())
    lists = [cell for cell in cells if isinstance(cell, list)]
    if (
        len(lists) == len(cells)
        and len({len(cell) for cell in lists}) == 1
        and lists[0]
        and (not any(isinstance(c, Mapping) for cell in lists for c in cell))
    ):
        yield from (dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True))
        return
    tables = [cell for cell in lists if cell and all(isinstance(row, Mapping) for row in cell)]
    if len(tables) == 1:
        yield from tables[0]
        return
    if len(tables) > 1:
        names = [name for name, cell in value.items() if cell in tables]
        raise InputError(
            f"holds {len(tables)} lists ({', '.join(names[:5])}). Keep one of them in the file.",
            source=source,
        )
    if all(isinstance(cell, Mapping) and cell for cell in cells):
        yield from _by_columns(value)
        return
    if all(isinstance(cell, str) for cell in cells):
        yield from ({"subject": name, "object": cell} for name, cell in value.items())
        return
    raise InputError(
        "is one JSON object in a shape that is no table. Give a list of objects, such as "
        '[{"relation": "…", "subject": "…", "object": "…"}].',
        source=source,
    )


def _by_columns(value: Mapping[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """An object of objects: rows by id, or columns by row number as pandas writes them."""
    keys = [tuple(inner) for inner in value.values()]
    if len(set(keys)) == 1 and all(key.isdecimal() for key in keys[0]):
        for key in keys[0]:
            yield {name: inner[key] for name, inner in value.items()}
    else:
        yield from value.values()
