"""What the stages produced, read back: candidates, trajectories, principles, training rows, evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lpd_core.types import TrainingRow, Trajectory, WeightedPrinciple

if TYPE_CHECKING:
    import numpy as np

    from lpd_core.store import Store


def statuses(store: Store, run_id: str, iteration: int) -> dict[str, int]:
    """Candidates of an iteration by status, most frequent first."""
    rows = store.database.query(
        """select status, count(*) n from candidates where run_id = ? and iteration = ?
           group by status order by n desc, status""",
        [run_id, iteration],
    )
    return {row["status"]: row["n"] for row in rows}


def gaining_counts(store: Store, run_id: str, iteration: int) -> list[int]:
    """For each prompt drafted in an iteration, how many of its candidates gained."""
    rows = store.database.query(
        """select count(c.sample) filter (where c.status in ('accepted', 'not_best')) n
           from drafts d left join candidates c using (run_id, iteration, prompt_id)
           where run_id = ? and iteration = ? group by prompt_id order by prompt_id""",
        [run_id, iteration],
    )
    return [row["n"] for row in rows]


def prompt_outcomes(store: Store, run_id: str, iteration: int) -> dict[str, int]:
    """Prompts of an iteration: selected, without_gain (skipped ones too), failed."""
    rows = store.database.query(
        """with outcome as (
               select a.prompt_id, coalesce(bool_or(c.selected), false) selected,
                      coalesce(bool_or(d.score is null), true)
                      or coalesce(bool_and(c.status in ('failed', 'unscored')), false) failed
               from assignments a
               left join drafts d using (run_id, iteration, prompt_id)
               left join candidates c using (run_id, iteration, prompt_id)
               where a.run_id = ? and a.iteration = ? and a.benchmark = 'train' group by a.prompt_id)
           select count(*) prompts, count(*) filter (where selected) selected,
                  count(*) filter (where not selected and not failed) without_gain,
                  count(*) filter (where not selected and failed) failed from outcome""",
        [run_id, iteration],
    )
    return rows[0]


def trajectories(store: Store, run_id: str, iteration: int) -> list[Trajectory]:
    """The selected (x, y1, z, y2) of an iteration, ordered; in soft EM weighted by gain, summing to 1 a prompt."""
    rows = store.database.query(
        """select c.prompt_id, c.sample, p.messages, d.text draft, c.principle, c.principle_id, c.response, c.gain,
                  c.gain / sum(c.gain) over (partition by c.prompt_id) weight
           from candidates c join drafts d using (run_id, iteration, prompt_id)
           join prompts p on p.prompt_id = c.prompt_id
           where run_id = ? and iteration = ? and c.selected order by c.prompt_id, c.sample""",
        [run_id, iteration],
    )
    return [Trajectory(**{**row, "messages": tuple(json.loads(row["messages"]))}) for row in rows]


def selected_principles(store: Store, run_id: str, iteration: int) -> list[WeightedPrinciple]:
    """The distinct principles of an iteration's trajectories with their counts; of texts that differ only in
    case, space or final punctuation the most frequent one stands for all."""
    rows = store.database.query(
        """with texts as (
               select principle_id, principle, count(*) n from candidates
               where run_id = ? and iteration = ? and selected group by all)
           select principle_id, arg_max(principle, (n, principle)) as text, sum(n)::int as count
           from texts group by principle_id order by principle_id""",
        [run_id, iteration],
    )
    return [WeightedPrinciple(**row) for row in rows]


def principle_texts(store: Store, run_id: str, iteration: int) -> dict[str, str]:
    """Text by id of an iteration's selected principles."""
    return {p.principle_id: p.text for p in selected_principles(store, run_id, iteration)}


def principle_vectors(store: Store, ids: Sequence[str], embedder: str) -> np.ndarray:
    """The stored unit vectors of some principles, float32, shape [len(ids), d], in the order of `ids`."""
    import numpy as np

    known = known_vectors(store, ids, embedder)
    return np.stack([known[principle_id] for principle_id in ids])


def known_vectors(store: Store, ids: Sequence[str], embedder: str) -> dict[str, np.ndarray]:
    """The stored unit vectors of those of the principles that have one."""
    import numpy as np

    with (
        store.database.read() as connection
    ):  # arrays at once: a hundred thousand lists of numbers take a gigabyte
        found = connection.execute(
            """select principle_id, embedding from principles
               where embedder = ? and principle_id in (select unnest(?::text[]))""",
            [embedder, list(ids)],
        ).fetchnumpy()
    vectors = (np.asarray(vector, dtype=np.float32) for vector in found["embedding"])
    return dict(zip(found["principle_id"].tolist(), vectors, strict=True))


def principle_use(store: Store, run_id: str, iteration: int) -> dict[str, dict[str, Any]]:
    """For each selected principle: its prompts, datasets, gains and trajectories."""
    rows = store.database.query(
        """select c.principle_id, count(*) trajectories, list(distinct c.prompt_id order by c.prompt_id) prompts,
                  sum(c.gain) gain, list(p.dataset_id order by p.dataset_id) datasets
           from candidates c join prompts p using (prompt_id)
           where c.run_id = ? and c.iteration = ? and c.selected
           group by c.principle_id order by c.principle_id""",
        [run_id, iteration],
    )
    return {row.pop("principle_id"): row for row in rows}


def principle_trials(store: Store, run_id: str, iteration: int) -> dict[str, tuple[int, int]]:
    """For each principle: how many candidates tried it and how many of them gained."""
    rows = store.database.query(
        """select principle_id, count(*) tried, count(*) filter (where status in ('accepted', 'not_best')) gained
           from candidates where run_id = ? and iteration = ? and principle_id is not null
           group by principle_id""",
        [run_id, iteration],
    )
    return {row["principle_id"]: (row["tried"], row["gained"]) for row in rows}


def training_rows(store: Store, run_id: str, iteration: int) -> list[TrainingRow]:
    """What an iteration is trained on, in order."""
    rows = store.database.query(
        """select prompt_id, sample, principle, messages, trained, weight from training_rows
           where run_id = ? and iteration = ? order by origin_iteration, prompt_id, sample""",
        [run_id, iteration],
    )
    return [
        TrainingRow(
            prompt_id=row["prompt_id"],
            sample=row["sample"],
            principle=row["principle"],
            messages=tuple(json.loads(row["messages"])),
            trained=tuple(row["trained"]),
            weight=row["weight"],
        )
        for row in rows
    ]


def base_drafts(store: Store, run_id: str) -> Mapping[str, float]:
    """The base model's f(y1, gold) by prompt, over all held-out sets."""
    rows = store.database.query(
        """select prompt_id, draft_score from evaluations
           where run_id = ? and iteration = 0 and draft_score is not null""",
        [run_id],
    )
    return {row["prompt_id"]: row["draft_score"] for row in rows}


def evaluation_rows(store: Store, run_id: str, iteration: int, benchmark: str) -> list[dict[str, Any]]:
    """The held-out rows of one benchmark at one iteration; `right` is True, False or None."""
    rows = store.database.query(
        """select prompt_id, draft_score, score, principle, verdict from evaluations
           where run_id = ? and iteration = ? and benchmark = ? order by prompt_id""",
        [run_id, iteration, benchmark],
    )
    return [{**row, "right": json.loads(row["verdict"])["right"]} for row in rows]


def generation_row(
    store: Store, run_id: str, iteration: int, prompt_id: str, sample: int
) -> dict[str, Any] | None:
    """The texts of a candidate and its draft with what is kept of their generations; None where there is none."""
    rows = store.database.query(
        """select d.text draft, d.generations draft_generations, c.principle, c.raw_principle, c.critique, c.response,
                  c.generations
           from candidates c join drafts d using (run_id, iteration, prompt_id)
           where run_id = ? and iteration = ? and prompt_id = ? and c.sample = ?""",
        [run_id, iteration, prompt_id, sample],
    )
    return rows[0] if rows else None


def heldout_generations(
    store: Store, run_id: str, iteration: int, benchmark: str, prompt_id: str
) -> dict[str, Any] | None:
    """The texts of a held-out prompt with what is kept of their generations; None where it was not measured."""
    rows = store.database.query(
        """select draft, principle, response, generations from evaluations
           where run_id = ? and iteration = ? and benchmark = ? and prompt_id = ?""",
        [run_id, iteration, benchmark, prompt_id],
    )
    return rows[0] if rows else None
