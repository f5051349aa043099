"""An iteration's principles as people explore them: places on the map, members, neighbours, words, examples.

Every read is bounded: a sample of stated size, a page, the best few. Works on what the clustering found; edits are the
business of `constitutions`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lpd_core.tree import Tree

if TYPE_CHECKING:
    from lpd_core.store import Store

HOVERED = 120
"""Characters of a principle that the map carries."""
FEW_WORDS = r"\w\w+"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which of an iteration's principles are meant: those of some clusters ("" are the unclustered), and those
    at some positions, and those that contain a text in any case. None and an empty text leave nothing out."""

    clusters: tuple[str, ...] | None = None
    positions: tuple[int, ...] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Principles on the map, in order of position: arrays [n] of position, place, number in `clusters`, count of
    trajectories and the text's first characters. `total` principles there are in all."""

    position: np.ndarray
    x: np.ndarray
    y: np.ndarray
    cluster: np.ndarray
    count: np.ndarray
    text: np.ndarray
    clusters: tuple[str, ...]
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Every principle's cluster, as a number in `clusters`, and count of trajectories, by position [n]."""

    cluster: np.ndarray
    count: np.ndarray
    clusters: tuple[str, ...]


def points(store: Store, run_id: str, iteration: int, embedder: str, most: int) -> Points:
    """The map's principles: all, or, of more than `most`, the same share of each cluster, at least one."""
    values = {"run": run_id, "t": iteration, "embedder": embedder, "most": most, "hovered": HOVERED}
    with store.database.read() as connection:
        found = connection.execute(
            """with ranked as (
                   select principle_id, cluster_id, count, count(*) over () total,
                          count(*) over (partition by cluster_id) size,
                          row_number() over (partition by cluster_id order by hash(principle_id), principle_id) place
                   from cluster_members where run_id = $run and iteration = $t)
               select c.position, c.x, c.y, r.cluster_id, r.count, r.total, left(coalesce(p.text, ''), $hovered) text
               from ranked r
               join principle_coordinates c
                   on c.run_id = $run and c.iteration = $t and c.principle_id = r.principle_id
               left join principles p on p.principle_id = r.principle_id and p.embedder = $embedder
               where r.place <= greatest(1, floor(r.size * least(1.0, $most / r.total)))
               order by c.position""",
            values,
        ).fetchnumpy()
    clusters, numbers = np.unique(found["cluster_id"].astype(str), return_inverse=True)
    total = int(found["total"][0]) if len(found["total"]) else 0
    arrays = (np.asarray(found[name]) for name in ("position", "x", "y"))
    return Points(
        *arrays, numbers, np.asarray(found["count"]), found["text"], tuple(clusters.tolist()), total
    )


def placed(store: Store, run_id: str, iteration: int) -> Placed:
    """The cluster and count of every principle of an iteration, in order of position."""
    with store.database.read() as connection:
        found = connection.execute(
            """select m.cluster_id, m.count from principle_coordinates c
               join cluster_members m using (run_id, iteration, principle_id)
               where run_id = ? and iteration = ? order by c.position""",
            [run_id, iteration],
        ).fetchnumpy()
    clusters, numbers = np.unique(found["cluster_id"].astype(str), return_inverse=True)
    return Placed(numbers, np.asarray(found["count"]), tuple(clusters.tolist()))


def tree(store: Store, run_id: str, iteration: int) -> Tree:
    """The merges of an iteration's clustering, as arrays."""
    where = [run_id, iteration]
    with store.database.read() as connection:
        found = connection.execute(
            """select node_left, node_right, distance from merges where run_id = ? and iteration = ? order by step""",
            where,
        ).fetchnumpy()
        count = connection.execute(
            "select count(*) from principle_coordinates where run_id = ? and iteration = ?", where
        ).fetchone()[0]
    return Tree(*(np.asarray(found[name]) for name in ("node_left", "node_right", "distance")), count)


def cluster_labels(store: Store, run_id: str, iteration: int) -> dict[str, str]:
    """The label of every cluster of an iteration, the heaviest first."""
    rows = store.database.query(
        """select cluster_id, label from clusters where run_id = ? and iteration = ?
           order by trajectories desc, cluster_id""",
        [run_id, iteration],
    )
    return {row["cluster_id"]: row["label"] for row in rows}


def cluster_page(
    store: Store, run_id: str, iteration: int, ids: tuple[str, ...] | None, limit: int, offset: int
) -> list[dict[str, Any]]:
    """Clusters with their figures, the heaviest first, `total` of them in all; `ids` picks some. Shares are by
    data set name."""
    rows = store.database.query(
        """select cluster_id, label, size, trajectories, prompts, mean_gain, acceptance_rate, keywords, datasets,
                  count(*) over () total
           from clusters where run_id = $run and iteration = $t
               and ($ids is null or cluster_id in (select unnest($ids::text[])))
           order by trajectories desc, cluster_id limit $limit offset $offset""",
        {"run": run_id, "t": iteration, "ids": _listed(ids), "limit": limit, "offset": offset},
    )
    names = _dataset_names(store)
    for row in rows:
        shares = json.loads(row["datasets"] or "{}")
        row["datasets"] = {names.get(key, key): share for key, share in shares.items()}
        row["keywords"] = tuple(row["keywords"] or ())
    return rows


def _dataset_names(store: Store) -> dict[str, str]:
    rows = store.database.query("select dataset_id, name from datasets")
    return {row["dataset_id"]: row["name"] for row in rows}


def cluster_trials(
    store: Store, run_id: str, iteration: int, ids: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """For some clusters: how many candidates `tried` one of their principles, how many `gained`, and the standard
    deviation of the gains of those selected (None below two)."""
    rows = store.database.query(
        """select m.cluster_id, count(*) tried, count(*) filter (where c.status in ('accepted', 'not_best')) gained,
                  stddev_samp(c.gain) filter (where c.selected) deviation
           from cluster_members m join candidates c using (run_id, iteration, principle_id)
           where run_id = ? and iteration = ? and m.cluster_id in (select unnest(?::text[])) group by m.cluster_id""",
        [run_id, iteration, list(ids)],
    )
    return {row["cluster_id"]: row for row in rows}


def cluster_params(store: Store, run_id: str, iteration: int) -> dict[str, Any]:
    """How an iteration's clusters came about: method, threshold of the cut, pins; empty without clusters."""
    rows = store.database.query(
        "select params from clusters where run_id = ? and iteration = ? limit 1", [run_id, iteration]
    )
    return json.loads(rows[0]["params"] or "{}") if rows else {}


SCOPED = """
    select m.principle_id, m.cluster_id, m.count, m.distance from cluster_members m
    where m.run_id = $run and m.iteration = $t
        and ($clusters is null or m.cluster_id in (select unnest($clusters::text[])))
        and ($positions is null or m.principle_id in (
            select principle_id from principle_coordinates
            where run_id = $run and iteration = $t and position in (select unnest($positions::integer[]))))
        and ($text = '' or m.principle_id in (
            select principle_id from principles where embedder = $embedder and contains(lower(text), lower($text))))
"""
"""The members in a scope; its values come from `_scoped`."""


def _scoped(run_id: str, iteration: int, embedder: str, scope: Scope) -> dict[str, Any]:
    return {
        "run": run_id,
        "t": iteration,
        "embedder": embedder,
        "clusters": _listed(scope.clusters),
        "positions": _listed(scope.positions),
        "text": scope.text,
    }


def _listed(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


def counts_by_cluster(
    store: Store, run_id: str, iteration: int, embedder: str, scope: Scope
) -> dict[str, tuple[int, int]]:
    """How many principles of a scope each cluster holds, and in how many trajectories; "" are the unclustered."""
    rows = store.database.query(
        f"select cluster_id, count(*) n, sum(count)::bigint used from ({SCOPED}) group by cluster_id",
        _scoped(run_id, iteration, embedder, scope),
    )
    return {row["cluster_id"]: (row["n"], row["used"]) for row in rows}


def members(
    store: Store, run_id: str, iteration: int, embedder: str, scope: Scope, limit: int, offset: int
) -> list[dict[str, Any]]:
    """A page of a scope's principles, the most used first: id, text, cluster, count, distance to its mean."""
    return store.database.query(
        f"""with page as (
                select * from ({SCOPED}) order by count desc, principle_id limit $limit offset $offset)
            select page.*, p.text from page
            left join principles p on p.principle_id = page.principle_id and p.embedder = $embedder
            order by count desc, page.principle_id""",
        {**_scoped(run_id, iteration, embedder, scope), "limit": limit, "offset": offset},
    )


def vector_of(store: Store, principle_id: str, embedder: str) -> tuple[float, ...] | None:
    """A principle's stored unit vector; None where there is none."""
    rows = store.database.query(
        "select embedding from principles where principle_id = ? and embedder = ?", [principle_id, embedder]
    )
    return tuple(rows[0]["embedding"]) if rows and rows[0]["embedding"] else None


def similar(
    store: Store,
    run_id: str,
    iteration: int,
    embedder: str,
    vector: tuple[float, ...],
    scope: Scope,
    most: int,
) -> list[dict[str, Any]]:
    """The principles of a scope nearest to a vector: rows as `members` gives, with their cosine `similarity` and
    their `position`, the nearest first."""
    size = len(vector)
    return store.database.query(
        f"""with near as (
                select m.*, p.text,
                       array_cosine_similarity(p.embedding::float[{size}], $vector::float[{size}]) similarity
                from ({SCOPED}) m join principles p using (principle_id)
                where p.embedder = $embedder and len(p.embedding) = {size}
                order by similarity desc, principle_id limit $most)
            select near.*, c.position from near
            left join principle_coordinates c
                on c.run_id = $run and c.iteration = $t and c.principle_id = near.principle_id
            order by similarity desc, near.principle_id""",
        {**_scoped(run_id, iteration, embedder, scope), "vector": list(vector), "most": most},
    )


def examples(
    store: Store, run_id: str, iteration: int, embedder: str, scope: Scope, most: int
) -> list[dict[str, Any]]:
    """The selected trajectories of highest gain whose principle is in a scope: ids, gain, principle, the prompt's
    last user turn."""
    rows = store.database.query(
        f"""with best as (
                select prompt_id, sample, gain, score, principle from candidates
                where run_id = $run and iteration = $t and selected
                    and principle_id in (select principle_id from ({SCOPED}))
                order by gain desc, prompt_id, sample limit $most)
            select best.*, any_value(p.messages) messages from best join prompts p using (prompt_id)
            group by all order by gain desc, prompt_id, sample""",
        {**_scoped(run_id, iteration, embedder, scope), "most": most},
    )
    for row in rows:
        asked = [turn["content"] for turn in json.loads(row["messages"]) if turn["role"] == "user"]
        row["prompt"] = asked[-1] if asked else ""
    return rows


def keyword_shares(
    store: Store, run_id: str, iteration: int, embedder: str, ids: tuple[str, ...]
) -> dict[str, list[tuple[str, float]]]:
    """The keywords of some clusters in the order of their c-TF-IDF, each with the share of the cluster's
    trajectories whose principle says it (0 to 1)."""
    rows = store.database.query(
        """with words as (
               select cluster_id, unnest(keywords) word, generate_subscripts(keywords, 1) place, trajectories
               from clusters where run_id = $run and iteration = $t and cluster_id in (select unnest($ids::text[]))),
           said as (
               select m.cluster_id, m.count, regexp_extract_all(lower(p.text), $word) texts
               from cluster_members m join principles p using (principle_id)
               where m.run_id = $run and m.iteration = $t and p.embedder = $embedder
                   and m.cluster_id in (select unnest($ids::text[])))
           select w.cluster_id, w.word, w.place,
                  coalesce(sum(s.count) filter (where list_contains(s.texts, w.word)), 0)
                      / greatest(1, sum(s.count)) share
           from words w left join said s using (cluster_id) group by all order by w.cluster_id, w.place""",
        {"run": run_id, "t": iteration, "embedder": embedder, "ids": list(ids), "word": FEW_WORDS},
    )
    shares: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        shares.setdefault(row["cluster_id"], []).append((row["word"], row["share"]))
    return shares


def texts_at(
    store: Store, run_id: str, iteration: int, embedder: str, positions: tuple[int, ...]
) -> dict[int, str]:
    """The texts of the principles at some positions."""
    rows = store.database.query(
        """select c.position, p.text from principle_coordinates c join principles p using (principle_id)
           where c.run_id = $run and c.iteration = $t and p.embedder = $embedder
               and c.position in (select unnest($positions::integer[]))""",
        {"run": run_id, "t": iteration, "embedder": embedder, "positions": list(positions)},
    )
    return {row["position"]: row["text"] for row in rows}
