"""The resident process: takes one request a connection, answers in JSON lines, leaves when nobody asks.

Its lock tells who is alive, and is held to the end; the socket is bound before anything is loaded. A request that
fails is answered with one line and costs no other; an asker who is gone ends the work for him.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lpd_core.errors import LpdError, UserError
from lpd_core.resident.place import Place
from lpd_core.store import Store

Answer = Iterator[Mapping[str, Any]]
LARGEST_REQUEST = 1 << 26  # bytes
PATIENCE_SECONDS = 10.0  # for an asker who neither sends nor reads
TAKEOVER_SECONDS = 5.0  # for a process before this one to let go of the lock


def serve(store: Store, place: Place, idle: float) -> None:
    """Answer requests of the place's kind until none has come for `idle` seconds; at once when another does."""
    place.make()
    with open(place.lock, "a+", encoding="ascii") as lock:
        if not _take(lock):
            return
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        listener = _listen(place)
        listener.settimeout(idle)
        try:
            _serve(listener, OPERATIONS[place.kind](store))
        finally:
            # Gone before the lock is free: who finds no socket starts another process.
            place.socket.unlink(missing_ok=True)
            listener.close()


def _take(lock) -> bool:
    give_up = time.monotonic() + TAKEOVER_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.02)


def _listen(place: Place) -> socket.socket:
    place.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the socket is born as 0600
    try:
        listener.bind(str(place.socket))
    finally:
        os.umask(before)
    listener.listen(64)
    return listener


def _serve(listener: socket.socket, answer: Callable[[Mapping[str, Any]], Answer]) -> None:
    while True:
        try:
            channel, _ = listener.accept()
        except TimeoutError:
            return
        with channel:
            channel.settimeout(PATIENCE_SECONDS)
            try:
                _answer(channel, answer)
            except (OSError, ValueError) as cause:  # the asker is gone, silent or speaks no JSON
                print(f"dropped a request: {cause}", file=sys.stderr, flush=True)


def _answer(channel: socket.socket, answer: Callable[[Mapping[str, Any]], Answer]) -> None:
    request = json.loads(_read_line(channel))
    lines = answer(request)
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except Exception as cause:
            if not isinstance(cause, LpdError):
                traceback.print_exc()
            told = {"error": _in_one_line(cause), "kind": type(cause).__name__, "done": True}
            channel.sendall(json.dumps(told).encode() + b"\n")
            return
        channel.sendall(json.dumps(line).encode() + b"\n")


def _read_line(channel: socket.socket) -> bytes:
    parts, size = [], 0
    while size <= LARGEST_REQUEST:
        part = channel.recv(1 << 16)
        parts.append(part)
        size += len(part)
        if not part or part.endswith(b"\n"):
            return b"".join(parts)
    raise ValueError(f"a request of more than {LARGEST_REQUEST:,} bytes")


def _in_one_line(cause: Exception) -> str:
    text = " ".join(str(cause).split())
    if isinstance(cause, LpdError):
        return text
    if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
        return "memory does not suffice; wait until the stage at work has ended, or choose a smaller model"
    return f"{type(cause).__name__}: {text}"


def embed_operation(store: Store) -> Callable[[Mapping[str, Any]], Answer]:
    """Answers {"op": "embed", "texts", "embedder"} with one line {"vectors", "done"}.

    The embedders asked for stay loaded. Questions are not kept: the cache lies in a folder that goes with the
    process."""
    from lpd_core.embedding import SentenceEmbedder

    scratch = tempfile.TemporaryDirectory(prefix="lpd-embed-")
    known: dict[str, SentenceEmbedder] = {}

    def answer(request: Mapping[str, Any]) -> Answer:
        if request.get("op") != "embed":
            raise UserError(f"the resident embed process has no operation {request.get('op')!r}")
        name = str(request["embedder"])
        if name not in known:
            known[name] = SentenceEmbedder(name, Path(scratch.name))
        yield {"vectors": known[name].embed([str(text) for text in request["texts"]]).tolist(), "done": True}

    return answer


OPERATIONS: Mapping[str, Callable[[Store], Callable[[Mapping[str, Any]], Answer]]] = {
    "embed": embed_operation
}
