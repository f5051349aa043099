"""Everything that can be known before the first token: errors that stop a run, warnings it may start with.

Reads data files and the tokenizer; writes nothing and samples nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lpd_core.config import RunConfig, resolve_path
from lpd_core.corpus import content_key, read_corpus
from lpd_core.e_step import load_seeds
from lpd_core.errors import DataError, LpdError, UserError
from lpd_core.parts import SCRIPTS
from lpd_core.prompts import Templates, load_templates, opening, propose_chat, refine_chat, training_row
from lpd_core.rates import estimate_seconds
from lpd_core.store import Store, corpora
from lpd_core.types import Example, Trajectory

TOKENISED_PROMPTS = 200
CHECKPOINTS_HELD = 4
"""Weights, their two AdamW moments and the checkpoint being written, all float32, during an M-step."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found; `mend` says what to do about it."""

    level: Literal["error", "warning"]
    what: str
    mend: str = ""


@dataclass
class Preflight:
    """What the checks found and what can be told: prompts, tokens, memory, one example of each chat."""

    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> list[Finding]:
        """Findings that stop the run."""
        return [finding for finding in self.findings if finding.level == "error"]

    def error(self, what: object, mend: str = "") -> None:
        """Note something that stops the run."""
        self.findings.append(Finding("error", str(what), mend))

    def warn(self, what: str, mend: str = "") -> None:
        """Note something to know."""
        self.findings.append(Finding("warning", what, mend))


def check_run(store: Store, config: RunConfig) -> Preflight:
    """Check a configuration against this machine, its data and its model."""
    report = Preflight()
    pools = _check_data(report, store, config)
    templates = _guard(report, load_templates, config.prompts)
    tokenizer = _check_model(report, config)
    if templates and pools.get("train"):
        _check_chats(report, config, templates, tokenizer, pools["train"])
    _check_settings(report, config)
    _check_storage(report, store, config)
    _estimate(report, store, config, pools)
    return report


def raise_errors(report: Preflight) -> None:
    """Raise `UserError` with every error found, mends included."""
    if report.errors:
        raise UserError("; ".join(f"{e.what}{': ' + e.mend if e.mend else ''}" for e in report.errors))


def _guard(report: Preflight, work, *arguments):
    try:
        return work(*arguments)
    except LpdError as cause:
        report.error(cause)
        return None


def _check_data(report: Preflight, store: Store, config: RunConfig) -> dict[str, list[Example]]:
    if not config.data.train:
        report.error("data.train names no data", "name a JSONL file or an imported data set in data.train")
        return {}
    pools: dict[str, list[Example]] = {}
    for name, source in _sources(config):
        examples = _guard(report, _examples, store, source)
        if examples is not None:
            wanted = name if name == "train" or _is_default(config, name) else None
            pools.setdefault(name, []).extend(e for e in examples if wanted in (None, e.split))
    for name in ("dev", "test"):
        if not report.errors and not pools.get(name):
            report.warn(
                f"there are no {name} prompts", f"name some in data.{name}: without them nothing is measured"
            )
    _check_counts(report, config, pools)
    return pools


def _sources(config: RunConfig) -> Iterator[tuple[str, str]]:
    yield from (("train", source) for source in config.data.train)
    for name, sources in (("dev", config.data.dev), ("test", config.data.test)):
        yield from ((name, source) for source in sources or config.data.train)
    yield from config.data.shifted.items()


def _is_default(config: RunConfig, name: str) -> bool:
    return (name == "dev" and not config.data.dev) or (name == "test" and not config.data.test)


def _examples(store: Store, source: str) -> list[Example]:
    path = resolve_path(source)
    if path.is_file():
        return list(read_corpus(path).examples)
    if not store.database.path.exists():
        raise DataError(f"{source!r} is neither a file nor an imported data set; use `data import FILE`")
    return corpora.prompts_of(store, corpora.find_dataset(store, source))


def _check_counts(report: Preflight, config: RunConfig, pools: Mapping[str, list[Example]]) -> None:
    held = {content_key(e.messages) for name, pool in pools.items() if name != "train" for e in pool}
    mined = {content_key(e.messages) for e in pools.get("train", [])}
    overlap = len(mined & held)
    if overlap:
        report.warn(f"{overlap} prompts stand in train and held-out data", "they are held out, not mined")
    sizes = config.data.prompts_per_iteration
    if not sizes or min(sizes) < 1:
        report.error(f"data.prompts_per_iteration = {sizes}", "give one or more positive numbers")
        return
    _check_heldout(report, pools)
    wanted = [sizes[min(t, len(sizes) - 1)] for t in range(config.iterations)]
    there = len(mined - held)
    report.facts["prompts"] = {"mined": there, **{n: len(p) for n, p in pools.items() if n != "train"}}
    if there <= sum(wanted[:-1]) and not report.errors:
        report.error(
            f"{there} prompts to mine are too few for {config.iterations} iterations of {wanted}",
            "lower data.prompts_per_iteration or iterations, or name more data in data.train",
        )
    elif there < sum(wanted):
        report.warn(f"the last iteration gets {there - sum(wanted[:-1])} prompts, not {wanted[-1]}")


def _check_heldout(report: Preflight, pools: Mapping[str, list[Example]]) -> None:
    """A held-out prompt belongs to one set only, else tuning and reporting would not be apart."""
    seen: dict[str, str] = {}
    for name, pool in pools.items():
        if name == "train":
            continue
        shared = [key for e in pool if seen.get(key := content_key(e.messages), name) != name]
        if shared:
            report.error(
                f"{len(shared)} prompts of {name} stand in {seen[shared[0]]} too",
                "give each held-out set prompts of its own",
            )
        seen.update((content_key(e.messages), name) for e in pool)


def _check_model(report: Preflight, config: RunConfig):
    if config.sampler.kind == "scripted":
        if config.sampler.script not in SCRIPTS:
            report.error(f"unknown script {config.sampler.script!r}", f"allowed: {', '.join(SCRIPTS)}")
        return None
    if not config.model.path:
        report.error("model.path is empty", "name a folder with a transformers checkpoint in model.path")
        return None
    if config.model.trust_remote_code:
        report.warn(
            "model.trust_remote_code runs code that comes with the checkpoint", "only if you have read it"
        )
    path = resolve_path(config.model.path)
    if path.exists() or config.model.path.startswith((".", "/", "~")):
        from lpd_core.model_files import check_model_folder

        if _guard(report, lambda: [check_model_folder(path)]) is None:
            return None
    else:
        report.warn(
            f"{config.model.path} is no folder here", "it will be fetched from the hub when the run starts"
        )
        return None
    from lpd_core.samplers.chat import load_tokenizer

    return _guard(report, load_tokenizer, str(path), config.model)


def _check_chats(
    report: Preflight, config: RunConfig, templates: Templates, tokenizer: Any, pool: list[Example]
) -> None:
    """Render one example of each chat and one training row; prove that the label mask is not empty."""
    example = pool[0]
    principle = "Say what was missing."
    trajectory = Trajectory(
        example.prompt_id, 0, example.messages, "A first answer.", principle, "", "A better answer.", 0.1
    )
    row = training_row(templates, trajectory, config.m_step.train_draft)
    report.facts["chats"] = {
        "draft": [dict(m) for m in opening(templates, example.messages)],
        "propose": [
            dict(m) for m in propose_chat(templates, example.messages, "A first answer.", example.gold)
        ],
        "refine": [dict(m) for m in refine_chat(templates, example.messages, "A first answer.", principle)],
        "training": [dict(m) for m in row.messages],
    }
    report.facts["trained_turns"] = list(row.trained)
    if tokenizer is None:
        return
    from lpd_core.label_mask import encode_row, render_training_row
    from lpd_core.samplers.chat import render

    encoded = _guard(report, encode_row, tokenizer, row)
    if encoded is not None:
        report.facts["training_row"] = render_training_row(tokenizer, row)
        report.facts["trained_tokens"] = sum(segment > 0 for segment in encoded.segments)
        report.facts["row_tokens"] = [
            (tokenizer.decode([token], clean_up_tokenization_spaces=False), segment > 0)
            for token, segment in zip(encoded.input_ids, encoded.segments, strict=True)
        ]
    lengths = []
    for e in pool[:TOKENISED_PROMPTS]:
        chat = propose_chat(templates, e.messages, e.gold, e.gold)
        lengths.append(len(tokenizer(render(tokenizer, chat, ""), add_special_tokens=False)["input_ids"]))
    room = config.model.max_length - config.e_step.propose.max_tokens
    over = sum(length > room for length in lengths)
    report.facts["chat_tokens"] = {"longest": max(lengths), "mean": sum(lengths) / len(lengths)}
    if over == len(lengths):
        report.error(
            f"every prompt with its gold exceeds model.max_length = {config.model.max_length}",
            "raise model.max_length",
        )
    elif over:
        report.warn(
            f"{over} of {len(lengths)} prompts with their gold exceed model.max_length = {config.model.max_length}",
            "they are refused and counted; raise model.max_length or drop long rows",
        )


def _check_settings(report: Preflight, config: RunConfig) -> None:
    scripted = config.sampler.kind == "scripted"
    _guard(report, load_seeds, config)
    embedder = config.cluster.embedder
    if embedder not in ("all-MiniLM-L6-v2", "hash") and not resolve_path(embedder).exists():
        report.warn(f"cluster.embedder = {embedder!r} is no folder here", "it will be fetched from the hub")
    taken = {"train", "dev", "test", "base", "seconds"} & set(config.data.shifted)
    if taken:
        report.error(f"data.shifted names {', '.join(sorted(taken))}", "choose another name for that set")
    if not scripted:
        _guard(report, _check_device, config.model.device)
    if config.e_step.seed_share and not config.e_step.seeds:
        report.error("e_step.seed_share needs principles", "name a file in e_step.seeds")
    if scripted and config.cluster.label == "perplexity":
        report.error('cluster.label = "perplexity" needs a real model', "choose medoid, mode or none")
    if config.cluster.min_clusters > config.cluster.max_clusters:
        report.error(
            f"cluster.min_clusters = {config.cluster.min_clusters} exceeds cluster.max_clusters = "
            f"{config.cluster.max_clusters}",
            "lower the one or raise the other",
        )
    cores = os.cpu_count() or 1
    if config.sampler.workers * config.sampler.threads > cores:
        report.warn(
            f"{config.sampler.workers} workers of {config.sampler.threads} threads on {cores} cores",
            "they will wait for each other; lower sampler.workers",
        )


def _check_device(name: str) -> None:
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(name, True):
        raise UserError(f"model.device = {name!r}, but this machine has none; choose auto or cpu")


def _check_storage(report: Preflight, store: Store, config: RunConfig) -> None:
    home = store.home
    while not home.exists():
        home = home.parent
    if not os.access(home, os.W_OK):
        report.error(f"{home} cannot be written to", "point $LPD_HOME at a folder you may write to")
        return
    weights = _weight_bytes(config)
    free = shutil.disk_usage(home).free
    needed = weights * (config.iterations + CHECKPOINTS_HELD) + 2**24
    report.facts["disk"] = {"needed_bytes": needed, "free_bytes": free}
    if needed > free:
        report.error(
            f"{home} has {free / 1e9:.2f} GB free, the run needs about {needed / 1e9:.2f} GB",
            "free some space or move $LPD_HOME",
        )
    import psutil

    memory = weights * CHECKPOINTS_HELD
    available = psutil.virtual_memory().available
    report.facts["memory"] = {"needed_bytes": memory, "available_bytes": available}
    if memory > available and config.model.device in ("auto", "cpu"):
        report.warn(
            f"training needs about {memory / 1e9:.1f} GB, {available / 1e9:.1f} GB are available",
            "use LoRA (m_step.lora_rank), a smaller model, or a GPU",
        )


def _weight_bytes(config: RunConfig) -> int:
    """The size of the weights in float32."""
    path = resolve_path(config.model.path) if config.model.path else Path("/nonexistent")
    if config.sampler.kind == "scripted" or not path.is_dir():
        return 0
    from lpd_core.model_files import parameter_count

    return 4 * parameter_count(path)


def _estimate(report: Preflight, store: Store, config: RunConfig, pools: Mapping[str, list[Example]]) -> None:
    """Generations and the most tokens they may take, for the whole run."""
    settings = config.e_step
    each = settings.propose.max_tokens + settings.refine.max_tokens
    each += settings.critique.max_tokens if settings.use_critique else 0
    sizes = config.data.prompts_per_iteration or [0]
    mined = sum(sizes[min(t, len(sizes) - 1)] for t in range(config.iterations))
    mined = min(mined, len(pools.get("train", [])))
    held = sum(min(len(pool), config.data.heldout_limit) for name, pool in pools.items() if name != "train")
    chain = (
        config.evaluate.draft.max_tokens
        + config.evaluate.principle.max_tokens
        + config.evaluate.refine.max_tokens
    )
    calls = 3 if settings.use_critique else 2
    report.facts["estimate"] = {
        "generations": mined * (1 + calls * settings.n) + 3 * held * (config.iterations + 1),
        "tokens_at_most": mined * (settings.draft.max_tokens + settings.n * each)
        + held * chain * (config.iterations + 1),
    }
    report.facts["time"] = estimate_seconds(store, config, mined, held)
