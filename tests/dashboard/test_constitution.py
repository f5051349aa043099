"""The gate as a page: select, see the effect, edit, undo, look back, approve; told in one line where it cannot be."""

from __future__ import annotations

import io
import json

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.conftest import open_page, words
from lpd_core import gate, jobs
from lpd_core.constitution import read_principles
from lpd_core.store import Store, constitutions
from pages.components.constitution_table import table_key


@pytest.fixture
def waiting(copied, monkeypatch) -> tuple[Store, str]:
    """A run that waits for the review of its first iteration."""
    monkeypatch.setenv("LPD_AUTHOR", "ada")
    store = Store(copied("waiting"))
    (run,) = store.run_ids()
    return store, run


def by_size(store: Store, run: str) -> list:
    """The active entries as the table lists them."""
    here = gate.current(store, run, 1)
    return sorted(here.active, key=lambda entry: -entry.trajectories)


def select(app: AppTest, store: Store, run: str, *rows: int) -> AppTest:
    """Select rows of the entries' table."""
    shown = by_size(store, run)[:25]
    app.session_state[table_key(shown)] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return app.run()


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


def figure(app: AppTest, name: str, place: int = -1) -> str:
    """A figure of the page by its name, the last one unless told."""
    html = " ".join(str(block.proto.body) for block in app.get("html"))
    values = html.split(f"<span>{name}</span><b>")[1:]
    return values[place].split("</b>")[0]


def test_entries_are_listed_and_one_is_shown_by_its_link(waiting):
    store, run = waiting
    entry = by_size(store, run)[0]
    app = open_page("constitution", run=run, iteration="1", entry=entry.entry_id)
    assert not app.exception
    assert "Waits for your review" in words(app)
    assert entry.entry_id in app.subheader[0].value.replace("\\", "")
    assert figure(app, "Mean gain in f").startswith("+")
    table = app.dataframe[0].value
    assert list(table["Trajectories"]) == sorted(table["Trajectories"], reverse=True)


def test_two_entries_are_merged_one_pruned_one_renamed_and_all_is_undone(waiting):
    store, run = waiting
    app = open_page("constitution", run=run, iteration="1")
    first, second, third = by_size(store, run)[:3]
    rows = sum(entry.trajectories for entry in gate.current(store, run, 1).active)
    select(app, store, run, 0, 1)
    assert figure(app, "Relabelled") == f"{second.trajectories:,}"
    app.text_input(key="constitution.merge.reason.0").set_value("same idea")
    press(app, "constitution.merge.apply")
    (merge,) = constitutions.edits(store, run, 1)
    assert (merge.op, merge.author, merge.reason) == ("merge", "ada", "same idea")
    assert set(merge.args["ids"]) == {first.entry_id, second.entry_id}
    assert gate.current(store, run, 1).by_id["e1.1"].trajectories == first.trajectories + second.trajectories

    place = [entry.entry_id for entry in by_size(store, run)].index(third.entry_id)
    select(app, store, run, place)
    app.segmented_control(key=f"constitution.part.{third.entry_id}").set_value("marks").run()
    assert figure(app, "Training rows") == f"{rows:,} → {rows - third.trajectories:,}"
    assert figure(app, "Lost") == f"{third.trajectories:,}"
    press(app, "constitution.mark.apply")
    assert gate.current(store, run, 1).by_id[third.entry_id].status == "pruned"
    assert figure(app, "Training rows", 0) == f"{rows:,} → {rows - third.trajectories:,}", "the totals follow"

    select(app, store, run, 0)
    name = by_size(store, run)[0].entry_id
    app.segmented_control(key=f"constitution.part.{name}").set_value("words").run()
    app.text_input(key=f"constitution.label.{name}.2").set_value("Own up").run()
    press(app, "constitution.rename.apply")
    assert gate.current(store, run, 1).by_id[name].label == "Own up"

    for _ in range(3):
        press(app, "constitution.undo")
    assert gate.current(store, run, 1) == gate.history(store, run, 1).base
    press(app, "constitution.redo")
    assert "e1.1" in gate.current(store, run, 1).by_id
    app.segmented_control(key="constitution.view.True").set_value("history").run()
    table = app.dataframe[0].value
    assert list(table["Who"]) == ["ada"] * 7 + ["the clustering"]
    assert "same idea" in list(table["Why"]) and "redo" in list(table["What"])


def test_an_edit_after_somebody_elses_is_refused_in_one_line_and_the_view_reloads(waiting):
    store, run = waiting
    app = open_page("constitution", run=run, iteration="1")
    first, second = by_size(store, run)[:2]
    select(app, store, run, 0)
    app.segmented_control(key=f"constitution.part.{first.entry_id}").set_value("marks").run()
    gate.edit(store, run, 1, "prune", {"id": second.entry_id}, "bob")
    press(app, "constitution.mark.apply")
    assert "bob wrote edit 1 (prune) meanwhile" in app.error[0].value.replace("\\", "")
    assert [edit.author for edit in constitutions.edits(store, run, 1)] == ["bob"]
    assert figure(app, "Lost", 0) == f"{second.trajectories:,}"
    assert not app.exception


def test_an_impossible_edit_says_why_and_has_no_button(waiting):
    store, run = waiting
    app = open_page("constitution", run=run, iteration="1")
    first = by_size(store, run)[0]
    gate.edit(store, run, 1, "pin", {"id": first.entry_id}, "bob")
    app.run()
    select(app, store, run, 0)
    app.segmented_control(key=f"constitution.part.{first.entry_id}").set_value("marks").run()
    assert "is pinned; unpin it before" in words(app)
    assert "constitution.mark.apply" not in [button.key for button in app.button]


def test_members_split_by_k_and_a_wizard_pair_is_merged(waiting):
    store, run = waiting
    app = open_page("constitution", run=run, iteration="1")
    first = by_size(store, run)[0]
    select(app, store, run, 0)
    app.segmented_control(key=f"constitution.part.{first.entry_id}").set_value("split").run()
    app.segmented_control(key="constitution.split.way").set_value("k").run()
    press(app, "constitution.split.apply")
    assert gate.current(store, run, 1).by_id[first.entry_id].status == "split"
    app.segmented_control(key="constitution.view.True").set_value("wizard").run()
    assert not app.exception, app.exception
    entries = len(gate.current(store, run, 1).active)
    press(app, "constitution.wizard.skip")
    press(app, "constitution.wizard.back")
    press(app, "constitution.wizard.merge.apply")
    assert len(gate.current(store, run, 1).active) == entries - 1


def test_a_lasso_on_the_map_splits_an_entry(waiting):
    store, run = waiting
    entry = max(by_size(store, run), key=lambda each: len(each.members))
    app = open_page("constitution", run=run, iteration="1", entry=entry.entry_id, part="split")
    app.session_state[f"constitution.map.{entry.entry_id}.0"] = {
        "selection": {"points": [{"point_index": 0}]}
    }
    app.run()
    press(app, "constitution.split.apply")
    parts = [e for e in gate.current(store, run, 1).active if e.provenance.origin == "split"]
    assert sorted(len(part.members) for part in parts) == [1, len(entry.members) - 1]
    assert entry.members[0].principle_id in {
        m.principle_id for p in parts if len(p.members) == 1 for m in p.members
    }


def test_versions_are_saved_compared_and_restored(waiting):
    store, run = waiting
    first = by_size(store, run)[0]
    gate.edit(store, run, 1, "reword", {"id": first.entry_id, "text": "Own the mistake."}, "ada")
    app = open_page("constitution", run=run, iteration="1", view="versions")
    app.text_input(key="constitution.save.message").set_value("before the prune")
    app.text_input(key="constitution.save.alias").set_value("careful")
    next(button for button in app.button if button.label == "Save version").click().run()
    (row,) = constitutions.versions(store, run)
    assert (row["message"], row["author"]) == ("before the prune", "ada")
    assert "Reworded: 1" in words(app)
    assert app.dataframe[0].value["Names"][0] == "careful"
    gate.edit(store, run, 1, "prune", {"id": first.entry_id}, "ada")
    app.run()
    press(app, "constitution.restore.apply")
    assert gate.current(store, run, 1).by_id[first.entry_id].status == "active"


def test_principles_are_imported_and_the_constitution_exported(waiting, tmp_path):
    store, run = waiting
    app = open_page("constitution", run=run, iteration="1", view="files")
    content = json.dumps(["Be brief.", "Be kind."]).encode()
    app.file_uploader(key="constitution.upload").set_value(
        ("mine.json", io.BytesIO(content).read(), "application/json")
    )
    app.run()
    app.toggle(key="constitution.import.pin").set_value(True).run()
    press(app, "constitution.import")
    here = gate.current(store, run, 1)
    assert {entry.text for entry in here.active if entry.pinned} == {"Be brief.", "Be kind."}
    from lpd_core.constitution import to_yaml

    (tmp_path / "out.yaml").write_text(to_yaml(here))
    assert len(read_principles(tmp_path / "out.yaml").principles) == len(here.active)
    assert {"constitution.export.md", "constitution.export.yaml", "constitution.export.json"} <= {
        button.key for button in app.get("download_button")
    }


def test_an_approval_writes_a_version_releases_the_run_and_closes_the_page(waiting, monkeypatch):
    store, run = waiting
    resumed = []
    monkeypatch.setattr(jobs, "resume", lambda store, run_id: resumed.append(run_id))
    app = open_page("constitution", run=run, iteration="1")
    press(app, "constitution.approve")
    app.text_input(key="constitution.message").set_value("as found")
    press(app, "constitution.approve.go")
    assert resumed == [run] and store.run(run).state().status == "queued"
    (row,) = constitutions.versions(store, run, 1)
    assert (row["approved"], row["message"], row["author"]) == (True, "as found", "ada")
    app.run()
    assert "Approved, read-only" in words(app) and "1.1" in words(app)
    keys = {button.key for button in app.button}
    assert not keys & {"constitution.undo", "constitution.approve", "constitution.accept"}


def test_what_was_not_seen_is_not_approved(waiting):
    store, run = waiting
    app = open_page("constitution", run=run, iteration="1")
    press(app, "constitution.approve")
    gate.edit(store, run, 1, "prune", {"id": by_size(store, run)[0].entry_id}, "bob")
    press(app, "constitution.approve.go")
    assert not app.exception
    assert constitutions.approved_version(store, run, 1) is None
    assert store.run(run).state().status == "awaiting_review"


def test_a_visitor_who_may_not_edit_finds_no_button(waiting, monkeypatch):
    _, run = waiting
    monkeypatch.setenv("LPD_EDIT_NEEDS_LOGIN", "1")
    app = open_page("constitution", run=run, iteration="1")
    assert "Editing needs a login" in app.info[0].value
    assert "constitution.undo" not in {button.key for button in app.button}


@pytest.mark.parametrize(
    ("state", "iteration", "said"),
    [
        ("finished", "0", "The base model has no constitution"),
        ("failed", "1", "No principle gained in this iteration"),
        ("finished", "1", "Approved, read-only"),
    ],
)
def test_without_a_review_it_says_what_there_is(looking, state, iteration, said):
    store = Store(looking(state))
    app = open_page("constitution", run=store.run_ids()[-1], iteration=iteration)
    assert not app.exception and said in words(app)
