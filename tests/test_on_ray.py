"""What the nodes of a Ray cluster do with chunks, and the books of it, without Ray; with it: `make test-cluster`."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from conftest import run_inline
from test_sampler_checks import found, weights  # noqa: F401 (a fixture)

from lpd_core.build import build_parts, build_sampler, build_scorer
from lpd_core.config import load_config, parse_config, resolve_path
from lpd_core.corpus import read_corpus
from lpd_core.e_step import Discovery, tables_of
from lpd_core.errors import ConfigError
from lpd_core.events import ReplicaSeen, Warned
from lpd_core.execution import Execution
from lpd_core.on_ray import watch as watch_module
from lpd_core.on_ray.steps import SCORE, Chunk, Worker, sampled_steps
from lpd_core.on_ray.watch import Watch
from lpd_core.prompts import load_templates
from lpd_core.stage import commit
from lpd_core.store.run_folder import RunFolder


def worker_of(config, tmp_path) -> Worker:
    path = str(resolve_path(config.model.path))
    return Worker(config, load_templates(config.prompts), (), tmp_path / "run", tmp_path, 1, path, SCORE)


def tables_in(folder) -> dict[str, list[dict]]:
    import pyarrow.parquet

    files = sorted(folder.segments.glob("*/*.parquet"))
    return {f"{p.parent.name}/{p.stem}": pyarrow.parquet.read_table(p).to_pylist() for p in files}


@pytest.mark.parametrize("critique", [False, True])
def test_a_chunk_that_goes_from_node_to_node_has_the_rows_of_one_process_with_sampling_on(tmp_path, critique):
    short = [
        f"e_step.{role}.max_tokens={size}"
        for role, size in (("draft", 40), ("propose", 16), ("critique", 16), ("refine", 40))
    ]
    switch = f"e_step.use_critique={str(critique).lower()}"
    config = load_config("demo", None, ["e_step.n=2", switch, "e_step.skip_above=0.5", *short])
    examples = tuple(read_corpus(resolve_path("data/demo/train.jsonl")).examples[:6])
    worker = worker_of(config, tmp_path)
    alone = Discovery(
        build_sampler(config, worker.model),
        build_scorer(config, tmp_path),
        worker.templates,
        config,
        1,
    )
    expected = RunFolder(tmp_path / "alone" / "run")
    for root in (expected.root, worker.root):
        root.mkdir(parents=True)
    commit(expected, 1, "e_step", 3, tables_of(*alone.discover(examples)))

    chunk = Chunk(3, examples)
    for step in [*sampled_steps(config), SCORE]:
        there = pickle.loads(pickle.dumps(replace(worker, step=step)))
        chunk = there.work(pickle.loads(pickle.dumps(chunk)))
    assert tables_in(RunFolder(worker.root)) == tables_in(expected)
    assert len(tables_in(expected)["001-e_step-00003/drafts"]) == 6
    assert chunk.clock["tokens"] > 100 and chunk.clock["overlong"] == 0

    before = tables_in(RunFolder(worker.root))
    assert (
        worker.work(Chunk(3, examples)).number == 3
    )  # done again after a loss: nothing is asked, nothing changes
    assert tables_in(RunFolder(worker.root)) == before


def test_two_nodes_that_commit_one_chunk_at_once_leave_one_of_them_whole(tmp_path, monkeypatch):
    import os

    folder, replaced = RunFolder(tmp_path / "run"), os.replace
    folder.root.mkdir()

    def late(source, target):
        monkeypatch.setattr(os, "replace", replaced)
        folder.write_segment(1, "e_step", 0, {"drafts": [{"text": "of the other node"}]})
        replaced(source, target)

    monkeypatch.setattr(os, "replace", late)
    monkeypatch.setattr("socket.gethostname", iter(["one", "other"]).__next__)
    folder.write_segment(1, "e_step", 0, {"drafts": [{"text": "of this node"}]})
    assert [path.name for path in folder.segments.iterdir()] == ["001-e_step-00000"]
    assert tables_in(folder) == {"001-e_step-00000/drafts": [{"text": "of the other node"}]}


def told(events) -> dict[str, tuple]:
    return {e.replica: (e.state, e.pieces, e.lost, e.redone) for e in events if isinstance(e, ReplicaSeen)}


def test_chunks_of_a_lost_node_are_counted_lost_there_and_redone_elsewhere():
    watch = Watch(1, "e_step")
    watch.ready("refine a.1", "10.0.0.1", "a", "refine")
    watch.ready("refine b.1", "10.0.0.2", "b", "refine")
    for chunk in (0, 1):
        watch.began("refine a.1", chunk)
        watch.ended("refine a.1", chunk, tokens=50)
    watch.began("refine a.1", 2)
    watch.began("refine b.1", 3)
    assert told(watch.look({"a", "b"})) == {
        "refine a.1": ("working", 2, 0, 0),
        "refine b.1": ("working", 0, 0, 0),
    }
    assert watch.look({"a", "b"}) == []
    assert told(watch.look({"b"})) == {"refine a.1": ("lost", 2, 1, 0)}
    watch.ended("refine b.1", 3, tokens=50)
    for chunk in (2, 1):  # one at work, and one finished whose result was kept on the lost node
        watch.began("refine b.1", chunk)
        watch.ended("refine b.1", chunk, tokens=50)
    assert told(watch.look({"b"})) == {"refine a.1": ("lost", 2, 2, 0), "refine b.1": ("idle", 3, 0, 2)}


def test_a_worker_that_died_alone_is_known_lost_once_its_chunk_is_with_another():
    watch = Watch(1, "e_step")
    for name in ("draft a.1", "draft a.2"):
        watch.ready(name, "10.0.0.1", "a", "draft")
    watch.began("draft a.1", 0)
    watch.began("draft a.2", 0)
    assert told(watch.look({"a"})) == {"draft a.1": ("lost", 0, 1, 0), "draft a.2": ("working", 0, 0, 0)}


def test_a_chunk_that_takes_far_longer_than_others_is_told_once(monkeypatch):
    monkeypatch.setattr(watch_module, "SLOW_SECONDS", 0.05)
    clock = [0.0]
    monkeypatch.setattr(watch_module, "time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time))
    watch = Watch(1, "e_step")
    watch.ready("refine a.1", "10.0.0.1", "a", "refine")
    watch.began("refine a.1", 0)
    clock[0] += 0.005
    watch.ended("refine a.1", 0, tokens=5)
    watch.began("refine a.1", 1)
    watch.look({"a"})
    clock[0] += 0.1
    (warning,) = watch.look({"a"})
    assert isinstance(warning, Warned) and "refine a.1 on 10.0.0.1 has had chunk 1" in warning.message
    assert watch.look({"a"}) == []


def test_without_ray_the_stage_and_the_checks_say_what_to_install(store, scripted_settings, monkeypatch):
    import sys

    from lpd_core.errors import UserError
    from lpd_core.preflight import check_run

    scripted_settings["e_step"] |= {"engine": "ray"}
    told = [error.what for error in check_run(store, parse_config(scripted_settings)).errors]
    assert len(told) == 1 and 'e_step.engine = "ray"' in told[0] and "has no Ray" in told[0]
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"install requirements-cluster\.txt"):
        run_inline(store, scripted_settings)


def test_a_server_that_each_replica_would_start_is_refused(weights):  # noqa: F811
    said = found(weights, kind="openai", serve="serve {model} {port}", e_step={"engine": "ray"})
    assert "starts a server for each replica" in said


def test_the_stage_on_ray_is_one_process_whatever_the_workers(store, scripted_settings):
    scripted_settings["sampler"] |= {"workers": 3}
    for engine, count in (("processes", 3), ("ray", 1)):
        scripted_settings["e_step"] |= {"engine": engine}
        config = parse_config(scripted_settings)
        execution = Execution(store, RunFolder(store.home), config, build_parts(config, store.cache))
        assert (execution.processes_of("e_step"), execution.processes_of("evaluate")) == (count, 3)


def test_settings_that_no_cluster_has_are_refused():
    for wrong in ('ray.address="ray://head:10001"', "ray.min_replicas=3"):
        with pytest.raises(ConfigError, match="ray"):
            load_config("smoke", None, [wrong])
