"""The trainer of the M-step: supervised fine-tuning with TRL on the trained turns of each row, nothing else.

A killed training goes on from its last whole checkpoint and ends, on the CPU with as many threads, with the
same weights as one that was not killed. The finished model appears at `model_out` at once, by a rename.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lpd_core.config import ModelConfig, MStepConfig, resolve_path
from lpd_core.errors import ConfigError, StageFailed, UserError, boundary
from lpd_core.events import Measured, Progress, StageStarted, Warned
from lpd_core.label_mask import IGNORED, encode_row, token_weights
from lpd_core.model_files import check_model_folder, last_whole_checkpoint
from lpd_core.parts import Emit
from lpd_core.samplers.chat import is_local, load_tokenizer
from lpd_core.types import TrainingJob, TrainingResult

STAGE = "m_step"
RESULT = "result.json"
JOB = "job.sha256"


@dataclass(frozen=True)
class Workload:
    """Tokenised rows and what is done with them: `lengths` and `trained` are tokens a row, `plan` the rows of
    every optimiser step."""

    dataset: Any
    lengths: list[int]
    trained: list[int]
    plan: list[list[int]]

    def total(self, counts: list[int]) -> int:
        """The sum of a row's count over the whole plan."""
        return sum(counts[row] for batch in self.plan for row in batch)


@dataclass(frozen=True)
class SupervisedTrainer:
    """Fits the rows of a job to the settings of the M-step; `iteration` goes into the events."""

    config: MStepConfig
    model: ModelConfig
    iteration: int

    def train(self, job: TrainingJob, emit: Emit) -> TrainingResult:
        """Train, or go on training, or return the result of the same job if that is finished.

        Raises `UserError` when the model cannot be loaded, rows cannot be masked or `model_out` is taken by
        another job, `ConfigError` in a distributed launch, `StageFailed` when training breaks."""
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("training runs in one process on one device; start it without torchrun")
        job = replace(job, model_in=str(resolve_path(job.model_in)))
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
        """SHA-256 of all that decides the weights, so that another job's checkpoint is not taken for its."""
        told = {
            "rows": [asdict(row) for row in job.rows],
            "config": self.config.model_dump(mode="json"),
            "model": self.model.model_dump(mode="json"),
            "model_in": job.model_in,
            "seed": job.seed,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _resume_point(self, work_dir: Path, digest: str, emit: Emit) -> Path | None:
        """The last whole checkpoint of this very job, if any; another job's are removed."""
        work_dir.mkdir(parents=True, exist_ok=True)
        owner = work_dir / JOB
        if not owner.exists() or owner.read_text(encoding="utf-8") != digest:
            for folder in work_dir.glob("checkpoint-*"):
                self._warn(emit, f"removed {folder}: it belongs to other rows or settings")
                shutil.rmtree(folder)
            owner.write_text(digest, encoding="utf-8")
        return last_whole_checkpoint(work_dir)

    def _fit(self, job: TrainingJob, digest: str, checkpoint: Path | None, emit: Emit) -> TrainingResult:
        import torch

        began = time.perf_counter()
        torch.set_num_threads(self.config.threads)
        if is_local(job.model_in):
            check_model_folder(Path(job.model_in))
        tokenizer = load_tokenizer(job.model_in, self.model)
        work = self._workload(tokenizer, job, emit)
        trainer, generation = self._trainer(job, tokenizer, work, emit)
        done = int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0
        emit(StageStarted(self.iteration, STAGE, len(work.plan), "steps", done))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        result = TrainingResult(
            model_out=job.model_out,
            steps=len(work.plan),
            tokens=work.total(work.lengths),
            trained_tokens=work.total(work.trained),
            first_loss=losses[0],
            last_loss=losses[-1],
            seconds=time.perf_counter() - began,
        )
        model = trainer.model.merge_and_unload() if self.config.lora_rank else trainer.model
        model.generation_config = generation
        _save(model, tokenizer, result, digest)
        return result

    def _workload(self, tokenizer: Any, job: TrainingJob, emit: Emit) -> Workload:
        """The rows as tokens with labels and weights, without those longer than the model's `max_length` and
        those whose texts the template cannot keep: one bad row is told, never a dead run."""
        from datasets import Dataset, disable_progress_bars
        from trl import pack_dataset

        from lpd_core.weighted_sft import plan_steps

        columns: dict[str, list] = {"input_ids": [], "labels": [], "weights": []}
        left_out = []
        for row in job.rows:
            try:
                encoded = encode_row(tokenizer, row)
            except UserError as cause:
                left_out.append(str(cause))
                continue
            if len(encoded.input_ids) > self.model.max_length:
                left_out.append(f"longer than model.max_length = {self.model.max_length} tokens")
                continue
            columns["input_ids"].append(encoded.input_ids)
            columns["labels"].append(encoded.labels)
            columns["weights"].append(token_weights(encoded, row.weight, self.config.balanced))
        self._tell_left_out(left_out, len(job.rows), emit)
        disable_progress_bars()
        dataset = Dataset.from_dict(columns)
        if self.config.packing:
            dataset = pack_dataset(dataset, self.model.max_length, "bfd")
        lengths = [len(ids) for ids in dataset["input_ids"]]
        trained = [sum(label != IGNORED for label in labels) for labels in dataset["labels"]]
        plan = plan_steps(lengths, self.config.batch_size, self.config.epochs, job.seed)
        return Workload(dataset, lengths, trained, plan)

    def _tell_left_out(self, reasons: list[str], rows: int, emit: Emit) -> None:
        if len(reasons) == rows:
            raise UserError(f"none of the {rows} training rows can be trained on; the first: {reasons[0]}")
        for reason, count in Counter(reasons).most_common(3):
            self._warn(emit, f"left out {count} of {rows} training rows: {reason}")

    def _trainer(self, job: TrainingJob, tokenizer: Any, work: Workload, emit: Emit):
        """The ready trainer, and the model's generation settings as they were before it aligned them."""
        from lpd_core.samplers.checkpoint import load_model
        from lpd_core.weighted_sft import WeightedSft, collate

        # The weights stay float32, since bfloat16 would round small steps away; `dtype` is the arithmetic's.
        model = load_model(job.model_in, "float32", self.model.device, self.model.trust_remote_code)
        generation = copy.deepcopy(model.generation_config)
        trainer = WeightedSft(
            model=model,
            args=self._arguments(job, len(work.plan)),
            train_dataset=work.dataset,
            data_collator=partial(collate, pad_id=tokenizer.pad_token_id or 0),
            processing_class=tokenizer,
            peft_config=self._lora(),
            lengths=work.lengths,
            watch=partial(self._tell_step, work, emit),
        )
        return trainer, generation

    def _tell_step(self, work: Workload, emit: Emit, step: int, values: Mapping[str, float]) -> None:
        tokens = sum(work.lengths[row] for row in work.plan[step - 1])
        curves = {name: values[name] for name in ("loss", "grad_norm", "learning_rate")}
        curves["tokens_per_second"] = tokens / values["seconds"]
        for name, value in curves.items():
            emit(Measured(self.iteration, STAGE, step, name, value))
        emit(Progress(self.iteration, STAGE, step, len(work.plan), curves))

    def _arguments(self, job: TrainingJob, steps: int):
        """TRL's settings, each of its defaults that bites set by hand (bf16, checkpointing, log steps)."""
        from trl import SFTConfig

        from lpd_core.samplers.checkpoint import choose_device

        config, cpu = self.config, choose_device(self.model.device).type == "cpu"
        micro = max(size for size in range(1, config.micro_batch + 1) if config.batch_size % size == 0)
        return SFTConfig(
            output_dir=job.work_dir,
            max_steps=steps,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=config.batch_size // micro,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=int(steps * config.warmup),
            weight_decay=config.weight_decay,
            optim="adamw_torch_fused",
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

    def _lora(self):
        from peft import LoraConfig

        rank = self.config.lora_rank
        if not rank:
            return None
        return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")

    def _warn(self, emit: Emit, message: str) -> None:
        emit(Warned(self.iteration, STAGE, message))


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
        raise UserError(
            f"{out} exists but holds no training result; nothing is overwritten: move it away"
        ) from cause
    if told.pop("job_digest") != digest:
        raise UserError(
            f"{out} holds the model of other rows or settings; nothing is overwritten: move it away"
        )
    check_model_folder(out)
    return TrainingResult(**{**told, "model_out": str(out)})
