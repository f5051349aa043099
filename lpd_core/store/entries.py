"""What a page shows of a constitution's entries: their trajectories, their places on the map, the log's state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpd_core.store import Store


def log_state(store: Store, run_id: str, iteration: int) -> dict[str, Any]:
    """How far an iteration's log has come, and its approval: `edits`, `version` (None before it), with that
    version's author, time and message."""
    rows = store.database.query(
        """select (select coalesce(max(seq), 0) from constitution_edits where run_id = $run and iteration = $t) edits,
                  v.version, v.author, v."at", v.message
           from (select 1) left join constitution_versions v
                on v.run_id = $run and v.iteration = $t and v.approved""",
        {"run": run_id, "t": iteration},
    )
    return rows[0]


def found_counts(store: Store, run_id: str, iteration: int) -> dict[str, int]:
    """How much an iteration's clustering found, without reading it: `clusters`, `principles`, `trajectories`."""
    rows = store.database.query(
        """select (select count(*) from clusters where run_id = $run and iteration = $t) clusters,
                  count(*) principles, coalesce(sum(count), 0)::bigint trajectories
           from cluster_members where run_id = $run and iteration = $t""",
        {"run": run_id, "t": iteration},
    )
    return rows[0]


def gains(store: Store, run_id: str, iteration: int) -> tuple[list[str], list[str], list[float]]:
    """The principle, prompt and gain of each trajectory, as columns in the principles' order."""
    with store.database.read() as connection:
        columns = connection.execute(
            """select principle_id, prompt_id, gain from candidates
               where run_id = ? and iteration = ? and selected order by principle_id, prompt_id, sample""",
            [run_id, iteration],
        ).fetchnumpy()
    return tuple(columns[name].tolist() for name in ("principle_id", "prompt_id", "gain"))


def keywords(store: Store, run_id: str, iteration: int) -> dict[str, tuple[str, ...]]:
    """The keywords of the clusters found."""
    rows = store.database.query(
        "select cluster_id, keywords from clusters where run_id = ? and iteration = ?", [run_id, iteration]
    )
    return {row["cluster_id"]: tuple(row["keywords"] or ()) for row in rows}


def places(
    store: Store, run_id: str, iteration: int, principle_ids: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Where principles stand on the iteration's map; those without a place are left out."""
    rows = store.database.query(
        """select principle_id, x, y from principle_coordinates
           where run_id = ? and iteration = ? and principle_id in (select unnest(?::text[]))""",
        [run_id, iteration, list(principle_ids)],
    )
    return {row["principle_id"]: (row["x"], row["y"]) for row in rows}


def examples(
    store: Store, run_id: str, iteration: int, principle_ids: Sequence[str], most: int, skip: int = 0
) -> list[dict[str, Any]]:
    """The trajectories of some principles, of highest gain first: prompt (its last user turn), principle, y1, y2,
    gold, gain."""
    rows = store.database.query(
        """with best as (
               select prompt_id, sample, principle_id, principle, response, gain from candidates
               where run_id = ? and iteration = ? and selected and principle_id in (select unnest(?::text[]))
               order by gain desc, prompt_id, sample limit ? offset ?)
           select distinct on (b.prompt_id, b.sample) b.*, d.text draft, p.messages, p.gold from best b
           left join drafts d on d.run_id = ? and d.iteration = ? and d.prompt_id = b.prompt_id
           left join prompts p on p.prompt_id = b.prompt_id""",
        [run_id, iteration, list(principle_ids), most, skip, run_id, iteration],
    )
    shown = []
    for row in sorted(rows, key=lambda row: (-row["gain"], row["prompt_id"], row["sample"])):
        asked = [
            turn["content"] for turn in json.loads(row.pop("messages") or "[]") if turn["role"] == "user"
        ]
        shown.append({**row, "prompt": asked[-1] if asked else ""})
    return shown
