"""Committed segments into the database: rows a second, beside one insert a row; `python -m bench.ingest [ROWS]`.

The rows are those of an E-step (texts of some hundred characters, as a real run keeps them), written as chunks by the
run folder itself and brought in by the driver's own `ingest`; the alternative is timed on a part of them.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lpd_core import jobs
from lpd_core.config import load_config
from lpd_core.stage import commit
from lpd_core.store import Store, runs

N, CHUNK = 16, 128  # candidates a prompt, prompts a chunk
BY_ROW = 2000  # rows of the alternative


def rows_of(prompts: range) -> dict[str, list[dict[str, Any]]]:
    """Drafts and candidates of some prompts; texts come from hashes."""
    drafts, candidates = [], []
    for prompt in prompts:
        key = f"prompt-{prompt}"
        drafts.append(
            {"prompt_id": key, "text": words(key, 40), "score": 0.3, "finish_reason": "stop", "tokens": 60}
        )
        for sample in range(N):
            salt = f"{key}-{sample}"
            candidates.append(
                {
                    "prompt_id": key,
                    "sample": sample,
                    "principle": words(salt, 8),
                    "response": words(salt, 40),
                    "score": 0.4,
                    "gain": 0.1,
                    "status": "accepted",
                    "selected": sample == 0,
                    "principle_id": hashlib.sha256(salt.encode()).hexdigest()[:16],
                    "tokens": 80,
                }
            )
    return {"drafts": drafts, "candidates": candidates}


def words(salt: str, count: int) -> str:
    """So many words that look drawn."""
    digest = hashlib.shake_256(salt.encode()).hexdigest(2 * count)
    return " ".join(f"word{digest[2 * n : 2 * n + 2]}" for n in range(count))


def chunks(rows: int) -> Iterator[range]:
    """Prompts in chunks until there are so many rows."""
    prompts = -(-rows // (N + 1))
    for start in range(0, prompts, CHUNK):
        yield range(start, min(start + CHUNK, prompts))


def measure(home: Path, rows: int) -> dict[str, float]:
    """Rows, seconds and rows a second of one ingest, and rows a second of one insert a row."""
    store = Store(home)
    folder = jobs.create_run(store, load_config("smoke"))
    written = 0
    for number, prompts in enumerate(chunks(rows)):
        tables = rows_of(prompts)
        written += sum(map(len, tables.values()))
        commit(folder, 1, "e_step", number, tables)
    started, worked = time.perf_counter(), time.process_time()
    segments = runs.ingest(store, folder)
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    return {
        "rows": written,
        "segments": segments,
        "seconds": seconds,
        "rows_per_second": written / seconds,
        "rows_per_cpu_second": written / worked,
        "by_row": _by_row(store, folder.run_id),
    }


def _by_row(store: Store, run_id: str) -> float:
    candidates = rows_of(range(BY_ROW // N))["candidates"]
    started = time.perf_counter()
    with store.database.write() as connection:
        for row in candidates:
            kept = {"run_id": run_id, "iteration": 2, **row}
            places = ", ".join("?" * len(kept))
            connection.execute(
                f"insert into candidates ({', '.join(kept)}) values ({places})", list(kept.values())
            )
    return len(candidates) / (time.perf_counter() - started)


def main() -> dict[str, float]:
    """Print the rates."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as home:
        figures = measure(Path(home), rows)
    print(
        f"ingest: {figures['rows']:,} rows of {figures['segments']:,} segments in {figures['seconds']:.1f} s: "
        f"{figures['rows_per_second']:,.0f} rows/s (bar 100,000), {figures['rows_per_cpu_second']:,.0f} a second of its "
        f"own CPU time, load {os.getloadavg()[0]:.1f}; one insert a row: {figures['by_row']:,.0f} rows/s"
    )
    return figures


if __name__ == "__main__":
    main()
