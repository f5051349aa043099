"""A server of a fleet: what it must be able to do, and how it fares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lpd_core.errors import Interrupted
from lpd_core.samplers.server import Body


class Answering(Protocol):
    """What a fleet is made of; `Server` is one."""

    url: str

    def models(self) -> list[str] | None:
        """The models it lists; None where it does not tell. Raises `Interrupted` when it cannot be asked."""
        ...

    def not_served(self, model: str, words: str = "") -> Interrupted:
        """The error for a model that it does not have."""
        ...

    async def probe(self, name: str) -> None:
        """Return when it can be asked for the model; raises a `Fault` that says why not."""
        ...

    async def post(self, path: str, body: Body, read: Callable[[Any], Any]) -> Any:
        """What `read` makes of its answer; raises a `Fault` where there is none."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(eq=False)
class Replica:
    """A server of the fleet and how it fares. `lost` says why it is left out, empty while it is not; `busy` counts the
    seconds in which it had a request under way, `failures` its tries that had to be asked again, `redone` its answers to
    what another server had failed. `probe_at` is when it is asked whether it is back: asks may end before."""

    server: Answering
    in_flight: int = 0
    given: int = 0
    answered: int = 0
    tokens: int = 0
    failures: int = 0
    redone: int = 0
    busy: float = 0.0
    lost: str = ""
    held: str = ""
    held_until: float = 0.0
    pauses: int = 0
    probe_at: float = 0.0
    faults_in_a_row: int = 0
    since: float = 0.0

    def places(self, most: int) -> int:
        """How much it is trusted with: one request after a pause, until it answers that."""
        return 1 if self.pauses else most

    @property
    def tokens_per_second(self) -> float:
        """Tokens that came out of it a second of work."""
        return self.tokens / self.busy if self.busy else 0.0

    def begin(self, now: float) -> None:
        """A request goes out."""
        if not self.in_flight:
            self.since = now
        self.in_flight += 1
        self.given += 1

    def end(self, now: float) -> None:
        """A request has come back, well or not."""
        self.busy += now - self.since
        self.since = now
        self.in_flight -= 1
