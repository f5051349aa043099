"""The finished model of a training: written whole or not at all, recognised again, proved to load."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lpd_core.errors import StageFailed, UserError
from lpd_core.model_files import check_model_folder
from lpd_core.store.run_folder import sync
from lpd_core.types import TrainingResult

RESULT = "result.json"
ADAPTER = "adapter"


def save_model(
    model: Any,
    tokenizer: Any,
    result: TrainingResult,
    digest: str,
    weights: Any = None,
    keep_adapter: bool = False,
) -> None:
    """Write model, tokenizer and result beside `model_out`, then rename: it is there whole or not at all.

    LoRA is merged into the weights, its adapter written beside them where it is kept. `weights` take the place of
    the model's own, where those are spread over processes."""
    out = Path(result.model_out)
    temporary = out.with_name(f"{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    if hasattr(model, "merge_and_unload"):
        if keep_adapter:
            model.save_pretrained(temporary / ADAPTER)
            _name_base(temporary / ADAPTER / "adapter_config.json")
        generation, model = model.generation_config, model.merge_and_unload()
        model.generation_config = generation
    model.save_pretrained(temporary, state_dict=weights)
    tokenizer.save_pretrained(temporary)
    text = json.dumps({**asdict(result), "job_digest": digest}, indent=2)
    (temporary / RESULT).write_text(text, encoding="utf-8")
    for written in (*temporary.rglob("*"), temporary):
        sync(written)
    temporary.rename(out)


def _name_base(file: Path) -> None:
    """Leave of the base's path in an adapter's configuration the last part: the rest is this machine's own affair."""
    told = json.loads(file.read_text(encoding="utf-8"))
    told["base_model_name_or_path"] = Path(told["base_model_name_or_path"]).name
    file.write_text(json.dumps(told, indent=2), encoding="utf-8")


def recorded_result(out: Path, digest: str) -> TrainingResult:
    """The result that the same job left in `out`. Raises `UserError` where another job's model is there."""
    try:
        told = json.loads((out / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise UserError(
            f"{out} exists but holds no training result; nothing is overwritten: move it away"
        ) from cause
    if told.pop("job_digest") != digest:
        raise UserError(
            f"{out} holds the model of other rows or settings; nothing is overwritten: move it away"
        )
    check_model_folder(out)
    return TrainingResult(**{**told, "model_out": str(out)})


def check_loads(folder: Path, trust_remote_code: bool = False) -> None:
    """Raises `StageFailed` unless plain transformers finds in a checkpoint's folder its tokenizer and, with its
    shape, every weight that the architecture of its config wants, and no other. Reads no weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"trust_remote_code": trust_remote_code, "local_files_only": True}
    try:
        check_model_folder(folder)
        AutoTokenizer.from_pretrained(folder, **options)
        _, told = AutoModelForCausalLM.from_pretrained(
            folder, device_map="meta", output_loading_info=True, use_safetensors=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, UserError) as cause:
        first = next(iter(str(cause).splitlines()), type(cause).__name__)
        raise StageFailed(f"the model in {folder} does not load with transformers: {first}") from cause
    wrong = {kind: sorted(map(str, names)) for kind, names in told.items() if names}
    if wrong:
        listed = "; ".join(
            f"{kind.replace('_', ' ')}: {', '.join(names[:3])}" for kind, names in wrong.items()
        )
        raise StageFailed(f"the model in {folder} does not load with transformers ({listed})")
