"""A model read from a checkpoint's folder or by its hub name, on its device, ready for inference."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel
from transformers.utils import logging

from lpd_core.errors import UserError
from lpd_core.samplers.chat import first_line, is_local


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA, then MPS, then the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def load_model(path: str, dtype: str, device: str, trust_remote_code: bool) -> PreTrainedModel:
    """The weights as a model in evaluation mode. Only safetensors are read, since a pickle can run code.

    Raises `UserError` when they cannot be loaded. A folder is read without touching the network."""
    local = is_local(path)
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            local_files_only=local,
            use_safetensors=True,
        )
        return model.to(choose_device(device)).eval()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AssertionError) as cause:
        message = f"could not load the model {path} as {dtype} on {device}: {first_line(cause)}"
        raise UserError(message) from cause


def stop_tokens(model: PreTrainedModel, *further: int | None) -> tuple[int, ...]:
    """Every token that ends a completion: those of the checkpoint's settings and `further` ones."""
    listed = model.generation_config.eos_token_id
    named = listed if isinstance(listed, list) else [listed]
    return tuple(sorted({token for token in (*named, *further) if token is not None}))


def forget_generation_settings(model: PreTrainedModel) -> None:
    """Drop what the checkpoint says about sampling (temperature, penalties): the configuration decides."""
    model.generation_config = GenerationConfig()
