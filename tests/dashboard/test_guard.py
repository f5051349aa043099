"""The running server from outside: what it answers to whom. Plain HTTP, no browser."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys

import pytest
from conftest import PROJECT
from e2e.server import Server

from pages.components.guard import Guard, is_allowed

SECRET = "a long random text for tests only, not for you"
SECRETS = f"""[auth]
redirect_uri = "http://localhost:PORT/oauth2callback"
cookie_secret = "{SECRET}"
client_id = "studio"
client_secret = "hidden"
server_metadata_url = "https://login.example.org/.well-known/openid-configuration"
"""
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
}


def ask(server: Server, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    """One request with exactly these headers; the body is not read."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    return connection.getresponse()


def websocket(server: Server, **headers: str) -> int:
    """The status of an attempt to open the app's websocket; 101 is open."""
    upgrade = {name.replace("-", "_"): value for name, value in UPGRADE.items()}
    return ask(server, "GET", "/_stcore/stream", **upgrade, **headers).status


@pytest.fixture(scope="module")
def open_server(tmp_path_factory):
    """A server as everybody starts it."""
    server = Server(tmp_path_factory.mktemp("open"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def login_server(tmp_path_factory):
    """A server with a login configured."""
    home = tmp_path_factory.mktemp("login")
    secrets = home / "secrets.toml"
    server = Server(home, "--secrets.files", str(secrets))
    secrets.write_text(SECRETS.replace("PORT", str(server.port)))
    server.start()
    yield server
    server.stop()


def cookie(server: Server, secret: str = SECRET, origin: str = "", email: str = "a@example.org") -> str:
    """The cookie that Streamlit sets after a login."""
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    user = {
        "origin": origin or f"http://localhost:{server.port}",
        "is_logged_in": True,
        "email": email,
    }
    value = create_signed_value(secret, "_streamlit_user", json.dumps(user))
    return f"_streamlit_user={value.decode()}"


def test_the_open_server_answers_on_loopback_to_its_own_pages(open_server):
    assert ask(open_server, "GET", "/").status == 200
    assert websocket(open_server, Origin=open_server.url) == 101


@pytest.mark.parametrize(
    "host", ["evil.example.org", "evil.example.org:8501", "127.0.0.1.evil.example.org", "", "[::1"]
)
def test_a_foreign_host_is_refused(open_server, host):
    assert ask(open_server, "GET", "/", Host=host).status in (400, 403)
    assert websocket(open_server, Host=host) in (400, 403)


@pytest.mark.parametrize("origin", ["https://evil.example.org", "http://localhost:9999", "null", "http://["])
def test_a_foreign_origin_is_refused_another_port_of_this_machine_too(open_server, origin):
    assert websocket(open_server, Origin=origin) == 403
    upload = "/_stcore/upload_file/session/file"
    for method, path in (("GET", "/"), ("PUT", upload), ("DELETE", upload)):
        assert ask(open_server, method, path, Origin=origin).status == 403


def test_no_other_site_may_show_the_app_in_a_frame(open_server):
    told = ask(open_server, "GET", "/").headers.get_all("content-security-policy")
    assert "frame-ancestors 'self'" in told


def test_nothing_is_served_without_the_login_that_is_configured(login_server):
    page = ask(login_server, "GET", "/")
    assert page.status == 303
    assert page.headers["location"].startswith("/auth/login?provider=")
    for path in ("/runs", "/trajectories"):
        assert ask(login_server, "GET", path).status == 303
    for path in ("/static/js/index.js", "/media/x.png", "/_stcore/host-config", "/component/x/y"):
        assert ask(login_server, "GET", path).status == 401
    assert ask(login_server, "PUT", "/_stcore/upload_file/session/file").status == 401
    assert websocket(login_server, Origin=login_server.url) == 403


def test_the_login_lets_in_and_only_a_genuine_one(login_server):
    assert ask(login_server, "GET", "/", Cookie=cookie(login_server)).status == 200
    assert websocket(login_server, Origin=login_server.url, Cookie=cookie(login_server)) == 101
    forged = [
        cookie(login_server, secret="another secret that somebody guessed at"),
        cookie(login_server, origin="https://evil.example.org"),
        "_streamlit_user=nonsense",
    ]
    for each in forged:
        assert ask(login_server, "GET", "/", Cookie=each).status == 303
        assert websocket(login_server, Origin=login_server.url, Cookie=each) == 403


def test_a_genuine_account_that_is_not_named_is_not_let_in(tmp_path):
    secrets = tmp_path / "secrets.toml"
    server = Server(tmp_path, "--secrets.files", str(secrets), LPD_ALLOWED_USERS="b@example.org")
    secrets.write_text(SECRETS.replace("PORT", str(server.port)))
    server.start()
    try:
        assert ask(server, "GET", "/", Cookie=cookie(server)).status == 303
        assert websocket(server, Origin=server.url, Cookie=cookie(server)) == 403
        assert ask(server, "GET", "/", Cookie=cookie(server, email="b@example.org")).status == 200
    finally:
        server.stop()


@pytest.mark.parametrize("address", ["0.0.0.0", "::", ""])
def test_a_server_that_would_let_strangers_in_does_not_start(tmp_path, address):
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            "app.py",
            "--server.address",
            address,
            "--server.port",
            "0",
        ],
        cwd=PROJECT,
        env={**os.environ, "LPD_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 2, told.stderr
    assert "LPD_ALLOW_UNAUTHENTICATED" in told.stderr
    assert "Traceback" not in told.stderr


async def refusal(guard: Guard, **scope) -> int:
    """The status that a guard answers a request with; 200 where it lets it pass."""
    answered = []

    async def send(message):
        answered.append(message.get("status"))

    async def app(scope, receive, send):
        answered.append(200)

    whole = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")], **scope}
    await Guard(app, guard.hosts, guard.origins, guard.login)(whole, None, send)
    return answered[0]


def result_of(coroutine) -> int:
    """What a coroutine that waits for nothing returns, without an event loop: another test may have left one."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


@pytest.mark.parametrize(
    ("server", "status"),
    [(("127.0.0.1", 1), 200), (("::1", 1), 200), (("/run/x.sock", None), 200), (("10.0.0.7", 1), 403)],
)
def test_another_asgi_server_does_not_open_it_to_strangers(server, status):
    assert result_of(refusal(Guard(None, {"localhost"}), server=server)) == status


def test_a_login_that_cannot_be_read_any_more_lets_nobody_in():
    guard = Guard(None, {"localhost"}, login=True)
    assert result_of(refusal(guard, server=("127.0.0.1", 1))) == 403


@pytest.mark.parametrize(
    ("allowed", "email", "lets"),
    [
        ("", "anybody@example.org", True),
        ("a@example.org, B@example.org", "b@example.org", True),
        ("a@example.org", "c@example.org", False),
        ("@example.org", "c@example.org", True),
        ("@example.org", "c@evil.example.org", False),
        ("@example.org", "", False),
    ],
)
def test_only_the_accounts_that_are_named_are_let_in(monkeypatch, allowed, email, lets):
    monkeypatch.setenv("LPD_ALLOWED_USERS", allowed)
    assert is_allowed(email) is lets
