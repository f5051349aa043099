"""Candidates filtered, sorted, counted and paged in SQL."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import example_rows, run_inline, write_jsonl

from lpd_core.store import Store, exploring, results
from lpd_core.store.card import card, elsewhere
from lpd_core.store.exploring import ORDERS, Filter, listing, place

HELD_OUT = (("dev", 100), ("test", 200))
RIVER = "prompt_id in (select prompt_id from prompts where contains(gold, 'river'))"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The home of a scripted run of two iterations, driven once for all tests of this file."""
    folder = tmp_path_factory.mktemp("exploring")
    train = write_jsonl(folder / "train.jsonl", [{**row, "split": "train"} for row in example_rows(40)])
    heldout = {
        name: [str(write_jsonl(folder / f"{name}.jsonl", example_rows(8, first)))] for name, first in HELD_OUT
    }
    settings = {
        "iterations": 2,
        "data": {"train": [str(train)], **heldout, "prompts_per_iteration": [16]},
        "sampler": {"kind": "scripted"},
        "e_step": {"n": 4, "chunk_prompts": 16},
        "cluster": {"embedder": "hash", "layout": "pca"},
        "evaluate": {"resamples": 100},
    }
    run_inline(Store(folder / "home"), settings)
    return folder / "home"


@pytest.fixture
def store(made) -> Store:
    """Only to look at."""
    return Store(made)


@pytest.fixture
def own(made, tmp_path) -> Store:
    """A copy to change."""
    return Store(shutil.copytree(made, tmp_path / "home"))


@pytest.fixture
def run(made) -> str:
    return Store(made).run_ids()[0]


def rows_of(store, run, where="true") -> set[tuple]:
    rows = store.database.query(
        f"select iteration, prompt_id, sample from candidates where run_id = ? and {where}", [run]
    )
    return {tuple(row.values()) for row in rows}


def found(store, wanted: Filter) -> set[tuple]:
    return {
        (row["iteration"], row["prompt_id"], row["sample"]) for row in listing(store, wanted, size=1000).rows
    }


@pytest.mark.parametrize(
    "wanted, where",
    [
        ({"iteration": 1}, "iteration = 1"),
        ({}, "true"),
        ({"statuses": ("accepted", "not_best")}, "status in ('accepted', 'not_best')"),
        ({"score": (0.5, None)}, "score >= 0.5"),
        ({"gain": (0.01, 0.1)}, "gain between 0.01 and 0.1"),
        ({"selected": True}, "selected"),
        ({"text": "RIVER", "places": ("prompt",)}, RIVER),
        ({"text": "Mention", "places": ("principle",)}, "contains(principle, 'Mention')"),
        ({"text": "paint and more", "places": ("response",)}, "contains(response, 'paint and more')"),
        ({"principles": ()}, "false"),
    ],
)  # fmt: skip
def test_a_filter_finds_what_it_says(store, run, wanted, where):
    assert found(store, Filter(run, **wanted)) == rows_of(store, run, where)


def test_a_cluster_and_a_data_set_narrow_the_list(store, run):
    cluster = store.database.query("select cluster_id from clusters where iteration = 1 order by size desc")[
        0
    ]["cluster_id"]
    where = f"principle_id in (select principle_id from cluster_members where iteration = 1 and cluster_id = '{cluster}')"
    assert (
        found(store, Filter(run, 1, cluster=cluster))
        == rows_of(store, run, f"iteration = 1 and {where}")
        != set()
    )
    sets = exploring.datasets(store, run)
    assert [(row["name"], row["prompts"]) for row in sets] == [("train", 32)]
    assert found(store, Filter(run, dataset=sets[0]["dataset_id"])) == rows_of(store, run)
    assert found(store, Filter(run, dataset="other")) == set()


@pytest.mark.parametrize("order", ORDERS)
def test_the_pages_lose_and_repeat_nothing(store, run, order):
    whole = [tuple(row.values()) for row in listing(store, Filter(run), order, size=1000).rows]
    pages = [listing(store, Filter(run), order, page, size=7) for page in range(1, 40)]
    assert [tuple(row.values()) for page in pages for row in page.rows] == whole
    assert len({row[1:4] for row in whole}) == len(whole) == pages[0].total


def test_the_orders_sort_and_put_the_unscored_last(own, run):
    own.database.execute("update candidates set gain = null, score = null where sample = 0")
    for order, sign in (("gain", -1), ("loss", 1)):
        gains = [row["gain"] for row in listing(own, Filter(run), order, size=1000).rows]
        known = [gain for gain in gains if gain is not None]
        assert known == sorted(known, key=lambda gain: sign * gain)
        assert gains[len(known) :] == [None] * (len(gains) - len(known)) != []


def test_the_statuses_are_counted_as_if_none_was_chosen(store, run):
    page = listing(store, Filter(run, 1, statuses=("accepted",)))
    assert dict(page.statuses) == results.statuses(store, run, 1)
    assert page.total == page.statuses["accepted"]


def test_texts_with_quotes_null_bytes_and_sql_are_found_and_harm_nothing(own, run):
    text = 'He said "x\x00y"\n\'; drop table candidates; --'
    prompt = min(rows_of(own, run))[1]
    own.database.execute("update candidates set response = ? where prompt_id = ?", [text, prompt])
    own.database.execute(
        "update prompts set messages = to_json([{role: 'user', content: ?}]) where prompt_id = ?",
        [text, prompt],
    )
    for where in ("response", "prompt"):
        assert {row[1] for row in found(own, Filter(run, text=text.upper(), places=(where,)))} == {prompt}


def test_a_list_shows_only_the_beginning_of_a_long_text(own, run):
    own.database.execute("update candidates set response = repeat('long ', 50000)")
    assert all(len(row["response"]) == exploring.SHOWN for row in listing(own, Filter(run)).rows)


@pytest.mark.parametrize("order", ORDERS)
def test_walking_by_next_visits_every_prompt_once(store, run, order):
    wanted = Filter(run, statuses=("accepted",))
    expected = {row[:2] for row in rows_of(store, run, "status = 'accepted'")}
    step = place(store, wanted, order, 1, "not there")
    assert step.number is None and step.count == len(expected) and step.before is None
    walked = []
    while step.after:
        walked.append(step.after)
        here = place(store, wanted, order, *step.after)
        assert here.number == len(walked) and here.before == (walked[-2] if len(walked) > 1 else None)
        step = here
    assert sorted(walked) == sorted(expected)


def test_principles_like_a_vector_come_nearest_first(store, run):
    one = store.database.query(
        "select principle_id, embedding, embedder from principles order by principle_id"
    )
    near = exploring.similar(store, run, None, one[0]["embedding"], one[0]["embedder"], most=5)
    vectors = {row["principle_id"]: np.asarray(row["embedding"]) for row in one}
    expected = {key: float(vector @ vectors[one[0]["principle_id"]]) for key, vector in vectors.items()}
    assert near[0]["principle_id"] == one[0]["principle_id"]
    assert [row["similarity"] for row in near] == pytest.approx(
        sorted(expected.values(), reverse=True)[:5], abs=1e-5
    )
    assert exploring.similar(store, run, None, [1.0, 0.0], one[0]["embedder"]) == []


def test_the_card_of_a_mined_prompt_and_of_a_held_out_one(store, run):
    iteration, prompt, _ = min(rows_of(store, run, "selected"))
    mined = card(store, run, iteration, prompt)
    assert mined.draft and len(mined.candidates) == 4 and not mined.heldout
    assert [row["trained"] is not None for row in mined.candidates] == [
        row["selected"] for row in mined.candidates
    ]
    row = store.database.query("select prompt_id from evaluations where benchmark = 'test' limit 1")[0]
    heldout = card(store, run, 2, row["prompt_id"])
    assert not heldout.candidates and [each["benchmark"] for each in heldout.heldout] == ["test"]
    assert card(store, run, 1, "nowhere") is None


def test_elsewhere_lists_every_use_of_a_prompt(store, run):
    row = store.database.query("select prompt_id from evaluations where benchmark = 'dev' limit 1")[0]
    assert [(use["iteration"], use["used"]) for use in elsewhere(store, row["prompt_id"])] == [
        (0, "dev"), (1, "dev"), (2, "dev")]  # fmt: skip
    iteration, prompt, _ = min(rows_of(store, run))
    use = elsewhere(store, prompt)
    assert [(each["iteration"], each["used"], each["tried"]) for each in use] == [(iteration, "mined", 4)]


def test_of_equal_candidates_the_selected_one_stands_for_its_prompt(own, run):
    own.database.execute(
        "update candidates set score = 0.9, selected = sample = 2, principle = 'p' || sample"
    )
    _, prompt, _ = min(rows_of(own, run))
    assert {use["principle"] for use in elsewhere(own, prompt)} == {"p2"}
