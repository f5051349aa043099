"""Is there memory for the models that a page asks for, and who is at work beside them?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lpd_core import machine
from lpd_core.config import RunConfig
from lpd_core.memory import BYTES
from lpd_core.model_files import parameter_count
from lpd_core.resident.place import Place
from lpd_core.stage import model_of
from lpd_core.store import RunFolder, Store

PROCESS_BYTES = 700 * 2**20
"""What the process takes with torch and transformers loaded, measured: 570 MiB, and some room."""
SPARE = 1.25  # of the weights: activations and the cache of one chat


@dataclass(frozen=True, slots=True)
class AtWork:
    """A run that is being worked on, and where it is."""

    run_id: str
    iteration: int
    stage: str


@dataclass(frozen=True, slots=True)
class Room:
    """Memory in bytes that the models need and that can be had, on the GPU or not, and the runs at work.

    Weights that are no folder here (a name of the hub) count as nothing, which `unknown` tells."""

    needed: int
    available: int
    on_gpu: bool
    unknown: bool
    at_work: tuple[AtWork, ...]

    @property
    def suffices(self) -> bool:
        """Whether the models fit."""
        return self.needed <= self.available


def room(store: Store, run_id: str, iterations: Iterable[int]) -> Room:
    """The room for M_t of a run at some iterations. What the resident model process holds already needs no more."""
    folder = store.run(run_id)
    config = folder.config()
    held = _held(store)
    models = {model for t in iterations if (model := model_of(config, folder, t)) not in (held or ())}
    scripted = config.sampler.kind == "scripted"
    weights = 0 if scripted else sum(weight_bytes(config, Path(model)) for model in models)
    now = machine.look(store.home)
    on_gpu = bool(now.gpus) and config.model.device in ("auto", "cuda") and not scripted
    free_on_gpu = now.gpus[0].memory_total - now.gpus[0].memory_used if on_gpu else 0
    return Room(
        needed=int(weights * SPARE) + (PROCESS_BYTES if held is None else 0),
        available=free_on_gpu if on_gpu else now.memory_available,
        on_gpu=on_gpu,
        unknown=not scripted and not all(Path(model).is_dir() for model in models),
        at_work=at_work(store),
    )


def weight_bytes(config: RunConfig, model: Path) -> int:
    """The size of a checkpoint's weights in the configured data type; 0 where it is no folder."""
    return parameter_count(model) * BYTES[config.model.dtype] if model.is_dir() else 0


def at_work(store: Store) -> tuple[AtWork, ...]:
    """The runs that are running now."""
    states = ((run, RunFolder(store.runs / run).state()) for run in store.run_ids())
    return tuple(
        AtWork(run, state.iteration, state.stage) for run, state in states if state.status == "running"
    )


def _held(store: Store) -> list[str] | None:
    """The models that the resident process has loaded; None where there is no process."""
    place = Place(store.home, "model")
    if not place.process_id():
        return None
    try:
        return json.loads(place.held.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
