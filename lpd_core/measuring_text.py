"""Measurements as tables for people: titled rows of texts, each number with its n and interval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {"y1": "f(y1)", "y2": "f(y2)", "accepted": "accepted"}
Table = tuple[str, list[dict[str, str]]]


def tables(found: Mapping[str, Any]) -> list[Table | str]:
    """The tables of `measuring.measure_run`'s data, with a sentence on how to read them."""
    parts: list[Table | str] = [
        (f"win rate by f from step to step, {found['benchmark']}", _steps(found["stepwise"])),
        ("constitutions", quality_rows(found["quality"])),
        (
            f"principles by their effect on f, iteration {found['best_iteration']}",
            effect_rows(found["strengths"]),
        ),
    ]
    if found.get("edits"):
        parts.append((f"effect of edits, {found['benchmark']}, M_t less M_(t-1)", edit_rows(found["edits"])))
    judged = found.get("judged")
    if judged:
        parts.append(
            (f"judged by {judged['judge']}, prompts {judged['prompts_digest']}", _pairs(judged["pairs"]))
        )
        parts.append(("principles by the judge", followed_rows(judged["entries"])))
    if found.get("agreement"):
        parts.append(("judge against blind votes of people", agreement_rows(found["agreement"])))
    parts += benchmark_tables(found)
    parts.append(
        "Intervals are 95 %: Wilson's for shares, bootstrap over prompts for means, Wald's for regression weights. Win "
        "rates count ties half. `prune?` marks a weight whose interval is below 0."
    )
    return parts


def benchmark_tables(found: Mapping[str, Any]) -> list[Table]:
    """The tables of MT-Bench, AlpacaEval, IFEval and tasks, those that were measured."""
    parts: list[Table] = []
    for each in found.get("mt_bench") or ():
        by = f"rated 1 to 10 by {each['judge']}, prompts {each['prompts_digest']}"
        parts.append((f"MT-Bench, {by}", _rated(each["systems"])))
        parts.append((f"MT-Bench by category, {by}", _categories(each["systems"])))
    for each in found.get("alpaca_eval") or ():
        title = f"AlpacaEval against {each['against']}, judged by {each['judge']}, prompts {each['prompts_digest']}"
        parts.append((title, _preferred(each["systems"])))
    if found.get("ifeval"):
        splitters = ", ".join(sorted({rows["sentences"] for rows in found["ifeval"].values()}))
        parts.append((f"IFEval, sentences split by the {splitters}", _accuracies(found["ifeval"])))
    if found.get("tasks"):
        parts.append(("tasks of lm-evaluation-harness", task_rows(found["tasks"])))
    return parts


def figure(value: Mapping[str, float], places: int = 3) -> str:
    """A mean over its interval; a dash where n is 0 or there is no mean."""
    if not value["n"] or value["mean"] != value["mean"]:
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


def quality_rows(rows: Mapping[int, Mapping[str, Any]]) -> list[dict[str, str]]:
    """The table of the constitutions' quality: a row an iteration."""
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


def effect_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The table of the principles' strengths: a row an entry, in the order given."""
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


def followed_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The table of the principles' strengths before a judge: a row an entry."""
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


def _rated(systems: Mapping[str, Any]) -> list[dict[str, str]]:
    first = next(iter(systems), "")
    return [
        {
            "system": name,
            "n questions": str(row["average"]["n"]),
            "average": figure(row["average"], 2),
            **{f"turn {n}": figure(value, 2) for n, value in row["turns"].items()},
            f"over {first}, paired": figure(row["over_first"], 2),
            "unanswered turns": f"{row['unanswered']} of {row['turns_asked']}",
            "failed verdicts": f"{row['failed_verdicts']} of {row['turns_asked'] - row['unanswered']}",
            "beside a reference": str(row["referenced"]),
        }
        for name, row in systems.items()
    ]


def _categories(systems: Mapping[str, Any]) -> list[dict[str, str]]:
    names = list(dict.fromkeys(name for row in systems.values() for name in row["categories"]))
    return [
        {
            "category": name,
            "n questions": str(max(row["categories"].get(name, {"n": 0})["n"] for row in systems.values())),
            **{system: figure(row["categories"].get(name, {"n": 0}), 2) for system, row in systems.items()},
        }
        for name in names
    ]


def _preferred(systems: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "system": name,
            "n judged": str(row["win_rate"]["n"]),
            "win rate": figure(row["win_rate"]),
            "length-controlled": figure(row["length_controlled"]),
            "characters": _lengths(row),
            "wins": str(row["wins"]),
            "ties": str(row["ties"]),
            "losses": str(row["losses"]),
            "unjudged": str(row["unjudged"]),
            "unanswered": str(row["unanswered"]),
            "failed verdicts": f"{row['failed_verdicts']} of {row['verdicts']}",
            "both orders agree": _share(row["agreement"]),
            "favours the first by": _share(row["order_bias"]),
        }
        for name, row in systems.items()
    ]


def _lengths(row: Mapping[str, Any]) -> str:
    if row["mean_length"] is None:
        return "-"
    return f"{row['mean_length']:.0f} against {row['reference_length']:.0f}"


def edit_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The table of edits' effects: a row an edit and a measure."""
    return [
        {
            "iteration": str(row["iteration"]),
            "edit": str(row["seq"] or "all"),
            "what": row["op"],
            "principles touched": str(row["principles"]),
            "change of": NAMES[change["measure"]],
            "touched prompts": figure(change["touched"]),
            "n touched": str(change["touched"]["n"]),
            "other prompts": figure(change["others"]),
            "n others": str(change["others"]["n"]),
            "touched less others": figure(change["between"]),
        }
        for row in rows
        for change in row["changes"]
    ]


def task_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The table of kept task results: a row an iteration, task and metric."""
    return [
        {
            "iteration": str(row["iteration"]) if row["iteration"] else "base",
            "task": row["task"],
            "metric": row["metric"],
            "value": f"{row['value']:.3f}",
            "stderr": "-" if row["stderr"] is None else f"{row['stderr']:.3f}",
            "n": "-" if row["n"] is None else str(row["n"]),
            "chat template": "yes" if json.loads(row["settings"])["chat_template"] else "no",
            "shots": str(json.loads(row["settings"])["shots"]),
            "lm_eval": str(json.loads(row["settings"])["lm_eval"]),
        }
        for row in rows
    ]


def agreement_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The table of a judge beside people: a row a comparison and judge."""
    return [
        {
            "comparison": f"M_{row['iteration']} y2 over {row['against']}",
            "judge": row["judge"],
            "kappa": figure(row["kappa"]),
            "n votes": str(row["kappa"]["n"]),
            "kappa, decided by both": figure(row["decided"]),
            "n decided": str(row["decided"]["n"]),
            "same outcome": figure(row["same"]),
            "prompts": str(row["prompts"]),
            "voters": str(row["voters"]),
            "ties of people": str(row["people_ties"]),
            "ties of the judge": str(row["judge_ties"]),
            "votes without a verdict": str(row["unjudged"]),
        }
        for row in rows
    ]


def _accuracies(systems: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "system": name,
            "level": level,
            "strict": figure(rows[f"{level}_strict"]),
            "loose": figure(rows[f"{level}_loose"]),
            "n prompts": str(rows[f"{level}_strict"]["n"]),
            "n instructions": str(rows[f"{level}_strict"].get("instructions", "")),
            "unanswered": str(rows["unanswered"]),
        }
        for name, rows in systems.items()
        for level in ("prompt", "instruction")
    ]
