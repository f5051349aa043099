"""A home that lost its database or some files is repaired; a backup taken in the middle of things goes on elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile

import pytest
from conftest import PROJECT, run_inline

from lpd_core import gate, jobs, upkeep
from lpd_core.driver import drive
from lpd_core.errors import UserError
from lpd_core.store import Store, constitutions
from tests.faults.kills import compare, snapshot


@pytest.fixture
def edited(store, scripted_settings):
    """A finished run whose first iteration was edited and saved under a name before its approval."""
    folder = run_inline(store, {**scripted_settings, "review": True})
    ids = [entry.entry_id for entry in gate.current(store, folder.run_id, 1).active]
    gate.edit(store, folder.run_id, 1, "prune", {"id": ids[-1]}, "ann", "says nothing")
    gate.save(store, folder, 1, "ann", "without the last", alias="careful")
    for iteration in (1, 2):
        gate.approve(store, folder, iteration, "ann", "fine")
        jobs.release(store, folder)
        drive(store, folder.run_id, inline=True)
    return folder


def damage_nothing(folder):
    pass


def truncate(folder):
    path = folder.root.parent.parent / "lpd.duckdb"
    path.write_bytes(path.read_bytes()[:5000])


def delete(folder):
    (folder.root.parent.parent / "lpd.duckdb").unlink()


@pytest.mark.parametrize("damage", [damage_nothing, truncate, delete])
def test_a_repair_brings_every_row_back(store, edited, damage):
    whole = snapshot(store.home)
    damage(edited)
    done = upkeep.repair(Store(store.home))
    assert done.damages == []
    assert compare(whole, snapshot(store.home)) == []
    assert constitutions.aliases(Store(store.home), edited.run_id)


def test_the_database_before_a_repair_is_kept(store, edited):
    before = store.database.path.read_bytes()
    done = upkeep.repair(store)
    assert (store.home / done.moved).read_bytes() == before


@pytest.mark.parametrize("how", ["torn", "deleted"])
def test_a_lost_segment_is_named_and_done_again(store, edited, how):
    whole = snapshot(store.home)
    segment = edited.segments / "001-e_step-00002"
    if how == "torn":
        path = segment / "candidates.parquet"
        path.write_bytes(path.read_bytes()[:100])
    else:
        shutil.rmtree(segment)
    done = upkeep.repair(store)
    assert len(done.damages) == 1 and "001-e_step-00002" in done.damages[0]
    assert edited.state().status == "interrupted"
    drive(store, edited.run_id, inline=True)
    assert compare(whole, snapshot(store.home)) == []


def test_a_repair_waits_for_nobody_and_refuses_a_run_at_work(store, edited):
    with edited.driving(), pytest.raises(UserError, match="stop it first"):
        upkeep.repair(store)


def test_a_backup_restored_elsewhere_holds_the_same_rows(store, edited, tmp_path):
    upkeep.backup(store, tmp_path / "all.tar")
    assert upkeep.restore(tmp_path / "all.tar", tmp_path / "other") == [edited.run_id]
    whole, other = snapshot(store.home), snapshot(tmp_path / "other")
    other["iterations"] = [row.replace(str(store.home), "HOME") for row in other["iterations"]]
    assert compare(whole, other) == []


def test_a_backup_in_the_middle_of_a_run_resumes_to_the_same_rows(store, scripted_settings, tmp_path):
    folder = run_inline(store, {**scripted_settings, "review": True})
    upkeep.backup(store, tmp_path / "middle.tar")
    for iteration in (1, 2):
        gate.approve(store, folder, iteration, "ann", "fine")
        drive(store, folder.run_id, inline=True)
    upkeep.restore(tmp_path / "middle.tar", tmp_path / "other")
    other = Store(tmp_path / "other")
    for iteration in (1, 2):
        gate.approve(other, other.run(folder.run_id), iteration, "ann", "fine")
        drive(other, folder.run_id, inline=True)
    assert compare(snapshot(store.home), snapshot(other.home)) == []


def test_a_restore_overwrites_nothing_and_wants_a_backup(store, edited, tmp_path):
    upkeep.backup(store, tmp_path / "all.tar")
    with pytest.raises(UserError, match="in use"):
        upkeep.restore(tmp_path / "all.tar", store.home)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(__file__, "../outside.py")
    with pytest.raises(UserError, match="no backup"):
        upkeep.restore(tmp_path / "other.tar", tmp_path / "new")
    assert not (tmp_path / "outside.py").exists()


def test_the_commands_tell_what_they_did(store, edited, tmp_path):
    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "lpd_core", *map(str, arguments)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )

    assert "1 runs" in call("repair").stdout
    assert "MB" in call("backup", tmp_path / "b.tar").stdout
    again = call("backup", tmp_path / "b.tar")
    assert again.returncode == 2 and "exists already" in again.stderr
