"""The part of a clustering that some edits touch, and the sums of the rest: what a single edit has to read.

The rest is summed by the database and none of its rows is read. An own text is looked for only where a principle was
stated more than once; joining filtered columns and not tables is what makes the sums cheap.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lpd_core.types import Cluster, Member

if TYPE_CHECKING:
    from lpd_core.store import Store

MEMBERS = """select cluster_id, principle_id, count, distance from cluster_members
    where run_id = $run and iteration = $t and (
        cluster_id in (select unnest($clusters::text[]))
        or (cluster_id = '' and principle_id in (select unnest($principles::text[]))))
    order by cluster_id, principle_id"""
TEXTS = """select principle_id, arg_max(principle, (n, principle)) from (
        select principle_id, principle, count(*) n from candidates
        where run_id = $run and iteration = $t and selected and principle_id in (select unnest($principles::text[]))
        group by all)
    group by principle_id"""
TRAJECTORIES = """select prompt_id, sample, principle_id, tokens from candidates
    where run_id = $run and iteration = $t and selected and principle_id in (select unnest($principles::text[]))"""
OTHERS_OF_PROMPTS = """select prompt_id, count(*) from candidates
    where run_id = $run and iteration = $t and selected and prompt_id in (select unnest($prompts::text[]))
          and principle_id not in (select unnest($principles::text[]))
    group by prompt_id"""
REST = """with rest as (
        select principle_id, principle, tokens from candidates where run_id = $run and iteration = $t and selected
               and principle_id not in (select unnest($principles::text[]))),
    repeated as (select principle_id from rest group by principle_id having count(*) > 1),
    texts as (
        select principle_id, arg_max(principle, (n, principle)) as text from (
            select principle_id, principle, count(*) n from rest semi join repeated using (principle_id) group by all)
        group by principle_id having count(*) > 1),
    homes as (select principle_id, cluster_id from cluster_members where run_id = $run and iteration = $t),
    labels as (select cluster_id, label from clusters where run_id = $run and iteration = $t),
    told as (
        select tokens, label, coalesce(text, principle) as text from rest left join texts using (principle_id)
        left join homes using (principle_id) left join labels using (cluster_id))
    select count(*), coalesce(sum(tokens), 0)::bigint,
           coalesce(sum(ceil(length(label) / $characters) - ceil(length(text) / $characters))
               filter (where label <> text), 0)::bigint
    from told"""


@dataclass(frozen=True, slots=True)
class Touched:
    """The clusters and unclustered principles that edits name, whole, with their trajectories as columns
    (prompt, sample, principle, tokens).

    `beside` counts, for each of their prompts, the trajectories under other principles. Of all trajectories
    under other principles `rest_rows` is the number, `rest_tokens` the tokens, and `rest_longer` what the
    representatives are longer than the principles they replace, in tokens. `cluster_ids` are those of all
    clusters."""

    clusters: tuple[Cluster, ...]
    unclustered: tuple[Member, ...]
    texts: dict[str, str]
    trajectories: tuple[tuple[Any, ...], ...]
    beside: dict[str, int]
    rest_rows: int
    rest_tokens: int
    rest_longer: int
    cluster_ids: tuple[str, ...]


def read_touched(
    store: Store,
    run_id: str,
    iteration: int,
    entry_ids: Collection[str],
    principle_ids: Collection[str],
    characters: int,
) -> Touched:
    """What the entries and principles named make up, unknown names passed over; `characters` make a token."""
    where = {"run": run_id, "t": iteration}
    with store.database.read() as connection:

        def rows(sql: str, **values: Any) -> list[tuple[Any, ...]]:
            return connection.execute(sql, {**where, **values}).fetchall()

        all_clusters = rows(
            """select cluster_id, label, medoid_principle_id from clusters
               where run_id = $run and iteration = $t order by cluster_id"""
        )
        homes = rows(
            """select distinct cluster_id from cluster_members where run_id = $run and iteration = $t
               and principle_id in (select unnest($principles::text[]))""",
            principles=list(principle_ids),
        )
        named = {*entry_ids, *(cluster_id for (cluster_id,) in homes)} - {""}
        members = rows(MEMBERS, clusters=sorted(named), principles=list(principle_ids))
        touched = {"principles": [principle_id for _, principle_id, _, _ in members]}
        texts = dict(rows(TEXTS, **touched))
        trajectories = tuple(zip(*rows(TRAJECTORIES, **touched), strict=True)) or ((), (), (), ())
        beside = rows(OTHERS_OF_PROMPTS, **touched, prompts=sorted(set(trajectories[0])))
        ((rest_rows, rest_tokens, rest_longer),) = rows(REST, **touched, characters=float(characters))
    groups: dict[str, list[Member]] = {}
    for cluster_id, *member in members:
        groups.setdefault(cluster_id, []).append(Member(*member))
    return Touched(
        clusters=tuple(
            Cluster(cluster_id, label, medoid, tuple(groups.get(cluster_id, ())))
            for cluster_id, label, medoid in all_clusters
            if cluster_id in named
        ),
        unclustered=tuple(groups.get("", ())),
        texts=texts,
        trajectories=trajectories,
        beside=dict(beside),
        rest_rows=rest_rows,
        rest_tokens=rest_tokens,
        rest_longer=rest_longer,
        cluster_ids=tuple(cluster_id for cluster_id, _, _ in all_clusters),
    )
