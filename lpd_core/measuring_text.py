"""Measurements as tables for people: titled rows of texts, each number with its n and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Table = tuple[str, list[dict[str, str]]]


def tables(found: Mapping[str, Any]) -> list[Table | str]:
    """The tables of `measuring.measure_run`'s data, with a sentence on how to read them."""
    parts: list[Table | str] = [
        (f"win rate by f from step to step, {found['benchmark']}", _steps(found["stepwise"])),
        ("constitutions", _qualities(found["quality"])),
        (
            f"principles by their effect on f, iteration {found['best_iteration']}",
            _effects(found["strengths"]),
        ),
    ]
    judged = found.get("judged")
    if judged:
        parts.append(
            (f"judged by {judged['judge']}, prompts {judged['prompts_digest']}", _pairs(judged["pairs"]))
        )
        parts.append(("principles by the judge", _followed(judged["entries"])))
    for iteration, rows in (found.get("ifeval") or {}).items():
        title = f"IFEval, M_{iteration} ({rows['unanswered']} unanswered; sentences: {rows['sentences']})"
        parts.append((title, _accuracies(rows)))
    parts.append(
        "Intervals are 95 %: Wilson's for shares, bootstrap over prompts for means, Wald's for regression weights. Win "
        "rates count ties half. `prune?` marks a weight whose interval is below 0."
    )
    return parts


def figure(value: Mapping[str, float], places: int = 3) -> str:
    """A mean over its interval; a dash where n is 0."""
    if not value["n"]:
        return "-"
    return f"{value['mean']:.{places}f}\n[{value['low']:.{places}f}, {value['high']:.{places}f}]"


def _steps(rows: Mapping[int, Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "step": f"M_{t} over M_{int(t) - 1}",
            "n": str(row["win_rate"]["n"]),
            "win rate": figure(row["win_rate"]),
            "difference in f": figure(row["difference"]),
            "wins": str(row["wins"]),
            "ties": str(row["ties"]),
            "losses": str(row["losses"]),
            "unscored": str(row["missing"]),
        }
        for t, row in rows.items()
    ]


def _qualities(rows: Mapping[int, Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "iteration": str(t),
            "entries": str(row["size"]),
            "mean distance of pairs": f"{row['diversity']:.3f}",
            f"with another within {row['threshold']:g}": figure(row["redundancy"]),
            "held-out principles covered": figure(row["coverage"]),
            "n held out": str(row["coverage"]["n"]),
        }
        for t, row in rows.items()
    ]


def _effects(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "id": row["entry_id"],
            "principle": row["text"],
            "applies": figure(row["applies"]),
            "effect on f": figure(row["effect"]),
            "n": str(row["effect"]["n"]),
            "weight": figure(row["weight"], 2),
            "prune?": "yes" if row["may_be_pruned"] else "",
        }
        for row in rows
    ]


def _pairs(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "comparison": name,
            "n judged": str(row["win_rate"]["n"]),
            "win rate": figure(row["win_rate"]),
            "wins": str(row["wins"]),
            "ties": str(row["ties"]),
            "losses": str(row["losses"]),
            "unjudged": str(row["unjudged"]),
            "failed verdicts": f"{row['failed_verdicts']} of {row['verdicts']}",
            "both orders agree": _share(row["agreement"]),
            "favours the first by": _share(row["order_bias"]),
        }
        for name, row in rows.items()
    ]


def _share(value: float) -> str:
    return f"{value:.0%}" if value == value else "-"


def _followed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "id": row["entry_id"],
            "principle": row["text"],
            "applies": figure(row["applies"]),
            "kappa": figure(row["agreement"]),
            "n": str(row["agreement"]["n"]),
            "strength": f"{row['strength']:.3f}" if row["strength"] == row["strength"] else "-",
            "weight": figure(row["weight"], 2),
            "unjudged": str(row["unjudged"]),
            "prune?": "yes" if row["may_be_pruned"] else "",
        }
        for row in rows
    ]


def _accuracies(rows: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "level": level,
            "strict": figure(rows[f"{level}_strict"]),
            "loose": figure(rows[f"{level}_loose"]),
            "n prompts": str(rows[f"{level}_strict"]["n"]),
            "n instructions": str(rows[f"{level}_strict"].get("instructions", "")),
        }
        for level in ("prompt", "instruction")
    ]
