"""What each kind of resident process does with a request. Models are loaded when first asked for, and kept."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpd_core.build import build_sampler
from lpd_core.config import RunConfig, Sampling
from lpd_core.errors import UserError
from lpd_core.evaluate import self_correct
from lpd_core.parts import Sampler
from lpd_core.prompts import load_templates
from lpd_core.resident.place import Place
from lpd_core.resident.room import at_work
from lpd_core.resident.worker import Operation, Send
from lpd_core.scoring import clean_principle
from lpd_core.stage import model_of
from lpd_core.store import Store
from lpd_core.store.run_folder import write_json
from lpd_core.types import Example, Generation, SampleRequest

MODELS_HELD = 2  # the two sides of a comparison
SEND_SECONDS = 0.04  # a page draws no faster
HURRIED_SECONDS = 20.0
"""How long a model stays without work while a run is at work, which needs the memory."""


class Embedding:
    """Answers {"op": "embed", "texts", "embedder"} with one line {"vectors"}.

    Questions are not kept: the cache lies in a folder that goes with the process."""

    def __init__(self, store: Store):
        self.scratch = tempfile.TemporaryDirectory(prefix="lpd-embed-")
        self.known: dict[str, Any] = {}

    def __call__(self, request: Mapping[str, Any], send: Send) -> None:
        """Embed the request's texts."""
        from lpd_core.embedding import SentenceEmbedder

        _require(request, "embed")
        name = str(request["embedder"])
        if name not in self.known:
            self.known[name] = SentenceEmbedder(name, Path(self.scratch.name))
        send({"vectors": self.known[name].embed([str(text) for text in request["texts"]]).tolist()})

    def patience(self, idle: float) -> float:
        """How long to stay without work: as told."""
        return idle


class Chains:
    """Answers {"op": "chain", "run_id", "iteration", "messages", "principle", "temperature", "seed"} with the texts
    of y1, z and y2 as they grow: lines {"role", "text", "finish_reason", "tokens", "error"}, `finish_reason` None
    until a text is whole."""

    def __init__(self, store: Store):
        self.store = store
        self.place = Place(store.home, "model")
        self.place.held.unlink(missing_ok=True)
        self.held: dict[tuple[str, str, str], Sampler] = {}

    def __call__(self, request: Mapping[str, Any], send: Send) -> None:
        """Run x -> y1 -> z -> y2 with M_t of a run, by the chats and settings of its held-out measurement."""
        _require(request, "chain")
        folder = self.store.run(str(request["run_id"]))
        config, principle = folder.config(), request["principle"]
        sampler = self._sampler(config, model_of(config, folder, int(request["iteration"])))
        roles = ("draft", "principle", "refine")
        if principle is not None:
            roles = ("draft", "refine")
            send(_line("principle", Generation(str(principle), "stop", 0, 0)))
        self_correct(
            [Example("", "playground", tuple(request["messages"]), "", "")],
            Telling(sampler, iter(roles), send),
            load_templates(folder.prompts(config)),
            _played(config, float(request["temperature"]), int(request["seed"])),
            ("playground",),
            principle,
        )

    def _sampler(self, config: RunConfig, model: str) -> Sampler:
        if config.sampler.kind != "scripted" and Path(model).is_dir():
            # Whatever sampled in the run: a single chat needs no engine or server, and this one streams.
            local = config.sampler.model_copy(update={"kind": "transformers"})
            config = config.model_copy(update={"sampler": local})
        key = (model, config.model.model_dump_json(), config.sampler.model_dump_json())
        if key not in self.held:
            while len(self.held) >= MODELS_HELD:
                del self.held[next(iter(self.held))]
                gc.collect()
            self.held[key] = build_sampler(config, model)
        self.held[key] = self.held.pop(key)  # the last asked goes last
        write_json(self.place.held, [model for model, _, _ in self.held])
        return self.held[key]

    def patience(self, idle: float) -> float:
        """How long to stay without work: less while a run is at work."""
        return min(idle, HURRIED_SECONDS) if at_work(self.store) else idle


@dataclass
class Telling:
    """A sampler of one request a call that sends each text as it grows; `roles` names the calls in their order."""

    sampler: Any
    roles: Iterator[str]
    send: Send

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Generation]:
        """Sample the one request; a sampler that cannot stream is told of when it has ended."""
        role, sent = next(self.roles), 0.0

        def told(text: str) -> None:
            nonlocal sent
            if time.monotonic() - sent > SEND_SECONDS:
                sent = time.monotonic()
                self.send(_line(role, Generation(text, "stop", 0, 0)) | {"finish_reason": None})

        if hasattr(self.sampler, "stream"):
            generation = self.sampler.stream(requests[0], sampling, told)
        else:
            generation = self.sampler.sample(requests, sampling)[0]
        self.send(_line(role, generation))
        return [generation]


def _line(role: str, generation: Generation) -> dict[str, Any]:
    text = clean_principle(generation.text) if role == "principle" else generation.text.strip()
    return {
        "role": role,
        "text": text,
        "finish_reason": generation.finish_reason,
        "tokens": generation.tokens,
        "error": generation.error or "",
    }


def _played(config: RunConfig, temperature: float, seed: int) -> RunConfig:
    """The run's configuration with the measurement's sampling at another temperature, and another seed."""
    settings = config.evaluate
    changed = {
        name: getattr(settings, name).model_copy(update={"temperature": temperature})
        for name in ("draft", "principle", "refine")
    }
    return config.model_copy(update={"seed": seed, "evaluate": settings.model_copy(update=changed)})


def _require(request: Mapping[str, Any], op: str) -> None:
    if request.get("op") != op:
        raise UserError(f"this resident process has no operation {request.get('op')!r}; it has {op!r}")


OPERATIONS: Mapping[str, Callable[[Store], Operation]] = {"embed": Embedding, "model": Chains}
