"""One server of the OpenAI protocol: the models it lists, and single requests whose failures are told apart.

Who is asked, how often and how long a lost server is waited for, is the fleet's business.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx2

from lpd_core.errors import Interrupted
from lpd_core.model_config import SamplerConfig

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; doubled at each try
PROBE_SECONDS = 10.0
SECRET_SIGNS = 16
"""Answers are kept, so no key may stand in them; but a server of one's own takes any word for a key, and a word as short
as that may be part of an honest answer."""
TOO_LONG = (
    "context length",
    "too long",
    "max_model_len",
    "maximum model length",
    "exceeds",
    "too many tokens",
)

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that came to nothing, and the server's words."""

    reason: Literal["error", "overlong"]
    message: str


class Fault(Exception):
    """A try that came to nothing and may go well when tried again: a broken connection, an error, garbage."""


class Gone(Fault):
    """Nobody answers at the address."""


class Limited(Fault):
    """The server wants fewer requests; `seconds` is how long it asks to be left alone, None where it does not tell."""

    def __init__(self, message: str, seconds: float | None):
        super().__init__(message)
        self.seconds = seconds


class Refused(Fault):
    """The request would be refused again."""


class NotServed(Fault):
    """The server does not have the model."""


class Server:
    """The server at `url`, with the key in the environment variable that the settings name, if it is set."""

    def __init__(self, url: str, settings: SamplerConfig):
        self.url = url.rstrip("/")
        self.settings = settings
        self.key = os.environ.get(settings.key_variable, "")
        # Loading certificates takes a third of a second: once, and not at all where nothing is encrypted.
        self.verify = httpx2.create_ssl_context() if self.url.startswith("https:") else False
        self.client: httpx2.AsyncClient | None = None

    def models(self, seconds: float = PROBE_SECONDS) -> list[str] | None:
        """The names of the models it serves; None where it does not tell.

        Raises `Interrupted` when it does not answer, is not ready or refuses the key."""
        try:
            return self._listed(
                httpx2.get(f"{self.url}/models", headers=self._headers(), timeout=seconds, verify=self.verify)
            )
        except (httpx2.RequestError, httpx2.InvalidURL) as cause:
            raise Interrupted(f"no server answers at {self.url} ({self._plain(cause)})") from cause

    async def probe(self, name: str) -> None:
        """Return when the server answers and has the model, as far as it tells. Raises a `Fault` that says why not,
        `Interrupted` when it refuses the key; called within the event loop."""
        try:
            response = await self._client().get(f"{self.url}/models", timeout=PROBE_SECONDS)
            served = self._listed(response)
        except httpx2.RequestError as cause:
            raise Gone(f"no server answers at {self.url} ({self._plain(cause)})") from cause
        except Interrupted as cause:
            self._refuse_key(response)
            raise Fault(str(cause)) from cause
        if served is not None and name not in served:
            raise NotServed(f"{self.url} does not serve {name!r} (it serves {', '.join(served)})")

    async def post(self, path: str, body: Body, read: Callable[[Any], Any]) -> Any:
        """What `read` makes of the JSON answer; `read` raises `ValueError` where it is not what it should be.

        Raises a `Fault` that says what went wrong, `Interrupted` when the key is refused; called within the event
        loop."""
        try:
            response = await self._client().post(f"{self.url}{path}", json=dict(body))
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as cause:
            raise Gone(f"no server answers at {self.url} ({self._plain(cause)})") from cause
        except httpx2.RequestError as cause:
            raise Fault(f"the connection broke ({self._plain(cause)})") from cause
        if response.status_code == 200:
            try:
                return read(json.loads(self.masked(response.text, SECRET_SIGNS)))
            except ValueError as cause:
                raise Fault(f"the answer is not what it should be ({self._plain(cause)})") from cause
        self._refuse_key(response)
        raise self._fault(response)

    async def close(self) -> None:
        """Let go of the connections; the next request opens new ones."""
        client, self.client = self.client, None
        if client:
            await client.aclose()

    def not_served(self, model: str, words: str = "") -> Interrupted:
        """The error for a model that the server does not have."""
        try:
            served = ", ".join(self.models() or []) or "what it does not tell"
        except Interrupted:
            served = "what it does not tell"
        return Interrupted(
            f"the server at {self.url} does not serve {model!r} (it serves {served}{words and f'; {words}'}): load it "
            "there, name it in sampler.served, or set sampler.serve to a command that starts the server; then resume"
        )

    def _client(self) -> httpx2.AsyncClient:
        if self.client is None:
            self.client = httpx2.AsyncClient(
                headers=self._headers(),
                limits=httpx2.Limits(max_connections=self.settings.concurrency + 1),  # one to probe
                timeout=httpx2.Timeout(self.settings.timeout, connect=10.0, pool=None),
                verify=self.verify,
            )
        return self.client

    def _listed(self, response: httpx2.Response) -> list[str] | None:
        try:
            self._refuse_key(response)
            if response.status_code in (404, 405, 501):
                return None
            if response.status_code != 200:
                raise ValueError(f"HTTP {response.status_code}: {self._words(response)}")
            return [self.masked(str(model["id"])) for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as cause:
            raise Interrupted(
                f"{self.url}/models does not list models ({self._plain(cause)}): sampler.url has to be the base address "
                "of an OpenAI-compatible server, which mostly ends in /v1"
            ) from cause

    def _fault(self, response: httpx2.Response) -> Fault:
        status = response.status_code
        problem = f"HTTP {status}: {self._words(response)}"
        if status == 404:
            return NotServed(problem)
        if status in (400, 413, 422):
            return Refused(problem)
        if status == 429 or (status == 503 and "retry-after" in response.headers):
            asked = _retry_after(response.headers.get("retry-after", ""))
            asked = asked and asked * random.uniform(1.0, 1.1)  # so that clients spread out
            return Limited(f"{self.url} limits the rate: {self._words(response)}", asked)
        return Fault(problem)

    def _refuse_key(self, response: httpx2.Response) -> None:
        if response.status_code not in (401, 403):
            return
        what = f"the key in ${self.settings.key_variable}" if self.key else "a request without a key"
        raise Interrupted(
            f"{self.url} refuses {what} (HTTP {response.status_code}: {self._words(response)}); set "
            f"${self.settings.key_variable} and resume"
        )

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def _words(self, response: httpx2.Response) -> str:
        try:
            told = response.json()
            error = told.get("error", told) if isinstance(told, dict) else told
            message = error.get("message", error) if isinstance(error, dict) else error
        except ValueError:
            message = response.text
        return self._plain(message)

    def _plain(self, words: Any) -> str:
        """One short line without the key."""
        return " ".join(self.masked(str(words)).split())[:300] or type(words).__name__

    def masked(self, text: str, signs: int = 1) -> str:
        """A text of the server without the key, if that has so many signs."""
        return text.replace(self.key, "***") if len(self.key) >= signs else text


def failure_kind(problem: str) -> Literal["error", "overlong"]:
    """Whether a server's words of refusal mean the length of the prompt."""
    return "overlong" if any(words in problem.lower() for words in TOO_LONG) else "error"


def pause(tries: int) -> float:
    """Seconds before the next try: doubled each time, somewhere in the upper half, so that clients spread out."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (min(tries, 30) - 1)) * random.uniform(0.5, 1.0)


def _retry_after(value: str) -> float | None:
    """The seconds of a Retry-After header, which may be a number or a date; None where there is neither."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
