"""Several runs and iterations beside each other: their summaries, settings, and answers to the same held-out prompts.

A `System` is a run at an iteration: what was measured on the held-out prompts then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lpd_core.config import RunConfig

if TYPE_CHECKING:
    from lpd_core.store import Store


class System(NamedTuple):
    """A run at an iteration; iteration 0 is its base model."""

    run_id: str
    iteration: int


def summaries(store: Store, run_ids: Sequence[str]) -> dict[str, dict[int, dict[str, Any]]]:
    """The summary of every iteration that has begun, by run and iteration."""
    rows = store.database.query(
        """select run_id, iteration, summary from iterations
           where run_id in (select unnest(?::text[])) order by run_id, iteration""",
        [list(run_ids)],
    )
    found: dict[str, dict[int, dict[str, Any]]] = {run_id: {} for run_id in run_ids}
    for row in rows:
        found[row["run_id"]][row["iteration"]] = json.loads(row["summary"] or "{}")
    return found


def settings(store: Store, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The configuration of each run as one level of dotted keys; lists stay values. A setting that came after a run
    was started counts with its default, which is what the run had."""
    rows = store.database.query(
        "select run_id, config from runs where run_id in (select unnest(?::text[]))", [list(run_ids)]
    )
    defaults = dict(_flat("", RunConfig().model_dump(mode="json")))
    found = {row["run_id"]: {**defaults, **dict(_flat("", json.loads(row["config"])))} for row in rows}
    return {run_id: found.get(run_id, {}) for run_id in run_ids}


def _flat(prefix: str, tree: dict[str, Any]):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def paired_scores(
    store: Store, systems: Sequence[System], benchmark: str
) -> list[tuple[str, tuple[float, ...]]]:
    """f(y2, gold) of each system on the held-out prompts that all of them answered with a score, those on which
    they differ most first; ties by prompt."""
    if not systems:
        return []
    conditions, values = _systems(systems)
    rows = store.database.query(
        f"""select prompt_id, list(score order by place) scores
            from (select e.prompt_id, e.score, s.place from evaluations e join ({conditions}) s
                  on e.run_id = s.run_id and e.iteration = s.iteration
                  where e.benchmark = $benchmark and e.sample = 0 and e.score is not null)
            group by prompt_id having count(*) = $n
            order by max(score) - min(score) desc, prompt_id""",
        {**values, "benchmark": benchmark, "n": len(systems)},
    )
    return [(row["prompt_id"], tuple(row["scores"])) for row in rows]


def answers(
    store: Store, systems: Sequence[System], benchmark: str, prompt_ids: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """What each system (in order) answered to some held-out prompts: draft, principle, response and scores."""
    conditions, values = _systems(systems)
    rows = store.database.query(
        f"""select e.prompt_id, s.place, e.draft, e.principle, e.response, e.score, e.draft_score
            from evaluations e join ({conditions}) s on e.run_id = s.run_id and e.iteration = s.iteration
            where e.benchmark = $benchmark and e.sample = 0
              and e.prompt_id in (select unnest($prompts::text[])) order by e.prompt_id, s.place""",
        {**values, "benchmark": benchmark, "prompts": list(prompt_ids)},
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["prompt_id"], []).append(row)
    return found


def _systems(systems: Sequence[System]) -> tuple[str, dict[str, Any]]:
    """The systems as a table of run, iteration and place."""
    values = {"runs": [s.run_id for s in systems], "iterations": [s.iteration for s in systems]}
    table = """select unnest($runs::text[]) run_id, unnest($iterations::integer[]) iteration,
                      generate_subscripts($runs::text[], 1) place"""
    return table, values


def beginnings(store: Store, prompt_ids: Sequence[str], length: int = 300) -> dict[str, str]:
    """The beginning of each prompt's last turn."""
    rows = store.database.query(
        """select prompt_id, left(messages->-1->>'content', ?) told from prompts
           where prompt_id in (select unnest(?::text[]))""",
        [length, list(prompt_ids)],
    )
    return {row["prompt_id"]: row["told"] or "" for row in rows}
