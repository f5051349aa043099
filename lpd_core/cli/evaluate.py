"""evaluate: a run's measurements beyond f, or the table of the lines that the paper compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from lpd_core.cli.options import ConfigFile, Json, Preset, Settings
from lpd_core.cli.output import show, table
from lpd_core.errors import Interrupted, StageFailed, UserError
from lpd_core.store import Store

Seeds = Annotated[str, typer.Option("--seeds", help="Seeds of each line, for instance 1,2,3.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "evaluate",
        epilog="Examples: python -m lpd_core evaluate --preset demo-table; python -m lpd_core evaluate last",
    )(evaluate)


def evaluate(
    run_id: Annotated[Optional[str], typer.Argument(help="A run's id, or `last`.")] = None,  # noqa: UP045
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    seeds: Seeds = "1,2,3",
    benchmark: Annotated[str, typer.Option(help="The held-out set.")] = "test",
    judge: Annotated[
        bool,
        typer.Option("--judge", help="Ask the judge of scoring.judge too; the run's own M_0 by default."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most prompts that the judge sees.")] = 40,
    entries: Annotated[
        int, typer.Option(min=0, help="Most principles that the judge tests by themselves.")
    ] = 8,
    ifeval: Annotated[
        Optional[Path], typer.Option("--ifeval", help="IFEval's prompts (JSONL): answer and check them.")  # noqa: UP045
    ] = None,
    mt_bench: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--mt-bench", help="MT-Bench's questions (JSONL): answer two turns, rate 1 to 10."),
    ] = None,
    references: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--references", help="With --mt-bench: a model's reference answers, as FastChat keeps them."
        ),
    ] = None,
    alpaca_eval: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--alpaca-eval", help="Reference outputs (JSON, JSONL: instruction, output): win rate over them."
        ),
    ] = None,
    tasks: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--tasks", help="Tasks of lm-evaluation-harness, by name: arc_easy,hellaswag. Needs lm_eval."
        ),
    ] = None,
    task_folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--task-folder", help="With --tasks: a folder with task files of your own (YAML)."),
    ] = None,
    task_limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--task-limit", min=1, help="With --tasks: most documents of each task."),
    ] = None,
    chat_template: Annotated[
        bool, typer.Option("--chat-template", help="With --tasks: apply the model's chat template.")
    ] = False,
    json_: Json = False,
) -> None:
    """Of a run: win rates from step to step, the constitution's quality, each principle's strength; with --judge by a
    judge too. With --preset: run base, Self-Refine, STaR, SFT on gold, STaPLe and constrained over the seeds (what is
    there is reused, what was cut off goes on) and print their table."""
    if run_id is None:
        _table(preset, config, set_, _numbers(seeds), json_)
        return
    if preset is not None or config is not None:
        raise UserError("evaluate takes a run or a preset, not both")
    from lpd_core.measuring import Request, measure_run
    from lpd_core.measuring_text import tables

    if references is not None and mt_bench is None:
        raise UserError("--references goes with --mt-bench QUESTIONS")
    wanted = Request(
        benchmark, judge, limit, entries, ifeval, mt_bench, references, alpaca_eval,
        _tasks(tasks, task_folder, task_limit, chat_template),
    )  # fmt: skip
    store = Store()
    found = measure_run(
        store, store.run(run_id), wanted, set_ or (), tell=lambda line: print(line, file=sys.stderr)
    )
    show(found, json_, "\n\n".join(_drawn(tables(found))))


def _tasks(names: str | None, folder: Path | None, limit: int | None, chat_template: bool):
    from lpd_core.harness import Wanted

    if names is None:
        if folder is not None or limit is not None or chat_template:
            raise UserError("--task-folder, --task-limit and --chat-template go with --tasks NAMES")
        return None
    wanted = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted:
        raise UserError("--tasks names no task; write for instance --tasks arc_easy,hellaswag")
    return Wanted(wanted, folder, limit, chat_template)


def _drawn(parts) -> list[str]:
    return [part if isinstance(part, str) else table(part[1], part[0]) for part in parts]


def _numbers(seeds: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(each) for each in seeds.split(",")))
    except ValueError as cause:
        raise UserError(
            f"--seeds {seeds!r} are no whole numbers; write for instance --seeds 1,2,3"
        ) from cause


def _table(preset: str | None, config, assignments, seeds: list[int], as_json: bool) -> None:
    from lpd_core import lines
    from lpd_core.cli.runs import configure

    store = Store()
    common = configure(preset, config, assignments)
    plan = lines.planned(store, common, seeds)
    for number, run in enumerate(plan, start=1):
        _bring_to_end(store, run, f"{number} of {len(plan)}")
    plan = lines.planned(store, common, seeds)
    rows = lines.system_rows(store, plan)
    claims = lines.claim_lines(store, plan)
    value = {"systems": rows, "claims": claims, "runs": {f"{r.line}, seed {r.seed}": r.run_id for r in plan}}
    note = (
        f"Mean f of the final answer on test, seeds {', '.join(map(str, seeds))}; 95 % bootstrap intervals over prompts, "
        "each prompt averaged over its seeds. Win rates count ties half. Iterations are chosen on dev. Self-Refine is the "
        "base model's own y1 -> z -> y2, untrained."
    )
    text = "\n".join([table([_row(each) for each in rows], "lines compared"), *claims, note])
    show(_plain(value), as_json, text)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    return {**value, "systems": [asdict(row) for row in value["systems"]]}


def _row(row) -> dict[str, str]:
    from lpd_core.lines import TITLES
    from lpd_core.report import show_interval

    return {
        "system": TITLES[row.system],
        "n": str(row.score.n),
        "f": _interval(row.score, show_interval),
        "f - base": "" if row.system == "base" else _interval(row.over_base.difference, show_interval),
        "win rate over base": ""
        if row.system == "base"
        else _interval(row.over_base.win_rate, show_interval),
        "ties": "" if row.system == "base" else str(row.over_base.ties),
        "unscored": str(row.unscored),
        "by seed": "\n".join(f"{seed}: {mean:.3f}" for seed, mean in row.by_seed.items()),
        "iteration": ", ".join(map(str, row.chosen.values())),
        "rows trained": str(row.training_rows or ""),
    }


def _interval(value, shown) -> str:
    from dataclasses import asdict

    return shown(asdict(value))


def _bring_to_end(store: Store, run, place: str) -> None:
    """Run a line to its end, or go on with what was cut off; one that has finished is left alone."""
    from lpd_core import jobs
    from lpd_core.cli.follow import follow
    from lpd_core.preflight import check_run, raise_errors

    if run.run_id is None:
        raise_errors(check_run(store, run.config))
        folder = jobs.create_run(store, run.config)
    else:
        folder = store.run(run.run_id)
    if folder.state().status == "finished":
        print(f"{place}: {folder.run_id} ({run.line}, seed {run.seed}) is there", file=sys.stderr)
        return
    print(f"{place}: {folder.run_id} ({run.line}, seed {run.seed})", file=sys.stderr)
    _, since = folder.events()
    if not folder.is_driven():
        jobs.wait_for_driver(folder, jobs.resume(store, folder.run_id))
    try:
        state = follow(folder, since)
    except KeyboardInterrupt:
        jobs.stop(store, folder.run_id)
        raise
    if state.status == "awaiting_review":
        raise UserError(
            f"run {folder.run_id} waits for a person at iteration {state.iteration}: `approve {folder.run_id}`, then the "
            "same command goes on"
        )
    if state.status != "finished":
        error = Interrupted if state.status in ("interrupted", "stopped") else StageFailed
        raise error(f"run {folder.run_id} is {state.status}: {state.error}; the same command goes on with it")
