"""The work of a training: rows as tokens with labels and weights, those held out, and the rows of every step."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lpd_core.config import ModelConfig, MStepConfig
from lpd_core.errors import UserError
from lpd_core.label_mask import IGNORED, encode_parts, render_training_row, token_weights
from lpd_core.seeds import derive_seed
from lpd_core.types import TrainingJob, TrainingRow

SHOWN = 2000
"""Most characters of the row that is shown before training."""


@dataclass(frozen=True)
class Workload:
    """Tokenised rows and what is done with them: `lengths` and `trained` are tokens a row, `plan` the rows of
    every optimiser step, `held` the rows that are measured instead (None without validation). Both data sets
    end with a filler row, which counts nowhere."""

    dataset: Any
    held: Any | None
    lengths: list[int]
    trained: list[int]
    plan: list[list[int]]

    def total(self, counts: list[int], steps: int) -> int:
        """The sum of a row's count over the first steps of the plan."""
        return sum(counts[row] for batch in self.plan[:steps] for row in batch)


def prepare_workload(
    tokenizer: Any, job: TrainingJob, config: MStepConfig, model: ModelConfig, warn: Callable[[str], None]
) -> Workload:
    """Tokenise a job's rows, without those longer than `model.max_length` and those whose texts the template
    cannot keep: one bad row is told, never a dead run. Raises `UserError` when none is left."""
    from datasets import disable_progress_bars

    from lpd_core.weighted_sft import plan_steps, with_filler

    disable_progress_bars()
    learnt, held = split_rows(job.rows, config.validation_share, job.seed)
    dataset = _tokenised(tokenizer, learnt, config, model, warn)
    lengths = [len(ids) for ids in dataset["input_ids"]]
    trained = [sum(label != IGNORED for label in labels) for labels in dataset["labels"]]
    return Workload(
        dataset=with_filler(dataset),
        held=with_filler(_tokenised(tokenizer, held, config, model, warn)) if held else None,
        lengths=lengths,
        trained=trained,
        plan=plan_steps(lengths, config.batch_size, config.epochs, job.seed),
    )


def split_rows(
    rows: Sequence[TrainingRow], share: float, seed: int
) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """The rows to learn from and those held out: all rows of at least one prompt and of `share` of the prompts,
    drawn by the seed; none where the share is 0. Raises `UserError` where that leaves nothing to learn from."""
    if not share:
        return list(rows), []
    prompts = sorted({row.prompt_id for row in rows})
    random.Random(derive_seed(seed, "validation")).shuffle(prompts)
    held = set(prompts[: max(1, round(share * len(prompts)))])
    if len(held) == len(prompts):
        raise UserError(
            f"m_step.validation_share = {share} holds out all of the {len(prompts)} prompts; lower it, or train on more"
        )
    return [r for r in rows if r.prompt_id not in held], [r for r in rows if r.prompt_id in held]


def _tokenised(
    tokenizer: Any,
    rows: Sequence[TrainingRow],
    config: MStepConfig,
    model: ModelConfig,
    warn: Callable[[str], None],
):
    from datasets import Dataset
    from trl import pack_dataset

    columns: dict[str, list] = {"input_ids": [], "labels": [], "weights": []}
    left_out = []
    for row in rows:
        try:
            parts = encode_parts(tokenizer, row)
        except UserError as cause:
            left_out.append(str(cause))
            continue
        if max(len(part.input_ids) for part in parts) > model.max_length:
            left_out.append(f"longer than model.max_length = {model.max_length} tokens")
            continue
        weight = row.weight / len(parts) if config.balanced else row.weight
        for part in parts:
            columns["input_ids"].append(part.input_ids)
            columns["labels"].append(part.labels)
            columns["weights"].append(token_weights(part, weight, config.balanced))
    _tell_left_out(left_out, len(rows), warn)
    dataset = Dataset.from_dict(columns)
    return pack_dataset(dataset, model.max_length, "bfd") if config.packing else dataset


def _tell_left_out(reasons: list[str], rows: int, warn: Callable[[str], None]) -> None:
    if len(reasons) == rows:
        raise UserError(f"none of the {rows} training rows can be trained on; the first: {reasons[0]}")
    for reason, count in Counter(reasons).most_common(3):
        warn(f"left out {count} of {rows} training rows: {reason}")


def show_row(tokenizer: Any, rows: Sequence[TrainingRow]) -> str:
    """The first row whose text the template keeps, as it is trained, what carries the loss between >>> and <<<."""
    for row in rows:
        try:
            parts = render_training_row(tokenizer, row)
        except UserError:
            continue
        text = "".join(f">>>{part}<<<" if trained else part for part, trained in parts)
        return f"training row {row.prompt_id}, sample {row.sample}, the loss is on >>>these tokens<<<:\n{text[:SHOWN]}"
    return ""
