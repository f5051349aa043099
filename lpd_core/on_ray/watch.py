"""The books of who does what on a cluster: chunks begun, finished, lost with their node and done again.

Workers tell it from where they are, the driver looks. It knows nothing of Ray; in a run it is one small actor beside
the driver.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from lpd_core.errors import LpdError
from lpd_core.events import ReplicaSeen, Warned

SLOW_SECONDS = 60.0
SLOW_TIMES = 4.0
"""A chunk at work for longer than this many medians of its step, and longer than SLOW_SECONDS, is told."""


@dataclass
class Replica:
    """One worker process as it was last heard of. `at_work` and `finished` hold chunk numbers, the former with when they
    were begun."""

    name: str
    node: str
    node_id: str
    step: str
    is_lost: bool = False
    at_work: dict[int, float] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    redone: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def state(self) -> str:
        """As `ReplicaSeen` tells it."""
        return "lost" if self.is_lost else "working" if self.at_work else "idle"


class Watch:
    """Hears `began` and `ended` from the workers; `look` says what changed since the last look."""

    def __init__(self, iteration: int, stage: str):
        self.iteration, self.stage = iteration, stage
        self.replicas: dict[str, Replica] = {}
        self.holders: dict[tuple[str, int], Replica] = {}
        self.told: dict[str, ReplicaSeen] = {}
        self.warned: set[tuple[str, int]] = set()
        self.durations: dict[str, list[float]] = {}
        self.since: float | None = None
        self.error: LpdError | None = None

    def failed(self, error: LpdError) -> None:
        """A worker cannot go on; the first reason counts."""
        self.error = self.error or error

    def failure(self) -> LpdError | None:
        """What the first worker that could not go on had to say."""
        return self.error

    def first_began(self) -> float | None:
        """When the first chunk was begun, in seconds since the epoch; the models were there by then."""
        return self.since

    def ready(self, name: str, node: str, node_id: str, step: str) -> None:
        """A worker has its model and waits for chunks."""
        self.replicas.setdefault(name, Replica(name, node, node_id, step))

    def began(self, name: str, chunk: int) -> None:
        """A worker begins a chunk. One that another had is one that was lost: Ray gives none out twice otherwise."""
        self.since = self.since or time.time()
        replica = self.replicas[name]
        before = self.holders.get((replica.step, chunk))
        if before is not None:
            replica.again.add(chunk)
            before.lost.add(chunk)
            if before is not replica and before.at_work.pop(chunk, None) is not None:
                before.is_lost = True
        self.holders[replica.step, chunk] = replica
        replica.at_work[chunk] = time.monotonic()

    def ended(self, name: str, chunk: int, tokens: int) -> None:
        """A worker has done its step with a chunk."""
        replica = self.replicas[name]
        seconds = time.monotonic() - replica.at_work.pop(chunk, time.monotonic())
        replica.finished.add(chunk)
        replica.redone += chunk in replica.again
        replica.again.discard(chunk)
        replica.tokens += tokens
        replica.seconds += seconds
        self.durations.setdefault(replica.step, []).append(seconds)

    def look(self, nodes: Collection[str]) -> list[ReplicaSeen | Warned]:
        """What is new, given the ids of the nodes that are alive."""
        for replica in self.replicas.values():
            if replica.node_id not in nodes and not replica.is_lost:
                replica.is_lost = True
                replica.lost.update(replica.at_work)
                replica.at_work.clear()
        seen = [self._seen(replica) for replica in self.replicas.values()]
        new = [each for each in seen if self.told.get(each.replica) != each]
        self.told.update({each.replica: each for each in new})
        return [*new, *self._slow()]

    def _seen(self, replica: Replica) -> ReplicaSeen:
        return ReplicaSeen(
            self.iteration,
            self.stage,
            replica.name,
            node=replica.node,
            role=replica.step,
            state=replica.state,
            pieces=len(replica.finished),
            tokens=replica.tokens,
            seconds=round(replica.seconds, 3),
            lost=len(replica.lost),
            redone=replica.redone,
        )

    def _slow(self) -> list[Warned]:
        now, found = time.monotonic(), []
        for replica in self.replicas.values():
            median = statistics.median(self.durations.get(replica.step) or [0.0])
            for chunk, since in replica.at_work.items():
                is_slow = median and now - since > max(SLOW_SECONDS, SLOW_TIMES * median)
                if is_slow and (replica.name, chunk) not in self.warned:
                    self.warned.add((replica.name, chunk))
                    told = f"{replica.name} on {replica.node} has had chunk {chunk} for {now - since:.0f} s; others take"
                    found.append(Warned(self.iteration, self.stage, f"{told} {median:.0f} s (median)"))
        return found
