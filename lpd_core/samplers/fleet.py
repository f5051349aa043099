"""Servers of the same weights asked as one: each request goes to the least loaded, and is asked elsewhere when it fails.

Three ways to fail are told apart. A request that a server refuses, or that comes to nothing after all its tries, is a
`Failure` of its own. A server that is gone, fails one request after the other or limits the rate is left out while the
others go on, and is asked for its models with growing pauses until it is back. When none is left for longer than the
configured patience, or every request fails, the run is interrupted with the reason. A wrong key interrupts at once.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from lpd_core.errors import Interrupted
from lpd_core.model_config import SamplerConfig
from lpd_core.samplers import server as client
from lpd_core.samplers.replica import Answering, Replica
from lpd_core.samplers.server import Body, Failure, Fault, Gone, Limited, NotServed, Refused

log = logging.getLogger(__name__)
FEWEST_FAILURES = 16  # requests that fail one after the other before all servers are given up
TELL_SECONDS = 1.0
SICK = 3  # requests that fail one after the other before one of several servers is left out


@dataclass(eq=False)
class Job:
    """A request on its way to an answer. The smaller its `weight` the sooner it is sent."""

    path: str
    body: Body
    read: Callable[[Any], Any]
    answer: asyncio.Future
    weight: int
    number: int
    faults: int = 0
    avoid: Replica | None = None

    def __lt__(self, other: Job) -> bool:
        return (self.weight, self.number) < (other.weight, other.number)


@dataclass(eq=False)
class Fleet:
    """The servers that serve the model `name`. `ask` may be called from several threads at once; `concurrency` is the
    most requests under way at each server. While anybody asks, `listener` is shown the replicas every second or
    so, and whenever one is lost or back."""

    servers: Sequence[Answering]
    name: str
    settings: SamplerConfig
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    listener: Callable[[Sequence[Replica]], None] | None = None
    replicas: list[Replica] = field(init=False)

    def __post_init__(self) -> None:
        self.replicas = [Replica(server) for server in self.servers]
        self._queue: list[Job] = []  # a heap
        self._numbers = count()
        self._jobs: set[Job] = set()
        self._tasks: set[asyncio.Task] = set()
        self._last_answer = 0.0
        self._failed_in_a_row = 0
        self._answered_body: Body | None = None
        self._lock, self._asking = threading.Lock(), 0

    def check(self) -> None:
        """Ask every server for its models; those that cannot be asked are left out for now.

        Raises `Interrupted` when none can."""
        problems = []
        for replica in self.replicas:
            try:
                served = replica.server.models()
                if served is not None and self.name not in served:
                    raise replica.server.not_served(self.name)
            except Interrupted as cause:
                problems.append(cause)
                replica.lost = str(cause)
        if len(problems) == len(self.replicas):
            raise problems[0] if len(problems) == 1 else Interrupted(self._why())
        for problem in problems:
            log.warning("left out until it can be asked: %s", problem)

    def ask(self, path: str, bodies: Sequence[Body], read: Callable[[Any], Any]) -> list[Any]:
        """What `read` makes of the JSON answer to each body, or its `Failure`; `read` raises `ValueError` where an
        answer is not what it should be, and the request is tried again. What it makes has `tokens`.

        Raises `Interrupted` when the servers are gone for good or refuse the key or the model."""
        with self._running() as loop:
            asking = asyncio.run_coroutine_threadsafe(self._ask_all(path, bodies, read), loop)
            try:
                return asking.result()
            finally:
                asking.cancel()

    @contextmanager
    def _running(self) -> Iterator[asyncio.AbstractEventLoop]:
        """The event loop that all threads share, in a thread of its own for as long as anybody asks."""
        with self._lock:
            if not self._asking:
                self._loop = self.new_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
                self._thread.start()
                asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
            self._asking += 1
        try:
            yield self._loop
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
                    self._loop.call_soon_threadsafe(self._loop.stop)
                    self._thread.join()
                    self._loop.close()

    async def _open(self) -> None:
        for replica in self.replicas:
            if replica.lost:
                self._spawn(self._bring_back(replica))
        self._spawn(self._tell())

    async def _tell(self) -> None:
        try:
            while True:
                self._show()
                await asyncio.sleep(TELL_SECONDS)
        finally:
            self._show()

    def _show(self) -> None:
        if self.listener:
            self.listener(self.replicas)

    async def _close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for replica in self.replicas:
            await replica.server.close()

    async def _ask_all(self, path: str, bodies: Sequence[Body], read: Callable[[Any], Any]) -> list[Any]:
        if not self._jobs:
            self._last_answer = self._loop.time()
        answers = await self._answers(path, bodies, read)
        if self._failed_in_a_row and self._answered_body is not None:
            # Tell requests that fail by themselves from servers that broke down while the last ones were under way:
            # what was answered before must be answered again.
            (again,) = await self._answers(path, [self._answered_body], read)
            if isinstance(again, Failure):
                raise Interrupted(f"{self._where()} fails what it answered before: {again.message}")
        return answers

    async def _answers(self, path: str, bodies: Sequence[Body], read: Callable[[Any], Any]) -> list[Any]:
        # What asks for little goes first: drafts and principles have the steps of their chunk wait for them.
        weight = sum(int(body.get("max_tokens", 1)) for body in bodies)
        jobs = [
            Job(path, body, read, self._loop.create_future(), weight, next(self._numbers)) for body in bodies
        ]
        self._jobs.update(jobs)
        for job in jobs:
            heapq.heappush(self._queue, job)
        self._dispatch()
        try:
            return await asyncio.gather(*(job.answer for job in jobs))
        finally:
            for job in jobs:
                job.answer.cancel()
            self._jobs.difference_update(jobs)

    def _dispatch(self) -> None:
        """Send what waits, as far as servers are free."""
        while self._queue:
            replica = self._freest(self._queue[0].avoid)
            if replica is None:
                return
            job = heapq.heappop(self._queue)
            if not job.answer.done():
                replica.begin(self._loop.time())
                self._spawn(self._serve(job, replica))

    def _freest(self, avoid: Replica | None) -> Replica | None:
        """The server with the fewest requests under way, rather not the one to avoid; None when none is free."""
        now = self._loop.time()
        free = [
            replica
            for replica in self.replicas
            if not replica.lost
            and replica.held_until <= now
            and replica.in_flight < replica.places(self.settings.concurrency)
        ]
        return min(free, key=lambda r: (r is avoid, r.in_flight, r.given), default=None)

    async def _serve(self, job: Job, replica: Replica) -> None:
        try:
            answer = await replica.server.post(job.path, job.body, job.read)
        except Fault as fault:
            self._take_fault(job, replica, fault)
        except Interrupted as cause:
            self._interrupt(cause)
        except Exception as cause:
            self._finish(job, cause)
        else:
            self._take_answer(job, replica, answer)
        finally:
            replica.end(self._loop.time())
            self._dispatch()

    def _take_answer(self, job: Job, replica: Replica, answer: Any) -> None:
        self._last_answer, self._failed_in_a_row, self._answered_body = self._loop.time(), 0, job.body
        replica.faults_in_a_row = replica.pauses = 0
        replica.answered += 1
        replica.redone += job.avoid not in (None, replica)
        replica.tokens += answer.tokens
        self._finish(job, answer)

    def _take_fault(self, job: Job, replica: Replica, fault: Fault) -> None:
        if isinstance(fault, Refused):
            self._refuse(job, str(fault))
        elif isinstance(fault, Limited):
            self._hold(replica, fault)
            self._again(job, replica)
        elif isinstance(fault, NotServed) and len(self.replicas) == 1:
            self._interrupt(replica.server.not_served(str(job.body.get("model", "")), str(fault)))
        elif isinstance(fault, Gone | NotServed):
            self._lose(replica, fault)
            self._again(job, replica)
        else:
            self._try_again(job, replica, fault)

    def _refuse(self, job: Job, problem: str) -> None:
        """A request that would be refused again; told of the servers themselves while they have answered none."""
        self._last_answer = self._loop.time()
        kind = client.failure_kind(problem)
        if kind == "error" and self._answered_body is None:
            self._count_failure(problem)
        self._finish(job, Failure(kind, problem))

    def _try_again(self, job: Job, replica: Replica, fault: Fault) -> None:
        replica.faults_in_a_row += 1
        if replica.faults_in_a_row >= replica.places(SICK) and len(self.replicas) > 1:
            self._lose(replica, f"{replica.server.url} failed {replica.faults_in_a_row} in a row: {fault}")
        job.faults += 1
        if job.faults <= self.settings.retries:
            self._loop.call_later(client.pause(job.faults), self._again, job, replica)
            return
        self._count_failure(str(fault))
        self._finish(job, Failure("error", f"{fault}; tried {job.faults} times"))

    def _again(self, job: Job, failed: Replica) -> None:
        """Ask again what a server failed, before everything else and rather of another."""
        failed.failures += 1
        job.avoid, job.weight = failed, 0
        heapq.heappush(self._queue, job)
        self._dispatch()

    def _hold(self, replica: Replica, fault: Limited) -> None:
        """Keep requests from a server for as long as it asks, or for a growing pause."""
        replica.held = str(fault)
        replica.pauses += 1
        seconds = fault.seconds
        if seconds is None:
            seconds = client.pause(replica.pauses)
        now = self._loop.time()
        replica.held_until = max(replica.held_until, now + seconds)
        self._loop.call_at(replica.held_until, self._dispatch)
        self._check_patience(replica)

    def _lose(self, replica: Replica, reason: Fault | str) -> None:
        if not replica.lost:
            replica.lost = str(reason)
            log.warning("a server is left out until it is back: %s", reason)
            self._show()
            self._plan_probe(replica)
            self._spawn(self._bring_back(replica))
        self._check_patience(replica)

    def _plan_probe(self, replica: Replica) -> None:
        replica.pauses += 1
        replica.probe_at = self._loop.time() + client.pause(replica.pauses)

    async def _bring_back(self, replica: Replica) -> None:
        """Ask for the models with growing pauses until the server can be asked again."""
        while replica.lost:
            await asyncio.sleep(replica.probe_at - self._loop.time())
            try:
                await replica.server.probe(self.name)
            except Fault as fault:
                replica.lost = str(fault)
                self._plan_probe(replica)
                self._check_patience(replica)
            except Interrupted as cause:
                self._interrupt(cause)
                return
            else:
                replica.lost, replica.faults_in_a_row = "", 0
                log.warning("the server at %s is back", replica.server.url)
                self._show()
                self._dispatch()

    def _check_patience(self, failed: Replica) -> None:
        """Interrupt when no other server can be asked and nothing was answered for longer than the patience."""
        now = self._loop.time()
        others = [replica for replica in self.replicas if replica is not failed]
        if not self._jobs or any(not other.lost and other.held_until <= now for other in others):
            return
        if now - self._last_answer > self.settings.patience:
            patience = f"waited {self.settings.patience:.0f} s (sampler.patience)"
            self._interrupt(Interrupted(f"{self._why()}; {patience}"))

    def _why(self) -> str:
        """Why no server can be asked."""
        reasons = [replica.lost or replica.held for replica in self.replicas]
        if len(reasons) == 1:
            return reasons[0]
        return f"none of {len(reasons)} servers can be asked: {'; '.join(reasons)}"

    def _count_failure(self, problem: str) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= max(self.settings.concurrency, FEWEST_FAILURES):
            self._interrupt(
                Interrupted(
                    f"{self._failed_in_a_row} requests in a row failed at {self._where()}; the last: {problem}"
                )
            )

    def _where(self) -> str:
        first, *others = (replica.server.url for replica in self.replicas)
        return f"{first} and {len(others)} more servers" if others else first

    def _interrupt(self, cause: Interrupted) -> None:
        """End every ask with the reason."""
        for job in self._jobs:
            self._finish(job, cause)
        self._queue.clear()
        self._failed_in_a_row = 0

    def _finish(self, job: Job, told: Any) -> None:
        if job.answer.done():
            return
        if isinstance(told, Exception):
            job.answer.set_exception(told)
        else:
            job.answer.set_result(told)

    def _spawn(self, work) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
