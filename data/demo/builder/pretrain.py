"""Pretraining from scratch: a time budget drives the learning rate, and a stopped run resumes.

The schedule is warm-up, plateau and a linear cool-down over the last three tenths of `minutes`. To cut a run
short, stop it and start it again with fewer minutes: it then cools down from where it is.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data.demo.builder.corpus import conversation
from data.demo.builder.optim import Muon
from data.demo.builder.tokenizer import encode, train_tokenizer

BATCH_TOKENS = 2048
WARMUP, COOLDOWN = 0.02, 0.3
CHECKPOINT_SECONDS = 120


@dataclass
class Progress:
    """How far a pretraining has come."""

    seed: int
    step: int = 0
    tokens: int = 0
    conversations: int = 0
    seconds: float = 0.0


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A fresh Llama of about 3.7 million parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def build_optimisers(model: LlamaForCausalLM, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embed" in n]
    optimisers: list[torch.optim.Optimizer] = [
        Muon(matrices, lr=muon_lr, decay=0.01),
        torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def lr_factor(progress: float) -> float:
    """The learning rate's share of its peak at a share of the time budget."""
    if progress < WARMUP:
        return max(progress / WARMUP, 0.05)
    return 1.0 if progress < 1 - COOLDOWN else max((1 - progress) / COOLDOWN, 0.0)


def batches(
    tokenizer: PreTrainedTokenizerFast, state: Progress, minutes: float, held_out: frozenset[str]
) -> Iterator[list[tuple[list[int], list[float]]]]:
    """Batches of about BATCH_TOKENS tokens, each of conversations of like length."""
    rng = random.Random(f"corpus/{state.seed}/{state.conversations}")
    while True:
        done = state.seconds / (60 * minutes)
        pool = sorted(
            (encode(tokenizer, conversation(rng, done, held_out)) for _ in range(192)),
            key=lambda row: len(row[0]),
        )
        cut: list[list[tuple[list[int], list[float]]]] = [[]]
        for row in pool:
            if cut[-1] and (len(cut[-1]) + 1) * len(row[0]) > BATCH_TOKENS:
                cut.append([])
            cut[-1].append(row)
        rng.shuffle(cut)
        yield from cut


def batch_loss(model: LlamaForCausalLM, rows: list[tuple[list[int], list[float]]]) -> torch.Tensor:
    """Weighted mean cross-entropy over the assistant turns; padding stands right, so causality hides it."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in rows])
    weights = torch.tensor([w + [0.0] * (width - len(w)) for _, w in rows])[:, 1:]
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    chosen = weights > 0
    losses = torch.nn.functional.cross_entropy(
        model.lm_head(hidden[chosen]), ids[:, 1:][chosen], reduction="none"
    )
    return (losses * weights[chosen]).sum() / weights.sum()


def save(
    path: Path, model: LlamaForCausalLM, optimisers: list[torch.optim.Optimizer], state: Progress
) -> None:
    """Write a checkpoint so that a kill leaves the old or the new one whole."""
    part = path.with_suffix(".part")
    torch.save(
        {
            "model": model.state_dict(),
            "optimisers": [o.state_dict() for o in optimisers],
            "progress": asdict(state),
        },
        part,
    )
    os.replace(part, path)


def pretrain(
    folder: Path,
    minutes: float,
    seed: int,
    held_out: frozenset[str],
    muon_lr: float = 5e-3,
    adam_lr: float = 3e-3,
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, Progress]:
    """Train until the budget is spent, going on from the folder's checkpoint where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(folder / "tokenizer", seed)
    model = build_model(tokenizer, seed)
    optimisers = build_optimisers(model, muon_lr, adam_lr)
    state = Progress(seed)
    path = folder / "checkpoint.pt"
    if path.exists():
        stored = torch.load(path)
        model.load_state_dict(stored["model"])
        for optimiser, values in zip(optimisers, stored["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        state = Progress(**stored["progress"])
    _run(model, optimisers, state, batches(tokenizer, state, minutes, held_out), minutes, path)
    save(path, model, optimisers, state)
    return model, tokenizer, state


def _tokenizer(folder: Path, seed: int) -> PreTrainedTokenizerFast:
    """The run's tokenizer: trained once, then read back."""
    if not (folder / "tokenizer.json").exists():
        train_tokenizer(seed).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _run(
    model: LlamaForCausalLM,
    optimisers: list[torch.optim.Optimizer],
    state: Progress,
    stream: Iterator[list[tuple[list[int], list[float]]]],
    minutes: float,
    path: Path,
) -> None:
    """The training loop."""
    before, saved, started = state.seconds, state.seconds, time.monotonic()
    log = path.with_name("log.jsonl")
    recent: list[float] = []
    while state.seconds < 60 * minutes:
        rows = next(stream)
        factor = lr_factor(state.seconds / (60 * minutes))
        loss = batch_loss(model, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * factor
            optimiser.step()
            optimiser.zero_grad()
        state.step += 1
        state.tokens += sum(len(ids) for ids, _ in rows)
        state.conversations += len(rows)
        state.seconds = before + time.monotonic() - started
        recent.append(loss.item())
        if state.step % 20 == 0:
            line = {**asdict(state), "loss": round(sum(recent) / len(recent), 4), "lr": round(factor, 4)}
            with log.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")
            recent.clear()
        if state.seconds - saved > CHECKPOINT_SECONDS:
            save(path, model, optimisers, state)
            saved = state.seconds
