"""data inspect, import, list, show, check, delete: the corpora that runs draw on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer

from lpd_core.assignment import benchmark_prompts, locate
from lpd_core.cli.options import Json
from lpd_core.cli.output import PROBLEMS_SHOWN, show, table
from lpd_core.config import resolve_path
from lpd_core.corpus import (
    MAX_ROW_BYTES,
    SHARES,
    SPLITS,
    Corpus,
    Limits,
    read_corpus,
)
from lpd_core.corpus.reading import shown
from lpd_core.errors import CheckFailed, ConfigError, DataError, suggest
from lpd_core.housekeeping import delete_dataset
from lpd_core.store import Store, corpora

app = typer.Typer(no_args_is_help=True, help="Import and look at data sets.")


Path_ = Annotated[Path, typer.Argument(help="A JSONL, JSON, CSV or Parquet file.")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="A JSONL, JSON, CSV or Parquet file, or hf:owner/name@revision#config/split."
    ),
]
Span = Annotated[
    str | None, typer.Option(help="Least:most, for instance 3:400 or :400; others are left out.")
]
Name = Annotated[Optional[str], typer.Option(help="A name; the file's by default.")]  # noqa: UP045
Format = Annotated[str, typer.Option(help="The row format; auto looks at the first row.")]
Split = Annotated[str, typer.Option(help="train, dev or test for all rows; auto: their own, or by hash.")]
Shares = Annotated[
    str, typer.Option(help="Shares of train, dev and test where rows are split by hash: 0.8,0.1,0.1.")
]
Map = Annotated[list[str] | None, typer.Option("--map", help="field=column, for instance gold=answer.")]
MaxRowBytes = Annotated[int, typer.Option(help="Longest row in bytes.")]
NO_LIMIT = 10**9
"""Stands for an open upper bound."""
DEFAULT_SHARES = ",".join(map(str, SHARES))


@app.command(
    "import", epilog="Example: python -m lpd_core data import dolly.jsonl --map gold=response --skip-bad"
)
def import_(
    path: Source,
    name: Name = None,
    format: Format = "auto",
    split: Split = "auto",
    shares: Shares = DEFAULT_SHARES,
    map: Map = None,
    license: Annotated[Optional[str], typer.Option(help="The data's licence, kept with it.")] = None,  # noqa: UP045
    source: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Where it came from, kept with it; the file's path by default."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Import the valid rows of a partly bad file.")
    ] = False,
    evaluation: Annotated[
        bool, typer.Option("--eval", help="Evaluation data: a benchmark, or rows for the test split only.")
    ] = False,
    references: Annotated[
        Path | None, typer.Option(help="MT-Bench's reference answers, for its questions.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Leave out rows that repeat a prompt of this benchmark (file or data set)."),
    ] = None,
    prompt_words: Span = None,
    prompt_characters: Span = None,
    gold_words: Span = None,
    gold_characters: Span = None,
    max_row_bytes: MaxRowBytes = MAX_ROW_BYTES,
    json_: Json = False,
) -> None:
    """Import a file; either all its rows are valid, or nothing is written (or --skip-bad lists what is left out)."""
    store = Store()
    limits = Limits(
        prompt_words=_bounds("--prompt-words", prompt_words),
        prompt_characters=_bounds("--prompt-characters", prompt_characters),
        gold_words=_bounds("--gold-words", gold_words),
        gold_characters=_bounds("--gold-characters", gold_characters),
    )
    found = locate(store, path)
    with _enough_memory(found.path):
        corpus = read_corpus(
            found.path,
            format=format,
            name=name or found.name,
            split=split,
            shares=_shares(shares),
            skip_bad=skip_bad,
            mapping=_mapping(map or []),
            max_row_bytes=max_row_bytes,
            license=license or found.license,
            evaluation=evaluation,
            references=references,
            limits=limits,
            benchmarks=benchmark_prompts(store, against or []),
        )
        added = corpora.add_corpus(store, corpus, source=source or found.origin)
    _show_import(corpus, added, json_)


def _show_import(corpus: Corpus, added: bool, json_: bool) -> None:
    skipped = [{"line": problem.line, "reason": problem.reason} for problem in corpus.skipped]
    for row in skipped[:PROBLEMS_SHOWN]:
        print(f"  left out line {row['line']}: {row['reason']}", file=sys.stderr)
    if len(skipped) > PROBLEMS_SHOWN:
        print(f"  ... and {len(skipped) - PROBLEMS_SHOWN} more; --json lists all", file=sys.stderr)
    value = {
        "dataset_id": corpus.dataset_id,
        "name": corpus.name,
        "format": corpus.format,
        "rows": len(corpus.examples),
        "added": added,
        "skipped": skipped,
        "counts": dict(corpus.counts),
    }
    there = "" if added else " (it was there already)"
    left_out = f"; left out: {_told(corpus.counts)}" if skipped else ""
    show(
        value,
        json_,
        f"{corpus.name} ({corpus.dataset_id}): {len(corpus.examples)} rows as {corpus.format}{there}{left_out}",
    )


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "nothing"


def _bounds(option: str, text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    least, colon, most = text.partition(":")
    if not colon or not (least + most) or not all(not part or part.isdecimal() for part in (least, most)):
        raise ConfigError(f"{option} {text!r}: write least:most in whole numbers, for instance 3:400 or :400")
    return int(least or 0), int(most or NO_LIMIT)


@contextmanager
def _enough_memory(path: Path) -> Iterator[None]:
    """Tell a file that takes more memory than this process may have in one line."""
    try:
        yield
    except MemoryError as cause:
        raise DataError(
            f"{shown(path)} takes more memory than there is; split it or shorten its rows"
        ) from cause


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as cause:
        raise ConfigError(f"--shares {text!r}: write three numbers, for instance {DEFAULT_SHARES}") from cause


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals:
            raise ConfigError(f"--map {pair!r}: write field=column, for instance gold=answer")
        mapping[field] = column
    return mapping


@app.command("inspect", epilog="Example: python -m lpd_core data inspect dolly.jsonl --map gold=response")
def inspect(
    path: Path_,
    name: Name = None,
    format: Format = "auto",
    split: Split = "auto",
    shares: Shares = DEFAULT_SHARES,
    map: Map = None,
    rows: Annotated[int, typer.Option(min=0, max=50, help="Rows shown.")] = 5,
    tokenizer: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A checkpoint's folder: lengths are counted in its tokens, else in words."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A benchmark, a file or a data set, that the rows must not repeat. May be repeated."
        ),
    ] = None,
    max_row_bytes: MaxRowBytes = MAX_ROW_BYTES,
    json_: Json = False,
) -> None:
    """Look at a file before its import: columns, bad rows, duplicates, splits, lengths. Writes nothing."""
    from lpd_core.cli.data_inspection import describe_file, in_words

    with _enough_memory(path):
        found = describe_file(
            path,
            rows,
            tokenizer,
            against or [],
            name=name,
            format=format,
            split=split,
            shares=_shares(shares),
            mapping=_mapping(map or []),
            max_row_bytes=max_row_bytes,
        )
    show(found, json_, in_words(found))


@app.command("check", epilog="Example: python -m lpd_core data check mine --against ifeval.jsonl")
def check(
    name: Annotated[str, typer.Argument(help="A data set's name or id, or a file.")],
    against: Annotated[
        list[str], typer.Option(help="A benchmark's file, or imported evaluation data. May be repeated.")
    ],
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Only tell; exit with 0 whatever is found.")
    ] = False,
    json_: Json = False,
) -> None:
    """Fail with exit code 1 if rows repeat a benchmark's prompt, word for word or in thirteen words of it."""
    from lpd_core.cli.data_inspection import contaminated

    store = Store()
    path = resolve_path(name)
    if path.is_file():
        examples = read_corpus(path, skip_bad=True).examples
    else:
        examples = corpora.prompts_of(store, corpora.find_dataset(store, name))
    found = contaminated(examples, benchmark_prompts(store, against))
    told = (
        f"{found['contaminated']} of {found['rows']} prompts repeat one of {found['prompts']} of a benchmark"
    )
    rows = found["found"][:PROBLEMS_SHOWN]
    show(found, json_, (table(rows) + "\n" if rows else "") + told)
    if rows and not exit_zero:
        raise CheckFailed(f"{told}; leave them out with --against on import, or data.exclude in a run")


@app.command("delete", epilog="Example: python -m lpd_core data delete dolly_sample")
def delete(
    name: Annotated[str, typer.Argument(help="A data set's name or id.")], json_: Json = False
) -> None:
    """Delete a data set that no run uses."""
    store = Store()
    dataset = corpora.find_dataset(store, name)
    count = delete_dataset(store, dataset)
    show({"dataset_id": dataset, "deleted": count}, json_, f"{dataset} with its {count} prompts is deleted")


@app.command("list", epilog="Example: python -m lpd_core data list")
def list_(json_: Json = False) -> None:
    """The imported data sets."""
    rows = corpora.list_datasets(Store())
    names = ("dataset_id", "name", "format", "n_rows", "train", "dev", "test", "license", "source")
    show(
        rows,
        json_,
        table([{k: row[k] for k in names} for row in rows]) if rows else "nothing is imported yet",
    )


@app.command("show", epilog="Example: python -m lpd_core data show dolly_sample --rows 3")
def show_(
    name: Annotated[str, typer.Argument(help="A data set's name or id.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows shown.")] = 5,
    split: Annotated[Optional[str], typer.Option(help="Of this split only.")] = None,  # noqa: UP045
    json_: Json = False,
) -> None:
    """What is known of a data set, what was left out of it and why, and some of its rows."""
    if split is not None and split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}; {suggest(split, SPLITS)}")
    store = Store()
    dataset = corpora.describe_dataset(store, corpora.find_dataset(store, name))
    examples = corpora.prompts_of(store, dataset["dataset_id"], split)[:rows]
    value = [
        {
            "prompt_id": e.prompt_id,
            "split": e.split,
            "messages": [dict(message) for message in e.messages],
            "gold": e.gold,
            "meta": dict(e.meta),
        }
        for e in examples
    ]
    brief = [
        {
            "prompt": e.prompt_id,
            "split": e.split,
            "last turn": e.messages[-1]["content"][:300],
            "gold": e.gold[:300],
        }
        for e in examples
    ]
    facts = [
        f"{dataset['name']} ({dataset['dataset_id']}): {dataset['n_rows']} rows as {dataset['format']}",
        f"source: {dataset['source']}",
        f"licence: {dataset['license'] or 'not stated'}",
        f"left out on import: {_told(dataset['summary'].get('dropped', {}))}",
    ]
    show(value, json_, "\n".join(facts) + "\n\n" + table(brief))
