"""Asking a resident process: it is started when there is none, and started anew when it has died."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lpd_core import errors
from lpd_core.config import PROJECT
from lpd_core.embedding import HashEmbedder
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.resident.place import Place
from lpd_core.store import Store
from lpd_core.types import Message

START_SECONDS = 30.0
EMBED_SECONDS = 120.0
CHAIN_SECONDS = 600.0  # loading a large model takes minutes
ATTEMPTS = 2  # a process may leave, or be killed, between two questions


def embed(
    store: Store, texts: Sequence[str], embedder: str, seconds: float = EMBED_SECONDS
) -> list[list[float]]:
    """Unit vectors of the texts by the embedder of that name (as `cluster.embedder` names it), in their order.

    The first call after a pause loads the model, some seconds; later ones take milliseconds. Raises `UserError`
    when there is no such embedder, `Interrupted` when nothing came back within `seconds`."""
    if not texts:
        return []
    if embedder == "hash":  # needs no model, so no process either
        return HashEmbedder().embed(texts).tolist()
    request = {"op": "embed", "texts": list(texts), "embedder": embedder}
    return next(ask(store, "embed", request, seconds))["vectors"]


@dataclass(frozen=True, slots=True)
class Step:
    """A text of the chain so far. `role` is draft (y1), principle (z) or refine (y2); `finish_reason` and `tokens`
    come when it is whole, `error` where it failed."""

    role: str
    text: str
    finish_reason: str | None
    tokens: int
    error: str


def chain(
    store: Store,
    run_id: str,
    iteration: int,
    messages: Sequence[Message],
    principle: str | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    seconds: float = CHAIN_SECONDS,
) -> Iterator[Step]:
    """x -> y1 -> z -> y2 by M_t of a run, by the chats of its held-out measurement, as the texts grow.

    A `principle` given stands as z. Temperature 0 is greedy. Closing the iterator ends the work. Raises
    `UserError` where there is no such model, `Interrupted` when it was not done within `seconds`."""
    request = {
        "op": "chain",
        "run_id": run_id,
        "iteration": iteration,
        "messages": [dict(message) for message in messages],
        "principle": principle,
        "temperature": temperature,
        "seed": seed,
    }
    for line in ask(store, "model", request, seconds):
        yield Step(**line)


def ask(store: Store, kind: str, request: Mapping[str, Any], seconds: float) -> Iterator[dict[str, Any]]:
    """The lines of the answer as they come, without the one that says `done`.

    Closing the iterator early ends the work. Raises what the process tells as an error, and `Interrupted` when it
    died at work or was not done within `seconds`."""
    place = Place(store.home, kind)
    place.make()
    give_up = time.monotonic() + seconds
    for attempt in range(1, ATTEMPTS + 1):
        answered = False
        try:
            with _connected(store, place, give_up) as channel:
                channel.sendall(json.dumps(request).encode() + b"\n")
                for line in _lines(channel, give_up):
                    answered = True
                    if "kind" in line:
                        raise _error_of(line)
                    if "done" in line:
                        return
                    yield line
        except TimeoutError:
            raise Interrupted(
                f"the resident {kind} process was not done within {seconds:g} s; try again, and see {place.log}"
            ) from None
        except (ConnectionError, EOFError) as cause:
            if answered or attempt == ATTEMPTS:
                raise Interrupted(
                    f"the resident {kind} process ended at work; the machine may have run out of memory; "
                    f"see {place.log}"
                ) from cause


def _connected(store: Store, place: Place, give_up: float) -> socket.socket:
    """A connection to the place's process, which is started if nobody answers there."""
    started: subprocess.Popen | None = None
    start_by = time.monotonic() + START_SECONDS
    while True:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel.settimeout(max(0.01, give_up - time.monotonic()))
            channel.connect(str(place.socket))
            return channel
        except (FileNotFoundError, ConnectionRefusedError):
            channel.close()
        except PermissionError as cause:
            channel.close()
            raise UserError(
                f"the resident {place.kind} process of {place.home} is another user's; point $LPD_HOME at a "
                "folder of your own"
            ) from cause
        if started is None or (started.poll() is not None and not place.process_id()):
            if started is not None and started.returncode:
                raise Interrupted(f"the resident {place.kind} process did not start; see {place.log}")
            started = _start(store, place)
        if time.monotonic() > give_up:
            raise TimeoutError
        if time.monotonic() > start_by:
            raise Interrupted(
                f"the resident {place.kind} process did not start within {START_SECONDS:.0f} s; see {place.log}"
            )
        time.sleep(0.03)


def _start(store: Store, place: Place) -> subprocess.Popen:
    """Start the process, detached from this one and its terminal. It sees no network: what it loads is here."""
    environment = {
        **os.environ,
        "LPD_HOME": str(store.home),
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with open(place.log, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lpd_core.resident", place.kind],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def _lines(channel: socket.socket, give_up: float) -> Iterator[dict[str, Any]]:
    rest = bytearray()
    while True:
        channel.settimeout(max(0.01, give_up - time.monotonic()))
        data = channel.recv(1 << 16)
        if not data:
            raise EOFError
        *whole, tail = data.split(b"\n")
        for part in whole:
            yield json.loads(rest + part)
            rest.clear()
        rest += tail


def _error_of(line: Mapping[str, Any]) -> LpdError:
    """The error that the process told, as one of ours."""
    kind = getattr(errors, str(line.get("kind")), None)
    is_ours = isinstance(kind, type) and issubclass(kind, LpdError)
    return (kind if is_ours else LpdError)(str(line["error"]))
