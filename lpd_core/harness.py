"""Task accuracy through lm-evaluation-harness, where it is installed: on a run's checkpoints, kept with stderr and n.

The harness loads the weights itself and asks the model directly: no principle, no refinement. Whether it applies the chat
template changes the numbers, so what was done is kept beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpd_core.config import RunConfig
from lpd_core.errors import UserError
from lpd_core.store import RunFolder, Store, evaluating

MISSING = "tasks are measured by lm-evaluation-harness, which is not installed: pip install lm_eval==0.4.13"
BOOTSTRAPS = 1000
KEPT_SAMPLES = 5000
"""Samples of a task that are kept with their answers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks, by the harness' names; a folder with task files of one's own; how many documents of each at most; and
    whether the chat template is applied."""

    tasks: tuple[str, ...]
    folder: Path | None = None
    limit: int | None = None
    chat_template: bool = False


def run_tasks(
    store: Store,
    folder: RunFolder,
    config: RunConfig,
    models: Mapping[int, str],
    wanted: Wanted,
    tell: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Measure the weights of each iteration (path by iteration) on the tasks; the rows kept, one a task, filter and metric.

    Raises `UserError` where the harness is missing, a task is unknown or its data cannot be had."""
    if config.sampler.kind == "scripted":
        raise UserError("the scripted sampler has no weights that lm-evaluation-harness could load")
    found: list[dict[str, Any]] = []
    for iteration, path in models.items():
        tell(f"lm-evaluation-harness: M_{iteration} on {', '.join(wanted.tasks)}")
        results = _evaluated(path, config, wanted)
        rows = result_rows(results, wanted)
        evaluating.keep_measured(
            store, folder, iteration, "tasks", sample_rows(results, f"M_{iteration}"), {"task_results": rows}
        )
        found += [{"iteration": iteration, **row} for row in rows]
    return found


def _evaluated(path: str, config: RunConfig, wanted: Wanted) -> Mapping[str, Any]:
    from lpd_core.samplers.checkpoint import choose_device

    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager
    except ImportError as cause:
        raise UserError(MISSING) from cause
    manager = TaskManager(include_path=str(wanted.folder) if wanted.folder else None)
    unknown = [name for name in wanted.tasks if not manager.match_tasks([name])]
    if unknown:
        raise UserError(
            f"lm-evaluation-harness knows no task {', '.join(unknown)}; `lm_eval ls tasks` lists them, and --task-folder "
            "adds yours"
        )
    try:
        return simple_evaluate(
            model="hf",
            model_args={"pretrained": path, "dtype": config.model.dtype},
            tasks=list(wanted.tasks),
            device=str(choose_device(config.model.device)),
            batch_size=8,
            limit=wanted.limit,
            bootstrap_iters=BOOTSTRAPS,
            apply_chat_template=wanted.chat_template,
            task_manager=manager,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as cause:
        told = " ".join(str(cause).split())[:300]
        raise UserError(f"lm-evaluation-harness failed on {', '.join(wanted.tasks)}: {told}") from cause


def result_rows(results: Mapping[str, Any], wanted: Wanted) -> list[dict[str, Any]]:
    """The harness' results as rows: task, metric with its filter, value, stderr (None where the harness has none), n and
    the settings that the number depends on."""
    rows = []
    for task, found in results["results"].items():
        settings = {
            "lm_eval": results.get("lm_eval_version", ""),
            "version": results.get("versions", {}).get(task),
            "shots": results.get("n-shot", {}).get(task),
            "chat_template": wanted.chat_template,
            "limit": wanted.limit,
        }
        n = results.get("n-samples", {}).get(task, {}).get("effective")
        for key, value in found.items():
            metric, _, filtered = key.partition(",")
            if not filtered or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = found.get(f"{metric}_stderr,{filtered}")
            rows.append(
                {
                    "task": task,
                    "metric": metric if filtered == "none" else f"{metric}, {filtered}",
                    "value": float(value),
                    "stderr": float(error) if isinstance(error, int | float) else None,
                    "n": n,
                    "settings": json.dumps(settings, sort_keys=True, default=str),
                }
            )
    return rows


def sample_rows(results: Mapping[str, Any], system: str) -> list[dict[str, Any]]:
    """The documents of each task as rows of `evaluations`: what was asked and answered, the first metric as score."""
    rows = []
    for task, samples in (results.get("samples") or {}).items():
        first = {sample["doc_id"]: sample for sample in reversed(samples)}
        for name, sample in list(first.items())[:KEPT_SAMPLES]:
            metrics = {key: sample[key] for key in sample.get("metrics", ()) if key in sample}
            score = next((float(v) for v in metrics.values() if isinstance(v, int | float)), None)
            verdict = {
                "question": _asked(sample),
                "said": f"target: {sample.get('target')}",
                "metrics": metrics,
            }
            rows.append(
                {
                    "prompt_id": f"{task}:{name}",
                    "system": system,
                    "benchmark": f"task:{task}",
                    "principle": "",
                    "response": json.dumps(sample.get("filtered_resps"), default=str),
                    "score": score,
                    "verdict": json.dumps(verdict, default=str, ensure_ascii=False),
                }
            )
    return rows


def _asked(sample: Mapping[str, Any]) -> str:
    """The text that the model was given for a document, as far as it is one."""
    arguments: Any = sample.get("arguments")
    while isinstance(arguments, Mapping | list | tuple) and arguments:
        arguments = next(iter(arguments.values())) if isinstance(arguments, Mapping) else arguments[0]
    return str(arguments)
