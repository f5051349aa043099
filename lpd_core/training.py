"""The trainer of the M-step: supervised fine-tuning with TRL on the trained turns of each row, nothing else.

A killed training goes on from its last whole checkpoint and ends, on the CPU with as many threads, with the
same weights as one that was not killed. The finished model appears at `model_out` at once, by a rename.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lpd_core.config import ModelConfig, MStepConfig
from lpd_core.errors import ConfigError, StageFailed, UserError, boundary
from lpd_core.events import Measured, Progress, StageStarted, Warned
from lpd_core.label_mask import encode_row, token_weights
from lpd_core.model_files import check_model_folder, last_whole_checkpoint
from lpd_core.parts import Emit
from lpd_core.types import TrainingJob, TrainingResult, TrainingRow

STAGE = "m_step"
RESULT = "result.json"
JOB = "job.json"
CURVES = ("loss", "grad_norm", "learning_rate", "tokens_per_second")


@dataclass(frozen=True)
class SupervisedTrainer:
    """Fits the rows of a job to the settings of the M-step. `system` is the system turn put before every chat,
    as when sampling; `iteration` goes into the events."""

    config: MStepConfig
    model: ModelConfig
    iteration: int = 0
    system: str = ""

    def train(self, job: TrainingJob, emit: Emit) -> TrainingResult:
        """Train, or go on training, or return the result of the same job if that is finished.

        Raises `UserError` when rows cannot be masked or `model_out` is taken by another job, `ConfigError` when
        the settings do not fit the machine, `StageFailed` when training breaks."""
        out, work_dir, digest = Path(job.model_out), Path(job.work_dir), self._digest(job)
        if out.exists():
            result = _recorded(out, digest)
        else:
            checkpoint = self._resume_point(work_dir, digest, emit)
            with boundary(StageFailed, f"train {out}"):
                result = self._fit(job, digest, checkpoint, emit)
        for folder in work_dir.glob("checkpoint-*"):
            shutil.rmtree(folder)  # served their end; an 8B model's take 100 GB each
        return result

    def _digest(self, job: TrainingJob) -> str:
        """SHA-256 of all that decides the weights, so that no other job's checkpoint is taken for this one's."""
        told = {
            "rows": [asdict(row) for row in job.rows],
            "config": self.config.model_dump(mode="json"),
            "model": self.model.model_dump(mode="json"),
            "system": self.system,
            "model_in": job.model_in,
            "seed": job.seed,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _resume_point(self, work_dir: Path, digest: str, emit: Emit) -> Path | None:
        """The last whole checkpoint of this very job, if any; another job's are removed."""
        work_dir.mkdir(parents=True, exist_ok=True)
        owner = work_dir / JOB
        if not owner.exists() or json.loads(owner.read_text(encoding="utf-8"))["digest"] != digest:
            for folder in work_dir.glob("checkpoint-*"):
                self._warn(emit, f"removed {folder}: it belongs to other rows or settings")
                shutil.rmtree(folder)
            owner.write_text(json.dumps({"digest": digest}), encoding="utf-8")
        return last_whole_checkpoint(work_dir)

    def _fit(self, job: TrainingJob, digest: str, checkpoint: Path | None, emit: Emit) -> TrainingResult:
        import torch

        from lpd_core.weighted_sft import plan_steps

        began = time.perf_counter()
        torch.set_num_threads(self.config.threads)
        tokenizer = _load_tokenizer(job.model_in, self.model.trust_remote_code)
        dataset = self._dataset(tokenizer, job, emit)
        lengths = [len(ids) for ids in dataset["input_ids"]]
        trained = [sum(label >= 0 for label in labels) for labels in dataset["labels"]]
        plan = plan_steps(lengths, self.config.batch_size, self.config.epochs, job.seed)
        trainer, generation = self._trainer(job, tokenizer, dataset, lengths, plan, emit)
        done = int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0
        emit(StageStarted(self.iteration, STAGE, len(plan), "steps", done))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        result = TrainingResult(
            model_out=job.model_out,
            steps=len(plan),
            tokens=sum(lengths[row] for batch in plan for row in batch),
            trained_tokens=sum(trained[row] for batch in plan for row in batch),
            first_loss=losses[0],
            last_loss=losses[-1],
            seconds=time.perf_counter() - began,
        )
        model = trainer.model.merge_and_unload() if self.config.lora_rank else trainer.model
        model.generation_config = generation
        _save(model, tokenizer, result, digest)
        return result

    def _dataset(self, tokenizer: Any, job: TrainingJob, emit: Emit):
        """The rows as tokens with labels and weights; those longer than the model's `max_length` are left out."""
        from datasets import Dataset, disable_progress_bars

        columns: dict[str, list] = {"input_ids": [], "labels": [], "weights": []}
        for row in job.rows:
            encoded = encode_row(tokenizer, _with_system(row, self.system))
            if len(encoded.input_ids) <= self.model.max_length:
                columns["input_ids"].append(encoded.input_ids)
                columns["labels"].append(encoded.labels)
                columns["weights"].append(token_weights(encoded, row.weight, self.config.balanced))
        kept, limit = len(columns["labels"]), self.model.max_length
        if not kept:
            raise UserError(f"each of the {len(job.rows)} training rows is longer than model.max_length = {limit}; raise it")
        if kept < len(job.rows):
            self._warn(emit, f"left out {len(job.rows) - kept} of {len(job.rows)} rows: longer than {limit} tokens")
        disable_progress_bars()
        dataset = Dataset.from_dict(columns)
        if not self.config.packing:
            return dataset
        from trl import pack_dataset

        return pack_dataset(dataset, limit, "bfd")

    def _trainer(self, job: TrainingJob, tokenizer: Any, dataset: Any, lengths: list[int], plan: list, emit: Emit):
        """The ready trainer, and the model's generation settings as they were before TRL aligned them."""
        import torch
        from transformers import AutoModelForCausalLM

        from lpd_core.weighted_sft import WeightedSft, collate

        # Weights are kept in float32: a rate of 1e-6 changes nothing in bfloat16. `dtype` is the arithmetic's.
        model = AutoModelForCausalLM.from_pretrained(
            job.model_in,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=self.model.trust_remote_code,
        )
        generation = copy.deepcopy(model.generation_config)

        def watch(step: int, values: Mapping[str, float]) -> None:
            speed = sum(lengths[row] for row in plan[step - 1]) / values["seconds"]
            told = {**values, "tokens_per_second": speed}
            for name in CURVES:
                emit(Measured(self.iteration, STAGE, step, name, told[name]))
            emit(Progress(self.iteration, STAGE, step, len(plan), {name: told[name] for name in CURVES}))

        trainer = WeightedSft(
            model=model,
            args=self._arguments(job, len(plan)),
            train_dataset=dataset,
            data_collator=partial(collate, pad_id=tokenizer.pad_token_id or 0),
            processing_class=tokenizer,
            peft_config=self._lora(),
            lengths=lengths,
            watch=watch,
        )
        return trainer, generation

    def _arguments(self, job: TrainingJob, steps: int):
        """TRL's settings, each of its defaults that bites set by hand (bf16, checkpointing, log steps)."""
        from trl import SFTConfig

        config, cpu = self.config, self._device() == "cpu"
        micro = max(size for size in range(1, config.micro_batch + 1) if config.batch_size % size == 0)
        return SFTConfig(
            output_dir=job.work_dir,
            max_steps=steps,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=config.batch_size // micro,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(steps * config.warmup),
            weight_decay=config.weight_decay,
            optim="adamw_torch",
            bf16=config.dtype == "bfloat16",
            fp16=False,
            gradient_checkpointing=config.gradient_checkpointing,
            use_cache=True,  # only written into the model's config, where the sampler wants it
            save_strategy="steps",
            save_steps=config.save_steps,
            save_total_limit=2,
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to="none",
            disable_tqdm=True,
            seed=job.seed,
            data_seed=job.seed,
            use_cpu=cpu,
            dataloader_pin_memory=not cpu,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            packing=False,
        )

    def _device(self) -> str:
        """The device to train on. Raises `ConfigError` when it is not there, or several processes were started."""
        import torch

        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("training runs in one process on one device; start it without torchrun or accelerate")
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        device = next(name for name, found in there.items() if found) if self.model.device == "auto" else self.model.device
        if not there[device]:
            raise ConfigError(f"model.device is {device!r}, which torch does not find here; set it to auto or cpu")
        return device

    def _lora(self):
        from peft import LoraConfig

        rank = self.config.lora_rank
        if not rank:
            return None
        return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")

    def _warn(self, emit: Emit, message: str) -> None:
        emit(Warned(self.iteration, STAGE, message))


def _with_system(row: TrainingRow, system: str) -> TrainingRow:
    if not system:
        return row
    messages = ({"role": "system", "content": system}, *row.messages)
    return replace(row, messages=messages, trained=tuple(turn + 1 for turn in row.trained))


def _load_tokenizer(model_in: str, trust_remote_code: bool):
    from transformers import AutoTokenizer

    if Path(model_in).exists():
        check_model_folder(Path(model_in))
    with boundary(UserError, f"load the tokenizer of {model_in}"):
        return AutoTokenizer.from_pretrained(model_in, trust_remote_code=trust_remote_code)


def _save(model: Any, tokenizer: Any, result: TrainingResult, digest: str) -> None:
    """Write model, tokenizer and result beside `model_out`, then rename: it is there whole or not at all."""
    out = Path(result.model_out)
    temporary = out.with_name(f"{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    text = json.dumps({**asdict(result), "job_digest": digest}, indent=2)
    (temporary / RESULT).write_text(text, encoding="utf-8")
    temporary.rename(out)


def _recorded(out: Path, digest: str) -> TrainingResult:
    """The result that the same job left in `out`."""
    try:
        told = json.loads((out / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise UserError(f"{out} exists but holds no training result; nothing is overwritten: move it away") from cause
    if told.pop("job_digest") != digest:
        raise UserError(f"{out} holds the model of other rows or settings; nothing is overwritten: move it away")
    check_model_folder(out)
    return TrainingResult(**{**told, "model_out": str(out)})
