"""Files before their import: heads, lengths, shares; questions put to a process with limits."""

from __future__ import annotations

import json

import pytest
from conftest import PROJECT, example_rows, write_jsonl

from lpd_core.corpus import read_corpus
from lpd_core.corpus.inspection import inspect_file, measure_lengths, read_head, split_counts, token_counter
from lpd_core.errors import DataError
from lpd_core.inquiry import Inquiry
from lpd_core.store import corpora


def test_a_head_shows_rows_as_text_and_damaged_ones_with_their_reason(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"q": ["x" * 1000], "n": 3}) + "\nnot json\n")
    head = read_head(path)
    assert head.columns == ("q", "n")
    assert len(head.rows[0]["q"]) <= 400
    assert "not JSON" in head.rows[1]["unusable"]


def test_lengths_double_from_bin_to_bin():
    found = measure_lengths([0, 1, 2, 3, 4, 7, 8])
    assert found.bins == (("0", 1), ("1", 1), ("2–3", 2), ("4–7", 2), ("8–15", 1))
    assert (found.n, found.median, found.longest) == (7, 3, 8)
    assert measure_lengths([]).bins == ()


def test_tokens_are_counted_with_the_models_own_tokenizer(tmp_path):
    count = token_counter(PROJECT / "data" / "demo" / "model")
    assert count(["one two three"])[0] >= 3
    with pytest.raises(DataError, match="is no tokenizer"):
        token_counter(tmp_path)


def test_shares_decide_the_split_and_are_part_of_the_identity(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", example_rows(200))
    even = read_corpus(path, shares=(0.5, 0.25, 0.25))
    counts = split_counts(even)
    assert 70 < counts["train"] < 130
    assert read_corpus(path).dataset_id != even.dataset_id
    with pytest.raises(DataError, match="add up to 1"):
        read_corpus(path, shares=(0.5, 0.5, 0.5))


def test_an_inspection_counts_what_an_import_would_take(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [*example_rows(9), example_rows(1)[0], {"prompt": "x"}])
    _, corpus, lengths = inspect_file(path)
    assert len(corpus.examples) == 9
    assert sum(corpus.counts.values()) == 2
    assert lengths["gold"].n == 9


def test_prompts_of_other_data_sets_are_noticed_and_a_used_set_stays(store, tmp_path):
    one = read_corpus(write_jsonl(tmp_path / "a.jsonl", example_rows(6)))
    corpora.add_corpus(store, one, "a")
    two = read_corpus(write_jsonl(tmp_path / "b.jsonl", example_rows(6, first=3)))
    assert corpora.known_elsewhere(store, two) == [{"name": "a", "prompts": 3}]
    store.database.execute(
        "insert into assignments values ('r-1', 1, 'train', ?, 0)", [one.examples[0].prompt_id]
    )
    with pytest.raises(DataError, match="used by r-1"):
        corpora.delete_dataset(store, one.dataset_id)
    store.database.execute("delete from assignments")
    assert corpora.delete_dataset(store, one.dataset_id) == 6


def test_an_inquiry_answers_refuses_and_ends_in_time(tmp_path):
    assert Inquiry(["data", "list"], tmp_path).wait().value == []
    refused = Inquiry(["check", "--config", "{a.toml}"], tmp_path, files={"a.toml": "[x"}).wait()
    assert refused.error.startswith("a.toml is not TOML")
    assert "no answer within" in Inquiry(["data", "list"], tmp_path, seconds=0.01).wait().error
    assert Inquiry(["data", "list"], tmp_path, memory=20 * 2**20).wait().error
    assert (
        "0.0 GiB of memory" in Inquiry(["check", "--preset", "demo"], tmp_path, resident=2**20).wait().error
    )
    stopped = Inquiry(["data", "list"], tmp_path)
    stopped.stop()
    assert stopped.wait().error == "the question was given up"
