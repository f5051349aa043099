"""How long a run will take, from what earlier runs with the same model and workers took on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lpd_core.config import RunConfig, resolve_path
from lpd_core.costs import generations_of_prompt
from lpd_core.store import Store, measured

SAME = ("kind", "engine", "workers", "threads")
"""The sampler's settings that a rate depends on."""


def estimate_seconds(store: Store, config: RunConfig, mined: int, held: int) -> dict[str, Any]:
    """Seconds for `mined` prompts over all iterations and `held` prompts measured before the first and after each:
    by stage and together, with `iterations` and `runs`, how many the rates come from. Nothing but `runs = 0` where
    no earlier run used this model in this way: then only a first iteration can tell."""
    rows = measured.finished_stages(store) if store.database.is_begun() else []
    alike = [row for row in rows if _is_alike(json.loads(row["config"]), config)]
    rates = _rates(alike)
    if "e_step" not in rates or "evaluate" not in rates:
        return {"runs": 0}
    calls = mined * generations_of_prompt(config)
    seconds = {
        "e_step": rates["e_step"] * calls,
        "cluster": rates.get("cluster", 0.0) * config.iterations,
        "m_step": rates.get("m_step", 0.0) * mined * config.m_step.epochs,
        "evaluate": rates["evaluate"] * 3 * held * (config.iterations + 1),
    }
    return {
        "seconds": round(sum(seconds.values()), 1),
        "stages": {name: round(value, 1) for name, value in seconds.items()},
        "iterations": len({(row["run_id"], row["iteration"]) for row in alike}),
        "runs": len({row["run_id"] for row in alike}),
    }


def _is_alike(tree: Mapping[str, Any], config: RunConfig) -> bool:
    """Whether a run's rates hold for this configuration: the same model, device and sampler."""
    sampler = config.sampler.model_dump()
    path = str(resolve_path(config.model.path).absolute()) if config.model.path else ""
    known = tree["model"]["path"]
    return (
        all(tree["sampler"].get(name) == sampler[name] for name in SAME)
        and (sampler["kind"] == "scripted" or known in (path, config.model.path))
        and tree["model"]["device"] == config.model.device
        and tree["model"]["dtype"] == config.model.dtype
    )


def _rates(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds a generation (e_step, evaluate), an iteration (cluster) and a trained row and epoch (m_step)."""
    work: dict[str, float] = {}
    took: dict[str, float] = {}
    for row in rows:
        done = {
            "e_step": row["mined"] * _calls(json.loads(row["config"])),
            "cluster": 1,
            "m_step": row["trained"] * json.loads(row["config"])["m_step"]["epochs"],
            "evaluate": 3 * row["held"],
        }
        for stage, amount in done.items():
            seconds = row[f"{stage}_seconds"]
            if seconds is not None and amount:
                work[stage] = work.get(stage, 0) + amount
                took[stage] = took.get(stage, 0) + seconds
    return {stage: took[stage] / amount for stage, amount in work.items()}


def _calls(tree: Mapping[str, Any]) -> int:
    return 1 + (3 if tree["e_step"]["use_critique"] else 2) * tree["e_step"]["n"]
