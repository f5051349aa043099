"""What the measurements read of a run: held-out answers with their texts, candidates by principle, judged pairs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lpd_core.store import runs

if TYPE_CHECKING:
    from lpd_core.store import RunFolder, Store

IDENTITY = ("iteration", "system", "prompt_id", "sample")


def heldout_answers(
    store: Store, run_id: str, iteration: int, benchmark: str, limit: int = 100_000
) -> list[dict[str, Any]]:
    """The answers of M_t to a held-out set, by prompt: messages, gold, dataset, y1, z, y2 and their scores."""
    rows = store.database.query(
        """select e.prompt_id, p.messages, p.gold, p.dataset_id, e.draft, e.principle, e.response,
                  e.draft_score, e.score
           from evaluations e join prompts p using (prompt_id)
           where e.run_id = ? and e.iteration = ? and e.benchmark = ? and e.sample = 0
           order by e.prompt_id limit ?""",
        [run_id, iteration, benchmark, limit],
    )
    return [{**row, "messages": tuple(json.loads(row["messages"]))} for row in rows]


def gains_by_principle(store: Store, run_id: str, iteration: int) -> list[dict[str, Any]]:
    """Every scored candidate of an iteration: its prompt, its principle's id and what it gained over the draft."""
    return store.database.query(
        """select prompt_id, principle_id, gain from candidates
           where run_id = ? and iteration = ? and gain is not null and principle_id is not null
           order by prompt_id, sample""",
        [run_id, iteration],
    )


def outcomes_by_principle(store: Store, run_id: str, iteration: int) -> dict[str, tuple[int, int]]:
    """How many scored candidates of an iteration that state each principle gained over their draft, and how many did not."""
    with store.database.read() as connection:
        rows = connection.execute(
            """select principle_id, count(*) filter (where gain > 0), count(*) filter (where gain <= 0) from candidates
               where run_id = ? and iteration = ? and gain is not null and principle_id is not null
               group by principle_id""",
            [run_id, iteration],
        ).fetchall()
    return {principle_id: (gained, lost) for principle_id, gained, lost in rows}


def keep_measured(
    store: Store,
    folder: RunFolder,
    iteration: int,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    more: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Keep judged or checked answers as rows of `evaluations`, and rows of `more` tables beside them, in a segment of the
    run, as every result is; `name` tells the measurement apart from others. What equals the last measurement of the same
    is not kept again."""
    whole = json.dumps([name, list(rows), dict(more or {})], sort_keys=True, ensure_ascii=True)
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    prefix = f"{folder.run_id}.{iteration}.{name}."
    if rows and (_last_measurement(store, prefix, rows[0]) or "").endswith(digest):
        return
    # Ids sort by time, and after those of the versions that had no time in them: the later row stands.
    own = f"t{time.time_ns() // 1_000_000:014d}_{digest}"
    keyed = [
        {
            "eval_id": prefix + own,
            "run_id": folder.run_id,
            "iteration": iteration,
            "sample": 0,
            **row,
        }
        for row in rows
    ]
    owner = {"run_id": folder.run_id, "iteration": iteration}
    tables = {table: [{**owner, **row} for row in each] for table, each in (more or {}).items()}
    folder.write_segment(iteration, f"measured_{own}", 0, {"evaluations": keyed, **tables})
    runs.ingest(store, folder)


def _last_measurement(store: Store, prefix: str, row: Mapping[str, Any]) -> str | None:
    """The id of the last one of that name whose benchmark and system are those of the row."""
    with store.database.read() as connection:
        return connection.execute(
            "select max(eval_id) from evaluations where starts_with(eval_id, ?) and benchmark = ? and system = ?",
            [prefix, row["benchmark"], row["system"]],
        ).fetchone()[0]


def measured_rows(store: Store, run_id: str, benchmark: str, limit: int = 100_000) -> list[dict[str, Any]]:
    """The kept rows of a benchmark (MT-Bench's rated turns, IFEval's checked answers, ...) with `verdict` decoded, without
    the texts of drafts; measured again, the later row stands, and one with a score before one without."""
    rows = store.database.query(
        """select e.iteration, e.prompt_id, e.system, e.sample, e.principle, e.response, e.score, e.verdict
           from evaluations e
           where e.run_id = ? and e.benchmark = ?
           order by e.iteration, e.system, e.prompt_id, e.sample, e.score is not null, e.eval_id limit ?""",
        [run_id, benchmark, limit],
    )
    return _last_of_each([{**row, "verdict": json.loads(row["verdict"] or "{}")} for row in rows])


def task_results(store: Store, run_id: str) -> list[dict[str, Any]]:
    """What lm-evaluation-harness measured of a run: iteration, task, metric, value, stderr, n, settings (JSON)."""
    return store.database.query(
        """select iteration, task, metric, value, stderr, n, settings from task_results where run_id = ?
           order by task, metric, iteration, settings limit 5000""",
        [run_id],
    )


def judged_rows(store: Store, run_id: str, limit: int = 200_000) -> list[dict[str, Any]]:
    """The kept judged pairs of a run without their texts, `verdict` decoded, by iteration, comparison (`benchmark`), judge
    (`system`) and prompt; of a pair judged again by the same prompts of the judge the later row stands, and one with a
    verdict before one without."""
    rows = store.database.query(
        """select iteration, benchmark, system, prompt_id, sample, score, verdict from evaluations
           where run_id = ? and benchmark like 'judge:%'
           order by iteration, benchmark, system, prompt_id, score is not null, eval_id limit ?""",
        [run_id, limit],
    )
    return _last_of_each([{**row, "verdict": json.loads(row["verdict"])} for row in rows])


def judged_page(
    store: Store,
    run_id: str,
    iteration: int,
    benchmark: str,
    system: str,
    prompts_digest: str,
    limit: int,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """The pairs of one comparison by one judge and its prompts (by digest) with their texts, a page of them: prompt id, the
    prompt's last turn, both answers (a, b), share won and both orders' outcomes; `total` of them in all."""
    rows = store.database.query(
        """select e.prompt_id, any_value(p.messages->-1->>'content') prompt,
                  arg_max(e.response, (e.score is not null, e.eval_id)) a,
                  arg_max(e.draft, (e.score is not null, e.eval_id)) b,
                  arg_max(e.score, (e.score is not null, e.eval_id)) score,
                  arg_max(e.verdict, (e.score is not null, e.eval_id)) verdict, count(*) over () total
           from evaluations e left join prompts p using (prompt_id)
           where e.run_id = ? and e.iteration = ? and e.benchmark = ? and e.system = ?
                 and e.verdict->>'prompts' = ?
           group by e.prompt_id order by e.prompt_id limit ? offset ?""",
        [run_id, iteration, benchmark, system, prompts_digest, limit, offset],
    )
    return [{**row, "verdict": json.loads(row["verdict"])} for row in rows]


def _last_of_each(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of rows that measure the same by the same judge and prompts, the last."""
    kept = {}
    for row in rows:
        name = (*map(row["verdict"].get, ("judge", "prompts")), row.get("benchmark"), *map(row.get, IDENTITY))
        kept[name] = dict(row)
    return list(kept.values())


def pair_verdicts(store: Store, run_id: str, iteration: int) -> list[dict[str, Any]]:
    """The kept judgements of an iteration's y2 against the base model's y1: prompt, benchmark, judge and both orders'
    outcomes ("a", "b", "tie" or None; a is M_t)."""
    found = [{**row, **row["verdict"]} for row in judged_rows(store, run_id)]
    return [row for row in found if row["iteration"] == iteration and row["against"] == "M_0 y1"]


def final_scores(store: Store, run_id: str, benchmark: str) -> list[dict[str, Any]]:
    """f of each measured iteration's y2 on a held-out set, without texts: iteration, prompt, category, score. A prompt's
    category is its meta's category or topic, else its data set."""
    return store.database.query(
        """select e.iteration, e.prompt_id, e.score,
                  coalesce(p.meta->>'category', p.meta->>'topic', p.dataset_id) category
           from evaluations e join prompts p using (prompt_id)
           where e.run_id = ? and e.benchmark = ? and e.sample = 0 order by e.iteration, e.prompt_id limit 200000""",
        [run_id, benchmark],
    )
