"""An event loop whose clock jumps to the next thing that is due, so that hours of waiting take seconds.

Threads that ask the loop for work are waited for in real time: the clock stands still until they wait too.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from dataclasses import dataclass

POLL_SECONDS = 0.001


@dataclass
class Clock:
    """Simulated seconds; `settled` tells that every thread waits for an answer."""

    settled: Callable[[], bool]
    now: float = 0.0


class Jumping(selectors.DefaultSelector):
    """Instead of waiting for a timeout it moves the clock on."""

    def __init__(self, clock: Clock):
        super().__init__()
        self.clock = clock

    def select(self, timeout: float | None = None) -> list:
        """What is ready, now or after a jump."""
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)
        if not self.clock.settled():
            return super().select(POLL_SECONDS)
        self.clock.now += timeout
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on a simulated clock."""

    def __init__(self, clock: Clock):
        super().__init__(Jumping(clock))
        self.clock = clock

    def time(self) -> float:
        """Simulated seconds."""
        return self.clock.now
