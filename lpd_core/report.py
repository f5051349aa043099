"""What a run found, as data, and as one self-contained HTML file. Model text is escaped, never markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lpd_core.metrics import MEASURES, best_iteration
from lpd_core.store import Store, constitutions
from lpd_core.store import runs as run_table

EXAMPLES = 12


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


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1d2129 }
h1, h2 { font-weight: 600 } table { border-collapse: collapse; margin: 1rem 0; font-size: 13px }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid #dfe3e8 }
th { background: #f4f6f8 } td { white-space: pre-wrap; overflow-wrap: anywhere } .wide { overflow-x: auto }
"""


def render_html(report: Mapping[str, Any], examples: Iterable[Mapping[str, Any]]) -> str:
    """The report as one HTML file without scripts or outside resources."""
    legend = "; ".join(f"{short}: {meaning}" for short, meaning in MEASURES.values())
    parts = [
        f"<h1>{_e(report['name'])}</h1>",
        f"<p>Run {_e(report['run_id'])}, {_e(report['status'])}. Best iteration (chosen on dev): "
        f"{_e(report['best_iteration'])}. Means with 95 % bootstrap intervals over prompts. {_e(legend)}.</p>",
    ]
    for name in report["heldout"]:
        parts += [f"<h2>Held-out prompts: {_e(name)}</h2>", _table(heldout_rows(report, name))]
    parts += ["<h2>Iterations</h2>", _table(iteration_rows(report))]
    for iteration, rows in report["constitutions"].items():
        shown = [
            {
                "id": row["cluster_id"],
                "principle": row["label"],
                "trajectories": row["trajectories"],
                "principles": row["size"],
                "mean gain": "" if row["mean_gain"] is None else f"{row['mean_gain']:.3f}",
                "acceptance": "" if row["acceptance_rate"] is None else f"{row['acceptance_rate']:.0%}",
                "keywords": ", ".join(row["keywords"] or ()),
            }
            for row in rows
        ]
        parts += [f"<h2>Principles found in iteration {iteration}</h2>", _table(shown)]
    parts += ["<h2>Examples (held-out test, best iteration)</h2>", _table(list(examples)[:EXAMPLES])]
    libraries = [{"library": k, "version": v} for k, v in report["manifest"].get("libraries", {}).items()]
    parts += [
        "<h2>Made with</h2>",
        f"<p>Revision {_e(report['manifest'].get('revision'))}</p>",
        _table(libraries),
    ]
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{_e(report['name'])}</title>"
        f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p>None yet.</p>"
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{_e(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{_e(row.get(name, ''))}</td>" for name in names) + "</tr>" for row in rows
    )
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def _e(value: Any) -> str:
    return html.escape("" if value is None else str(value))
