"""The E-step on Ray clusters of local nodes: the rows of a single process, also when a node dies or the stage does."""

import json
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import tomli_w

from lpd_core.config import parse_config
from lpd_core.errors import UserError
from lpd_core.events import ReplicaSeen, StageFinished
from lpd_core.execution import execution_of
from lpd_core.jobs import create_run
from lpd_core.store import Store
from tests.cluster.nodes import cluster
from tests.faults.kills import call

TABLES = {
    "drafts": "iteration, prompt_id",
    "candidates": "iteration, prompt_id, sample",
    "clusters": "iteration, cluster_id",
    "cluster_members": "iteration, cluster_id, principle_id",
    "training_rows": "iteration, prompt_id, sample",
    "evaluations": "iteration, benchmark, prompt_id, sample",
}
PROMPTS, N, CHUNK = 40, 2, 4


def settings(name: str, **sections) -> dict:
    """One greedy iteration on the demo's model, with sections laid over."""
    greedy = {"temperature": 0.0}
    tree = {
        "name": name,
        "iterations": 1,
        "data": {
            "train": ["data/demo/train.jsonl"],
            "prompts_per_iteration": [PROMPTS],
            "heldout_limit": 4,
        },
        "model": {"path": "data/demo/model", "device": "cpu", "max_length": 512},
        "e_step": {
            "n": N,
            "chunk_prompts": CHUNK,
            "draft": {**greedy, "max_tokens": 80},
            "propose": {**greedy, "max_tokens": 24},
            "refine": {**greedy, "max_tokens": 96},
        },
        "evaluate": {
            **{role: {**greedy, "max_tokens": 32} for role in ("draft", "principle", "refine")},
            "resamples": 200,
        },
        "m_step": {"epochs": 1, "learning_rate": 1e-4, "batch_size": 8, "threads": 1},
        "cluster": {"layout": "pca"},
    }
    for section, values in sections.items():
        tree[section] = {**tree.get(section, {}), **values}
    return tree


def start(home: Path, tree: dict) -> None:
    """Start a run that goes on by itself."""
    file = home.with_suffix(".toml")
    file.write_text(tomli_w.dumps(tree))
    told = call(home, "run", "--config", str(file), "--detach")
    assert told.returncode == 0, told.stderr


def finish(home: Path) -> None:
    """Wait for the run's end, which has to be a good one."""
    status = settled(home)
    assert status == "finished", "\n".join(p.read_text()[-2000:] for p in home.glob("runs/*/logs/*.log"))


def settled(home: Path) -> str:
    """The run's status once nothing drives it."""
    folder = Store(home).run("last")
    wait_for(lambda: not folder.is_driven() and folder.state().status not in ("queued", "running"), 900)
    return folder.state().status


def rows(home: Path) -> dict[str, list[dict]]:
    """Every table's rows in order, without the names of the run."""
    found = {}
    for table, order in TABLES.items():
        found[table] = Store(home).database.query(f"select * from {table} order by {order}")
        for row in found[table]:
            row.pop("run_id", None), row.pop("eval_id", None)
    return found


def replicas(home: Path) -> dict[str, ReplicaSeen]:
    """The last word of every replica."""
    events, _ = Store(home).run("last").events()
    return {event.replica: event for _, event in events if isinstance(event, ReplicaSeen)}


def segments(home: Path) -> set[str]:
    return {name for name in Store(home).run("last").segment_names() if "-e_step-" in name}


def wait_for(what, seconds: float = 600):
    """The first true value of `what()`."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if found := what():
            return found
        time.sleep(0.1)
    raise TimeoutError(what)


def wait_for_segments(home: Path, count: int) -> None:
    """Until some chunks are committed; a run that ends before fails the test."""
    broken = ("failed", "interrupted")
    folder = Store(home).run("last")
    wait_for(lambda: len(segments(home)) >= count or folder.state().status in broken)
    assert len(segments(home)) >= count, "\n".join(p.read_text()[-2000:] for p in folder.logs.glob("*.log"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The rows of one process of this machine, and the seconds of its E-step."""
    home = tmp_path_factory.mktemp("single") / "home"
    start(home, settings("single"))
    finish(home)
    return rows(home), e_step_seconds(home)


def e_step_seconds(home: Path) -> float:
    events, _ = Store(home).run("last").events()
    return next(e.seconds for _, e in events if isinstance(e, StageFinished) and e.stage == "e_step")


def test_three_nodes_of_which_one_is_killed_give_the_rows_of_one_process(interpreter, expected, tmp_path):
    home = tmp_path / "home"
    with cluster(interpreter, count=3, cpus=4) as nodes:  # a replica a node, room for two; none at the head
        spread = settings(
            "three-nodes",
            e_step={**settings("")["e_step"], "engine": "ray"},
            sampler={"python": interpreter},
            ray={"address": nodes.address, "cpus": 1.5},
        )
        start(home, spread)
        wait_for_segments(home, 1)
        killed = nodes.kill_one_of(r.node.split()[-1] for r in replicas(home).values() if r.role == "refine")
        left = PROMPTS // CHUNK - len(segments(home))
        finish(home)
    single, seconds = expected
    for table, want in single.items():
        assert rows(home)[table] == want, table
    assert len(rows(home)["candidates"]) == PROMPTS * N and left > 0
    told = replicas(home).values()
    assert {r.role for r in told} == {"draft", "propose", "refine", "score"}
    assert any(r.state == "lost" and r.node.endswith(killed[:6]) for r in told)
    assert 0 < sum(r.redone for r in told) <= sum(r.lost for r in told)
    print(
        f"single process {seconds:.0f} s, three nodes with one killed {e_step_seconds(home):.0f} s; chunks: "
        f"{sum(r.lost for r in told)} lost, {sum(r.redone for r in told)} redone"
    )


SCRIPTED = {
    "data": {"train": ["data/demo/train.jsonl"], "prompts_per_iteration": [60], "heldout_limit": 4},
    "model": {"path": ""},
    "cluster": {"embedder": "hash"},
    "ray": {"cpus": 0.25},
}


def asked(process, what, otherwise):
    """What a process says of itself; it may end at any moment."""
    with suppress(psutil.Error):
        return getattr(process, what)()
    return otherwise


def test_a_killed_stage_takes_ray_along_and_a_resume_does_only_the_chunks_that_are_missing(
    interpreter, tmp_path
):
    home = tmp_path / "home"
    scripted = {**SCRIPTED, "sampler": {"kind": "scripted", "python": interpreter}}
    tree = settings("killed", **scripted)
    tree["e_step"] |= {"engine": "ray", "chunk_prompts": 1}
    start(home, tree)
    folder = Store(home).run("last")
    wait_for_segments(home, 2)
    (stage,) = psutil.Process(folder.state().pid).children()
    # Ray's two agents take up to a minute to notice; what matters is who holds models, memory and segments.
    workers = [p for p in stage.children(recursive=True) if "Operator" in " ".join(asked(p, "cmdline", []))]
    assert workers
    stage.kill()
    assert settled(home) == "interrupted"
    before = {name: (folder.segments / name).stat().st_mtime_ns for name in segments(home)}
    wait_for(lambda: all(asked(p, "status", "gone") in ("gone", psutil.STATUS_ZOMBIE) for p in workers), 60)
    assert 2 <= len(before) < 60
    assert call(home, "resume", "last", "--detach").returncode == 0
    finish(home)
    after = {name: (folder.segments / name).stat().st_mtime_ns for name in segments(home)}
    assert len(after) == 60 and {name: after[name] for name in before} == before
    alone = tmp_path / "alone"
    tree["e_step"]["engine"] = "processes"
    start(alone, {**tree, "name": "alone", "sampler": {"kind": "scripted"}})
    finish(alone)
    assert rows(home) == rows(alone)


def test_a_cluster_that_is_not_there_is_told_in_one_line(interpreter, tmp_path):
    home = tmp_path / "home"
    tree = settings("nowhere", **{**SCRIPTED, "ray": {"address": "127.0.0.1:1"}})
    tree |= {"sampler": {"kind": "scripted", "python": interpreter}}
    tree["e_step"]["engine"] = "ray"
    start(home, tree)
    assert settled(home) == "failed"
    told = json.loads(call(home, "status", "last", "--json").stdout)
    assert "no Ray cluster answers at ray.address = 127.0.0.1:1" in told["error"]
    assert "\n" not in told["error"]


def test_what_a_replica_cannot_do_is_told_in_its_own_words(interpreter, tmp_path):
    store = Store(tmp_path / "home")
    tree = settings(
        "nobody", **SCRIPTED, sampler={"kind": "scripted", "script": "nobody", "python": interpreter}
    )
    tree["e_step"]["engine"] = "ray"
    folder = create_run(store, parse_config(tree))
    with pytest.raises(UserError, match=r"^unknown script 'nobody'; allowed: echo$"):
        execution_of(store, folder)("e_step", 1)
