"""Data sets, their prompts, and which prompt a run uses where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lpd_core.errors import DataError, suggest
from lpd_core.store import mirror
from lpd_core.store.arrow import insert
from lpd_core.types import Example

if TYPE_CHECKING:
    from lpd_core.corpus import Corpus
    from lpd_core.store import Store


USERS = """select distinct a.run_id from assignments a semi join
    (select prompt_id from prompts where dataset_id = ?) p using (prompt_id) order by 1"""
"""The runs that mine or measure prompts of a data set."""


def add_corpus(store: Store, corpus: Corpus, source: str) -> bool:
    """Write a read corpus; False when this very data set is there already. All rows or none."""
    with store.database.write() as connection:
        known = connection.execute(
            "select sha256 from datasets where dataset_id = ?", [corpus.dataset_id]
        ).fetchone()
        if not known:
            _insert(connection, corpus, source)
        if not known or not mirror.has_dataset(store, corpus.dataset_id):
            mirror.keep_dataset(store, corpus.dataset_id, connection)
    return not known


def _insert(connection: Any, corpus: Corpus, source: str) -> None:
    insert(connection, "prompts", [_prompt_row(example) for example in corpus.examples])
    connection.execute(
        """insert into datasets (dataset_id, name, source, format, sha256, license, n_rows, created_at, summary)
           values (?, ?, ?, ?, ?, ?, ?, now(), ?)""",
        [
            corpus.dataset_id,
            corpus.name,
            source,
            corpus.format,
            corpus.sha256,
            corpus.license,
            len(corpus.examples),
            json.dumps(_summary(corpus)),
        ],
    )


def _summary(corpus: Corpus) -> dict[str, Any]:
    """What is kept of how a data set was made: rows left out by reason, evaluation or not, the limits."""
    return {
        "dropped": dict(corpus.counts),
        "evaluation": corpus.evaluation,
        "limits": dict(corpus.limits),
        "turns": sum(len(example.messages) for example in corpus.examples),
    }


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
    """Every data set with its number of rows by split and its summary (see `describe_dataset`), oldest first."""
    rows = store.database.query(
        """with counted as (
               select dataset_id, count(*) filter (where split = 'train') train,
                      count(*) filter (where split = 'dev') dev, count(*) filter (where split = 'test') test
               from prompts group by dataset_id)
           select d.*, coalesce(c.train, 0) train, coalesce(c.dev, 0) dev, coalesce(c.test, 0) test
           from datasets d left join counted c using (dataset_id) order by created_at, dataset_id"""
    )
    return [{**row, "summary": json.loads(row["summary"] or "{}")} for row in rows]


def runs_using(store: Store, dataset_id: str) -> list[str]:
    """The ids of the runs that mine or measure prompts of a data set."""
    return [row["run_id"] for row in store.database.query(USERS, [dataset_id])]


def datasets_of_run(store: Store, run_id: str, iteration: int) -> list[dict[str, Any]]:
    """The data sets a run has used up to an iteration: name, licence, source, prompts mined and measured."""
    return store.database.query(
        """with used as (
               select prompt_id, bool_or(benchmark = 'train') mined from assignments
               where run_id = ? and iteration <= ? group by prompt_id)
           select d.dataset_id, d.name, d.license, d.source, count(*) filter (where u.mined) mined,
                  count(*) filter (where not u.mined) measured
           from used u join prompts p using (prompt_id) join datasets d using (dataset_id)
           group by all order by d.name, d.dataset_id""",
        [run_id, iteration],
    )


def delete_dataset(store: Store, dataset_id: str) -> int:
    """Take a data set and its prompts out; returns the prompts deleted. All or none.

    Raises `DataError` while a run uses it: that run's rows refer to its prompts."""
    with store.database.write() as connection:
        users = [run for (run,) in connection.execute(USERS, [dataset_id]).fetchall()]
        if users:
            more = f" and {len(users) - 5} more" if len(users) > 5 else ""
            raise DataError(
                f"data set {dataset_id} is used by {', '.join(users[:5])}{more}; delete those runs first"
            )
        count = connection.execute(
            "select count(*) from prompts where dataset_id = ?", [dataset_id]
        ).fetchone()[0]
        connection.execute("delete from prompts where dataset_id = ?", [dataset_id])
        connection.execute("delete from datasets where dataset_id = ?", [dataset_id])
        mirror.forget_dataset(store, dataset_id)
    return count


ROWS_WHERE = """dataset_id = $dataset and ($split = '' or split = $split)
    and ($words = '' or contains(lower(gold), lower($words)) or contains(lower(messages), lower($words)))"""


def page_of_prompts(
    store: Store, dataset_id: str, split: str = "", words: str = "", limit: int = 25, offset: int = 0
) -> list[dict[str, Any]]:
    """A page of a data set's prompts in the order of their ids, the beginnings of their texts: of one split, or
    holding the words, where those are given."""
    return store.database.query(
        f"""select prompt_id, split, left(messages->-1->>'content', 300) prompt, left(gold, 300) gold,
                   json_array_length(messages) turns
            from prompts where {ROWS_WHERE} order by prompt_id limit $limit offset $offset""",
        {"dataset": dataset_id, "split": split, "words": words, "limit": limit, "offset": offset},
    )


def count_prompts(store: Store, dataset_id: str, split: str = "", words: str = "") -> int:
    """How many prompts `page_of_prompts` pages through."""
    return store.database.query(
        f"select count(*) n from prompts where {ROWS_WHERE}",
        {"dataset": dataset_id, "split": split, "words": words},
    )[0]["n"]


def prompt(store: Store, dataset_id: str, prompt_id: str) -> Example | None:
    """One prompt of a data set; None where there is none of that id."""
    rows = store.database.query(
        f"select {EXAMPLE_COLUMNS} from prompts p where dataset_id = ? and prompt_id = ?",
        [dataset_id, prompt_id],
    )
    return to_example(rows[0]) if rows else None


def known_elsewhere(store: Store, corpus: Corpus) -> list[dict[str, Any]]:
    """The other data sets that hold prompts of a corpus, word for word, each with how many (`prompts`)."""
    import pyarrow

    texts = pyarrow.table({"messages": [_prompt_row(example)["messages"] for example in corpus.examples]})
    with store.database.read() as connection:
        connection.register("looked_for", texts)
        rows = connection.execute(
            """select d.name, count(*) prompts from prompts p join datasets d using (dataset_id)
               where dataset_id <> ? and cast(p.messages as text) in (select messages from looked_for)
               group by all order by prompts desc, d.name""",
            [corpus.dataset_id],
        ).fetchall()
    return [{"name": name, "prompts": prompts} for name, prompts in rows]


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


def with_source(store: Store, source: str) -> str | None:
    """The id of the newest data set that was made from exactly this source."""
    rows = store.database.query(
        "select dataset_id from datasets where source = ? order by created_at desc limit 1", [source]
    )
    return rows[0]["dataset_id"] if rows else None


def describe_dataset(store: Store, dataset_id: str) -> dict[str, Any]:
    """A data set's row; `summary` tells what was dropped by reason (empty for one imported before it was kept)."""
    (row,) = store.database.query("select * from datasets where dataset_id = ?", [dataset_id])
    return {**row, "summary": json.loads(row["summary"] or "{}")}


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


def heldout_like(store: Store, run_id: str, words: str, limit: int) -> list[dict[str, Any]]:
    """Held-out prompts of a run that hold `words` (all where it is empty): prompt_id, benchmark, messages, gold."""
    rows = store.database.query(
        """select a.prompt_id, a.benchmark, p.messages, p.gold from assignments a join prompts p using (prompt_id)
           where a.run_id = $run and a.iteration = 0
             and ($words = '' or contains(lower(p.messages::text), lower($words)) or a.prompt_id = $words)
           order by a.benchmark, a.position limit $limit""",
        {"run": run_id, "words": words, "limit": limit},
    )
    return [{**row, "messages": tuple(json.loads(row["messages"]))} for row in rows]
