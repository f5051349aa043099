"""An HTTP server of the OpenAI protocol that answers, or misbehaves, as a script tells it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any, dict[str, str]]
"""Status, body (JSON, or bytes as they are; None cuts the connection) and headers."""


def said(body: dict, texts: list[str] | None = None, reason: str = "stop") -> Reply:
    """A proper answer: to a chat its last turn in capitals, with the seed; n of them where asked."""
    last = body["messages"][-1]["content"] if "messages" in body else str(body["prompt"][-1])
    texts = texts or [f"{last.upper()} {body.get('seed', n)}" for n in range(body.get("n", 1))]
    choices = [
        {"index": n, "message": {"role": "assistant", "content": text}, "text": text, "finish_reason": reason}
        for n, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 7, "completion_tokens": 3 * len(texts)}
    return 200, {"choices": choices, "usage": usage}, {}


def fail(status: int, message: str = "no", **headers: str) -> Reply:
    """An error as such servers tell it."""
    return status, {"error": {"message": message}}, {k.replace("_", "-"): v for k, v in headers.items()}


class Script:
    """What the server does: `reply(body, n)` for the n-th request (from 0) of any; keeps what it was asked."""

    def __init__(self, reply: Callable[[dict, int], Reply], models: list[str], slow: float = 0.0):
        self.reply, self.models, self.slow = reply, models, slow
        self.bodies: list[dict] = []
        self.headers: list[dict] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def answer(self, body: dict, headers: dict) -> Reply:
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.slow)
            return self.reply(body, number)
        finally:
            with self.lock:
                self.at_once -= 1


@contextmanager
def serving(
    reply: Callable[[dict, int], Reply], models: tuple[str, ...] = ("tiny",), slow: float = 0.0, port: int = 0
):
    """The script and the base address of its server while the block lasts."""
    script = Script(reply, list(models), slow)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send(200, {"data": [{"id": name} for name in script.models]}, {})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send(*script.answer(body, {k.lower(): v for k, v in self.headers.items()}))

        def send(self, status: int, body: Any, headers: dict[str, str]):
            if body is None:
                self.close_connection = True
                self.wfile.write(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"choices": [')
                return
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    class Quiet(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_):
            pass  # clients that have had enough hang up

    server = Quiet(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield script, f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    with serving(lambda body, n: said(body), (sys.argv[2],), port=int(sys.argv[1])):
        threading.Event().wait()
