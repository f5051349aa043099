"""Two vLLM servers as one fleet: one is killed while a run mines, and started again; nothing is lost."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w
from conftest import PROJECT

from lpd_core.config import Sampling
from lpd_core.errors import Interrupted
from lpd_core.events import StageStarted
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.samplers.openai import ServerSampler
from lpd_core.samplers.server import Server
from lpd_core.samplers.serving import free_port
from lpd_core.store import Store
from lpd_core.types import SampleRequest
from tests.faults.kills import call
from tests.vllm.test_vllm import MODEL, SERVE, settings

START_SECONDS = 300.0


class Replica:
    """A server process on a port of its own, with everything that it starts."""

    def __init__(self, interpreter: str, folder: Path, number: int):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.log = folder / f"server-{number}.log"
        self.command = shlex.split(
            SERVE.format(python=interpreter).format(
                model=PROJECT / MODEL["path"], name="demo", port=self.port
            )
        )
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"},
            )

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            assert self.process.poll() is None, self.log.read_text()[-9000:]
            try:
                Server(self.url, SamplerConfig()).models(seconds=2)
                return
            except Interrupted:
                time.sleep(0.5)
        raise AssertionError(f"no server after {START_SECONDS:.0f} s: {self.log.read_text()[-3000:]}")


@pytest.fixture
def replicas(interpreter, tmp_path):
    started: list[Replica] = []
    try:
        for number in range(2):  # one after the other: each measures the memory that is free
            started.append(Replica(interpreter, tmp_path, number))
            started[-1].wait()
        yield started
    finally:
        for replica in started:
            replica.kill()


def mined(home: Path) -> dict:
    """The rows of the E-step of a home's only run."""
    rows = {}
    for table, order in (("drafts", "prompt_id"), ("candidates", "prompt_id, sample")):
        query = f"select * exclude run_id from {table} order by {order}"
        rows[table] = json.loads(call(home, "sql", query, "--json").stdout)
    return rows


def run_to_review(home: Path, tmp_path: Path, tree: dict) -> subprocess.Popen:
    config = tmp_path / f"{tree['name']}.toml"
    config.write_text(tomli_w.dumps({**tree, "review": True}))
    return subprocess.Popen(
        [sys.executable, "-m", "lpd_core", "run", "--config", str(config), "--json"],
        cwd=PROJECT,
        env={**os.environ, "LPD_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_mining(home: Path) -> None:
    """Until the E-step's first chunk is under way."""
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up:
        runs = list(home.glob("runs/*/events.jsonl"))
        events = Store(home).run(runs[0].parent.name).events()[0] if runs else []
        if any(isinstance(event, StageStarted) and event.stage == "e_step" for _, event in events):
            return
        time.sleep(0.2)
    raise AssertionError("the run does not mine")


def test_a_server_killed_while_a_run_mines_loses_no_row_and_works_again_when_it_is_back(replicas, tmp_path):
    alone = tmp_path / "alone"
    told = run_to_review(alone, tmp_path, settings("alone", kind="transformers"))
    assert told.wait(300) == 0, told.stderr.read()
    home = tmp_path / "fleet"
    fleet = {"kind": "openai", "urls": [replica.url for replica in replicas], "served": "demo"}
    tree = settings("fleet", **fleet, endpoint="completions", concurrency=1)
    running = run_to_review(home, tmp_path, tree)
    wait_for_mining(home)
    time.sleep(2.0)
    replicas[1].kill()
    assert running.wait(300) == 0, running.stderr.read()
    log = next(home.glob("runs/*/logs/001-e_step.log")).read_text()
    assert "a server is left out until it is back" in log and replicas[1].url in log
    rows = mined(home)
    assert rows == mined(alone) and len(rows["candidates"]) == 48

    sampler = ServerSampler(
        str(PROJECT / MODEL["path"]),
        "demo",
        ModelConfig(**MODEL),
        SamplerConfig(**fleet, endpoint="completions"),
    )
    assert sampler.fleet.replicas[1].lost
    replicas[1].start()
    chats = [({"role": "user", "content": f"Tell me about the number {n}."},) for n in range(16)]
    asked = [SampleRequest(chat, 1) for chat in chats]
    greedy = Sampling(temperature=0.0, max_tokens=24)
    first = sampler.sample(asked, greedy)
    give_up = time.monotonic() + START_SECONDS
    while not sampler.fleet.replicas[1].answered and time.monotonic() < give_up:
        assert sampler.sample(asked, greedy) == first
        time.sleep(1.0)
    assert sampler.fleet.replicas[1].answered and not sampler.fleet.replicas[1].lost
