"""What a name in the configuration means: a data set, a file, a folder here, a model of the hub."""

from conftest import PROJECT, example_rows, run_inline, write_jsonl

from lpd_core.assignment import import_source
from lpd_core.build import stage_environment
from lpd_core.config import parse_config
from lpd_core.corpus import read_corpus
from lpd_core.costs import checkpoint_bytes
from lpd_core.jobs import with_absolute_paths
from lpd_core.model_files import parameter_count
from lpd_core.preflight import check_run
from lpd_core.store import corpora

MODEL = {"path": "data/demo/model", "device": "cpu", "max_length": 512}


def test_a_data_set_may_have_the_name_of_a_folder(store, scripted_settings, tmp_path):
    rows = [{**row, "split": "train"} for row in example_rows(40)]
    corpora.add_corpus(
        store, read_corpus(write_jsonl(tmp_path / "mine.jsonl", rows), name="docs"), source="mine"
    )
    assert (PROJECT / "docs").is_dir() and import_source(store, "docs")
    data = {**scripted_settings["data"], "train": ["docs"]}
    folder = run_inline(store, {**scripted_settings, "iterations": 1, "data": data})
    assert folder.state().status == "finished"
    assert folder.config().data.train == ["docs"]


def test_every_path_of_a_run_is_written_out_as_its_stages_work_elsewhere():
    config = with_absolute_paths(
        parse_config(
            {
                "data": {
                    "train": ["data/demo/train.jsonl"],
                    "shifted": {"cues": "data/demo/shifted_cues.jsonl"},
                },
                "model": MODEL,
                "cluster": {"embedder": "data/demo/model"},
                "scoring": {"embedder": "data/demo/model"},
                "m_step": {"accelerate_config": "data/accelerate/fsdp2.yaml"},
            }
        )
    )
    told = [
        *config.data.train, config.data.shifted["cues"], config.model.path, config.cluster.embedder,
        config.scoring.embedder, config.m_step.accelerate_config,
    ]  # fmt: skip
    assert all(path.startswith(f"{PROJECT}/data/") for path in told)


def test_stages_ask_the_hub_only_where_a_model_comes_from_there(store, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    local = parse_config({"model": MODEL})
    assert stage_environment(local)["HF_HUB_OFFLINE"] == "1"
    for tree in (
        {"cluster": {"embedder": "BAAI/bge-small-en"}},
        {"scoring": {"kind": "embedding", "embedder": "BAAI/bge-small-en"}},
        {"scoring": {"kind": "judge", "judge": {"model": {"path": "mine/judge"}}}},
    ):
        config = parse_config({"model": MODEL, **tree})
        assert "HF_HUB_OFFLINE" not in stage_environment(config)
        found = [finding.what for finding in check_run(store, config).findings if finding.level == "warning"]
        assert any("is no folder here" in what for what in found)


def test_the_check_asks_for_the_room_that_checkpoints_take_at_most(store):
    config = parse_config({"model": MODEL, "iterations": 3})
    parameters = parameter_count(PROJECT / "data/demo/model")
    needed = check_run(store, config).facts["disk"]["needed_bytes"]
    assert needed == checkpoint_bytes(config, parameters) + 2**24
    assert needed > parameters * (3 * 4 + 3 * 12)
