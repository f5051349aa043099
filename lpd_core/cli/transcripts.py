"""show-prompt: each stored generation with the prompt that the model read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from lpd_core.cli.options import Json, Run
from lpd_core.cli.output import show
from lpd_core.store import Store


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "show-prompt",
        epilog="Examples: python -m lpd_core show-prompt last 1 PROMPT_ID 0; "
        "python -m lpd_core show-prompt last 1 PROMPT_ID --set dev",
    )(show_prompt)


def show_prompt(
    run_id: Run,
    iteration: Annotated[int, typer.Argument(help="The iteration; 0 is the base model's measurement.")],
    prompt_id: Annotated[str, typer.Argument(help="The prompt's id, as `sql` or a page shows it.")],
    sample: Annotated[int, typer.Argument(help="Which of the prompt's candidates.")] = 0,
    held_out: Annotated[str, typer.Option("--set", help="A held-out set instead: dev, test, ...")] = "",
    json_: Json = False,
) -> None:
    """The exact rendered prompt, sampling parameters, finish reason and raw text of each generation of a row."""
    from lpd_core.transcripts import heldout, mined

    store = Store()
    folder = store.run(run_id)
    if held_out:
        found = heldout(store, folder, iteration, held_out, prompt_id)
    else:
        found = mined(store, folder, iteration, prompt_id, sample)
    rows = [{**asdict(t), "sampling": t.sampling.model_dump(mode="json")} for t in found]
    show(rows, json_, "\n\n".join(_as_text(row) for row in rows) or "nothing was sampled for this row")


def _as_text(row: dict[str, Any]) -> str:
    sampling = ", ".join(f"{name} {value}" for name, value in row["sampling"].items())
    prompt = row["prompt"]
    if prompt is None:
        prompt = "\n".join(f"[{message['role']}] {message['content']}" for message in row["messages"])
        prompt = f"(turns; the tokenizer of {row['model'] or 'the model'} is not here)\n{prompt}"
    lines = [
        f"== {row['role']}: {sampling}, seed {row['seed']}; {row['model']}",
        prompt,
        f"-- {row['tokens']} tokens, ended by {row['finish_reason']}{', prompt cut to fit' if row['truncated'] else ''}",
        row["raw"],
    ]
    return "\n".join(lines + ([f"-- error: {row['error']}"] if row["error"] else []))
