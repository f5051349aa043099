"""Training in several processes: started by `accelerate launch`, heard through files, ended with this process.

The processes run `training_worker`. The main one appends events to a file, which is read here as it grows; a
failure leaves its kind and message in another.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lpd_core import errors
from lpd_core.config import PROJECT, ModelConfig, MStepConfig, resolve_path
from lpd_core.errors import ConfigError, StageFailed, suggest
from lpd_core.events import from_line
from lpd_core.parts import Emit
from lpd_core.types import TrainingJob, TrainingRow

SHIPPED = PROJECT / "data" / "accelerate"
ASSIGNMENT, EVENTS, FAILURE = "assignment.json", "worker-events.jsonl", "failure.json"
LAUNCHER = "LPD_LAUNCHER"
POLL_SECONDS = 0.1
SHARDED = ("FSDP", "DEEPSPEED")


@dataclass(frozen=True)
class Launch:
    """How training processes are started: accelerate's configuration file, how many there are on all machines,
    and the distributed type that accelerate must really run, else nothing is trained."""

    file: Path
    processes: int
    kind: str


@dataclass(frozen=True)
class Assignment:
    """All that a training process needs to know."""

    job: TrainingJob
    config: MStepConfig
    model: ModelConfig
    iteration: int
    digest: str
    checkpoint: str | None
    kind: str

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        told = {
            "job": asdict(self.job),
            "config": self.config.model_dump(mode="json"),
            "model": self.model.model_dump(mode="json"),
            "iteration": self.iteration,
            "digest": self.digest,
            "checkpoint": self.checkpoint,
            "kind": self.kind,
        }
        path.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Assignment:
        """What `write` wrote."""
        told = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(
            TrainingRow(**{**row, "messages": tuple(row["messages"]), "trained": tuple(row["trained"])})
            for row in told["job"].pop("rows")
        )
        told["job"] = TrainingJob(rows=rows, **told["job"])
        told["config"], told["model"] = MStepConfig(**told["config"]), ModelConfig(**told["model"])
        return cls(**told)


def planned_launch(config: MStepConfig, device: str) -> Launch | None:
    """How the settings start several processes on a kind of device (cpu, cuda, mps); None for one process, here.

    Raises `ConfigError` for a file that is missing or none of accelerate's, one that does not fit the device, and
    for LoRA with spread weights, whose adapters cannot be merged."""
    if config.processes == 1 and not config.accelerate_config and not config.launcher:
        return None
    file = _configuration_file(config.accelerate_config or ("multi_cpu" if device == "cpu" else "multi_gpu"))
    told = _read(file)
    kind = str(told["distributed_type"])
    on_cpu = bool(told.get("use_cpu"))
    if on_cpu != (device == "cpu"):
        wanted = "multi_cpu" if device == "cpu" else "one for GPUs"
        raise ConfigError(
            f"m_step.accelerate_config = {file.stem!r} runs {'on the CPU' if on_cpu else 'on GPUs'}, the model on "
            f"{device}; take {wanted}, or set model.device"
        )
    if on_cpu and kind == "DEEPSPEED":
        raise ConfigError(
            f"{file} asks for {kind} on the CPU, where it runs none; set m_step.accelerate_config = "
            '"fsdp2_cpu" or "multi_cpu"'
        )
    if kind in SHARDED and config.lora_rank:
        raise ConfigError(
            f"m_step.lora_rank cannot be merged where {kind} spreads the weights; set m_step.accelerate_config = "
            '"multi_gpu" or lora_rank = 0'
        )
    return Launch(file, config.processes, "MULTI_CPU" if on_cpu and kind == "MULTI_GPU" else kind)


def _configuration_file(name: str) -> Path:
    shipped = {path.stem: path for path in SHIPPED.glob("*.yaml")}
    file = shipped.get(name) or resolve_path(name)
    if not file.is_file():
        raise ConfigError(
            f"m_step.accelerate_config = {name!r} is no file; {suggest(name, shipped)}, or a path"
        )
    return file.absolute()


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise ConfigError(f"cannot read {file}: {' '.join(str(cause).split())}") from cause
    if not isinstance(told, dict) or "distributed_type" not in told:
        raise ConfigError(f"{file} has no distributed_type; write it with `accelerate config`")
    return told


def check_distributed(accelerator: Any, kind: str, processes: int) -> None:
    """Raises `ConfigError` unless accelerate runs what was asked for: it falls back to less without a word."""
    runs, count = accelerator.distributed_type.value, accelerator.num_processes
    if (runs, count) != (kind, processes):
        raise ConfigError(
            f"m_step asks for {kind} on {processes} processes, but accelerate runs {runs} on {count}; "
            "see m_step.processes and m_step.accelerate_config"
        )


def run_launched(launch: Launch, assignment: Assignment, emit: Emit) -> None:
    """Train in processes of their own until the model is written, passing their events on.

    Raises the error that a process told, or `StageFailed`."""
    folder = Path(assignment.job.work_dir)
    for name in (EVENTS, FAILURE):
        (folder / name).unlink(missing_ok=True)
    assignment.write(folder / ASSIGNMENT)
    process = subprocess.Popen(
        _command(launch, assignment, folder / ASSIGNMENT),
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        # Elsewhere there is no such process; what the launcher starts there ends with the launcher.
        env={**os.environ, **({} if assignment.config.launcher else {LAUNCHER: str(os.getpid())})},
        start_new_session=True,
    )
    try:
        for event in _events(folder / EVENTS, process):
            emit(event)
    finally:
        if process.poll() is None:
            _kill(process)
        process.wait()
    if process.returncode:
        raise _told_failure(folder / FAILURE, process.returncode)


def _kill(process: subprocess.Popen) -> None:
    """End the launcher and the training processes, which have sessions of their own."""
    import psutil

    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()  # a launcher of several machines ends what it started there
    with suppress(subprocess.TimeoutExpired):
        process.wait(2)
    for each in (process, *started):
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(started, timeout=10)


def _command(launch: Launch, assignment: Assignment, file: Path) -> list[str]:
    config = assignment.config
    precision = "bf16" if config.dtype == "bfloat16" else "no"
    arguments = [
        "--config_file", str(launch.file), "--num_processes", str(launch.processes), "--mixed_precision", precision,
        *_meeting_point(launch, config), "-m", "lpd_core.training_worker", str(file),
    ]  # fmt: skip
    if not config.launcher:
        return [sys.executable, "-m", "accelerate.commands.launch", *arguments]
    return [
        *shlex.split(config.launcher), sys.executable, "-m", "lpd_core.training_machine", *arguments,
    ]  # fmt: skip


def _meeting_point(launch: Launch, config: MStepConfig) -> list[str]:
    """Where the processes of all machines find each other. Raises `ConfigError` when several machines have no place."""
    if not config.launcher:
        machines = int(_read(launch.file).get("num_machines") or 1)
        # Port 0 takes a free one, so that two trainings on a machine do not meet; several machines must agree on one.
        return ["--main_process_port", "0"] if machines == 1 else []
    address = os.environ.get("MASTER_ADDR")
    if not address:
        raise ConfigError(
            "m_step.launcher starts processes on several machines, which meet at $MASTER_ADDR: set it to the first "
            "machine's address, as the jobs of `cluster-files` do"
        )
    return [
        "--num_machines", str(config.machines), "--main_process_ip", address,
        "--main_process_port", os.environ.get("MASTER_PORT", "29500"),
    ]  # fmt: skip


def _events(file: Path, process: subprocess.Popen) -> Iterator[Any]:
    """The events that the main process appends to the file, until the processes have ended."""
    read = 0
    while True:
        ended = process.poll() is not None
        if file.exists():
            with file.open("rb") as stream:
                stream.seek(read)
                data = stream.read()
            whole = data[: data.rfind(b"\n") + 1]
            read += len(whole)
            for line in whole.decode("utf-8").splitlines():
                yield from_line(line)[1]
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _told_failure(file: Path, code: int) -> errors.LpdError:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return StageFailed(f"the training processes ended with code {code} and told no reason; see the log")
    return getattr(errors, told["kind"])(told["message"])
