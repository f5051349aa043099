"""How much memory the weights, their cache and their training take, from a checkpoint's shapes.

Activations are not in it: they depend on the micro batch, which the trainer's own error tells when it is too large.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from lpd_core import machine
from lpd_core.config import RunConfig, resolve_path
from lpd_core.errors import DataError
from lpd_core.findings import Preflight
from lpd_core.model_files import weight_shapes

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
MASTER = 4
"""Bytes of a weight while it is trained: float32, whatever the arithmetic of the step."""
LEARNT = 16
"""Bytes of a weight that is learnt: itself, its gradient and AdamW's two moments, all float32."""
SPLIT = {"fsdp2": LEARNT, "deepspeed_zero3": LEARNT, "deepspeed_zero2": LEARNT - MASTER}
"""Of those, the bytes that each shipped way of launching splits among its processes."""
EMBEDDINGS = ("embed", "wte", "lm_head")


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes for each process: `weights` and the `cache` of one chat of full length to sample, `training` to learn."""

    weights: int
    cache: int
    training: int

    @property
    def sampling(self) -> int:
        """What sampling takes at the least: the weights and one chat."""
        return self.weights + self.cache


def check_memory(report: Preflight, config: RunConfig, home: Path) -> None:
    """Note what sampling and training take and what there is: of each GPU, or of the machine."""
    folder = resolve_path(config.model.path) if config.model.path else None
    if config.sampler.kind == "scripted" or folder is None or not folder.is_dir():
        return
    needs = report.guard(needs_of, config, folder)
    if needs is None:
        return
    now = machine.look(home)
    on_gpu = bool(now.gpus) and config.model.device in ("auto", "cuda")
    available = min(gpu.memory_total for gpu in now.gpus) if on_gpu else now.memory_available
    samples = config.sampler.kind != "openai"
    sampling = needs.sampling * (1 if on_gpu else config.sampler.workers) * samples
    training = needs.training * (1 if on_gpu else config.m_step.processes)
    report.facts["memory"] = {
        "needed_bytes": training,
        "sampling_bytes": sampling,
        "available_bytes": available,
        "place": "each GPU" if on_gpu else "this machine",
    }
    mends = {
        "sampling": "set model.dtype = bfloat16, spread the model (sampler.tensor_parallel) or take a smaller one",
        "training": "use LoRA (m_step.lora_rank), several processes with m_step.accelerate_config = fsdp2, or a smaller "
        "model",
    }
    for what, needed in (("sampling", sampling), ("training", training)):
        if needed > available:
            report.warn(
                f"{what} needs about {needed / 1e9:.1f} GB beside activations, {available / 1e9:.1f} GB are there on "
                f"{'each GPU' if on_gpu else 'this machine'}",
                mends[what],
            )


def needs_of(config: RunConfig, folder: Path) -> Needs:
    """What the checkpoint in a folder takes under a configuration. Raises `DataError` where its shapes cannot be
    read."""
    shapes = weight_shapes(folder)
    count = sum(map(prod, shapes.values()))
    width = BYTES[config.model.dtype]
    split = config.sampler.tensor_parallel if config.sampler.kind == "vllm" else 1
    return Needs(
        weights=count * width // split,
        cache=cache_bytes_of_token(folder, width) * config.model.max_length // split,
        training=_training(config, shapes, count),
    )


def cache_bytes_of_token(folder: Path, width: int) -> int:
    """Bytes of the keys and values of one token, each number `width` bytes; 0 where the checkpoint does not tell.
    Raises `DataError` where its config.json cannot be read."""
    file = folder / "config.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        told = told.get("text_config", told)
        heads = told["num_attention_heads"]
        size = told.get("head_dim") or told["hidden_size"] // heads
        return 2 * told["num_hidden_layers"] * (told.get("num_key_value_heads") or heads) * size * width
    except (OSError, ValueError) as cause:
        raise DataError(f"{file} cannot be read: {cause}") from cause
    except (KeyError, TypeError, AttributeError, ZeroDivisionError):
        return 0


def _training(config: RunConfig, shapes: dict[str, tuple[int, ...]], count: int) -> int:
    step = config.m_step
    if step.lora_rank:
        linear = [s for n, s in shapes.items() if len(s) == 2 and not any(e in n for e in EMBEDDINGS)]
        return count * MASTER + LEARNT * step.lora_rank * sum(map(sum, linear))
    parted = SPLIT.get(step.accelerate_config, 0) if step.processes > 1 else 0
    return count * (LEARNT - parted) + count * parted // step.processes
