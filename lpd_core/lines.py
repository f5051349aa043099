"""The lines that the paper compares, as runs of one engine that differ in a setting or two, and their table.

`base` is M_0's first answer and `self_refine` M_0's own y1 -> z -> y2, zero-shot; both are in every run's iteration 0.
`star` learns the same trajectories without principles, `gold` the gold responses; `staple` is unconstrained,
`constrained` trains on the constitution's representatives. A line is run once a seed, and reused where a run with the
very same settings is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lpd_core.config import RunConfig, override
from lpd_core.jobs import with_absolute_paths
from lpd_core.metrics import best_iteration, interval
from lpd_core.statistics import Comparison, compare_scores
from lpd_core.store import Store, results
from lpd_core.store import runs as run_table
from lpd_core.types import Interval

LINES: Mapping[str, tuple[str, ...]] = {
    "star": ("m_step.target=star", "cluster.label=none"),
    "gold": ("m_step.target=gold", "cluster.label=none"),
    "staple": ("m_step.target=staple", "cluster.label=none"),
    "constrained": ("m_step.target=staple", "cluster.label=medoid"),
}
"""What each trained line sets over the common settings."""

TITLES: Mapping[str, str] = {
    "base": "base",
    "self_refine": "Self-Refine",
    "star": "STaR",
    "gold": "SFT on gold",
    "staple": "STaPLe",
    "constrained": "constrained STaPLe",
}
CLAIMS = (("staple", "star"), ("staple", "base"))
"""The orderings of the paper that a table is asked for."""


@dataclass(frozen=True, slots=True)
class LineRun:
    """A line with one seed: the settings, and the run that has them, if there is one."""

    line: str
    seed: int
    config: RunConfig
    run_id: str | None


@dataclass(frozen=True, slots=True)
class SystemRow:
    """A system's final answers over seeds. `score` is the mean f over prompts, each averaged over its seeds first;
    `over_base` compares those means with the base model's, prompt by prompt. `chosen` is the iteration a seed."""

    system: str
    score: Interval
    over_base: Comparison
    by_seed: Mapping[int, float]
    unscored: int
    chosen: Mapping[int, int]
    training_rows: int


def planned(store: Store, common: RunConfig, seeds: Sequence[int]) -> list[LineRun]:
    """Every line with every seed, each with the finished or unfinished run that has its settings."""
    existing = {run_id: _settings(store.run(run_id).config()) for run_id in store.run_ids()}
    plan = []
    for line, changes in LINES.items():
        for seed in seeds:
            name = f"{common.name}-{line}-seed{seed}"[:80]
            config = override(common, [*changes, f"seed={seed}", f'name="{name}"'])
            wanted = _settings(with_absolute_paths(config))
            found = [run_id for run_id, settings in existing.items() if settings == wanted]
            plan.append(LineRun(line, seed, config, found[-1] if found else None))
    return plan


def _settings(config: RunConfig) -> dict[str, Any]:
    """All that decides the rows of a run; a run's name does not."""
    return config.model_dump(exclude={"name"})


def system_rows(
    store: Store, runs: Sequence[LineRun], benchmark: str = "test", resamples: int = 2000
) -> list[SystemRow]:
    """The table's rows, of the lines whose runs have been measured; each iteration is chosen on dev."""
    scores: dict[str, dict[int, dict[str, float | None]]] = {}
    chosen: dict[str, dict[int, int]] = {}
    trained: dict[str, int] = {}
    for run in runs:
        summaries = {
            r["iteration"]: r["summary"].get("evaluate", {})
            for r in run_table.list_iterations(store, run.run_id)
        }
        best = best_iteration(summaries)
        if best is None:
            continue
        rows = results.evaluation_rows(store, run.run_id, best, benchmark)
        scores.setdefault(run.line, {})[run.seed] = {row["prompt_id"]: row["score"] for row in rows}
        chosen.setdefault(run.line, {})[run.seed] = best
        trained[run.line] = trained.get(run.line, 0) + sum(
            len(results.training_rows(store, run.run_id, t)) for t in range(1, best + 1)
        )
        if run.line in ("staple", "constrained") and run.seed not in scores.get("base", {}):
            zero = results.evaluation_rows(store, run.run_id, 0, benchmark)
            scores.setdefault("base", {})[run.seed] = {row["prompt_id"]: row["draft_score"] for row in zero}
            scores.setdefault("self_refine", {})[run.seed] = {row["prompt_id"]: row["score"] for row in zero}
    base = mean_scores(scores.get("base", {}))
    return [
        SystemRow(
            system=system,
            score=interval(list(mean_scores(scores[system]).values()), resamples),
            over_base=compare_scores(mean_scores(scores[system]), base, resamples),
            by_seed={seed: _mean(by_prompt) for seed, by_prompt in scores[system].items()},
            unscored=sum(
                score is None for by_prompt in scores[system].values() for score in by_prompt.values()
            ),
            chosen=chosen.get(system, {}),
            training_rows=trained.get(system, 0),
        )
        for system in TITLES
        if system in scores
    ]


def mean_scores(by_seed: Mapping[int, Mapping[str, float | None]]) -> dict[str, float]:
    """Each prompt's mean score over the seeds that scored it: prompts, not seeds, are the sample."""
    collected: dict[str, list[float]] = {}
    for by_prompt in by_seed.values():
        for prompt_id, score in by_prompt.items():
            if score is not None:
                collected.setdefault(prompt_id, []).append(score)
    return {prompt_id: sum(values) / len(values) for prompt_id, values in collected.items()}


def _mean(by_prompt: Mapping[str, float | None]) -> float:
    known = [score for score in by_prompt.values() if score is not None]
    return sum(known) / len(known) if known else float("nan")


def line_scores(
    store: Store, runs: Sequence[LineRun], line: str, benchmark: str = "test"
) -> dict[str, float]:
    """Each prompt's mean f over the seeds of a system: a trained line, or base."""
    rows: dict[int, dict[str, float | None]] = {}
    for run in runs:
        if run.line != ("staple" if line == "base" else line):
            continue
        iterations = run_table.list_iterations(store, run.run_id)
        best = best_iteration({r["iteration"]: r["summary"].get("evaluate", {}) for r in iterations})
        column = "draft_score" if line == "base" else "score"
        found = results.evaluation_rows(store, run.run_id, 0 if line == "base" else best or 0, benchmark)
        rows[run.seed] = {row["prompt_id"]: row[column] for row in found}
    return mean_scores(rows)


def claim_lines(store: Store, runs: Sequence[LineRun], benchmark: str = "test") -> list[str]:
    """Each claimed ordering, whether it holds here, with the numbers."""
    told = []
    for better, worse in CLAIMS:
        found = compare_scores(
            line_scores(store, runs, better, benchmark), line_scores(store, runs, worse, benchmark)
        )
        told.append(f"{TITLES[better]} > {TITLES[worse]}: {claim(found)}")
    return told


def claim(found: Comparison) -> str:
    """Whether a paired difference is above 0 beyond its interval, with the figures."""
    change = found.difference
    if not change.n:
        return "not measured"
    said = (
        "holds" if change.low > 0 else "does not hold" if change.high < 0 else "not decided by these prompts"
    )
    return (
        f"{said} (difference in f {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}], n = {change.n} prompts; "
        f"{found.wins} better, {found.losses} worse, {found.ties} equal, {found.missing} unpaired)"
    )
