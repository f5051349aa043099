"""Which prompts a run mines: hub sources, mixtures, limits, benchmarks; and what the command line tells of it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from conftest import example_rows, write_jsonl

from lpd_core import assignment, jobs, preflight
from lpd_core.config import load_config, parse_config
from lpd_core.corpus import content_key, read_corpus
from lpd_core.corpus.hub import HubSource, parse_source
from lpd_core.errors import ConfigError, DataError
from lpd_core.store import corpora
from tests.corpus_files import FIXTURES


def main(arguments: list[str]) -> int:
    """The exit code of a command, run here."""
    from lpd_core import cli

    before, sys.argv = sys.argv, ["lpd_core", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture
def sources(store, tmp_path):
    """Three imported data sets of 60 prompts each, all to be mined."""
    for number, name in enumerate(("a", "b", "c")):
        path = write_jsonl(tmp_path / f"{name}.jsonl", example_rows(60, first=100 * number))
        corpora.add_corpus(store, read_corpus(path, split="train"), source=str(path))
    return store


def settings(iterations=2, sizes=(40, 20), **data):
    return parse_config(
        {
            "iterations": iterations,
            "sampler": {"kind": "scripted"},
            "cluster": {"embedder": "hash"},
            "data": {"prompts_per_iteration": list(sizes), **data},
        }
    )


def mined_by_source(store, config) -> dict[str, int]:
    assigned = assignment.assign_prompts(store, config)
    names = {row["dataset_id"]: row["name"] for row in corpora.list_datasets(store)}
    return dict(Counter(names[e.dataset_id] for examples in assigned.mined for e in examples))


def test_a_mixture_of_counts_takes_so_many_of_each_source(sources):
    config = settings(sizes=(30, 10), mixture={"a": 25, "b": 10, "c": 5})
    assert mined_by_source(sources, config) == {"a": 25, "b": 10, "c": 5}
    config = settings(sizes=(60, 30), train=["a", "b"], mixture={"b": 10})
    assert mined_by_source(sources, config) == {"a": 60, "b": 10}


def test_a_mixture_of_weights_shares_the_prompts_of_all_iterations(sources):
    config = settings(sizes=(40, 20), mixture={"a": 0.5, "b": 0.25, "c": 0.25})
    assert mined_by_source(sources, config) == {"a": 30, "b": 15, "c": 15}
    config = settings(sizes=(40, 20), train=["a", "b"], mixture={"b": 2.0})
    assert mined_by_source(sources, config) == {"a": 20, "b": 40}


def test_every_iteration_is_dealt_from_the_whole_mixture(sources):
    config = settings(mixture={"a": 30, "b": 30})
    for examples in assignment.assign_prompts(sources, config).mined:
        assert len({e.dataset_id for e in examples}) == 2


def test_without_a_mixture_the_prompts_are_those_of_train_as_before(sources):
    plain = assignment.assign_prompts(sources, settings(train=["a", "b"]))
    assert [len(examples) for examples in plain.mined] == [40, 20]
    keys = [content_key(e.messages) for examples in plain.mined for e in examples]
    assert len(set(keys)) == 60 and plain.dropped == {}


def test_counts_and_weights_cannot_be_mixed_and_survive_the_run_s_own_file(tmp_path):
    with pytest.raises(ConfigError, match="mixture has counts and weights"):
        settings(mixture={"a": 10, "b": 0.5})
    with pytest.raises(ConfigError):
        settings(mixture={"a": 0})
    from lpd_core.config import to_toml

    for shares in ({"a": 10}, {"a": 0.5, "b": 1.0}):
        path = tmp_path / "run.toml"
        path.write_text(to_toml(settings(mixture=shares, limits={"gold_words": [1, 9]})))
        again = load_config(file=path).data
        assert again.mixture == shares and [type(v) for v in again.mixture.values()] == [
            type(v) for v in shares.values()
        ]
        assert again.limits.gold_words == [1, 9]


def test_limits_and_benchmarks_leave_prompts_out_and_the_run_tells_how_many(store, tmp_path):
    rows = [
        *example_rows(30),
        {"prompt": "Make it rhyme!", "gold": "No."},
        {"prompt": "one " * 90, "gold": "1"},
    ]
    train = write_jsonl(tmp_path / "train.jsonl", [{**row, "split": "train"} for row in rows])
    config = settings(
        train=[str(train)],
        sizes=(20, 10),
        limits={"prompt_words": [2, 50]},
        exclude=[str(FIXTURES / "mt_bench.jsonl")],
    )
    report = preflight.check_run(store, config)
    assert report.facts["dropped"] == {"prompt_too_long": 1, "contaminated": 1}
    assert report.facts["prompts"]["mined"] == report.facts["estimate"]["mined"] == 30
    folder = jobs.create_run(store, config)
    manifest = folder.manifest()
    assert manifest["dropped_prompts"] == {"prompt_too_long": 1, "contaminated": 1}
    assert [sum(counts.values()) for counts in manifest["mined_prompts"]] == [20, 10]
    prompts = {
        e.messages[0]["content"] for t in (1, 2) for e in corpora.assigned(store, folder.run_id, t, "train")
    }
    assert len(prompts) == 30 and "Make it rhyme!" not in prompts


def test_imported_evaluation_data_serves_as_benchmark_and_never_as_training_data(store, tmp_path):
    assert main(["data", "import", str(FIXTURES / "mt_bench.jsonl"), "--eval", "--name", "mt"]) == 0
    rows = [*example_rows(30), {"prompt": "Who is second?", "gold": "No."}]
    train = write_jsonl(tmp_path / "train.jsonl", [{**row, "split": "train"} for row in rows])
    config = settings(train=[str(train)], sizes=(20, 10), exclude=["mt"])
    assert assignment.assign_prompts(store, config).dropped == {"contaminated": 1}
    for data, said in (
        ({"train": ["mt"]}, "is evaluation data (mt-bench): it is never trained on"),
        ({"train": [str(train)], "test": ["mt"]}, "1 prompts of 'mt' have no gold to measure f against"),
    ):
        with pytest.raises(DataError) as caught:
            assignment.assign_prompts(store, settings(**data))
        assert said in str(caught.value)
        assert any(
            said in str(finding.what) for finding in preflight.check_run(store, settings(**data)).errors
        )


def test_a_mixture_that_asks_for_more_than_there_is_is_told(sources):
    report = preflight.check_run(sources, settings(sizes=(20,), mixture={"a": 30, "b": 100}))
    assert any("b has 60 prompts to mine, the mixture wants 100" in f.what for f in report.findings)


BAD = {"id": "bad", "prompt": "Write without commas", "gold": "x"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf:trl-lib/tldr", HubSource("trl-lib/tldr")),
        ("hf:squad@v1.1", HubSource("squad", "v1.1")),
        (
            "hf:hotpotqa/hotpot_qa@main#distractor/train",
            HubSource("hotpotqa/hotpot_qa", "main", "distractor"),
        ),
        ("hf:o/n#test", HubSource("o/n", split="test")),
        (f"hf:o/n@{COMMIT}#c/train[:100]", HubSource("o/n", COMMIT, "c", "train[:100]")),
    ],
)
def test_a_hub_source_names_repository_revision_configuration_and_split(text, parts):
    assert parse_source(text) == parts
    assert parse_source(str(parts)) == parts


@pytest.mark.parametrize("text", ["hf:", "hf:a/b/c", "hf:a/b#", "hf:../x y"])
def test_a_malformed_hub_source_shows_the_form(text):
    with pytest.raises(DataError, match="write hf:owner/name@revision#config/split"):
        parse_source(text)


def test_without_network_a_hub_source_says_so_in_one_line(store, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["data", "import", "hf:trl-lib/tldr"]) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1 and "HF_HUB_OFFLINE is set" in err
    report = preflight.check_run(store, settings(train=["hf:trl-lib/tldr"]))
    assert any("fetched from the hub when the run starts" in f.mend for f in report.findings)


def test_a_hub_source_is_pinned_to_its_commit_and_fetched_once(store, monkeypatch):
    """The network is replaced by a repository of one file; the rest is the real path of an import."""
    import datasets
    import huggingface_hub

    asked = []

    def info(self, repository, revision=None, timeout=None):
        asked.append((repository, revision))
        return SimpleNamespace(sha=COMMIT, card_data={"license": "mit"})

    def load(repository, config, split, revision):
        assert (repository, config, split, revision) == ("o/pairs", None, "train", COMMIT)
        rows = [json.loads(line) for line in (FIXTURES / "preference.jsonl").read_text().splitlines()]
        return datasets.Dataset.from_list(
            [
                {k: json.dumps(v) if k == "chosen" else v for k, v in row.items() if isinstance(v, str)}
                for row in rows[:1]
            ]
        )

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    monkeypatch.setattr(datasets, "load_dataset", load)
    first = assignment.import_source(store, "hf:o/pairs@main#train")
    row = corpora.describe_dataset(store, first)
    assert (row["name"], row["license"]) == ("pairs", "mit")
    assert row["source"] == f"hf:o/pairs@{COMMIT}#train"
    assert asked == [("o/pairs", "main")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert assignment.import_source(store, f"hf:o/pairs@{COMMIT}#train") == first
    assert main(["data", "import", f"hf:o/pairs@{COMMIT}", "--name", "again"]) == 0


def test_data_check_names_planted_prompts_and_import_leaves_them_out(store, tmp_path, capsys):
    path = write_jsonl(
        tmp_path / "mine.jsonl",
        [*example_rows(5), BAD],
    )
    benchmark = str(FIXTURES / "ifeval.jsonl")
    assert main(["data", "check", str(path), "--against", benchmark, "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["found"]
    assert (found["benchmark"], found["key"], found["kind"]) == ("IFEval", "1000", "exact")
    assert found["prompt_id"].endswith(":bad")
    assert main(["data", "import", str(path), "--against", benchmark, "--gold-words", ":50"]) == 0
    assert "left out: 1 contaminated" in capsys.readouterr().out
    assert main(["data", "check", "mine", "--against", benchmark]) == 0
    assert "0 of 5 prompts" in capsys.readouterr().out
    assert main(["data", "show", "mine"]) == 0
    told = capsys.readouterr().out
    assert "left out on import: 1 contaminated" in told and "licence: not stated" in told
    assert main(["data", "import", str(path), "--gold-words", "many"]) == 2


def test_a_benchmark_imports_only_as_evaluation_data(store, capsys):
    assert main(["data", "import", str(FIXTURES / "ifeval.jsonl"), "--skip-bad"]) == 2
    assert "import it with --eval" in capsys.readouterr().err
    assert main(["data", "import", str(FIXTURES / "ifeval.jsonl"), "--eval"]) == 0
    assert main(["data", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert (row["format"], row["test"], row["summary"]["evaluation"]) == ("ifeval", 1, True)
