"""A run's rows in other tools' formats: TRL's prompt-completion and preference sets, and flat candidates.

https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lpd_core.errors import UserError, suggest
from lpd_core.prompts import load_templates, opening
from lpd_core.store import Store, results
from lpd_core.store import runs as run_table
from lpd_core.store.run_folder import replacing

Rows = list[dict[str, Any]]


def sft_rows(store: Store, run_id: str, iteration: int) -> Rows:
    """Conversational prompt-completion rows: one for each turn that a training row is trained on, which it ends in."""
    exported = []
    for row in results.training_rows(store, run_id, iteration):
        for turn in row.trained:
            exported.append(
                {
                    "prompt": [dict(message) for message in row.messages[:turn]],
                    "completion": [dict(row.messages[turn])],
                    "prompt_id": row.prompt_id,
                    "iteration": iteration,
                    "principle": row.principle,
                    "weight": row.weight,
                }
            )
    return exported


def preference_rows(store: Store, run_id: str, iteration: int) -> Rows:
    """Conversational preference pairs: y2 chosen over y1 for every selected trajectory, after the chat that y1
    answered (the system turn included)."""
    folder = store.run(run_id)
    templates = load_templates(folder.prompts(folder.config()))
    return [
        {
            "prompt": [dict(message) for message in opening(templates, t.messages)],
            "chosen": [{"role": "assistant", "content": t.response}],
            "rejected": [{"role": "assistant", "content": t.draft}],
            "prompt_id": t.prompt_id,
            "iteration": iteration,
            "principle": t.principle,
            "gain": t.gain,
        }
        for t in results.trajectories(store, run_id, iteration)
    ]


def candidate_rows(store: Store, run_id: str, iteration: int) -> Rows:
    """Every candidate with its draft, gold, scores and status."""
    return store.database.query(
        """select c.iteration, c.prompt_id, p.messages, p.gold, d.text draft, d.score draft_score,
                  c.* exclude (run_id, iteration, prompt_id)
           from candidates c join drafts d using (run_id, iteration, prompt_id) join prompts p using (prompt_id)
           where c.run_id = ? and c.iteration = ? order by c.prompt_id, c.sample""",
        [run_id, iteration],
    )


KINDS: Mapping[str, Callable[[Store, str, int], Rows]] = {
    "sft": sft_rows,
    "preferences": preference_rows,
    "candidates": candidate_rows,
}


def export_rows(store: Store, run_id: str, kind: str, iteration: int | None) -> Rows:
    """The rows of one kind, of one iteration or of all. Raises `UserError` for an iteration that is not there."""
    known = [row["iteration"] for row in run_table.list_iterations(store, run_id) if row["iteration"] > 0]
    if iteration is not None and iteration not in known:
        there = suggest(str(iteration), map(str, known)) if known else "it has none yet"
        raise UserError(f"run {run_id} has no iteration {iteration}; {there}")
    wanted = known if iteration is None else [iteration]
    return [row for t in wanted for row in KINDS[kind](store, run_id, t)]


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write JSONL or Parquet, by the file's ending; replaces the file atomically."""
    if path.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{path}: the ending {path.suffix!r} says no format; allowed: .jsonl, .parquet")
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), temporary)
        else:
            lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
            temporary.write_text("".join(lines), encoding="utf-8", errors="replace")
