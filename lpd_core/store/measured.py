"""What stages of earlier runs did and took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpd_core.store import Store

STAGES_READ = 200
"""The newest iterations looked at: older rates are of older code."""


def finished_stages(store: Store) -> list[dict[str, Any]]:
    """The newest iterations, each with its run's configuration (JSON), the prompts mined and measured, the rows
    trained on, and the seconds of each finished stage. Reads summaries and counts, never rows of a run."""
    return store.database.query(
        """with latest as (
               select run_id, iteration, summary from iterations where summary is not null
               order by started_at desc nulls last, run_id, iteration limit $most),
           prompts_of as (
               select run_id, iteration, count(*) n from assignments
               where run_id in (select run_id from latest) group by all)
           select l.run_id, l.iteration, r.config,
                  coalesce(mined.n, 0) mined, coalesce(held.n, 0) held,
                  coalesce(cast(l.summary->'relabel'->>'training_rows' as integer), 0) trained,
                  cast(l.summary->'e_step'->>'seconds' as double) e_step_seconds,
                  cast(l.summary->'cluster'->>'seconds' as double) cluster_seconds,
                  cast(l.summary->'m_step'->>'seconds' as double) m_step_seconds,
                  cast(l.summary->'evaluate'->>'seconds' as double) evaluate_seconds
           from latest l join runs r using (run_id)
           left join prompts_of mined on mined.run_id = l.run_id and mined.iteration = l.iteration and l.iteration > 0
           left join prompts_of held on held.run_id = l.run_id and held.iteration = 0""",
        {"most": STAGES_READ},
    )


def models_used(store: Store) -> list[str]:
    """The models that runs were started with, the latest first."""
    rows = store.database.query(
        """select config->'model'->>'path' path from runs where coalesce(path, '') <> ''
           group by path order by max(created_at) desc limit 50"""
    )
    return [row["path"] for row in rows]
