"""Files of a home that were torn, overwritten or deleted: resumed to the same rows, or one line that names the damaged
thing and `python -m lpd_core repair`, after which a resume ends with the rows of an undamaged run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import PROJECT, run_inline, small_settings

from lpd_core import gate, jobs, loop, upkeep
from lpd_core.config import parse_config
from lpd_core.driver import drive
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.events import StageFinished
from lpd_core.store import Store, console
from tests.faults.kills import compare, snapshot

REPAIR = "python -m lpd_core repair"


def finish(home, run_id):
    """Approve and drive to the end, as a person would after looking at an error."""
    store = Store(home)
    folder = store.run(run_id)
    if folder.state().status == "awaiting_review":
        gate.approve(store, folder, 1, "ann", "fine")
        jobs.release(store, folder)
    drive(store, run_id, inline=True)


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """A home whose run waits for its review, and the rows it ends with when nothing is damaged."""
    folder = tmp_path_factory.mktemp("undamaged")
    settings = {**small_settings(folder), "iterations": 1, "review": True}
    run_inline(Store(folder / "home"), settings)
    shutil.copytree(folder / "home", folder / "finished")
    finish(folder / "finished", "small-1")
    return folder / "home", snapshot(folder / "finished")


@pytest.fixture
def waiting(store, undamaged):
    """A copy of that home's run, for damaging."""
    shutil.copytree(undamaged[0], store.home)
    return store.run("small-1")


@pytest.fixture
def whole(undamaged):
    """The rows that the run must end with."""
    return undamaged[1]


def tear(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def overwrite(path, start):
    data = bytearray(path.read_bytes())
    data[start : start + 8192] = bytes(len(data[start : start + 8192]))
    path.write_bytes(data)


def no_database(path):
    path.write_bytes(b"<!DOCTYPE html> not found " * 1000)


DATABASES = {
    "truncated": tear,
    "cut_to_its_head": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "header_overwritten": lambda path: overwrite(path, 0),
    "middle_overwritten": lambda path: overwrite(path, path.stat().st_size // 2 // 4096 * 4096),
    "another_file": no_database,
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DATABASES)
def test_a_damaged_database_is_named_with_its_repair_and_nothing_is_lost(store, waiting, whole, damage):
    DATABASES[damage](store.database.path)
    try:  # a page of the file that nobody reads may be damaged without harm
        finish(store.home, waiting.run_id)
    except LpdError as cause:
        if damage != "deleted":
            assert str(store.database.path) in str(cause) and REPAIR in str(cause)
            assert "\n" not in str(cause)
        upkeep.repair(Store(store.home))
        finish(store.home, waiting.run_id)
    assert compare(whole, snapshot(store.home)) == []


def test_the_console_and_the_lists_name_the_repair_too(store, waiting):
    no_database(store.database.path)
    for read in (
        lambda there: console.read_only_query(there, "select 1"),
        lambda there: there.database.query("select * from runs"),
        lambda there: there.database.execute("delete from runs"),
    ):
        with pytest.raises(UserError, match=REPAIR):
            read(Store(store.home))


def test_a_torn_segment_that_was_not_read_yet_is_named_with_its_repair(store, waiting, whole):
    tear(waiting.segments / "001-e_step-00002" / "candidates.parquet")
    store.database.execute("delete from segments where name = '001-e_step-00002'")
    with pytest.raises(UserError, match=f"001-e_step-00002 .*{REPAIR}"):
        drive(Store(store.home), waiting.run_id, inline=True)
    done = upkeep.repair(Store(store.home))
    assert any("001-e_step-00002" in damage for damage in done.damages)
    drive(Store(store.home), waiting.run_id, inline=True)
    finish(store.home, waiting.run_id)
    assert compare(whole, snapshot(store.home)) == []


def test_a_deleted_segment_is_named_by_the_repair_and_done_again(store, waiting, whole):
    shutil.rmtree(waiting.segments / "001-e_step-00001")
    store.database.path.unlink()
    done = upkeep.repair(Store(store.home))
    assert ["001-e_step-00001" in damage for damage in done.damages] == [True]
    drive(Store(store.home), waiting.run_id, inline=True)
    finish(store.home, waiting.run_id)
    assert compare(whole, snapshot(store.home)) == []


def test_a_torn_event_line_costs_that_line_only(store, waiting, whole):
    path = waiting.root / "events.jsonl"
    before = len(waiting.events()[0])
    path.write_bytes(path.read_bytes()[:-20])
    finish(store.home, waiting.run_id)
    events = [event for _, event in waiting.events()[0]]
    assert {event.stage for event in events if isinstance(event, StageFinished)} == {
        "e_step", "cluster", "relabel", "m_step", "evaluate",
    }  # fmt: skip
    told_since = path.read_bytes().count(b"\n") - before
    assert len(events) == before - 1 + told_since
    assert compare(whole, snapshot(store.home)) == []


@pytest.mark.parametrize("name", ["state.json", "manifest.json", "stages/001-cluster.json"])
def test_a_torn_file_of_the_run_folder_is_made_again_or_done_without(store, waiting, whole, name):
    tear(waiting.root / name)
    if name != "manifest.json":
        drive(Store(store.home), waiting.run_id, inline=True)
    finish(store.home, waiting.run_id)
    assert compare(whole, snapshot(store.home)) == []


def test_a_torn_configuration_is_named_and_written_again(store, waiting, whole):
    path = waiting.root / "config.toml"
    path.write_text(path.read_text()[:300] + '"')
    with pytest.raises(UserError, match=rf"config\.toml.*{REPAIR}"):
        finish(store.home, waiting.run_id)
    upkeep.repair(Store(store.home))
    drive(Store(store.home), waiting.run_id, inline=True)
    finish(store.home, waiting.run_id)
    assert compare(whole, snapshot(store.home)) == []


def test_another_base_model_in_the_place_of_the_first_is_refused(store, waiting):
    store.database.execute("update iterations set model_in_digest = 'another' where iteration = 0")
    gate.approve(store, waiting, 1, "ann", "fine")
    with pytest.raises(UserError, match="not the ones that this run began with"):
        drive(Store(store.home), waiting.run_id, inline=True)


@pytest.fixture
def weights(monkeypatch):
    """The scripted trainer writes weights too, and a checkpoint's digest is that of its files."""
    import numpy
    from safetensors.numpy import save_file

    from lpd_core import build
    from lpd_core.model_files import model_digest
    from lpd_core.parts import ScriptedTrainer

    train = ScriptedTrainer.train

    def train_weights(trainer, job, emit):
        told = train(trainer, job, emit)
        folder = Path(job.model_out)
        (folder / "scripted.json").unlink()
        (folder / "config.json").write_text("{}")
        save_file({"w": numpy.full(5000, len(job.rows), numpy.float32)}, folder / "model.safetensors")
        return told

    monkeypatch.setattr(ScriptedTrainer, "train", train_weights)
    monkeypatch.setattr(
        build, "digest", lambda config, model: model_digest(Path(model)) if "iter-" in model else "scripted"
    )


@pytest.mark.parametrize("damage", ["torn", "one_bit", "deleted"])
def test_damaged_weights_are_named_and_trained_again(store, waiting, weights, monkeypatch, damage):
    with monkeypatch.context() as patched:
        measure = loop.STAGES["evaluate"]

        def full(stage):
            raise Interrupted("the disk is full")

        patched.setitem(loop.STAGES, "evaluate", loop.Work(full, measure.summarise))
        with pytest.raises(Interrupted):
            finish(store.home, waiting.run_id)
    file = waiting.checkpoint(1) / "model.safetensors"
    good = file.read_bytes()
    if damage == "torn":
        tear(file)
    elif damage == "one_bit":
        file.write_bytes(good[:-100] + bytes([good[-100] ^ 1]) + good[-99:])
    else:
        shutil.rmtree(file.parent)
    with pytest.raises(UserError, match=f"iter-1.*{REPAIR}"):
        finish(store.home, waiting.run_id)
    done = upkeep.repair(Store(store.home))
    assert ["iter-1" in damage for damage in done.damages] == [True]
    finish(store.home, waiting.run_id)
    assert file.read_bytes() == good


def test_a_model_that_is_gone_is_named(store, scripted_settings, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(PROJECT / "data" / "demo" / "model", model)
    settings = {**scripted_settings, "iterations": 1, "sampler": {}, "model": {"path": str(model)}}
    folder = jobs.create_run(store, parse_config(settings))
    shutil.rmtree(model)
    with pytest.raises(UserError, match=f"no model folder '{model}'"):
        drive(store, folder.run_id, inline=True)
    assert folder.state().status == "failed" and str(model) in folder.state().error
    shutil.copytree(PROJECT / "data" / "demo" / "model", model)
    (model / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        drive(store, folder.run_id, inline=True)
