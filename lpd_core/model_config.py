"""The settings of the model and of what samples from it: sections of the configuration in `config.py`."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _split(command: str) -> str:
    """A command as it is, where a shell would take it apart; it is started without one."""
    try:
        words = shlex.split(command)
    except ValueError as cause:
        raise ValueError(f"{command!r} is no command: {cause}; close the quotation") from cause
    return command if words else ""


Command = Annotated[str, AfterValidator(_split)]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Sampling(Section):
    """How one role's text is sampled."""

    temperature: float = Field(0.7, ge=0.0, le=5.0)
    """Softmax temperature; 0 is greedy."""
    top_p: float = Field(0.95, gt=0.0, le=1.0)
    """Keep the smallest set of tokens whose probability reaches this; 1 keeps all."""
    top_k: int = Field(0, ge=0)
    """Keep the k likeliest tokens; 0 keeps all."""
    max_tokens: int = Field(512, ge=1)
    """Longest completion, in tokens; longer ones are cut and marked `length`."""


class ModelConfig(Section):
    """The model M_0 that every role is played by."""

    path: str = ""
    """A folder with a transformers checkpoint, or a hub name."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Data type of the weights while sampling. On CPUs without bf16 units only float32 is fast."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where sampling and training run; auto takes CUDA, then MPS, then the CPU."""
    trust_remote_code: bool = False
    """Run code that comes with the checkpoint. Off unless you have read that code."""
    max_length: int = Field(4096, ge=16)
    """Longest chat in tokens, prompt and completion together."""
    overlong: Literal["refuse", "truncate"] = "refuse"
    """What becomes of a prompt beyond `max_length`: refused, or its longest turn cut in the middle; counted either way."""
    chat_template: str = ""
    """A file with a Jinja chat template that takes the place of the checkpoint's, or is given to one without."""
    thinking: Literal["strip", "keep", "off"] = "strip"
    """What becomes of a `<think>` block before an answer: cut away, kept in the text, or not written at all
    (`enable_thinking = false` in the chat template, and an empty block where the template opens one)."""


class SamplerConfig(Section):
    """The engine that samples."""

    kind: Literal["transformers", "vllm", "openai", "scripted"] = "transformers"
    """`transformers` samples in the stage's process; `vllm` too, with vLLM's offline engine; `openai` asks any server of
    that protocol; `scripted` is the shipped fake for dry runs."""
    python: str = ""
    """The Python interpreter of the stages that sample, so that vLLM can live in an environment of its own; empty takes
    the one that drives the run."""
    stop: list[str] = Field(default_factory=list)
    """Texts that end a completion, beside the model's own end of turn; they are not part of it."""
    script: str = "echo"
    """The scripted fake's script."""
    engine: Literal["auto", "loop", "generate"] = "auto"
    """`loop` is our decode loop, `generate` that of transformers; auto takes ours where the architecture fits."""
    token_budget: int = Field(32_768, ge=64)
    """Tokens (rows x longest chat) of one batch; halved and retried when memory runs out."""
    workers: int = Field(1, ge=1, le=1024)
    """Processes that share the prompts of a stage, each with its own copy of the model."""
    launcher: Command = ""
    """Words put before the command of each worker, such as `srun --nodes=1 --ntasks=1 --gpus=1 --exact`, so that workers
    run on other machines, which share the run's folder. Empty runs them on this machine."""
    threads: int = Field(1, ge=1)
    """Torch threads of each worker; one is fastest on shared CPUs."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs that one vLLM engine is spread over."""
    gpu_memory: float = Field(0.9, gt=0.0, le=1.0)
    """Share of a GPU's memory that the vLLM engine takes."""
    cpu_cache_gib: float = Field(2.0, gt=0.0)
    """Memory of vLLM's keys and values on a CPU, in GiB."""
    url: str = ""
    """Base address of the server of kind `openai`, such as `http://127.0.0.1:8000/v1`."""
    urls: list[str] = Field(default_factory=list)
    """Base addresses of further servers of the same weights: each request goes to the one with the fewest under way, and is
    asked elsewhere when a server is lost."""
    served: str = ""
    """The name under which the server knows M_0; empty takes its path, as vLLM does. Trained weights are asked for by the
    path of their checkpoint, unless `serve` starts the server."""
    serve: Command = ""
    """A command that serves the weights of one stage and is ended with it, with {model}, {name} and {port} filled in;
    empty asks the server at `url`, which then has to serve each iteration's weights."""
    serve_seconds: float = Field(900.0, gt=0.0)
    """Longest start of that server."""
    endpoint: Literal["chat", "completions"] = "chat"
    """`chat` sends turns, which the server renders; `completions` sends the tokens of the chat as rendered here, which needs
    a local tokenizer and a server that takes token ids (vLLM does)."""
    seeded: bool = True
    """Send each row as a request with its own seed; off, rows of equal chats are one request for n completions."""
    key_variable: str = Field("OPENAI_API_KEY", pattern=r"^[A-Z_][A-Z0-9_]*$")
    """Name of the environment variable that holds the server's key, if it wants one. The key itself is kept nowhere."""
    concurrency: int = Field(32, ge=1, le=4096)
    """Requests under way at once at each server."""
    chunks_at_once: int = Field(0, ge=0, le=256)
    """Chunks of prompts under way at once with kind `openai`; 0 takes as many as keep all servers busy."""
    timeout: float = Field(300.0, gt=0.0)
    """Seconds that one answer may take."""
    retries: int = Field(5, ge=0)
    """Further tries of a request that failed, with growing pauses; then its row counts as failed."""
    patience: float = Field(300.0, ge=0.0)
    """Seconds to wait for a server that is gone or limits the rate; then the run pauses."""

    def addresses(self) -> list[str]:
        """The base addresses of all servers, each once."""
        return list(dict.fromkeys(url.rstrip("/") for url in [self.url, *self.urls] if url))

    @model_validator(mode="after")
    def _server_fits(self) -> SamplerConfig:
        if any("@" in url or "?" in url for url in (self.url, *self.urls)):
            raise ValueError("sampler.url carries more than an address; a key belongs into the environment")
        if self.serve and self.urls:
            raise ValueError("sampler.serve starts the server that is asked; sampler.urls names others")
        if "--api-key" in self.serve:  # it would stand in files, pages and lists of processes
            raise ValueError("sampler.serve holds a key; set $VLLM_API_KEY and sampler.key_variable instead")
        if self.serve and self.workers > 1:
            raise ValueError("sampler.serve starts one server a stage; set workers = 1 and raise concurrency")
        return self
