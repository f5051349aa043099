"""Clusters, the edit log and the versions of a constitution, and what an approved one means for training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lpd_core.constitution import Constitution, Edit, Entry, from_json, replacements
from lpd_core.errors import EditRefused, UserError
from lpd_core.store import mirror
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
    """The clusters with their members as the stage found them, without the merge tree and the places on the map;
    None before that stage."""
    where = [run_id, iteration]
    with store.database.read() as connection:
        rows = connection.execute(
            """select cluster_id, label, medoid_principle_id, keywords, params from clusters
               where run_id = ? and iteration = ? order by cluster_id""",
            where,
        ).fetchall()
        found = connection.execute(
            """select cluster_id, principle_id, count, distance from cluster_members
               where run_id = ? and iteration = ? order by cluster_id, principle_id""",
            where,
        ).fetchall()
    if not rows and not found and iteration not in clustered(store, run_id):
        return None
    groups = groupby(found, key=lambda row: row[0])
    members = {name: tuple(Member(*row[1:]) for row in group) for name, group in groups}
    return Clustering(
        clusters=tuple(
            Cluster(cluster_id, label, medoid, members.get(cluster_id, ()), tuple(keywords or ()))
            for cluster_id, label, medoid, keywords, _ in rows
        ),
        order=(),
        merges=(),
        coordinates=(),
        unclustered=members.get("", ()),
        params=json.loads(rows[0][-1]) if rows else {},
    )


def clustered(store: Store, run_id: str) -> list[int]:
    """The iterations whose clustering is done; one may have found no principle to cluster."""
    rows = store.database.query(
        """select iteration from clusters where run_id = $run
           union select cast(split_part(name, '-', 1) as integer) from segments
           where run_id = $run and name like '%-cluster-%' order by 1""",
        {"run": run_id},
    )
    return [row["iteration"] for row in rows]


def merge_tree(store: Store, run_id: str, iteration: int) -> tuple[tuple[Merge, ...], tuple[str, ...]]:
    """The merges of an iteration's clustering, and the order of the principles that they refer to."""
    with store.database.read() as connection:
        merges = connection.execute(
            """select node_left, node_right, distance, size from merges where run_id = ? and iteration = ?
               order by step""",
            [run_id, iteration],
        ).fetchall()
        order = connection.execute(
            """select principle_id from principle_coordinates where run_id = ? and iteration = ?
               order by position""",
            [run_id, iteration],
        ).fetchall()
    return tuple(Merge(*row) for row in merges), tuple(principle_id for (principle_id,) in order)


def discovery(store: Store, run_id: str, iteration: int) -> dict[str, Any]:
    """How many of an iteration's principles are new: farther than the lineage threshold from every cluster of
    earlier iterations, or all where there is none. The rate is None without principles."""
    row = store.database.query(
        """select count(*) n, (select any_value(params->>'new_principles') from clusters
                               where run_id = $run and iteration = $t) fresh
           from cluster_members where run_id = $run and iteration = $t""",
        {"run": run_id, "t": iteration},
    )[0]
    n, new = row["n"], row["n"] if row["fresh"] is None else int(row["fresh"])
    return {"principles": n, "new_principles": new, "discovery_rate": new / n if n else None}


def edits(store: Store, run_id: str, iteration: int, after: int = 0) -> list[Edit]:
    """The edit log of an iteration's constitution, oldest first; only what follows edit `after`."""
    rows = store.database.query(
        """select seq, op, args, author, reason, "at" from constitution_edits
           where run_id = ? and iteration = ? and seq > ? order by seq""",
        [run_id, iteration, after],
    )
    return [Edit(**{**row, "args": json.loads(row["args"]), "at": row["at"].isoformat()}) for row in rows]


def append_edits(store: Store, run_id: str, iteration: int, new: Sequence[Edit]) -> None:
    """Append edits, all or none. Refused when the iteration is approved, and, naming the edit that came first,
    when their numbers are taken by another process."""
    if not new:
        return
    first = new[0]
    columns = [[e.seq for e in new], [e.op for e in new], [json.dumps(e.args) for e in new]]
    columns += [[e.author for e in new], [e.reason for e in new], [e.at for e in new]]
    with store.database.write() as connection:
        if _approved_number(connection, run_id, iteration) is not None:
            raise EditRefused(
                f"iteration {iteration} of run {run_id} is approved and may be trained on already; "
                "edit the next iteration's constitution, or start another run from here"
            )
        last = connection.execute(
            """select seq, op, author from constitution_edits
               where run_id = ? and iteration = ? order by seq desc limit 1""",
            [run_id, iteration],
        ).fetchone() or (0, "", "")
        if last[0] >= first.seq:
            raise EditRefused(
                f"edit {first.seq} ({first.op}) was not written: {last[2]} wrote edit {last[0]} ({last[1]}) first; "
                "look at the log and try again"
            )
        connection.execute(
            """insert into constitution_edits (run_id, iteration, seq, op, args, author, reason, "at")
               select ?, ?, unnest(?::integer[]), unnest(?::text[]), unnest(?::text[])::json, unnest(?::text[]),
                      unnest(?::text[]), unnest(?::text[])::timestamptz""",
            [run_id, iteration, *columns],
        )
        mirror.keep_run(store, run_id, "constitution_edits", connection=connection)


def _approved_number(connection, run_id: str, iteration: int) -> int | None:
    return connection.execute(
        "select max(version) from constitution_versions where run_id = ? and iteration = ? and approved",
        [run_id, iteration],
    ).fetchone()[0]


def versions(store: Store, run_id: str, iteration: int | None = None) -> list[dict[str, Any]]:
    """The versions of a run (or one iteration) without their entries, oldest first. `n_entries` counts the
    active ones."""
    return store.database.query(
        """select * exclude (entries),
                  (select count(*) from unnest(json_extract_string(entries, '$.entries[*].status')) s(status)
                   where status = 'active')::integer n_entries
           from constitution_versions
           where run_id = $run and ($iteration is null or iteration = $iteration) order by iteration, version""",
        {"run": run_id, "iteration": iteration},
    )


def add_version(store: Store, row: Mapping[str, Any]) -> int:
    """Write an immutable version with the next number of its iteration; returns the number.

    An iteration is approved once: a second approval writes nothing and returns the number of the first. One of
    a state that was edited meanwhile is refused."""
    where = [row["run_id"], row["iteration"]]
    with store.database.write() as connection:
        if row["approved"]:
            there = _approved_number(connection, *where)
            if there is not None:
                return there
            last = connection.execute(
                "select coalesce(max(seq), 0) from constitution_edits where run_id = ? and iteration = ?",
                where,
            ).fetchone()[0]
            if last != row["last_seq"]:
                raise EditRefused(
                    f"not approved: the log has edit {last} by now, and what you approve ends with edit "
                    f"{row['last_seq']}; look at it again and approve then"
                )
        number = connection.execute(
            "select coalesce(max(version), 0) + 1 from constitution_versions where run_id = ? and iteration = ?",
            where,
        ).fetchone()[0]
        names = [f'"{name}"' for name in ("version", *row)]
        connection.execute(
            f"insert into constitution_versions ({', '.join(names)}) values ({', '.join('?' for _ in names)})",
            [number, *row.values()],
        )
        mirror.keep_run(store, row["run_id"], "constitution_versions", connection=connection)
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
    """The number of the approved version of an iteration, or None while it waits for review."""
    with store.database.read() as connection:
        return _approved_number(connection, run_id, iteration)


def approved(store: Store, run_id: str, iteration: int) -> Constitution | None:
    """The approved constitution of an iteration."""
    version = approved_version(store, run_id, iteration)
    return None if version is None else version_entries(store, run_id, iteration, version)


def approved_texts(store: Store, run_id: str, iteration: int) -> list[dict[str, str]]:
    """The active entries of an iteration's approved constitution: id, label, text; without their members."""
    return store.database.query(
        """with entry as (
               select unnest(entries->'$.entries[*]') as e from constitution_versions
               where run_id = ? and iteration = ? and approved)
           select e->>'id' id, e->>'label' as label, e->>'text' as text from entry where e->>'status' = 'active'""",
        [run_id, iteration],
    )


def approved_replacements(store: Store, run_id: str, iteration: int) -> Mapping[str, str | None]:
    """What replaces each principle under the approved constitution; None or absent leaves the training set."""
    constitution = approved(store, run_id, iteration)
    return {} if constitution is None else replacements(constitution)


def pinned_entries(store: Store, run_id: str, iteration: int) -> list[Entry]:
    """The pinned active entries of an iteration's approved constitution, without their members."""
    rows = store.database.query(
        """select entries from constitution_versions
           where run_id = ? and iteration = ? and approved and contains(entries, '"pinned":true')
           order by version desc limit 1""",
        [run_id, iteration],
    )
    return [
        Entry(entry["id"], entry["label"], entry["text"], pinned=True, note=entry["note"])
        for row in rows
        for entry in json.loads(row["entries"])["entries"]
        if entry["pinned"] and entry["status"] == "active"
    ]


def earlier_training_rows(store: Store, run_id: str, iteration: int) -> list[dict[str, Any]]:
    """The training rows of the iteration before (which hold those of all before it), to train on again."""
    return store.database.query(
        """select prompt_id, sample, principle, messages, trained, weight, version, origin_iteration
           from training_rows where run_id = ? and iteration = ? order by origin_iteration, prompt_id, sample""",
        [run_id, iteration - 1],
    )


def check_alias(alias: str) -> None:
    """Raises `UserError` for a name that means something else, or that only the run itself gives (`best`)."""
    if not alias.strip() or alias != alias.strip():
        raise UserError("the alias is empty or begins or ends with a space; give a name")
    if len(alias) > 80 or not alias.isprintable():
        raise UserError("an alias has at most 80 characters and no control characters; give a shorter name")
    if alias in ("found", "now", "best") or alias.startswith("used by "):
        raise UserError(f"the alias {alias!r} has a meaning of its own; choose another name")
    if all(part.isdecimal() for part in alias.split(".")):
        raise UserError(f"the alias {alias!r} reads like a version's number; choose a name with letters")


def set_alias(store: Store, run_id: str, alias: str, iteration: int, version: int) -> None:
    """Point a name at a version: one that a person chose (see `check_alias`), or the run's own `best`."""
    if alias != "best":
        check_alias(alias)
    with store.database.write() as connection:
        connection.execute(
            "insert or replace into constitution_aliases values (?, ?, ?, ?, now())",
            [run_id, alias, iteration, version],
        )
        mirror.keep_run(store, run_id, "constitution_aliases", connection=connection)


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
