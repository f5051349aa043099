"""How far a run is, from its events: done, total, rates and the time left of each stage, and the loss.

Events are taken one by one in the order they were written, so that a watcher reads each byte of a long run once.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lpd_core.events import (
    Event,
    Measured,
    Progress,
    ReplicaSeen,
    StageFinished,
    StageStarted,
    StatusChanged,
    Warned,
)

POINTS = 2000
"""Most points kept of a loss curve; above, every second one is dropped."""
WARNINGS = 100
"""Most warnings kept, the newest."""
REPLICAS = 1000
"""Most replicas kept of a stage, the last that were heard of."""
STRAGGLES = 0.5
"""A replica below this share of the others' median tokens a second is a straggler."""
SILENT_SECONDS = 300.0
"""Without an event for this long a stage is said to make no progress,"""
SILENT_TIMES = 4.0
"""unless it is slow by nature: this many times its longest pause so far are always allowed."""

Key = tuple[int, str]


@dataclass
class Shard:
    """One process's part of a stage. `found` units were finished before it began; `work` is the seconds it has
    spent on the others, `tokens` what came out of the model."""

    total: int
    done: int
    since: float
    at: float
    found: int = 0
    work: float = 0.0
    tokens: float = 0.0
    tokens_rate: float | None = None

    def take(self, at: float, event: Progress) -> None:
        """Go on with what the process tells."""
        told = event.detail
        work = _number(told, "work", at - self.since if told else self.work)
        if work <= self.work:  # a chunk found committed: no work went into it
            self.found += event.done - self.done
        self.done, self.total, self.at, self.work = event.done, event.total, at, work
        self.tokens = _number(told, "tokens", 0.0)
        self.tokens_rate = _number(told, "tokens_per_second", None)

    @property
    def rate(self) -> float | None:
        """Units a second of its work; None before the first."""
        made = self.done - self.found
        return made / self.work if made > 0 and self.work > 0 else None


def _number(told: Mapping[str, Any], name: str, default: float | None) -> Any:
    """A number from an event's details, which hold whatever was written there."""
    value = told.get(name)
    return value if isinstance(value, int | float) else default


@dataclass
class StageProgress:
    """One stage of an iteration. `seconds` and `summary` are there once it has finished."""

    iteration: int
    stage: str
    unit: str = ""
    since: float = 0.0
    at: float = 0.0
    pause: float = 0.0
    shards: dict[int, Shard] = field(default_factory=dict)
    replicas: dict[str, ReplicaSeen] = field(default_factory=dict)
    seconds: float | None = None
    summary: dict = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Units finished by all processes."""
        return sum(shard.done for shard in self.shards.values())

    @property
    def total(self) -> int:
        """Units of all processes that have begun."""
        return sum(shard.total for shard in self.shards.values())

    @property
    def share(self) -> float:
        """The finished share, in [0, 1]."""
        if self.seconds is not None:
            return 1.0
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def rate(self) -> float | None:
        """Units a second, of all processes together; None before the first."""
        rates = [shard.rate for shard in self.shards.values() if shard.rate]
        return sum(rates) if rates else None

    @property
    def tokens_rate(self) -> float | None:
        """Tokens a second: sampled ones, or trained ones in the M-step."""
        rates = [
            shard.tokens_rate or shard.tokens / shard.work
            for shard in self.shards.values()
            if shard.work > 0 and (shard.tokens_rate or shard.tokens)
        ]
        return sum(rates) if rates else None

    def take_replica(self, event: ReplicaSeen) -> None:
        """Go on with what a replica tells."""
        self.replicas.pop(event.replica, None)
        self.replicas[event.replica] = event
        while len(self.replicas) > REPLICAS:
            del self.replicas[next(iter(self.replicas))]

    def stragglers(self) -> set[str]:
        """The replicas at work that are far slower than the others of their role."""
        rates = {
            name: replica.tokens / replica.seconds
            for name, replica in self.replicas.items()
            if replica.state != "lost" and replica.pieces and replica.seconds > 0
        }
        slow = set()
        for name, rate in rates.items():
            role = self.replicas[name].role
            others = [
                each for other, each in rates.items() if other != name and self.replicas[other].role == role
            ]
            if others and rate < STRAGGLES * statistics.median(others):
                slow.add(name)
        return slow

    def eta(self, now: float) -> float | None:
        """Seconds until the slowest process is through; None while its rate is not known, 0 once finished."""
        if self.seconds is not None:
            return 0.0
        left = []
        for shard in self.shards.values():
            if shard.done >= shard.total:
                continue
            rate = shard.rate or self.slowest_rate()
            if rate is None:
                return None
            left.append(max(0.0, (shard.total - shard.done) / rate - max(0.0, now - shard.at)))
        return max(left, default=None if not self.shards else 0.0)

    def slowest_rate(self) -> float | None:
        """The lowest rate of the processes that have one: what a process that has told nothing may do."""
        return min((shard.rate for shard in self.shards.values() if shard.rate), default=None)


@dataclass
class Curve:
    """A metric over steps, thinned evenly once it is long. Steps redone after a resume replace the earlier ones."""

    stride: int = 1
    points: list[tuple[int, float]] = field(default_factory=list)

    def take(self, step: int, value: float) -> None:
        """Add a step's value, where its turn it is."""
        while self.points and self.points[-1][0] >= step:
            self.points.pop()
        if (step - 1) % self.stride:
            return
        self.points.append((step, value))
        if len(self.points) > POINTS:
            self.stride *= 2
            self.points = [point for point in self.points if (point[0] - 1) % self.stride == 0]


@dataclass
class RunProgress:
    """A run so far: its stages in the order they began, the loss of each iteration, warnings, changes of state."""

    stages: dict[Key, StageProgress] = field(default_factory=dict)
    losses: dict[int, Curve] = field(default_factory=dict)
    warnings: deque[tuple[float, Warned]] = field(default_factory=lambda: deque(maxlen=WARNINGS))
    changes: deque[tuple[float, StatusChanged]] = field(default_factory=lambda: deque(maxlen=WARNINGS))
    at: float = 0.0
    latest: StageProgress | None = None
    """The stage that spoke last, by the order of the lines: a clock may be set back."""

    def take(self, at: float, event: Event) -> None:
        """Go on with one event, written `at` seconds since the epoch."""
        if isinstance(event, StageStarted | Progress | StageFinished | ReplicaSeen):
            self._take_stage(at, event)
        elif isinstance(event, Measured):
            if event.name == "loss":
                self.losses.setdefault(event.iteration, Curve()).take(event.step, event.value)
        elif isinstance(event, Warned):
            self.warnings.append((at, event))
        else:
            self.changes.append((at, event))
        self.at = at

    def _take_stage(self, at: float, event: StageStarted | Progress | StageFinished | ReplicaSeen) -> None:
        key = (event.iteration, event.stage)
        stage = self.stages.setdefault(key, StageProgress(*key, since=at, at=at))
        if isinstance(event, ReplicaSeen):
            stage.take_replica(event)
        elif isinstance(event, StageFinished):
            stage.seconds, stage.summary = event.seconds, event.summary
        elif isinstance(event, StageStarted):
            stage.unit = event.unit
            if event.shard in stage.shards:  # a resume: other replicas
                stage.replicas.clear()
            stage.shards[event.shard] = Shard(event.total, event.done, at, at, found=event.done)
        else:
            shard = stage.shards.setdefault(event.shard, Shard(event.total, 0, at, at))
            shard.take(at, event)
            stage.pause = max(stage.pause, at - stage.at)
        stage.at = at
        self.latest = stage

    def take_all(self, events: Iterable[tuple[float, Event]]) -> RunProgress:
        """Go on with many; returns itself."""
        for at, event in events:
            self.take(at, event)
        return self

    def silent_for(self, now: float) -> float | None:
        """Seconds without an event where that is suspiciously long for the stage at work, else None."""
        if not self.at:
            return None
        stage = self.latest
        allowed = max(SILENT_SECONDS, SILENT_TIMES * stage.pause if stage else 0.0)
        silent = now - self.at
        return silent if silent > allowed else None
