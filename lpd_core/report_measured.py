"""What of a run was judged, voted on and put to benchmarks, as sections of its report; all of it from kept rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lpd_core import svg
from lpd_core.agreement import judge_and_people
from lpd_core.benchmark_results import stored_benchmarks
from lpd_core.document import Link, Section, figure
from lpd_core.judgements import Kept, kept_comparisons, kept_strengths
from lpd_core.measuring_text import agreement_rows, benchmark_tables, followed_rows
from lpd_core.store import Store, evaluating, votes
from lpd_core.types import Interval

PAIRS = 40
"""Pairs of a comparison whose texts the report holds."""


def measured_sections(store: Store, run_id: str) -> list[Section]:
    """Judged comparisons, the judge beside people, people's votes, benchmarks; those that there are."""
    kept = kept_comparisons(store, run_id)
    agreement = agreement_rows([asdict(each) for each in judge_and_people(store, run_id)])
    sections = [_judged(kept)] if kept else []
    if agreement:
        told = "Cohen's kappa between the judge's outcomes and people's blind votes on the same two answers; 0 is chance."
        sections.append(Section("Judge and people", told, rows=agreement))
    sections += _votes(store, run_id)
    return sections + _benchmarks(stored_benchmarks(store, run_id))


def followed_sections(store: Store, run_id: str, iteration: int) -> list[Section]:
    """What a judge says of each principle it has tested: how often it tells answers apart, and whether following it is
    preferred."""
    told = (
        "Applies: share of judged pairs in which one answer follows it better. Kappa: agreement of that answer with the "
        "preferred one. Strength: their product. Weight: logistic regression of the preference on all principles."
    )
    return [
        Section(
            f"Principles by {judge}, iteration {iteration}",
            told,
            rows=followed_rows([{**asdict(each), "may_be_pruned": each.may_be_pruned} for each in found]),
        )
        for judge, found in kept_strengths(store, run_id, iteration).items()
    ]


def pair_sections(store: Store, run_id: str) -> list[Section]:
    """The pairs of each judged comparison of answers, where the judged table's links lead."""
    return [_pairs(store, run_id, each) for each in kept_comparisons(store, run_id) if not _is_entry(each)]


def _is_entry(kept: Kept) -> bool:
    return kept.name.startswith("entry ")


def _anchor(kept: Kept) -> str:
    name = f"{kept.iteration} {kept.name} {kept.judge} {kept.prompts_digest}"
    return "pairs-" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:10]


def judged_row(kept: Kept) -> dict[str, Any]:
    """A judged comparison as a row of texts."""
    s = kept.summary
    return {
        "iteration": kept.iteration,
        "comparison": kept.name,
        "against": kept.against,
        "judge": kept.judge,
        "judge's prompts": kept.prompts_digest,
        "n judged": s.win_rate.n,
        "win rate": figure(s.win_rate),
        "wins": s.wins,
        "ties": s.ties,
        "losses": s.losses,
        "unjudged": s.unjudged,
        "failed verdicts": f"{s.failed_verdicts} of {s.verdicts}",
        "both orders agree": _share(s.agreement),
        "favours the first by": _share(s.order_bias),
    }


def _share(value: float) -> str:
    return f"{value:.0%}" if value == value else "-"


def _judged(kept: Sequence[Kept]) -> Section:
    told = (
        "Both orders of each pair, a tie half; 0.5 is parity. A verdict that was not given is counted, never guessed. "
        "`Favours the first by` is the share of decided verdicts for the answer shown first, less one half."
    )
    rows = [
        {**judged_row(each), "samples": "as above" if _is_entry(each) else Link("the pairs", _anchor(each))}
        for each in kept
    ]
    bars = [(f"{each.name} ({each.judge})", each.summary.win_rate) for each in kept if not _is_entry(each)]
    return Section("Judged", told, svg.bar_chart(bars, "win rate before the judge", zero=0.5), rows)


def _pairs(store: Store, run_id: str, kept: Kept) -> Section:
    names = (f"judge:{kept.name}", f"judge:{kept.judge}", kept.prompts_digest)
    page = evaluating.judged_page(store, run_id, kept.iteration, *names, PAIRS)
    rows = [
        {
            "prompt id": row["prompt_id"],
            "prompt": row["prompt"],
            "a": row["a"],
            "b": row["b"],
            "a shown first": _said(row["verdict"]["forward"]),
            "b shown first": _said(row["verdict"]["backward"]),
        }
        for row in page
    ]
    left = f" The first {PAIRS} of {page[0]['total']}." if page and page[0]["total"] > PAIRS else ""
    told = f"a is M_{kept.iteration}'s y2, b is {kept.against}; the verdict of each order.{left}"
    return Section(f"Judged pairs: {kept.name}, {kept.judge}", told, rows=rows, anchor=_anchor(kept))


def _said(outcomes: Sequence[str | None]) -> str:
    return ", ".join(outcome or "no verdict" for outcome in outcomes)


def _system(system: votes.System) -> str:
    return f"M_{system.iteration} {system.answer}" + (f" of {system.run}" if system.run else "")


def _votes(store: Store, run_id: str) -> list[Section]:
    found: dict[tuple[Any, Any], list[votes.Tally]] = {}
    for tally in votes.tallies(store, run_id):
        found.setdefault((tally.system, tally.other), []).append(tally)
    rows = []
    for (system, other), own in found.items():
        for tally in own if len(own) == 1 else [votes.together(own), *own]:
            rows.append(
                {
                    "answer": _system(system),
                    "against": _system(other),
                    "voter": tally.voter,
                    "n votes": tally.n,
                    "win rate": figure(tally.win_rate()),
                    "wins": tally.wins,
                    "ties": tally.ties,
                    "both bad": tally.both_bad,
                    "losses": tally.losses,
                    "chose side A": f"{tally.chose_a} of {tally.wins + tally.losses}",
                }
            )
    told = (
        "Blind votes, the sides drawn anew for each; ties and both bad count half, with Wilson's intervals."
    )
    return [Section("Votes of people", told, rows=rows)] if rows else []


def _benchmarks(found: Mapping[str, Any]) -> list[Section]:
    charts = {}
    for each in found.get("mt_bench", ()):
        bars = [
            (f"{name}: {category}", Interval(**value))
            for name, row in each["systems"].items()
            for category, value in row["categories"].items()
        ]
        charts.setdefault(
            "MT-Bench by category", svg.bar_chart(bars, "MT-Bench rating by category", zero=1.0)
        )
    sections = []
    for title, rows in benchmark_tables(found):
        chart = charts.pop(title.split(",")[0], "")
        sections.append(Section(title, chart=chart, rows=rows))
    return sections
