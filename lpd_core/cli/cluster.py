"""cluster-files: jobs for Slurm, SkyPilot and Ray."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lpd_core.cli.options import ConfigFile, Json, Preset, Settings
from lpd_core.cli.output import show
from lpd_core.cli.runs import configure
from lpd_core.cluster_files import FILES, Cluster, write_cluster_files

Kind = StrEnum("Kind", {name: name for name in FILES})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "cluster-files",
        epilog="Example: python -m lpd_core cluster-files --for slurm --preset paper-llama --nodes 4 --out jobs",
    )(cluster_files)


def cluster_files(
    kind: Annotated[Kind, typer.Option("--for", help="The cluster's scheduler.")],
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    nodes: Annotated[int, typer.Option(min=1)] = Cluster.nodes,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs of a node.")] = Cluster.gpus,
    accelerator: Annotated[str, typer.Option(help="Their name, for SkyPilot.")] = Cluster.accelerator,
    hours: Annotated[int, typer.Option(min=1)] = Cluster.hours,
    home: Annotated[str, typer.Option(help="$LPD_HOME: a folder that every node sees.")] = Cluster.home,
    image: Annotated[str, typer.Option(help="The container image, for Ray on Kubernetes.")] = Cluster.image,
    out: Annotated[Path, typer.Option("--out", help="The folder they are written to.")] = Path("jobs"),
    json_: Json = False,
) -> None:
    """Write the job files of a run on a cluster, and its configuration fitted to it."""
    settings = configure(preset, config, set_)
    cluster = Cluster(nodes, gpus, accelerator, hours, home, image)
    paths = write_cluster_files(kind.value, settings, cluster, out)
    told = "\n".join(f"wrote {path}" for path in paths)
    show(
        {"files": [str(path) for path in paths]}, json_, f"{told}\nthe head of each says how it is submitted"
    )
