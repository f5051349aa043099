"""The README of a trained checkpoint: what it learnt from, under which constitution, with what settings and result.

Everything that a person or a model wrote is escaped, so that it shows as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lpd_core.config import RunConfig, resolve_path, to_toml
from lpd_core.constitution.markdown import escape
from lpd_core.metrics import MEASURES
from lpd_core.store import RunFolder, Store, constitutions, corpora
from lpd_core.store import runs as run_table
from lpd_core.store.run_folder import write_text

CARD = "README.md"
SHOWN = ("draft", "response", "over_base", "win_rate")


def write_card(store: Store, folder: RunFolder, iteration: int) -> Path:
    """Write, or write anew, the card of an iteration's checkpoint, with all that is measured by now."""
    path = folder.checkpoint(iteration) / CARD
    write_text(path, render_card(store, folder, iteration))
    return path


def render_card(store: Store, folder: RunFolder, iteration: int) -> str:
    """The card as Markdown with the hub's metadata at its top."""
    config = folder.config()
    parts = [
        _metadata(config),
        f"# {escape(config.name)}, iteration {iteration}\n",
        "A language model fine-tuned by STaPLe (arXiv 2505.16927): it answers, names a principle that would improve "
        f"the answer, and rewrites. Run {escape(folder.run_id)}; base model {escape(_base_name(config))}.\n",
        _data(store, folder.run_id, iteration),
        _constitution(store, folder.run_id, iteration),
        _measures(store, folder.run_id, iteration),
        _training(folder.checkpoint(iteration)),
        _configuration(config),
    ]
    return "\n".join(parts)


def _base_name(config: RunConfig) -> str:
    """The base model's hub name, or the name of its folder: not the path, which is this machine's own affair."""
    path = resolve_path(config.model.path)
    return path.name if path.exists() else config.model.path or "scripted"


def _configuration(config: RunConfig) -> str:
    """The settings as TOML, of absolute paths only the last part, for the same reason."""
    public = config.model_validate(_without_paths(config.model_dump(mode="json")))
    return "## Configuration\n\n" + "".join(f"    {line}\n" for line in to_toml(public).splitlines())


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_without_paths(name): _without_paths(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _metadata(config: RunConfig) -> str:
    told: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["staple", "latent-principle-discovery"],
    }
    if config.model.path and not resolve_path(config.model.path).exists():
        told["base_model"] = config.model.path
    return f"---\n{yaml.safe_dump(told, sort_keys=False)}---\n"


def _data(store: Store, run_id: str, iteration: int) -> str:
    rows = [
        f"| {escape(row['name'])} | {row['mined']} | {row['measured']} | {escape(row['license'] or 'not stated')} |"
        for row in corpora.datasets_of_run(store, run_id, iteration)
    ]
    head = "| Data set | Prompts mined | Prompts measured | Licence |\n|---|---|---|---|"
    return "\n".join(["## Data\n", head, *rows, ""])


def _constitution(store: Store, run_id: str, iteration: int) -> str:
    number = constitutions.approved_version(store, run_id, iteration)
    approved = constitutions.approved(store, run_id, iteration)
    if number is None or approved is None:
        return "## Constitution\n\nNone was approved.\n"
    by_support = sorted(approved.active, key=lambda entry: -entry.trajectories)
    lines = [f"{n}. {escape(entry.text)}" for n, entry in enumerate(by_support, start=1)]
    told = f"Version {number} of iteration {iteration}, {len(lines)} principles, by support:\n"
    return "\n".join(["## Constitution\n", told, *lines, ""])


def _measures(store: Store, run_id: str, iteration: int) -> str:
    """The held-out measures of the base model and of every iteration up to this."""
    lines = []
    for row in run_table.list_iterations(store, run_id):
        if row["iteration"] > iteration:
            continue
        for name, measured in row["summary"].get("evaluate", {}).items():
            if isinstance(measured, Mapping):
                lines.append(_measured(str(row["iteration"] or "base"), name, measured))
    head = ["| Iteration | Prompts | n | " + " | ".join(MEASURES[name][0] for name in SHOWN) + " |"]
    head += ["|---" * (3 + len(SHOWN)) + "|"]
    about = "f is the similarity to the gold response; each mean with its 95 % interval.\n"
    return "\n".join(["## Held-out measures\n", about, *head, *lines, ""])


def _measured(iteration: str, name: str, measured: Mapping[str, Any]) -> str:
    cells = [
        f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" if value and value["n"] else "-"
        for value in map(measured.get, SHOWN)
    ]
    return f"| {iteration} | {escape(name)} | {measured['response']['n']} | {' | '.join(cells)} |"


def _training(checkpoint: Path) -> str:
    """What the trainer wrote beside the weights; nothing where it was the scripted one."""
    from lpd_core.trained_model import RESULT

    try:
        told = json.loads((checkpoint / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "## Training\n\nNo weights were trained.\n"
    text = (
        f"{told['steps']} optimiser steps, {told['tokens']} tokens of which {told['trained_tokens']} carried the loss; "
        f"loss {told['first_loss']:.4f} at the first step, {told['last_loss']:.4f} at the last"
    )
    if told.get("validation_loss") is not None:
        text += f"; on rows held out {told['validation_loss']:.4f} at step {told['best_step']}"
    return f"## Training\n\n{text}.\n"
