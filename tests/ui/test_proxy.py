"""The page behind a proxy: what is believed of it, and a real nginx with the documented file."""

from urllib.parse import urlsplit

import gradio as gr
import httpx
import pytest
from starlette.testclient import TestClient
from support import nginx
from support.browser import launch_options
from support.fabricated import running
from support.page import START, served, until

from rotelab.errors import LabError
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.access import ATTEMPTS, Access, access
from rotelab.ui.proxy import read_proxies, read_root_path
from rotelab.ui.server import make_server_app
from rotelab.ui.wording import percent

PROXY, NAME = "10.0.0.2", "lab.example.org"
FORWARDED = {
    "Host": "127.0.0.1:7860",
    "X-Forwarded-Host": NAME,
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.9",
}


@pytest.fixture
def small_page():
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Markdown("hello")
    return demo


@pytest.fixture
def asking(lab, small_page):
    """A function that asks for `/config` from an address, with headers."""
    allowed = Access("127.0.0.1", names=("127.0.0.1", NAME), root_path="/lab", proxies=(PROXY,))
    app = make_server_app(lab, small_page, 7860, allowed)

    def ask(client=PROXY, path="/config", method="GET", **headers):
        asked = TestClient(app, base_url="http://127.0.0.1:7860", client=(client, 5000))
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return asked.request(method, path, headers=FORWARDED | given)

    return ask


def test_a_trusted_proxy_says_the_name_the_scheme_and_the_path(asking):
    assert asking().json()["root"] == f"https://{NAME}/lab"
    assert asking(path="/lab/config").json()["root"] == f"https://{NAME}/lab"  # not taken off
    assert asking(path="/labels/config").status_code == 404
    assert asking(X_Forwarded_Host="evil.example").status_code == 400
    own = {"Origin": f"https://{NAME}"}
    assert asking(**own).status_code == 200
    assert asking(Origin="https://evil.example").status_code == 403
    assert asking(Origin="http://127.0.0.1:7860").status_code == 403


def test_the_documentation_and_the_examples_lie_under_the_path_too(asking):
    for path in ("/docs/guide/facts.md", "/lab/docs/guide/facts.md", "/lab/examples/codes.csv"):
        assert asking(path=path).status_code == 200
    assert asking(path="/lab/docs/../rotelab/storage.py").status_code == 404
    assert asking(path="/docs/guide/facts.md", Host="evil.example",
                  X_Forwarded_Host="evil.example").status_code == 400  # fmt: skip


def test_others_are_not_believed(asking):
    assert asking("10.0.0.3").json()["root"] == "http://127.0.0.1:7860/lab"
    assert asking("10.0.0.3", X_Forwarded_Host="evil.example").status_code == 200  # not read
    assert asking("10.0.0.3", Origin=f"https://{NAME}").status_code == 403
    assert asking("10.0.0.3", Host="evil.example").status_code == 400


def test_without_a_trusted_proxy_nothing_is_read(lab, small_page):
    app = make_server_app(lab, small_page, 7860, Access())
    for client in ("127.0.0.1", "testclient"):
        asked = TestClient(app, base_url="http://127.0.0.1:7860", client=(client, 5000))
        root = asked.get("/config", headers=FORWARDED).json()["root"]
        assert root == "http://127.0.0.1:7860"


def test_wrong_passwords_are_counted_for_who_sends_them(lab, small_page):
    allowed = Access("0.0.0.0", "correct horse battery", (NAME,), proxies=(PROXY,))
    app = make_server_app(lab, small_page, 7860, allowed)
    asked = TestClient(app, base_url=f"http://{NAME}", client=(PROXY, 5000))

    def attempt(address):
        wrong = {"username": "rotelab", "password": "wrong"}
        given = {"X-Forwarded-For": f"198.51.100.1, {address}"}  # the first one is anybody's word
        return asked.post("/login", data=wrong, headers=given).status_code

    assert [attempt("203.0.113.9") for _ in range(ATTEMPTS + 1)] == [400] * ATTEMPTS + [429]
    assert attempt("203.0.113.10") == 400


@pytest.mark.parametrize(
    ("text", "path"), [("", ""), ("/", ""), ("/lab", "/lab"), (" /a/b-c.d~/ ", "/a/b-c.d~")]
)
def test_a_root_path_is_read(text, path):
    assert read_root_path(text) == path


@pytest.mark.parametrize("text", ["lab", "/a b", "/a//b", "/..", "/a/../b", "https://x/lab", "/ü"])
def test_a_bad_root_path_is_refused(text):
    with pytest.raises(LabError, match="is not a path for the page"):
        access(root_path=text)


@pytest.mark.parametrize("text", ["proxy.example.org", "*", "", "10.0.0.2:80", "0.0.0.0/0", "::/0"])
def test_a_proxy_is_named_by_its_address(text):
    with pytest.raises(LabError, match="proxy"):
        access(proxies=(text,))
    assert read_proxies(("127.0.0.1", "172.17.0.0/16", "::1")) == (
        "127.0.0.1", "172.17.0.0/16", "::1"
    )  # fmt: skip


# A real nginx --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """The page's home, and its address as nginx shows it."""
    if why := nginx.lacking():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("nginx")
    options = ("--root-path", "/lab", "--trusted-proxy", "127.0.0.1", "--name", NAME)
    with (
        served(folder / "home", [*START, *options]) as server,
        nginx.behind(folder, urlsplit(server.url).port) as port,
    ):
        yield server.home, port


@pytest.mark.browser
def test_the_page_works_under_a_path_with_a_password(public, tmp_path):
    from playwright.sync_api import sync_playwright

    home, port = public
    root = f"https://{NAME}:{port}/lab"
    table = tmp_path / "rivers.csv"
    table.write_text("relation,subject,object\nriver,Norham,Uhl\nriver,Edlau,Brin\n")
    run_id = running(Lab.open(Storage(home)), "behind nginx")
    refused, foreign, errors = [], [], []
    options = launch_options()
    options["args"].append(f"--host-resolver-rules=MAP {NAME} 127.0.0.1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options)
        try:
            person = {"username": nginx.USER, "password": nginx.PASSWORD}
            context = browser.new_context(ignore_https_errors=True, http_credentials=person)
            page = context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("request", lambda r: None if r.url.startswith((root, "data:", "blob:"))
                    else foreign.append(r.url))  # fmt: skip
            page.on("response", lambda r: refused.append((r.status, r.url)) if r.status >= 400
                    else None)  # fmt: skip
            page.goto(root)  # without the slash
            page.get_by_role("tab", name="Train").first.click(timeout=60_000)
            head = page.locator("#live-head")
            until(lambda: "behind nginx" in head.inner_text(), 60, "the run is shown")
            # A live update arrives without a click.
            Lab.open(Storage(home)).registry.heartbeat(run_id, share=0.87)
            until(lambda: f"{percent(0.87)} done" in head.inner_text(), 30, "it is shown live")

            page.get_by_role("tab", name="Facts").first.click()
            page.get_by_text("Files: import, export").click()
            chooser = page.locator("#facts-import").locator("xpath=..").locator("input[type=file]")
            chooser.set_input_files(table)
            preview = page.locator("#facts-preview")
            until(lambda: "2 facts" in preview.inner_text(), 30, "the upload is read")
            page.locator("#preview-accept").click()
            preview.wait_for(state="hidden")
            until(lambda: "Edlau" in page.locator("#facts-table").inner_text(), 30, "taken in")
            page.locator("#facts-export").click()
            page.locator("#facts-csv").wait_for(state="visible")
            with page.expect_download() as coming:
                page.locator("#facts-csv").click()
            assert "Edlau" in coming.value.path().read_text(encoding="utf-8")
        finally:
            browser.close()
    # Without the password once, as browsers ask before they are told that they need one.
    assert {status for status, _ in refused} <= {401} and foreign == errors == []


def test_nginx_refuses_strangers_and_the_page_other_sites(public):
    _, port = public
    root, name = f"https://127.0.0.1:{port}/lab", {"Host": f"{NAME}:{port}"}
    own, evil = f"https://{NAME}:{port}", "https://evil.example"
    with httpx.Client(verify=False, headers=name) as client:
        person = (nginx.USER, nginx.PASSWORD)

        def ask(path, auth=person, method="GET", **headers):
            return client.request(method, root + path, auth=auth, headers=headers).status_code

        assert ask("/", auth=None) == ask("/config", auth=("ann", "wrong")) == 401
        assert ask("/config") == 200
        event = "/gradio_api/queue/join"
        assert ask(event, method="POST", Origin=evil) == 403
        assert ask(event, method="POST", Origin=f"http://127.0.0.1:{port}") == 403
        assert ask(event, method="POST", Origin=own) == 422  # let through, and without a body
        assert ask("/config", Host="evil.example") == 400
        # A browser's own word about who it is does not get past nginx.
        assert ask("/config", Host="evil.example", **{"X-Forwarded-Host": NAME}) == 400
        assert client.get(root, auth=person).headers["location"] == f"{own}/lab/"
