"""The settings of a Ray cluster that the E-step is spread over: a section of the configuration in `config.py`."""

from __future__ import annotations

from pydantic import Field, model_validator

from lpd_core.model_config import Section


class RayConfig(Section):
    """The Ray cluster, where `e_step.engine` is `ray`. Every node needs the same code, the same environment, the model and
    the run's folder under the same paths."""

    address: str = Field("", pattern=r"^(auto|[^/\s]+:[0-9]{1,5})?$")
    """`auto` for the cluster that this machine belongs to, or the HOST:PORT of its head; empty starts Ray on this machine
    alone."""
    min_replicas: int = Field(1, ge=1, le=4096)
    """Replicas of the model that each of draft, propose and refine begins with."""
    max_replicas: int = Field(1, ge=1, le=4096)
    """Replicas that each may grow to while it is behind and the cluster has room."""
    cpus: float = Field(1.0, ge=0.0)
    """CPUs of a replica."""
    gpus: float = Field(0.0, ge=0.0)
    """GPUs of a replica; with a part of one, several replicas share it (set `sampler.gpu_memory` to fit)."""
    patience: float = Field(1800.0, gt=0.0)
    """Seconds without any chunk moving on after which the run pauses, for instance when too many nodes are gone."""

    @model_validator(mode="after")
    def _pools_fit(self) -> RayConfig:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"max_replicas = {self.max_replicas} is below min_replicas = {self.min_replicas}; raise it"
            )
        return self
