"""A run's report as one document, from its stored rows: setting, measures, constitution with lineage, examples, edits,
manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lpd_core import measures, svg
from lpd_core.config import to_toml
from lpd_core.document import Section, figure
from lpd_core.edit_effects import run_edit_effects
from lpd_core.measuring_text import edit_rows
from lpd_core.metrics import MEASURES
from lpd_core.parts import Embedder
from lpd_core.report import heldout_rows, iteration_rows, run_report
from lpd_core.report_measured import followed_sections, measured_sections, pair_sections
from lpd_core.store import Store, constitutions, evaluating, lineages
from lpd_core.types import Interval

EXAMPLES = 12
FEWEST = 5
"""Candidates below which a principle's effect is not drawn: its interval would say nothing."""
CHARTED = {"draft": "f(y1)", "response": "f(y2)"}
INTERVALS = "Means over n prompts with 95 % bootstrap intervals, shares with Wilson's."


def run_document(store: Store, run_id: str, embedder: Callable[[], Embedder] | None = None) -> list[Section]:
    """The sections of a run's report, from its stored rows; an embedder finds the held-out prompts that an edit touched
    where a principle is stated in other words."""
    report = run_report(store, run_id)
    best = report["best_iteration"]
    legend = "; ".join(f"{short}: {meaning}" for short, meaning in MEASURES.values())
    head = (
        f"Run {run_id}, {report['status']}. Best iteration (chosen on dev): "
        f"{'none yet' if best is None else best}. {INTERVALS} {legend}."
    )
    sections = [Section(report["name"], head)]
    sections += [_heldout(report, name) for name in report["heldout"]]
    sections.append(Section("Mined prompts", rows=iteration_rows(report)))
    sections += _steps(store, report)
    sections += measured_sections(store, run_id)
    sections += _constitutions(store, report)
    sections += _edit_effects(store, run_id, list(report["heldout"]), embedder)
    if best is not None:
        sections += followed_sections(store, run_id, best)
        sections += [_strengths(store, run_id, best), _examples(store, run_id, best)]
    sections += pair_sections(store, run_id)
    sections.append(Section("Setting", source=to_toml(store.run(run_id).config())))
    manifest = json.dumps(report["manifest"], indent=1, ensure_ascii=False, default=str)
    return [*sections, Section("Manifest", source=manifest)]


def _heldout(report: Mapping[str, Any], name: str) -> Section:
    by_iteration = report["heldout"][name]
    series = [
        (short, [(f"M_{t}", Interval(**summary[key])) for t, summary in by_iteration.items()])
        for key, short in CHARTED.items()
    ]
    chart = svg.line_chart(series, f"f by iteration on {name}")
    return Section(f"Held-out prompts: {name}", chart=chart, rows=heldout_rows(report, name))


def _steps(store: Store, report: Mapping[str, Any]) -> list[Section]:
    sections = []
    for name, by_iteration in report["heldout"].items():
        found = measures.stepwise(store, report["run_id"], sorted(by_iteration), name)
        if not found:
            continue
        rows = [
            {
                "step": f"M_{t} over M_{t - 1}",
                "n": each.win_rate.n,
                "win rate": figure(each.win_rate),
                "wins": each.wins,
                "ties": each.ties,
                "losses": each.losses,
                "unscored": each.missing,
                "difference in f": figure(each.difference),
            }
            for t, each in found.items()
        ]
        bars = [(f"M_{t} over M_{t - 1}", each.win_rate) for t, each in found.items()]
        chart = svg.bar_chart(bars, f"win rate by f from step to step on {name}", zero=0.5)
        sections.append(
            Section(f"Step by step: {name}", "Win rates by f, a tie half; 0.5 is parity.", chart, rows)
        )
    return sections


def _constitutions(store: Store, report: Mapping[str, Any]) -> list[Section]:
    run_id = report["run_id"]
    kept = lineages.stored(store, run_id)
    sections = []
    for t in report["constitutions"]:
        constitution = constitutions.approved(store, run_id, t)
        if constitution is None:
            continue
        fates = (
            {node.entry_id: node.fate for node in kept[t].nodes if node.side == "current"}
            if t in kept
            else {}
        )
        rows = [
            {
                "id": entry.entry_id,
                "label": entry.label,
                "principle": entry.text,
                "state": entry.status,
                "lineage": fates.get(entry.entry_id, ""),
                "trajectories": entry.trajectories,
                "principles": len(entry.members),
                "made by": entry.provenance.origin,
            }
            for entry in sorted(constitution.entries, key=lambda e: (e.status != "active", -e.trajectories))
        ]
        edits = [
            {"edit": e.seq, "what": e.op, "arguments": json.dumps(e.args, ensure_ascii=False), "by": e.author,
             "reason": e.reason, "at": e.at}
            for e in constitutions.edits(store, run_id, t)
        ]  # fmt: skip
        sections.append(Section(f"Constitution of iteration {t}", rows=rows))
        sections.append(Section(f"Edits in iteration {t}", "" if edits else "None.", rows=edits))
    return sections


def _edit_effects(
    store: Store, run_id: str, benchmarks: Sequence[str], embedder: Callable[[], Embedder] | None
) -> list[Section]:
    config = store.run(run_id).config()
    told = (
        "An edit made in iteration t touches the prompts for which M_(t-1) stated a principle whose training text it "
        "changed or took out. Changes from M_(t-1) to M_t are paired by prompt; touched prompts differ from others without "
        "an edit too."
    )
    sections = []
    for name in benchmarks:
        rows = edit_rows([asdict(each) for each in run_edit_effects(store, run_id, config, name, embedder)])
        sections += [Section(f"Effect of edits: {name}", told, rows=rows)] if rows else []
    return sections


def _strengths(store: Store, run_id: str, best: int) -> Section:
    found = measures.run_strengths(store, run_id, best)
    rows = [
        {
            "id": each.entry_id,
            "principle": each.text,
            "applies": figure(each.applies),
            "effect on f": figure(each.effect),
            "n": each.effect.n,
            "weight": figure(each.weight),
            "candidate for pruning": "yes" if each.may_be_pruned else "",
        }
        for each in found
    ]
    told = (
        "Applies: share of the scored candidates that state it. Effect: their gain less that of the same prompt's other "
        "candidates. Weight: logistic regression of gaining on all principles; below 0 beyond its interval is flagged."
    )
    bars = [(f"{each.entry_id} {each.text}", each.effect) for each in found if each.effect.n >= FEWEST]
    return Section(
        f"Principles, iteration {best}", told, svg.bar_chart(bars, "effect on f by principle"), rows
    )


def _examples(store: Store, run_id: str, best: int) -> Section:
    rows = [
        {
            "prompt id": row["prompt_id"],
            "prompt": "\n\n".join(f"{m['role']}: {m['content']}" for m in row["messages"]),
            "y1": row["draft"],
            "z": row["principle"],
            "y2": row["response"],
            "gold": row["gold"],
            "f(y1)": "-" if row["draft_score"] is None else f"{row['draft_score']:.3f}",
            "f(y2)": "-" if row["score"] is None else f"{row['score']:.3f}",
        }
        for row in evaluating.heldout_answers(store, run_id, best, "test", EXAMPLES)
    ]
    return Section(f"Examples: the first {len(rows)} held-out test prompts, M_{best}", rows=rows)
