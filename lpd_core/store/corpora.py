"""Data sets, their prompts, and which prompt a run uses where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lpd_core.errors import DataError, suggest
from lpd_core.store.arrow import insert
from lpd_core.types import Example

if TYPE_CHECKING:
    from lpd_core.corpus import Corpus
    from lpd_core.store import Store


def add_corpus(store: Store, corpus: Corpus, source: str) -> bool:
    """Write a read corpus; False when this very data set is there already. All rows or none."""
    with store.database.write() as connection:
        known = connection.execute(
            "select sha256 from datasets where dataset_id = ?", [corpus.dataset_id]
        ).fetchone()
        if known:
            return False
        insert(connection, "prompts", [_prompt_row(example) for example in corpus.examples])
        connection.execute(
            "insert into datasets values (?, ?, ?, ?, ?, ?, ?, now())",
            [
                corpus.dataset_id,
                corpus.name,
                source,
                corpus.format,
                corpus.sha256,
                corpus.license,
                len(corpus.examples),
            ],
        )
    return True


def _prompt_row(example: Example) -> dict[str, Any]:
    return {
        "dataset_id": example.dataset_id,
        "prompt_id": example.prompt_id,
        "split": example.split,
        "messages": json.dumps([dict(message) for message in example.messages], ensure_ascii=False),
        "gold": example.gold,
        "meta": json.dumps(dict(example.meta), ensure_ascii=False),
    }


def list_datasets(store: Store) -> list[dict[str, Any]]:
    """Every data set with its number of rows by split."""
    return store.database.query(
        """select d.*, (select count(*) from prompts p where p.dataset_id = d.dataset_id and split = 'train') train,
                  (select count(*) from prompts p where p.dataset_id = d.dataset_id and split = 'dev') dev,
                  (select count(*) from prompts p where p.dataset_id = d.dataset_id and split = 'test') test
           from datasets d order by created_at, dataset_id"""
    )


def find_dataset(store: Store, name: str) -> str:
    """The id of a data set given its id, name or source. Raises `DataError` naming what there is."""
    rows = store.database.query(
        """select dataset_id from datasets where dataset_id = $name or name = $name or source = $name
           order by created_at desc limit 1""",
        {"name": name},
    )
    if not rows:
        known = [row["name"] for row in list_datasets(store)]
        there = suggest(name, known) if known else "nothing is imported yet; use `data import FILE`"
        raise DataError(f"no data set {name!r}; {there}")
    return rows[0]["dataset_id"]


EXAMPLE_COLUMNS = "p.dataset_id, p.prompt_id, p.messages, p.gold, p.split, p.meta"


def to_example(row: dict[str, Any]) -> Example:
    """An `Example` from a row of the prompts table."""
    return Example(
        dataset_id=row["dataset_id"],
        prompt_id=row["prompt_id"],
        messages=tuple(json.loads(row["messages"])),
        gold=row["gold"],
        split=row["split"],
        meta=json.loads(row["meta"] or "{}"),
    )


def prompts_of(store: Store, dataset_id: str, split: str | None = None) -> list[Example]:
    """The prompts of a data set, ordered by id; of one split, or all."""
    rows = store.database.query(
        f"""select {EXAMPLE_COLUMNS} from prompts p
            where dataset_id = $dataset and ($split is null or split = $split) order by prompt_id""",
        {"dataset": dataset_id, "split": split},
    )
    return [to_example(row) for row in rows]


def assigned(store: Store, run_id: str, iteration: int, benchmark: str) -> list[Example]:
    """The prompts a run mines in an iteration (benchmark `train`) or measures (iteration 0), in their order."""
    rows = store.database.query(
        f"""select {EXAMPLE_COLUMNS} from assignments a join prompts p using (prompt_id)
            where a.run_id = ? and a.iteration = ? and a.benchmark = ? order by a.position""",
        [run_id, iteration, benchmark],
    )
    return [to_example(row) for row in rows]


def benchmarks(store: Store, run_id: str) -> list[str]:
    """The names of a run's held-out sets: dev, test, then the shifted ones."""
    rows = store.database.query(
        "select distinct benchmark from assignments where run_id = ? and iteration = 0", [run_id]
    )
    order: Sequence[str] = ("dev", "test")
    names = sorted(row["benchmark"] for row in rows)
    return [name for name in order if name in names] + [name for name in names if name not in order]
