"""A server started for the weights of one stage by the command of `sampler.serve`, and ended with the stage."""

from __future__ import annotations

import atexit
import shlex
import socket
import subprocess
import sys
import time

from lpd_core.config import PROJECT
from lpd_core.errors import Interrupted, UserError
from lpd_core.model_config import SamplerConfig
from lpd_core.samplers.server import Server


def command_of(template: str, model: str, name: str, port: int) -> list[str]:
    """The words of the command with its places filled in; no shell reads them."""
    filled = {"{model}": model, "{name}": name, "{port}": str(port)}
    words = shlex.split(template)
    for place, value in filled.items():
        words = [word.replace(place, value) for word in words]
    return words


def start_server(model: str, name: str, settings: SamplerConfig) -> Server:
    """The running server, once it lists its models. It ends with this process.

    Raises `UserError` when the command cannot be run or ends at once, `Interrupted` when it is not ready in time."""
    port = free_port()
    command = command_of(settings.serve, model, name, port)
    keeper = subprocess.Popen(
        [sys.executable, "-m", "lpd_core.samplers.keeper", *command], stdin=subprocess.PIPE, cwd=PROJECT
    )
    atexit.register(_end, keeper)
    server = Server(f"http://127.0.0.1:{port}/v1", settings)
    give_up = time.monotonic() + settings.serve_seconds
    while time.monotonic() < give_up:
        if keeper.poll() is not None:
            raise UserError(
                f"sampler.serve ended with code {keeper.returncode} before the server answered; its words are in the "
                f"stage's log (the command: {shlex.join(command)})"
            )
        try:
            server.models(seconds=5)
            return server
        except Interrupted:
            time.sleep(0.25)
    raise Interrupted(
        f"sampler.serve did not answer within {settings.serve_seconds:.0f} s (sampler.serve_seconds)"
    )


def _end(keeper: subprocess.Popen) -> None:
    """Close the pipe, at which the keeper ends the server, and wait for both."""
    keeper.stdin.close()
    try:
        keeper.wait(25)
    except subprocess.TimeoutExpired:
        keeper.kill()


def free_port() -> int:
    """A port of this machine that nobody listens at, for now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
