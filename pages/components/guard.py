"""Who may reach the server at all: checked on every request and websocket, before Streamlit sees it.

- It listens on the loopback interface, unless a login is configured (`[auth]` in the secrets) or
  `LPD_ALLOW_UNAUTHENTICATED=1` says that whoever reaches the address may in.
- A request for a foreign host name, or from a page of a foreign origin, is refused (DNS rebinding, other sites' scripts).
- With a login configured, no page, upload, download or websocket without it, only the way to the provider; where
  `LPD_EDIT_NEEDS_LOGIN=1` lets visitors look, they may in, and `session.require_edit` keeps them from changing anything.

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
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


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
    return [Middleware(Guard, hosts=allowed_hosts(address))]


def is_loopback(address: str) -> bool:
    """Whether an address to listen on can be reached from this machine only; no address means every interface."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def allowed_hosts(address: str) -> set[str]:
    """The host names that the server answers to: this machine's, where it listens, where the provider sends people
    back to, and those of `LPD_ALLOWED_HOSTS` (separated by commas)."""
    told = os.environ.get("LPD_ALLOWED_HOSTS", "").split(",")
    origin = get_origin_from_redirect_uri() if has_login() else None
    names = [
        address,
        st.get_option("browser.serverAddress") or "",
        urlsplit(origin or "").hostname or "",
        *told,
    ]
    return LOOPBACK_NAMES | {name.strip().lower() for name in names if name.strip()}


class Guard:
    """ASGI middleware: refuses what the module's text names, in one line, and passes the rest on."""

    def __init__(self, app: Any, hosts: Iterable[str]):
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        reason = self._refusal(scope, headers)
        if reason is None:
            await self.app(scope, receive, send)
        elif reason == "login" and scope["type"] == "http" and scope["path"].count("/") == 1:
            await respond(send, 303, "log in first", location=login_address(scope))
        else:
            await refuse(scope, receive, send, 401 if reason == "login" else 403, reason)

    def _refusal(self, scope: dict[str, Any], headers: dict[str, str]) -> str | None:
        host = host_name(headers.get("host", ""))
        if host not in self.hosts:
            return f"this server does not answer to the host {host!r}; name it in LPD_ALLOWED_HOSTS"
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if origin and changes and (urlsplit(origin).hostname or "").lower() not in self.hosts:
            return f"requests from pages of {origin!r} are refused"
        if has_login() and not is_set("LPD_EDIT_NEEDS_LOGIN") and scope["path"] not in OPEN_PATHS:
            return None if is_logged_in(headers.get("cookie", "")) else "login"
        return None


def host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    return (urlsplit(f"//{host}").hostname or "").lower()


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
    return user.get("is_logged_in") is True and user.get("origin") == get_origin_from_redirect_uri()


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
