"""What a node does with a chunk of prompts: one step of the E-step at a time, with the functions of `e_step` itself.

A chunk has the same prompts in the same order as on one machine, and its rows have the same seeds, so they say the same.
The last step commits the chunk from where it is; a chunk that is committed already stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from lpd_core.build import build_sampler, build_scorer
from lpd_core.config import RunConfig
from lpd_core.e_step import Attempt, Discovery, tables_of
from lpd_core.prompts import Templates
from lpd_core.stage import TimedSampler, commit
from lpd_core.store.run_folder import RunFolder
from lpd_core.types import Draft, Example

SCORE = "score"
"""The last step, which needs no model."""


@dataclass(frozen=True)
class Chunk:
    """A chunk of prompts on its way through the steps; `clock` is what its sampling took and gave so far."""

    number: int
    examples: tuple[Example, ...]
    drafts: tuple[Draft, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    clock: Mapping[str, float] = field(default_factory=dict)


def _draft(discovery: Discovery, chunk: Chunk) -> Chunk:
    return replace(chunk, drafts=tuple(discovery.write_drafts(chunk.examples)))


def _propose(discovery: Discovery, chunk: Chunk) -> Chunk:
    return replace(chunk, attempts=tuple(discovery.begin(chunk.examples, chunk.drafts)))


def _critique(discovery: Discovery, chunk: Chunk) -> Chunk:
    return replace(chunk, attempts=tuple(discovery.criticise(chunk.attempts)))


def _refine(discovery: Discovery, chunk: Chunk) -> Chunk:
    return replace(chunk, attempts=tuple(discovery.refine(chunk.attempts)))


SAMPLED: Mapping[str, Callable[[Discovery, Chunk], Chunk]] = {
    "draft": _draft,
    "propose": _propose,
    "critique": _critique,
    "refine": _refine,
}


def sampled_steps(config: RunConfig) -> list[str]:
    """The steps that need the model, in order."""
    return [name for name in SAMPLED if name != "critique" or config.e_step.use_critique]


@dataclass
class Worker:
    """What does a step, wherever it is sent: everything that it needs to know, and the model once it is asked for."""

    config: RunConfig
    templates: Templates
    seeds: tuple[str, ...]
    root: Path
    """The run's folder, under a path that all nodes share."""
    cache: Path
    iteration: int
    model: str
    step: str

    @cached_property
    def discovery(self) -> Discovery:
        """The E-step's tools, with the model unless the step is the last."""
        return Discovery(
            self.sampler,
            build_scorer(self.config, self.cache),
            self.templates,
            self.config,
            self.iteration,
            self.seeds,
        )

    @cached_property
    def sampler(self) -> TimedSampler:
        """The replica of the model; none for the last step."""
        return TimedSampler(None if self.step == SCORE else build_sampler(self.config, self.model), {})

    def work(self, chunk: Chunk) -> Chunk:
        """Do this worker's step; the last one commits the rows, and hands on what is left to tell."""
        if self.step == SCORE:
            folder = RunFolder(self.root)
            if not folder.has_segment(self.iteration, "e_step", chunk.number):
                tables = tables_of(chunk.drafts, self.discovery.accept(chunk.attempts))
                commit(folder, self.iteration, "e_step", chunk.number, tables)
            return replace(chunk, drafts=(), attempts=())
        self.sampler.clock.clear()
        done = SAMPLED[self.step](self.discovery, chunk)
        clock = Counter(chunk.clock)
        clock.update(self.sampler.clock)
        return replace(done, clock=dict(clock))
