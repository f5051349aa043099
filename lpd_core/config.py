"""The whole configuration of a run as one pydantic tree, with bounds and a docstring on every field.

Unknown keys are refused. `load_config` layers preset, file and `--set` assignments; `to_toml` writes what
`load_config` reads; `config_digest` names a configuration. Defaults marked [paper] are the paper's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from lpd_core.data_config import DataConfig
from lpd_core.errors import ConfigError, suggest
from lpd_core.model_config import Command, ModelConfig, SamplerConfig, Sampling, Section
from lpd_core.ray_config import RayConfig
from lpd_core.scoring_config import ScoringConfig

PROJECT = Path(__file__).resolve().parent.parent
Share = Annotated[float, Field(ge=0.0, le=1.0)]


MOST_DEPTH = 20
"""Levels of sections in a configuration; the deepest setting has four."""
LONG_KEY = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){20}[\w\"'-]")
MOST_BYTES = 2**20
"""Size of a configuration file."""


class EStepConfig(Section):
    """Principle discovery, section 2: draft, propose with the gold as hint, refine without it, accept, select."""

    n: int = Field(8, ge=1, le=1024)
    """Principles proposed for each prompt, and refinements made, one under each."""
    draft: Sampling = Sampling(temperature=0.7)
    """Sampling of y1."""
    propose: Sampling = Sampling(temperature=1.0, max_tokens=64)
    """Sampling of z."""
    critique: Sampling = Sampling(temperature=0.7, max_tokens=128)
    """Sampling of c, where critiques are on."""
    refine: Sampling = Sampling(temperature=0.7)
    """Sampling of y2."""
    use_critique: bool = False
    """Let the model criticise its draft in the light of z before refining."""
    margin: float = Field(0.0, ge=0.0, lt=1.0)
    """Accept a candidate only if its score exceeds the draft's by more than this."""
    keep: int = Field(1, ge=1)
    """Accepted candidates kept a prompt: 1 is hard EM [paper]; more keeps the best K, weighted by gain (soft EM)."""
    skip_above: float | None = Field(None, ge=0.0, le=1.0)
    """Do not mine a prompt whose draft already scores above this; unset mines all."""
    leak_words: int = Field(8, ge=0)
    """Reject a principle that quotes this many consecutive words of the gold which the prompt and draft lack; 0 is off."""
    max_principle_words: int = Field(30, ge=1)
    """Longest principle in words; longer ones are rejected as too_long."""
    seeds: str = ""
    """A file of principles (text, JSON, JSONL, or an exported constitution) that mining may use."""
    seed_share: Share = 0.0
    """Share of each prompt's N principles drawn from `seeds` instead of being proposed."""
    chunk_prompts: int = Field(64, ge=1)
    """Prompts whose rows are committed together; a killed run redoes at most one chunk a worker."""
    engine: Literal["processes", "ray"] = "processes"
    """What spreads the chunks: `sampler.workers` processes of this machine, or Ray Data over a cluster (section `ray`)."""


class ClusterConfig(Section):
    """From principles to a constitution, section 3."""

    method: Literal["agglomerative", "bertopic"] = "agglomerative"
    """Exact average linkage on cosine distance [paper], or BERTopic with HDBSCAN."""
    choose: Literal["auto", "threshold", "k"] = "auto"
    """How the dendrogram is cut: by silhouette between `min_clusters` and `max_clusters`, at `threshold`, or into `k`."""
    threshold: float = Field(0.5, ge=0.0, le=2.0)
    """Cosine distance at which the dendrogram is cut (choose = "threshold")."""
    k: int = Field(24, ge=1)
    """Number of clusters (choose = "k")."""
    min_clusters: int = Field(4, ge=1)
    """Fewest clusters the automatic choice considers."""
    max_clusters: int = Field(48, ge=1)
    """Most clusters the automatic choice considers."""
    embedder: str = "all-MiniLM-L6-v2"
    """Sentence-transformers model: the packaged one, a folder or a hub name."""
    exact_limit: int = Field(50_000, ge=2)
    """Above this many distinct principles, new ones are assigned to the nearest mean within the cut and only the
    rest is clustered exactly."""
    layout: Literal["auto", "umap", "pca"] = "auto"
    """2-D coordinates of the principles; auto takes UMAP from 15 principles on, PCA below."""
    label: Literal["medoid", "mode", "perplexity", "none"] = "medoid"
    """The text that replaces each principle of a cluster: medoid [paper], most frequent, lowest perplexity under the
    current model, or none (unconstrained STaPLe)."""
    rerefine: bool = False
    """Write y2 anew under the replaced principle and accept again."""
    lineage_threshold: float = Field(0.3, ge=0.0, le=2.0)
    """Cosine distance below which a cluster of the next iteration continues one of this."""


class MStepConfig(Section):
    """Principle learning, section 4: SFT on the tokens of z and y2."""

    target: Literal["staple", "star", "gold"] = "staple"
    """What is learnt: `staple` the whole trajectory x, y1, z, y2 [paper]; `star` the same trajectories without z;
    `gold` the gold responses of the same prompts, with nothing mined. The latter two are lines to compare with."""
    balanced: bool = True
    """Weigh the mean loss of z's tokens and of y2's alike, so that a short z is not drowned by a long y2."""
    train_draft: bool = False
    """Put y1 in the loss too; steadies the draft of small models."""
    rows: Literal["iteration", "all"] = "iteration"
    """Train on this iteration's trajectories, or on those of all iterations so far."""
    start: Literal["previous", "base"] = "previous"
    """Start from M_{t-1} or from M_0."""
    learning_rate: float = Field(1e-6, gt=0.0)
    """Peak learning rate of AdamW with a cosine schedule."""
    warmup: Share = 0.03
    """Share of the steps in which the rate climbs."""
    epochs: float = Field(2.0, gt=0.0)
    """Passes over the rows."""
    batch_size: int = Field(64, ge=1)
    """Sequences an optimiser step."""
    micro_batch: int = Field(8, ge=1)
    """Sequences a forward pass; the rest of the batch is accumulated."""
    weight_decay: float = Field(0.0, ge=0.0)
    """AdamW's weight decay."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the training step; bfloat16 needs a GPU that has it."""
    lora_rank: int = Field(0, ge=0)
    """Rank of LoRA adapters on all linear layers, merged when saved; 0 trains all weights."""
    keep_adapter: bool = False
    """Write the LoRA adapter beside the weights it was merged into, as the checkpoint's folder `adapter`."""
    gradient_checkpointing: bool = False
    """Trade time for memory."""
    packing: bool = False
    """Pack several chats a sequence; pays on GPUs only. Needs `balanced = false`."""
    save_steps: int = Field(50, ge=1)
    """Optimiser steps between checkpoints to resume from."""
    threads: int = Field(2, ge=1)
    """Torch threads of each training process on CPU."""
    processes: int = Field(1, ge=1)
    """Training processes on all machines, started by `accelerate launch`; every batch is dealt among them."""
    machines: int = Field(1, ge=1)
    """Machines that the training processes are dealt to, where `launcher` reaches them."""
    launcher: Command = ""
    """A command that starts what follows it once on each of the machines, such as `srun --ntasks-per-node=1`; they share the
    run's folder and meet at $MASTER_ADDR. Empty trains on this machine."""
    accelerate_config: str = ""
    """How they are started: multi_cpu, multi_gpu, fsdp2, deepspeed_zero2, deepspeed_zero3 or a file that `accelerate
    config` wrote; empty takes multi_gpu, or multi_cpu where the model is on the CPU."""
    validation_share: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the prompts whose rows are not trained on but measured every `save_steps`; 0 measures none."""
    early_stopping: int = Field(0, ge=0)
    """Stop after this many measurements without a lower loss on the rows held out, and keep the best weights; 0 trains
    to the end and keeps the last. Needs `validation_share`."""
    report_to: Literal["none", "trackio", "wandb", "tensorboard"] = "none"
    """The tracker that TRL reports the training to; its package must be installed."""

    @model_validator(mode="after")
    def _switches_fit(self) -> MStepConfig:
        if self.early_stopping and not self.validation_share:
            raise ValueError(
                "early stopping needs rows to measure; set validation_share, for instance to 0.1"
            )
        if self.keep_adapter and not self.lora_rank:
            raise ValueError("keep_adapter needs adapters; set lora_rank, or keep_adapter = false")
        if self.machines > 1 and not self.launcher:
            raise ValueError(
                "several machines need a command that reaches them; set launcher, or machines = 1"
            )
        if self.processes % self.machines:
            raise ValueError("processes are dealt evenly; make them a multiple of machines")
        if self.packing and self.balanced:
            raise ValueError(
                "packing cannot balance the segments of each row; set balanced = false or packing = false"
            )
        return self


class EvaluateConfig(Section):
    """The held-out measurement after each iteration: x -> y1 -> z -> y2 without gold or constitution, section 6."""

    draft: Sampling = Sampling(temperature=0.0)
    """Sampling of y1."""
    principle: Sampling = Sampling(temperature=0.0, max_tokens=64)
    """Sampling of z."""
    refine: Sampling = Sampling(temperature=0.0)
    """Sampling of y2."""
    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples of each 95 % interval."""


class PromptsConfig(Section):
    """The words around the texts."""

    folder: str = ""
    """A folder with principle_cue.txt, propose.txt, refine_cue.txt and critique.txt, and improve_cue.txt where a line
    without principles is run with other words than the shipped ones; empty takes the shipped ones."""
    system: str = ""
    """A system turn put before every chat; empty sends none."""


class RunConfig(Section):
    """Everything that decides a run."""

    name: str = Field("run", min_length=1, max_length=80, pattern=r"^[^/\\\x00-\x1f]+$")
    """A name for people; the run's id is made from it."""
    seed: int = Field(1, ge=0)
    """Decides every random choice of the run."""
    iterations: int = Field(3, ge=1, le=100)
    """Iterations of the EM loop. Gains flatten at 3 to 4 [paper]; the best is chosen on dev, not the last."""
    review: bool = False
    """Stop after each clustering until a person approves the constitution."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    sampler: SamplerConfig = SamplerConfig()
    prompts: PromptsConfig = PromptsConfig()
    scoring: ScoringConfig = ScoringConfig()
    e_step: EStepConfig = EStepConfig()
    cluster: ClusterConfig = ClusterConfig()
    m_step: MStepConfig = MStepConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    ray: RayConfig = RayConfig()


def presets() -> dict[str, Path]:
    """The shipped presets by name."""
    return {path.stem: path for path in sorted((PROJECT / "data" / "presets").glob("*.toml"))}


def load_config(
    preset: str | None = None, file: Path | None = None, assignments: Iterable[str] = ()
) -> RunConfig:
    """The configuration of a preset, overlaid by a TOML file, overlaid by `a.b=value` assignments.

    Raises `ConfigError` for an unknown preset, an unreadable file, an unknown key or a value out of bounds."""
    tree: dict[str, Any] = {}
    if preset is not None:
        shipped = presets()
        if preset not in shipped:
            raise ConfigError(f"unknown preset {preset!r}; {suggest(preset, shipped)}")
        tree = _read_toml(shipped[preset])
    if file is not None:
        tree = _overlay(tree, _read_toml(file))
    for assignment in assignments:
        tree = _overlay(tree, _parse_assignment(assignment))
    return parse_config(tree)


def override(config: RunConfig, assignments: Iterable[str]) -> RunConfig:
    """A configuration with `a.b=value` assignments laid over it. Raises `ConfigError`."""
    tree = config.model_dump(exclude_none=True)
    for assignment in assignments:
        tree = _overlay(tree, _parse_assignment(assignment))
    return parse_config(tree)


def parse_config(tree: Mapping[str, Any]) -> RunConfig:
    """Validate a nested mapping. Raises `ConfigError` naming every offending key with what is allowed."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as cause:
        raise ConfigError("; ".join(explain_error(error) for error in cause.errors())) from cause


def explain_error(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as a line that names the setting, what is allowed and what was given."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"unknown setting {key!r}: {suggest(path[-1], _siblings(path))}"
    message = error["msg"].removeprefix("Value error, ")
    is_secret = isinstance(error["input"], dict) or path[-1:] == ["key_variable"]  # might be the key itself
    given = "" if is_secret else f" (given {error['input']!r})"
    return f"{key or 'configuration'}: {message[0].lower()}{message[1:]}{given}"


def _siblings(path: list[str]) -> Iterable[str]:
    section: Any = RunConfig
    for part in path[:-1]:
        section = section.model_fields[part].annotation
    return section.model_fields


def parse_toml(text: str, name: str = "the text") -> dict[str, Any]:
    """The tree of a configuration written as TOML. Raises `ConfigError` naming the place of a mistake."""
    if LONG_KEY.search(text):  # which would be read in quadratic time
        raise ConfigError(f"{name} has a key of more than {MOST_DEPTH} parts; no setting has")
    try:
        tree = tomllib.loads(text)
    except RecursionError as cause:
        raise ConfigError(f"{name} is not TOML: nested too deeply") from cause
    except ValueError as cause:  # also an integer of more digits than Python reads
        raise ConfigError(f"{name} is not TOML: {cause}") from cause
    if _is_deep(tree):
        raise ConfigError(f"{name} is nested more than {MOST_DEPTH} levels deep; no setting is")
    return tree


def _is_deep(value: Any, levels: int = MOST_DEPTH) -> bool:
    if not isinstance(value, Mapping | list):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return not levels or any(_is_deep(item, levels - 1) for item in inner)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"cannot read the configuration {path}: not a file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigError(f"the configuration {path} is larger than {MOST_BYTES >> 20} MB; none is")
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as cause:
        raise ConfigError(f"cannot read the configuration {path}: {cause}") from cause
    return parse_toml(text, str(path))


def _parse_assignment(assignment: str) -> dict[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{assignment!r} is no setting; write section.key=value, for instance e_step.n=4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # what is no TOML is a text
        value = text
    for part in reversed(key.strip().split(".", MOST_DEPTH)):
        value = {part: value}
    return value


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        replaces = key in ("shifted", "mixture") or not (
            isinstance(under, Mapping) and isinstance(value, Mapping)
        )
        merged[key] = value if replaces else _overlay(under, value)
    return merged


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML that `load_config` reads back to an equal one (unset values are left out)."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def config_digest(config: RunConfig) -> str:
    """SHA-256 of the configuration's canonical JSON."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def lpd_home() -> Path:
    """Where runs and the database live: `$LPD_HOME`, or the project's data folder."""
    return Path(os.environ.get("LPD_HOME") or PROJECT / "data").expanduser().absolute()


def resolve_path(text: str) -> Path:
    """A path as given if it exists from here, else from the project's folder, else as given."""
    path = Path(text).expanduser()
    if not path.is_absolute() and not path.exists() and (PROJECT / path).exists():
        return PROJECT / path
    return path
