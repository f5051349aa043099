"""All runs at a glance: what the home page lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lpd_core.metrics import best_iteration

if TYPE_CHECKING:
    from lpd_core.store import Store


@dataclass(frozen=True, slots=True)
class RunOverview:
    """A run with its best trained iteration: chosen on dev, its gain over the base model's draft told on test
    (mean, low, high, n), or on dev where nothing was measured on test; None before a trained iteration."""

    run_id: str
    name: str
    created_at: datetime
    iterations: int
    measured: int
    best: int | None
    benchmark: str
    gain: Mapping[str, float] | None


def overviews(store: Store) -> list[RunOverview]:
    """Every run's overview, newest first. One query; reads summaries, never rows of a run."""
    rows = store.database.query(
        """select r.run_id, r.name, r.created_at, cast(r.config->>'iterations' as integer) iterations,
                  list({t: i.iteration, summary: json_extract(i.summary, '$.evaluate')} order by i.iteration)
                      filter (where i.iteration is not null) measured
           from runs r left join iterations i using (run_id)
           group by all order by r.created_at desc, r.run_id desc"""
    )
    return [_overview(row) for row in rows]


def _overview(row: Mapping[str, Any]) -> RunOverview:
    summaries = {each["t"]: json.loads(each["summary"] or "{}") for each in row["measured"] or ()}
    measured = {t: summary for t, summary in summaries.items() if summary}
    best = best_iteration(measured)
    benchmark = "test" if best is not None and "test" in measured[best] else "dev"
    return RunOverview(
        run_id=row["run_id"],
        name=row["name"],
        created_at=row["created_at"],
        iterations=row["iterations"],
        measured=max((t for t in measured), default=0),
        best=best,
        benchmark=benchmark,
        gain=None if best is None else measured[best][benchmark]["over_base"],
    )
