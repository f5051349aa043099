"""The loop on the shipped model: real sampling, real clustering, real TRL training, real processes."""

import json

import pytest
import tomli_w
from conftest import SHARED

from tests.faults.kills import call

MODEL = {"path": "data/demo/model", "device": "cpu", "max_length": 512}
SHORT = {"temperature": 0.7, "max_tokens": 24}


def settings(train: list[str], prompts: int) -> dict:
    return {
        "name": "real",
        "iterations": 1,
        "data": {"train": train, "prompts_per_iteration": [prompts], "heldout_limit": 8},
        "model": MODEL,
        "e_step": {"n": 2, "chunk_prompts": 30, "draft": SHORT, "propose": SHORT, "refine": SHORT},
        "evaluate": {"draft": SHORT, "principle": SHORT, "refine": SHORT, "resamples": 200},
        "m_step": {"epochs": 1, "learning_rate": 1e-4, "batch_size": 8, "threads": 1, "train_draft": True},
    }


def run(home, tmp_path, tree):
    config = tmp_path / "run.toml"
    config.write_text(tomli_w.dumps(tree))
    told = call(home, "run", "--config", str(config), "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def query(home, sql):
    return json.loads(call(home, "sql", sql, "--json").stdout)


def test_one_iteration_trains_a_checkpoint_that_differs_and_keeps_every_promise(home, tmp_path):
    tree = settings(["data/demo/train.jsonl"], 40)
    tree["e_step"] |= {role: {**SHORT, "max_tokens": 96} for role in ("draft", "refine")}
    report = run(home, tmp_path, tree)
    assert report["iterations"]["1"]["m_step"]["training_rows"] > 0
    digests = query(home, "select model_in_digest i, model_out_digest o from iterations where iteration = 1")[
        0
    ]
    assert digests["i"] != digests["o"]
    losses = query(home, "select value from metrics where name = 'loss' order by step")
    assert losses and all(0 < row["value"] < 20 for row in losses)
    checked = call(home, "check", "--run", "last")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.skipif(
    not SHARED.exists(), reason="../shared/data is not here: the real public samples cannot be read"
)
def test_dolly_and_hh_rlhf_go_through_to_the_training_step(home, tmp_path):
    for name in ("dolly_sample", "hh_rlhf_harmless_benign_sample"):
        told = call(home, "data", "import", str(SHARED / f"{name}.jsonl"), "--json")
        assert told.returncode == 0, told.stderr
    rows = {row["name"]: row["n_rows"] for row in json.loads(call(home, "data", "list", "--json").stdout)}
    assert rows == {"dolly_sample": 600, "hh_rlhf_harmless_benign_sample": 160}
    tree = settings(["dolly_sample", "hh_rlhf_harmless_benign_sample"], 60)
    report = run(home, tmp_path, tree)
    mined = report["iterations"]["1"]["e_step"]
    assert mined["prompts"]["prompts"] == 60
    assert sum(mined["prompts"][name] for name in ("selected", "without_gain", "failed")) == 60
    assert sum(mined["acceptance"].values()) == query(home, "select count(*) n from candidates")[0]["n"]
    assert report["iterations"]["1"]["m_step"]["training_rows"] == mined["prompts"]["selected"]
    checked = call(home, "check", "--run", "last")
    assert checked.returncode == 0, checked.stdout + checked.stderr
