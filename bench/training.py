"""Speed of the M-step beside plain TRL: `python -m bench.training [--rows 250] [--model FOLDER]`.

Trains the same rows with our trainer and with TRL's `assistant_only_loss`, at one and at two threads, and
prints tokens (without padding) a wall second and a CPU second, and the ratio of the latter, which other work on the
machine disturbs least. Fails below the bar.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from lpd_core.config import ModelConfig, MStepConfig
from lpd_core.training import SupervisedTrainer
from lpd_core.types import TrainingJob, TrainingRow
from tests.models import SENTENCES, tiny_model

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

DEMO_SHAPE = {
    "vocab_size": 2048,
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "initializer_range": 0.02,
}
LEARNING_RATE = 1e-3
BAR = 0.97
"""Least ratio of our tokens a second to those of plain TRL."""


def random_rows(count: int) -> tuple[TrainingRow, ...]:
    """Chats of the demo's shape: about 190 tokens, of which z and y2 are about 50."""
    chance, words = random.Random(0), " ".join(SENTENCES).split()

    def text(low: int, high: int) -> str:
        return " ".join(chance.choice(words) for _ in range(chance.randint(low, high)))

    rows = []
    for n in range(count):
        principle = text(5, 8)
        turns = (
            text(6, 12),
            text(12, 32),
            "Name one general principle that would improve your answer.",
            principle,
            f"Rewrite your answer to follow this principle: {principle}",
            text(12, 32),
        )
        roles = ["user", "assistant"] * 3
        messages = tuple({"role": role, "content": words} for role, words in zip(roles, turns, strict=True))
        rows.append(TrainingRow(f"p{n}", 0, principle, messages, (3, 5)))
    return tuple(rows)


def train_ours(model: Path, rows: tuple[TrainingRow, ...], threads: int, micro: int) -> int:
    """One epoch with our trainer; the tokens it read."""
    config = MStepConfig(
        learning_rate=LEARNING_RATE,
        epochs=1,
        batch_size=8,
        micro_batch=micro,
        threads=threads,
        save_steps=10_000,
    )
    with tempfile.TemporaryDirectory() as folder:
        job = TrainingJob(rows, str(model), f"{folder}/out", f"{folder}/work", 1)
        trainer = SupervisedTrainer(config, ModelConfig(path=str(model), device="cpu"), 1)
        with redirect_stdout(StringIO()):  # the row that it shows
            return trainer.train(job, lambda event: None).tokens


def train_plain(model: Path, rows: tuple[TrainingRow, ...], threads: int, micro: int) -> int:
    """One epoch with TRL as it comes: conversational rows, `assistant_only_loss`; the tokens it read."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        args = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=8 // micro,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            assistant_only_loss=True,
            bf16=False,
            gradient_checkpointing=False,
            max_length=4096,
            logging_steps=1,
            save_steps=10_000,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            args=args,
            train_dataset=Dataset.from_list([{"messages": list(row.messages)} for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(model),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return int(next(e["num_tokens"] for e in reversed(trainer.state.log_history) if "num_tokens" in e))


def measure(name: str, train: Callable[..., int], *settings) -> float:
    """Run once, print the line, and return the tokens a CPU second."""
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = train(*settings)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{name:50} {tokens:8} {wall:7.1f} {cpu:7.1f} {tokens / wall:10.0f} {tokens / cpu:9.0f}", flush=True
    )
    return tokens / cpu


def compare(model: Path, rows: tuple[TrainingRow, ...], threads: int, micro: int, repeats: int) -> float:
    """Both trainers in turn, so that what else the machine does hits both; the ratio of their best."""
    where = f"{threads} thread{'s' * (threads > 1)}, micro-batch {micro}"
    ours, plain = [], []
    for _ in range(repeats):
        ours.append(measure(f"ours, {where}", train_ours, model, rows, threads, micro))
        plain.append(measure(f"TRL assistant_only_loss, {where}", train_plain, model, rows, threads, micro))
    ratio = max(ours) / max(plain)
    verdict = "reached" if ratio >= BAR else "MISSED"
    print(f"ratio of tokens a CPU second, best of {repeats}: {ratio:.2f} (bar {BAR}: {verdict})", flush=True)
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--model", type=Path, help="a checkpoint folder; default: a random 3.7M-parameter Llama"
    )
    options = parser.parse_args()
    rows = random_rows(options.rows)
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or tiny_model(Path(folder), **DEMO_SHAPE)
        train_ours(model, rows[:8], 1, 8)  # imports and allocations stay out of the figures
        print(f"{'batch 8, one epoch':50}   tokens  wall s   CPU s tok/wall s tok/CPU s")
        settings = [(1, 8), (1, 4), (2, 8), (2, 4)]
        ratios = [compare(model, rows, *setting, options.repeats) for setting in settings]
    if min(ratios) < BAR:
        sys.exit(f"error: a ratio is below {BAR}")


if __name__ == "__main__":
    main()
