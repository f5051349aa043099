"""What is measured after a run: measured again, the later stands; another rubric is another measurement."""

import json

from conftest import run_inline

from lpd_core.store import evaluating


def rated(prompt: str, score: float) -> dict:
    return {"prompt_id": prompt, "system": "M_1", "benchmark": "mt-bench", "score": score, "verdict": "{}"}


def compared(prompt: str, outcome: str, rubric: str) -> dict:
    verdict = {"forward": [outcome], "backward": [outcome], "against": "M_0 y1", "prompts": rubric}
    return {
        "prompt_id": prompt, "system": "judge:j", "benchmark": "judge:M_1 over M_0", "response": f"as {rubric} saw it",
        "draft": "b", "score": float(outcome == "a"), "verdict": json.dumps(verdict),
    }  # fmt: skip


def test_measured_again_the_later_row_stands_also_when_it_is_what_was_measured_first(
    store, scripted_settings
):
    folder = run_inline(store, {**scripted_settings, "iterations": 1})
    for score in (0.1, 0.9, 0.3, 0.7, 0.2, 0.1):
        evaluating.keep_measured(store, folder, 1, "mt-bench", [rated("p", score)])
        (row,) = evaluating.measured_rows(store, folder.run_id, "mt-bench")
        assert row["score"] == score
    kept = len(folder.segment_names())
    evaluating.keep_measured(store, folder, 1, "mt-bench", [rated("p", 0.1)])
    assert len(folder.segment_names()) == kept


def test_the_pairs_of_one_rubric_are_not_those_of_another(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1})
    for rubric, outcome in (("strict", "a"), ("mild", "b")):
        evaluating.keep_measured(store, folder, 1, "judged", [compared("p", outcome, rubric)])
    for rubric, share in (("strict", 1.0), ("mild", 0.0)):
        (row,) = evaluating.judged_page(
            store, folder.run_id, 1, "judge:M_1 over M_0", "judge:j", rubric, limit=10
        )
        assert (row["score"], row["a"], row["total"]) == (share, f"as {rubric} saw it", 1)


def test_what_is_measured_of_something_else_in_between_does_not_keep_the_same_again(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1})
    for _ in range(2):
        for comparison in ("M_1 over M_0", "entry 1.1"):
            row = {**compared("p", "a", "strict"), "benchmark": f"judge:{comparison}"}
            evaluating.keep_measured(store, folder, 1, "judged", [row])
    assert len([name for name in folder.segment_names() if "measured" in name]) == 2
