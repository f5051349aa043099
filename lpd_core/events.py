"""Typed progress events, written as JSON lines to a run's `events.jsonl` and read by whoever watches.

Observers see events; the loop never asks them anything back.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from lpd_core.errors import LpdError


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage of an iteration begins; `total` counts its units of work (`unit`), `done` those found finished.
    Several processes may share a stage; each reports its own `shard`."""

    iteration: int
    stage: str
    total: int
    unit: str
    done: int = 0
    shard: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units finished so far, with what can be told of them (tokens, seconds, reasons)."""

    iteration: int
    stage: str
    done: int
    total: int
    detail: dict[str, Any] = field(default_factory=dict)
    shard: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of a training or stage metric at a step."""

    iteration: int
    stage: str
    step: int
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage ended with its result committed; `summary` holds the numbers shown to people."""

    iteration: int
    stage: str
    seconds: float
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The run went to another state (queued, running, awaiting_review, finished, failed, stopped, interrupted)."""

    status: str
    iteration: int | None = None
    stage: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know that does not stop the run."""

    iteration: int
    stage: str
    message: str


@dataclass(frozen=True, slots=True)
class ReplicaSeen:
    """What one replica of the model (an actor on a node of a cluster, a server of a fleet) has done so far in a stage,
    told when it changed and at most every second or so.

    `state` is working, idle or lost; `pieces` are the chunks or requests (`unit`) it finished, `lost` those it had
    begun or kept when it was lost, `redone` those it did that another had lost; `tokens` came out of it in `seconds`
    at work. `role` is the operator it serves, where replicas serve different ones."""

    iteration: int
    stage: str
    replica: str
    node: str = ""
    role: str = ""
    state: str = "working"
    pieces: int = 0
    unit: str = "chunks"
    tokens: int = 0
    seconds: float = 0.0
    lost: int = 0
    redone: int = 0


LARGEST = 2**53
"""Whole numbers above are no count of anything here, and no float holds them exactly."""

Event = StageStarted | Progress | Measured | StageFinished | StatusChanged | Warned | ReplicaSeen
KINDS: dict[str, type] = {kind.__name__: kind for kind in Event.__args__}


def to_line(event: Event, at: float) -> str:
    """One JSON line: the event's fields, its kind and `at`, seconds since the epoch."""
    return json.dumps({"at": at, "kind": type(event).__name__, **asdict(event)}, ensure_ascii=False)


def from_line(line: str) -> tuple[float, Event]:
    """The time and event of one line. Raises `LpdError` naming the line if it is torn, of unknown kind or holds
    other values than such an event has."""
    try:
        fields = json.loads(line)
        at, kind = float(fields.pop("at")), KINDS[fields.pop("kind")]
        if not math.isfinite(at) or not all(_fits(kind, name, value) for name, value in fields.items()):
            raise ValueError("another value than such an event has")
        return at, kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as cause:
        raise LpdError(f"not an event line: {line[:120]!r}") from cause


TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "int | None": (int, type(None)),
    "str | None": (str, type(None)),
    "dict[str, Any]": (dict,),
}
"""What a field's annotation allows of JSON's values."""


def _fits(kind: type, name: str, value: Any) -> bool:
    allowed = TYPES[kind.__annotations__[name]]
    if isinstance(value, int) and abs(value) > LARGEST:
        return False
    return isinstance(value, allowed) and not isinstance(value, bool)
