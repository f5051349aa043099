"""Small clustered iterations for tests: any principles, clustered by the real stage with the hashing embedder."""

from __future__ import annotations

import json

from lpd_core.config import RunConfig, load_config
from lpd_core.execution import execution_of
from lpd_core.store import RunFolder, RunState, Store, runs
from lpd_core.store.arrow import insert

RUN = "small-1"
VERBS = ("Name", "Weigh", "Check", "State", "Shorten")
THINGS = ("the source", "every risk", "the main result")
TEXTS = [f"{verb} {thing}." for verb in VERBS for thing in THINGS]


def settings(*more: str) -> RunConfig:
    """The configuration of a run that clusters by words, at a fixed cut."""
    return load_config(
        "demo",
        None,
        [
            'cluster.embedder="hash"',
            'cluster.layout="pca"',
            'cluster.choose="threshold"',
            "cluster.threshold=0.4",
            *more,
        ],
    )


def clustered_home(
    store: Store, texts: list[str], *more: str, iteration: int = 1, done: bool = True
) -> RunFolder:
    """A run whose iteration mined the texts, text n by 1 + n % 3 trajectories of gain 0.1 and more, and clustered
    them; with `done` False it was not clustered yet."""
    config = settings(*more)
    folder = RunFolder(store.runs / RUN)
    folder.create(config, {})
    folder.write_state(RunState("awaiting_review", iteration, "cluster"))
    runs.add_run(store, RUN, config, {})
    mined = [(n, text, k) for n, text in enumerate(texts) for k in range(1 + n % 3)]
    with store.database.write() as connection:
        insert(connection, "datasets", [{"dataset_id": "d1", "name": "answers"}])
        insert(connection, "iterations", [{"run_id": RUN, "iteration": iteration, "stage": "cluster"}])
        insert(connection, "prompts", [_prompt(n, k) for n, _, k in mined])
        insert(connection, "candidates", [_candidate(n, text, k, iteration) for n, text, k in mined])
    if done:
        execution_of(store, folder, inline=True)("cluster", iteration)
    return folder


def _prompt(n: int, k: int) -> dict:
    messages = json.dumps([{"role": "user", "content": f"Question {n} of {k}?"}])
    return {
        "dataset_id": "d1",
        "prompt_id": f"d1:{n}-{k}",
        "split": "train",
        "messages": messages,
        "gold": "An answer.",
    }


def _candidate(n: int, text: str, k: int, iteration: int) -> dict:
    return {
        "run_id": RUN,
        "iteration": iteration,
        "prompt_id": f"d1:{n}-{k}",
        "sample": 0,
        "principle": text,
        "response": "An answer.",
        "score": 0.5,
        "gain": 0.1 + n / 100,
        "status": "accepted",
        "selected": True,
        "principle_id": f"p{n:03d}",
        "tokens": 10,
    }
