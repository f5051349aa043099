"""Jobs for clusters: a run's configuration fitted to nodes and GPUs, and the files that submit it.

Slurm starts one vLLM engine a worker and trains over all nodes through `srun`; SkyPilot and Ray spread the E-step by
Ray and train on the first node. All of them share the run's folder and go on after a node is lost.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lpd_core.config import PROJECT, RunConfig, override, to_toml
from lpd_core.errors import ConfigError

TEMPLATES = PROJECT / "data" / "cluster"
FILES = {
    "slurm": ("slurm-run.sbatch", "slurm-servers.sbatch"),
    "skypilot": ("skypilot.yaml",),
    "ray": ("ray-job.yaml",),
}
CONFIG = "run.toml"
SHARED = "/shared"
"""Where SkyPilot's and Ray's jobs mount the volume that all nodes share."""
Kind = Literal["slurm", "skypilot", "ray"]


@dataclass(frozen=True)
class Cluster:
    """What a job asks for: nodes, GPUs on each and their name, hours, the folder that all nodes share, an image."""

    nodes: int = 2
    gpus: int = 8
    accelerator: str = "H100"
    hours: int = 24
    home: str = "/shared/lpd"
    image: str = "lpd-studio:latest"


def cluster_files(kind: Kind, config: RunConfig, cluster: Cluster, folder: Path) -> dict[str, str]:
    """The files of a job by their names, the fitted configuration among them; `folder` is where they will lie.

    Raises `ConfigError` where the configuration does not fit such a cluster."""
    engine = config.sampler.tensor_parallel
    if cluster.gpus % engine:
        raise ConfigError(
            f"sampler.tensor_parallel = {engine} does not divide the {cluster.gpus} GPUs of a node"
        )
    if kind != "slurm" and not Path(cluster.home).is_relative_to(SHARED):
        raise ConfigError(
            f"the home {cluster.home!r} is not on the volume that such a job mounts at {SHARED}; take a folder in it"
        )
    fitted = override(config, _assignments(kind, config, cluster))
    values = {
        "name": re.sub(r"[^a-z0-9-]+", "-", config.name.lower()).strip("-") or "lpd",
        "nodes": cluster.nodes,
        "gpus": cluster.gpus,
        "engine_gpus": engine,
        "last_server": cluster.nodes * cluster.gpus // engine - 1,
        "workers": cluster.nodes - 1,
        "hours": cluster.hours,
        "accelerator": cluster.accelerator,
        "image": cluster.image,
        "home": shlex.quote(cluster.home),
        "project": shlex.quote(str(PROJECT)),
        "python": shlex.quote(sys.executable),
        "config": shlex.quote(str(folder.absolute() / CONFIG)),
    }
    made = {name: _filled((TEMPLATES / name).read_text(encoding="utf-8"), values) for name in FILES[kind]}
    return {**made, CONFIG: to_toml(fitted)}


def write_cluster_files(kind: Kind, config: RunConfig, cluster: Cluster, folder: Path) -> list[Path]:
    """Write the files of a job into a folder; their paths."""
    files = cluster_files(kind, config, cluster, folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def _assignments(kind: Kind, config: RunConfig, cluster: Cluster) -> list[str]:
    """What the configuration needs on such a cluster, where it does not say otherwise."""
    engine = config.sampler.tensor_parallel
    engines = cluster.nodes * cluster.gpus // engine
    spread = config.m_step.accelerate_config or ("multi_gpu" if config.m_step.lora_rank else "fsdp2")
    training = [f"m_step.accelerate_config={spread}"]
    if kind != "slurm":
        return [
            "e_step.engine=ray",
            "ray.address=auto",
            f"ray.gpus={engine}",
            f"ray.max_replicas={engines}",
            f"m_step.processes={cluster.gpus}",
            *training,
        ]
    return [
        f"sampler.workers={engines}",
        f"sampler.launcher=srun --nodes=1 --ntasks=1 --exact --gpus={engine}",
        f"m_step.processes={cluster.nodes * cluster.gpus}",
        f"m_step.machines={cluster.nodes}",
        f"m_step.launcher=srun --ntasks={cluster.nodes} --ntasks-per-node=1 --gpus-per-node={cluster.gpus}",
        *training,
    ]


def _filled(template: str, values: Mapping[str, object]) -> str:
    """The template with every {{name}} filled in; a name without a value is a bug."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: str(values[place[1]]), template)
