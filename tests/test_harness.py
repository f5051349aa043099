"""Tasks through lm-evaluation-harness: a local task on the shipped model, and what is made of the harness' results."""

import importlib.util
import json

import pytest
from conftest import PROJECT, write_jsonl

from lpd_core import harness
from lpd_core.benchmark_results import stored_benchmarks
from lpd_core.config import RunConfig, override
from lpd_core.errors import UserError
from lpd_core.harness import Wanted, result_rows, run_tasks
from lpd_core.measuring_text import benchmark_tables

needs_harness = pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason=harness.MISSING)
TASK = """task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
"""
DOCUMENTS = [
    {"question": f"Thank you for your letter number {n}. We will", "choices": ["xq", "answer"], "answer": 1}
    for n in range(6)
]
RESULTS = {
    "results": {
        "arc": {
            "alias": "arc", "acc,none": 0.25, "acc_stderr,none": 0.05, "exact,strict": 1, "exact_stderr,strict": "N/A",
            "sample_len": 75,
        },
    },
    "n-samples": {"arc": {"original": 75, "effective": 75}},
    "n-shot": {"arc": 5},
    "versions": {"arc": 1.0},
    "lm_eval_version": "0.4.13",
}  # fmt: skip


def test_results_become_rows_with_stderr_n_and_settings():
    acc, exact = result_rows(RESULTS, Wanted(("arc",), chat_template=True))
    assert (acc["task"], acc["metric"], acc["value"], acc["stderr"], acc["n"]) == (
        "arc",
        "acc",
        0.25,
        0.05,
        75,
    )
    assert (exact["metric"], exact["value"], exact["stderr"]) == ("exact, strict", 1.0, None)
    told = json.loads(acc["settings"])
    assert (told["lm_eval"], told["shots"], told["chat_template"]) == ("0.4.13", 5, True)


def test_without_weights_there_is_nothing_to_load(finished):
    store, folder = finished
    with pytest.raises(UserError, match="no weights"):
        run_tasks(store, folder, folder.config(), {0: "x"}, Wanted(("arc_easy",)))


def test_a_missing_harness_is_told_in_one_line_with_its_remedy(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UserError, match=r"not installed: pip install lm_eval==0\.4\.13"):
        harness._evaluated("x", RunConfig(), Wanted(("arc_easy",)))


@needs_harness
def test_a_local_task_on_the_shipped_model_is_kept_with_its_documents(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    store, folder = finished
    config = override(folder.config(), ["sampler.kind=transformers", "model.dtype=float32"])
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    data = write_jsonl(tmp_path / "task.jsonl", DOCUMENTS)
    (tasks / "letters.yaml").write_text(TASK.format(name="letters", data=data))
    wanted = Wanted(("letters",), tasks, limit=4)
    model = str(PROJECT / "data" / "demo" / "model")
    found = run_tasks(store, folder, config, {0: model}, wanted, lambda line: None)
    row = next(each for each in found if each["metric"] == "acc")
    assert (row["iteration"], row["task"], row["n"]) == (0, "letters", 4)
    assert 0.0 <= row["value"] <= 1.0 and row["stderr"] is not None
    kept = stored_benchmarks(store, folder.run_id)
    assert [each["value"] for each in kept["tasks"] if each["metric"] == "acc"] == [row["value"]]
    assert benchmark_tables(kept)[-1][1][0]["n"] == "4"
    rows = store.database.query("select * from evaluations where benchmark = 'task:letters'")
    assert len(rows) == 4
    assert sum(each["score"] for each in rows) / 4 == pytest.approx(row["value"])
    assert "Thank you for your letter" in json.loads(rows[0]["verdict"])["question"]
    with pytest.raises(UserError, match="knows no task nonsense"):
        run_tasks(store, folder, config, {0: model}, Wanted(("nonsense",)), lambda line: None)
