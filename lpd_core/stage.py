"""What every stage of an iteration is given, and how its work is cut into chunks that are committed one by one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from lpd_core.config import RunConfig, Sampling, resolve_path
from lpd_core.events import Event, Progress, ReplicaSeen, StageStarted
from lpd_core.parts import Emit, Parts, Sampler
from lpd_core.prompts import Templates
from lpd_core.store import Store
from lpd_core.store.run_folder import RunFolder
from lpd_core.types import Generation, SampleRequest

if TYPE_CHECKING:
    from lpd_core.samplers.replica import Replica

Item = TypeVar("Item")
SAMPLED = ("sampling", "tokens", "prompt_tokens", "cached_tokens", "truncated", "overlong")
"""What the clock of a stage that samples tells: seconds, tokens, and prompts cut or refused."""
MOST_AT_ONCE = 256  # chunks in one process, each a thread
TAIL = (
    80  # a chunk lives as long as the slowest answers of its steps, so many times a mean one; bench/fleet.py
)
Tables = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Stage:
    """One stage of one iteration of a run: where it reads and writes, with what parts it works.

    `shard` is (index, count): a worker does every count-th chunk, beginning with index."""

    name: str
    iteration: int
    store: Store
    folder: RunFolder
    config: RunConfig
    templates: Templates
    parts: Parts
    emit: Emit
    shard: tuple[int, int] = (0, 1)
    clock: dict[str, float] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.folder.run_id

    @property
    def model_in(self) -> str:
        """The weights this stage uses: M_{t-1} while discovering, M_t while measuring."""
        trained = self.iteration if self.name == "evaluate" else self.iteration - 1
        return model_of(self.config, self.folder, trained)

    def commit(self, chunk: int, tables: Tables) -> None:
        """Write a chunk's rows, each with the run and iteration, as one segment."""
        commit(self.folder, self.iteration, self.name, chunk, tables)


def commit(folder: RunFolder, iteration: int, stage: str, chunk: int, tables: Tables) -> None:
    """Write a chunk's rows, each with the run and iteration, as one segment of a run."""
    keys = {"run_id": folder.run_id, "iteration": iteration}
    keyed = {
        name: [row if name == "principles" else {**keys, **row} for row in rows]
        for name, rows in tables.items()
    }
    folder.write_segment(iteration, stage, chunk, keyed)


def cut(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in chunks with fixed borders."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def model_of(config: RunConfig, folder: RunFolder, iteration: int) -> str:
    """The path of M_t: the configured model (a folder or a hub name) for 0, else the iteration's checkpoint."""
    if iteration > 0:
        return str(folder.checkpoint(iteration))
    path = resolve_path(config.model.path)
    return str(path.absolute()) if config.model.path and path.exists() else config.model.path


def work_in_chunks(
    stage: Stage, lists: Sequence[tuple[Sequence[Item], Callable[[Sequence[Item]], Tables]]], unit: str
) -> None:
    """Do every chunk of the lists (items, and what turns a chunk of them into rows) that this shard owns and nobody
    has committed, committing each when done.

    Chunks have fixed borders and are numbered on through the lists, so a resumed run ends with the same rows."""
    size = stage.config.e_step.chunk_prompts
    chunks = [(chunk, work) for items, work in lists for chunk in cut(items, size)]
    index, count = stage.shard
    mine = [(number, *chunk) for number, chunk in enumerate(chunks) if number % count == index]
    total, done = sum(len(items) for _, items, _ in mine), 0
    stage.emit(StageStarted(stage.iteration, stage.name, total, unit, shard=index))
    for finished in _finished_chunks(stage, mine):
        done += finished
        stage.emit(Progress(stage.iteration, stage.name, done, total, dict(stage.clock), shard=index))


def _finished_chunks(
    stage: Stage, chunks: Sequence[tuple[int, Sequence[Item], Callable[[Sequence[Item]], Tables]]]
) -> Iterator[int]:
    """Bring chunks (number, items, work) to their commits, several at once where the servers want it; the number of
    items of each as it is finished."""
    watch = Stopwatch(stage.clock, "work")

    def finish(number: int, items: Sequence[Item], work: Callable[[Sequence[Item]], Tables]) -> int:
        with watch:
            stage.commit(number, work(items))
        return len(items)

    left = []
    for number, items, work in chunks:
        if stage.folder.has_segment(stage.iteration, stage.name, number):
            yield len(items)
        else:
            left.append((number, items, work))
    at_once = min(chunks_at_once(stage.config, stage.name), len(left))
    if at_once < 2:
        yield from (finish(*chunk) for chunk in left)
        return
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(finish, *chunk) for chunk in left]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def chunks_at_once(config: RunConfig, stage: str) -> int:
    """How many chunks of a stage one process works on at once. While one waits for its slowest answers the others keep
    the servers busy, so that no step of the E-step is a barrier."""
    sampler = config.sampler
    if sampler.kind != "openai" or sampler.chunks_at_once:
        return sampler.chunks_at_once or 1
    slots = sampler.concurrency * max(1, len(sampler.addresses()))
    requests = config.e_step.chunk_prompts * (1 + 2 * config.e_step.n if stage == "e_step" else 3)
    return min(MOST_AT_ONCE, ceil(TAIL * slots / requests))


def generation_record(generation: Generation, kept: str) -> dict[str, Any]:
    """What a row keeps of a generation beside the text `kept`: with the prompt rendered anew it is all there was."""
    record: dict[str, Any] = {
        "finish_reason": generation.finish_reason,
        "tokens": generation.tokens,
        "prompt_tokens": generation.prompt_tokens,
    }
    raw = generation.text if generation.raw is None else generation.raw
    told = {"raw": raw if raw != kept else None, "error": generation.error, "truncated": generation.truncated}
    return record | {name: value for name, value in told.items() if value}


def open_sampler(stage: Stage) -> TimedSampler:
    """The sampler of the stage's weights, keeping time; where it is a fleet of servers, their state is told."""
    sampler = stage.parts.sampler(stage.model_in)
    fleet = getattr(sampler, "fleet", None)
    if fleet is not None and len(fleet.replicas) > 1:
        fleet.listener = partial(_tell_replicas, stage, {})
    return TimedSampler(sampler, stage.clock)


def _tell_replicas(stage: Stage, told: dict[str, ReplicaSeen], replicas: Sequence[Replica]) -> None:
    """Emit what has changed of the servers since it was `told`; each process of a stage has its own count."""
    index, count = stage.shard
    for replica in replicas:
        url = replica.server.url
        seen = ReplicaSeen(
            stage.iteration,
            stage.name,
            replica=f"{url} ({index})" if count > 1 else url,
            node=urlsplit(url).hostname or "",
            state="lost" if replica.lost else "working" if replica.in_flight else "idle",
            pieces=replica.answered,
            unit="requests",
            tokens=replica.tokens,
            seconds=round(replica.busy, 3),
            lost=replica.failures,
            redone=replica.redone,
        )
        if seen != told.get(url):
            told[url] = seen
            stage.emit(seen)


class Stopwatch:
    """Adds to a clock the seconds in which at least one thread is inside the block."""

    def __init__(self, clock: dict[str, float], name: str):
        self.clock, self.name = clock, name
        self.inside, self.since, self.lock = 0, 0.0, Lock()

    def __enter__(self) -> None:
        self._turn(1)

    def __exit__(self, *problem: object) -> None:
        self._turn(-1)

    def _turn(self, more: int) -> None:
        with self.lock:
            now = time.perf_counter()
            if self.inside:
                self.clock[self.name] = self.clock.get(self.name, 0.0) + now - self.since
            self.inside, self.since = self.inside + more, now


class TimedSampler:
    """A sampler that adds up the seconds spent inside it, the tokens that came out, those that the prompts needed and
    those of them that were cached, and how many prompts were cut or refused."""

    def __init__(self, sampler: Sampler, clock: dict[str, float]):
        self.sampler, self.clock = sampler, clock
        self.watch, self.lock = Stopwatch(clock, "sampling"), Lock()

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Generation]:
        """Pass on, keeping time."""
        with self.watch:
            generations = self.sampler.sample(requests, sampling)
        with self.lock:
            self._add("tokens", sum(g.tokens for g in generations))
            self._add(
                "prompt_tokens", sum(g.prompt_tokens for g in generations if g.finish_reason != "overlong")
            )
            self._add("cached_tokens", sum(g.cached_tokens for g in generations))
            self._add("truncated", sum(g.truncated for g in generations))
            self._add("overlong", sum(g.finish_reason == "overlong" for g in generations))
        return generations

    def _add(self, name: str, value: float) -> None:
        self.clock[name] = self.clock.get(name, 0) + value


def sampling_totals(events: Iterable[tuple[float, Event]], iteration: int, stage: str) -> dict[str, float]:
    """What the processes of a stage told of their sampling, added up: a clock that runs backwards is another process
    that went on. `prefix_hit_rate` is the share of the prompts' tokens that were not computed anew."""
    totals: Counter[str] = Counter()
    last: dict[int, dict[str, float]] = {}
    for _, event in events:
        if isinstance(event, Progress) and (event.iteration, event.stage) == (iteration, stage):
            before = last.get(event.shard, {})
            if event.detail.get("sampling", 0.0) < before.get("sampling", 0.0):
                totals.update(before)
            last[event.shard] = event.detail
    for detail in last.values():
        totals.update(detail)
    told = {name: totals[name] for name in SAMPLED if name in totals}
    if told.get("prompt_tokens"):
        told["prefix_hit_rate"] = round(told["cached_tokens"] / told["prompt_tokens"], 4)
    return told
