"""Speed of an edit through the gate, from the database to the log: the load, and the edit with its preview.

Run from the project's folder: python -m bench.gate. 5,000 clusters, 100,000 principles, 100,000 trajectories in a
home of its own. `load` is what a page pays once, `cold` what a command line pays each time for an edit: reading what
the edit touches, the edit with its preview, the append. Times are seconds by the clock.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from lpd_core import focus, gate
from lpd_core.config import parse_config, to_toml
from lpd_core.store import Store

CLUSTERS, PRINCIPLES = 5_000, 100_000
PER_CLUSTER = PRINCIPLES // CLUSTERS
RUN = "bench"
COLD = (
    ("reword", {"id": "1.77", "text": "Be brief."}),
    ("merge", {"ids": ["1.72", "1.73", "1.74"]}),
    ("undo", {}),
    ("prune", {"id": "1.75"}),
)
TABLES = f"""
insert into candidates (run_id, iteration, prompt_id, sample, principle, principle_id, response, score, gain, status,
                        selected, tokens)
    select '{RUN}', 1, format('{{:016x}}', n), 0, format('Say what the reader of {{}} has to know next.', n),
           format('{{:016x}}', n), 'An answer.', 0.5, 0.1, 'accepted', true, 100 from range({PRINCIPLES}) r(n);
insert into clusters (run_id, iteration, cluster_id, size, medoid_principle_id, label, params, keywords)
    select '{RUN}', 1, format('1.{{}}', n + 1), {PER_CLUSTER}, format('{{:016x}}', n * {PER_CLUSTER}),
           format('Say what the reader of {{}} has to know next.', n * {PER_CLUSTER}), '{{}}', ['word']
    from range({CLUSTERS}) r(n);
insert into cluster_members select '{RUN}', 1, format('1.{{}}', n // {PER_CLUSTER} + 1), format('{{:016x}}', n), 1, 0.1
    from range({PRINCIPLES}) r(n);
"""


def make_store(home: Path) -> Store:
    store = Store(home)
    folder = store.runs / RUN
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(parse_config({"sampler": {"kind": "scripted"}})))
    with store.database.write() as connection:
        connection.execute(TABLES)
    return store


def timed(name: str, work, bar: str = ""):
    begun = time.perf_counter()
    result = work()
    taken = time.perf_counter() - begun
    print(f"{name:<58}{taken:9.3f} s  {bar}")
    return result, taken


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        store = make_store(Path(home))
        timed("of the load: clusters, members, texts", lambda: gate.found(store, RUN, 1))
        review, load = timed(
            "load (history and trajectories, once a command)", lambda: gate.open_review(store, RUN, 1)
        )
        slowest = 0.0
        for op, args in [
            ("reword", {"id": "1.7", "text": "Be brief."}),
            ("merge", {"ids": ["1.2", "1.3", "1.4"]}),
            ("prune", {"id": "1.5"}),
            ("undo", {}),
        ]:
            (review, effect), taken = timed(
                f"{op}: edit, preview and append",
                partial(gate.edit_with_impact, store, review, op, args, "bench"),
                "(bar 0.2 s)",
            )
            slowest = max(slowest, taken)
        assert effect.regained == PER_CLUSTER
        print(f"{'slowest edit with preview':<58}{slowest:9.3f} s  (bar 0.2 s)")
        cold = 0.0
        for op, args in COLD:
            (_, effect), taken = timed(
                f"cold {op}: read, edit, preview and append",
                partial(focus.edit_with_impact, Store(Path(home)), RUN, 1, op, args, "bench"),
                "(bar 0.2 s)",
            )
            cold = max(cold, taken)
            assert effect.rows_before == PRINCIPLES
        whole = gate.open_review(store, RUN, 1)
        assert (
            gate.effect_of(whole, whole.history.base, whole.history.current).rows_after == effect.rows_after
        )
        print(f"{'slowest command: of what the edit touches':<58}{cold:9.3f} s  (bar 0.2 s)")
        print(f"{'the same by reading the whole':<58}{load + slowest:9.3f} s  (bar 0.2 s)")


if __name__ == "__main__":
    main()
