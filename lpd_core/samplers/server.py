"""A server of the OpenAI protocol, asked with patience: so many requests at once, tried again when they fail.

Three ways to fail are told apart. A request that the server refuses or cannot answer, after all its tries, is a
`Failure` of its own. A server that is gone or that limits the rate is waited for; past the configured patience, or when
every request fails, the run is interrupted with the reason. A wrong key or model interrupts at once.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx2

from lpd_core.errors import Interrupted
from lpd_core.model_config import SamplerConfig

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; doubled at each try
FEWEST_FAILURES = 16  # requests that fail one after the other before the server is given up
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


class Server:
    """The server at `url`, with the key in the environment variable that the settings name, if it is set."""

    def __init__(self, url: str, settings: SamplerConfig):
        self.url = url.rstrip("/")
        self.settings = settings
        self.key = os.environ.get(settings.key_variable, "")
        self.held_until = 0.0  # rate limits hold all requests back
        self.last_answer = time.monotonic()
        self.failed_in_a_row = 0
        self.answered_body: Body | None = None
        # Loading certificates takes a third of a second: once, and not at all where nothing is encrypted.
        self.verify = httpx2.create_ssl_context() if self.url.startswith("https:") else False

    def models(self, seconds: float = 10.0) -> list[str] | None:
        """The names of the models it serves; None where it does not tell.

        Raises `Interrupted` when it does not answer, is not ready or refuses the key."""
        try:
            response = httpx2.get(
                f"{self.url}/models", headers=self._headers(), timeout=seconds, verify=self.verify
            )
            self._refuse_key(response)
            if response.status_code in (404, 405, 501):
                return None
            if response.status_code != 200:
                raise ValueError(f"HTTP {response.status_code}: {self._words(response)}")
            return [str(model["id"]) for model in response.json()["data"]]
        except (httpx2.RequestError, httpx2.InvalidURL) as cause:
            raise Interrupted(f"no server answers at {self.url} ({self._plain(cause)})") from cause
        except (ValueError, KeyError, TypeError) as cause:
            raise Interrupted(
                f"{self.url}/models does not list models ({self._plain(cause)}): sampler.url has to be the base address "
                "of an OpenAI-compatible server, which mostly ends in /v1"
            ) from cause

    def ask(self, path: str, bodies: Sequence[Body], read: Callable[[Any], Any]) -> list[Any]:
        """What `read` makes of the JSON answer to each body, or its `Failure`; `read` raises `ValueError` where an
        answer is not what it should be, and the request is tried again.

        Raises `Interrupted` when the server is gone for good or refuses the key or the model."""
        return asyncio.run(self._ask_all(path, bodies, read))

    async def _ask_all(self, path: str, bodies: Sequence[Body], read: Callable[[Any], Any]) -> list[Any]:
        answers: list[Any] = [None] * len(bodies)
        waiting = iter(range(len(bodies)))
        self.last_answer = time.monotonic()
        limits = httpx2.Limits(max_connections=self.settings.concurrency)
        timeout = httpx2.Timeout(self.settings.timeout, connect=10.0, pool=None)
        async with httpx2.AsyncClient(
            headers=self._headers(), limits=limits, timeout=timeout, verify=self.verify
        ) as client:

            async def work(numbers: Iterator[int]) -> None:
                for number in numbers:
                    answers[number] = await self._ask_one(client, path, bodies[number], read)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.settings.concurrency, len(bodies))):
                        group.create_task(work(waiting))
            except* Interrupted as interruptions:
                raise interruptions.exceptions[0] from None
            if self.failed_in_a_row and self.answered_body is not None:
                await self._prove(client, path, self.answered_body, read)
        return answers

    async def _prove(
        self, client: httpx2.AsyncClient, path: str, body: Body, read: Callable[[Any], Any]
    ) -> None:
        """Tell requests that fail by themselves from a server that broke down while the last ones were under way: what it
        answered before, it must answer again."""
        answer = await self._ask_one(client, path, body, read)
        if isinstance(answer, Failure):
            raise Interrupted(f"{self.url} fails what it answered before: {answer.message}")

    async def _ask_one(
        self, client: httpx2.AsyncClient, path: str, body: Body, read: Callable[[Any], Any]
    ) -> Any:
        faults = pauses = 0
        while True:
            await self._held()
            try:
                response = await client.post(f"{self.url}{path}", json=dict(body))
                if response.status_code == 200:
                    answer = read(response.json())
                    self.last_answer, self.failed_in_a_row = time.monotonic(), 0
                    self.answered_body = body
                    return answer
                self._refuse_key(response)
                problem = f"HTTP {response.status_code}: {self._words(response)}"
                if response.status_code == 404:
                    raise self.not_served(str(body.get("model", "")), problem)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as cause:
                self._wait_for(f"no server answers at {self.url} ({self._plain(cause)})")
                pauses += 1
                await asyncio.sleep(_pause(pauses))
                continue
            except httpx2.RequestError as cause:
                problem = f"the connection broke ({self._plain(cause)})"
            except ValueError as cause:
                problem = f"the answer is not what it should be ({self._plain(cause)})"
            else:
                if response.status_code in (400, 413, 422):
                    return self._refused(problem)
                if self._is_limited(response):
                    pauses += 1
                    self._hold(response, pauses)
                    continue
            faults += 1
            if faults > self.settings.retries:
                return self._given_up(problem)
            await asyncio.sleep(_pause(faults))

    async def _held(self) -> None:
        while (left := self.held_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _is_limited(self, response: httpx2.Response) -> bool:
        return response.status_code == 429 or (
            response.status_code == 503 and "retry-after" in response.headers
        )

    def _hold(self, response: httpx2.Response, pauses: int) -> None:
        """Keep every request back for as long as the server asks, or for a growing pause."""
        self._wait_for(f"{self.url} limits the rate: {self._words(response)}")
        asked = _retry_after(response.headers.get("retry-after", ""))
        seconds = _pause(pauses) if asked is None else asked + random.uniform(0, 0.1 * asked)
        self.held_until = max(self.held_until, time.monotonic() + seconds)

    def _wait_for(self, what: str) -> None:
        """Raise when nothing was answered for longer than the patience."""
        if time.monotonic() - self.last_answer > self.settings.patience:
            raise Interrupted(f"{what}; waited {self.settings.patience:.0f} s (sampler.patience)")

    def _refused(self, problem: str) -> Failure:
        """A request that would be refused again; told of the whole server while it has answered none."""
        self.last_answer = time.monotonic()
        if _kind(problem) == "error" and self.answered_body is None:
            self._count_failure(problem)
        return Failure(_kind(problem), problem)

    def _given_up(self, problem: str) -> Failure:
        self._count_failure(problem)
        return Failure("error", f"{problem}; tried {self.settings.retries + 1} times")

    def _count_failure(self, problem: str) -> None:
        self.failed_in_a_row += 1
        if self.failed_in_a_row >= max(self.settings.concurrency, FEWEST_FAILURES):
            raise Interrupted(
                f"{self.failed_in_a_row} requests in a row failed at {self.url}; the last: {problem}"
            )

    def _refuse_key(self, response: httpx2.Response) -> None:
        if response.status_code not in (401, 403):
            return
        what = f"the key in ${self.settings.key_variable}" if self.key else "a request without a key"
        raise Interrupted(
            f"{self.url} refuses {what} (HTTP {response.status_code}: {self._words(response)}); set "
            f"${self.settings.key_variable} and resume"
        )

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
        text = " ".join(str(words).split())[:300] or type(words).__name__
        return text.replace(self.key, "***") if self.key else text


def _kind(problem: str) -> Literal["error", "overlong"]:
    return "overlong" if any(words in problem.lower() for words in TOO_LONG) else "error"


def _pause(tries: int) -> float:
    """Seconds before the next try: doubled each time, somewhere in the upper half, so that clients spread out."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)


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
