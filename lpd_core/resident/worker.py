"""The resident process: takes one request a connection, answers in JSON lines and leaves when nobody asks.

Its lock tells who is alive, and is held to the end; the socket is bound before anything is loaded. A request that
fails is answered with one line and costs no other; an asker who is gone ends the work for him.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lpd_core.errors import LpdError
from lpd_core.resident.place import Place
from lpd_core.store.locks import acquire

Send = Callable[[Mapping[str, Any]], None]
LARGEST_REQUEST = 1 << 26  # bytes
PATIENCE_SECONDS = 10.0  # for an asker who neither sends nor reads
TAKEOVER_SECONDS = 5.0  # for a process before this one to let go of the lock
LOOK_SECONDS = 2.0  # between two looks at whether to leave


class Gone(Exception):
    """The asker has left; raised by `send` to end the work for him."""


class Operation(Protocol):
    """What a kind of resident process does."""

    def __call__(self, request: Mapping[str, Any], send: Send) -> None:
        """Answer one request by sending lines."""
        ...

    def patience(self, idle: float) -> float:
        """How many seconds to stay without work, at most `idle`."""
        ...


def serve(place: Place, operation: Operation, idle: float) -> None:
    """Answer requests until none has come for `idle` seconds (or less, as the operation says); leaves at once where
    another process of the kind is alive."""
    place.make()
    with open(place.lock, "a+", encoding="ascii") as lock:
        if not acquire(lock, TAKEOVER_SECONDS):
            return
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        listener = _listen(place)
        try:
            _serve(listener, operation, idle)
        finally:
            # Gone before the lock is free: who finds no socket starts another process.
            place.socket.unlink(missing_ok=True)
            listener.close()


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


def _serve(listener: socket.socket, operation: Operation, idle: float) -> None:
    asked = time.monotonic()
    while (left := asked + operation.patience(idle) - time.monotonic()) > 0:
        listener.settimeout(min(left, LOOK_SECONDS))
        try:
            channel, _ = listener.accept()
        except TimeoutError:
            continue
        with channel:
            channel.settimeout(PATIENCE_SECONDS)
            try:
                _answer(channel, operation)
            except (Gone, OSError, ValueError) as cause:  # the asker has left, is silent or speaks no JSON
                print(f"dropped a request: {type(cause).__name__}: {cause}", file=sys.stderr, flush=True)
        asked = time.monotonic()


def _answer(channel: socket.socket, operation: Operation) -> None:
    def send(line: Mapping[str, Any]) -> None:
        try:
            channel.sendall(json.dumps(line).encode() + b"\n")
        except OSError as cause:
            raise Gone(str(cause)) from cause

    request = json.loads(_read_line(channel))
    try:
        operation(request, send)
    except Gone:
        raise
    except Exception as cause:
        if not isinstance(cause, LpdError):
            traceback.print_exc()
        send({"error": _in_one_line(cause), "kind": type(cause).__name__})
        return
    send({"done": True})


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
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
