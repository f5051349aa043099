"""What a run found, as data and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lpd_core.metrics import MEASURES, best_iteration
from lpd_core.store import Store, constitutions
from lpd_core.store import runs as run_table


def run_report(store: Store, run_id: str) -> dict[str, Any]:
    """Held-out measures by benchmark and iteration, acceptance, coverage, constitutions, the best iteration."""
    folder = store.run(run_id)
    iterations = run_table.list_iterations(store, run_id)
    heldout = {row["iteration"]: row["summary"].get("evaluate", {}) for row in iterations}
    names = list(dict.fromkeys(name for summary in heldout.values() for name in summary if name != "seconds"))
    return {
        "run_id": run_id,
        "name": folder.config().name,
        "status": folder.state().status,
        "best_iteration": best_iteration(heldout),
        "heldout": {
            name: {t: summary[name] for t, summary in heldout.items() if name in summary} for name in names
        },
        "iterations": {
            row["iteration"]: {
                **{
                    stage: row["summary"][stage]
                    for stage in ("e_step", "cluster", "m_step")
                    if stage in row["summary"]
                },
                "seconds": {
                    stage: summary.get("seconds")
                    for stage, summary in row["summary"].items()
                    if stage != "sampling"
                },
                "sampling": row["summary"].get("sampling", {}),
            }
            for row in iterations
        },
        "constitutions": {
            row["iteration"]: constitutions.cluster_rows(store, run_id, row["iteration"])
            for row in iterations
            if row["iteration"] > 0
        },
        "versions": constitutions.versions(store, run_id),
        "manifest": folder.manifest(),
    }


def heldout_rows(report: Mapping[str, Any], benchmark: str) -> list[dict[str, str]]:
    """The table of one benchmark for people: a row an iteration, each measure with its interval."""
    rows = []
    for iteration, summary in report["heldout"][benchmark].items():
        best = " *" if iteration == report["best_iteration"] else ""
        row = {"iteration": f"{iteration}{best}" if iteration else "base", "n": str(summary["response"]["n"])}
        row |= {
            short: show_interval(summary[name]) for name, (short, _) in MEASURES.items() if name in summary
        }
        if summary.get("unscored"):
            row["unscored"] = str(summary["unscored"])
        rows.append(row)
    return rows


def show_interval(value: Mapping[str, float]) -> str:
    """A mean over its 95 % interval, such as `0.612` over `[0.598, 0.627]`."""
    return f"{value['mean']:.3f}\n[{value['low']:.3f}, {value['high']:.3f}]" if value["n"] else "-"


def iteration_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """The table of the mined iterations: acceptance by reason, constitution size, discovery, coverage, rows."""
    rows = []
    for iteration, parts in report["iterations"].items():
        if "e_step" not in parts:
            continue
        mined, found = parts["e_step"], parts.get("cluster", {})
        total = sum(mined["acceptance"].values()) or 1
        cover = mined["coverage"]
        rows.append(
            {
                "iteration": str(iteration),
                "prompts": str(mined["prompts"]["prompts"]),
                "selected": str(mined["prompts"]["selected"]),
                "candidates": "\n".join(f"{k} {v} ({v / total:.0%})" for k, v in mined["acceptance"].items()),
                "coverage": "\n".join(f"{c['share']:.0%} at N = {int(c['n'])}" for c in _ends(cover)),
                "principles": str(found.get("principles", "-")),
                "constitution": str(found.get("constitution_size", "-")),
                "new principles": _share(found.get("new_principles"), found.get("principles")),
                "discovery rate": _rate(found.get("new_per_sample")),
                "training rows": str(parts.get("m_step", {}).get("training_rows", "-")),
            }
        )
    return rows


def _ends(items: Sequence[Any]) -> Sequence[Any]:
    return items if len(items) < 3 else (items[0], items[len(items) // 2 - 1], items[-1])


def _share(count: int | None, n: int | None) -> str:
    """Principles farther than the lineage threshold from every earlier cluster; in the first iteration, all."""
    return f"{count} of {n}" if n else "-"


def _rate(value: float | None) -> str:
    """New principles a sampled candidate, as the paper counts discovery."""
    return "-" if value is None else f"{value:.3f}"
