"""Clusters, the edit log and the versions of a constitution, and what an approved one means for training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lpd_core.constitution import Constitution, Edit, from_json, replacements
from lpd_core.errors import EditRefused, UserError
from lpd_core.store.run_folder import segment_name
from lpd_core.types import Cluster, Clustering, Member, Merge

if TYPE_CHECKING:
    from lpd_core.store import Store


def cluster_rows(store: Store, run_id: str, iteration: int) -> list[dict[str, Any]]:
    """The clusters of an iteration with their figures, in order of size."""
    return store.database.query(
        """select * exclude (run_id, iteration) from clusters where run_id = ? and iteration = ?
           order by trajectories desc, cluster_id""",
        [run_id, iteration],
    )


def medoid_ids(store: Store, run_id: str, before: int) -> list[str]:
    """The medoids of every clustering before an iteration, without repeats."""
    rows = store.database.query(
        """select distinct medoid_principle_id id from clusters
           where run_id = ? and iteration < ? and medoid_principle_id is not null order by id""",
        [run_id, before],
    )
    return [row["id"] for row in rows if row["id"]]


def clustering(store: Store, run_id: str, iteration: int) -> Clustering | None:
    """The clustering as the cluster stage found it, or None before that."""
    rows = store.database.query(
        "select * from clusters where run_id = ? and iteration = ? order by cluster_id", [run_id, iteration]
    )
    where = (store, run_id, iteration)
    placed = _coordinates(*where)
    if not rows and not placed and not _is_clustered(*where):
        return None
    members = _members(*where)
    return Clustering(
        clusters=tuple(
            Cluster(
                cluster_id=row["cluster_id"],
                label=row["label"],
                medoid_principle_id=row["medoid_principle_id"],
                members=members.get(row["cluster_id"], ()),
                keywords=tuple(row["keywords"] or ()),
            )
            for row in rows
        ),
        order=tuple(row["principle_id"] for row in placed),
        merges=_merges(*where),
        coordinates=tuple((row["x"], row["y"]) for row in placed),
        unclustered=members.get("", ()),
        params=json.loads(rows[0]["params"]) if rows else {},
    )


def _is_clustered(store: Store, run_id: str, iteration: int) -> bool:
    """Whether the stage has run; it may have found no principle to cluster."""
    name = segment_name(iteration, "cluster", 0)
    return bool(store.database.query("select 1 from segments where run_id = ? and name = ?", [run_id, name]))


def _members(store: Store, run_id: str, iteration: int) -> dict[str, tuple[Member, ...]]:
    groups: dict[str, list[Member]] = {}
    for row in store.database.query(
        """select cluster_id, principle_id, count, distance from cluster_members
           where run_id = ? and iteration = ? order by cluster_id, principle_id""",
        [run_id, iteration],
    ):
        groups.setdefault(row.pop("cluster_id"), []).append(Member(**row))
    return {cluster_id: tuple(members) for cluster_id, members in groups.items()}


def _coordinates(store: Store, run_id: str, iteration: int) -> list[dict[str, Any]]:
    return store.database.query(
        """select principle_id, x, y from principle_coordinates where run_id = ? and iteration = ?
           order by position""",
        [run_id, iteration],
    )


def _merges(store: Store, run_id: str, iteration: int) -> tuple[Merge, ...]:
    rows = store.database.query(
        """select node_left, node_right, distance, size from merges where run_id = ? and iteration = ?
           order by step""",
        [run_id, iteration],
    )
    return tuple(Merge(row["node_left"], row["node_right"], row["distance"], row["size"]) for row in rows)


def edits(store: Store, run_id: str, iteration: int) -> list[Edit]:
    """The edit log of an iteration's constitution, oldest first."""
    rows = store.database.query(
        """select seq, op, args, author, reason, "at" from constitution_edits
           where run_id = ? and iteration = ? order by seq""",
        [run_id, iteration],
    )
    return [Edit(**{**row, "args": json.loads(row["args"]), "at": row["at"].isoformat()}) for row in rows]


def append_edit(store: Store, run_id: str, iteration: int, edit: Edit) -> None:
    """Append one edit; refused, naming the edit that came first, when its number is taken by another process."""
    with store.database.write() as connection:
        taken = connection.execute(
            """select seq, op, author from constitution_edits
               where run_id = ? and iteration = ? and seq >= ? order by seq desc limit 1""",
            [run_id, iteration, edit.seq],
        ).fetchone()
        if taken:
            raise EditRefused(
                f"edit {edit.seq} ({edit.op}) was not written: {taken[2]} wrote edit {taken[0]} ({taken[1]}) first; "
                "look at the log and try again"
            )
        connection.execute(
            "insert into constitution_edits values (?, ?, ?, ?, ?, ?, ?, ?::timestamptz)",
            [run_id, iteration, edit.seq, edit.op, json.dumps(edit.args), edit.author, edit.reason, edit.at],
        )


def versions(store: Store, run_id: str, iteration: int | None = None) -> list[dict[str, Any]]:
    """The versions of a run (or one iteration) without their entries, oldest first."""
    return store.database.query(
        """select * exclude (entries), json_array_length(entries->'entries') n_entries from constitution_versions
           where run_id = $run and ($iteration is null or iteration = $iteration) order by iteration, version""",
        {"run": run_id, "iteration": iteration},
    )


def add_version(store: Store, row: Mapping[str, Any]) -> int:
    """Write an immutable version with the next number of its iteration; returns the number."""
    with store.database.write() as connection:
        number = connection.execute(
            "select coalesce(max(version), 0) + 1 from constitution_versions where run_id = ? and iteration = ?",
            [row["run_id"], row["iteration"]],
        ).fetchone()[0]
        names = [f'"{name}"' for name in ("version", *row)]
        connection.execute(
            f"insert into constitution_versions ({', '.join(names)}) values ({', '.join('?' for _ in names)})",
            [number, *row.values()],
        )
    return number


def version_entries(store: Store, run_id: str, iteration: int, version: int) -> Constitution:
    """The constitution of a version. Raises `UserError` when there is none of that number."""
    rows = store.database.query(
        "select entries from constitution_versions where run_id = ? and iteration = ? and version = ?",
        [run_id, iteration, version],
    )
    if not rows:
        known = [row["version"] for row in versions(store, run_id, iteration)]
        raise UserError(
            f"iteration {iteration} of run {run_id} has no constitution version {version}; "
            f"there are: {', '.join(map(str, known)) or 'none yet'}"
        )
    return from_json(rows[0]["entries"])


def approved_version(store: Store, run_id: str, iteration: int) -> int | None:
    """The number of the last approved version of an iteration, or None while it waits for review."""
    rows = store.database.query(
        """select max(version) version from constitution_versions
           where run_id = ? and iteration = ? and approved""",
        [run_id, iteration],
    )
    return rows[0]["version"]


def approved(store: Store, run_id: str, iteration: int) -> Constitution | None:
    """The last approved constitution of an iteration."""
    version = approved_version(store, run_id, iteration)
    return None if version is None else version_entries(store, run_id, iteration, version)


def approved_replacements(store: Store, run_id: str, iteration: int) -> Mapping[str, str | None]:
    """What replaces each principle under the approved constitution; None or absent leaves the training set."""
    constitution = approved(store, run_id, iteration)
    return {} if constitution is None else replacements(constitution)


def pinned_entries(store: Store, run_id: str, iteration: int) -> list[tuple[str, str]]:
    """Id and text of the pinned active entries of an iteration's approved constitution."""
    constitution = approved(store, run_id, iteration) if iteration > 0 else None
    if constitution is None:
        return []
    return [(e.entry_id, e.text) for e in constitution.entries if e.pinned and e.status == "active"]


def earlier_training_rows(store: Store, run_id: str, iteration: int) -> list[dict[str, Any]]:
    """The training rows of the iteration before (which hold those of all before it), to train on again."""
    return store.database.query(
        """select prompt_id, sample, principle, messages, trained, weight, version, origin_iteration
           from training_rows where run_id = ? and iteration = ? order by origin_iteration, prompt_id, sample""",
        [run_id, iteration - 1],
    )


def set_alias(store: Store, run_id: str, alias: str, iteration: int, version: int) -> None:
    """Point a name such as `best` at a version."""
    store.database.execute(
        "insert or replace into constitution_aliases values (?, ?, ?, ?, now())",
        [run_id, alias, iteration, version],
    )


def aliases(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The names that point at versions: given ones, and `used by <run> iteration <t>` for those trained on."""
    return store.database.query(
        """select alias, iteration, version from constitution_aliases where run_id = $run
           union
           select distinct 'used by ' || run_id || ' iteration ' || iteration, origin_iteration, version
           from training_rows where run_id = $run order by alias""",
        {"run": run_id},
    )


def text_lookup(store: Store, ids: Sequence[str]) -> dict[str, str]:
    """The texts of principles by id."""
    rows = store.database.query(
        "select distinct principle_id, text from principles where principle_id in (select unnest(?::text[]))",
        [list(ids)],
    )
    return {row["principle_id"]: row["text"] for row in rows}
