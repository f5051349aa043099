"""Candidates to look through: filtered, sorted, counted and paged in SQL.

A page of the list is one pass over an iteration's narrow columns, then the texts of the rows that are shown; other
texts are read for a text search only. No index helps (measured on a million candidates): the rows of an iteration
lie together, and DuckDB passes over the rest by the ranges it keeps of each block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpd_core.store import Store

ORDERS: Mapping[str, tuple[str, str, str]] = {
    "gain": ("Highest gain first", "gain desc nulls last, ", "max(gain) desc nulls last, "),
    "loss": ("Lowest gain first", "gain asc nulls last, ", "min(gain) asc nulls last, "),
    "score": ("Highest score first", "score desc nulls last, ", "max(score) desc nulls last, "),
    "prompt": ("By prompt", "", ""),
}
"""How the list may be sorted: its name for people, the leading key of candidates and that of prompts. Ties go by
iteration, prompt and sample."""
PLACES = ("prompt", "draft", "principle", "response", "gold")
"""Where a text may be looked for."""
SHOWN = 400
"""Characters of a text that a list shows; a whole one may be megabytes."""
SIMILAR = 100
"""How many principles count as those most like a text."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which candidates of a run are wanted; what is None or empty lets all through.

    `cluster` is a cluster as found; `principles` are ids: those of an edited entry, or those like a text. Ranges
    include their ends. `text` is looked for in `places`, whatever its case."""

    run_id: str
    iteration: int | None = None
    dataset: str = ""
    statuses: tuple[str, ...] = ()
    cluster: str = ""
    principles: tuple[str, ...] | None = None
    score: tuple[float | None, float | None] = (None, None)
    gain: tuple[float | None, float | None] = (None, None)
    selected: bool = False
    text: str = ""
    places: tuple[str, ...] = PLACES


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of candidates, how many there are in all, and how many of each status there would be if no status
    was asked for."""

    rows: tuple[dict[str, Any], ...]
    total: int
    statuses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a prompt stands among the prompts that a filter finds: its number (from 1; None when it is not among
    them), their count, and its neighbours as (iteration, prompt id)."""

    number: int | None
    count: int
    before: tuple[int, str] | None
    after: tuple[int, str] | None


def listing(store: Store, wanted: Filter, order: str = "gain", page: int = 1, size: int = 50) -> Listing:
    """Page `page` (from 1) of the candidates, `size` a page.

    A row has the candidate's key, status, selected, score and gain, the draft's score and the beginnings of prompt,
    principle and response."""
    with _hits(store, wanted) as connection:
        counts = dict(connection.execute("select status, count(*) from hits group by status").fetchall())
        keys = connection.execute(
            f"""select number from hits where {_chosen(wanted)}
                order by {ORDERS[order][1]}iteration, prompt_id, sample limit $size offset $skip""",
            {**_statuses(wanted), "size": size, "skip": (page - 1) * size},
        ).fetchall()
        numbers = [number for (number,) in keys]
        rows = _rows(connection, _LISTED, {"numbers": numbers})
    place = {number: at for at, number in enumerate(numbers)}
    rows.sort(key=lambda row: place[row.pop("number")])
    total = sum(n for status, n in counts.items() if not wanted.statuses or status in wanted.statuses)
    return Listing(tuple(rows), total, counts)


_LISTED = f"""
    select c.rowid number, c.run_id, c.iteration, c.prompt_id, c.sample, c.status, c.selected, c.score, c.gain,
           d.score draft_score, left(c.principle, {SHOWN}) principle, left(c.response, {SHOWN}) response,
           left(p.messages->-1->>'content', {SHOWN}) prompt
    from candidates c left join drafts d using (run_id, iteration, prompt_id)
    left join prompts p on p.prompt_id = c.prompt_id
    where c.rowid in (select unnest($numbers::bigint[]))"""


def place(store: Store, wanted: Filter, order: str, iteration: int, prompt_id: str) -> Place:
    """Where a prompt stands in the list, prompt by prompt."""
    with _hits(store, wanted) as connection:
        rows = _rows(
            connection,
            f"""with prompts as (
                    select iteration, prompt_id, row_number() over (order by {ORDERS[order][2]}iteration, prompt_id) place
                    from hits where {_chosen(wanted)} group by iteration, prompt_id),
                here as (select place from prompts where iteration = $t and prompt_id = $prompt)
                select place, iteration, prompt_id, (select place from here) here, (select count(*) from prompts) n
                from prompts where abs(place - coalesce((select place from here), 1)) <= 1 order by place""",
            {**_statuses(wanted), "t": iteration, "prompt": prompt_id},
        )
    if not rows:
        return Place(None, 0, None, None)
    here, count = rows[0]["here"], rows[0]["n"]
    found = {row["place"]: (row["iteration"], row["prompt_id"]) for row in rows}
    if here is None:
        return Place(None, count, None, found.get(1))
    return Place(here, count, found.get(here - 1), found.get(here + 1))


@contextmanager
def _hits(store: Store, wanted: Filter) -> Iterator[Any]:
    """A connection with the temporary table `hits`: row number, sort keys and status of the candidates that pass all
    of the filter but its statuses."""
    conditions, values = _conditions(wanted)
    with store.database.read() as connection:
        connection.execute(
            f"""create temp table hits as
                select rowid number, iteration, prompt_id, sample, status, score, gain from candidates
                where {" and ".join(conditions)}""",
            values,
        )
        yield connection


def _chosen(wanted: Filter) -> str:
    return "list_contains($statuses::text[], status)" if wanted.statuses else "true"


def _statuses(wanted: Filter) -> dict[str, list[str]]:
    return {"statuses": list(wanted.statuses)} if wanted.statuses else {}


def _conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    found = ["run_id = $run"]
    values: dict[str, Any] = {"run": wanted.run_id}
    simple = {
        "iteration = $t": ("t", wanted.iteration),
        "prompt_id in (select prompt_id from prompts where dataset_id = $dataset)": (
            "dataset",
            wanted.dataset or None,
        ),
        "score >= $score_from": ("score_from", wanted.score[0]),
        "score <= $score_to": ("score_to", wanted.score[1]),
        "gain >= $gain_from": ("gain_from", wanted.gain[0]),
        "gain <= $gain_to": ("gain_to", wanted.gain[1]),
        _IN_CLUSTER: ("cluster", wanted.cluster or None),
        "principle_id in (select unnest($principles::text[]))": (
            "principles",
            None if wanted.principles is None else list(wanted.principles),
        ),
    }
    for condition, (name, value) in simple.items():
        if value is not None:
            found.append(condition)
            values[name] = value
    if wanted.selected:
        found.append("selected")
    if wanted.text:
        conditions, searched = _search(wanted)
        found.append(conditions)
        values |= searched
    return found, values


_IN_CLUSTER = """(iteration, principle_id) in (
    select (iteration, principle_id) from cluster_members where run_id = $run and cluster_id = $cluster)"""


def _search(wanted: Filter) -> tuple[str, dict[str, str]]:
    """The condition that a text stands in one of the places. Messages are JSON: there the text is looked for as JSON
    writes it."""
    needle = wanted.text.lower()
    tests = {
        "principle": "contains(lower(principle), $text)",
        "response": "contains(lower(response), $text)",
        "draft": """(iteration, prompt_id) in (
            select (iteration, prompt_id) from drafts where run_id = $run and contains(lower(text), $text))""",
        "gold": "prompt_id in (select prompt_id from prompts where contains(lower(gold), $text))",
        "prompt": "prompt_id in (select prompt_id from prompts where contains(lower(messages::text), $quoted))",
    }
    places = [name for name in tests if name in (wanted.places or PLACES)]
    values = {"quoted": json.dumps(needle, ensure_ascii=False)[1:-1]} if "prompt" in places else {}
    if places != ["prompt"]:
        values["text"] = needle
    return f"({' or '.join(tests[name] for name in places)})", values


def datasets(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The data sets that a run mines: id, name, prompts."""
    return store.database.query(
        """select p.dataset_id, any_value(d.name) as name, count(*) prompts
           from assignments a join prompts p using (prompt_id) join datasets d using (dataset_id)
           where a.run_id = ? and a.benchmark = 'train' group by p.dataset_id order by name, p.dataset_id""",
        [run_id],
    )


def similar(
    store: Store,
    run_id: str,
    iteration: int | None,
    vector: Sequence[float],
    embedder: str,
    most: int = SIMILAR,
) -> list[dict[str, Any]]:
    """The clustered principles of a run (or of one iteration) most like a vector: id, text, cosine similarity."""
    return store.database.query(
        """select principle_id, any_value(text) as text,
                  max(list_cosine_similarity(embedding, $vector::float[])) similarity
           from principles
           where embedder = $embedder and len(embedding) = len($vector) and principle_id in (
               select principle_id from cluster_members where run_id = $run and ($t is null or iteration = $t))
           group by principle_id order by similarity desc, principle_id limit $most""",
        {"vector": list(vector), "embedder": embedder, "run": run_id, "t": iteration, "most": most},
    )


def _rows(connection, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor = connection.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
