"""TRL's `SFTTrainer` with a weight for every token, and micro-batches of like length.

Imports torch and TRL (about ten seconds) at its top, so only `training` imports it, when it trains.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import DataLoader
from transformers import PrinterCallback
from trl import SFTTrainer

from lpd_core.errors import StageFailed
from lpd_core.label_mask import IGNORED
from lpd_core.seeds import derive_seed

Watch = Callable[[int, dict[str, float]], None]


def optimiser_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The rows of each optimiser step of an epoch: a shuffle by (seed, epoch) alone, cut into batches. Inside
    a batch the longest rows come first, so that micro-batches hold rows of like length and little padding."""
    order = list(range(len(lengths)))
    random.Random(derive_seed(seed, "order", epoch)).shuffle(order)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [sorted(batch, key=lambda row: -lengths[row]) for batch in batches]


def plan_steps(lengths: Sequence[int], batch_size: int, epochs: float, seed: int) -> list[list[int]]:
    """The rows of every optimiser step of a training, in order; a fraction of an epoch ends in its middle."""
    per_epoch = math.ceil(len(lengths) / batch_size)
    steps = math.ceil(epochs * per_epoch)
    passes = [
        optimiser_batches(lengths, batch_size, seed, epoch) for epoch in range(math.ceil(steps / per_epoch))
    ]
    return [batch for batches in passes for batch in batches][:steps]


def micro_size(batch_size: int, micro_batch: int, processes: int) -> int:
    """Rows of a forward pass: at most `micro_batch`, and such that they divide a process's share of a batch."""
    share = math.ceil(batch_size / processes)
    return max(size for size in range(1, min(micro_batch, share) + 1) if share % size == 0)


@dataclass(frozen=True)
class Dealt:
    """The batch sampler of one of several processes: for every optimiser step of the plan, `passes` micro-batches
    of at most `micro` row numbers.

    A batch is dealt so that each of its rows is in just one micro-batch of one process, those of like length
    together. Where rows run short, a pass takes the `filler`, a row that weighs nothing: every process makes as
    many passes as the others, without which they would wait for each other for ever."""

    plan: Sequence[Sequence[int]]
    micro: int
    passes: int
    filler: int
    processes: int = 1
    rank: int = 0

    def __len__(self) -> int:
        return len(self.plan) * self.passes

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.plan:
            size = min(self.micro, math.ceil(len(batch) / self.processes))
            cut = [list(batch[start : start + size]) for start in range(0, len(batch), size)]
            mine = cut[self.rank :: self.processes]
            yield from mine
            yield from [[self.filler]] * (self.passes - len(mine))


def with_filler(dataset: Any) -> Any:
    """The rows and, as the last, one that weighs nothing: the beginning of the first."""
    first = dataset[0]
    short = {name: values[:2] for name, values in first.items()}
    filler = {**short, "labels": [IGNORED, first["input_ids"][1]], "weights": [0.0, 0.0]}
    if "seq_lengths" in first:
        filler["seq_lengths"] = [2]
    return dataset.add_item(filler)


def collate(rows: Sequence[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Rows padded on the right to the longest: `input_ids`, `labels` and `weights`, each [rows, longest].

    No attention mask: under causal attention nothing looks to the right at the padding, whose labels are
    ignored, and attention without a mask is faster. Packed rows (with `seq_lengths`) get `position_ids` that
    begin anew with each chat, from which transformers keeps the chats apart."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(values: Sequence[Sequence[float]], fill: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([[*value, *[fill] * (longest - len(value))] for value in values], dtype=dtype)

    batch = {
        "input_ids": padded([row["input_ids"] for row in rows], pad_id, torch.long),
        "labels": padded([row["labels"] for row in rows], IGNORED, torch.long),
        "weights": padded([row["weights"] for row in rows], 0.0, torch.float32),
    }
    if "seq_lengths" in rows[0]:
        positions = [[place for length in row["seq_lengths"] for place in range(length)] for row in rows]
        batch["position_ids"] = padded(positions, 0, torch.long)
    return batch


class WeightedSft(SFTTrainer):
    """Minimises the weighted mean negative log-likelihood of each optimiser batch: the sum of weight x loss
    over its tokens, divided by the sum of its weights, however the batch is cut into micro-batches."""

    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, plan: Sequence[Sequence[int]], watch: Watch, **kwargs: Any):
        """`plan` are the rows of every optimiser step; the data sets end with a filler row (`with_filler`).
        `watch(step, values)` is told of every optimiser step and every measurement of the held-out rows."""
        super().__init__(*args, **kwargs)
        self._plan, self._watch = plan, watch
        self._step_began = 0.0
        self._scored: torch.Tensor | None = None
        self.remove_callback(PrinterCallback)
        self.model.get_output_embeddings().register_forward_pre_hook(self._keep_scored)

    def _keep_scored(self, head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]):
        """Give the language-model head only the positions whose next token is trained: [1, n, hidden]. What
        the model does with its logits afterwards (scale, soft cap) stays its own."""
        return (inputs[0][self._scored].unsqueeze(0), *inputs[1:])

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """This micro-batch's share of its batch's loss; `num_items_in_batch` is the summed weights of the batch over
        all processes. Gradients are averaged over processes, so that the share is multiplied by their number."""
        loss = self._weighted_sum(model, inputs) / num_items_in_batch
        return loss * self.accelerator.num_processes if self.accelerator.num_processes > 1 else loss

    def _weighted_sum(self, model, inputs) -> torch.Tensor:
        """The sum of weight x loss over a micro-batch's trained tokens."""
        labels, weights = inputs.pop("labels")[:, 1:], inputs.pop("weights")[:, 1:]
        trained = labels != IGNORED
        self._scored = pad(trained, (0, 1))
        logits = model(**inputs, use_cache=False).logits[0]
        losses = cross_entropy(logits.float(), labels[trained], reduction="none")
        return (losses * weights[trained]).sum()

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """One optimiser step's micro-batches and their summed weights (transformers would count labels)."""
        self._step_began = time.perf_counter()
        batches = list(islice(epoch_iterator, num_batches))
        return batches, self._total(
            sum(float(batch["weights"].sum(dtype=torch.float64)) for batch in batches)
        )

    def _total(self, value: float) -> float:
        """The sum of a value over all processes."""
        if self.accelerator.num_processes == 1:
            return value
        mine = torch.tensor([value], dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.gather(mine).sum())

    def get_train_dataloader(self) -> DataLoader:
        """This process's micro-batches of the whole training as one pass; not prepared by accelerate, which would
        double rows to make the processes' shares equal."""
        return self._loader(self.train_dataset, self._plan, self.args.gradient_accumulation_steps)

    def _loader(self, dataset: Any, plan: Sequence[Sequence[int]], passes: int) -> DataLoader:
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        micro = self.args.per_device_train_batch_size
        return DataLoader(
            dataset,
            batch_sampler=Dealt(plan, micro, passes, len(dataset) - 1, processes, rank),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The weighted mean loss of the held-out rows, computed as that of a batch, as `eval_loss`."""
        rows = list(range(len(self.eval_dataset) - 1))
        share = self.args.per_device_train_batch_size * self.accelerator.num_processes
        loss = weight = 0.0
        self.model.eval()
        for batch in self._loader(self.eval_dataset, [rows], math.ceil(len(rows) / share)):
            weight += float(batch["weights"].sum(dtype=torch.float64))
            with torch.no_grad(), self.compute_loss_context_manager():
                loss += float(self._weighted_sum(self.model_wrapped, self._prepare_inputs(batch)))
        self.model.train()
        metrics = {"eval_loss": self._total(loss) / self._total(weight)}
        self.log(dict(metrics))
        self._watch(self.state.global_step, {"validation_loss": metrics["eval_loss"]})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Pass an optimiser step's values on, with its `seconds`. Raises `StageFailed` when the loss is no
        number, before a checkpoint of such weights is written."""
        super().log(logs, start_time)
        if "loss" not in logs:  # a measurement, or the summary at the end of training
            return
        if not math.isfinite(logs["loss"]):
            raise StageFailed(
                f"the loss became {logs['loss']} at step {self.state.global_step}; lower m_step.learning_rate"
            )
        names = ("loss", "grad_norm", "learning_rate")
        seconds = time.perf_counter() - self._step_began
        self._watch(
            self.state.global_step, {**{name: float(logs[name]) for name in names}, "seconds": seconds}
        )

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: TRL would write one with every checkpoint."""

    def _send_telemetry(self) -> None:
        """None: TRL would report the kind of model and data to its makers."""
