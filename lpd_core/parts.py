"""The capabilities the engine asks for, as Protocols with one method each, and the shipped scripted fake.

Only `build.py` knows which names in the configuration become which parts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from lpd_core.config import Sampling
from lpd_core.events import Event
from lpd_core.types import Example, Generation, Message, Pair, SampleRequest, TrainingJob, TrainingResult

if TYPE_CHECKING:
    import numpy as np

    from lpd_core.stage import Stage


class Sampler(Protocol):
    """Turns chats into completions."""

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Generation]:
        """One generation a request, in the order of the requests. A request that fails alone comes back
        with `finish_reason="error"`; only a dead sampler raises."""
        ...


class Scorer(Protocol):
    """The similarity f of two texts."""

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """f(response, gold) in [0, 1] for each pair; None where the scorer failed: unscored, never zero."""
        ...


@dataclass(frozen=True)
class OneAtATime:
    """A scorer that several threads may call: one after the other, since most keep a model or a file."""

    scorer: Scorer
    lock: Lock = field(default_factory=Lock)

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """Pass on when nobody else is scoring."""
        with self.lock:
            return self.scorer.score(pairs)


class Embedder(Protocol):
    """Places texts in a vector space."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32, shape [len(texts), d]."""
        ...


class Perplexity(Protocol):
    """How surprised the model is by a text."""

    def perplexities(self, chats: Sequence[tuple[Sequence[Message], str]]) -> list[float]:
        """exp of the mean negative log-likelihood a token of each completion after its chat."""
        ...


class Trainer(Protocol):
    """The M-step's optimiser."""

    def train(self, job: TrainingJob, emit: Emit) -> TrainingResult:
        """Fit the rows and write the checkpoint to `job.model_out`, going on from `job.work_dir`'s last
        whole checkpoint if there is one."""
        ...


class Emit(Protocol):
    """Where progress is told."""

    def __call__(self, event: Event) -> None:
        """Observe one event; never answers, never raises."""
        ...


@dataclass
class ScriptedSampler:
    """A fake that answers from a function of (messages, seed); remembers what it was asked where a test wants to know.
    Serves tests of logic and dry runs, reachable as `sampler.kind = "scripted"`."""

    script: Callable[[Sequence[Message], int], str]
    remembers: bool = True
    asked: list[tuple[tuple[Message, ...], int]] = field(default_factory=list)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Generation]:
        """Answer every request with the script's text, cut to `sampling.max_tokens` words."""
        generations = []
        for request in requests:
            if self.remembers:
                self.asked.append((request.messages, request.seed))
            words = self.script(request.messages, request.seed).split(" ")
            kept = words[: sampling.max_tokens]
            reason = "stop" if len(kept) == len(words) else "length"
            prompt_tokens = sum(len(message["content"].split()) for message in request.messages)
            generations.append(Generation(" ".join(kept), reason, len(kept), prompt_tokens))
        return generations


def echo_script(messages: Sequence[Message], seed: int) -> str:
    """A deterministic stand-in for a model: a draft drops words of the prompt, a principle names a word that
    stands in the hint, a refinement appends the principle's last word to the draft."""
    last = messages[-1]["content"]
    if last.startswith("A better answer would be:"):
        hint = last.split("\n\n")[0].split(":", 1)[1]
        words = sorted({word.strip(".,!?").lower() for word in hint.split()})
        return f"Mention {words[seed % len(words)]}." if words else "Say more."
    if last.startswith("Name one general principle"):
        return f"Mention {messages[0]['content'].split()[0].strip('.,!?').lower()}."
    if last.startswith("Rewrite your answer to make it better"):
        return f"{messages[1]['content']} more"
    if last.startswith("Rewrite your answer"):
        principle = last.split(": ", 1)[1].split("\n")[0]
        return f"{messages[1]['content']} {principle.rstrip('.').split()[-1]}"
    words = last.split()
    return " ".join(words[: max(1, len(words) - seed % 3)])


SCRIPTS: Mapping[str, Callable[[Sequence[Message], int], str]] = {"echo": echo_script}


@dataclass(frozen=True)
class ScriptedTrainer:
    """A fake that learns nothing: it writes down how many rows it was given. Goes with the scripted sampler."""

    def train(self, job: TrainingJob, emit: Emit) -> TrainingResult:
        """Write a checkpoint folder without weights."""
        folder = Path(job.model_out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scripted.json").write_text(json.dumps({"rows": len(job.rows)}), encoding="utf-8")
        return TrainingResult(job.model_out, 0, 0, 0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Parts:
    """What a run is made of. Models come and go with the iterations, so samplers, perplexities and trainers
    are made on demand, from a model path or an iteration. `spread`, where there is one, does the E-step of a stage
    on other machines and commits every chunk of the examples."""

    scorer: Scorer
    sampler: Callable[[str], Sampler]
    embedder: Callable[[], Embedder]
    perplexity: Callable[[str], Perplexity]
    trainer: Callable[[int], Trainer]
    digest: Callable[[str], str]
    spread: Callable[[Stage, Sequence[Example]], None] | None = None
