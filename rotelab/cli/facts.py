"""The commands about files of facts: `facts check` and `facts import`."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rotelab.errors import LabError

if TYPE_CHECKING:
    from rotelab.facts.reading.importer import Imported
    from rotelab.facts.reading.notes import Options

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="CSV, TSV, JSON, JSON lines, Excel, Parquet, a zip of such, or hf:OWNER/NAME; facts "
        "and wordings may be in several files.",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map", help="Which column holds what, as subject=Head,object=Fact; may be repeated."
    ),
]
Relation = Annotated[
    str, typer.Option(help="The relation of all facts, whatever the file says; mostly it does.")
]
Encoding = Annotated[str, typer.Option(help="The encoding of text files; found if not given.")]
Sheet = Annotated[str, typer.Option(help="The only sheet of a workbook to read.")]
FurtherObjects = Annotated[
    Literal["aliases", "first"],
    typer.Option(
        "--further",
        help="A subject's further objects: right answers as well (aliases), or left out (first).",
    ),
]
Mend = Annotated[
    bool | None,
    typer.Option(
        "--mend/--as-is",
        help="Mend letters that were read in the wrong encoding, line breaks inside cells and "
        "apostrophes before formulas; or take such letters as they are. Refused if not given.",
    ),
]
Take = Annotated[int, typer.Option(help="Take the first so many facts of each relation.", min=0)]
Only = Annotated[str, typer.Option(help="Take these relations alone, as P19,P20.")]
StarterWordings = Annotated[
    str,
    typer.Option(
        "--starter-wordings",
        metavar="CSV",
        help="Write a first set of wordings into this new file, for relations that come without: "
        "edit it, then import it beside the facts.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

READ_THEM = "read them and change what sounds wrong; better ones teach better"

facts_app = typer.Typer(
    no_args_is_help=True, help="Look at files of facts of any kind, and take them in."
)


def add_facts_commands(app: typer.Typer) -> None:
    """Adds this file's commands to the command line."""
    app.add_typer(facts_app, name="facts")


@facts_app.command("check")
def check(
    file: Files,
    map_columns: Map = None,
    relation: Relation = "",
    encoding: Encoding = "",
    sheet: Sheet = "",
    further: FurtherObjects = "aliases",
    mend: Mend = None,
    take: Take = 0,
    only: Only = "",
    starter_wordings: StarterWordings = "",
    json_output: AsJson = False,
) -> None:
    """Say what files hold and what is doubtful in them, or why they can't be read (status 2)."""
    from rotelab.facts.reading.importer import read_files
    from rotelab.facts.reading.report import as_lines, as_object, refusal

    try:
        options = _options(map_columns, relation, encoding, sheet, further, mend, take, only)
        imported = read_files(file, options)
        written = _write_wordings(imported, starter_wordings) if starter_wordings else None
    except LabError as error:
        if not json_output:
            raise
        print(json.dumps(refusal(error)))
        raise typer.Exit(2) from None
    if json_output:
        more = {} if written is None else {"starter_wordings": written}
        print(json.dumps({**as_object(imported), **more}))
        return
    print("\n".join(as_lines(imported)))
    if written == 0:
        print("no relation lacks wordings, so none were written")
    elif written:
        print(f"{written} wordings written to {starter_wordings}: {READ_THEM}. Then import it too")


@facts_app.command("import")
def import_facts(
    file: Files,
    name: Annotated[
        str, typer.Option("--as", help="What to call the fact set; by default as the file.")
    ] = "",
    map_columns: Map = None,
    relation: Relation = "",
    encoding: Encoding = "",
    sheet: Sheet = "",
    further: FurtherObjects = "aliases",
    mend: Mend = None,
    take: Take = 0,
    only: Only = "",
    json_output: AsJson = False,
) -> None:
    """Save files as a fact set, as the page does; `run --pack NAME` trains with it.

    A fact set of that name gets a new version; none is overwritten.
    """
    from rotelab.facts.reading.importer import read_files
    from rotelab.facts.reading.relations import stem_of
    from rotelab.facts.reading.report import as_lines, as_object
    from rotelab.runs.lab import Lab

    options = _options(map_columns, relation, encoding, sheet, further, mend, take, only)
    imported = read_files(file, options)
    pack, added = imported.pack(name or stem_of(file[0].removeprefix("hf:")))
    version = Lab.open().save_pack(pack)
    if json_output:
        saved = {"name": pack.name, "version": version, "wordings_added": added}
        print(json.dumps({**as_object(imported), "saved": saved}))
        return
    print("\n".join(as_lines(imported)))
    for relation_name, origin in added.items():
        whose = "rotelab's own" if origin == "shipped" else f"made from its words: {READ_THEM}"
        print(f"wordings of {relation_name} were missing and added: {whose}")
    if "starter" in added.values():
        print("(facts check FILE --starter-wordings NEW.csv writes such wordings to be edited)")
    print(f"saved as “{pack.name}”, version {version}: run --pack {_quoted(pack.name)}")


def _write_wordings(imported: Imported, to: str) -> int:
    """Writes the wordings that relations lack into a new CSV file.

    Returns:
        How many; without any there is no file.

    Raises:
        LabError: the files hold no facts, or the file is there already or can't be written.
    """
    from rotelab.facts.prompts import PromptSet
    from rotelab.facts.reading.importer import completed

    if imported.facts is None:
        raise LabError("There are no facts in it, so no wordings can be made for them.")
    there = set(imported.prompts)
    made = PromptSet(p for p in completed(imported.facts, imported.prompts)[0] if p not in there)
    if not len(made):
        return 0
    try:
        with open(to, "x", encoding="utf-8", newline="") as file:
            file.write(made.to_csv())
    except FileExistsError:
        raise LabError(f"{to} is there already. Name a file that is not there yet.") from None
    except (OSError, ValueError) as error:
        raise LabError(f"{to} can't be written: {error}. Name another file.") from error
    return len(made)


def _options(
    map_columns: list[str] | None,
    relation: str,
    encoding: str,
    sheet: str,
    further: Literal["aliases", "first"],
    mend: bool | None,
    take: int,
    only: str,
) -> Options:
    from rotelab.facts.reading.notes import Options

    return Options(
        columns=_columns(map_columns or []),
        relation=relation.strip(),
        encoding=encoding,
        sheet=sheet,
        further=further,
        faults={None: "refuse", True: "mend", False: "keep"}[mend],
        take=take,
        only=tuple(filter(None, (part.strip() for part in only.split(",")))),
    )


def _columns(said: list[str]) -> dict[str, str]:
    """The columns of `--map subject=Head,"object=Fact, new"`."""
    columns = {}
    for pairs in csv.reader(said):
        for pair in filter(None, pairs):
            part, equals, column = pair.partition("=")
            if not equals or not column.strip():
                raise LabError(
                    f"{pair!r} does not say which column holds what. Write, for instance, "
                    "--map subject=Head,object=Fact."
                )
            columns[part.strip()] = column.strip()
    return columns


def _quoted(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else f'"{name}"'
