"""Small training jobs on the tiny model, shared by the tests of the trainer."""

from __future__ import annotations

from pathlib import Path

from models import SENTENCES

from lpd_core.config import ModelConfig, MStepConfig
from lpd_core.events import Progress
from lpd_core.types import TrainingJob, TrainingResult, TrainingRow


def training_rows(count: int) -> tuple[TrainingRow, ...]:
    """Rows of different lengths, texts and weights."""
    words = " ".join(SENTENCES).split()
    rows = []
    for n in range(count):
        principle = " ".join(words[n : n + 3 + n % 3])
        response = " ".join(words[2 * n % 40 : 2 * n % 40 + 4 + 5 * n % 13])
        turns = (
            words[n],
            " ".join(words[: 1 + n % 5]),
            "Name it.",
            principle,
            f"Rewrite: {principle}",
            response,
        )
        roles = ["user", "assistant"] * 3
        messages = tuple({"role": role, "content": text} for role, text in zip(roles, turns, strict=True))
        rows.append(TrainingRow(f"p{n}", 0, principle, messages, (3, 5), weight=1.0 + n % 2))
    return tuple(rows)


def job_in(folder: Path, base: Path, rows: tuple[TrainingRow, ...], seed: int = 7) -> TrainingJob:
    return TrainingJob(rows, str(base), str(folder / "out"), str(folder / "work"), seed)


SMALL = {"learning_rate": 1e-3, "batch_size": 6, "micro_batch": 3, "threads": 1}


def tiny_config(base: Path | str, max_length: int = 512) -> ModelConfig:
    return ModelConfig(path=str(base), device="cpu", max_length=max_length)


def fit(job: TrainingJob, max_length: int = 512, stop_at: int = 0, **settings) -> tuple[TrainingResult, list]:
    """Train with small settings, overlaid by `settings`, raising after step `stop_at`; result and events."""
    from lpd_core.training import SupervisedTrainer

    events: list = []

    def emit(event) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.done == stop_at:
            raise RuntimeError("stopped by the test")

    config = MStepConfig(**{**SMALL, "epochs": 1, **settings})
    return SupervisedTrainer(config, tiny_config(job.model_in, max_length), 2).train(job, emit), events


def weights_of(folder: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")
