"""The gate over a small store made by hand: what is written, refused, counted and shown."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from lpd_core import curation, gate, rescore
from lpd_core.cli import main
from lpd_core.cluster_step import _most_frequent
from lpd_core.config import parse_config, to_toml
from lpd_core.constitution.imports import Imported, ImportedPrinciple
from lpd_core.errors import EditRefused, UserError
from lpd_core.store import RunFolder, constitutions
from lpd_core.types import Cluster, Member

PRINCIPLES, CLUSTERS = 6, 3
TABLES = """
insert into prompts select 'd1', 'x' || n, 'train', '[{"role": "user", "content": "Question ' || n || '"}]',
    'Gold ' || n, '{}' from range(6) r(n);
insert into principles select 'p' || n, 'Another run''s text ' || n, [1.0, n]::float[], 'hash' from range(6) r(n);
"""
ITERATION = """
insert into candidates (run_id, iteration, prompt_id, sample, principle, principle_id, response, score, gain,
    status, selected, tokens)
    select $run, $t, 'x' || n, 0, 'Own text ' || n, 'p' || n, 'y2', 0.5, 0.1 * n, 'accepted', true, 100
    from range($n) r(n);
insert into clusters (run_id, iteration, cluster_id, size, medoid_principle_id, label, params, keywords, trajectories,
    datasets, examples) select $run, $t, $t || '.' || n + 1, 2, 'p' || 2 * n, 'Own text ' || 2 * n,
    '{"new_principles": 1}', ['key' || n], 2, '{"d1": 1.0}', '[{"prompt_id": "x0", "sample": 0}]'
    from range($n // 2) r(n);
insert into cluster_members select $run, $t, $t || '.' || (n // 2 + 1), 'p' || n, 1, 0.1 from range($n) r(n);
insert into principle_coordinates select $run, $t, 'p' || n, n, 0.0, 0.0 from range($n) r(n);
insert into merges select $run, $t, n, 2 * n, 2 * n + 1, 0.1, 2 from range($n // 2) r(n);
insert into segments values ($run, format('{:03d}-cluster-00000', $t), now(), 1);
"""


def add_iteration(store, iteration=1, run="r", n=PRINCIPLES):
    with store.database.write() as connection:
        for statement in filter(str.strip, ITERATION.split(";")):
            values = {"run": run, "t": iteration, "n": n}
            connection.execute(statement, {k: v for k, v in values.items() if f"${k}" in statement})


def make_run(store, run="r", label="medoid") -> RunFolder:
    folder = RunFolder(store.runs / run)
    config = {"sampler": {"kind": "scripted"}, "cluster": {"embedder": "hash", "label": label}}
    folder.create(parse_config(config), {})
    assert to_toml(folder.config())
    return folder


@pytest.fixture
def folder(store):
    store.database.execute("insert into datasets (dataset_id, name) values ('d1', 'mine')")
    with store.database.write() as connection:
        for statement in filter(str.strip, TABLES.split(";")):
            connection.execute(statement)
    made = make_run(store)
    add_iteration(store)
    return made


@pytest.fixture
def cli(folder, capsys, monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lpd_core", "constitution", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return call


def approve(store, folder, iteration=1):
    return gate.approve(store, folder, iteration, author="ada", message="so")


def test_an_approved_iteration_takes_no_edit_by_any_way(store, folder):
    late = gate.preview(gate.open_review(store, "r", 1), "prune", {"id": "1.1"})[0].history.edits
    add_iteration(store, 2)
    gate.edit(store, "r", 2, "note", {"id": "2.1", "note": "good"}, "ada")
    approve(store, folder)
    ways = (
        lambda: constitutions.append_edits(store, "r", 1, late),
        lambda: gate.edit(store, "r", 1, "prune", {"id": "1.1"}, "ada"),
        lambda: curation.replay_edits(store, folder, ("r", 2), 1, "ada"),
        lambda: curation.add_principles(store, "r", 1, Imported((ImportedPrinciple("New."),)), False, "ada"),
    )
    for way in ways:
        with pytest.raises(EditRefused, match="approved"):
            way()
    assert constitutions.edits(store, "r", 1) == []


def test_edits_are_appended_all_or_none(store, folder):
    review = gate.open_review(store, "r", 1)
    first = gate.preview(review, "pin", {"id": "1.1"})[0]
    both = gate.preview(first, "pin", {"id": "1.2"})[0]
    gate.edit(store, "r", 1, "prune", {"id": "1.3"}, "bob")
    with pytest.raises(EditRefused, match="bob wrote edit 1"):
        constitutions.append_edits(store, "r", 1, both.history.edits)
    assert [edit.op for edit in constitutions.edits(store, "r", 1)] == ["prune"]


def test_an_empty_constitution_is_approved_only_where_nothing_was_selected(store, folder):
    for n in (1, 2, 3):
        gate.edit(store, "r", 1, "prune", {"id": f"1.{n}"}, "ada")
    with pytest.raises(EditRefused, match="left to train on"):
        approve(store, folder)
    assert constitutions.approved_version(store, "r", 1) is None
    add_iteration(store, 2, n=0)
    assert approve(store, folder, 2) == 1


def test_a_second_approval_changes_nothing_and_a_stale_one_is_refused(store, folder):
    log = gate.history(store, "r", 1)
    stale = {**gate._version(store, folder, 1, log, "bob", "stale"), "approved": True}
    gate.edit(store, "r", 1, "prune", {"id": "1.1"}, "ada")
    with pytest.raises(EditRefused, match="edit 1 by now"):
        constitutions.add_version(store, stale)
    assert approve(store, folder) == approve(store, folder) == constitutions.add_version(store, stale) == 1
    (row,) = constitutions.versions(store, "r")
    assert (row["n_entries"], row["training_rows"], row["last_seq"]) == (2, 4, 1)


def test_texts_are_the_runs_own(store, folder):
    here = gate.found(store, "r", 1)
    assert here.texts["p3"] == "Own text 3"
    assert here.by_id["1.2"].medoid_principle_id == "p2"
    store.database.execute("insert into cluster_members values ('r', 1, '', 'p9', 1, 0.5)")
    store.database.execute("insert into principles values ('p9', 'Carried.', null, 'hash')")
    assert gate.found(store, "r", 1).texts["p9"] == "Carried."


def test_a_pinned_entry_keeps_its_label_and_note(store, folder):
    for op, args in (
        ("pin", {"id": "1.1"}),
        ("rename", {"id": "1.1", "label": "Short"}),
        ("note", {"id": "1.1", "note": "keep"}),
    ):
        gate.edit(store, "r", 1, op, args, "ada")
    approve(store, folder)
    add_iteration(store, 2)
    store.database.execute(
        """insert into clusters (run_id, iteration, cluster_id, label, medoid_principle_id, params)
           values ('r', 2, '1.1', 'Own text 0', '', '{}')"""
    )
    entry = gate.found(store, "r", 2).by_id["1.1"]
    assert (entry.label, entry.note, entry.pinned, entry.text) == ("Short", "keep", True, "Own text 0")


def test_with_label_none_texts_are_not_replaced(store, folder, cli):
    make_run(store, "plain", label="none")
    add_iteration(store, run="plain")
    code, out, err = cli("edit", "plain", "reword", "id=1.1", "text=Quite another and much longer text.")
    assert code == 0, err
    assert "0 trajectories relabelled" in out and "600 -> 600" in out and "texts are not replaced" in out
    found = json.loads(cli("preview", "plain", "prune", "id=1.2", "--json")[1])
    assert (found["lost"], found["tokens_after"], found["replaces_texts"]) == (2, 400, False)
    found = json.loads(cli("preview", "r", "reword", "id=1.1", "text=Short.", "--json")[1])
    assert (found["relabelled"], found["replaces_texts"]) == (2, True)


def test_a_diff_of_two_iterations_counts_each_sides_rows_and_pairs_entries(store, folder, cli, tmp_path):
    add_iteration(store, 2, n=4)
    approve(store, folder)
    gate.save(store, folder, 2, "ada", "second", alias="mine")
    found = json.loads(cli("diff", "r", "1.1", "mine", "--json")[1])
    assert (found["rows_before"], found["rows_after"], found["same_clustering"]) == (6, 4, False)
    assert "added" not in {change["kind"] for change in found["changes"]}
    assert cli("export", "r", tmp_path / "c.md", "--version", "1.1")[0] == 0
    assert "iteration 1" in (tmp_path / "c.md").read_text()


@pytest.mark.parametrize("alias", ["", " ", "found", "now", "best", "12", "1.2", "used by r iteration 1"])
def test_an_alias_with_another_meaning_is_refused_before_anything_is_written(store, folder, alias):
    with pytest.raises(UserError, match="alias"):
        gate.save(store, folder, 1, "ada", "x", alias=alias)
    assert constitutions.versions(store, "r") == []


def test_the_members_of_an_entry_are_shown_with_examples(cli):
    found = json.loads(cli("show", "r", "--id", "1.3", "--json")[1])
    assert [row["principle_id"] for row in found["members"]] == ["p4", "p5"]
    (example,) = found["members"][1]["examples"]
    assert (example["prompt"], example["gold"], example["sample"]) == ("Question 5", "Gold 5", 0)
    out = cli("show", "r", "--id", "1.3")[1]
    assert "Own text 5" in out and "Question 5" in out and "Gold 5" in out and "0.100" in out
    assert cli("show", "r", "--id", "1.9")[0] == 2


def test_an_import_is_one_step_of_new_texts(store, folder, cli, tmp_path):
    file = tmp_path / "more.txt"
    file.write_text("Own text 0\nBe brief.\nBe kind.\nBe brief.\n")
    found = json.loads(cli("import", "r", file, "--pin", "--json")[1])
    here = gate.current(store, "r", 1)
    assert sorted(here.by_id[each].text for each in found["added"]) == ["Be brief.", "Be kind."]
    assert all(here.by_id[each].pinned for each in found["added"])
    assert len(found["notices"]) == 1


def test_a_replay_logs_what_fits(store, folder):
    add_iteration(store, 2)
    gate.edit(store, "r", 1, "merge", {"ids": ["1.1", "1.2"]}, "ada")
    gate.edit(store, "r", 1, "prune", {"id": "1.3"}, "ada")
    done = curation.replay_edits(store, folder, ("r", 1), 2, "bob")
    assert [outcome.status for outcome in done.outcomes] == ["applied", "applied"]
    assert [(e.op, e.author) for e in constitutions.edits(store, "r", 2)] == [
        ("merge", "bob"),
        ("prune", "bob"),
    ]


def test_a_version_is_restored(store, folder):
    gate.edit(store, "r", 1, "prune", {"id": "1.1"}, "ada")
    first = gate.save(store, folder, 1, "ada", "first")
    gate.edit(store, "r", 1, "prune", {"id": "1.2"}, "ada")
    again = gate.restore_version(store, folder, 1, first, "ada")
    same = constitutions.version_entries(store, "r", 1, first)
    assert gate.current(store, "r", 1) == constitutions.version_entries(store, "r", 1, again) == same
    with pytest.raises(UserError, match="no constitution version 9"):
        gate.restore_version(store, folder, 1, 9, "ada")


def test_suggestions_show_shared_words_and_know_entries_without_members(store, folder):
    gate.edit(store, "r", 1, "merge", {"ids": ["1.1", "1.2"]}, "ada")
    gate.edit(store, "r", 1, "add", {"text": "Own text of key0 and key1"}, "ada")
    merged, added = (e.entry_id for e in gate.current(store, "r", 1).active if e.entry_id[0] == "e")
    rows = {
        r["other"] if r["id"] == added else r["id"]: r
        for r in curation.suggest_merges(store, folder, 1, added, 9)
    }
    assert {"key0", "key1", "text"} <= set(rows[merged]["shared words"])
    assert rows[merged]["meaning"] is None
    known = curation.suggest_merges(
        store, folder, 1, added, 9, lambda texts: np.array([[1.0, 0.0]] * len(texts))
    )
    assert all(row["meaning"] is not None for row in known)


def test_clusters_and_lineage_are_read_without_decoding(store, folder, cli):
    (row, *_) = json.loads(cli("clusters", "r", "--json")[1])
    assert row["datasets"] == {"mine": 1.0}
    assert row["examples"] == [{"prompt_id": "x0", "sample": 0}]
    assert row["params"]["new_principles"] == 1
    assert json.loads(cli("lineage", "r", "--json")[1])["discovery"]["discovery_rate"] == pytest.approx(1 / 6)
    assert "discovery rate 0.167: 1 of 6" in cli("lineage", "r")[1]
    store.database.execute("""update clusters set params = '{"new_principles": null}'""")
    assert constitutions.discovery(store, "r", 1)["discovery_rate"] == 1.0


def test_the_most_frequent_member_breaks_ties_for_the_medoid_then_the_nearest():
    members = (Member("a", 2, 0.1), Member("b", 2, 0.3), Member("c", 2, 0.2), Member("d", 1, 0.0))
    texts = {member.principle_id: member.principle_id for member in members}
    found = Cluster("1.1", "b", "b", members)
    assert _most_frequent([found], texts)[0].label == "b"
    assert _most_frequent([replace(found, medoid_principle_id="d")], texts)[0].label == "a"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["edit", "r", "add", "text=New.", "pinned=yes"], "neither true nor false"),
        (["edit", "r", "prune", "id=1.1", "id=1.2"], "id is given twice"),
        (["edit", "r", "split", "k=2"], "id is missing"),
        (["edit", "r", "split", "threshold=0.2"], "id is missing"),
        (["edit", "r", "split", "id=1.1", "k=2", "threshold=0.2"], "only one of k and threshold"),
        (["edit", "r", "split", "id=1.1", "k=²"], "whole number"),
        (["edit", "r", "split", "id=1.1", "threshold=nan"], "threshold must be a number"),
        (["edit", "r", "split", "id=1.1", "threshold=inf"], "threshold must be a number"),
        (["edit", "r", "reset", "seq=²"], "seq"),
        (["edit", "r", "reset", "seq=" + "9" * 5000], "seq"),
        (["diff", "r", "²", "now"], "is no version"),
        (["diff", "r", "9" * 30, "now"], "there is no version"),
        (["show", "r", "--iteration", "7"], "clustered are: 1"),
        (["show", "r", "--iteration", "9" * 30], "clustered are: 1"),
        (["replay", "r", "--from-iteration", "7"], "clustered are: 1"),
        (["preview", "r", "prune", "id=1.1", "--rescore", "-1"], "rescore"),
        (["suggest", "r", "--most", "0"], "most"),
        (["save", "r", "--message", "x", "--alias", "best"], "meaning of its own"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(store, folder, cli, arguments, said):
    code, _, err = cli(*arguments)
    assert code == 2 and said in err, err
    assert constitutions.edits(store, "r", 1) == [] and constitutions.versions(store, "r") == []


def test_a_truth_value_and_a_split_by_k_reach_the_log(store, folder, cli):
    assert cli("edit", "r", "add", "text=New.", "pinned=true")[0] == 0
    assert cli("edit", "r", "add", "text=Newer.", "pinned=false")[0] == 0
    assert cli("edit", "r", "split", "id=1.1", "k=2")[0] == 0
    assert cli("undo", "r")[0] == 0
    assert cli("edit", "r", "reset", "seq=1")[0] == 0
    assert [entry.pinned for entry in gate.current(store, "r", 1).active if not entry.members] == [True]


def test_a_rescore_without_anything_to_compare_is_refused(store, folder, monkeypatch):
    store.database.execute(
        """insert into drafts (run_id, iteration, prompt_id, text, score, finish_reason, tokens)
           select 'r', 1, 'x' || n, 'y1', 0.1, 'stop', 5 from range(6) r(n)"""
    )
    effect = gate.preview(gate.open_review(store, "r", 1), "reword", {"id": "1.1", "text": "Other."})[1]
    store.database.execute("insert into assignments select 'r', 1, 'train', 'x' || n, n from range(6) r(n)")
    assert rescore.rescore(store, folder, 1, effect, 9).n == 2
    with pytest.raises(EditRefused, match="1 or more"):
        rescore.rescore(store, folder, 1, effect, -3)
    monkeypatch.setattr(rescore, "_scores", lambda store, folder, t, found, texts: [(None, 0.5)] * len(found))
    with pytest.raises(EditRefused, match="no score to any of the 2"):
        rescore.rescore(store, folder, 1, effect, 9)
