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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lpd_core.config import ModelConfig, MStepConfig, resolve_path
from lpd_core.errors import ConfigError, StageFailed, boundary
from lpd_core.events import Measured, Progress, StageStarted, Warned
from lpd_core.launch import SHARDED, Assignment, planned_launch, run_launched
from lpd_core.model_files import check_model_folder, last_whole_checkpoint, model_digest
from lpd_core.parts import Emit
from lpd_core.samplers.chat import is_local, load_tokenizer
from lpd_core.trained_model import check_loads, recorded_result, save_model
from lpd_core.types import TrainingJob, TrainingResult
from lpd_core.workload import Workload, prepare_workload, show_row

STAGE = "m_step"
JOB = "job.sha256"


@dataclass(frozen=True)
class SupervisedTrainer:
    """Fits the rows of a job to the settings of the M-step; `iteration` goes into the events."""

    config: MStepConfig
    model: ModelConfig
    iteration: int

    def train(self, job: TrainingJob, emit: Emit) -> TrainingResult:
        """Train, or go on training, or return the result of the same job if that is finished.

        Raises `UserError` when the model cannot be loaded, rows cannot be masked or `model_out` is taken by
        another job, `ConfigError` for processes that cannot be launched, `StageFailed` when training breaks."""
        from lpd_core.samplers.checkpoint import choose_device

        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("the M-step launches its own processes; start it without torchrun")
        job = replace(job, model_in=str(resolve_path(job.model_in)))
        out, work_dir, digest = Path(job.model_out), Path(job.work_dir), self._digest(job)
        launch = planned_launch(self.config, choose_device(self.model.device).type)
        if out.exists():
            result = recorded_result(out, digest)
        else:
            checkpoint = self._resume_point(work_dir, digest, emit)
            with boundary(StageFailed, f"train {out}"):
                if launch is None:
                    self.fit(job, digest, checkpoint, emit)
                else:
                    at = str(checkpoint) if checkpoint else None
                    told = Assignment(job, self.config, self.model, self.iteration, digest, at, launch.kind)
                    run_launched(launch, told, emit)
            result = recorded_result(out, digest)
        check_loads(out, self.model.trust_remote_code)
        for folder in work_dir.glob("checkpoint-*"):
            shutil.rmtree(folder)  # served their end; an 8B model's take 100 GB each
        return result

    def _digest(self, job: TrainingJob) -> str:
        """SHA-256 of all that decides the weights, so that another job's checkpoint is not taken for its. Not of places,
        nor of settings at their defaults: a home that was moved, or a later version with more settings, goes on."""
        local = is_local(job.model_in)
        told = {
            "rows": [asdict(row) for row in job.rows],
            "config": self.config.model_dump(mode="json", exclude_defaults=True),
            "model": self.model.model_dump(mode="json", exclude_defaults=True, exclude={"path"}),
            "model_in": model_digest(Path(job.model_in)) if local else job.model_in,
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

    def fit(
        self,
        job: TrainingJob,
        digest: str,
        checkpoint: Path | None,
        emit: Emit,
        check: Callable[[Any], None] = lambda accelerator: None,
    ) -> None:
        """Train from a checkpoint or the beginning, as the only process or as one of several, and write the model.

        `check` is asked about accelerate's state before anything is trained. Raises as `train` does."""
        import torch

        began = time.perf_counter()
        torch.set_num_threads(self.config.threads)
        if is_local(job.model_in):
            check_model_folder(Path(job.model_in))
        tokenizer = load_tokenizer(job.model_in, self.model)
        work = prepare_workload(tokenizer, job, self.config, self.model, partial(self._warn, emit))
        trainer, generation = self._trainer(job, tokenizer, work, emit)
        check(trainer.accelerator)
        if trainer.accelerator.is_main_process:
            print(show_row(tokenizer, job.rows), flush=True)
        done = int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0
        emit(StageStarted(self.iteration, STAGE, len(work.plan), "steps", done))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        result = self._result(job, work, trainer.state, time.perf_counter() - began)
        trainer.model.generation_config = generation
        self._save(trainer, tokenizer, result, digest)

    def _result(self, job: TrainingJob, work: Workload, state: Any, seconds: float) -> TrainingResult:
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        measured = {entry["step"]: entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry}
        best = (
            min(measured, key=measured.__getitem__)
            if self.config.early_stopping
            else max(measured, default=None)
        )
        return TrainingResult(
            model_out=job.model_out,
            steps=state.global_step,
            tokens=work.total(work.lengths, state.global_step),
            trained_tokens=work.total(work.trained, state.global_step),
            first_loss=losses[0],
            last_loss=losses[-1],
            seconds=seconds,
            validation_loss=measured.get(best),
            best_step=best,
        )

    def _save(self, trainer: Any, tokenizer: Any, result: TrainingResult, digest: str) -> None:
        """Write the model once, from the main process, the others waiting."""
        accelerator = trainer.accelerator
        is_spread = accelerator.distributed_type.value in SHARDED
        # All processes take part in gathering spread weights; the main one gets them.
        weights = accelerator.get_state_dict(trainer.model_wrapped) if is_spread else None
        if accelerator.is_main_process:
            save_model(trainer.model, tokenizer, result, digest, weights, self.config.keep_adapter)
        accelerator.wait_for_everyone()

    def _trainer(self, job: TrainingJob, tokenizer: Any, work: Workload, emit: Emit):
        """The ready trainer, and the model's generation settings as they were before it aligned them."""
        from transformers import EarlyStoppingCallback

        from lpd_core.samplers.checkpoint import load_model
        from lpd_core.weighted_sft import WeightedSft, collate

        config = self.config
        args = self._arguments(job, work)  # first: it sets up the distributed state that loading looks at
        # Trainers place the model themselves, one process on one GPU each.
        device = self.model.device if args.world_size == 1 else "cpu"
        # The weights stay float32, since bfloat16 would round small steps away; `dtype` is the arithmetic's.
        model = load_model(job.model_in, "float32", device, self.model.trust_remote_code)
        generation = copy.deepcopy(model.generation_config)
        trainer = WeightedSft(
            model=model,
            args=args,
            train_dataset=work.dataset,
            eval_dataset=work.held,
            data_collator=partial(collate, pad_id=tokenizer.pad_token_id or 0),
            processing_class=tokenizer,
            peft_config=self._lora(),
            callbacks=[EarlyStoppingCallback(config.early_stopping)] if config.early_stopping else [],
            plan=work.plan,
            watch=partial(self._tell_step, work, emit),
        )
        return trainer, generation

    def _tell_step(self, work: Workload, emit: Emit, step: int, values: Mapping[str, float]) -> None:
        curves = dict(values)
        if "seconds" in values:
            tokens = sum(work.lengths[row] for row in work.plan[step - 1])
            curves["tokens_per_second"] = tokens / curves.pop("seconds")
            curves["tokens"] = work.total(work.lengths, step)
        for name, value in curves.items():
            emit(Measured(self.iteration, STAGE, step, name, value))
        emit(Progress(self.iteration, STAGE, step, len(work.plan), curves))

    def _arguments(self, job: TrainingJob, work: Workload):
        """TRL's settings, each of its defaults that bites set by hand (bf16, checkpointing, log steps)."""
        from trl import SFTConfig

        from lpd_core.samplers.checkpoint import choose_device
        from lpd_core.weighted_sft import micro_size

        config, cpu = self.config, choose_device(self.model.device).type == "cpu"
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        micro = micro_size(config.batch_size, config.micro_batch, processes)
        return SFTConfig(
            output_dir=job.work_dir,
            run_name="-".join(Path(job.model_out).parts[-3:]),
            max_steps=len(work.plan),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=math.ceil(config.batch_size / (micro * processes)),
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=int(len(work.plan) * config.warmup),
            weight_decay=config.weight_decay,
            optim="adamw_torch_fused",
            bf16=config.dtype == "bfloat16",
            fp16=False,
            gradient_checkpointing=config.gradient_checkpointing,
            use_cache=True,  # only written into the model's config, where the sampler wants it
            save_strategy="steps",
            save_steps=config.save_steps,
            save_total_limit=2,
            eval_strategy="steps" if work.held else "no",
            eval_steps=config.save_steps,
            load_best_model_at_end=config.early_stopping > 0,
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            restore_callback_states_from_checkpoint=config.early_stopping > 0,
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to=config.report_to,
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
