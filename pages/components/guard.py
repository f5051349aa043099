"""Who may reach the server at all: checked on every request and websocket, before Streamlit sees it.

- It listens on the loopback interface, unless a login is configured (`[auth]` in the secrets) or
  `LPD_ALLOW_UNAUTHENTICATED=1` says that whoever reaches the address may in.
- A request for a foreign host name, or from a page of another origin (another port is another origin), is refused (DNS
  rebinding, other sites' scripts); no page of another origin may show ours in a frame.
- With a login configured, no page, upload, download or websocket without it, only the way to the provider, and only for
  those whom `LPD_ALLOWED_USERS` names, where it is set; where `LPD_EDIT_NEEDS_LOGIN=1` lets visitors look, they may in,
  and `session.require_edit` keeps them from changing anything.

It follows Streamlit's own cookie: https://docs.streamlit.io/develop/api-reference/user/st.login
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Iterable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

import streamlit as st
from starlette.middleware import Middleware
from streamlit import auth_util
from streamlit.auth_util import get_cookie_with_chunks, get_origin_from_redirect_uri, get_secrets_auth_section
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value

USER_COOKIE = "_streamlit_user"
OPEN_PATHS = ("/auth/login", "/auth/logout", "/oauth2callback", "/_stcore/health")
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
STRANGER = (
    "this server would serve anybody who reaches it; listen on 127.0.0.1, configure a login, or set "
    "LPD_ALLOW_UNAUTHENTICATED=1"
)
UNFRAMED = (b"content-security-policy", b"frame-ancestors 'self'")


def is_set(name: str) -> bool:
    """Whether a switch in the environment is on."""
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no")


def has_login() -> bool:
    """Whether a provider is configured in the secrets."""
    return bool(get_secrets_auth_section())


def middleware() -> list[Middleware]:
    """What stands before Streamlit. Ends the process with exit code 2 when it would serve strangers unasked."""
    address = st.get_option("server.address") or ""
    if not is_loopback(address) and not has_login() and not is_set("LPD_ALLOW_UNAUTHENTICATED"):
        print(
            f"error: server.address = {address or 'every interface'!r} would serve anybody who reaches it; keep "
            "127.0.0.1 and tunnel to it, configure a login (docs/dashboard.md, Sharing it), or set "
            "LPD_ALLOW_UNAUTHENTICATED=1 if the network may see and change everything",
            file=sys.stderr,
        )
        sys.exit(2)
    return [Middleware(Guard, hosts=allowed_hosts(address), origins=allowed_origins(), login=has_login())]


def is_loopback(address: str) -> bool:
    """Whether an address to listen on can be reached from this machine only; no address means every interface."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def allowed_hosts(address: str) -> set[str]:
    """The host names that the server answers to: this machine's, where it listens, and those of `allowed_origins`."""
    return LOOPBACK_NAMES | allowed_origins() | ({address.lower()} if address else set())


def allowed_origins() -> set[str]:
    """The host names whose pages may use the server on any port, as behind a proxy: where the provider sends people
    back to, Streamlit's browser.serverAddress, and those of `LPD_ALLOWED_HOSTS` (separated by commas)."""
    origin = get_origin_from_redirect_uri() if has_login() else None
    told = os.environ.get("LPD_ALLOWED_HOSTS", "").split(",")
    names = [st.get_option("browser.serverAddress") or "", host_name(urlsplit(origin or "").netloc), *told]
    return {name.strip().lower() for name in names if name.strip()} - LOOPBACK_NAMES


class Guard:
    """ASGI middleware: refuses what the module's text names, in one line, and passes the rest on."""

    def __init__(self, app: Any, hosts: Iterable[str], origins: Iterable[str] = (), login: bool = False):
        self.app = app
        self.hosts = frozenset(hosts)
        self.origins = frozenset(origins)
        self.login = login

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        reason = self._refusal(scope, headers)
        if reason is None:
            await self.app(scope, receive, _unframed(send))
        elif reason == "login" and scope["type"] == "http" and scope["path"].count("/") == 1:
            await respond(send, 303, "log in first", location=login_address(scope))
        else:
            await refuse(scope, receive, send, 401 if reason == "login" else 403, reason)

    def _refusal(self, scope: dict[str, Any], headers: dict[str, str]) -> str | None:
        host = host_name(headers.get("host", ""))
        if host not in self.hosts:
            return f"this server does not answer to the host {host!r}; name it in LPD_ALLOWED_HOSTS"
        origin = headers.get("origin")
        if origin and not self._is_own(origin, headers["host"]):
            return f"requests from pages of {origin!r} are refused"
        if self.login and not has_login():  # a secrets file that was broken must not open the door
            return "the login's settings cannot be read any more; mend .streamlit/secrets.toml"
        if not has_login():
            return None if is_reached_locally(scope) or is_set("LPD_ALLOW_UNAUTHENTICATED") else STRANGER
        if not is_set("LPD_EDIT_NEEDS_LOGIN") and scope["path"] not in OPEN_PATHS:
            return None if is_logged_in(headers.get("cookie", "")) else "login"
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        netloc = origin.partition("://")[2].lower()
        return netloc == host.lower() or host_name(netloc) in self.origins


def is_reached_locally(scope: dict[str, Any]) -> bool:
    """Whether a connection came in over the loopback interface or a socket file, whatever server runs the app."""
    address, port = scope.get("server") or ("", None)
    return port is None or is_loopback(address)


def _unframed(send: Any) -> Any:
    """Answers with the header that keeps other sites from showing them in a frame."""

    async def send_with_header(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), UNFRAMED]}
        await send(message)

    return send_with_header


def host_name(host: str) -> str:
    """The name in a Host header, without its port; nothing where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_logged_in(cookies: str) -> bool:
    """Whether a Cookie header carries Streamlit's signed user cookie of this origin."""
    jar = {name: morsel.value for name, morsel in SimpleCookie(cookies).items()}

    def signed(name: str) -> bytes | None:
        value = jar.get(name)
        return value and decode_signed_value(get_cookie_secret(), name, value.encode("latin-1"))

    found = get_cookie_with_chunks(signed, USER_COOKIE)
    try:
        user = json.loads(found or b"{}")
    except ValueError:
        return False
    genuine = user.get("is_logged_in") is True and user.get("origin") == get_origin_from_redirect_uri()
    return genuine and is_allowed(str(user.get("email") or ""))


def is_allowed(email: str) -> bool:
    """Whether `LPD_ALLOWED_USERS` lets an account in: addresses, or `@domain` for all of one, separated by commas.
    Unset, it lets in everybody whom the provider knows."""
    told = os.environ.get("LPD_ALLOWED_USERS", "")
    names = {name.strip().lower() for name in told.split(",") if name.strip()}
    account = email.strip().lower()
    return not told.strip() or account in names or f"@{account.rpartition('@')[2]}" in names


def login_address(scope: dict[str, Any]) -> str:
    """Where a visitor logs in: Streamlit's route to the provider."""
    token = auth_util.encode_provider_token(provider())
    return f"{scope.get('root_path', '')}/auth/login?provider={quote(token)}"


def provider() -> str:
    """The configured provider: the section's own settings, else the first named one."""
    section = get_secrets_auth_section()
    named = [name for name, value in section.items() if hasattr(value, "keys")]
    return "default" if "client_id" in section or not named else named[0]


async def respond(send: Any, status: int, text: str, location: str = "") -> None:
    """A plain text answer."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    headers += [(b"location", location.encode("latin-1"))] if location else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": (text + "\n").encode()})


async def refuse(scope: dict[str, Any], receive: Any, send: Any, status: int, reason: str) -> None:
    """Refuse in one line; a websocket is closed before it opens (the client sees 403)."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
    else:
        await respond(send, status, "log in first" if reason == "login" else reason)
