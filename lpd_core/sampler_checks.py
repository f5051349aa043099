"""What can be known of a sampler before it starts: its interpreter, its server, whether it knows the model's architecture,
what the chat template does to system turns and thoughts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpd_core.build import served_name
from lpd_core.config import RunConfig, resolve_path
from lpd_core.errors import Interrupted, UserError
from lpd_core.findings import Preflight
from lpd_core.types import Message

if TYPE_CHECKING:
    from lpd_core.samplers.server import Server

PROBE = """
import importlib.util, json, pathlib, re
found = {name: importlib.util.find_spec(name) is not None for name in %r}
spec = importlib.util.find_spec("vllm")
known = []
if spec and spec.origin:
    registry = pathlib.Path(spec.origin).parent / "model_executor" / "models" / "registry.py"
    known = re.findall(r'"(\\w+)":', registry.read_text()) if registry.exists() else []
print(json.dumps({"missing": [name for name in found if not found[name]], "vllm": spec is not None, "known": known,
                  "ray": importlib.util.find_spec("ray") is not None}))
"""
NEEDED = (
    "duckdb",
    "pyarrow",
    "pydantic",
    "psutil",
    "rapidfuzz",
    "yaml",
    "tomli_w",
    "nltk",
    "typer",
    "rich",
    "transformers",
)
"""What the stages that sample import, by the names they import it under."""
PROBE_SECONDS = 60.0


def check_sampler(
    report: Preflight, config: RunConfig, tokenizer: Any, chats: Iterable[list[Message]]
) -> None:
    """Note what would stop the sampler, or surprise its user; `chats` are some that will be sent."""
    kind = config.sampler.kind
    if config.e_step.engine == "ray":
        _check_ray(report, config)
    if kind == "scripted":
        return
    probe = report.guard(_probe, config.sampler.python or sys.executable)
    if probe is None:
        return
    if probe["missing"]:
        report.error(
            f"{config.sampler.python or sys.executable} lacks {', '.join(probe['missing'])}",
            "install them there; requirements-cpu-vllm.txt lists what the stages that sample need",
        )
    if kind == "vllm" and not probe["vllm"]:
        report.error(
            f"{config.sampler.python or sys.executable} has no vLLM",
            "name an interpreter that has it in sampler.python; `make vllm-env` makes one for CPUs",
        )
    if kind == "vllm" and config.sampler.workers > 1 and not config.sampler.launcher:
        report.warn(
            f"{config.sampler.workers} workers start as many vLLM engines, each with all of the model and its cache",
            "set sampler.workers = 1; one engine batches everything",
        )
    if kind == "openai":
        _check_server(report, config)
    _check_architecture(report, config, probe["known"])
    if tokenizer is not None:
        _check_template(report, config, tokenizer, chats)


def _check_ray(report: Preflight, config: RunConfig) -> None:
    interpreter = config.sampler.python or sys.executable
    probe = report.guard(_probe, interpreter)
    if probe and not probe["ray"]:
        report.error(
            f'e_step.engine = "ray", but {interpreter} has no Ray',
            "install requirements-cluster.txt, or name an interpreter that has it in sampler.python; `make cluster-env` "
            "makes one",
        )
    if config.sampler.serve:
        report.error(
            "sampler.serve starts a server for each replica of a Ray cluster",
            "let the replicas be the engines (kind transformers or vllm), or name running servers in sampler.url",
        )
    if config.sampler.workers > 1:
        report.warn(
            f"sampler.workers = {config.sampler.workers} is for the evaluation alone with e_step.engine = ray",
            "ray.min_replicas and ray.max_replicas say how many replicas the E-step has",
        )


def _probe(interpreter: str) -> dict[str, Any]:
    """What an interpreter has, asked without loading any of it. Raises `UserError` when it does not answer."""
    path = shutil.which(str(resolve_path(interpreter)))
    if path is None:
        raise UserError(f"sampler.python = {interpreter!r} is no program here; name a Python interpreter")
    try:
        told = subprocess.run(
            [path, "-c", PROBE % (NEEDED,)], capture_output=True, text=True, timeout=PROBE_SECONDS
        )
        return json.loads(told.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as cause:
        raise UserError(f"sampler.python = {interpreter!r} is no working Python: {cause}") from cause


def _check_server(report: Preflight, config: RunConfig) -> None:
    from lpd_core.samplers.server import Server

    sampler = config.sampler
    if sampler.serve:
        program = shlex.split(sampler.serve)[0]
        if shutil.which(program) is None:
            report.error(f"sampler.serve: there is no program {program!r} here", "name one that is installed")
        for place in ("{model}", "{port}"):
            if place not in sampler.serve:
                report.error(f"sampler.serve has no {place}", "it is filled in at each stage")
        return
    addresses = sampler.addresses() or [sampler.url]
    for url in addresses:
        if not url.startswith(("http://", "https://")):
            report.error(
                f"sampler.url = {url!r}",
                "give the address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1, or sampler.serve",
            )
            return
    _ask_servers(report, config, [Server(url, sampler) for url in addresses])
    if not os.environ.get(sampler.key_variable) and any(url.startswith("https:") for url in addresses):
        report.warn(f"${sampler.key_variable} is not set", "the server may refuse requests without a key")
    report.warn(
        f"{', '.join(addresses[:3])} {'has' if len(addresses) == 1 else 'have'} to serve the weights of each "
        "iteration: the run pauses after training until then",
        "set sampler.serve to a command, and the run serves them itself",
    )


def _ask_servers(report: Preflight, config: RunConfig, servers: list[Server]) -> None:
    """Note servers that cannot be asked for M_0: one of several is missed, all of them stop the run."""
    path = resolve_path(config.model.path)
    name = served_name(config, str(path.absolute()) if path.exists() else config.model.path)
    problems = []
    for server in servers:
        try:
            served = server.models(seconds=5)
            if served is not None and name not in served:
                raise server.not_served(name)
        except Interrupted as cause:
            problems.append(cause)
    for problem in problems:
        if len(problems) == len(servers):
            report.error(problem)
        else:
            report.warn(problem, "the run goes on with the other servers until it is back")


def _check_architecture(report: Preflight, config: RunConfig, known_to_vllm: list[str]) -> None:
    """The checkpoint's architecture against the sampler's list, and its positions against `model.max_length`."""
    path = resolve_path(config.model.path)
    try:
        told = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # a hub name, or a folder that was found wanting already
    names = told.get("architectures") or []
    if config.sampler.kind == "vllm" and known_to_vllm and not set(names) & set(known_to_vllm):
        report.warn(
            f"vLLM does not list {', '.join(names) or 'this architecture'}",
            'it may run it through transformers; if not, set sampler.kind = "transformers"',
        )
    if config.sampler.kind == "transformers" and not config.model.trust_remote_code:
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

        if told.get("model_type") not in KNOWN:
            report.error(
                f"transformers knows no causal language model of type {told.get('model_type')!r}",
                "use another checkpoint, or read its code and set model.trust_remote_code",
            )
    positions = (told.get("text_config") or told).get("max_position_embeddings")
    if positions and config.model.max_length > positions:
        finding = report.error if config.sampler.kind == "vllm" else report.warn
        finding(
            f"model.max_length = {config.model.max_length} exceeds the model's {positions} positions",
            f"set model.max_length = {positions} or less",
        )


def _check_template(
    report: Preflight, config: RunConfig, tokenizer: Any, chats: Iterable[list[Message]]
) -> None:
    from lpd_core.samplers.chat import folds_system, opens_thinking, render

    has_system = any(chat[0]["role"] == "system" for chat in chats)
    if has_system and report.guard(folds_system, tokenizer):
        report.warn(
            "the chat template has no system turn", "system turns go to the head of the first user turn"
        )
    opens = opens_thinking(render(tokenizer, [{"role": "user", "content": "?"}]))
    if opens and config.model.thinking == "strip":
        report.warn(
            "the chat template makes the model think before each answer",
            'the thoughts count as tokens and are stripped; leave room for them, or set model.thinking = "off"',
        )
