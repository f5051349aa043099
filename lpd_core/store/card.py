"""All that is known of one prompt: what a run made of it in an iteration, and where else it was used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lpd_core.store.corpora import EXAMPLE_COLUMNS, to_example
from lpd_core.types import Draft, Example

if TYPE_CHECKING:
    from lpd_core.store import Store

ELSEWHERE = 300
"""Uses of a prompt that are listed at most."""


@dataclass(frozen=True, slots=True)
class Card:
    """A prompt with its draft and candidates of one iteration (rows of the candidates table with `cluster_id` and
    `trained`, the principle that the training row states), or its held-out answers there (rows of the
    evaluations table). Either may be absent."""

    example: Example
    draft: Draft | None
    candidates: tuple[dict[str, Any], ...]
    heldout: tuple[dict[str, Any], ...]


def card(store: Store, run_id: str, iteration: int, prompt_id: str) -> Card | None:
    """One prompt as an iteration saw it; None when there is no such prompt."""
    where = {"run": run_id, "t": iteration, "prompt": prompt_id}
    found = store.database.query(
        f"select {EXAMPLE_COLUMNS} from prompts p where prompt_id = $prompt", {"prompt": prompt_id}
    )
    if not found:
        return None
    drafts = store.database.query(
        """select prompt_id, text, score, finish_reason, tokens from drafts
           where run_id = $run and iteration = $t and prompt_id = $prompt""",
        where,
    )
    return Card(
        example=to_example(found[0]),
        draft=Draft(**drafts[0]) if drafts else None,
        candidates=tuple(store.database.query(_CANDIDATES, where)),
        heldout=tuple(_heldout(store, where)),
    )


_CANDIDATES = """
    select c.*, m.cluster_id, t.principle trained
    from candidates c left join cluster_members m using (run_id, iteration, principle_id)
    left join training_rows t on t.run_id = c.run_id and t.iteration = c.iteration and t.origin_iteration = c.iteration
                              and t.prompt_id = c.prompt_id and t.sample = c.sample and c.selected
    where c.run_id = $run and c.iteration = $t and c.prompt_id = $prompt order by c.sample"""


def _heldout(store: Store, where: dict[str, Any]) -> list[dict[str, Any]]:
    rows = store.database.query(
        """select benchmark, draft, principle, response, score, draft_score, verdict from evaluations
           where run_id = $run and iteration = $t and prompt_id = $prompt and benchmark not like 'judge:%'
           order by benchmark, system, sample""",
        where,
    )
    return [{**row, "right": json.loads(row.pop("verdict") or "{}").get("right")} for row in rows]


def elsewhere(store: Store, prompt_id: str) -> list[dict[str, Any]]:
    """Every use of a prompt, in all runs, newest run first: run, iteration, `used` (mined or the held-out set), the
    draft's score, the best response's score, its principle, candidates tried and gained."""
    return store.database.query(
        """with mined as (
               select run_id, iteration, 'mined' used, count(*) tried,
                      count(*) filter (where status in ('accepted', 'not_best')) gained, max(score) score,
                      arg_max(principle, (selected, score)) as principle
               from candidates where prompt_id = $prompt group by run_id, iteration),
           uses as (
               select m.run_id, m.iteration, used, d.score draft_score, m.score, principle, tried, gained
               from mined m left join drafts d on d.run_id = m.run_id and d.iteration = m.iteration
                                               and d.prompt_id = $prompt
               union all
               select run_id, iteration, benchmark, draft_score, score, principle, null, null
               from evaluations where prompt_id = $prompt and benchmark not like 'judge:%')
           select u.* replace (left(u.principle, 400) as principle) from uses u left join runs r using (run_id)
           order by r.created_at desc, u.run_id, u.iteration, used limit $most""",
        {"prompt": prompt_id, "most": ELSEWHERE},
    )
