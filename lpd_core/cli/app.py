"""The commands of `python -m lpd_core`, grouped in modules beside this one."""

from __future__ import annotations

import typer

from lpd_core.cli import (
    cluster,
    constitution_edits,
    costs,
    data,
    evaluate,
    export,
    keeping,
    look,
    queue,
    runs,
    transcripts,
    upkeep,
)

app = typer.Typer(
    name="lpd_core",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="LPD Studio: latent principle discovery for language-model self-improvement (STaPLe).",
)
runs.register(app)
look.register(app)
transcripts.register(app)
upkeep.register(app)
evaluate.register(app)
cluster.register(app)
costs.register(app)
app.command("work-queue", hidden=True)(queue.work_queue)
app.add_typer(queue.app, name="queue")
app.add_typer(keeping.app, name="runs")
app.add_typer(data.app, name="data")
app.add_typer(constitution_edits.app, name="constitution")
app.add_typer(export.app, name="export")
