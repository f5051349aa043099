"""What `data inspect` and `data check` find out, as plain values and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lpd_core.assignment import benchmark_prompts
from lpd_core.cli.output import PROBLEMS_SHOWN
from lpd_core.corpus import BenchmarkPrompt, Corpus, find_contamination
from lpd_core.corpus.inspection import count_words, inspect_file, split_counts, token_counter
from lpd_core.store import Store, corpora
from lpd_core.types import Example

PROBLEMS_TOLD = 1000
OVERLAPS_TOLD = 500


def describe_file(
    path: Path, rows: int, tokenizer: Path | None, against: Sequence[str], **how: Any
) -> dict[str, Any]:
    """A file's head, bad rows, splits, lengths, overlaps with data sets and benchmarks. Raises `DataError`."""
    count = token_counter(tokenizer) if tokenizer else count_words
    head, corpus, lengths = inspect_file(path, rows, count, **how)
    return {
        "name": corpus.name,
        "dataset_id": corpus.dataset_id,
        "kind": head.kind,
        "format": corpus.format,
        "bytes": path.stat().st_size,
        "columns": list(head.columns),
        "preview": [dict(row) for row in head.rows],
        "rows": len(corpus.examples),
        "splits": split_counts(corpus),
        "counts": dict(corpus.counts),
        "problems": [asdict(problem) for problem in corpus.skipped[:PROBLEMS_TOLD]],
        "unit": "tokens" if tokenizer else "words",
        "lengths": {name: asdict(found) for name, found in lengths.items()},
        **_known(corpus),
        "contamination": contaminated(corpus.examples, benchmark_prompts(Store(), against))
        if against
        else None,
    }


def _known(corpus: Corpus) -> dict[str, Any]:
    store = Store()
    if not store.database.is_begun():
        return {"imported": False, "elsewhere": []}
    known = {row["dataset_id"] for row in corpora.list_datasets(store)}
    return {
        "imported": corpus.dataset_id in known,
        "elsewhere": corpora.known_elsewhere(store, corpus),
    }


def contaminated(examples: Sequence[Example], benchmarks: Sequence[BenchmarkPrompt]) -> dict[str, Any]:
    """The overlaps of examples with benchmarks' prompts: the first of them, their number, and what was compared."""
    found = find_contamination(examples, benchmarks)
    return {
        "rows": len(examples),
        "prompts": len(benchmarks),
        "overlaps": len(found),
        "contaminated": len({each.prompt_id for each in found}),
        "found": [asdict(each) for each in found[:OVERLAPS_TOLD]],
    }


def in_words(found: dict[str, Any]) -> str:
    """An inspection for people."""
    splits = ", ".join(f"{count} {split}" for split, count in found["splits"].items())
    lines = [f"{found['name']}: {found['rows']} rows as {found['format']} ({splits})"]
    for name, lengths in found["lengths"].items():
        lines.append(
            f"{name}: median {lengths['median']}, 95 % up to {lengths['p95']}, longest {lengths['longest']} "
            f"{found['unit']} (n = {lengths['n']})"
        )
    bad = sum(found["counts"].values())
    lines += [f"{bad} rows cannot be used"] if bad else []
    lines += [f"  {each['place']}: {each['reason']}" for each in found["problems"][:PROBLEMS_SHOWN]]
    lines += [f"{row['prompts']} prompts stand in {row['name']} too" for row in found["elsewhere"]]
    overlap = found["contamination"]
    if overlap:
        lines.append(
            f"{overlap['contaminated']} of {overlap['rows']} rows repeat one of {overlap['prompts']} benchmark prompts"
        )
    return "\n".join(lines)
