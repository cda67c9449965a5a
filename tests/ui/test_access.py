"""Who may open the page, and what it never gives away."""

import gradio as gr
import pytest
from starlette.testclient import TestClient

from rotelab.errors import LabError
from rotelab.ui.access import ATTEMPTS, WINDOW_S, Access, FewAttempts, access
from rotelab.ui.server import free_socket, make_server_app

PASSWORD = "correct horse battery"
WRONG = {"username": "rotelab", "password": "wrong"}
RIGHT = {"username": "rotelab", "password": PASSWORD}


@pytest.fixture
def small_page():
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Markdown("hello")
    return demo


def client_of(lab, demo, allowed, host="127.0.0.1"):
    app = make_server_app(lab, demo, 7860, allowed)
    return TestClient(app, base_url=f"http://{host}:7860", follow_redirects=False)


# Where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_this_machine_alone_needs_no_password(host, monkeypatch):
    monkeypatch.delenv("ROTELAB_PASSWORD", raising=False)
    assert access(host).auth is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "8.8.8.8"])
@pytest.mark.parametrize("password", [None, "", "short"])
def test_others_need_a_good_one(host, password, monkeypatch):
    monkeypatch.delenv("ROTELAB_PASSWORD", raising=False)
    if password is not None:
        monkeypatch.setenv("ROTELAB_PASSWORD", password)
    with pytest.raises(LabError, match="at least 12 characters.*ROTELAB_PASSWORD"):
        access(host)


@pytest.mark.parametrize("host", ["", "localhost", "example.org", "1.2.3", "*"])
def test_a_name_is_no_address(host):
    with pytest.raises(LabError, match="not an IP address"):
        access(host)


def test_the_command_line_refuses_before_anything_is_served(monkeypatch, capsys):
    import sys

    from rotelab.cli import main

    monkeypatch.delenv("ROTELAB_PASSWORD", raising=False)
    monkeypatch.setattr(sys, "argv", ["rotelab", "serve", "--host", "0.0.0.0"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and "ROTELAB_PASSWORD" in said.err and said.out == ""


def test_a_socket_is_bound_where_it_was_asked_for():
    with free_socket(0, "127.0.0.3") as bound:
        assert bound.getsockname()[0] == "127.0.0.3"


# Password ---------------------------------------------------------------------------------------


@pytest.fixture
def guarded(lab, small_page):
    return client_of(
        lab, small_page, Access("0.0.0.0", PASSWORD, ("lab.example.org",)), "lab.example.org"
    )


def test_nothing_is_shown_without_the_password(guarded):
    assert guarded.get("/config").status_code == 401
    assert guarded.post("/gradio_api/queue/join", json={"fn_index": 0}).status_code == 401
    assert guarded.get("/gradio_api/file=/etc/passwd").status_code in (401, 403, 404)
    assert guarded.post("/login", data=WRONG).status_code == 400
    assert guarded.post("/login", data={**RIGHT, "username": "admin"}).status_code == 400
    assert guarded.get("/config").status_code == 401


def test_the_password_opens_it(guarded):
    assert guarded.post("/login", data=RIGHT).status_code == 200
    assert guarded.get("/config").status_code == 200


def test_attempts_are_few(guarded):
    said = [guarded.post("/login", data=WRONG).status_code for _ in range(ATTEMPTS + 2)]
    assert said == [400] * ATTEMPTS + [429] * 2
    refused = guarded.post("/login", data=RIGHT)  # not even the right one, for now
    assert refused.status_code == 429 and 0 < int(refused.headers["Retry-After"]) <= WINDOW_S
    assert guarded.post("/login/", data=RIGHT).status_code == 429


def test_a_success_clears_the_count_and_time_does(monkeypatch):
    now = [0.0]
    answers = [400]

    async def login(scope, receive, send):
        await send({"type": "http.response.start", "status": answers[0], "headers": []})
        await send({"type": "http.response.body", "body": b""})

    client = TestClient(FewAttempts(login, clock=lambda: now[0]))

    def attempt(status):
        answers[0] = status
        return client.post("/login").status_code

    assert [attempt(400) for _ in range(ATTEMPTS - 1)] == [400] * (ATTEMPTS - 1)
    assert attempt(200) == 200
    assert [attempt(400) for _ in range(ATTEMPTS)] == [400] * ATTEMPTS
    assert attempt(200) == 429
    now[0] += WINDOW_S
    assert attempt(200) == 200
    assert client.get("/login").status_code == 200  # only passwords are counted


# Names and origins ------------------------------------------------------------------------------


def test_only_known_names_are_answered(lab, small_page, guarded, monkeypatch):
    assert guarded.get("/config", headers={"Host": "evil.example"}).status_code == 400
    own = client_of(lab, small_page, Access())
    assert own.get("/config").status_code == 200
    assert own.get("/config", headers={"Host": "lab.example.org"}).status_code == 400
    assert own.get("/config", headers={"Origin": "http://evil.example"}).status_code == 403
    monkeypatch.setenv("ROTELAB_PASSWORD", PASSWORD)
    monkeypatch.setattr("socket.gethostname", lambda: "bench-7")
    assert {"bench-7", "localhost", "lab.example.org"} <= set(
        access("0.0.0.0", ("lab.example.org",)).names
    )


# Files ------------------------------------------------------------------------------------------


def test_no_file_but_an_export_is_served(lab, small_page, tmp_path):
    client = client_of(lab, small_page, Access())
    storage = lab.storage
    (storage.exports / "good.zip").write_text("an export")
    adapter = storage.runs / "r" / "adapters" / "memorize" / "adapter_model.safetensors"
    adapter.parent.mkdir(parents=True)
    adapter.write_text("weights")
    (storage.exports / "link.zip").symlink_to(storage.database)
    (storage.exports / "folder").symlink_to("/etc")
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")

    def fetched(path):
        return client.get(f"/gradio_api/file={path}")

    assert fetched(storage.exports / "good.zip").text == "an export"
    exports = str(storage.exports)
    for path in (
        storage.database, f"{storage.database}-wal", adapter, outside, "/etc/passwd",
        f"{exports}/link.zip", f"{exports}/folder/passwd", f"{exports}/../runs.db",
        f"{exports}/%2e%2e/runs.db", f"{exports}/..%2fruns.db", f"{exports}//../../runs.db",
        f"{exports}/good.zip/../link.zip", "file:///etc/passwd", "\\etc\\passwd", "",
        __file__, storage.home, exports,
    ):  # fmt: skip
        answer = fetched(path)
        assert answer.status_code >= 400, (path, answer.status_code)
        assert b"SQLite" not in answer.content and b"root:" not in answer.content
