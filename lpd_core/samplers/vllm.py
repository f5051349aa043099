"""The sampler over vLLM's offline engine: our rendered chats and seeds in, tokens out.

It needs vLLM in the stage's interpreter (`sampler.python`). On a CPU the engine lives in the stage's own process,
which starts it ten times faster and leaves nothing behind when the stage is killed; chunked prefill is off there,
because a seeded request whose prefill is cut in two ends vLLM's CPU engine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from lpd_core.config import Sampling
from lpd_core.errors import UserError
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.samplers.answers import StopTexts, without_thinking
from lpd_core.samplers.chat import end_of_turn, first_line, load_tokenizer
from lpd_core.samplers.groups import Group, Prompter
from lpd_core.types import Generation, SampleRequest

SEEDS = 2**31  # engines take seeds below this
CPU_BATCH = 8192  # tokens of one step; at least the longest chat, since prefills are not cut
CPU_BLOCK = 32  # tokens that are cached together; vLLM takes 128 on CPUs, longer than many a shared prefix


class VllmSampler:
    """Samples from the weights at `path`, a folder or a hub name, with vLLM.

    Raises `UserError` where vLLM is missing or cannot load the weights."""

    def __init__(self, path: str, model: ModelConfig, settings: SamplerConfig):
        self.config, self.settings = model, settings
        self.tokenizer = load_tokenizer(path, model)
        self.prompter = Prompter(self.tokenizer, model)
        self.stops = StopTexts(self.tokenizer, settings.stop)
        self.stop_ids = _stop_ids(path, model, end_of_turn(self.tokenizer), self.tokenizer.eos_token_id)
        self.engine = _engine(path, model, settings)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Generation]:
        """One generation a request, in their order; a chat that is too long or that the template refuses comes back
        as such. Tokens count the stop token. Without temperature the rows of a chat are sampled once."""
        groups, generations = self.prompter.groups(requests, sampling)
        is_greedy = sampling.temperature == 0
        asked = [
            (group, rows)
            for group in groups
            for rows in ([group.rows] if is_greedy else [(row,) for row in group.rows])
        ]
        outputs = self.engine.generate(
            [{"prompt_token_ids": list(group.tokens)} for group, _ in asked],
            [self._parameters(sampling, group.limit, requests[rows[0]].seed) for group, rows in asked],
            use_tqdm=False,
        )
        for (group, rows), output in zip(asked, outputs, strict=True):
            first = self._generation(output, group)
            generations[rows[0]] = first
            shared = self._generation(output, group, cached=len(group.tokens))
            generations.update(dict.fromkeys(rows[1:], shared))
        return [generations[row] for row in range(len(requests))]

    def _parameters(self, sampling: Sampling, limit: int, seed: int) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=limit,
            seed=seed % SEEDS if self.settings.seeded and sampling.temperature else None,
            stop_token_ids=list(self.stop_ids),
            stop=list(self.settings.stop) or None,
            detokenize=bool(self.settings.stop),
        )

    def _generation(self, output: Any, group: Group, cached: int | None = None) -> Generation:
        said = output.outputs[0]
        tokens, text, _ = self.stops.cut(list(said.token_ids))
        reason = said.finish_reason if said.finish_reason in ("stop", "length") else "error"
        made = Generation(
            text,
            reason,
            len(tokens),
            len(group.tokens),
            error=f"vLLM ended the request: {said.finish_reason}" if reason == "error" else None,
            cached_tokens=(output.num_cached_tokens or 0) if cached is None else cached,
            truncated=group.truncated,
        )
        return made if self.config.thinking == "keep" else without_thinking(made, group.opens_thinking)


def _stop_ids(path: str, model: ModelConfig, *further: int | None) -> tuple[int, ...]:
    from transformers import AutoConfig, GenerationConfig

    try:
        listed = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:
        config = AutoConfig.from_pretrained(path, trust_remote_code=model.trust_remote_code)
        listed = GenerationConfig.from_model_config(config).eos_token_id
    named = listed if isinstance(listed, list) else [listed]
    return tuple(sorted({token for token in (*named, *further) if token is not None}))


def _engine(path: str, model: ModelConfig, settings: SamplerConfig) -> Any:
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(max(1, round(settings.cpu_cache_gib))))
    try:
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        if on_cpu:
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        from vllm import LLM
    except (ImportError, RuntimeError) as cause:
        raise UserError(
            f"vLLM cannot be imported by {sys.executable} ({first_line(cause)}): name an interpreter that has it in "
            "sampler.python"
        ) from cause
    try:
        return LLM(model=path, **_engine_options(model, settings, on_cpu))
    except (ValueError, OSError, RuntimeError, AssertionError, KeyError) as cause:
        raise UserError(f"vLLM could not load {path}: {first_line(cause)}") from cause


def _engine_options(model: ModelConfig, settings: SamplerConfig, on_cpu: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "dtype": model.dtype,
        "max_model_len": model.max_length,
        "trust_remote_code": model.trust_remote_code,
        "tensor_parallel_size": settings.tensor_parallel,
        "enable_prefix_caching": True,
        "seed": 0,
    }
    if not on_cpu:
        return options | {"gpu_memory_utilization": settings.gpu_memory}
    return options | {
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(CPU_BATCH, model.max_length),
        "block_size": CPU_BLOCK,
    }
