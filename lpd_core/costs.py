"""What a run will take, by arithmetic: tokens, GPU hours, storage, money. Every assumption has a name and can be changed.

Nothing here is measured; `rates` tells what earlier runs on this machine took. The same counts, with the longest texts
the settings allow, are the preflight's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from math import prod
from typing import Any

from lpd_core.config import RunConfig, resolve_path
from lpd_core.errors import ConfigError, suggest

PARAMETERS = {
    "meta-llama/Llama-3.1-8B-Instruct": 8.03e9,
    "ibm-granite/granite-3.1-8b-instruct": 8.17e9,
    "Qwen/Qwen2.5-7B-Instruct": 7.62e9,
}
"""Parameters of the paper's models, as their cards tell."""
HOUR, GB = 3600.0, 1e9
TRAINED_BYTES, SAVED_BYTES, RESUME_BYTES = 16, 4, 12
"""Bytes of a parameter: while it is learnt (float32 with its gradient and AdamW's moments), in a checkpoint, and in one
to resume from (itself and the moments)."""
RESUME_KEPT = 2
DIVISORS = {
    "sampled_tokens_per_second", "utilisation", "peak_flops_per_second", "prefill_mfu", "training_mfu", "gpus"
}  # fmt: skip
"""Assumptions that something is divided by."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Mean tokens of each text: x, yG, y1, z, the critique, y2, and the words between them in a chat."""

    prompt: float
    gold: float
    draft: float
    principle: float
    critique: float
    refinement: float
    cue: float


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is taken for granted, with its unit in the name or beside it; one GPU is an 80 GB H100.

    `parameters` 0 takes those of the model where they are known. `trained_share` is the share of the mined prompts
    that leave a training row. `utilisation` is the share of the time in which GPUs that sample have work."""

    parameters: float = 0.0
    prompt_tokens: float = 250
    gold_tokens: float = 250
    draft_tokens: float = 250
    principle_tokens: float = 25
    critique_tokens: float = 150
    refinement_tokens: float = 250
    cue_tokens: float = 25
    sampled_tokens_per_second: float = 12_000
    utilisation: float = 0.95
    peak_flops_per_second: float = 989e12
    prefill_mfu: float = 0.4
    training_mfu: float = 0.4
    trained_share: float = 1.0
    bytes_per_token: float = 8
    gpus: int = 8
    price_per_gpu_hour: float = 3.0

    def texts(self) -> Texts:
        """The mean lengths."""
        return Texts(
            self.prompt_tokens,
            self.gold_tokens,
            self.draft_tokens,
            self.principle_tokens,
            self.critique_tokens,
            self.refinement_tokens,
            self.cue_tokens,
        )


def assume(assignments: Iterable[str]) -> Assumptions:
    """The assumptions with `name=value` laid over them. Raises `ConfigError` for what is none of them."""
    known = {field.name: type(field.default) for field in fields(Assumptions)}
    changed: dict[str, Any] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name not in known:
            raise ConfigError(f"no assumption {name!r}; {suggest(name, known)}")
        try:
            changed[name] = known[name](value)
            if not 0 <= changed[name] < float("inf") or (name in DIVISORS and not changed[name]):
                raise ValueError
        except ValueError as cause:
            least = "above 0" if name in DIVISORS else "from 0 on"
            raise ConfigError(f"{name}={value!r} is no {known[name].__name__} {least}") from cause
    return replace(Assumptions(), **changed)


def mined_prompts(config: RunConfig) -> int:
    """How many prompts are mined over all iterations, as configured: data may hold fewer."""
    sizes = config.data.prompts_per_iteration or [0]
    wanted = sum(sizes[min(t, len(sizes) - 1)] for t in range(config.iterations))
    counts = list(config.data.mixture.values())
    whole = counts and all(float(count).is_integer() and count >= 1 for count in counts)
    return min(wanted, int(sum(counts))) if whole else wanted


def generations(config: RunConfig, mined: int, held: int) -> int:
    """Texts sampled over the whole run: mined prompts, and held-out ones before the first iteration and after each."""
    return mined * generations_of_prompt(config) + 3 * held * (config.iterations + 1)


def generations_of_prompt(config: RunConfig) -> int:
    """Generations that mining one prompt takes: its draft, then principle, critique and refinement N times."""
    return 1 + (3 if config.e_step.use_critique else 2) * config.e_step.n


def mined_tokens(config: RunConfig, texts: Texts) -> float:
    """Tokens sampled to mine one prompt."""
    each = texts.principle + texts.refinement + (texts.critique if config.e_step.use_critique else 0)
    return texts.draft + config.e_step.n * each


def measured_tokens(config: RunConfig, texts: Texts, held: int) -> float:
    """Tokens sampled to measure `held` prompts before the first iteration and after each."""
    return held * (texts.draft + texts.principle + texts.refinement) * (config.iterations + 1)


def tokens_at_most(config: RunConfig, mined: int, held: int) -> int:
    """Tokens sampled over the whole run if every text were as long as its role allows."""
    mining, measuring = config.e_step, config.evaluate
    longest = [
        Texts(0, 0, role.draft.max_tokens, z.max_tokens, critique, role.refine.max_tokens, 0)
        for role, z, critique in (
            (mining, mining.propose, mining.critique.max_tokens),
            (measuring, measuring.principle, 0),
        )
    ]
    return int(mined * mined_tokens(config, longest[0]) + measured_tokens(config, longest[1], held))


def prefilled_tokens(config: RunConfig, texts: Texts) -> float:
    """Tokens of prompts that mining one prompt computes where chats that begin alike share their beginning (vLLM's prefix
    cache): x, then y1, the gold and its cue once, and for each principle z and its cue."""
    propose = texts.draft + texts.gold + texts.cue
    refine = texts.cue + config.e_step.n * (texts.principle + texts.cue)
    critique = config.e_step.n * (texts.critique + texts.cue) if config.e_step.use_critique else 0
    return texts.prompt + propose + refine + critique


def parameters_of(config: RunConfig, assumed: Assumptions) -> float:
    """Parameters of the model. Raises `ConfigError` where nothing tells them."""
    if assumed.parameters:
        return assumed.parameters
    folder = resolve_path(config.model.path) if config.model.path else None
    if folder is not None and folder.is_dir():
        from lpd_core.model_files import weight_shapes

        return float(sum(map(prod, weight_shapes(folder).values())))
    if config.model.path not in PARAMETERS:
        raise ConfigError(
            f"the parameters of {config.model.path or 'no model'!r} are not known; say --assume parameters=8e9"
        )
    return PARAMETERS[config.model.path]


def estimate(config: RunConfig, assumed: Assumptions, mined: int, held: int) -> dict[str, Any]:
    """Tokens, GPU hours, storage (GB) and price of a run over `mined` prompts that measures `held`, with the
    assumptions. Sampling: 2 FLOPs a parameter and prompt token, and the sampled tokens at their rate; training: 6 FLOPs
    a parameter and token of each row and epoch."""
    texts, parameters = assumed.texts(), parameters_of(config, assumed)
    sampled = mined * mined_tokens(config, texts)
    measured = measured_tokens(config, texts, held)
    prefilled = mined * prefilled_tokens(config, texts)
    row = texts.prompt + texts.draft + texts.principle + texts.refinement + 2 * texts.cue
    trained = mined * assumed.trained_share * row * config.m_step.epochs
    peak = assumed.peak_flops_per_second
    hours = {
        "e_step": (
            sampled / assumed.sampled_tokens_per_second
            + prefilled * 2 * parameters / (peak * assumed.prefill_mfu)
        )
        / assumed.utilisation
        / HOUR,
        "m_step": trained * 6 * parameters / (peak * assumed.training_mfu) / HOUR,
        "evaluate": measured / assumed.sampled_tokens_per_second / assumed.utilisation / HOUR,
    }
    total = sum(hours.values())
    return {
        "parameters": parameters,
        "prompts": {"mined": mined, "held_out": held, "generations": generations(config, mined, held)},
        "tokens": {"mined": sampled, "prefilled": prefilled, "measured": measured, "trained": trained},
        "gpu_hours": {**hours, "total": total},
        "hours": total / assumed.gpus,
        "price": total * assumed.price_per_gpu_hour,
        "storage_gb": _storage(config, assumed, parameters, sampled + measured),
        "memory_gb": {
            "sampling_weights": parameters * 2 / GB,
            "training": parameters * TRAINED_BYTES / GB,
        },
        "assumptions": asdict(replace(assumed, parameters=parameters)),
    }


def checkpoint_bytes(config: RunConfig, parameters: float) -> float:
    """The most that checkpoints take at once: those of the iterations before the last, and in its training those to resume
    from, of which the oldest goes only when the next is written. Adapters alone are resumed from with LoRA: far less."""
    resumed = 0.0 if config.m_step.lora_rank else (RESUME_KEPT + 1) * RESUME_BYTES
    return parameters * (SAVED_BYTES * config.iterations + resumed)


def _storage(config: RunConfig, assumed: Assumptions, parameters: float, tokens: float) -> dict[str, float]:
    """GB of checkpoints, of those to resume from (while training), and of segments and database (each has the texts)."""
    checkpoints = config.iterations * parameters * SAVED_BYTES
    kept = {
        "checkpoints": checkpoints / GB,
        "to_resume": (checkpoint_bytes(config, parameters) - checkpoints) / GB,
        "rows": 2 * tokens * assumed.bytes_per_token / GB,
    }
    return {**kept, "at_most": sum(kept.values())}
