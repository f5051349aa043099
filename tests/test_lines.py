"""The lines that STaPLe is compared with, as runs of the same engine."""

import json

import pytest
from conftest import example_rows, run_inline, write_jsonl

from lpd_core.invariants import check_invariants, run_evidence
from lpd_core.store import results


def rows_of(store, run_id):
    return store.database.query(
        """select t.messages, t.trained, t.principle, p.messages prompt, p.gold, d.text draft
           from training_rows t join prompts p using (prompt_id)
           left join drafts d on d.run_id = t.run_id and d.iteration = t.iteration and d.prompt_id = t.prompt_id
           where t.run_id = ? and t.iteration = 1 order by t.prompt_id""",
        [run_id],
    )


@pytest.mark.parametrize("target", ["star", "gold"])
def test_a_line_without_principles_runs_to_its_end_and_keeps_the_invariants(store, scripted_settings, target):
    folder = run_inline(store, {**scripted_settings, "iterations": 1, "m_step": {"target": target}})
    assert folder.state().status == "finished"
    broken = {name: found for name, found in check_invariants(run_evidence(store, folder)).items() if found}
    assert broken == {}


def test_the_star_line_learns_the_refinements_without_their_principles(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1, "m_step": {"target": "star"}})
    rows = rows_of(store, folder.run_id)
    mined = {t.prompt_id for t in results.trajectories(store, folder.run_id, 1)}
    assert len(rows) == len(mined) > 0
    for row in rows:
        turns = json.loads(row["messages"])
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
        assert turns[1]["content"] == row["draft"]
        assert row["trained"] == [3]
        assert row["principle"] == ""
        assert "principle" not in turns[2]["content"]


def test_the_gold_line_mines_nothing_and_learns_every_gold(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1, "m_step": {"target": "gold"}})
    rows = rows_of(store, folder.run_id)
    assert len(rows) == 16
    for row in rows:
        turns = json.loads(row["messages"])
        assert turns[:-1] == json.loads(row["prompt"])
        assert (turns[-1]["content"], row["trained"]) == (row["gold"], [1])
    assert results.statuses(store, folder.run_id, 1) == {}


def test_each_line_is_measured_as_it_answers(store, scripted_settings):
    for target in ("staple", "star", "gold"):
        folder = run_inline(
            store, {**scripted_settings, "iterations": 1, "name": target, "m_step": {"target": target}}
        )
        rows = store.database.query(
            "select distinct system, principle <> '' named, draft = response same from evaluations "
            "where run_id = ? and iteration = 1",
            [folder.run_id],
        )
        assert {row["system"] for row in rows} == {target}
        assert all(row["named"] == (target == "staple") for row in rows)
        assert all(row["same"] for row in rows) == (target == "gold")


def test_the_table_compares_all_lines_and_reuses_runs(store, scripted_settings):
    from dataclasses import replace

    from lpd_core import lines
    from lpd_core.config import parse_config

    common = parse_config({**scripted_settings, "iterations": 1})
    plan = lines.planned(store, common, [1])
    assert [(run.line, run.run_id) for run in plan] == [(line, None) for line in lines.LINES]
    for run in plan:
        run_inline(store, run.config.model_dump(exclude_none=True))
    done = lines.planned(store, common, [1])
    assert all(run.run_id for run in done)
    assert [replace(run, run_id=None) for run in done] == plan
    rows = {row.system: row for row in lines.system_rows(store, done)}
    assert set(rows) == set(lines.TITLES)
    base = store.database.query(
        "select avg(draft_score) f, avg(score) refined from evaluations where run_id = ? and iteration = 0 "
        "and benchmark = 'test'",
        [done[2].run_id],
    )[0]
    assert rows["base"].score.mean == pytest.approx(base["f"])
    assert rows["self_refine"].score.mean == pytest.approx(base["refined"])
    assert rows["base"].over_base.ties == rows["base"].score.n == 8
    assert all("n = 8 prompts" in line for line in lines.claim_lines(store, done))


def test_a_prompt_counts_once_whatever_the_number_of_seeds():
    from lpd_core.lines import mean_scores

    assert mean_scores({1: {"x": 0.2, "y": None}, 2: {"x": 0.4, "z": 1.0}}) == pytest.approx(
        {"x": 0.3, "z": 1.0}
    )


def test_a_prompt_that_quotes_its_gold_breaks_no_promise_of_the_star_line(store, scripted_settings, tmp_path):
    rows = [
        {**row, "prompt": f"{row['prompt']}. Hint: {row['gold']}", "split": "train"}
        for row in example_rows(40)
    ]
    train = write_jsonl(tmp_path / "quoting.jsonl", rows)
    data = {**scripted_settings["data"], "train": [str(train)]}
    folder = run_inline(
        store, {**scripted_settings, "iterations": 1, "data": data, "m_step": {"target": "star"}}
    )
    assert rows_of(store, folder.run_id)
    assert not any(check_invariants(run_evidence(store, folder)).values())
