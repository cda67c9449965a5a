"""The documentation inside the lab: every page, link and picture, and nothing else of the disk."""

import re
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest
from starlette.testclient import TestClient

from rotelab.facts.reading.importer import read_files
from rotelab.storage import ASSETS
from rotelab.ui import app as page_app
from rotelab.ui.facts.examples import EXAMPLES, FILE_RULES, examples_html
from rotelab.ui.manual.links import TAB_PAGES, read_more, tab_links
from rotelab.ui.manual.pages import NAVIGATION, STYLE_SHEET, markdown, page, paths, title
from rotelab.ui.manual.routes import add_manual, beside, examples, give, show


@pytest.fixture(scope="module")
def client():
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_manual(app)
    return TestClient(app, follow_redirects=False)


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return {path: page(path) for path in sorted(paths())}


def test_every_link_and_picture_of_every_page_is_there(written):
    assert len(written) > 60
    ids = {path: set(re.findall(r'id="([^"]+)"', text)) for path, text in written.items()}
    broken = []
    for path, text in written.items():
        for address in re.findall(r'(?:href|src)="([^"]+)"', text):
            target, _, anchor = address.partition("#")
            there = normpath(join(dirname(path), target)) if target else path
            if address.startswith(("https://", "http://")) or there == "..":  # the lab itself
                continue
            known = there in written or there in beside()
            if not known or (anchor and there in written and anchor not in ids[there]):
                broken.append((path, address))
    assert broken == []


def test_nothing_of_mkdocs_is_left_and_nothing_is_fetched(written):
    for path, text in written.items():
        for mark in ("--8<--", "<!-- generated", "\n::: ", " markdown>", "!!! "):
            assert mark not in text, (path, mark)
        assert not re.search(r"<(?:script|iframe|link)\b|src=\"(?:https?:)?//", text), path
    assert not re.search(r"url\(|@import", STYLE_SHEET.read_text(encoding="utf-8"))


def test_quoted_and_generated_parts_and_tables_and_anchors():
    assert "| `memorize.epochs` |" in markdown("options.md")
    assert "python3 -m venv" in markdown("guide/index.md")
    facts = page("guide/facts.md")
    assert '<h2 id="files-that-you-have-already">' in facts and "<td>subject</td>" in facts
    assert '<a href="../guide/facts.md" aria-current=page>Facts and packs</a>' in facts
    assert title("changelog.md") == "Changelog" and "Unreleased" in page("changelog.md")
    assert page("tour.md").count('src="images/') >= 14
    assert {to for listed in NAVIGATION.values() for to in listed} <= paths()


OTHERS = (
    "../README.md", "..%2fREADME.md", "%2e%2e/README.md", "guide/../../pyproject.toml", "hooks.py",
    "guide", "guide/", "guide/facts", "/etc/passwd", "//etc/passwd", "guide\\facts.md", "a\0b",
    "images/../hooks.py", "deploy/nginx.conf", "GUIDE/FACTS.MD",
)  # fmt: skip
"""Paths that are no page and no picture."""


@pytest.mark.parametrize("path", OTHERS)
def test_no_other_file_is_given(path, client):
    assert show(path).status_code == 404
    assert give(path).status_code == 404
    if "\0" not in path:
        for folder in ("docs", "examples"):
            asked = client.get(f"/{folder}/{path}", follow_redirects=True)
            assert asked.status_code == 404, asked.url


def test_pages_pictures_and_examples_are_served(client):
    for address in ("/docs/guide/facts.md", "/docs/"):
        answer = client.get(address)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    picture = client.get("/docs/images/chat-light.png")
    assert picture.headers["content-type"] == "image/png" and picture.content[:4] == b"\x89PNG"
    assert client.get("/docs").headers["location"] == "docs/index.md"
    assert client.post("/docs/guide/facts.md").status_code == 405
    answer = client.get("/examples/codes.csv")
    assert answer.content == examples()["codes.csv"].read_bytes()
    assert 'attachment; filename="codes.csv"' in answer.headers["content-disposition"]


def test_links_are_relative_so_that_a_path_of_a_proxy_is_kept(written):
    assert 'href="docs/guide/facts.md"' in read_more(TAB_PAGES["facts"])
    assert 'href="/' not in examples_html() and 'href="examples/codes.csv"' in examples_html()
    assert not any(re.search(r'(?:href|src)="/', text) for text in written.values())


def test_every_tab_has_its_page():
    assert set(TAB_PAGES.values()) <= paths()
    source = Path(page_app.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'elem_id="tab-(\w+)"', source)) == set(TAB_PAGES)
    style = (ASSETS / "style.css").read_text(encoding="utf-8")
    for tab, about in TAB_PAGES.items():
        assert f'href="docs/{about}"' in page_app.header_html() and f"docs-{tab}" in tab_links()
        assert f'aria-controls="tab-{tab}"][aria-selected="true"]) .docs-{tab}' in style
    path, _, anchor = FILE_RULES.partition("#")
    assert f'id="{anchor}"' in page(path)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_the_importer_reads_every_example_without_a_doubt(name):
    imported = read_files([examples()[name]])
    pack, _added = imported.pack("x")
    pack.check()
    assert len(pack.facts) >= 8 and not imported.doubts


def test_the_examples_show_what_is_said_of_them():
    assert set(examples()) == set(EXAMPLES)
    read = {name: read_files([examples()[name]]) for name in EXAMPLES}
    assert read["codes.csv"].facts.relations[0].name == "code_word"
    assert not len(read["codes.csv"].prompts)
    assert len(read["rivers.xlsx"].prompts) == 13 and len(read["rivers.xlsx"].tables) == 2
    assert all(fact.old for fact in read["counterfact.json"].facts)
    assert any(fact.aliases for fact in read["inventors.jsonl"].facts)
