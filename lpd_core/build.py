"""Where names in the configuration become parts. Nothing is loaded before a part is asked for."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpd_core.config import RunConfig, resolve_path
from lpd_core.errors import ConfigError, suggest
from lpd_core.parts import (
    SCRIPTS,
    Embedder,
    OneAtATime,
    Parts,
    Perplexity,
    Sampler,
    Scorer,
    ScriptedSampler,
    ScriptedTrainer,
    Trainer,
)
from lpd_core.scoring import RougeL
from lpd_core.types import Example

if TYPE_CHECKING:
    from lpd_core.judge import Judge
    from lpd_core.stage import Stage


def build_parts(config: RunConfig, cache: Path) -> Parts:
    """The parts a configuration names; `cache` is a folder for embeddings."""
    return Parts(
        scorer=OneAtATime(build_scorer(config, cache)),
        sampler=lambda model: build_sampler(config, model),
        embedder=lambda: build_embedder(config, cache),
        perplexity=lambda model: build_perplexity(config, model),
        trainer=lambda iteration: build_trainer(config, iteration),
        digest=lambda model: digest(config, model),
        spread=build_spread(config),
    )


def build_spread(config: RunConfig) -> Callable[[Stage, Sequence[Example]], None] | None:
    """What does the E-step elsewhere; None for the stage's own processes."""
    if config.e_step.engine == "processes":
        return None
    from lpd_core.on_ray.pipeline import mine_on_ray

    return mine_on_ray


def build_sampler(config: RunConfig, model: str) -> Sampler:
    """The configured sampler over the weights at `model`. Raises `UserError` where its library is missing."""
    kind = config.sampler.kind
    if kind == "scripted":
        if config.sampler.script not in SCRIPTS:
            raise ConfigError(
                f"unknown script {config.sampler.script!r}; {suggest(config.sampler.script, SCRIPTS)}"
            )
        return ScriptedSampler(SCRIPTS[config.sampler.script], remembers=False)
    if kind == "vllm":
        from lpd_core.samplers.vllm import VllmSampler

        return VllmSampler(model, config.model, config.sampler)
    if kind == "openai":
        from lpd_core.samplers.openai import ServerSampler

        return ServerSampler(model, served_name(config, model), config.model, config.sampler)
    from lpd_core.samplers.transformers import TransformersSampler

    return TransformersSampler(model, config.model, config.sampler)


def build_scorer(config: RunConfig, cache: Path, ask: bool = True) -> Scorer:
    """The configured similarity; with `ask` off, a judge answers from its kept verdicts only."""
    scoring = config.scoring
    if scoring.kind != "mixture":
        return _named_scorer(scoring.kind, config, cache, ask)
    from lpd_core.scorers.mixture import MixtureScorer

    return MixtureScorer(
        tuple((weight, _named_scorer(name, config, cache, ask)) for name, weight in scoring.mixture.items())
    )


def _named_scorer(name: str, config: RunConfig, cache: Path, ask: bool) -> Scorer:
    if name == "rouge_l":
        return RougeL(stemmer=config.scoring.stemmer)
    if name == "embedding":
        from lpd_core.scorers.embedding import EmbeddingScorer

        return EmbeddingScorer(lambda: _embedder(config.scoring.embedder, config, cache))
    from lpd_core.judge import load_prompts
    from lpd_core.scorers.judged import JudgeScorer

    settings = config.scoring.judge
    judge = build_judge(config, cache, ask)
    return JudgeScorer(judge, load_prompts(settings.rubric), settings.mode, settings.votes)


def build_judge(config: RunConfig, cache: Path, ask: bool = True) -> Judge:
    """The configured judge; with `ask` off, one that knows its kept verdicts only."""
    from lpd_core.judge import Judge, VerdictCache

    settings = config.scoring.judge
    model = settings.model if settings.model.path else config.model
    own = config.model_copy(update={"model": model, "sampler": settings.sampler})
    path = str(resolve_path(model.path)) if model.path and resolve_path(model.path).exists() else model.path
    name = judge_name(own, path)
    sampler = (lambda: build_sampler(own, path)) if ask else None
    return Judge(name, sampler, settings.sampling, settings.retries, VerdictCache(cache))


def judge_name(config: RunConfig, model: str) -> str:
    """What a judge's verdicts carry: the engine, and the model's name with its weights' digest or its server."""
    sampler = config.sampler
    if sampler.kind == "scripted":
        return f"scripted:{sampler.script}"
    if sampler.kind == "openai":
        return f"openai:{sampler.served or model}@{(sampler.addresses() or [sampler.serve])[0]}"
    if not Path(model).exists():
        return f"{sampler.kind}:{model}"
    return f"{sampler.kind}:{Path(model).name}@{digest(config, model)[:16]}"


def served_name(config: RunConfig, model: str) -> str:
    """The name to ask the server for. A server that we do not start keeps serving M_0 under `sampler.served` when
    M_1 is there, so trained checkpoints are asked for by their path."""
    is_base = Path(model).absolute() == resolve_path(config.model.path).absolute()
    return config.sampler.served if config.sampler.served and (is_base or config.sampler.serve) else model


def build_embedder(config: RunConfig, cache: Path) -> Embedder:
    """The configured embedder of principles."""
    return _embedder(config.cluster.embedder, config, cache)


def _embedder(name: str, config: RunConfig, cache: Path) -> Embedder:
    from lpd_core.embedding import HashEmbedder, SentenceEmbedder

    if name == "hash":
        return HashEmbedder()
    return SentenceEmbedder(name, cache, threads=config.sampler.threads)


def build_perplexity(config: RunConfig, model: str) -> Perplexity:
    """Perplexities under the weights at `model`."""
    if config.sampler.kind == "scripted":
        raise ConfigError('cluster.label = "perplexity" needs a real model; the scripted sampler has none')
    from lpd_core.samplers.perplexity import TransformersPerplexity

    return TransformersPerplexity(model, config.model, config.sampler)


def build_trainer(config: RunConfig, iteration: int) -> Trainer:
    """The trainer of the M-step."""
    if config.sampler.kind == "scripted":
        return ScriptedTrainer()
    from lpd_core.training import SupervisedTrainer

    return SupervisedTrainer(config.m_step, config.model, iteration=iteration)


def digest(config: RunConfig, model: str) -> str:
    """The SHA-256 over a checkpoint's safetensors; `scripted` for the fake, the name itself for a hub model."""
    if config.sampler.kind == "scripted":
        return "scripted"
    path = Path(model)
    if not path.exists():
        return model
    from lpd_core.model_files import model_digest

    return model_digest(path)


def stage_python(config: RunConfig, name: str) -> str:
    """The interpreter of a stage: that of the sampler where the stage samples, else this one."""
    return config.sampler.python if _samples(config, name) and config.sampler.python else sys.executable


def stage_launcher(config: RunConfig, name: str) -> list[str]:
    """What is put before the command of a stage that samples, where it runs on other machines."""
    return shlex.split(config.sampler.launcher) if _samples(config, name) else []


def _samples(config: RunConfig, name: str) -> bool:
    return name in ("e_step", "evaluate") or (name == "relabel" and config.cluster.rerefine)


def stage_environment(config: RunConfig) -> dict[str, str]:
    """The environment of a stage process: passive OpenMP waiting (busy neighbours otherwise slow two threads
    twentyfold), and no network where every model is a local folder."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    if config.model.path and resolve_path(config.model.path).exists() and not fetched_models(config):
        environment.setdefault("HF_HUB_OFFLINE", "1")
    return environment


def fetched_models(config: RunConfig) -> dict[str, str]:
    """The models beside `model.path` that are no folder here, so that they come from the hub, by their settings."""
    from lpd_core.embedding import PACKAGED

    scoring = config.scoring
    named = {"cluster.embedder": config.cluster.embedder}
    if "embedding" in scoring.parts:
        named["scoring.embedder"] = scoring.embedder
    if "judge" in scoring.parts and scoring.judge.sampler.kind in ("transformers", "vllm"):
        named["scoring.judge.model.path"] = scoring.judge.model.path
    packaged = ("", PACKAGED, "hash")
    return {
        setting: name
        for setting, name in named.items()
        if name not in packaged and not resolve_path(name).exists()
    }
