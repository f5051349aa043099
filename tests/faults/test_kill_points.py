"""Killed between two steps of what changes more than one thing: nothing is lost, doubled or mixed with another's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from conftest import PROJECT, example_rows, run_inline, small_settings, write_jsonl

from lpd_core import gate, housekeeping, jobs, upkeep
from lpd_core.config import parse_config
from lpd_core.corpus import read_corpus
from lpd_core.driver import drive
from lpd_core.errors import DataError, Interrupted, UserError
from lpd_core.queue import Queue
from lpd_core.store import Store, constitutions, corpora, evaluating, mirror, votes
from lpd_core.store.votes import Ballot, System
from tests.faults.kills import compare, snapshot


@pytest.fixture
def settings(tmp_path):
    return {**small_settings(tmp_path), "iterations": 1}


@pytest.fixture
def waiting(store, settings):
    """A run that waits for its review."""
    return run_inline(store, {**settings, "review": True})


def kill_at(name: str, store, code: str, *arguments: str) -> None:
    """Run some code in a process that ends, without a word, where it comes to the function of that name."""
    module, function = name.rsplit(".", 1)
    killed = f"import importlib, os; importlib.import_module({module!r}).{function} = lambda *a, **k: os._exit(9)\n"
    lines = killed + "import json, sys\nfrom lpd_core.store import Store\nstore = Store(sys.argv[1])\n" + code
    told = subprocess.run(
        [sys.executable, "-c", lines, str(store.home), *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 9, told.stderr


def differing(store, settings, tmp_path) -> list[str]:
    """In what a home differs from one that knows nothing but a run of these settings; principles are shared by runs."""
    clean = Store(tmp_path / "clean")
    run_inline(clean, settings)
    found = compare(snapshot(clean.home), snapshot(store.home))
    return [line for line in found if not line.startswith("principles: 0 missing")]


CREATE = """
from lpd_core import jobs
from lpd_core.config import parse_config
jobs.create_run(store, parse_config(json.loads(sys.argv[2])))
"""
DELETE = "from lpd_core import housekeeping\nhousekeeping.delete_run(store, sys.argv[2])"


def test_a_creation_that_was_killed_is_no_run_and_the_next_is_made_of_its_own_prompts_only(
    store, settings, tmp_path
):
    kill_at("lpd_core.store.runs.add_run", store, CREATE, json.dumps({**settings, "seed": 1}))
    assert list(store.runs.glob(".*")) and store.run_ids() == []
    assert run_inline(store, {**settings, "seed": 2}).run_id == "small-1"
    assert differing(store, {**settings, "seed": 2}, tmp_path) == []
    assert list(store.runs.glob(".*")) == []


def test_what_a_person_hides_beside_the_runs_stays(store, settings):
    hidden = [store.runs / name for name in (".snapshot", ".demo-1", ".old runs")]
    for folder in hidden:
        folder.mkdir(parents=True)
    jobs.create_run(store, parse_config(settings))
    assert all(folder.is_dir() for folder in hidden) and store.run_ids() == ["small-1"]


def test_a_deletion_that_was_killed_does_not_come_back_with_a_repair(store, settings, tmp_path):
    run_inline(store, {**settings, "seed": 1})
    kill_at("shutil.rmtree", store, DELETE, "small-1")
    run_inline(store, {**settings, "seed": 2})
    upkeep.repair(store)
    assert differing(store, {**settings, "seed": 2}, tmp_path) == []


def test_a_run_takes_nothing_over_from_one_whose_folder_somebody_removed(store, settings, tmp_path):
    gone = run_inline(store, {**settings, "seed": 1})
    votes.record(store, ballot(gone.run_id), "ann", "a")
    shutil.rmtree(gone.root)
    run_inline(store, {**settings, "seed": 2})
    assert differing(store, {**settings, "seed": 2}, tmp_path) == []
    assert votes.tallies(store, "small-1") == []


def test_the_id_of_a_run_that_another_runs_votes_name_is_not_given_again(store, settings):
    one, two = (jobs.create_run(store, parse_config(settings)).run_id for _ in range(2))
    votes.record(store, ballot(two, other=one), "ann", "a")
    housekeeping.delete_run(store, one)
    assert jobs.create_run(store, parse_config(settings)).run_id == "small-3"


def test_an_approval_that_was_killed_before_it_let_the_run_go_on_is_gone_on_with(store, waiting):
    gate.approve(store, waiting, 1, "ann", "fine")
    assert waiting.state().status == "awaiting_review"
    queue = Queue(store)
    queue.attend = lambda: None
    assert queue.add(waiting.run_id) == 1
    drive(store, waiting.run_id, inline=True)
    assert waiting.state().status == "finished"


def test_a_late_approval_does_not_put_a_finished_run_back(store, waiting):
    gate.approve(store, waiting, 1, "ann", "fine")
    jobs.release(store, waiting)
    drive(store, waiting.run_id, inline=True)
    jobs.release(store, waiting)
    assert waiting.state().status == "finished"


def ballot(run: str, other: str = "") -> Ballot:
    systems = (System(1, "y2"), System(0, "y2", other))
    return Ballot(run, None, ({"role": "user", "content": "x"},), systems, ("new", "old"))


CHANGES = {
    "vote": (lambda store, run: votes.record(store, ballot(run.run_id), "ann", "a"), "votes"),
    "edit": (
        lambda store, run: gate.edit(store, run.run_id, 1, "add", {"text": "Be kind."}, "ann"),
        "constitution_edits",
    ),
    "save": (lambda store, run: gate.save(store, run, 1, "ann", "so far"), "constitution_versions"),
    "alias": (
        lambda store, run: constitutions.set_alias(store, run.run_id, "mine", 1, 1),
        "constitution_aliases",
    ),
    "create": (lambda store, run: jobs.create_run(store, run.config()), "runs"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_told_as_failed_was_not_done(store, waiting, monkeypatch, change):
    act, table = CHANGES[change]
    before = snapshot(store.home), store.run_ids(), rows(store, table), rows(store, "assignments")

    def full(*arguments):
        raise Interrupted("cannot write the mirror: the disk is full")

    with monkeypatch.context() as disturbed, pytest.raises(Interrupted):
        disturbed.setattr(mirror, "_copy", full)
        act(store, waiting)
    assert (snapshot(store.home), store.run_ids(), rows(store, table), rows(store, "assignments")) == before
    act(store, waiting)
    assert rows(store, table) == before[2] + 1


def rows(store, table: str) -> int:
    return store.database.query(f"select count(*) n from {table}")[0]["n"]


IMPORT = """
from lpd_core.corpus import read_corpus
from lpd_core.store import corpora
corpora.add_corpus(store, read_corpus(sys.argv[2]), "here")
"""


def test_an_import_killed_before_its_mirror_is_no_import(store, settings):
    store.database.query("select 1")
    kill_at("lpd_core.store.mirror.keep_dataset", store, IMPORT, settings["data"]["train"][0])
    assert corpora.list_datasets(store) == []


def test_a_run_mirrors_what_an_older_version_left_without(store, settings):
    folder = jobs.create_run(store, parse_config(settings))
    before = store.database.query("select count(*) n from prompts")
    shutil.rmtree(store.home / "datasets")
    shutil.rmtree(folder.root / "kept")
    drive(store, folder.run_id, inline=True)
    store.database.path.unlink()
    upkeep.repair(store)
    assert store.database.query("select count(*) n from prompts") == before


def test_a_measurement_of_a_run_that_was_deleted_meanwhile_leaves_no_half_run(store, settings):
    folder = run_inline(store, settings)
    housekeeping.delete_run(store, folder.run_id)
    row = {"benchmark": "b", "system": "M_1", "prompt_id": "p", "score": 1.0}
    with pytest.raises(UserError, match="run small-1 was deleted meanwhile"):
        evaluating.keep_measured(store, folder, 1, "check", [row])
    assert not folder.root.exists() and rows(store, "evaluations") == 0


def test_a_data_set_deleted_while_a_run_is_made_of_it_is_told(store, settings, monkeypatch):
    assign = jobs.assign_prompts

    def deleted_after(store, config):
        found = assign(store, config)
        housekeeping.delete_dataset(store, corpora.list_datasets(store)[0]["dataset_id"])
        return found

    monkeypatch.setattr(jobs, "assign_prompts", deleted_after)
    with pytest.raises(UserError, match="was deleted while the run was made; import it again"):
        jobs.create_run(store, parse_config(settings))
    assert store.run_ids() == [] and rows(store, "runs") == 0


def test_a_data_set_of_a_run_whose_creation_was_killed_late_is_not_deleted(store, settings):
    kill_at("lpd_core.store.runs.ingest", store, CREATE, json.dumps(settings))
    (run,) = store.run_ids()
    with pytest.raises(DataError, match=f"is used by {run}"):
        housekeeping.delete_dataset(store, corpora.list_datasets(store)[0]["dataset_id"])
    drive(store, run, inline=True)


def test_a_torn_segment_of_a_run_keeps_no_other_data_set_from_being_deleted(store, settings, tmp_path):
    folder = run_inline(store, settings)
    store.database.execute("delete from segments where name like '%evaluate%'")
    next(folder.segments.glob("*evaluate*/*.parquet")).write_bytes(b"torn")
    other = write_jsonl(tmp_path / "other.jsonl", example_rows(3, first=300))
    corpus = read_corpus(other)
    corpora.add_corpus(store, corpus, "here")
    assert housekeeping.delete_dataset(store, corpus.dataset_id) == 3


def test_a_data_set_deleted_until_its_mirror_was_gone_is_deleted_by_asking_again(store, settings):
    jobs.create_run(store, parse_config(settings))
    housekeeping.delete_run(store, "small-1")
    (dataset, *_) = [row["dataset_id"] for row in corpora.list_datasets(store)]
    code = "from lpd_core import housekeeping\nhousekeeping.delete_dataset(store, sys.argv[2])"
    kill_at("shutil.rmtree", store, code, dataset)
    housekeeping.delete_dataset(store, dataset)
    store.database.path.unlink()
    upkeep.repair(store)
    assert dataset not in [row["dataset_id"] for row in corpora.list_datasets(store)]
