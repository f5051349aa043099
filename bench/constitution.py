"""Speed of the constitution: an edit with its preview, a replay of 1,000 edits, memory of the history.

Run from the project's folder: python -m bench.constitution. 5,000 clusters, 100,000 principles, 200,000
trajectories of 100,000 prompts.
Times are CPU seconds, which do not depend on what else the machine does.
"""

from __future__ import annotations

import random
import time
import tracemalloc

from lpd_core.constitution import (
    Constitution,
    History,
    diff,
    entries_json,
    from_clustering,
    from_json,
    groups_by_k,
    impact,
    index_trajectories,
    reanchor,
    record,
    replacements,
    replay,
    replay_log,
    start,
)
from lpd_core.errors import EditRefused
from lpd_core.types import Cluster, Clustering, Member, Merge

CLUSTERS, PRINCIPLES, EDITS = 5_000, 100_000, 1_000
PER_CLUSTER = PRINCIPLES // CLUSTERS
AT = "2026-01-02T03:04:05+00:00"


def make_constitution() -> Constitution:
    members = [Member(f"{n:016x}", 2, (n % PER_CLUSTER) / PER_CLUSTER) for n in range(PRINCIPLES)]
    clusters = []
    for n in range(CLUSTERS):
        mine = tuple(members[n * PER_CLUSTER : (n + 1) * PER_CLUSTER])
        clusters.append(Cluster(f"1.{n + 1}", f"Cluster {n + 1}", mine[0].principle_id, mine))
    texts = {m.principle_id: f"Say what the reader of {m.principle_id} has to know next." for m in members}
    return from_clustering(Clustering(tuple(clusters), (), (), ()), texts)


def random_edit(rng: random.Random, constitution: Constitution) -> tuple[str, dict]:
    ids = [e.entry_id for e in constitution.by_id.values() if e.status == "active"]
    one, other = rng.sample(ids, 2)
    members = [m.principle_id for m in constitution.by_id[one].members]
    half = max(1, len(members) // 2)
    return rng.choice(
        [
            ("rename", {"id": one, "label": f"Name {rng.random()}"}),
            ("reword", {"id": one, "text": f"Do it {rng.random()} times."}),
            ("merge", {"ids": [one, other]}),
            ("split", {"id": one, "groups": [g for g in (members[:half], members[half:]) if g]}),
            ("move", {"principle_ids": members[:1], "to": other}),
            ("prune", {"id": one}),
            ("prune", {"principle_ids": members[:2]}),
        ]
    )


def make_log(base: Constitution) -> History:
    rng, history = random.Random(1), start(base)
    while len(history.edits) < EDITS:
        op, args = random_edit(rng, history.current)
        try:
            history = record(history, op, args, author="bench", at=AT)
        except EditRefused:
            continue
    return history


def timed(name: str, work, bar: str = ""):
    begun = time.process_time()
    result = work()
    print(f"{name:<58}{time.process_time() - begun:9.3f} s  {bar}")
    return result


def main() -> None:
    base = timed("make a constitution of 5,000 clusters", make_constitution)
    prompts = [f"x{n % PRINCIPLES}" for n in range(2 * PRINCIPLES)]
    principles = [f"{n % PRINCIPLES:016x}" for n in range(2 * PRINCIPLES)]
    columns = (prompts, range(2 * PRINCIPLES), principles, [100] * 2 * PRINCIPLES)
    index = timed(
        "index 200,000 trajectories (once)",
        lambda: index_trajectories(base, *columns, token_length=lambda text: len(text.split())),
    )
    history = start(base)
    first = base.entries[0]
    ids = [m.principle_id for m in first.members]
    order, last = sorted(base.texts), [m.principle_id for m in base.entries[-1].members]
    merges = [
        Merge(n if n == 0 else PRINCIPLES + n - 1, n + 1, n / PRINCIPLES, n + 2)
        for n in range(PRINCIPLES - 1)
    ]
    groups = timed(
        "groups for a split by k (worst place in the tree)", lambda: groups_by_k(merges, order, last, 3)
    )
    assert len(groups) == 3
    slowest = 0.0
    for op, args in [
        ("merge", {"ids": ["1.2", "1.3", "1.4"]}),
        ("split", {"id": "1.1", "groups": [ids[:7], ids[7:]]}),
        ("prune", {"id": "1.5"}),
        ("move", {"principle_ids": [f"{n:016x}" for n in range(1000, 1010)], "to": "1.6"}),
        ("reword", {"id": "1.7", "text": "Be brief."}),
        ("accept_all", {}),
        ("undo", {}),
    ]:
        begun = time.process_time()
        after = record(history, op, args, author="bench", at=AT)
        impact(history.current, after.current, index)
        taken = time.process_time() - begun
        slowest = max(slowest, taken)
        print(f"{op + ' with preview':<58}{taken:9.4f} s")
        history = after
    print(f"{'slowest edit with preview':<58}{slowest:9.4f} s  (bar 0.2 s)")
    log = make_log(base)
    timed(
        "a preview over all 1,000 edits (approval)", lambda: impact(base, log.current, index), "(bar 0.2 s)"
    )
    index = timed("bring the index to the present state (once)", lambda: reanchor(index, log.current))
    undone = record(log, "undo", {}, author="bench", at=AT)
    timed("preview of one more edit", lambda: impact(log.current, undone.current, index), "(bar 0.2 s)")
    tracemalloc.start()
    again = timed("replay the log of 1,000 edits (memory traced)", lambda: replay_log(base, log.edits))
    print(f"{'memory of its 1,001 states':<58}{tracemalloc.get_traced_memory()[0] / 2**20:9.1f} MiB")
    tracemalloc.stop()
    assert again.current == log.current
    timed("replay the log of 1,000 edits", lambda: replay_log(base, log.edits), "(bar 5 s)")
    same = {entry_id: entry_id for entry_id in base.by_id}
    done = timed(
        "replay them on another clustering, with report", lambda: replay(log.edits, start(base), same, AT)
    )
    assert replacements(done.history.current) == replacements(log.current)
    timed("diff of the two versions", lambda: diff(base, log.current))
    timed("label replacement map", lambda: replacements(log.current))
    text = timed("canonical JSON", lambda: entries_json(log.current))
    print(f"{'its size':<58}{len(text) / 2**20:9.1f} MiB")
    timed("read it back", lambda: from_json(text))


if __name__ == "__main__":
    main()
