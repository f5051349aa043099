"""data import, list, show: the corpora that runs draw on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from lpd_core.cli.options import Json
from lpd_core.cli.output import PROBLEMS_SHOWN, show, table
from lpd_core.corpus import MAX_ROW_BYTES, SPLITS, read_corpus
from lpd_core.errors import ConfigError, suggest
from lpd_core.store import Store, corpora

app = typer.Typer(no_args_is_help=True, help="Import and look at data sets.")


@app.command(
    "import", epilog="Example: python -m lpd_core data import dolly.jsonl --map gold=response --skip-bad"
)
def import_(
    path: Annotated[Path, typer.Argument(help="A JSONL, JSON, CSV or Parquet file.")],
    name: Annotated[Optional[str], typer.Option(help="A name; the file's by default.")] = None,  # noqa: UP045
    format: Annotated[str, typer.Option(help="The row format; auto looks at the first row.")] = "auto",
    split: Annotated[
        str, typer.Option(help="train, dev or test for all rows; auto: their own, or by hash.")
    ] = "auto",
    map: Annotated[
        list[str] | None, typer.Option("--map", help="field=column, for instance gold=answer.")
    ] = None,
    license: Annotated[Optional[str], typer.Option(help="The data's licence, kept with it.")] = None,  # noqa: UP045
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Import the valid rows of a partly bad file.")
    ] = False,
    max_row_bytes: Annotated[int, typer.Option(help="Longest row in bytes.")] = MAX_ROW_BYTES,
    json_: Json = False,
) -> None:
    """Import a file; either all its rows are valid, or nothing is written (or --skip-bad lists what is left out)."""
    corpus = read_corpus(
        path,
        format=format,
        name=name,
        split=split,
        skip_bad=skip_bad,
        mapping=_mapping(map or []),
        max_row_bytes=max_row_bytes,
        license=license,
    )
    added = corpora.add_corpus(Store(), corpus, source=str(path.absolute()))
    skipped = [{"line": problem.line, "reason": problem.reason} for problem in corpus.skipped]
    for row in skipped[:PROBLEMS_SHOWN]:
        print(f"  skipped line {row['line']}: {row['reason']}", file=sys.stderr)
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
    left_out = f", {len(skipped)} bad rows skipped" if skipped else ""
    show(
        value,
        json_,
        f"{corpus.name} ({corpus.dataset_id}): {len(corpus.examples)} rows as {corpus.format}{left_out}{there}",
    )


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals:
            raise ConfigError(f"--map {pair!r}: write field=column, for instance gold=answer")
        mapping[field] = column
    return mapping


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
    """Some rows of a data set."""
    if split is not None and split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}; {suggest(split, SPLITS)}")
    store = Store()
    examples = corpora.prompts_of(store, corpora.find_dataset(store, name), split)[:rows]
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
    show(value, json_, table(brief))
