"""The E-step on 64 simulated servers: how busy they are with barriers between its steps, and without.

Stage, dispatcher, failover and prompts are those of a real run; only the servers are scripted: their answers take
seeded, simulated seconds (lengths from a log-normal distribution, stragglers, slow servers, one that is lost for a
while), and the clock jumps instead of waiting. `python -m bench.fleet`, `--help` for its sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.simulated_clock import Clock, SimulatedLoop
from lpd_core import e_step, jobs
from lpd_core.config import RunConfig, override, parse_config
from lpd_core.errors import Interrupted
from lpd_core.events import Progress
from lpd_core.execution import execution_of
from lpd_core.parts import echo_script
from lpd_core.samplers.fleet import Fleet
from lpd_core.samplers.openai import ServerSampler
from lpd_core.samplers.server import Fault, Gone
from lpd_core.stage import chunks_at_once
from lpd_core.store import Store, results

PREFILL_SECONDS, TOKEN_SECONDS = 0.15, 0.025  # of one request in a full batch
MEAN_TOKENS = {"draft": 200, "propose": 40, "refine": 220}
SPREAD = 0.5  # of the logarithm of a length
STRAGGLERS, STRAGGLING = 0.02, 4.0  # share of the requests, and how many times as long they take
SLOW_EVERY, SLOWNESS = 21, 2.0  # each 21st server takes twice as long
LOST = 7  # the server that is lost for a while


@dataclass(eq=False)
class ScriptedServer:
    """A server of a fleet whose answers take simulated seconds; lost between two of them."""

    number: int
    clock: Clock
    lost: tuple[float, float] = (-1.0, -1.0)
    slot_seconds: float = 0.0

    @property
    def url(self) -> str:
        """Its name."""
        return f"http://replica-{self.number}/v1"

    def models(self) -> None:
        """It does not tell."""

    def not_served(self, model: str, words: str = "") -> Interrupted:
        """Never raised: it serves every model."""
        return Interrupted(f"{self.url} does not serve {model}")

    async def probe(self, name: str) -> None:
        """It answers unless it is lost."""
        if self._is_lost():
            raise Gone(f"no server answers at {self.url}")

    async def post(self, path: str, body: dict[str, Any], read: Callable[[Any], Any]) -> Any:
        """The script's text after simulated seconds."""
        await self.probe("")
        tokens, seconds = self._cost(body)
        await asyncio.sleep(seconds)
        self.slot_seconds += seconds
        if self._is_lost():
            raise Fault(f"the connection to {self.url} broke")
        text = echo_script(body["messages"], body["seed"])
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return read({"choices": [choice], "usage": {"completion_tokens": tokens, "prompt_tokens": 300}})

    async def close(self) -> None:
        """Nothing to let go of."""

    def _is_lost(self) -> bool:
        return self.lost[0] <= self.clock.now < self.lost[1]

    def _cost(self, body: dict[str, Any]) -> tuple[int, float]:
        """Tokens and seconds of an answer, from its seed and the server's speed."""
        dice = random.Random(body["seed"])
        turns = len(body["messages"])
        role = "draft" if turns < 3 else "propose" if turns < 5 else "refine"
        tokens = max(8, round(MEAN_TOKENS[role] * dice.lognormvariate(-(SPREAD**2) / 2, SPREAD)))
        tokens = min(tokens, body["max_tokens"])
        slowness = SLOWNESS if self.number % SLOW_EVERY == 0 else 1.0
        straggling = STRAGGLING if dice.random() < STRAGGLERS else 1.0
        return tokens, (PREFILL_SECONDS + tokens * TOKEN_SECONDS) * slowness * straggling


@dataclass(eq=False)
class WatchedFleet(Fleet):
    """A fleet that counts the asks that wait for their answers."""

    waiting: int = field(default=0, init=False)

    async def _ask_all(self, *ask: Any) -> list[Any]:
        self.waiting += 1
        try:
            return await super()._ask_all(*ask)
        finally:
            self.waiting -= 1


@dataclass(frozen=True)
class Outcome:
    """What a simulated E-step came to. `utilisation` is the share of the servers' places, while they were not lost,
    in which a request was under way; `seconds` are simulated, `real_seconds` were spent here."""

    utilisation: float
    seconds: float
    requests: int
    redone: int
    candidates: int
    chunks_at_once: int
    real_seconds: float


def simulate(home: Path, servers: int, prompts: int, n: int, concurrency: int, **changes: Any) -> Outcome:
    """One E-step of the scripted model; `changes` are settings by their dotted names."""
    config = _config(home, servers, prompts, n, concurrency)
    config = override(config, [f"{name}={value}" for name, value in changes.items()])
    store = Store(home / "store")
    folder = jobs.create_run(store, config)
    at_once = min(chunks_at_once(config, "e_step"), -(-prompts // config.e_step.chunk_prompts))
    left = [-(-prompts // config.e_step.chunk_prompts)]
    clock = Clock(lambda: fleet.waiting >= min(at_once, left[0]) > 0)
    work = prompts * (1 + n) * 5.0 / (servers * concurrency)  # about as long as it takes
    scripted = [
        ScriptedServer(number, clock, (0.3 * work, 0.6 * work) if number == LOST else (-1.0, -1.0))
        for number in range(servers)
    ]
    fleet = WatchedFleet(scripted, "scripted", config.sampler, lambda: SimulatedLoop(clock))

    def watch(event: Any) -> None:
        left[0] -= isinstance(event, Progress)

    execution = execution_of(store, folder, inline=True)
    parts = replace(
        execution.parts,
        sampler=lambda model: ServerSampler("scripted", "scripted", config.model, config.sampler, fleet),
    )
    execution.parts = parts
    started = time.perf_counter()
    e_step.mine(replace(execution.stage("e_step", 1), emit=watch))
    return _outcome(store, folder, fleet, clock, at_once, time.perf_counter() - started)


def _outcome(store, folder, fleet, clock: Clock, at_once: int, real_seconds: float) -> Outcome:
    from lpd_core.store import runs

    runs.ingest(store, folder)
    places = fleet.settings.concurrency
    offered = places * sum(
        clock.now - max(0.0, min(server.lost[1], clock.now) - max(server.lost[0], 0.0))
        for server in fleet.servers
    )
    return Outcome(
        utilisation=sum(server.slot_seconds for server in fleet.servers) / offered,
        seconds=clock.now,
        requests=sum(replica.answered for replica in fleet.replicas),
        redone=sum(replica.redone for replica in fleet.replicas),
        candidates=sum(results.statuses(store, folder.run_id, 1).values()),
        chunks_at_once=at_once,
        real_seconds=real_seconds,
    )


def _config(home: Path, servers: int, prompts: int, n: int, concurrency: int) -> RunConfig:
    topics = "river garden engine letter market window doctor bridge".split()
    rows = []
    for number in range(prompts + 8):
        prompt = f"Tell me about the {topics[number % len(topics)]} number {number} please"
        row = {"id": f"row{number}", "prompt": prompt, "gold": f"{prompt} with red paint and more care"}
        rows.append(row | {"split": "train" if number < prompts else "dev"})
    home.mkdir(parents=True, exist_ok=True)
    data = home / "prompts.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return parse_config(
        {
            "name": "simulated",
            "iterations": 1,
            "data": {"train": [str(data)], "prompts_per_iteration": [prompts]},
            "e_step": {"n": n, "chunk_prompts": 64},
            "sampler": {
                "kind": "openai",
                "urls": [f"http://replica-{number}/v1" for number in range(servers)],
                "concurrency": concurrency,
            },
            "model": {"path": "scripted"},
            "cluster": {"embedder": "hash", "layout": "pca"},
        }
    )


def main() -> dict[str, float]:
    """Print the figures with and without barriers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--n", type=int, default=16, help="principles a prompt")
    parser.add_argument("--concurrency", type=int, default=2, help="requests at once at each server")
    sizes = vars(parser.parse_args())
    logging.disable(logging.WARNING)
    ways = {
        "streaming": {},
        "a barrier after each step of all prompts": {
            "e_step.chunk_prompts": sizes["prompts"],
            "sampler.chunks_at_once": 1,
        },
        "a barrier after each step of a chunk of 64 prompts": {"sampler.chunks_at_once": 1},
    }
    print(
        f"{sizes['servers']} servers of {sizes['concurrency']} places, {sizes['prompts']} prompts, N = {sizes['n']}; "
        f"{STRAGGLERS:.0%} of the answers take {STRAGGLING:.0f} times as long, every {SLOW_EVERY}th server "
        f"{SLOWNESS:.0f} times; one server is lost and comes back"
    )
    figures = {}
    for name, changes in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            made = simulate(Path(folder), **sizes, **changes)
        print(
            f"  {name}: utilisation {made.utilisation:.3f}, {made.seconds:.0f} simulated s for {made.requests} answers "
            f"and {made.candidates} candidates, {made.redone} requests redone, {made.chunks_at_once} chunks at once "
            f"({made.real_seconds:.0f} s here)",
            flush=True,
        )
        figures[name] = made.utilisation
    print(f"utilisation streaming {figures['streaming']:.3f} (bar 0.95)")
    return figures


if __name__ == "__main__":
    main()
