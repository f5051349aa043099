"""How each iteration's approved constitution continues the one before: kept from the relabel stage on, for charts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lpd_core.constitution import Lineage, Link, Node

if TYPE_CHECKING:
    from lpd_core.store import Store


def lineage_tables(lineage: Lineage) -> dict[str, list[dict[str, Any]]]:
    """A lineage as rows by table, without run and iteration."""
    return {
        "lineage_nodes": [asdict(node) for node in lineage.nodes],
        "lineage_links": [asdict(link) for link in lineage.links],
    }


def stored(store: Store, run_id: str) -> dict[int, Lineage]:
    """The lineages kept of a run, by iteration."""
    with store.database.read() as connection:
        nodes = connection.execute(
            """select iteration, side, entry_id, label, trajectories, fate from lineage_nodes
               where run_id = ? order by iteration, trajectories desc, entry_id""",
            [run_id],
        ).fetchall()
        links = connection.execute(
            """select iteration, source, target, weight, how, decisive, distance from lineage_links
               where run_id = ? order by iteration, weight desc, source, target""",
            [run_id],
        ).fetchall()
    return {
        t: Lineage(
            tuple(Node(*row[1:]) for row in nodes if row[0] == t),
            tuple(Link(*row[1:]) for row in links if row[0] == t),
        )
        for t in sorted({row[0] for row in nodes})
    }
