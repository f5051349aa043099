"""What has been measured on benchmarks and kept, read back in the shape of a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lpd_core import alpaca_eval, ifeval, mt_bench
from lpd_core.store import Store, evaluating

JUDGED = {"mt_bench": mt_bench, "alpaca_eval": alpaca_eval}


def stored_benchmarks(store: Store, run_id: str) -> dict[str, Any]:
    """The kept measurements of a run: MT-Bench and AlpacaEval each as a list of one entry a judge and its prompts, IFEval's
    accuracies, the rows of lm-evaluation-harness; empty where nothing was measured."""
    told: dict[str, Any] = {}
    for name, module in JUDGED.items():
        rows = evaluating.measured_rows(store, run_id, module.BENCHMARK)
        if rows:
            told[name] = [
                {"judge": judge, "prompts_digest": digest, **_against(own), "systems": module.summarise(own)}
                for (judge, digest), own in _by_judge(rows).items()
            ]
    checked = evaluating.measured_rows(store, run_id, ifeval.BENCHMARK)
    told |= {"ifeval": ifeval.summarise(checked)} if checked else {}
    tasks = evaluating.task_results(store, run_id)
    return {**told, "tasks": tasks} if tasks else told


def _by_judge(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["verdict"]["judge"], row["verdict"]["prompts"]), []).append(dict(row))
    return found


def _against(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {"against": rows[0]["verdict"]["against"]} if "against" in rows[0]["verdict"] else {}
