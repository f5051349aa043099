"""The whole loop with the scripted fake: real store, real clustering, real command line, no model."""

import json

import pytest
from conftest import example_rows, run_inline, write_jsonl

from lpd_core import e_step, gate, jobs
from lpd_core.build import build_parts
from lpd_core.config import parse_config
from lpd_core.corpus import read_corpus
from lpd_core.driver import drive
from lpd_core.errors import EditRefused, StageFailed, UserError
from lpd_core.invariants import check_invariants, run_evidence
from lpd_core.parts import ScriptedSampler, echo_script
from lpd_core.prompts import load_templates
from lpd_core.report import run_report
from lpd_core.scoring import RougeL
from lpd_core.store import constitutions


def discovery(tmp_path, script=echo_script, **e_step_settings):
    config = parse_config({"sampler": {"kind": "scripted"}, "e_step": {"n": 4, **e_step_settings}})
    examples = read_corpus(write_jsonl(tmp_path / "rows.jsonl", example_rows(12))).examples
    sampler = ScriptedSampler(script)
    made = e_step.Discovery(sampler, RougeL(stemmer=True), load_templates(config.prompts), config, 1)
    return made, sampler, examples


def test_the_loop_runs_to_its_end_and_keeps_every_promise(store, scripted_settings):
    folder = run_inline(store, scripted_settings)
    assert folder.state().status == "finished"
    assert check_invariants(run_evidence(store, folder)) == {
        key: [] for key in check_invariants(run_evidence(store, folder))
    }
    report = run_report(store, folder.run_id)
    assert set(report["heldout"]) == {"dev", "test"}
    assert list(report["heldout"]["test"]) == [0, 1, 2]
    assert report["best_iteration"] in (1, 2)
    accepted = sum(
        row["e_step"]["acceptance"]["accepted"] for row in report["iterations"].values() if "e_step" in row
    )
    assert accepted == store.database.query("select count(*) n from candidates where selected")[0]["n"] > 0


def test_only_the_proposer_is_asked_with_the_gold_in_sight(tmp_path):
    made, sampler, examples = discovery(tmp_path, use_critique=True)
    made.discover(examples)
    golds = [example.gold for example in examples]
    showing = [
        messages
        for messages, _ in sampler.asked
        if any(g in turn["content"] for turn in messages for g in golds)
    ]
    assert len(showing) == len(examples) * 4
    assert all(messages[-1]["content"].startswith("A better answer would be:") for messages in showing)


def test_the_e_step_asks_one_draft_and_two_n_more_for_each_prompt(tmp_path):
    made, sampler, examples = discovery(tmp_path)
    drafts, candidates = made.discover(examples)
    assert len(drafts) == len(examples)
    assert len(candidates) == 4 * len(examples)
    refined = [attempt for _, attempt in candidates if attempt.response is not None]
    assert len(sampler.asked) == len(examples) * (1 + 4) + len(refined)


def test_each_reason_for_rejection_can_happen(tmp_path):
    def script(messages, seed):
        last = messages[-1]["content"]
        if last.startswith("A better answer"):
            gold = last.split("\n\n")[0].split("\n", 1)[1]
            return ("", f"Say: {gold}", "word " * 40, "Mention more care.", "12345")[seed % 5]
        if last.startswith("Rewrite"):
            return ("", "y " * 2000, "nothing of it", f"{messages[1]['content']} with more care")[seed % 4]
        return " ".join(last.split()[:4])

    made, _, examples = discovery(tmp_path, script, n=16)
    _, candidates = made.discover(examples)
    found = {candidate.status for candidate, _ in candidates}
    assert {"accepted", "not_best", "no_gain", "empty", "too_long", "leaks_gold", "unparsable"} <= found


def test_a_good_draft_is_skipped_when_asked(tmp_path):
    made, _, examples = discovery(tmp_path, skip_above=0.0)
    _, candidates = made.discover(examples)
    assert {candidate.status for candidate, _ in candidates} == {"skipped_good_draft"}
    assert len(candidates) == len(examples)


def test_a_failed_scorer_is_unscored_and_never_a_zero(tmp_path):
    class Broken:
        def score(self, pairs):
            return [None for _ in pairs]

    made, _, examples = discovery(tmp_path)
    made = e_step.Discovery(made.sampler, Broken(), made.templates, made.config, 1)
    drafts, candidates = made.discover(examples)
    assert {draft.score for draft in drafts} == {None}
    assert {(candidate.status, candidate.score) for candidate, _ in candidates} == {("unscored", None)}


def test_a_share_of_the_principles_can_come_from_a_persons_own(store, tmp_path, scripted_settings):
    seeds = tmp_path / "mine.jsonl"
    seeds.write_text('{"principle": "Mention more care."}\n{"principle": "Mention paint."}\n')
    settings = {
        **scripted_settings,
        "iterations": 1,
        "e_step": {"n": 4, "chunk_prompts": 4, "seeds": str(seeds), "seed_share": 0.5},
    }
    folder = run_inline(store, settings)
    rows = store.database.query("select prompt_id, principle from candidates where sample < 2")
    assert {row["principle"] for row in rows} == {"Mention more care.", "Mention paint."}
    others = store.database.query("select principle from candidates where sample >= 2")
    assert len(rows) == len(others)
    assert not any(check_invariants(run_evidence(store, folder)).values())


def test_an_iteration_in_which_nothing_gained_ends_with_the_reason(store, scripted_settings):
    settings = {**scripted_settings, "iterations": 1, "e_step": {"n": 2, "chunk_prompts": 4, "margin": 0.99}}
    with pytest.raises(StageFailed, match="no training rows: no candidate gained"):
        run_inline(store, settings)
    folder = store.run("last")
    assert folder.state().status == "failed"
    assert gate.current(store, folder.run_id, 1).active == ()
    assert not any(check_invariants(run_evidence(store, folder)).values())


def test_a_later_iteration_in_which_nothing_gains_ends_the_run_with_the_model_before(
    store, scripted_settings
):
    folder = run_inline(store, {**scripted_settings, "iterations": 1})
    config = folder.root / "config.toml"
    config.write_text(config.read_text().replace("margin = 0.0", "margin = 0.99"))
    config.write_text(config.read_text().replace("iterations = 1", "iterations = 2"))
    rows = [{"run_id": folder.run_id, "iteration": 2, "benchmark": "train", "prompt_id": p, "position": n}
            for n, p in enumerate(unused_prompts(store))]  # fmt: skip
    folder.write_segment(2, "assign", 0, {"assignments": rows})
    outcome = drive(store, folder.run_id, inline=True)
    assert (outcome.status, outcome.iteration, outcome.best) == ("finished", 1, 1)


def unused_prompts(store):
    rows = store.database.query(
        "select prompt_id from prompts where split = 'train' and prompt_id not in (select prompt_id from assignments)"
    )
    return sorted(row["prompt_id"] for row in rows)


def test_rewording_the_shipped_cues_later_changes_nothing_about_a_run(store, scripted_settings, tmp_path):
    import shutil

    from lpd_core.prompts import SHIPPED

    shutil.copytree(SHIPPED, tmp_path / "cues")
    settings = {**scripted_settings, "iterations": 1, "prompts": {"folder": str(tmp_path / "cues")}}
    folder = run_inline(store, settings)
    (tmp_path / "cues" / "principle_cue.txt").write_text("Another wording.")
    assert not any(check_invariants(run_evidence(store, folder)).values())


def test_a_check_of_a_run_whose_database_is_gone_refuses_to_prove_anything(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1})
    for damage, told in (
        (lambda: store.database.execute("delete from runs"), "does not hold run"),
        (store.database.path.unlink, "is gone"),
    ):
        damage()
        with pytest.raises(UserError, match=told):
            check_invariants(run_evidence(store, folder))
        with pytest.raises(UserError, match=told):
            drive(store, folder.run_id, inline=True)


def test_held_out_sets_that_share_prompts_are_refused(store, scripted_settings):
    from lpd_core.preflight import check_run

    scripted_settings["data"]["test"] = scripted_settings["data"]["dev"]
    found = check_run(store, parse_config(scripted_settings))
    assert any("stand in dev too" in error.what for error in found.errors)


def test_a_run_that_cannot_be_created_leaves_nothing(store, scripted_settings, monkeypatch):
    config = parse_config(scripted_settings)
    monkeypatch.setattr("lpd_core.store.runs.add_run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        jobs.create_run(store, config)
    assert store.run_ids() == [] and list(store.runs.iterdir()) == []


def test_soft_em_keeps_the_best_few_weighted_by_gain(store, scripted_settings):
    settings = {**scripted_settings, "iterations": 1, "e_step": {"n": 6, "keep": 3, "chunk_prompts": 4}}
    folder = run_inline(store, settings)
    rows = store.database.query(
        "select prompt_id, count(*) n, sum(weight) weight from training_rows group by prompt_id"
    )
    assert max(row["n"] for row in rows) > 1
    assert all(row["weight"] == pytest.approx(1.0) for row in rows)
    assert not any(check_invariants(run_evidence(store, folder)).values())


@pytest.mark.parametrize("label", ["medoid", "mode", "none"])
def test_every_way_of_replacing_labels_keeps_the_promises(store, scripted_settings, label):
    cluster = {**scripted_settings["cluster"], "label": label, "choose": "k", "k": 2}
    folder = run_inline(store, {**scripted_settings, "iterations": 1, "cluster": cluster})
    assert not any(check_invariants(run_evidence(store, folder)).values())
    texts = {row["principle"] for row in store.database.query("select principle from training_rows")}
    assert (len(texts) <= 2) == (label != "none")


def test_rerefinement_accepts_again(store, scripted_settings):
    cluster = {**scripted_settings["cluster"], "rerefine": True, "choose": "k", "k": 2}
    folder = run_inline(store, {**scripted_settings, "iterations": 1, "cluster": cluster})
    assert not any(check_invariants(run_evidence(store, folder)).values())
    rows = store.database.query("select count(*) n from training_rows")[0]["n"]
    selected = store.database.query("select count(*) n from candidates where selected")[0]["n"]
    assert 0 < rows <= selected


def test_a_run_with_review_stops_at_the_gate_and_goes_on_when_approved(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1, "review": True})
    assert folder.state().status == "awaiting_review"
    assert not folder.is_driven()
    with pytest.raises(UserError, match="waits for a person"):
        jobs.resume(store, folder.run_id)
    entries = gate.current(store, folder.run_id, 1).active
    pruned, kept = entries[0], entries[1:]
    gate.edit(store, folder.run_id, 1, "prune", {"id": pruned.entry_id}, author="ada", reason="too narrow")
    gate.approve(store, folder, 1, author="ada", message="without the first")
    with pytest.raises(EditRefused, match="approved"):
        gate.edit(store, folder.run_id, 1, "note", {"id": kept[0].entry_id, "note": "late"}, author="ada")
    jobs.release(store, folder)
    drive(store, folder.run_id, inline=True)
    trained = {row["principle"] for row in store.database.query("select principle from training_rows")}
    assert pruned.text not in trained
    assert trained <= {entry.text for entry in kept}
    assert not any(check_invariants(run_evidence(store, folder)).values())


def test_running_the_loop_again_repeats_nothing(store, scripted_settings):
    folder = run_inline(store, scripted_settings)
    before = {name: (folder.segments / name).stat().st_mtime_ns for name in folder.segment_names()}
    drive(store, folder.run_id, inline=True)
    assert {name: (folder.segments / name).stat().st_mtime_ns for name in folder.segment_names()} == before


def test_the_last_stage_that_was_not_finished_is_done_again_to_the_same_rows(store, scripted_settings):
    folder = run_inline(store, scripted_settings)
    query = "select * from candidates order by all"
    before = store.database.query(query)
    for name in ("001-e_step-00001", "002-e_step-00000"):
        for file in (folder.segments / name).iterdir():
            file.unlink()
        (folder.segments / name).rmdir()
    store.database.execute("delete from candidates")
    store.database.execute("delete from segments")
    for result in (folder.root / "stages").glob("*-e_step.json"):
        result.unlink()
    drive(store, folder.run_id, inline=True)
    assert store.database.query(query) == before


BREAKS = {
    "1": "update training_rows set messages = replace(messages::text, 'Rewrite', (select gold from prompts limit 1))::json",
    "2": "update candidates set response = 'nothing' where selected",
    "3": "update candidates set selected = true, status = 'accepted' where status = 'not_best'",
    "4": "insert into assignments select run_id, 2, 'train', prompt_id, 99 from assignments where iteration = 1 limit 1",
    "5": "update training_rows set principle = 'Never approved.'",
    "6": "update training_rows set trained = [1]",
    "7": "update iterations set model_in_digest = 'another' where iteration = 2",
    "8": "delete from candidates where sample = 3 and prompt_id = (select min(prompt_id) from candidates)",
}


@pytest.fixture(scope="module")
def finished_home(tmp_path_factory):
    """A finished scripted run to break copies of."""
    from lpd_core.store import Store

    folder = tmp_path_factory.mktemp("finished")
    rows = [{**row, "split": "train"} for row in example_rows(40)]
    settings = {
        "name": "small",
        "iterations": 2,
        "data": {
            "train": [str(write_jsonl(folder / "train.jsonl", rows))],
            "dev": [str(write_jsonl(folder / "dev.jsonl", example_rows(8, first=100)))],
            "test": [str(write_jsonl(folder / "test.jsonl", example_rows(8, first=200)))],
            "prompts_per_iteration": [16],
        },
        "sampler": {"kind": "scripted"},
        "e_step": {"n": 4, "chunk_prompts": 4},
        "cluster": {"embedder": "hash", "layout": "pca", "choose": "k", "k": 3},
        "evaluate": {"resamples": 200},
    }
    run_inline(Store(folder / "home"), settings)
    return folder / "home"


@pytest.mark.parametrize("number", BREAKS)
def test_breaking_an_invariant_is_found_and_named(finished_home, tmp_path, number):
    import shutil

    from lpd_core.store import Store

    shutil.copytree(finished_home, tmp_path / "home")
    store = Store(tmp_path / "home")
    store.database.execute(BREAKS[number])
    found = check_invariants(run_evidence(store, store.run("last")))
    broken = [name for name, violations in found.items() if violations]
    assert any(name.startswith(number) for name in broken), found


def test_the_e_step_used_the_weights_of_the_iteration_before(store, scripted_settings):
    folder = run_inline(store, scripted_settings)
    parts = build_parts(folder.config(), store.cache)
    rows = store.database.query("select iteration, model_in, model_out from iterations order by iteration")
    assert rows[2]["model_in"] == rows[1]["model_out"] == str(folder.checkpoint(1))
    assert parts.digest(rows[1]["model_out"]) == "scripted"


def test_prompts_are_disjoint_between_iterations_and_from_the_held_out_ones(store, scripted_settings):
    run_inline(store, scripted_settings)
    rows = store.database.query("select prompt_id, iteration, benchmark from assignments")
    assert len({row["prompt_id"] for row in rows}) == len(rows)


def test_too_few_prompts_are_refused_before_anything_is_written(store, scripted_settings):
    scripted_settings["data"]["prompts_per_iteration"] = [60]
    with pytest.raises(UserError, match="too few"):
        jobs.create_run(store, parse_config(scripted_settings))
    assert store.run_ids() == []


def test_an_approval_is_a_version_with_who_when_and_why(store, scripted_settings):
    folder = run_inline(store, scripted_settings)
    rows = constitutions.versions(store, folder.run_id)
    assert [(row["iteration"], row["version"], row["author"], row["approved"]) for row in rows] == [
        (1, 1, "auto", True),
        (2, 1, "auto", True),
    ]
    used = store.database.query("select distinct iteration, version from training_rows order by all")
    assert used == [{"iteration": 1, "version": 1}, {"iteration": 2, "version": 1}]
    entries = json.loads(
        store.database.query("select entries from constitution_versions limit 1")[0]["entries"]
    )
    assert entries["entries"]
