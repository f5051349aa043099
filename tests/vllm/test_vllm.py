"""vLLM on a CPU, offline and as a server: one loop iteration each, with the rows that transformers gives."""

import json
import subprocess

import pytest
import tomli_w
from conftest import PROJECT

from tests.faults.kills import call

GREEDY = {"temperature": 0.0}
MODEL = {"path": "data/demo/model", "device": "cpu", "max_length": 512}
SERVE = (
    "{python} -m vllm.entrypoints.openai.api_server --model {{model}} --served-model-name {{name}} --port {{port}} "
    "--host 127.0.0.1 --dtype float32 --max-model-len 512 --enforce-eager --generation-config vllm "
    "--no-enable-chunked-prefill --max-num-batched-tokens 8192 --block-size 32 --enable-prompt-tokens-details"
)
TABLES = {
    "drafts": "prompt_id",
    "candidates": "prompt_id, sample",
    "evaluations": "benchmark, iteration, prompt_id",
    "training_rows": "prompt_id, sample",
}


@pytest.fixture(autouse=True)
def small_cache(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")


def settings(name: str, **sampler) -> dict:
    return {
        "name": name,
        "iterations": 1,
        "data": {"train": ["data/demo/train.jsonl"], "prompts_per_iteration": [24], "heldout_limit": 6},
        "model": MODEL,
        "sampler": sampler,
        "e_step": {
            "n": 2,
            "chunk_prompts": 12,
            "draft": {**GREEDY, "max_tokens": 80},
            "propose": {**GREEDY, "max_tokens": 24},
            "refine": {**GREEDY, "max_tokens": 96},
        },
        "evaluate": {
            **{role: {**GREEDY, "max_tokens": 48} for role in ("draft", "principle", "refine")},
            "resamples": 200,
        },
        "m_step": {"epochs": 1, "learning_rate": 1e-4, "batch_size": 4, "threads": 1, "train_draft": True},
        "cluster": {"layout": "pca"},
    }


def run(home, tmp_path, tree) -> dict:
    """One iteration; every table's rows, and what the E-step's sampler told of its prompts."""
    config = tmp_path / f"{tree['name']}.toml"
    config.write_text(tomli_w.dumps(tree))
    told = call(home, "run", "--config", str(config), "--json")
    logs = "\n".join(path.read_text()[-3000:] for path in home.glob("runs/*/logs/*.log"))
    assert told.returncode == 0, told.stderr + logs
    rows = {}
    for table, order in TABLES.items():
        query = f"select * from {table} order by {order}"
        rows[table] = json.loads(call(home, "sql", query, "--json").stdout)
        for row in rows[table]:
            row.pop("run_id", None), row.pop("eval_id", None)
    sql = "select summary from iterations where iteration = 1"
    summary = json.loads(json.loads(call(home, "sql", sql, "--json").stdout)[0]["summary"])
    return {"rows": rows, "sampling": summary["sampling"]["e_step"]}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    home = tmp_path_factory.mktemp("transformers")
    return run(home / "home", home, settings("transformers"))


def assert_same_rows(made: dict, expected: dict) -> None:
    for table in TABLES:
        assert made["rows"][table] == expected["rows"][table], table
    assert len(made["rows"]["candidates"]) == 48 and made["rows"]["training_rows"]


def test_the_offline_engine_goes_through_an_iteration_with_the_same_rows(interpreter, expected, tmp_path):
    made = run(tmp_path / "home", tmp_path, settings("offline", kind="vllm", python=interpreter))
    assert_same_rows(made, expected)
    assert made["sampling"]["prefix_hit_rate"] > 0.5


def test_vllms_server_goes_through_an_iteration_with_the_same_rows(interpreter, expected, tmp_path):
    tree = settings(
        "server", kind="openai", serve=SERVE.format(python=interpreter), served="demo", endpoint="completions"
    )
    made = run(tmp_path / "home", tmp_path, tree)
    assert_same_rows(made, expected)
    assert made["sampling"]["prefix_hit_rate"] > 0.5


SEEDED = """
import sys
from lpd_core.config import Sampling
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.samplers.vllm import VllmSampler
from lpd_core.types import SampleRequest

if __name__ == "__main__":
    config = SamplerConfig(kind="vllm", cpu_cache_gib=1, stop=["."])
    sampler = VllmSampler("data/demo/model", ModelConfig(max_length=512), config)
    words = "Tell me about the harbour and the garden, the market and the letter, in few words, please".split()
    chats = [({"role": "user", "content": " ".join(words[: 5 + n] * 3)},) for n in range(8)]
    asked = [SampleRequest(chat, 10 * n + s) for n, chat in enumerate(chats) for s in range(16)]
    warm = Sampling(temperature=1.0, top_p=0.9, max_tokens=40)
    made = sampler.sample(asked, warm)
    assert sampler.sample(asked[::-1], warm) == made[::-1], "a text depends on its batch"
    assert len({g.text for g in made}) > 20
    assert all("." not in g.text for g in made) and any(g.finish_reason == "stop" for g in made)
    long = SampleRequest(({"role": "user", "content": "and " * 900},), 1)
    refused, fine = sampler.sample([long, asked[0]], warm)
    assert refused.finish_reason == "overlong" and fine == made[0]
    print("all well")
"""


def test_seeded_rows_do_not_depend_on_their_batch_and_end_at_stop_texts(interpreter, tmp_path):
    script = tmp_path / "seeded.py"
    script.write_text(SEEDED)
    told = subprocess.run(
        [interpreter, str(script)],
        cwd=PROJECT,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(PROJECT),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
    )
    assert told.stdout.strip().endswith("all well"), told.stderr[-2000:]
