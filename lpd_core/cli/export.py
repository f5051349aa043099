"""export sft, preferences, candidates, segments, report, model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from lpd_core.cli.options import Json, Run
from lpd_core.cli.output import show
from lpd_core.errors import UserError
from lpd_core.exports import export_rows, write_rows
from lpd_core.store import Store

app = typer.Typer(no_args_is_help=True, help="Write a run's rows, report or model.")
Out = Annotated[Path, typer.Argument(help="The file to write: .jsonl or .parquet.")]
Iteration = Annotated[Optional[int], typer.Option(help="Of this iteration only.")]  # noqa: UP045


def _write(kind: str, run_id: str, out: Path, iteration: int | None, as_json: bool) -> None:
    store = Store()
    rows = export_rows(store, store.run(run_id).run_id, kind, iteration)
    write_rows(rows, out)
    show({"file": str(out), "rows": len(rows)}, as_json, f"{out}: {len(rows)} rows")


@app.command("sft", epilog="Example: python -m lpd_core export sft last sft.jsonl")
def sft(run_id: Run, out: Out, iteration: Iteration = None, json_: Json = False) -> None:
    """Training rows in TRL's conversational prompt-completion format."""
    _write("sft", run_id, out, iteration, json_)


@app.command("preferences", epilog="Example: python -m lpd_core export preferences last pairs.parquet")
def preferences(run_id: Run, out: Out, iteration: Iteration = None, json_: Json = False) -> None:
    """Preference pairs (y2 over y1) in TRL's format."""
    _write("preferences", run_id, out, iteration, json_)


@app.command(
    "candidates", epilog="Example: python -m lpd_core export candidates last all.parquet --iteration 1"
)
def candidates(run_id: Run, out: Out, iteration: Iteration = None, json_: Json = False) -> None:
    """Every candidate with its scores and status."""
    _write("candidates", run_id, out, iteration, json_)


@app.command(
    "segments",
    epilog="Example: python -m lpd_core export segments last /shared/lake; then sql --at /shared/lake",
)
def segments(
    run_id: Run,
    location: Annotated[str, typer.Argument(help="A folder, or a bucket's address such as s3://mine/lpd.")],
    json_: Json = False,
) -> None:
    """Copy a run's committed rows as Parquet, by run and iteration, for `sql --at` and other tools."""
    from lpd_core.store.in_place import publish_segments

    copied = publish_segments(Store().run(run_id), location)
    show({"location": location, "files": copied}, json_, f"{location}: {copied} files copied")


@app.command("report", epilog="Example: python -m lpd_core export report last report.html")
def report(
    run_id: Run,
    out: Annotated[Path, typer.Argument(help="The HTML file to write.")],
    json_: Json = False,
) -> None:
    """The run's report as one HTML file that loads nothing."""
    from lpd_core.document import to_html
    from lpd_core.report_document import run_document
    from lpd_core.store.run_folder import write_text

    store = Store()
    write_text(out, to_html(run_document(store, store.run(run_id).run_id)))
    show({"file": str(out)}, json_, f"wrote {out}")


@app.command("model", epilog="Example: python -m lpd_core export model last 2 --to my-model")
def model(
    run_id: Run,
    iteration: Annotated[int, typer.Argument(help="The iteration that trained it.")],
    to: Annotated[Optional[Path], typer.Option(help="Copy it to this folder.")] = None,  # noqa: UP045
    push: Annotated[Optional[str], typer.Option(help="Push it to owner/name; $HF_TOKEN must be set.")] = None,  # noqa: UP045
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    json_: Json = False,
) -> None:
    """A trained checkpoint with its card, copied to a folder or pushed to the hub."""
    from lpd_core.model_export import copy_model, exported_model, push_model

    if (to is None) == (push is None):
        raise UserError("say where the model goes: either --to FOLDER or --push owner/name")
    store = Store()
    checkpoint = exported_model(store, store.run(run_id), iteration)
    if to is not None:
        copy_model(checkpoint, to)
    address = str(to) if push is None else push_model(checkpoint, push, public)
    show({"model": address}, json_, f"wrote {address}")


def _write_pairs(
    name: str, run_id: str, out: Path, iteration: int | None, benchmark: str, as_json: bool
) -> None:
    from lpd_core.pair_exports import FORMATS
    from lpd_core.report import run_report
    from lpd_core.store.run_folder import write_json

    store = Store()
    found = store.run(run_id).run_id
    chosen = iteration if iteration is not None else run_report(store, found)["best_iteration"]
    if chosen is None:
        raise UserError(f"run {found} has no trained iteration measured yet")
    write_json(out, FORMATS[name](store, found, chosen, benchmark))
    show(
        {"file": str(out), "iteration": chosen}, as_json, f"{out}: iteration {chosen} against the base model"
    )


JsonFile = Annotated[Path, typer.Argument(help="The JSON file to write.")]
Benchmark = Annotated[str, typer.Option(help="The held-out set.")]


@app.command("comparator", epilog="Example: python -m lpd_core export comparator last compare.json")
def comparator(
    run_id: Run,
    out: JsonFile,
    iteration: Iteration = None,
    benchmark: Benchmark = "test",
    json_: Json = False,
) -> None:
    """M_t beside the base model for LLM Comparator."""
    _write_pairs("comparator", run_id, out, iteration, benchmark, json_)


@app.command("annotated-pairs", epilog="Example: python -m lpd_core export annotated-pairs last pairs.json")
def annotated_pairs(
    run_id: Run,
    out: JsonFile,
    iteration: Iteration = None,
    benchmark: Benchmark = "test",
    json_: Json = False,
) -> None:
    """M_t beside the base model as annotated pairs 2.0, for Feedback Forensics and ICAI."""
    _write_pairs("annotated-pairs", run_id, out, iteration, benchmark, json_)


@app.command("alpaca-eval", epilog="Example: python -m lpd_core export alpaca-eval last outputs.json")
def alpaca_eval(
    run_id: Run,
    out: JsonFile,
    iteration: Iteration = None,
    benchmark: Benchmark = "test",
    json_: Json = False,
) -> None:
    """M_t's answers as AlpacaEval's model outputs."""
    _write_pairs("alpaca-eval", run_id, out, iteration, benchmark, json_)
