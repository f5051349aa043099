"""Everything that can be known before the first token: errors that stop a run, warnings it may start with.

Reads data files and the tokenizer; writes nothing and samples nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lpd_core.build import fetched_models
from lpd_core.config import RunConfig, resolve_path
from lpd_core.costs import checkpoint_bytes, generations, mined_prompts, tokens_at_most
from lpd_core.data_checks import check_data
from lpd_core.e_step import load_seeds
from lpd_core.errors import UserError
from lpd_core.findings import Finding, Preflight
from lpd_core.memory import check_memory
from lpd_core.parts import SCRIPTS
from lpd_core.prompts import (
    Templates,
    gold_row,
    load_templates,
    opening,
    propose_chat,
    refine_chat,
    training_row,
)
from lpd_core.rates import estimate_seconds
from lpd_core.sampler_checks import check_sampler
from lpd_core.store import Store
from lpd_core.types import Example, Trajectory

__all__ = ["Finding", "Preflight", "check_run", "raise_errors"]

TOKENISED_PROMPTS = 200


def check_run(store: Store, config: RunConfig, probe: int = 0) -> Preflight:
    """Check a configuration against this machine, its data and its model. Where nothing stands in the way, `probe`
    prompts are sent through one iteration to tell time and memory (see `lpd_core.probe`)."""
    report = Preflight()
    pools = check_data(report, store, config)
    templates = report.guard(load_templates, config.prompts)
    tokenizer = _check_model(report, config)
    if templates and pools.get("train"):
        _check_chats(report, config, templates, tokenizer, pools["train"])
    shown = pools.get("train", [])[:TOKENISED_PROMPTS] if templates else []
    check_sampler(report, config, tokenizer, [opening(templates, e.messages) for e in shown])
    _check_settings(report, config)
    _check_judge(report, config)
    _check_storage(report, store, config)
    _estimate(report, store, config, pools)
    if probe and not report.errors:
        report.guard(_time, report, store, config, pools, probe)
    return report


def raise_errors(report: Preflight) -> None:
    """Raise `UserError` with every error found, mends included."""
    if report.errors:
        raise UserError("; ".join(f"{e.what}{': ' + e.mend if e.mend else ''}" for e in report.errors))


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

        if report.guard(lambda: [check_model_folder(path)]) is None:
            return None
    else:
        report.warn(
            f"{config.model.path} is no folder here", "it will be fetched from the hub when the run starts"
        )
        return None
    from lpd_core.samplers.chat import load_tokenizer

    return report.guard(load_tokenizer, str(path), config.model)


def _check_chats(
    report: Preflight, config: RunConfig, templates: Templates, tokenizer: Any, pool: list[Example]
) -> None:
    """Render one example of each chat and one training row; prove that the label mask is not empty."""
    example = pool[0]
    principle = "Say what was missing."
    trajectory = Trajectory(
        example.prompt_id, 0, example.messages, "A first answer.", principle, "", "A better answer.", 0.1
    )
    target = config.m_step.target
    row = training_row(templates, trajectory, config.m_step.train_draft, with_principle=target == "staple")
    if target == "gold":
        row = gold_row(templates, example)
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
    from lpd_core.label_mask import encode_parts, render_training_row
    from lpd_core.samplers.chat import render

    encoded = report.guard(encode_parts, tokenizer, row)
    if encoded:
        report.facts["training_row"] = render_training_row(tokenizer, row)
        report.facts["trained_tokens"] = sum(segment > 0 for part in encoded for segment in part.segments)
        report.facts["row_tokens"] = [
            (tokenizer.decode([token], clean_up_tokenization_spaces=False), segment > 0)
            for part in encoded
            for token, segment in zip(part.input_ids, part.segments, strict=True)
        ]
    lengths = []
    for e in pool[:TOKENISED_PROMPTS]:
        chat = propose_chat(templates, e.messages, e.gold, e.gold)
        lengths.append(len(tokenizer(render(tokenizer, chat, ""), add_special_tokens=False)["input_ids"]))
    room = config.model.max_length - config.e_step.propose.max_tokens
    over = sum(length > room for length in lengths)
    report.facts["chat_tokens"] = {"longest": max(lengths), "mean": sum(lengths) / len(lengths)}
    if over == len(lengths) and config.model.overlong == "refuse":
        report.error(
            f"every prompt with its gold exceeds model.max_length = {config.model.max_length}",
            "raise model.max_length",
        )
    elif over:
        report.warn(
            f"{over} of {len(lengths)} prompts with their gold exceed model.max_length = {config.model.max_length}",
            f"they are {'cut' if config.model.overlong == 'truncate' else 'refused'} and counted; raise "
            "model.max_length or drop long rows",
        )


def _check_settings(report: Preflight, config: RunConfig) -> None:
    scripted = config.sampler.kind == "scripted"
    report.guard(load_seeds, config)
    for setting, name in fetched_models(config).items():
        report.warn(f"{setting} = {name!r} is no folder here", "it will be fetched from the hub")
    taken = {"train", "dev", "test", "base", "seconds"} & set(config.data.shifted)
    if taken:
        report.error(f"data.shifted names {', '.join(sorted(taken))}", "choose another name for that set")
    if not scripted:
        report.guard(_check_device, config.model.device)
        report.guard(_check_training, config)
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
    if config.sampler.workers * config.sampler.threads > cores and not config.sampler.launcher:
        report.warn(
            f"{config.sampler.workers} workers of {config.sampler.threads} threads on {cores} cores",
            "they will wait for each other; lower sampler.workers",
        )
    trained, threads = config.m_step.processes, config.m_step.threads
    if trained > 1 and config.model.device == "cpu" and trained * threads > cores:
        report.warn(
            f"{trained} training processes of {threads} threads on {cores} cores",
            "they will wait for each other; lower m_step.threads or m_step.processes",
        )


def _check_judge(report: Preflight, config: RunConfig) -> None:
    """The judge's rubric can be read, its model is there, its server named."""
    if "judge" not in config.scoring.parts:
        return
    from lpd_core.judge import load_prompts

    judge = config.scoring.judge
    report.guard(load_prompts, judge.rubric)
    if judge.sampler.kind == "scripted":
        return
    path = judge.model.path or config.model.path
    if judge.sampler.kind == "openai" and not judge.sampler.served:
        report.error("scoring.judge.sampler asks a server", "name its model in scoring.judge.sampler.served")
    elif judge.sampler.kind != "openai" and not path:
        report.error("the judge has no model", "name one in scoring.judge.model.path or model.path")


def _check_device(name: str) -> None:
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(name, True):
        raise UserError(f"model.device = {name!r}, but this machine has none; choose auto or cpu")


def _check_training(config: RunConfig) -> None:
    """The M-step's processes and tracker, before hours have gone into mining."""
    from lpd_core.launch import planned_launch
    from lpd_core.samplers.checkpoint import choose_device

    settings = config.m_step
    launch = planned_launch(settings, choose_device(config.model.device).type)
    wanted = {settings.report_to: "m_step.report_to"} if settings.report_to != "none" else {}
    if launch and launch.kind == "DEEPSPEED":
        wanted["deepspeed"] = "m_step.accelerate_config"
    for package, setting in wanted.items():
        if find_spec(package) is None:
            raise UserError(f"{setting} needs the package {package}; install it with pip install {package}")


def _check_storage(report: Preflight, store: Store, config: RunConfig) -> None:
    home = store.home
    while not home.exists():
        home = home.parent
    if not os.access(home, os.W_OK):
        report.error(f"{home} cannot be written to", "point $LPD_HOME at a folder you may write to")
        return
    free = shutil.disk_usage(home).free
    needed = round(checkpoint_bytes(config, _parameters(config))) + 2**24
    report.facts["disk"] = {"needed_bytes": needed, "free_bytes": free}
    if needed > free:
        report.error(
            f"{home} has {free / 1e9:.2f} GB free, the run needs about {needed / 1e9:.2f} GB",
            "free some space or move $LPD_HOME",
        )
    check_memory(report, config, home)


def _parameters(config: RunConfig) -> int:
    """How many parameters are trained and saved; 0 where that is not known."""
    path = resolve_path(config.model.path) if config.model.path else Path("/nonexistent")
    if config.sampler.kind == "scripted" or not path.is_dir():
        return 0
    from lpd_core.model_files import parameter_count

    return parameter_count(path)


def _time(
    report: Preflight, store: Store, config: RunConfig, pools: Mapping[str, list[Example]], probe: int
) -> None:
    from lpd_core.probe import run_probe

    mined, measured = _amounts(report, config, pools)
    probed = run_probe(config, pools["train"], store.home, probe)
    report.facts["probe"] = probed.facts(config, mined, sum(measured.values()))


def _amounts(
    report: Preflight, config: RunConfig, pools: Mapping[str, list[Example]]
) -> tuple[int, dict[str, int]]:
    """How many prompts are mined over all iterations, and how many of each held-out set are measured."""
    limit = config.data.heldout_limit
    held = {name: min(len(pool), limit) for name, pool in pools.items() if name != "train"}
    there = report.facts.get("prompts", {}).get("mined", len(pools.get("train", [])))
    return min(mined_prompts(config), there), held


def _estimate(report: Preflight, store: Store, config: RunConfig, pools: Mapping[str, list[Example]]) -> None:
    """Generations and the most tokens they may take, for the whole run."""
    mined, measured = _amounts(report, config, pools)
    held = sum(measured.values())
    report.facts["estimate"] = {
        "mined": mined,
        "measured": measured,
        "generations": generations(config, mined, held),
        "tokens_at_most": tokens_at_most(config, mined, held),
    }
    report.facts["time"] = estimate_seconds(store, config, mined, held)
