"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Run = Annotated[str, typer.Argument(help="A run's id, or `last`.")]
Preset = Annotated[Optional[str], typer.Option("--preset", help="A shipped preset, for instance demo.")]  # noqa: UP045
ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="A TOML file laid over the preset.")]  # noqa: UP045
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", help="One setting, laid over both: --set e_step.n=4. May be repeated."),
]
Author = Annotated[str, typer.Option("--author", envvar=["LPD_AUTHOR", "USER"], help="Who does this.")]
