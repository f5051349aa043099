"""The E-step as a Ray Dataset: chunks of prompts stream through draft, propose, refine and score without a barrier.

Each step is an operator over a pool of actors that grows and shrinks with its queue; Ray Data holds back an operator
whose successor is behind. When a node is lost, Ray gives its chunks to others, and nothing else is done again: rows
are committed a chunk at a time, under its number.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpd_core.config import PROJECT, RunConfig
from lpd_core.e_step import load_seeds
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.events import Progress, StageStarted, Warned
from lpd_core.on_ray.steps import SCORE, Chunk, Worker, sampled_steps
from lpd_core.on_ray.watch import Watch
from lpd_core.stage import Stage, cut
from lpd_core.types import Example

if TYPE_CHECKING:
    import ray.data

LOOK_SECONDS = 1.0
REACH_SECONDS = 10.0
SCORE_CPUS = 0.5
IN_FLIGHT = 2
"""Chunks at an actor: one at work, one fetched meanwhile."""
PASSED_ON = ("LPD_HOME", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE")
"""The stage's environment that workers get too."""


def mine_on_ray(stage: Stage, examples: Sequence[Example]) -> None:
    """Bring every chunk of the examples that nobody has committed through the pipeline, telling of each.

    Raises `UserError` where Ray is missing or the cluster is not there, `Interrupted` when it no longer gets on."""
    numbered = list(enumerate(map(tuple, cut(examples, stage.config.e_step.chunk_prompts))))
    missing = [
        Chunk(number, chunk)
        for number, chunk in numbered
        if not stage.folder.has_segment(stage.iteration, stage.name, number)
    ]
    total, left = len(examples), sum(len(chunk.examples) for chunk in missing)
    stage.emit(StageStarted(stage.iteration, stage.name, total, "prompts"))
    stage.emit(Progress(stage.iteration, stage.name, total - left, total))
    if not missing:
        return
    with _cluster(stage.config), _watching(stage) as watch, _told_plainly(watch):
        _warn_of_few_nodes(stage)
        _follow(stage, _pipeline(stage, missing, watch), watch, total - left, total)


def _follow(stage: Stage, dataset: ray.data.Dataset, watch: Any, done: int, total: int) -> None:
    """Tell of each chunk as it is committed; work is the time since the first one was begun."""
    import ray

    started, clock = 0.0, Counter(stage.clock)
    for row in dataset.iter_rows():
        started = started or ray.get(watch.first_began.remote())
        done += row["prompts"]
        clock.update(json.loads(row["clock"]))
        clock["work"] = time.time() - started
        stage.emit(Progress(stage.iteration, stage.name, done, total, dict(clock)))


def _pipeline(stage: Stage, chunks: Sequence[Chunk], watch: Any) -> ray.data.Dataset:
    import ray.data

    settings = stage.config.ray
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = settings.patience
    rows = [{"number": chunk.number, "chunk": pickle.dumps(chunk)} for chunk in chunks]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    worker = Worker(
        stage.config,
        stage.templates,
        load_seeds(stage.config),
        Path(stage.folder.root).absolute(),
        stage.store.cache,
        stage.iteration,
        stage.model_in,
        SCORE,
    )
    for step in sampled_steps(stage.config):
        dataset = dataset.map(
            Operator,
            fn_constructor_args=(replace(worker, step=step), watch),
            compute=_pool(settings.min_replicas, settings.max_replicas),
            num_cpus=settings.cpus,
            num_gpus=settings.gpus or None,
        )
    return dataset.map(
        Operator,
        fn_constructor_args=(worker, watch),
        compute=_pool(1, settings.max_replicas),
        num_cpus=SCORE_CPUS,
    )


def _pool(least: int, most: int) -> ray.data.ActorPoolStrategy:
    import ray.data

    return ray.data.ActorPoolStrategy(min_size=least, max_size=most, max_tasks_in_flight_per_actor=IN_FLIGHT)


class Operator:
    """An actor of a pool: its worker, and what it tells of each chunk."""

    def __init__(self, worker: Worker, watch: Any):
        import ray

        self.worker, self.watch = worker, watch
        node = ray.get_runtime_context().get_node_id()
        self.name = f"{worker.step} {node[:6]}.{os.getpid()}"
        with _telling(watch):
            _ = worker.discovery  # the model is there before the first chunk is
        watch.ready.remote(self.name, f"{ray.util.get_node_ip_address()} {node[:6]}", node, worker.step)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row through the worker's step; the last one leaves only what the driver tells."""
        chunk: Chunk = pickle.loads(row["chunk"])  # noqa: S301 (our own, from the step before)
        self.watch.began.remote(self.name, chunk.number)
        before = chunk.clock.get("tokens", 0)
        with _telling(self.watch):
            done = self.worker.work(chunk)
        self.watch.ended.remote(self.name, chunk.number, int(done.clock.get("tokens", 0) - before))
        if self.worker.step == SCORE:
            return {"number": done.number, "prompts": len(done.examples), "clock": json.dumps(done.clock)}
        return {"number": done.number, "chunk": pickle.dumps(done)}


@contextmanager
def _telling(watch: Any) -> Iterator[None]:
    """Why a worker cannot go on, told to the driver: through Ray's own errors only a traceback would come."""
    import ray

    try:
        yield
    except LpdError as error:
        ray.get(watch.failed.remote(error))
        raise


@contextmanager
def _cluster(config: RunConfig) -> Iterator[None]:
    """Connected to the configured cluster, or to one of this machine that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as cause:
        raise UserError(
            f"Ray cannot be imported ({cause}): install requirements-cluster.txt, or name an interpreter that has it in "
            "sampler.python"
        ) from cause
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    options = {
        "runtime_env": {"env_vars": {**passed, "PYTHONPATH": str(PROJECT)}},
        "configure_logging": False,
        "namespace": "lpd",
    }
    if config.ray.address:
        options["address"] = config.ray.address
    else:  # what the pools need of CPUs is a matter of sharing where there is but one machine
        options |= {
            "num_cpus": max(os.cpu_count() or 1, -int(-_needed(config)[0] // 1)),
            "include_dashboard": False,
        }
    place = config.ray.address or "this machine"
    try:
        _reach(config.ray.address)
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as cause:
        raise UserError(f"no Ray cluster answers at ray.address = {place}: {_line(cause)}") from cause
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Knock at a cluster's head: Ray itself would wait for it for minutes. Raises `OSError`."""
    host, _, port = address.rpartition(":")
    if host:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()


def _needed(config: RunConfig) -> tuple[float, float]:
    """The CPUs and GPUs of the smallest pools."""
    replicas = config.ray.min_replicas * len(sampled_steps(config))
    return replicas * config.ray.cpus + SCORE_CPUS, replicas * config.ray.gpus


def _warn_of_few_nodes(stage: Stage) -> None:
    import ray

    here = ray.cluster_resources()
    for kind, needed in zip(("CPU", "GPU"), _needed(stage.config), strict=True):
        if needed > here.get(kind, 0.0):
            told = f"the cluster has {here.get(kind, 0.0):g} {kind}s, the smallest pools need {needed:g}"
            stage.emit(Warned(stage.iteration, stage.name, f"{told}: it waits for nodes"))
    if (
        here.get("GPU")
        and not stage.config.ray.gpus
        and stage.config.sampler.kind in ("transformers", "vllm")
    ):
        told = f"the cluster has {here['GPU']:g} GPUs and no replica takes one: set ray.gpus"
        stage.emit(Warned(stage.iteration, stage.name, told))


@contextmanager
def _watching(stage: Stage) -> Iterator[Any]:
    """The watch, beside the driver, looked at every second for the length of the block."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0)(Watch).options(scheduling_strategy=here)
    watch = actor.remote(stage.iteration, stage.name)
    over = threading.Event()

    def look() -> None:
        with suppress(ray.exceptions.RayError):
            alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
            for event in ray.get(watch.look.remote(alive)):
                stage.emit(event)

    def look_on() -> None:
        while not over.wait(LOOK_SECONDS):
            look()

    looking = threading.Thread(target=look_on, daemon=True)
    looking.start()
    try:
        yield watch
        over.set()
        looking.join()
        look()
    finally:
        over.set()
        looking.join()


@contextmanager
def _told_plainly(watch: Any) -> Iterator[None]:
    """What a worker could not do, in its own words; what Ray could not do as `Interrupted`."""
    import ray.exceptions
    from ray.data.exceptions import ExecutionTimeoutError

    try:
        yield
    except Exception as cause:
        with suppress(ray.exceptions.RayError):
            if told := ray.get(watch.failure.remote()):
                raise told from cause
        is_a_mistake = isinstance(cause, ray.exceptions.RayTaskError | ray.exceptions.UserCodeException)
        if isinstance(cause, ray.exceptions.RayError | ExecutionTimeoutError) and not is_a_mistake:
            raise Interrupted(
                f"the Ray cluster gave way: {_line(cause)}; see its nodes and resume"
            ) from cause
        raise


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
