"""A home that lost its database or some files is repaired; a backup taken in the middle of things goes on elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile

import pytest
from conftest import PROJECT, example_rows, run_inline, small_settings, write_jsonl

from lpd_core import backups, gate, housekeeping, jobs, upkeep
from lpd_core.corpus import read_corpus
from lpd_core.driver import drive
from lpd_core.errors import UserError
from lpd_core.store import Database, Store, constitutions, corpora
from lpd_core.store import runs as run_table
from lpd_core.store.database import DatabaseBusy
from tests.faults.kills import compare, snapshot


@pytest.fixture(scope="module")
def edited_home(tmp_path_factory):
    """A home with a finished run whose first iteration was edited and saved under a name before its approval."""
    place = tmp_path_factory.mktemp("edited")
    store = Store(place / "home")
    folder = run_inline(store, {**small_settings(place), "review": True})
    ids = [entry.entry_id for entry in gate.current(store, folder.run_id, 1).active]
    gate.edit(store, folder.run_id, 1, "prune", {"id": ids[-1]}, "ann", "says nothing")
    gate.save(store, folder, 1, "ann", "without the last", alias="careful")
    for iteration in (1, 2):
        gate.approve(store, folder, iteration, "ann", "fine")
        jobs.release(store, folder)
        drive(store, folder.run_id, inline=True)
    return store.home


@pytest.fixture
def edited(store, edited_home):
    """A copy of that home's run, for damaging."""
    shutil.copytree(edited_home, store.home)
    return store.run("small-1")


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


def test_a_repair_killed_when_it_has_made_a_runs_row_anew_loses_no_edit(store, edited, monkeypatch):
    before = snapshot(store.home)
    (edited.root / "kept" / "runs.parquet").unlink()
    store.database.path.write_bytes(b"damaged")
    add_run = upkeep.run_table.add_run

    def killed(*arguments):
        add_run(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as disturbed, pytest.raises(KeyboardInterrupt):
        disturbed.setattr(upkeep.run_table, "add_run", killed)
        upkeep.repair(store)
    upkeep.repair(Store(store.home))
    assert [line for line in compare(before, snapshot(store.home)) if not line.startswith("runs:")] == []


def test_nobody_writes_while_a_repair_makes_the_database_anew(store, edited, monkeypatch):
    refused = []

    def disturbed(repair_run):
        def repair(*arguments):
            with pytest.raises(DatabaseBusy):
                Database(store.database.path, lock_seconds=0.1).execute("delete from runs")
            refused.append(1)
            return repair_run(*arguments)

        return repair

    for name in ("_mirror_all", "_move_aside", "_repair_run"):
        monkeypatch.setattr(upkeep, name, disturbed(getattr(upkeep, name)))
    before = snapshot(store.home)
    upkeep.repair(store)
    assert len(refused) == 3
    assert compare(before, snapshot(store.home)) == []
    Database(store.database.path).execute("delete from runs")


def test_a_backup_restored_elsewhere_holds_the_same_rows(store, edited, tmp_path):
    backups.backup(store, tmp_path / "all.tar")
    assert backups.restore(tmp_path / "all.tar", tmp_path / "other") == [edited.run_id]
    whole, other = snapshot(store.home), snapshot(tmp_path / "other")
    other["iterations"] = [row.replace(str(store.home), "HOME") for row in other["iterations"]]
    assert compare(whole, other) == []


def test_a_backup_in_the_middle_of_a_run_resumes_to_the_same_rows(store, scripted_settings, tmp_path):
    folder = run_inline(store, {**scripted_settings, "review": True})
    backups.backup(store, tmp_path / "middle.tar")
    for iteration in (1, 2):
        gate.approve(store, folder, iteration, "ann", "fine")
        drive(store, folder.run_id, inline=True)
    backups.restore(tmp_path / "middle.tar", tmp_path / "other")
    other = Store(tmp_path / "other")
    for iteration in (1, 2):
        gate.approve(other, other.run(folder.run_id), iteration, "ann", "fine")
        drive(other, folder.run_id, inline=True)
    assert compare(snapshot(store.home), snapshot(other.home)) == []


def test_a_restore_overwrites_nothing_and_wants_a_backup(store, edited, tmp_path):
    backups.backup(store, tmp_path / "all.tar")
    with pytest.raises(UserError, match="in use"):
        backups.restore(tmp_path / "all.tar", store.home)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(__file__, "../outside.py")
    with pytest.raises(UserError, match="no backup"):
        backups.restore(tmp_path / "other.tar", tmp_path / "new")
    assert not (tmp_path / "outside.py").exists()


def test_a_repair_keeps_what_only_a_whole_database_holds(store, edited):
    housekeeping.rename_run(store, edited.run_id, "a better name")
    whole = snapshot(store.home)
    shutil.rmtree(store.home / "datasets")  # as a kill between the commit and its mirror leaves it
    (edited.root / "kept" / "constitution_edits.parquet").write_bytes(b"torn")
    assert upkeep.repair(store).damages == []
    assert compare(whole, snapshot(store.home)) == []


def test_a_name_given_later_outlives_the_database(store, edited):
    housekeeping.rename_run(store, edited.run_id, "a better name")
    delete(edited)
    upkeep.repair(Store(store.home))
    assert run_table.list_runs(Store(store.home))[0]["name"] == "a better name"


def test_a_deleted_data_set_does_not_come_back(store, tmp_path):
    corpus = read_corpus(write_jsonl(tmp_path / "rows.jsonl", example_rows(5)))
    corpora.add_corpus(store, corpus, "rows.jsonl")
    corpora.delete_dataset(store, corpus.dataset_id)
    upkeep.repair(store)
    assert corpora.list_datasets(store) == []


@pytest.mark.parametrize("length", [0, "to the third section"])
def test_settings_that_were_cut_are_told_and_written_again(store, edited, length):
    path = edited.root / "config.toml"
    text = path.read_text()
    whole = edited.config()
    path.write_text(text[: text.index("\n[", text.index("\n[") + 5) + 1] if length else "")
    with pytest.raises(UserError, match="its end is missing"):
        edited.config()
    done = upkeep.repair(store)
    assert len(done.damages) == 1 and "config.toml" in done.damages[0]
    assert edited.config() == whole


def test_settings_that_are_gone_are_written_again(store, edited):
    whole = edited.config()
    (edited.root / "config.toml").unlink()
    assert len(upkeep.repair(store).damages) == 1
    assert edited.config() == whole and store.run_ids() == [edited.run_id]


def test_a_half_written_checkpoint_and_a_torn_mirror_do_not_stop_a_repair(store, edited):
    (edited.checkpoints / "iter-2.partial").mkdir()
    (edited.root / "kept" / "constitution_aliases.parquet").write_bytes(b"PAR1 torn")
    delete(edited)
    done = upkeep.repair(Store(store.home))
    assert len(done.damages) == 1 and "constitution_aliases.parquet" in done.damages[0]
    assert constitutions.approved_version(store, edited.run_id, 1) is not None


def test_a_segment_that_lost_one_of_its_tables_is_done_again(store, edited):
    whole = snapshot(store.home)
    (edited.segments / "001-e_step-00002" / "candidates.parquet").unlink()
    done = upkeep.repair(store)
    assert len(done.damages) == 1 and "001-e_step-00002" in done.damages[0]
    drive(store, edited.run_id, inline=True)
    assert compare(whole, snapshot(store.home)) == []


@pytest.mark.parametrize(
    "damage", [delete, lambda folder: os.truncate(folder.root.parents[1] / "lpd.duckdb", 0)]
)
def test_a_lost_database_is_not_silently_begun_anew(store, edited, damage):
    damage(edited)
    with pytest.raises(UserError, match="lpd_core repair"):
        run_table.list_runs(Store(store.home))


@pytest.mark.parametrize("where", ["cut at a member", "cut in a member", "a bit", "a header"])
def test_a_damaged_backup_is_refused_and_leaves_nothing_behind(store, edited, tmp_path, where):
    path = tmp_path / "all.tar"
    backups.backup(store, path)
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        member = archive.getmember(f"runs/{edited.run_id}/segments/001-e_step-00002/drafts.parquet")
    if where.startswith("cut"):
        del data[member.offset_data + 7 if where.startswith("cut in") else member.offset :]
    else:
        data[member.offset_data + (7 if where == "a bit" else -512 + 3)] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"cut short|damaged|unpacked"):
        backups.restore(path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_backup_beside_a_run_that_goes_on_resumes_to_the_same_rows(
    store, scripted_settings, tmp_path, monkeypatch
):
    """The run goes from its first review to its end between the copy of the database and that of the segments."""
    folder = run_inline(store, {**scripted_settings, "review": True})
    files = backups._files

    def go_on(*arguments):
        for iteration in (1, 2):
            gate.approve(store, folder, iteration, "ann", "fine")
            drive(store, folder.run_id, inline=True)
        return files(*arguments)

    monkeypatch.setattr(backups, "_files", go_on)
    backups.backup(store, tmp_path / "beside.tar")
    backups.restore(tmp_path / "beside.tar", tmp_path / "other")
    other = Store(tmp_path / "other")
    assert other.run(folder.run_id).state().status == "awaiting_review"
    for iteration in (1, 2):
        gate.approve(other, other.run(folder.run_id), iteration, "ann", "fine")
        drive(other, folder.run_id, inline=True)
    assert compare(snapshot(store.home), snapshot(other.home)) == []


def test_a_backup_holds_the_queue(store, edited, tmp_path):
    (store.home / "queue.json").write_text('{"waiting": ["small-1"]}')
    backups.backup(store, tmp_path / "all.tar")
    backups.restore(tmp_path / "all.tar", tmp_path / "other")
    assert (tmp_path / "other" / "queue.json").read_text() == '{"waiting": ["small-1"]}'


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


def test_files_that_go_away_while_a_backup_lists_them_are_passed_over(tmp_path):
    for name in (
        "a/one",
        "b/two",
        "c/three",
        ".part/four",
        "training/iter-1/five",
        "checkpoints/training/six",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    listed = backups._walk(tmp_path)
    assert next(listed) == tmp_path / "a" / "one"
    shutil.rmtree(tmp_path / "b")
    assert [path.name for path in listed] == ["three", "six"]
