"""A home that lost its database or some files is repaired; a backup taken in the middle of things goes on elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import PROJECT, example_rows, run_inline, small_settings, write_jsonl

from lpd_core import backups, gate, housekeeping, jobs, upkeep
from lpd_core.corpus import hub, read_corpus
from lpd_core.driver import drive
from lpd_core.errors import LpdError, UserError
from lpd_core.judge import Verdict, VerdictCache
from lpd_core.model_export import copy_model
from lpd_core.store import Database, Store, console, constitutions, corpora
from lpd_core.store import runs as run_table
from lpd_core.store.database import DatabaseBusy, DatabaseDamaged
from lpd_core.store.run_folder import write_text
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


KILLED = """
import os, signal, sys
from pathlib import Path
from lpd_core import upkeep
from lpd_core.store import Database, Store
owner = Database if sys.argv[2] == "create" else upkeep
real = getattr(owner, sys.argv[2])
def killed(*arguments):
    if sys.argv[3] == "after":
        real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, sys.argv[2], killed)
upkeep.repair(Store(Path(sys.argv[1])))
"""


def kill_a_repair(store, function, when="before"):
    """Begin a repair that is killed for good before or after one of its functions."""
    told = subprocess.run([sys.executable, "-c", KILLED, str(store.home), function, when], cwd=PROJECT)
    assert told.returncode == -signal.SIGKILL


def uses(home, tmp_path):
    """What people and runs want of a database."""
    return (
        lambda: run_table.list_runs(Store(home)),
        lambda: Store(home).database.execute("delete from runs"),
        lambda: Store(home).database.create(),
        lambda: console.read_only_query(Store(home), "select 1"),
        lambda: corpora.delete_dataset(Store(home), next((home / "datasets").iterdir()).name),
        lambda: backups.backup(Store(home), tmp_path / "half.tar"),
    )


@pytest.mark.parametrize(
    ("function", "when"), [("_move_aside", "after"), ("create", "after"), ("_repair_run", "before")]
)
def test_a_repair_that_was_cut_off_is_told_by_every_use_until_another_goes_through(
    store, edited, tmp_path, monkeypatch, function, when
):
    before, whole = store.database.path.read_bytes(), snapshot(store.home)
    warm = Store(store.home)
    warm.database.query("select 1")
    kill_a_repair(store, function, when)
    for use in (*uses(store.home, tmp_path), lambda: warm.database.query("select 1")):
        with pytest.raises(
            DatabaseDamaged, match=r"was cut off; run `python -m lpd_core repair` again"
        ) as told:
            use()
        assert "\n" not in str(told.value)
    assert (
        len(list(store.home.glob("datasets/*/prompts.parquet"))) == 3 and not (tmp_path / "half.tar").exists()
    )
    monkeypatch.setattr(
        upkeep, "_mirror_all", lambda store: pytest.fail("mirrored from a half-made database")
    )
    done = upkeep.repair(Store(store.home))
    assert compare(whole, snapshot(store.home)) == [] and done.damages == []
    assert (store.home / done.moved).read_bytes() == before
    assert [path.name for path in store.home.glob("*.before-repair-*")] == [done.moved]
    assert not list(store.home.glob("*.repairing"))


def test_a_repair_killed_before_it_moved_the_database_moves_it_aside_the_next_time(store, edited):
    before, whole = store.database.path.read_bytes(), snapshot(store.home)
    kill_a_repair(store, "_move_aside")
    done = upkeep.repair(Store(store.home))
    assert (store.home / done.moved).read_bytes() == before
    assert compare(whole, snapshot(store.home)) == []


def test_a_cut_off_repair_neither_gets_into_a_backup_nor_under_a_restored_home(store, edited, tmp_path):
    backups.backup(store, tmp_path / "all.tar")
    kill_a_repair(store, "create", "after")
    shutil.rmtree(store.home / "runs")
    shutil.rmtree(store.home / "datasets")
    store.database.path.unlink()
    with pytest.raises(UserError, match="in use"):
        backups.restore(tmp_path / "all.tar", store.home)


def test_a_repair_tells_older_databases_that_it_keeps_with_their_size(store, edited):
    first = upkeep.repair(store)
    size = (store.home / first.moved).stat().st_size
    second = upkeep.repair(store)
    assert first.damages == [] and first.moved != second.moved
    (told,) = second.damages
    assert f"{first.moved} ({size / 1e6:.1f} MB)" in told and second.moved not in told and "delete" in told
    assert (store.home / first.moved).exists()


@pytest.mark.parametrize("what", ["segment", "checkpoint"])
def test_what_a_killed_repair_set_aside_of_a_finished_run_is_still_done_again(
    store, edited, monkeypatch, what
):
    whole = snapshot(store.home)
    if what == "segment":
        (edited.segments / "001-e_step-00002" / "candidates.parquet").write_bytes(b"torn")
    else:
        (edited.checkpoint(1) / "scripted.json").unlink()
    shelve = upkeep._shelve

    def killed(*arguments):
        shelve(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as disturbed, pytest.raises(KeyboardInterrupt):
        disturbed.setattr(upkeep, "_shelve", killed)
        upkeep.repair(store)
    stage = "e_step" if what == "segment" else "m_step"
    assert edited.stage_result(1, stage) is None and edited.state().status == "interrupted"
    upkeep.repair(Store(store.home))
    drive(store, edited.run_id, inline=True)
    assert edited.state().status == "finished" and (edited.checkpoint(1) / "scripted.json").exists()
    moved = "iterations"  # their rows tell where the home was that this one is a copy of
    assert [line for line in compare(whole, snapshot(store.home)) if not line.startswith(moved)] == []


def damaged_verdicts(store, damage):
    """A file of kept verdicts that was torn or overwritten."""
    rows = [(f"key {n}", "", 0, Verdict("judge", f"digest {n}", "7", "said " * 50, 1)) for n in range(500)]
    VerdictCache(store.cache).put(rows)
    path = store.cache / "verdicts.sqlite"
    data = path.read_bytes()
    path.write_bytes(b"no database " * 500 if damage == "another file" else data[: len(data) // 2])
    return path


@pytest.mark.parametrize("damage", ["another file", "cut"])
def test_damaged_verdicts_are_set_aside_and_asked_for_again(store, edited, damage):
    path = damaged_verdicts(store, damage)
    with pytest.raises(LpdError, match="lpd_core repair` sets it aside") as told:
        VerdictCache(store.cache).get(f"key {n}" for n in range(500))
    assert str(path) in str(told.value) and "asked for again" in str(told.value)
    done = upkeep.repair(store)
    assert ["verdicts.sqlite" in damage for damage in done.damages] == [True]
    assert VerdictCache(store.cache).get(["key 1"]) == {}
    assert path.with_name("verdicts.sqlite.damaged").exists()
    VerdictCache(store.cache).put([("key 1", "", 0, Verdict("judge", "digest", "7", "said", 1))])
    assert VerdictCache(store.cache).get(["key 1"])["key 1"].value == "7"


def test_whole_verdicts_stay_where_they_are_also_while_somebody_writes_to_them(store, edited):
    VerdictCache(store.cache).put([("key", "", 0, Verdict("judge", "digest", "7", "said", 1))])
    with closing(sqlite3.connect(store.cache / "verdicts.sqlite")) as writer:
        writer.execute("begin exclusive")
        assert upkeep.repair(store).damages == []
    assert VerdictCache(store.cache).get(["key"])["key"].value == "7"


@pytest.fixture
def order(monkeypatch):
    """What was synced to the disk and what was given its name, in order, as ("sync" or "rename", path)."""
    done = []
    fsync, replace, rename = os.fsync, os.replace, Path.rename

    def synced(handle):
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def replaced(source, target):
        done.append(("rename", Path(source)))
        replace(source, target)

    def renamed(source, target):
        done.append(("rename", Path(source)))
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(Path, "rename", renamed)
    return done


def test_a_copied_model_is_on_the_disk_before_it_has_its_name(tmp_path, order):
    (tmp_path / "iter-1" / "inner").mkdir(parents=True)
    for name in ("model.safetensors", "inner/config.json"):
        (tmp_path / "iter-1" / name).write_text("x")
    copy_model(tmp_path / "iter-1", tmp_path / "copy")
    partial = tmp_path / "copy.partial"
    before = {path for what, path in order[: order.index(("rename", partial))] if what == "sync"}
    assert before == {
        partial,
        partial / "inner",
        partial / "model.safetensors",
        partial / "inner/config.json",
    }
    assert order[-1] == ("sync", tmp_path)


def test_a_fetched_data_set_is_on_the_disk_before_it_has_its_name(tmp_path, order, monkeypatch):
    path = fetched(tmp_path, monkeypatch)
    part = next(path for what, path in order if what == "rename")
    assert order == [("sync", part), ("rename", part), ("sync", path.parent)]


def fetched(cache, monkeypatch):
    """A data set of a hub that is no hub; where it was written."""
    written = SimpleNamespace(to_parquet=lambda path: Path(path).write_text("rows"))
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_, **__: written))
    path = cache / "hub" / "rows.parquet"
    hub._download(hub.HubSource("owner/name"), path)
    assert path.read_text() == "rows"
    return path


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_parts_of_data_sets_that_nobody_fetches_any_more_are_removed(tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    old, young = tmp_path / "hub" / "old.part", tmp_path / "hub" / "young.part"
    for path, seconds in ((old, 3700), (young, 1800)):
        path.write_text("rows")
        age(path, seconds)
    fetched(tmp_path, monkeypatch)
    assert young.exists() and not old.exists()


def test_a_backup_and_a_restored_home_are_on_the_disk_before_they_have_their_names(
    store, edited, tmp_path, order
):
    backups.backup(store, tmp_path / "all.tar")
    assert order[-1] == ("sync", tmp_path)
    order.clear()
    backups.restore(tmp_path / "all.tar", tmp_path / "other")
    moves = [place for place, (what, _) in enumerate(order) if what == "rename"]
    names = [order[place][1].name for place in moves]
    assert names == ["datasets", "runs", "lpd.duckdb"], "the database last: it says that the restore is done"
    synced = {path.name for what, path in order[: moves[0]] if what == "sync"}
    assert {"lpd.duckdb", "config.toml", "candidates.parquet", "segments", "001-e_step-00002"} <= synced
    home = ("sync", tmp_path / "other")
    assert home in order[moves[-2] : moves[-1]] and order[moves[-1] + 1] == home


CUT_RESTORE = """
import os, signal, sys
from pathlib import Path
from lpd_core import backups
archive, home, moves = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
replace = os.replace
def replaced(source, target):
    global moves
    if Path(target).parent == home:
        if not moves:
            os.kill(os.getpid(), signal.SIGKILL)
        moves -= 1
    replace(source, target)
os.replace = replaced
backups.restore(archive, home)
"""


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_restore_that_was_cut_off_is_told_and_begins_again(store, edited, tmp_path, moves):
    backups.backup(store, tmp_path / "all.tar")
    whole, home = snapshot(store.home), tmp_path / "other"
    arguments = [str(tmp_path / "all.tar"), str(home), str(moves)]
    assert subprocess.run([sys.executable, "-c", CUT_RESTORE, *arguments], cwd=PROJECT).returncode == -9
    for use in (lambda: run_table.list_runs(Store(home)), lambda: upkeep.repair(Store(home))):
        with pytest.raises(UserError, match=r"restore .*was cut off.* again"):
            use()
    (tmp_path / "bad.tar").write_bytes((tmp_path / "all.tar").read_bytes()[:30000])
    with pytest.raises(UserError):
        backups.restore(tmp_path / "bad.tar", home)
    assert backups.restore(tmp_path / "all.tar", home) == [edited.run_id]
    other = snapshot(home)
    other["iterations"] = [row.replace(str(store.home), "HOME") for row in other["iterations"]]
    assert compare(whole, other) == [] and not (home / ".restoring").exists()
    with pytest.raises(UserError, match="in use"):
        backups.restore(tmp_path / "all.tar", home)


def dead_pid():
    """The PID of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_what_killed_writers_of_a_file_left_is_removed_by_the_next(tmp_path):
    host, dead = socket.gethostname(), dead_pid()
    gone = [f".all.tar.{host}.{dead}.1", f".all.tar.elsewhere.{dead}.1", f".all.tar.{dead}.1"]
    kept = [
        f".all.tar.{host}.{os.getppid()}.1",
        f".all.tar.{host}.{dead}.2",
        f".all.tar.elsewhere.{dead}.2",
        f".all.tar.{dead}.2",
        f".other.tar.{host}.{dead}.1",
        f".all.tar.{host}.{dead}.notes",
        "all.tar.1.2",
    ]
    for name in (*gone, *kept):
        (tmp_path / name).write_text("x")
    age(tmp_path / gone[0], 120)
    for name in gone[1:]:
        age(tmp_path / name, 25 * 3600)
    write_text(tmp_path / "all.tar", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "all.tar"}


def test_a_writer_that_is_killed_leaves_nothing_once_the_next_is_done(tmp_path):
    code = """
import os, sys
from pathlib import Path
from lpd_core.store.run_folder import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "all.tar")], cwd=PROJECT)
    (left,) = tmp_path.iterdir()
    age(left, 120)
    write_text(tmp_path / "all.tar", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["all.tar"]


def test_uploads_of_dashboards_that_were_killed_go_when_the_next_is_made(tmp_path, monkeypatch):
    import streamlit

    from pages.components import data_import

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(streamlit, "session_state", {})
    for name, hours in (
        ("lpd-upload-old", 25),
        ("lpd-upload-used", 25),
        ("lpd-upload-young", 1),
        ("else", 25),
    ):
        file = tmp_path / name / "id" / "mine.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text("x")
        for path in (file, file.parent, file.parent.parent):
            age(path, hours * 3600 if path != file or name != "lpd-upload-used" else 60)
    sent = SimpleNamespace(file_id="1", name="mine.jsonl", getbuffer=lambda: b"rows")
    path = data_import.stored(sent)
    there = {each.name for each in tmp_path.iterdir()} - {path.parents[1].name}
    assert there == {"lpd-upload-used", "lpd-upload-young", "else"}
    shutil.rmtree(path.parents[1])  # as another dashboard does to a tab that was left open for days
    assert data_import.stored(sent).read_bytes() == b"rows"
