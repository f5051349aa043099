"""run, resume, stop, approve, check, and the hidden commands of the processes behind them."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Optional

import typer

from lpd_core.cli.options import Author, ConfigFile, Json, Preset, Run, Settings
from lpd_core.cli.output import show, table
from lpd_core.cli.queue import add
from lpd_core.config import RunConfig, load_config, presets
from lpd_core.errors import CheckFailed, ConfigError, UserError, suggest
from lpd_core.store import RunFolder, Store

EXIT = {"finished": 0, "awaiting_review": 0, "stopped": 0, "failed": 1, "interrupted": 2}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run", epilog="Example: python -m lpd_core run --preset demo --set seed=2")(run)
    app.command("resume", epilog="Example: python -m lpd_core resume last")(resume)
    app.command("stop", epilog="Example: python -m lpd_core stop demo-1")(stop)
    app.command("approve", epilog="Example: python -m lpd_core approve demo-1 --message 'looks right'")(
        approve
    )
    app.command(
        "check",
        epilog="Examples: python -m lpd_core check --preset demo; python -m lpd_core check --run last",
    )(check)
    app.command("create", hidden=True)(create)
    app.command("drive", hidden=True)(drive)
    app.command("stage", hidden=True)(stage)


def configure(preset: str | None, file, assignments: list[str] | None) -> RunConfig:
    """The configuration the options describe; something must be named."""
    if preset is None and file is None and not assignments:
        raise ConfigError(
            f"say what to run: --preset ({', '.join(presets())}), --config FILE or --set section.key=value"
        )
    return load_config(preset, file, assignments or ())


def run(
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once; the run goes on by itself.")
    ] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Let it wait for its turn instead of starting it now.")
    ] = False,
    json_: Json = False,
) -> None:
    """Start a run and follow it; Ctrl-C stops it, `resume` goes on."""
    from lpd_core import jobs
    from lpd_core.preflight import check_run, raise_errors

    settings = configure(preset, config, set_)
    store = Store()
    found = check_run(store, settings)
    raise_errors(found)
    for warning in found.findings:
        print(f"warning: {warning.what}: {warning.mend}", file=sys.stderr)
    folder = jobs.create_run(store, settings)
    print(f"run {folder.run_id} in {folder.root}", file=sys.stderr)
    if queue:
        add(folder.run_id, json_)
        return
    _go(store, folder, detach, json_)


def create(config: ConfigFile = None, json_: Json = False) -> None:
    """Create a run without starting it: what a page asks of a process with limits, since data files are read."""
    from lpd_core import jobs

    folder = jobs.create_run(Store(), configure(None, config, None))
    show({"run_id": folder.run_id}, json_, f"run {folder.run_id} in {folder.root}")


def resume(
    run_id: Run,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once.")] = False,
    json_: Json = False,
) -> None:
    """Go on with a run that was stopped, interrupted or failed; what is done is not done again."""
    store = Store()
    _go(store, store.run(run_id), detach, json_, resumed=True)


def _go(store: Store, folder: RunFolder, detach: bool, as_json: bool, resumed: bool = False) -> None:
    from lpd_core import jobs
    from lpd_core.cli.follow import follow
    from lpd_core.cli.look import print_report

    _, since = folder.events()
    process = (jobs.resume if resumed else jobs.start)(store, folder.run_id)
    if detach:
        show(
            {"run_id": folder.run_id, "pid": process},
            as_json,
            f"started; watch it with `status {folder.run_id}`",
        )
        return
    try:
        jobs.wait_for_driver(folder, process)
        state = follow(folder, since)
    except KeyboardInterrupt:
        state = jobs.stop(store, folder.run_id)
    if state.status == "finished":
        print_report(store, folder.run_id, as_json)
    elif as_json:
        show(
            {
                "run_id": folder.run_id,
                "status": state.status,
                "iteration": state.iteration,
                "error": state.error,
            },
            True,
        )
    if state.status == "awaiting_review":
        print(
            f"waiting for your review: `constitution show {folder.run_id}`, then `approve {folder.run_id}`",
            file=sys.stderr,
        )
    elif state.status != "finished":
        hint = f"; `resume {folder.run_id}` goes on" if state.status != "failed" else ""
        print(f"{state.status}: {state.error or 'stopped as asked'}{hint}", file=sys.stderr)
    raise typer.Exit(EXIT.get(state.status, 1))


def stop(run_id: Run, json_: Json = False) -> None:
    """Stop a running run; what is committed stays."""
    from lpd_core import jobs

    store = Store()
    folder = store.run(run_id)
    state = jobs.stop(store, folder.run_id)
    show({"run_id": folder.run_id, "status": state.status}, json_, f"{folder.run_id} is {state.status}")


def approve(
    run_id: Run,
    message: Annotated[str, typer.Option("--message", help="What this version is.")] = "approved",
    author: Author = "someone",
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once; the run goes on by itself.")
    ] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Approve without going on with the run.")] = False,
    json_: Json = False,
) -> None:
    """Approve the constitution that waits for review, as a version, and go on with the run."""
    from lpd_core import gate, jobs

    store = Store()
    folder = store.run(run_id)
    state = folder.state()
    if state.status != "awaiting_review":
        raise UserError(f"run {folder.run_id} does not wait for a review (it is {state.status})")
    version = gate.approve(store, folder, state.iteration, author=author, message=message)
    print(f"iteration {state.iteration}: version {version} approved", file=sys.stderr)
    jobs.release(store, folder)
    if hold:
        show({"run_id": folder.run_id, "version": version}, json_, f"`resume {folder.run_id}` goes on")
        return
    _go(store, folder, detach, json_, resumed=True)


def check(
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    run_id: Annotated[Optional[str], typer.Option("--run", help="Prove the invariants of this run.")] = None,  # noqa: UP045
    probe: Annotated[
        int,
        typer.Option(
            min=0, help="Send this many prompts through one iteration and time it; nothing is kept."
        ),
    ] = 0,
    json_: Json = False,
) -> None:
    """Before a run: everything that can be known before the first token; with --probe 8, its time and memory from
    some prompts, too. With --run: the run's invariants."""
    if run_id is not None:
        _check_invariants(run_id, json_)
        return
    from lpd_core.preflight import check_run

    found = check_run(Store(), configure(preset, config, set_), probe)
    lines = [f"{f.level}: {f.what}{': ' + f.mend if f.mend else ''}" for f in found.findings]
    lines += [
        f"{name}: {value}"
        for name, value in found.facts.items()
        if name not in ("chats", "training_row", "row_tokens", "trained_turns")
    ]
    findings = [{"level": f.level, "what": f.what, "mend": f.mend} for f in found.findings]
    show({"findings": findings, "facts": found.facts}, json_, "\n".join(lines))
    if found.errors:
        raise typer.Exit(2)


def _check_invariants(run_id: str, as_json: bool) -> None:
    from lpd_core.invariants import check_invariants, run_evidence

    store = Store()
    found = check_invariants(run_evidence(store, store.run(run_id)))
    rows = [
        {
            "invariant": name,
            "result": f"{len(broken)} violations" if broken else "holds",
            "first": "; ".join(broken[:2]),
        }
        for name, broken in found.items()
    ]
    show(found, as_json, table(rows))
    broken = [name for name, violations in found.items() if violations]
    if broken:
        raise CheckFailed(f"violated: {'; '.join(broken)}")


def drive(run_id: str, parent: Annotated[int, typer.Option("--with")] = 0) -> None:
    """The driver process of a run."""
    from lpd_core.driver import Stopped
    from lpd_core.driver import drive as drive_run
    from lpd_core.execution import end_with

    if parent:
        end_with(parent)
    try:
        drive_run(Store(), run_id)
    except Stopped:
        sys.exit(0)


def stage(
    run_id: str,
    name: str,
    iteration: int,
    shard: Annotated[str, typer.Option()] = "0/1",
    driver: Annotated[int, typer.Option()] = 0,
) -> None:
    """One stage process."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from lpd_core.execution import work_as_stage
    from lpd_core.loop import STAGES

    if name not in STAGES:
        raise UserError(f"unknown stage {name!r}; {suggest(name, STAGES)}")
    index, _, count = shard.partition("/")
    work_as_stage(Store(), run_id, name, iteration, (int(index), int(count)), driver)
